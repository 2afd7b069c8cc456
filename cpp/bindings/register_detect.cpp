#include "arrays.hpp"
#include "mwaconvert/transients/detect.hpp"
#include "register.hpp"

namespace mwaconvert {

void register_detect(py::module_& m) {
  m.def(
      "detect_channels",
      [](const Array<int8_t>& volts, const Array<int32_t>& used, Array<float>& power, int threads) {
        const auto v = view<int8_t, 3>(volts, "volts", {-1, -1, 2});
        const auto u = view<int32_t, 1>(used, "used", {-1});
        const auto p = mutable_view<float, 2>(power, "power", {-1, -1});
        if (p.shape[1] < 1 || v.shape[1] != p.shape[0] * p.shape[1])
          throw InputError("array 'volts': expected as many samples as 'power' has spectra times channels");
        for (int64_t k = 0; k < u.shape[0]; ++k)
          if (u(k) < 0 || u(k) >= v.shape[0])
            throw InputError("array 'used' names an input that is not there");
        py::gil_scoped_release release;
        detect_channels(v, u, p, threads);
      },
      "volts"_a.noconvert(), "used"_a.noconvert(), "power"_a.noconvert(), "threads"_a = 0,
      "Power of channels summed over inputs.");
  m.def(
      "detect_nibbles",
      [](const Array<uint8_t>& volts, const Array<uint8_t>& used, Array<uint32_t>& power, int threads) {
        const auto v = view<uint8_t, 2>(volts, "volts", {-1, -1});
        const auto u = view<uint8_t, 1>(used, "used", {v.shape[1]});
        const auto p = mutable_view<uint32_t, 1>(power, "power", {v.shape[0]});
        py::gil_scoped_release release;
        detect_nibbles(v, u, p, threads);
      },
      "volts"_a.noconvert(), "used"_a.noconvert(), "power"_a.noconvert(), "threads"_a = 0,
      "Power of 4-bit voltages summed over inputs.");
}

}  // namespace mwaconvert
