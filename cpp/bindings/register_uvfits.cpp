#include "arrays.hpp"
#include "mwaconvert/visibilities/uvfits.hpp"
#include "register.hpp"

namespace mwaconvert {

void register_uvfits(py::module_& m) {
  using Complex = std::complex<float>;
  m.def("group_bytes", &group_bytes, "n_parameter"_a, "n_channel"_a, "Bytes of one random group.");
  m.def(
      "write_groups",
      [](int fd, int64_t offset, const Array<float>& parameters, const Array<Complex>& vis,
         const Array<float>& weight, int64_t channel_begin, int64_t channel_end, int threads) {
        const auto v = view<Complex, 3>(vis, "vis", {-1, -1, 4});
        const auto w = view<float, 3>(weight, "weight", {v.shape[0], v.shape[1], 4});
        const auto p = view<float, 2>(parameters, "parameters", {v.shape[0], -1});
        if (channel_begin < 0 || channel_end > v.shape[1] || channel_begin >= channel_end)
          throw InputError("channels are not a range of the block");
        py::gil_scoped_release release;
        write_groups(fd, offset, p, v, w, channel_begin, channel_end, threads);
      },
      py::kw_only(), "fd"_a, "offset"_a, "parameters"_a.noconvert(), "vis"_a.noconvert(),
      "weight"_a.noconvert(), "channel_begin"_a, "channel_end"_a, "threads"_a = 0,
      "Write rows as random groups.");
  m.def(
      "count_flags",
      [](const Array<float>& weight, Array<int64_t>& by_row, Array<int64_t>& by_channel, int threads) {
        const auto w = view<float, 3>(weight, "weight", {-1, -1, 4});
        const auto r = mutable_view<int64_t, 1>(by_row, "by_row", {w.shape[0]});
        const auto c = mutable_view<int64_t, 1>(by_channel, "by_channel", {w.shape[1]});
        py::gil_scoped_release release;
        count_flags(w, r, c, threads);
      },
      "weight"_a.noconvert(), "by_row"_a.noconvert(), "by_channel"_a.noconvert(), "threads"_a = 0,
      "Add the numbers of flagged values (sign bit set) of each row and each channel.");
}

}  // namespace mwaconvert
