#include "mwaconvert/transients/boxcar.hpp"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "mwaconvert/base/error.hpp"
#include "mwaconvert/base/parallel.hpp"
#include "mwaconvert/base/scratch.hpp"
#include "mwaconvert/base/simd.hpp"
#include "mwaconvert/base/vector.hpp"

namespace mwaconvert {
namespace {

constexpr int64_t kLongestBlock = 1024,
                  kShortestBlock = 32;  // samples of which the noise is measured at once
constexpr int kLanes = 64;              // partial results of a reduction: its order is part of the result

struct Moments {
  double mean, variance;
};

// Of n values. Sums of 64 lanes each, about the first value so that float32 suffices.
MWACONVERT_CLONES
Moments moments(const float* x, int64_t n) {
  float sum[kLanes] = {}, square[kLanes] = {};
  const float origin = x[0];
  int64_t k = 0;
  for (; k + kLanes <= n; k += kLanes)
    for (int lane = 0; lane < kLanes; ++lane) {
      const float d = x[k + lane] - origin;
      sum[lane] += d;
      square[lane] += d * d;
    }
  for (int lane = 0; k < n; ++k, ++lane) {
    const float d = x[k] - origin;
    sum[lane] += d;
    square[lane] += d * d;
  }
  double s = 0, q = 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    s += sum[lane];
    q += square[lane];
  }
  const double mean = s / n;
  return {origin + mean, n > 1 ? std::max(0.0, (q - s * mean) / (n - 1)) : 0.0};
}

double median(std::vector<double>& values) {
  const auto middle = values.begin() + values.size() / 2;
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

typedef float f32x16 __attribute__((vector_size(64)));
typedef float f32x16_loose __attribute__((vector_size(64), aligned(4), may_alias));

MWACONVERT_INLINE f32x16 larger(f32x16 a, f32x16 b) {
  return a > b ? a : b;
}
// By halves: one lane after the other would take longer than the search itself.
MWACONVERT_INLINE float largest_lane(f32x16 v) {
  v = larger(v, __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
  v = larger(v, __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11));
  v = larger(v, __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));
  v = larger(v, __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14));
  return v[0];
}

// y[k] = f(k) for k of [0, n), the largest of the first `starts` of them.
template <typename F, typename G>
MWACONVERT_INLINE float largest(float* y, int64_t n, int64_t starts, F vector, G scalar) {
  constexpr int kBest = 4;
  f32x16 best[kBest];
  for (f32x16& b : best) b = f32x16{} - HUGE_VALF;
  int64_t k = 0;
  for (; k + kBest * 16 <= starts; k += kBest * 16)
    for (int j = 0; j < kBest; ++j) {
      const f32x16 v = vector(k + 16 * j);
      *reinterpret_cast<f32x16_loose*>(y + k + 16 * j) = v;
      best[j] = larger(v, best[j]);
    }
  for (int j = 1; j < kBest; ++j) best[0] = larger(best[0], best[j]);
  float top = largest_lane(best[0]);
  for (; k < starts; ++k) {
    y[k] = scalar(k);
    top = y[k] > top ? y[k] : top;
  }
  for (; k < n; ++k) y[k] = scalar(k);
  return top;
}

// First of n values that is this one; n if none is.
MWACONVERT_INLINE int64_t place_of(const float* y, int64_t n, float value) {
  int64_t k = 0;
  for (; k + kLanes <= n; k += kLanes) {
    int32_t hits = 0;
    for (int lane = 0; lane < kLanes; ++lane) hits += y[k + lane] == value;
    if (hits > 0) break;
  }
  while (k < n && y[k] != value) ++k;
  return k;
}

constexpr int64_t kStretch = 1024;  // starts that are searched at once, in the cache
constexpr int64_t kLeastGroup = 16;

// Share of the band in boxcars of one series.
class CoverRow {
 public:
  CoverRow(const Cover& cover, int64_t trial, int64_t n_samp)
      : share_(cover.share.data == nullptr || cover.share.shape[0] == 0 ? nullptr
                                                                        : &cover.share(cover.row(trial), 0)),
        n_((n_samp + kCoverStep - 1) / kCoverStep) {}

