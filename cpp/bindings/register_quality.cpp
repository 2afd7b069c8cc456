#include "arrays.hpp"
#include "mwaconvert/visibilities/mask_counts.hpp"
#include "mwaconvert/visibilities/quality.hpp"
#include "register.hpp"

namespace mwaconvert {

void register_quality(py::module_& m) {
  m.def(
      "quality_sums",
      [](const Array<std::complex<float>>& vis, const Array<float>& weight, const Array<uint8_t>& row_static,
         const Array<uint8_t>& row_cross, const Array<uint8_t>& channel_static,
         const Array<int64_t>& window_start, Array<std::complex<double>>& row_sums,
         Array<int64_t>& row_counts, Array<std::complex<double>>& channel_sums,
         Array<int64_t>& channel_counts, int threads) {
        QualityInput in;
        in.vis = view<std::complex<float>, 3>(vis, "vis", {-1, -1, 4});
        const int64_t n_rows = in.vis.shape[0], n_chan = in.vis.shape[1];
        in.weight = view<float, 3>(weight, "weight", {n_rows, n_chan, 4});
        in.row_static = view<uint8_t, 1>(row_static, "row_static", {n_rows});
        in.row_cross = view<uint8_t, 1>(row_cross, "row_cross", {n_rows});
        in.channel_static = view<uint8_t, 1>(channel_static, "channel_static", {n_chan});
        in.window_start = view<int64_t, 1>(window_start, "window_start", {-1});
        const int64_t n_win = in.window_start.shape[0] - 1;
        for (int64_t w = 0; w <= n_win; ++w)
          if (in.window_start(w) < (w ? in.window_start(w - 1) : 0) || in.window_start(w) > n_chan)
            throw InputError("window_start must ascend within the channels");
        QualityOutput out;
        out.row_sums = mutable_view<std::complex<double>, 4>(row_sums, "row_sums", {n_rows, n_win, 4, 4});
        out.row_counts = mutable_view<int64_t, 4>(row_counts, "row_counts", {n_rows, n_win, 3, 4});
        out.channel_sums =
            mutable_view<std::complex<double>, 3>(channel_sums, "channel_sums", {n_chan, 4, 4});
        out.channel_counts = mutable_view<int64_t, 3>(channel_counts, "channel_counts", {n_chan, 3, 4});
        py::gil_scoped_release release;
        quality_sums(in, out, threads);
      },
      py::kw_only(), "vis"_a.noconvert(), "weight"_a.noconvert(), "row_static"_a.noconvert(),
      "row_cross"_a.noconvert(), "channel_static"_a.noconvert(), "window_start"_a.noconvert(),
      "row_sums"_a.noconvert(), "row_counts"_a.noconvert(), "channel_sums"_a.noconvert(),
      "channel_counts"_a.noconvert(), "threads"_a = 0,
      "Add a block's statistics to sums by row and by channel.");
  m.def(
      "mask_counts",
      [](const Array<uint8_t>& bits, const Array<uint8_t>& wanted, const Array<uint8_t>& row,
         const Array<uint8_t>& chunk, int64_t n_fine, int64_t times_per_count, Array<int64_t>& by_row,
         Array<int32_t>& by_channel, int threads) {
        MaskCountInput in;
        in.bits = view<uint8_t, 4>(bits, "bits", {-1, -1, -1, (n_fine + 7) / 8});
        const auto [n_times, n_coarse, n_rows, n_bytes] = in.bits.shape;
        in.wanted = view<uint8_t, 2>(wanted, "wanted", {n_coarse, n_bytes});
        in.row = view<uint8_t, 1>(row, "row", {n_rows});
        in.chunk = view<uint8_t, 2>(chunk, "chunk", {n_times, n_coarse});
        in.n_fine = n_fine;
        if (times_per_count < 1) throw InputError("times_per_count must be at least 1");
        in.times_per_count = times_per_count;
        const auto rows = mutable_view<int64_t, 2>(by_row, "by_row", {n_coarse, n_rows});
        const auto channels = mutable_view<int32_t, 2>(
            by_channel, "by_channel", {(n_times + times_per_count - 1) / times_per_count, n_coarse * n_fine});
        py::gil_scoped_release release;
        mask_counts(in, rows, channels, threads);
      },
      py::kw_only(), "bits"_a.noconvert(), "wanted"_a.noconvert(), "row"_a.noconvert(), "chunk"_a.noconvert(),
      "n_fine"_a, "times_per_count"_a, "by_row"_a.noconvert(), "by_channel"_a.noconvert(), "threads"_a = 0,
      "Add the numbers of flagged cells of a mask by row and channel.");
}

}  // namespace mwaconvert
