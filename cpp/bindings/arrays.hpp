// The only place that turns numpy arrays into views, and that refuses arrays of the wrong shape.
// Included first by every binding file.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <complex>
#include <cstdint>
#include <optional>
#include <string>

#include "mwaconvert/base/error.hpp"
#include "mwaconvert/base/view.hpp"

namespace py = pybind11;
using namespace pybind11::literals;

namespace mwaconvert {

// Arrays are C-contiguous and of exactly this type; arguments are declared .noconvert(), so nothing is
// copied.
template <typename T>
using Array = py::array_t<T, py::array::c_style>;

// The same, but a slice of a larger array will do.
template <typename T>
using Strided = py::array_t<T, 0>;

// View of an array; shape entries >= 0 must match, -1 takes any length.
template <typename T, int N, int Flags>
View<const T, N> view(const py::array_t<T, Flags>& array, const std::string& name,
                      std::array<int64_t, N> shape) {
  View<const T, N> v;
  bool ok = array.ndim() == N;
  for (int k = 0; ok && k < N; ++k) {
    v.shape[k] = array.shape(k);
    v.stride[k] = array.strides(k) / static_cast<int64_t>(sizeof(T));
    ok = shape[k] < 0 || shape[k] == v.shape[k];
  }
  if (!ok) {
    std::string want, found;
    for (int64_t s : shape) want += (s < 0 ? "any" : std::to_string(s)) + ",";
    for (int k = 0; k < array.ndim(); ++k) found += std::to_string(array.shape(k)) + ",";
    throw InputError("array '" + name + "': expected shape (" + want + "), found (" + found + ")");
  }
  v.data = array.data();
  return v;
}

// The same for an array that the kernel writes into.
template <typename T, int N, int Flags>
View<T, N> mutable_view(py::array_t<T, Flags>& array, const std::string& name, std::array<int64_t, N> shape) {
  if (!array.writeable()) throw InputError("array '" + name + "' is read-only");
  const View<const T, N> v = view<T, N>(array, name, shape);
  return View<T, N>{const_cast<T*>(v.data), v.shape, v.stride};
}

}  // namespace mwaconvert