  // Least and largest of samples [first, end).
  std::pair<float, float> range(int64_t first, int64_t end) const {
    if (!share_) return {1.0f, 1.0f};
    const auto [low, high] =
        std::minmax_element(share_ + first / kCoverStep, share_ + std::min(n_, (end - 1) / kCoverStep + 1));
    return {*low, *high};
  }

  float mean(int64_t first, int64_t end) const {
    if (!share_) return 1.0f;
    const int64_t low = first / kCoverStep, high = std::min(n_, (end - 1) / kCoverStep + 1);
    double sum = 0;
    for (int64_t k = low; k < high; ++k) sum += share_[k];
    return static_cast<float>(sum / static_cast<double>(high - low));
  }

 private:
  const float* share_;
  int64_t n_;
};

// 1 / sqrt of the cover; 0 where there is too little.
float gain_of(float cover) {
  return cover < kLeastCover ? 0.0f : 1 / std::sqrt(cover);
}

struct SeriesSearch {
  float mean, sigma, threshold;
  int n_width;
  int32_t trial;
  Boxcar best;
  std::vector<Boxcar>* found;
};

// Largest of n values.
MWACONVERT_INLINE float largest_of(const float* y, int64_t n) {
  float lanes[16];
  std::fill(lanes, lanes + 16, -HUGE_VALF);
  int64_t k = 0;
  for (; k + 16 <= n; k += 16)
    for (int lane = 0; lane < 16; ++lane) lanes[lane] = y[k + lane] > lanes[lane] ? y[k + lane] : lanes[lane];
  float top = -HUGE_VALF;
  for (float v : lanes) top = v > top ? v : top;
  for (; k < n; ++k) top = y[k] > top ? y[k] : top;
  return top;
}

// Boxcars of one width that begin in a stretch, group by group: y[k] is the sum of the one that begins at
// first + k.
MWACONVERT_INLINE void take_groups(const float* y, int64_t first, int64_t starts, int32_t width, float scale,
                                   const CoverRow& cover, bool even, SeriesSearch& s) {
  const int64_t most = even ? kStretch : kCoverStep;
  const int64_t group = std::min<int64_t>(most, std::max<int64_t>(kLeastGroup, width));
  for (int64_t k = 0; k < starts; k += group) {
    const int64_t n = std::min(group, starts - k);
    const float top = largest_of(y + k, n);
    const int64_t at = first + k + place_of(y + k, n, top);
    const float snr = top * scale * gain_of(cover.mean(at, at + width));
    const Boxcar boxcar{s.trial, snr, static_cast<int32_t>(at), width};
    if (snr > s.best.snr) s.best = boxcar;
    if (snr >= s.threshold) s.found->push_back(boxcar);
  }
}

// x: the samples of a stretch, that begins at sample `first` of the series, and the n_more after it; y: as
// much scratch.
MWACONVERT_CLONES
void search_stretch(const float* x, int64_t first, int64_t n_stretch, int64_t n_more, const CoverRow& cover,
                    float* y, SeriesSearch& s) {
  int64_t n = n_stretch + n_more;
  const auto [least, most] = cover.range(first, first + n);
  const bool even = most - least <= 0.002f * most;
  for (int level = 0; level < s.n_width && n > 0; ++level) {
    const int64_t starts = std::min(n_stretch, n);
    const float scale = 1 / (s.sigma * std::sqrt(static_cast<float>(int64_t{1} << level)));
    float top;
    if (level == 0) {
      const float mean = s.mean;
      top = largest(
          y, n, starts, [&](int64_t k) { return *reinterpret_cast<const f32x16_loose*>(x + k) - mean; },
          [&](int64_t k) { return x[k] - mean; });
    } else {
      const float* later = y + (int64_t{1} << (level - 1));
      top = largest(
          y, n, starts,
          [&](int64_t k) {
            return *reinterpret_cast<const f32x16_loose*>(y + k) +
                   *reinterpret_cast<const f32x16_loose*>(later + k);
          },
          [&](int64_t k) { return y[k] + later[k]; });
    }
    // no group has more than that
    const float bound = top * scale * gain_of(std::max(least, kLeastCover));
    if (bound > s.best.snr || bound >= s.threshold)
      take_groups(y, first, starts, int32_t{1} << level, scale, cover, even, s);
    n -= int64_t{1} << level;
  }
}

