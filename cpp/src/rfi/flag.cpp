#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>

#include "lanes.hpp"
#include "mwaconvert/base/constants.hpp"
#include "mwaconvert/base/parallel.hpp"
#include "parts.hpp"

namespace mwaconvert {
namespace {

// Amplitudes of a timestep; what is not finite becomes 0. Returns whether all were finite. The values `ahead`
// of these, of the next product, are asked for meanwhile: until they are wanted they are there.
MWACONVERT_CLONES
bool copy_finite(const float* in, int64_t n, int64_t ahead, float* out) {
  const float huge = std::numeric_limits<float>::max();
  for (int64_t k = 0; k < n; k += kLanes) __builtin_prefetch(in + ahead + k, 0, 2);
  int32_t bad = 0;
  for (int64_t k = 0; k < n; ++k) {
    const bool fine = in[k] <= huge;
    bad |= !fine;
    out[k] = fine ? in[k] : 0;
  }
  return bad == 0;
}

// Sum of the squares of x + y where the cell is clear, and their number.
template <typename V>
MWACONVERT_INLINE double sum_of_clear_squares_of(const float* x, const float* y, const uint8_t* cells,
                                                 int64_t n, int64_t& n_clear) {
  typename V::Floats s = V::same(0.0f);
  for (int64_t k = 0; k < n; k += kLanes) {
    bytes16 cell;
    std::memcpy(&cell, cells + k, sizeof cell);
    const uint32_t inside = n - k >= kLanes ? 0xffff : (1u << (n - k)) - 1;
    const uint32_t clear = bits_of(reinterpret_cast<bytes16>(cell == bytes16{} + uint8_t{kClear})) & inside;
    const typename V::Floats v = V::add(V::load(x + k), V::load(y + k));
    s = V::add(s, V::only(V::mask(clear), V::multiply(v, v)));
    n_clear += std::popcount(clear);
  }
  return sum_of_lanes<V>(s);
}

MWACONVERT_TWICE(double, sum_of_clear_squares, sum_of_clear_squares_of,
                 (const float* x, const float* y, const uint8_t* cells, int64_t n, int64_t& n_clear),
                 (x, y, cells, n, n_clear))

// The steps on the image of one polarisation. One of these for each thread; memory is kept between baselines.
class ImageFlagger {
 public:
  ImageFlagger(const RfiParameters& p) : p_(p) {}

  // Finds RFI in an image of amplitudes and leaves the normalised residual there, and the flags in found().
  void run(const RfiLayout& layout, RfiBackground& background, const float* means, AlignedFloats& data) {
    residual_.resize(data.size());
    const RfiImage amplitude{data.data(), layout.stride}, residual{residual_.data(), layout.stride};
    excluded_ = layout.missing_in_time;
    RfiImage x = amplitude;
    for (int64_t pass = p_.iterations - 1; pass > 0; --pass) {
      const double factor = std::pow(p_.threshold_step, static_cast<double>(pass));
      threshold(layout, x, factor);
      reject(layout, x, p_.channel_rms * factor);
      background.subtract(layout, means, excluded_, amplitude, residual);
      x = residual;
    }
    statistics_.normalize_bands(layout, x, excluded_, p_.subbands);
    threshold(layout, x, 1);
    if (x.data == residual.data) data.swap(residual_);
  }

  const BitTable& found() const { return sum_threshold_.rows; }
  RfiStatistics& statistics() { return statistics_; }

 private:
  void threshold(const RfiLayout& layout, RfiImage x, double factor) {
    const double mode = statistics_.mode(layout, x, excluded_);
    const double first = p_.first_threshold * mode * p_.threshold * factor;
    sum_threshold_.run(layout, x, RfiLevels(first, p_.threshold_ratio, p_.longest_window),
                       RfiLevels(first * p_.transient_factor, p_.threshold_ratio, p_.longest_window));
  }

  void reject(const RfiLayout& layout, RfiImage x, double channel_threshold) {
    const BitTable& found = sum_threshold_.rows;
    statistics_.rms(layout, x, found);
    excluded_ = layout.missing_in_time;
    excluded_.add(found);
    for (int32_t t : statistics_.outliers(statistics_.of_time, p_.timestep_rms, false))
      for (int64_t k = 0; k < layout.n_chan; ++k) excluded_.set(t, k);
    for (int32_t k : statistics_.outliers(statistics_.of_column, channel_threshold, true))
      for (int64_t t = 0; t < layout.n_time; ++t) excluded_.set(t, k);
  }

  const RfiParameters& p_;
  RfiStatistics statistics_;
  SumThreshold sum_threshold_;
  BitTable excluded_;  // cells left out of noise and background
  AlignedFloats residual_;
};

// All of a baseline.
class BaselineFlagger {
 public:
  BaselineFlagger(const RfiParameters& p) : p_(p), image_(p) {}

