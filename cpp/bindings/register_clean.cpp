#include "arrays.hpp"
#include "mwaconvert/transients/clean.hpp"
#include "register.hpp"

namespace mwaconvert {
namespace {

Scales scales_of(const Array<float>& base, const Array<float>& inverse, int64_t block, int64_t n_chan) {
  const auto b = view<float, 2>(base, "base", {n_chan, -1});
  return {b, view<float, 2>(inverse, "inverse", {n_chan, b.shape[1]}), block};
}

// Rows that may be parts of longer ones.
template <typename V>
V in_rows(V rows, const std::string& name) {
  if (rows.size() > 1 && rows.shape[1] > 1 && rows.stride[1] != 1)
    throw InputError("array '" + name + "': expected the values of a row to be side by side");
  return rows;
}

template <typename T>
void define_clean(py::module_& m) {
  m.def(
      "block_moments",
      [](const Strided<T>& data, const Strided<uint8_t>& used, int64_t block, Array<float>& count,
         Array<float>& mean, Array<float>& std, int threads) {
        const auto x = in_rows(view<T, 2>(data, "data", {-1, -1}), "data");
        const auto u = in_rows(view<uint8_t, 2>(used, "used", {-1, -1}), "used");
        const auto n = mutable_view<float, 2>(count, "count", {x.shape[0], -1});
        const auto a = mutable_view<float, 2>(mean, "mean", {x.shape[0], n.shape[1]});
        const auto s = mutable_view<float, 2>(std, "std", {x.shape[0], n.shape[1]});
        py::gil_scoped_release release;
        block_moments(x, u, block, n, a, s, threads);
      },
      py::kw_only(), "data"_a.noconvert(), "used"_a.noconvert(), "block"_a, "count"_a.noconvert(),
      "mean"_a.noconvert(), "std"_a.noconvert(), "threads"_a = 0,
      "Mean and standard deviation by channel and block of samples.");
  m.def(
      "longest_runs",
      [](const Strided<T>& data, const Array<uint8_t>& live, float value, Array<uint8_t>& longest,
         int threads) {
        const auto x = in_rows(view<T, 2>(data, "data", {-1, -1}), "data");
        const auto l = view<uint8_t, 1>(live, "live", {x.shape[0]});
        const auto o = mutable_view<uint8_t, 1>(longest, "longest", {x.shape[1]});
        py::gil_scoped_release release;
        longest_runs(x, l, static_cast<T>(value), o, threads);
      },
      "data"_a.noconvert(), "live"_a.noconvert(), "value"_a, "longest"_a.noconvert(), "threads"_a = 0,
      "At each time the longest run of neighbouring channels that hold a value, up to 255.");
  m.def(
      "mark_runs",
      [](const Strided<T>& data, const Array<uint8_t>& live, float value, int64_t run, Array<uint8_t>& used,
         int threads) {
        const auto x = in_rows(view<T, 2>(data, "data", {-1, -1}), "data");
        const auto l = view<uint8_t, 1>(live, "live", {x.shape[0]});
        const auto u = mutable_view<uint8_t, 2>(used, "used", {x.shape[0], x.shape[1]});
        py::gil_scoped_release release;
        mark_runs(x, l, static_cast<T>(value), run, u, threads);
      },
      "data"_a.noconvert(), "live"_a.noconvert(), "value"_a, "run"_a, "used"_a.noconvert(), "threads"_a = 0,
      "Set `used` to 0 in runs of neighbouring channels that hold a value.");
  m.def(
      "band_sums",
      [](const Strided<T>& data, const Strided<uint8_t>& used, const Array<float>& base,
         const Array<float>& inverse, int64_t block, const Array<int32_t>& edges, Strided<float>& sums,
         Array<float>& squares, int threads) {
        const auto x = in_rows(view<T, 2>(data, "data", {-1, -1}), "data");
        const auto u = in_rows(view<uint8_t, 2>(used, "used", {-1, -1}), "used");
        const Scales scales = scales_of(base, inverse, block, x.shape[0]);
        const auto s = in_rows(mutable_view<float, 2>(sums, "sums", {-1, x.shape[1]}), "sums");
        const auto e = view<int32_t, 1>(edges, "edges", {s.shape[0] + 1});
        const auto q = mutable_view<float, 1>(squares, "squares", {x.shape[1]});
        py::gil_scoped_release release;
        band_sums(x, u, scales, e, s, q, threads);
      },
      py::kw_only(), "data"_a.noconvert(), "used"_a.noconvert(), "base"_a.noconvert(),
      "inverse"_a.noconvert(), "block"_a, "edges"_a.noconvert(), "sums"_a.noconvert(),
      "squares"_a.noconvert(), "threads"_a = 0, "Sums over sub-bands of samples in units of the noise.");
  m.def(
      "cleaned_bytes",
      [](const Strided<T>& data, const Strided<uint8_t>& used, const Array<float>& base,
         const Array<float>& inverse, int64_t block, const Array<int32_t>& edges,
         const Strided<float>& common, const Array<uint8_t>& keep, float origin, float unit, int64_t stretch,
         Strided<uint8_t>& out, Strided<uint8_t>& kept, int threads) {
        const auto x = in_rows(view<T, 2>(data, "data", {-1, -1}), "data");
        const auto u = in_rows(view<uint8_t, 2>(used, "used", {-1, -1}), "used");
        const Scales scales = scales_of(base, inverse, block, x.shape[0]);
        const auto a = in_rows(view<float, 2>(common, "common", {-1, x.shape[1]}), "common");
        const auto e = view<int32_t, 1>(edges, "edges", {a.shape[0] + 1});
        const auto k = view<uint8_t, 1>(keep, "keep", {x.shape[1]});
        const auto o = in_rows(mutable_view<uint8_t, 2>(out, "out", {x.shape[0], x.shape[1]}), "out");
        const auto n = in_rows(mutable_view<uint8_t, 2>(kept, "kept", {x.shape[0], -1}), "kept");
        py::gil_scoped_release release;
        cleaned_bytes(x, u, scales, e, a, k, origin, unit, stretch, o, n, threads);
      },
      py::kw_only(), "data"_a.noconvert(), "used"_a.noconvert(), "base"_a.noconvert(),
      "inverse"_a.noconvert(), "block"_a, "edges"_a.noconvert(), "common"_a.noconvert(), "keep"_a.noconvert(),
      "origin"_a, "unit"_a, "stretch"_a, "out"_a.noconvert(), "kept"_a.noconvert(), "threads"_a = 0,
      "Spectra as bytes in units of the noise, without what is common to all channels.");
}

}  // namespace

void register_clean(py::module_& m) {
  define_clean<uint8_t>(m);
  define_clean<float>(m);
  m.def(
      "running_median",
      [](const Strided<float>& values, int64_t half, int64_t least, Strided<float>& out, int threads) {
        const auto x = view<float, 2>(values, "values", {-1, -1});
        const auto o = mutable_view<float, 2>(out, "out", {x.shape[0], x.shape[1]});
        py::gil_scoped_release release;
        running_median(x, half, least, o, threads);
      },
      "values"_a.noconvert(), "half"_a, "least"_a, "out"_a.noconvert(), "threads"_a = 0,
      "Median of each value and its neighbours along a row.");
}

}  // namespace mwaconvert