constexpr float kEnoughCover = 0.3f;  // of blocks that tell the noise

struct Noise {
  float mean = 0, sigma = 0;
};

// Six blocks or more, so that a pulse is in few of them.
int64_t noise_block(int64_t n) {
  int64_t block = kLongestBlock;
  while (block > kShortestBlock && block > n / 6) block /= 2;
  return std::min(block, n);
}

Noise noise_of(const float* x, int64_t n, const CoverRow& cover) {
  static thread_local std::vector<double> means, variances;
  means.clear();
  variances.clear();
  const int64_t block = noise_block(n);
  for (int64_t b = 0; b < n / block; ++b) {
    const Moments m = moments(x + b * block, block);
    const float share = cover.mean(b * block, (b + 1) * block);
    if (!std::isfinite(m.mean) || !std::isfinite(m.variance) || share < kEnoughCover) continue;
    means.push_back(m.mean);
    variances.push_back(m.variance / share);
  }
  if (means.empty()) return {};
  // the median of chi^2 over its mean (Wilson & Hilferty 1931); of a single block, its variance
  const double share = 1 - 2 / (9.0 * static_cast<double>(block - 1));
  const double bias = variances.size() > 1 ? share * share * share : 1;
  return {static_cast<float>(median(means)), static_cast<float>(std::sqrt(median(variances) / bias))};
}

void search_one(const float* x, int64_t n_samp, const CoverRow& cover, SeriesSearch& s) {
  static thread_local Scratch<float> memory;
  const int64_t widest = int64_t{1} << (s.n_width - 1);
  float* y = memory.get(kStretch + widest);
  if (!(s.sigma > 0)) return;
  for (int64_t begin = 0; begin < n_samp; begin += kStretch) {
    const int64_t n = std::min(kStretch, n_samp - begin);
    search_stretch(x + begin, begin, n, std::min(widest - 1, n_samp - begin - n), cover, y, s);
  }
}

}  // namespace

void noise(View<const float, 2> series, View<float, 1> mean, View<float, 1> sigma, int threads) {
  if (series.shape[1] < 1) throw InputError("a series without samples has no noise");
  parallel_for(series.shape[0], threads, [&](int64_t t) {
    const Noise n = noise_of(&series(t, 0), series.shape[1], CoverRow({}, t, series.shape[1]));
    mean(t) = n.mean;
    sigma(t) = n.sigma;
  });
}

void search_series(View<const float, 2> series, const Cover& cover, int n_width, float threshold,
                   View<float, 1> mean, View<float, 1> sigma, View<float, 1> snr, View<int32_t, 1> start,
                   View<int32_t, 1> width, std::vector<Boxcar>& found, int threads) {
  const int64_t n_trial = series.shape[0], n_samp = series.shape[1];
  if (n_samp < 1) throw InputError("a series without samples has no noise");
  if (n_width < 1 || n_width > 20) throw InputError("the number of widths is not between 1 and 20");
  if (!(threshold > 0)) throw InputError("the threshold is not positive");
  if (cover.share.shape[0] > 0) {
    if (cover.share.shape[1] < (n_samp + kCoverStep - 1) / kCoverStep || cover.row.shape[0] != n_trial)
      throw InputError("the cover does not fit the series");
    for (int64_t t = 0; t < n_trial; ++t)
      if (cover.row(t) < 0 || cover.row(t) >= cover.share.shape[0])
        throw InputError("the cover has no such row");
  }
  std::vector<std::vector<Boxcar>> of_trial(n_trial);
  parallel_for(n_trial, threads, [&](int64_t t) {
    const CoverRow row(cover, t, n_samp);
    const Noise n = noise_of(&series(t, 0), n_samp, row);
    const int32_t trial = static_cast<int32_t>(t);
    SeriesSearch search{n.mean, n.sigma, threshold, n_width, trial, {trial, 0, 0, 1}, &of_trial[t]};
    search_one(&series(t, 0), n_samp, row, search);
    mean(t) = n.mean;
    sigma(t) = n.sigma;
    snr(t) = search.best.snr;
    start(t) = search.best.start;
    width(t) = search.best.width;
  });
  for (const auto& boxcars : of_trial) found.insert(found.end(), boxcars.begin(), boxcars.end());
}

}  // namespace mwaconvert
