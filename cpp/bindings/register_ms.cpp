#include "arrays.hpp"
#include "mwaconvert/ms.hpp"
#include "register.hpp"

namespace mwaconvert {

void register_ms(py::module_& m) {
  m.def(
      "ms_columns",
      [](const Array<float>& weight, int64_t first_chan, Array<float>& weight_spectrum, Array<bool>& flag,
         Array<float>& weight_sum, Array<bool>& flag_row, int nthreads) {
        const auto in = view<float, 3>(weight, "weight", {-1, -1, 4});
        const int64_t n = in.shape[0];
        const auto spectrum = mutable_view<float, 3>(weight_spectrum, "weight_spectrum", {n, -1, 4});
        const int64_t n_chan = spectrum.shape[1];
        const auto out_flag = mutable_view<bool, 3>(flag, "flag", {n, n_chan, 4});
        const auto sum = mutable_view<float, 2>(weight_sum, "weight_sum", {n, 4});
        const auto row = mutable_view<bool, 1>(flag_row, "flag_row", {n});
        if (n_chan < 1 || first_chan < 0 || first_chan + n_chan > in.shape[1])
          throw InputError("channels " + std::to_string(first_chan) + " to " +
                           std::to_string(first_chan + n_chan) + " are not among the " +
                           std::to_string(in.shape[1]) + " of the block");
        py::gil_scoped_release release;
        ms_columns(in, first_chan, spectrum, out_flag, sum, row, nthreads);
      },
      "weight"_a.noconvert(), "first_chan"_a, "weight_spectrum"_a.noconvert(), "flag"_a.noconvert(),
      "weight_sum"_a.noconvert(), "flag_row"_a.noconvert(), "nthreads"_a = 0,
      "Split signed weights (row, channel, 4) into |weight|, flags, sums over channels and row flags.\n\n"
      "The outputs hold the channels from first_chan on; see cpp/include/mwaconvert/ms.hpp.");
}

}  // namespace mwaconvert
