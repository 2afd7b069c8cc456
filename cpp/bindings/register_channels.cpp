#include <optional>

#include "arrays.hpp"
#include "mwaconvert/transients/channels.hpp"
#include "register.hpp"

namespace mwaconvert {
namespace {

template <typename T>
void define(py::module_& m) {
  m.def(
      "channel_sums",
      [](const Array<T>& data, const std::optional<Array<float>>& weights, const Array<double>& about,
         Array<double>& sums, int threads) {
        const auto x = view<T, 2>(data, "data", {-1, -1});
        const auto w = weights ? view<float, 2>(*weights, "weights", x.shape) : View<const float, 2>{};
        const auto a = view<double, 1>(about, "about", {x.shape[0]});
        const auto o = mutable_view<double, 2>(sums, "sums", {x.shape[0], 3});
        py::gil_scoped_release release;
        channel_sums(x, w, a, o, threads);
      },
      "data"_a.noconvert(), "weights"_a.noconvert().none(true), "about"_a.noconvert(), "sums"_a.noconvert(),
      "threads"_a = 0, R"(Number, sum and sum of squares of each channel.

data and weights (n_chan, n_samp), about (n_chan,), which floats are summed less, sums (n_chan, 3).)");
  m.def(
      "scale_channels",
      [](const Array<T>& data, const Array<double>& mean, const Array<double>& scale, Array<float>& out,
         int threads) {
        const auto x = view<T, 2>(data, "data", {-1, -1});
        const auto a = view<double, 1>(mean, "mean", {x.shape[0]});
        const auto s = view<double, 1>(scale, "scale", {x.shape[0]});
        const auto o = mutable_view<float, 2>(out, "out", x.shape);
        py::gil_scoped_release release;
        scale_channels(x, a, s, o, threads);
      },
      "data"_a.noconvert(), "mean"_a.noconvert(), "scale"_a.noconvert(), "out"_a.noconvert(), "threads"_a = 0,
      "Each channel of data (n_chan, n_samp) less its mean, times its scale; out may be data.");
}

}  // namespace

void register_channels(py::module_& m) {
  define<uint8_t>(m);
  define<float>(m);
}

}  // namespace mwaconvert
