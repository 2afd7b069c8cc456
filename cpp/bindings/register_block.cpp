#include <cmath>

#include "arrays.hpp"
#include "check_chunk.hpp"
#include "mwaconvert/visibilities/block.hpp"
#include "mwaconvert/visibilities/phasors.hpp"
#include "register.hpp"

namespace mwaconvert {
namespace {

using Complex = std::complex<float>;

// The arguments common to the two correlators, checked against each other.
struct Arguments {
  BlockInput in;
  BlockOutput out;

  Arguments(const Array<Chunk>& chunks, int64_t n_fine, int64_t freq_factor, bool averaged,
            const Array<int32_t>& antenna1, const Array<int32_t>& antenna2, const Array<uint8_t>& row_flagged,
            const std::optional<Array<Complex>>& factors, const std::optional<Array<Complex>>& jones,
            const Array<float>& channel_weight, const Array<uint8_t>& channel_flagged,
            const std::optional<Strided<uint8_t>>& mask, Array<Complex>& vis, Array<float>& weight,
            Array<int64_t>& bad_cells) {
    if (n_fine < 1 || freq_factor < 1) throw InputError("n_fine and freq_factor must be at least 1");
    in.chunks = view<Chunk, 2>(chunks, "chunks", {-1, -1});
    if (!averaged && (freq_factor > 1 || in.chunks.shape[0] > 1))
      throw InputError("several channels or timesteps make one value, but 'averaged' is off");
    for (int64_t k = 0; k < in.chunks.size(); ++k) check_chunk(in.chunks.data[k]);
    in.n_fine = n_fine;
    in.freq_factor = freq_factor;
    in.averaged = averaged;
    const int64_t n_coarse = in.chunks.shape[1];
    in.antenna1 = view<int32_t, 1>(antenna1, "antenna1", {-1});
    const int64_t n_rows = in.antenna1.shape[0];
    in.antenna2 = view<int32_t, 1>(antenna2, "antenna2", {n_rows});
    in.row_flagged = view<uint8_t, 1>(row_flagged, "row_flagged", {n_rows});
    if (factors) {
      in.factors = view<Complex, 3>(*factors, "factors", {-1, n_coarse * n_fine, 2});
      check_antennas(in.factors.shape[0], "factors");
    }
    const int64_t n_out = n_coarse * ((n_fine + freq_factor - 1) / freq_factor);
    if (jones) {
      const bool of_input = jones->ndim() > 1 && jones->shape(1) == n_coarse * n_fine;
      in.jones = view<Complex, 3>(*jones, "jones", {-1, of_input ? n_coarse * n_fine : n_out, 4});
      check_antennas(in.jones.shape[0], "jones");
    }
    in.channel_weight = view<float, 1>(channel_weight, "channel_weight", {n_coarse * n_fine});
    for (int64_t k = 0; k < n_coarse * n_fine; ++k)
      if (!(in.channel_weight(k) >= 0 && std::isfinite(in.channel_weight(k))))
        throw InputError("channel_weight must be finite and not negative");
    in.channel_flagged = view<uint8_t, 1>(channel_flagged, "channel_flagged", {n_coarse * n_fine});
    if (mask) {
      in.mask = view<uint8_t, 4>(*mask, "mask", {in.chunks.shape[0], n_coarse, n_rows, (n_fine + 7) / 8});
      if (in.mask.shape[3] > 1 && in.mask.size() > 0 && in.mask.stride[3] != 1)
        throw InputError("array 'mask': bytes of channels must follow each other");
    }
    out.vis = mutable_view<Complex, 3>(vis, "vis", {n_rows, n_out, 4});
    out.weight = mutable_view<float, 3>(weight, "weight", {n_rows, n_out, 4});
    out.bad_cells = mutable_view<int64_t, 1>(bad_cells, "bad_cells", {n_rows});
  }