  void run(View<const float, 3> amplitude, View<const uint8_t, 2> missing, const RfiLayout& shared,
           View<uint8_t, 2> out) {
    const RfiLayout* layout = &shared;
    if (!find(amplitude, shared)) {
      own_missing_.resize(shared.n_time * shared.n_chan);
      for (int64_t t = 0; t < shared.n_time; ++t)
        for (int64_t c = 0; c < shared.n_chan; ++c) {
          bool fine = true;
          for (int p = 0; p < kProducts; ++p)
            fine = fine && amplitude(p, t, c) <= std::numeric_limits<float>::max();
          own_missing_[t * shared.n_chan + c] = missing(t, c) || !fine;
        }
      own_layout_.build({own_missing_.data(), {shared.n_time, shared.n_chan}, {shared.n_chan, 1}});
      layout = &own_layout_;
      find(amplitude, own_layout_);
    }
    cells_ = layout->cells;
    for (int64_t t = 0; t < layout->n_time; ++t)
      for_each_bit(found_.row(t), found_.words(), [&](int64_t k) {
        uint8_t& cell = cells_[t * layout->stride + layout->channel[k]];
        if (cell == kClear) cell = kFound;
      });
    rank_.run(cells_.data(), layout->n_time, layout->n_chan, layout->stride, p_.rank_time, p_.rank_freq,
              p_.rank_missing);
    reject_timesteps(*layout);
    for (int64_t t = 0; t < layout->n_time; ++t) {
      const uint8_t* cells = &cells_[t * layout->stride];
      std::copy_n(cells, layout->n_chan, &out(t, 0));
    }
  }

 private:
  RfiImage plane(const RfiLayout& layout, int p) { return {planes_[p].data(), layout.stride}; }
  // What is found in any of the products. Returns whether all values were finite; where they are to be is in
  // the layout, so if not, the layout is to be made again.
  bool find(View<const float, 3> amplitude, const RfiLayout& layout) {
    background_.prepare(layout, p_);
    means_.resize(background_.n_time() * background_.n_chan());
    row_.resize(layout.stride);
    sums_.resize(layout.stride);
    found_.reset(layout.n_time, layout.n_chan);
    bool good = true;
    for (int p = 0; p < kProducts && (good || &layout == &own_layout_); ++p) {
      good = load(amplitude, p, layout) && good;
      image_.run(layout, background_, means_.data(), planes_[p]);
      found_.add(image_.found());
    }
    return good;
  }

  // Amplitudes and block means of a product. False if a value is not finite.
  bool load(View<const float, 3> amplitude, int p, const RfiLayout& layout) {
    planes_[p].resize(layout.n_time * layout.stride);
    bool good = true;
    for (int64_t t = 0; t < layout.n_time; ++t) {
      good = copy_finite(&amplitude(p, t, 0), layout.n_chan, amplitude.stride[0], row_.data()) && good;
      layout.pick(row_.data(), plane(layout, p).row(t));
      background_.add_row(row_.data(), t, layout.n_time, layout.n_chan, sums_.data(), means_.data());
    }
    return good;
  }

  // By the rms of XX + YY of the normalised residuals.
  void reject_timesteps(const RfiLayout& layout) {
    const RfiImage xx = plane(layout, 0), yy = plane(layout, 3);
    rms_.resize(layout.n_time);
    row_cells_.resize(layout.stride);
    for (int64_t t = 0; t < layout.n_time; ++t) {
      layout.pick(&cells_[t * layout.stride], row_cells_.data());
      int64_t n = 0;
      const double sum = sum_of_clear_squares(xx.row(t), yy.row(t), row_cells_.data(), layout.n_good, n);
      rms_[t] = static_cast<float>(std::sqrt(sum / static_cast<double>(n)));  // NaN without cells
    }
    for (int32_t t : image_.statistics().outliers(rms_, p_.last_timestep_rms, false))
      for (int64_t c = 0; c < layout.n_chan; ++c)
        if (uint8_t& flag = cells_[t * layout.stride + c]; flag == kClear) flag = kFound;
  }

  const RfiParameters& p_;
  ImageFlagger image_;
  RfiBackground background_;
  RankOperator rank_;
  RfiLayout own_layout_;
  BitTable found_;
  std::vector<uint8_t> own_missing_, cells_, row_cells_;
  AlignedFloats planes_[kProducts], row_, sums_;
  std::vector<float> means_, rms_;
};

}  // namespace

void rfi_flag(View<const float, 4> amplitude, View<const uint8_t, 3> missing, const RfiParameters& parameters,
              View<uint8_t, 3> out, int threads) {
  const int64_t n_baselines = amplitude.shape[0], n_time = amplitude.shape[2], n_chan = amplitude.shape[3];
  const auto missing_of = [&](int64_t b) {
    return View<const uint8_t, 2>{&missing(missing.shape[0] == 1 ? 0 : b, 0, 0),
                                  {n_time, n_chan},
                                  {missing.stride[1], missing.stride[2]}};
  };
  RfiLayout shared;
  if (missing.shape[0] == 1) shared.build(missing_of(0));
  parallel_for(n_baselines, threads, [&](int64_t b) {
    static thread_local std::unique_ptr<RfiParameters> kept_parameters;
    static thread_local std::unique_ptr<BaselineFlagger> flagger;
    static thread_local RfiLayout own;
    if (!flagger) {
      kept_parameters = std::make_unique<RfiParameters>();
      flagger = std::make_unique<BaselineFlagger>(*kept_parameters);
    }
    *kept_parameters = parameters;
    if (missing.shape[0] > 1) own.build(missing_of(b));
    const View<const float, 3> images{
        &amplitude(b, 0, 0, 0), {kProducts, n_time, n_chan}, {amplitude.stride[1], amplitude.stride[2], 1}};
    flagger->run(images, missing_of(b), missing.shape[0] > 1 ? own : shared,
                 View<uint8_t, 2>{&out(b, 0, 0), {n_time, n_chan}, {out.stride[1], out.stride[2]}});
  });
}

}  // namespace mwaconvert
