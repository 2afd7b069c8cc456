#include "arrays.hpp"
#include "mwaconvert/transients/period.hpp"
#include "register.hpp"

namespace mwaconvert {
namespace {

template <typename Row>
py::array_t<Row> table_of(const std::vector<Row>& rows) {
  py::array_t<Row> table(static_cast<py::ssize_t>(rows.size()));
  std::copy(rows.begin(), rows.end(), table.mutable_data());
  return table;
}

template <typename T>
void define_fold(py::module_& m) {
  m.def(
      "fold",
      [](const Array<T>& data, const Array<float>& weights, double phase, double step,
         const Array<double>& shift, const Array<int32_t>& edges, Array<double>& sums, Array<double>& counts,
         int threads) {
        const auto x = view<T, 2>(data, "data", {-1, -1});
        const auto w = view<float, 2>(weights, "weights", {weights.shape(0) == 0 ? 0 : x.shape[0], -1});
        if (w.shape[0] != 0 && w.shape[1] != x.shape[1]) throw InputError("fold: weights of other samples");
        const auto h = view<double, 1>(shift, "shift", {x.shape[0]});
        const auto s = mutable_view<double, 2>(sums, "sums", {-1, -1});
        const auto e = view<int32_t, 1>(edges, "edges", {s.shape[0] + 1});
        const auto n = mutable_view<double, 2>(counts, "counts", {s.shape[0], s.shape[1]});
        py::gil_scoped_release release;
        fold(x, w, phase, step, h, e, s, n, threads);
      },
      py::kw_only(), "data"_a.noconvert(), "weights"_a.noconvert(), "phase"_a, "step"_a,
      "shift"_a.noconvert(), "edges"_a.noconvert(), "sums"_a.noconvert(), "counts"_a.noconvert(),
      "threads"_a = 0, "Add samples to the bins of their phase.");
}

}  // namespace

void register_period(py::module_& m) {
  PYBIND11_NUMPY_DTYPE(Folded, trial, n_bin, drift, width, snr);
  PYBIND11_NUMPY_DTYPE(Harmonic, trial, level, bin, power);
  define_fold<uint8_t>(m);
  define_fold<float>(m);
  m.def(
      "ffa_transform",
      [](const Array<float>& rows, Array<float>& out) {
        const auto x = view<float, 2>(rows, "rows", {-1, -1});
        const auto o = mutable_view<float, 2>(out, "out", {x.shape[0], x.shape[1]});
        py::gil_scoped_release release;
        ffa_transform(x, o);
      },
      "rows"_a.noconvert(), "out"_a.noconvert(), "The fast folding algorithm.");
  m.def(
      "ffa_search",
      [](const Array<float>& series, int64_t first_bin, int64_t last_bin, const Array<int32_t>& widths,
         float threshold, int threads) {
        const auto x = view<float, 2>(series, "series", {-1, -1});
        const auto w = view<int32_t, 1>(widths, "widths", {-1});
        std::vector<Folded> found;
        {
          py::gil_scoped_release release;
          ffa_search(x, first_bin, last_bin, w, threshold, found, threads);
        }
        return table_of(found);
      },
      py::kw_only(), "series"_a.noconvert(), "first_bin"_a, "last_bin"_a, "widths"_a.noconvert(),
      "threshold"_a, "threads"_a = 0,
      "Folds above the threshold: the table (trial, n_bin, drift, width, snr).");
  m.def(
      "harmonic_search",
      [](const Array<float>& power, int64_t first, const Array<float>& thresholds, int threads) {
        const auto x = view<float, 2>(power, "power", {-1, -1});
        const auto t = view<float, 1>(thresholds, "thresholds", {-1});
        std::vector<Harmonic> found;
        {
          py::gil_scoped_release release;
          harmonic_search(x, first, t, found, threads);
        }
        return table_of(found);
      },
      py::kw_only(), "power"_a.noconvert(), "first"_a, "thresholds"_a.noconvert(), "threads"_a = 0,
      "Sums of harmonics above the thresholds: the table (trial, level, bin, power).");
}

}  // namespace mwaconvert