  void check_antennas(int64_t n_antenna, const char* name) const {
    for (int64_t r = 0; r < in.antenna1.shape[0]; ++r)
      if (in.antenna1(r) < 0 || in.antenna1(r) >= n_antenna || in.antenna2(r) < 0 ||
          in.antenna2(r) >= n_antenna)
        throw InputError("row " + std::to_string(r) + " names an antenna that array '" + name +
                         "' does not hold");
  }
};

}  // namespace

void register_block(py::module_& m) {
  PYBIND11_NUMPY_DTYPE(Chunk, fd, kind, state, row_bytes, desc_offset, desc_64, rice_block, file, data_offset,
                       heap_offset, weight_offset, bscale, bzero);
  m.attr("chunk_dtype") = py::dtype::of<Chunk>();
  m.attr("CHUNK_GOOD") = static_cast<int>(kGood);
  m.attr("CHUNK_FLAGGED") = static_cast<int>(kFlagged);
  m.attr("CHUNK_MISSING") = static_cast<int>(kMissing);

  m.def(
      "antenna_phasors",
      [](const Array<double>& w_m, const Array<double>& start_hz, double step_hz, bool by_channel,
         Array<Complex>& out, int threads) {
        const auto w = view<double, 2>(w_m, "w_m", {-1, -1});
        const auto start = view<double, 1>(start_hz, "start_hz", {-1});
        const int64_t n_column = w.shape[1];
        const auto o = mutable_view<Complex, 4>(
            out, "out", {w.shape[0], start.shape[0], by_channel ? -1 : n_column, by_channel ? n_column : -1});
        py::gil_scoped_release release;
        antenna_phasors(w, start, step_hz, by_channel, o, threads);
      },
      "w_m"_a.noconvert(), "start_hz"_a.noconvert(), "step_hz"_a, "by_channel"_a, "out"_a.noconvert(),
      "threads"_a = 0,
      R"(Phase factors exp(-2 pi i w f / c) of antennas.

w_m (n_time, n_column) metres, start_hz (n_coarse,), out (n_time, n_coarse, n_column, n_fine) complex64, or
(n_time, n_coarse, n_fine, n_column) with by_channel.)");

  m.def(
      "convert_mwax",
      [](const Array<Chunk>& chunks, int64_t n_fine, int64_t freq_factor, bool averaged,
         const Array<int32_t>& antenna1, const Array<int32_t>& antenna2, const Array<uint8_t>& row_flagged,
         const std::optional<Array<Complex>>& factors, const std::optional<Array<Complex>>& jones,
         const Array<float>& channel_weight, const Array<uint8_t>& channel_flagged,
         const std::optional<Strided<uint8_t>>& mask, const std::optional<Array<Complex>>& phasors,
         const Array<int64_t>& file_row, bool use_weights, Array<Complex>& vis, Array<float>& weight,
         Array<int64_t>& bad_cells, int threads) {
        const Arguments a(chunks, n_fine, freq_factor, averaged, antenna1, antenna2, row_flagged, factors,
                          jones, channel_weight, channel_flagged, mask, vis, weight, bad_cells);
        View<const Complex, 4> g;
        if (phasors) {
          g = view<Complex, 4>(*phasors, "phasors", {a.in.chunks.shape[0], a.in.chunks.shape[1], -1, n_fine});
          a.check_antennas(g.shape[2], "phasors");
        }
        const auto rows = view<int64_t, 1>(file_row, "file_row", {a.in.antenna1.shape[0]});
        for (int64_t r = 0; r < rows.shape[0]; ++r)
          if (rows(r) < 0 || (r > 0 && rows(r) <= rows(r - 1)))
            throw InputError("file_row must ascend from 0");
        if (rows.shape[0] == 0) return;
        py::gil_scoped_release release;
        convert_mwax(a.in, g, rows, use_weights, a.out, threads);
      },
      py::kw_only(), "chunks"_a.noconvert(), "n_fine"_a, "freq_factor"_a, "averaged"_a,
      "antenna1"_a.noconvert(), "antenna2"_a.noconvert(), "row_flagged"_a.noconvert(),
      "factors"_a.noconvert(), "jones"_a.noconvert(), "channel_weight"_a.noconvert(),
      "channel_flagged"_a.noconvert(), "mask"_a.noconvert(), "phasors"_a.noconvert(),
      "file_row"_a.noconvert(), "use_weights"_a, "vis"_a.noconvert(), "weight"_a.noconvert(),
      "bad_cells"_a.noconvert(), "threads"_a = 0,
      R"(Read, correct and average one output timestep of MWAX files.

vis and weight (n_rows, n_out, 4), bad_cells (n_rows,) are filled; a mask bit flags a cell.)");

  m.def(
      "convert_legacy",
      [](const Array<Chunk>& chunks, int64_t n_fine, int64_t freq_factor, bool averaged,
         const Array<int32_t>& antenna1, const Array<int32_t>& antenna2, const Array<uint8_t>& row_flagged,
         const std::optional<Array<Complex>>& factors, const std::optional<Array<Complex>>& jones,
         const Array<float>& channel_weight, const Array<uint8_t>& channel_flagged,
         const std::optional<Strided<uint8_t>>& mask, const std::optional<Array<Complex>>& phasors,
         int64_t n_slot, const Array<int32_t>& product, const Array<uint8_t>& conjugated,
         double van_vleck_samples, Array<Complex>& vis, Array<float>& weight, Array<int64_t>& bad_cells,
         int threads) {
        const Arguments a(chunks, n_fine, freq_factor, averaged, antenna1, antenna2, row_flagged, factors,
                          jones, channel_weight, channel_flagged, mask, vis, weight, bad_cells);
        View<const Complex, 4> g;
        if (phasors)
          g = view<Complex, 4>(*phasors, "phasors",
                               {a.in.chunks.shape[0], a.in.chunks.shape[1], n_fine, n_slot});
        if (!(van_vleck_samples >= 0 && std::isfinite(van_vleck_samples)))
          throw InputError("van_vleck_samples must be finite and not negative");
        if (n_slot < 2 || n_slot % 2 != 0) throw InputError("n_slot must be even and at least 2");
        const int64_t n_rows = a.in.antenna1.shape[0];
        const auto index = view<int32_t, 2>(product, "product", {n_rows, 4});
        const auto conj = view<uint8_t, 2>(conjugated, "conjugated", {n_rows, 4});
        if (n_rows == 0) return;
        py::gil_scoped_release release;
        convert_legacy(a.in, g, n_slot, index, conj, van_vleck_samples, a.out, threads);
      },
      py::kw_only(), "chunks"_a.noconvert(), "n_fine"_a, "freq_factor"_a, "averaged"_a,
      "antenna1"_a.noconvert(), "antenna2"_a.noconvert(), "row_flagged"_a.noconvert(),
      "factors"_a.noconvert(), "jones"_a.noconvert(), "channel_weight"_a.noconvert(),
      "channel_flagged"_a.noconvert(), "mask"_a.noconvert(), "phasors"_a.noconvert(), "n_slot"_a,
      "product"_a.noconvert(), "conjugated"_a.noconvert(), "van_vleck_samples"_a, "vis"_a.noconvert(),
      "weight"_a.noconvert(), "bad_cells"_a.noconvert(), "threads"_a = 0,
      R"(Read, correct and average one output timestep of legacy files.

vis and weight (n_rows, n_out, 4), bad_cells (n_rows,) are filled; a mask bit flags a cell.)");
}

}  // namespace mwaconvert
