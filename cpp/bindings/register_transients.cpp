#include <algorithm>
#include <optional>
#include <vector>

#include "arrays.hpp"
#include "mwaconvert/transients/boxcar.hpp"
#include "mwaconvert/transients/coherent.hpp"
#include "mwaconvert/transients/dedisperse.hpp"
#include "mwaconvert/transients/tree.hpp"
#include "mwaconvert/transients/unpack.hpp"
#include "register.hpp"

namespace mwaconvert {
namespace {

template <typename T>
void define_dedisperse(py::module_& m) {
  m.def(
      "dedisperse",
      [](const Array<T>& data, const Array<int32_t>& delays, Array<float>& out, int threads) {
        const auto x = view<T, 2>(data, "data", {-1, -1});
        const auto d = view<int32_t, 2>(delays, "delays", {-1, x.shape[0]});
        const auto o = mutable_view<float, 2>(out, "out", {d.shape[0], -1});
        py::gil_scoped_release release;
        dedisperse(x, d, o, threads);
      },
      "data"_a.noconvert(), "delays"_a.noconvert(), "out"_a.noconvert(), "threads"_a = 0,
      "Sum channels, each shifted by its delay.");
  m.def(
      "dedisperse_subbands",
      [](const Array<T>& data, const Array<int32_t>& edges, const Array<int32_t>& within,
         const Array<int32_t>& across, int64_t trials_per_group, Array<float>& out, int threads) {
        const auto x = view<T, 2>(data, "data", {-1, -1});
        const auto a = view<int32_t, 2>(across, "across", {-1, -1});
        const auto e = view<int32_t, 1>(edges, "edges", {a.shape[1] + 1});
        const auto w = view<int32_t, 2>(within, "within", {-1, x.shape[0]});
        const auto o = mutable_view<float, 2>(out, "out", {a.shape[0], -1});
        py::gil_scoped_release release;
        dedisperse_subbands(x, e, w, a, trials_per_group, o, threads);
      },
      py::kw_only(), "data"_a.noconvert(), "edges"_a.noconvert(), "within"_a.noconvert(),
      "across"_a.noconvert(), "trials_per_group"_a, "out"_a.noconvert(), "threads"_a = 0,
      "Sum channels in two stages.");
  m.def(
      "dedisperse_tree",
      [](const Array<T>& data, const std::vector<std::array<Array<int32_t>, 4>>& levels, int kept,
         Array<float>& out, TreeMemory* memory, int threads) {
        const auto x = view<T, 2>(data, "data", {-1, -1});
        const auto o = mutable_view<float, 2>(out, "out", {-1, -1});
        std::vector<TreeLevel> tree;
        for (const auto& [first, child, offset, blocks] : levels) {
          const auto c = view<int32_t, 1>(child, "child", {-1});
          tree.push_back({view<int32_t, 1>(first, "first", {-1}), c,
                          view<int32_t, 1>(offset, "offset", {c.shape[0]}),
                          view<int32_t, 1>(blocks, "blocks", {-1})});
        }
        py::gil_scoped_release release;
        TreeMemory own;
        dedisperse_tree(x, tree, kept, o, threads, memory ? *memory : own);
      },
      "data"_a.noconvert(), "levels"_a.noconvert(), "kept"_a, "out"_a.noconvert(), "memory"_a = py::none(),
      "threads"_a = 0, "Sum channels by a tree.");
}

template <typename T>
void define_unpack(py::module_& m) {
  m.def(
      "unpack_numbers",
      [](const Array<T>& spectra, int64_t offset, bool reverse, Array<float>& out, int threads) {
        const auto x = view<T, 2>(spectra, "spectra", {-1, -1});
        const auto o = mutable_view<float, 2>(out, "out", {-1, -1});
        py::gil_scoped_release release;
        unpack(x, offset, reverse, o, threads);
      },
      "spectra"_a.noconvert(), "offset"_a, "reverse"_a, "out"_a.noconvert(), "threads"_a = 0,
      "Transpose spectra of numbers to float32 channels.");
}

}  // namespace

void register_transients(py::module_& m) {
  PYBIND11_NUMPY_DTYPE(Boxcar, trial, snr, start, width);
  m.def(
      "round_delays",
      [](const Array<double>& dm, const Array<double>& per_dm, Array<int32_t>& delays) {
        const auto t = view<double, 1>(dm, "dm", {-1});
        const auto c = view<double, 1>(per_dm, "per_dm", {-1});
        const auto d = mutable_view<int32_t, 2>(delays, "delays", {t.shape[0], c.shape[0]});
        py::gil_scoped_release release;
        round_delays(t, c, d);
      },
      "dm"_a.noconvert(), "per_dm"_a.noconvert(), "delays"_a.noconvert(),
      "Delays in samples of trials and channels.");
  py::class_<TreeMemory>(m, "TreeMemory", "Memory that runs of a tree keep, for one run at a time.")
      .def(py::init<>());
  define_dedisperse<uint8_t>(m);
  define_dedisperse<float>(m);
  m.def(
      "dedisperse_coherent",
      [](const Array<std::complex<float>>& data, const Array<double>& freqs, double rate_mhz, double k_dm,
         int sideband, int64_t n_fft, int64_t before, int64_t after, Array<std::complex<float>>& out,
         int threads) {
        const auto x = view<std::complex<float>, 3>(data, "data", {-1, -1, -1});
        const auto f = view<double, 1>(freqs, "freqs", {x.shape[1]});
        const auto o = mutable_view<std::complex<float>, 3>(out, "out", {x.shape[0], x.shape[1], -1});
        py::gil_scoped_release release;
        dedisperse_coherent(x, f, {rate_mhz, k_dm, sideband, n_fft, before, after}, o, threads);
      },
      py::kw_only(), "data"_a.noconvert(), "freqs"_a.noconvert(), "rate_mhz"_a, "k_dm"_a, "sideband"_a,
      "n_fft"_a, "before"_a, "after"_a, "out"_a.noconvert(), "threads"_a = 0,
      "Coherent dedispersion of voltages.");
  m.def(
      "unpack",
      [](const Array<uint8_t>& spectra, int64_t offset, int n_bits, bool first_high, bool reverse,
         Array<uint8_t>& out, std::optional<int64_t> column, int threads) {
        const auto x = view<uint8_t, 2>(spectra, "spectra", {-1, -1});
        auto o = mutable_view<uint8_t, 2>(out, "out", {-1, -1});
        if (column) {  // only the columns of these spectra
          if (*column < 0 || *column + x.shape[0] > o.shape[1])
            throw InputError("unpack: spectra beyond the columns of out");
          o.data += *column;
          o.shape[1] = x.shape[0];
        }
        py::gil_scoped_release release;
        unpack(x, offset, n_bits, first_high, reverse, o, threads);
      },
      py::kw_only(), "spectra"_a.noconvert(), "offset"_a, "n_bits"_a, "first_high"_a, "reverse"_a,
      "out"_a.noconvert(), "column"_a = py::none(), "threads"_a = 0,
      "Unpack and transpose spectra of 1 to 8 bits.");
  define_unpack<int8_t>(m);
  define_unpack<uint16_t>(m);
  define_unpack<float>(m);
  m.def(
      "noise",
      [](const Array<float>& series, Array<float>& mean, Array<float>& sigma, int threads) {
        const auto x = view<float, 2>(series, "series", {-1, -1});
        const auto a = mutable_view<float, 1>(mean, "mean", {x.shape[0]});
        const auto s = mutable_view<float, 1>(sigma, "sigma", {x.shape[0]});
        py::gil_scoped_release release;
        noise(x, a, s, threads);
      },
      "series"_a.noconvert(), "mean"_a.noconvert(), "sigma"_a.noconvert(), "threads"_a = 0,
      "Mean and standard deviation of the noise.");
  m.def(
      "search_series",
      [](const Array<float>& series, const Array<float>& share, const Array<int32_t>& row, int n_width,
         float threshold, Array<float>& mean, Array<float>& sigma, Array<float>& snr, Array<int32_t>& start,
         Array<int32_t>& width, int threads) {
        const auto x = view<float, 2>(series, "series", {-1, -1});
        const Cover cover{view<float, 2>(share, "share", {-1, -1}), view<int32_t, 1>(row, "row", {-1})};
        const auto a = mutable_view<float, 1>(mean, "mean", {x.shape[0]});
        const auto s = mutable_view<float, 1>(sigma, "sigma", {x.shape[0]});
        const auto best = mutable_view<float, 1>(snr, "snr", {x.shape[0]});
        const auto at = mutable_view<int32_t, 1>(start, "start", {x.shape[0]});
        const auto w = mutable_view<int32_t, 1>(width, "width", {x.shape[0]});
        std::vector<Boxcar> found;
        {
          py::gil_scoped_release release;
          search_series(x, cover, n_width, threshold, a, s, best, at, w, found, threads);
        }
        py::array_t<Boxcar> table(static_cast<py::ssize_t>(found.size()));
        std::copy(found.begin(), found.end(), table.mutable_data());
        return table;
      },
      py::kw_only(), "series"_a.noconvert(), "share"_a.noconvert(), "row"_a.noconvert(), "n_width"_a,
      "threshold"_a, "mean"_a.noconvert(), "sigma"_a.noconvert(), "snr"_a.noconvert(), "start"_a.noconvert(),
      "width"_a.noconvert(), "threads"_a = 0,
      "Noise and best boxcars of each series: the table (trial, snr, start, width) of those above the "
      "threshold.");
}

}  // namespace mwaconvert
