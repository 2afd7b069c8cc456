#include "arrays.hpp"
#include "mwaconvert/visibilities/ms.hpp"
#include "register.hpp"

namespace mwaconvert {
namespace {

void check_channels(int64_t first_chan, int64_t n_chan, int64_t n_block) {
  if (n_chan < 1 || first_chan < 0 || first_chan + n_chan > n_block)
    throw InputError("channels " + std::to_string(first_chan) + " to " + std::to_string(first_chan + n_chan) +
                     " are not among the " + std::to_string(n_block) + " of the block");
}

}  // namespace

void register_ms(py::module_& m) {
  m.def(
      "ms_columns",
      [](const Array<float>& weight, int64_t first_chan, Array<float>& weight_spectrum, Array<bool>& flag,
         Array<float>& weight_sum, Array<bool>& flag_row, int threads) {
        const auto in = view<float, 3>(weight, "weight", {-1, -1, 4});
        const int64_t n = in.shape[0];
        const auto spectrum = mutable_view<float, 3>(weight_spectrum, "weight_spectrum", {n, -1, 4});
        const int64_t n_chan = spectrum.shape[1];
        const auto out_flag = mutable_view<bool, 3>(flag, "flag", {n, n_chan, 4});
        const auto sum = mutable_view<float, 2>(weight_sum, "weight_sum", {n, 4});
        const auto row = mutable_view<bool, 1>(flag_row, "flag_row", {n});
        check_channels(first_chan, n_chan, in.shape[1]);
        py::gil_scoped_release release;
        ms_columns(in, first_chan, spectrum, out_flag, sum, row, threads);
      },
      py::kw_only(), "weight"_a.noconvert(), "first_chan"_a, "weight_spectrum"_a.noconvert(),
      "flag"_a.noconvert(), "weight_sum"_a.noconvert(), "flag_row"_a.noconvert(), "threads"_a = 0,
      "Split signed weights (row, channel, 4) into |weight|, flags, sums over channels and row flags.\n\n"
      "The outputs hold the channels from first_chan on.");
  m.def("flag_bytes", &flag_bytes, "n_chan"_a, "Bytes that the flags of a row take in a measurement set.");
  m.def(
      "write_ms_cells",
      [](std::array<int, 3> files, int64_t first_row, const Array<std::complex<float>>& vis,
         const Array<float>& weight, int64_t first_chan, int64_t n_chan, Array<float>& weight_sum,
         Array<bool>& flag_row, int threads) {
        const auto in = view<std::complex<float>, 3>(vis, "vis", {-1, -1, 4});
        const int64_t n = in.shape[0];
        const auto in_weight = view<float, 3>(weight, "weight", {n, in.shape[1], 4});
        const auto sum = mutable_view<float, 2>(weight_sum, "weight_sum", {n, 4});
        const auto row = mutable_view<bool, 1>(flag_row, "flag_row", {n});
        check_channels(first_chan, n_chan, in.shape[1]);
        py::gil_scoped_release release;
        write_ms_cells({files[0], files[1], files[2]}, first_row, in, in_weight, first_chan, n_chan, sum, row,
                       threads);
      },
      py::kw_only(), "files"_a, "first_row"_a, "vis"_a.noconvert(), "weight"_a.noconvert(), "first_chan"_a,
      "n_chan"_a, "weight_sum"_a.noconvert(), "flag_row"_a.noconvert(), "threads"_a = 0,
      "Write cells of DATA, WEIGHT_SPECTRUM and FLAG into their files (descriptors in this order).");
}

}  // namespace mwaconvert
