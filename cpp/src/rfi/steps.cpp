// Single steps of the detection on one image.
#include <algorithm>

#include "parts.hpp"

namespace mwaconvert {
namespace {

// An image with its channels in the order of a layout.
struct Copy {
  RfiLayout layout;
  std::vector<float> data;
  RfiImage image;

  Copy(View<const float, 2> x, View<const uint8_t, 2> missing) {
    layout.build(missing);
    data.resize(layout.n_time * layout.stride);
    image = {data.data(), layout.stride};
    for (int64_t t = 0; t < layout.n_time; ++t)
      for (int64_t k = 0; k < layout.n_chan; ++k) image.row(t)[k] = x(t, layout.channel[k]);
  }

  BitTable bits(View<const uint8_t, 2> cells) const {
    BitTable table;
    table.reset(layout.n_time, layout.n_chan);
    for (int64_t t = 0; t < layout.n_time; ++t)
      for (int64_t k = 0; k < layout.n_chan; ++k)
        if (cells(t, layout.channel[k])) table.set(t, k);
    return table;
  }

  void to(View<float, 2> out) const {
    for (int64_t t = 0; t < layout.n_time; ++t)
      for (int64_t k = 0; k < layout.n_chan; ++k) out(t, layout.channel[k]) = image.row(t)[k];
  }
};

// Nothing missing.
struct Nothing {
  std::vector<uint8_t> cells;
  View<const uint8_t, 2> view;
  explicit Nothing(std::array<int64_t, 2> shape)
      : cells(shape[0] * shape[1], 0), view{cells.data(), shape, {shape[1], 1}} {}
};

}  // namespace

void rfi_sum_threshold(View<const float, 2> x, View<const uint8_t, 2> missing, View<const uint8_t, 2> ignored,
                       double time_threshold, double freq_threshold, const RfiParameters& p,
                       View<uint8_t, 2> out) {
  const Copy copy(x, missing);
  const RfiLayout& layout = copy.layout;
  BitTable excluded = copy.bits(ignored);
  for (int64_t t = 0; t < layout.n_time; ++t)
    for (int64_t w = 0; w < excluded.words(); ++w) excluded.row(t)[w] |= layout.missing_in_time.row(t)[w];
  RfiStatistics statistics;
  const double first = p.first_threshold * statistics.mode(layout, copy.image, excluded);
  SumThreshold sum_threshold;
  sum_threshold.run(layout, copy.image,
                    RfiLevels(first * time_threshold, p.threshold_ratio, p.longest_window),
                    RfiLevels(first * freq_threshold, p.threshold_ratio, p.longest_window));
  for (int64_t t = 0; t < layout.n_time; ++t)
    for (int64_t k = 0; k < layout.n_chan; ++k) out(t, layout.channel[k]) = sum_threshold.rows.get(t, k);
}

void rfi_residual(View<const float, 2> x, View<const uint8_t, 2> ignored, const RfiParameters& p,
                  View<float, 2> out) {
  const Copy copy(x, Nothing(x.shape).view);
  RfiBackground background;
  background.prepare(copy.layout, p);
  std::vector<float> sum(copy.layout.stride), means(background.n_time() * background.n_chan());
  for (int64_t t = 0; t < copy.layout.n_time; ++t)
    background.add_row(copy.image.row(t), t, copy.layout.n_time, copy.layout.n_chan, sum.data(),
                       means.data());
  background.subtract(copy.layout, means.data(), copy.bits(ignored), copy.image, copy.image);
  copy.to(out);
}

void rfi_normalize(View<const float, 2> x, View<const uint8_t, 2> ignored, const RfiParameters& p,
                   View<float, 2> out) {
  const Copy copy(x, Nothing(x.shape).view);
  RfiStatistics statistics;
  statistics.normalize_bands(copy.layout, copy.image, copy.bits(ignored), p.subbands);
  copy.to(out);
}

void rfi_reject(View<const float, 2> x, bool timesteps, double threshold, View<uint8_t, 2> flags) {
  const Copy copy(x, Nothing(x.shape).view);
  const View<const uint8_t, 2> read{flags.data, flags.shape, flags.stride};
  RfiStatistics statistics;
  statistics.rms(copy.layout, copy.image, copy.bits(read));
  if (timesteps)
    for (int32_t t : statistics.outliers(statistics.of_time, threshold, false))
      for (int64_t c = 0; c < flags.shape[1]; ++c) flags(t, c) = 1;
  else
    for (int32_t c : statistics.outliers(statistics.of_column, threshold, true))
      for (int64_t t = 0; t < flags.shape[0]; ++t) flags(t, c) = 1;
}

void rfi_rank(View<const uint8_t, 2> missing, double eta_time, double eta_freq, double missing_weight,
              View<uint8_t, 2> flags) {
  const int64_t n_time = flags.shape[0], n_chan = flags.shape[1], stride = padded(n_chan);
  std::vector<uint8_t> cells(n_time * stride);
  for (int64_t t = 0; t < n_time; ++t)
    for (int64_t c = 0; c < n_chan; ++c)
      cells[t * stride + c] = missing(t, c) ? kMissingCell : (flags(t, c) ? kFound : kClear);
  RankOperator().run(cells.data(), n_time, n_chan, stride, eta_time, eta_freq, missing_weight);
  for (int64_t t = 0; t < n_time; ++t)
    for (int64_t c = 0; c < n_chan; ++c)
      if (cells[t * stride + c] == kFound) flags(t, c) = 1;
}

}  // namespace mwaconvert
