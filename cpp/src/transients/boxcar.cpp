#include "mwaconvert/transients/boxcar.hpp"

#include <algorithm>
#include <cmath>
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

struct Best {
  float snr = -HUGE_VALF;
  int32_t start = 0, width = 1;
};

// x: the samples of a stretch and the n_more after it; y: as much scratch.
MWACONVERT_CLONES
Best search_block(const float* x, int64_t n_block, int64_t n_more, float mean, float sigma, int n_width,
                  float* y) {
  int64_t n = n_block + n_more;
  Best best;
  for (int level = 0; level < n_width && n > 0; ++level) {
    const int64_t starts = std::min(n_block, n);
    const float scale = 1 / (sigma * std::sqrt(static_cast<float>(int64_t{1} << level)));
    float top;
    if (level == 0) {
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
    if (top * scale > best.snr) {
      best.snr = top * scale;
      best.start = static_cast<int32_t>(place_of(y, starts, top));
      best.width = 1 << level;
    }
    n -= int64_t{1} << level;
  }
  return best;
}

struct Noise {
  float mean = 0, sigma = 0;
};

// Six blocks or more, so that a pulse is in few of them.
int64_t noise_block(int64_t n) {
  int64_t block = kLongestBlock;
  while (block > kShortestBlock && block > n / 6) block /= 2;
  return std::min(block, n);
}

Noise noise_of(const float* x, int64_t n) {
  static thread_local std::vector<double> means, variances;
  means.clear();
  variances.clear();
  const int64_t block = noise_block(n);
  for (int64_t b = 0; b < n / block; ++b) {
    const Moments m = moments(x + b * block, block);
    if (!std::isfinite(m.mean) || !std::isfinite(m.variance)) continue;
    means.push_back(m.mean);
    variances.push_back(m.variance);
  }
  if (means.empty()) return {};
  // the median of chi^2 over its mean (Wilson & Hilferty 1931); of a single block, its variance
  const double share = 1 - 2 / (9.0 * static_cast<double>(block - 1));
  const double bias = variances.size() > 1 ? share * share * share : 1;
  return {static_cast<float>(median(means)), static_cast<float>(std::sqrt(median(variances) / bias))};
}

void check_search(int64_t n_samp, int n_width, int64_t block, int64_t n_block) {
  if (n_samp < 1) throw InputError("a series without samples has no noise");
  if (n_width < 1 || n_width > 20) throw InputError("the number of widths is not between 1 and 20");
  if (block < 64 || block % 64 != 0) throw InputError("the length of a stretch is not a multiple of 64");
  if (n_block != (n_samp + block - 1) / block)
    throw InputError("expected one result for each stretch of each series");
}

void search_one(const float* x, int64_t n_samp, Noise noise, int n_width, int64_t block, float* snr,
                int32_t* start, int32_t* width) {
  static thread_local Scratch<float> memory;
  const int64_t widest = int64_t{1} << (n_width - 1);
  float* y = memory.get(block + widest);
  for (int64_t begin = 0, b = 0; begin < n_samp; begin += block, ++b) {
    const int64_t n = std::min(block, n_samp - begin);
    Best best{0, 0, 1};
    if (noise.sigma > 0)
      best = search_block(x + begin, n, std::min(widest - 1, n_samp - begin - n), noise.mean, noise.sigma,
                          n_width, y);
    snr[b] = best.snr;
    start[b] = static_cast<int32_t>(begin) + best.start;
    width[b] = best.width;
  }
}

}  // namespace

void noise(View<const float, 2> series, View<float, 1> mean, View<float, 1> sigma, int threads) {
  if (series.shape[1] < 1) throw InputError("a series without samples has no noise");
  parallel_for(series.shape[0], threads, [&](int64_t t) {
    const Noise n = noise_of(&series(t, 0), series.shape[1]);
    mean(t) = n.mean;
    sigma(t) = n.sigma;
  });
}

void boxcar_search(View<const float, 2> series, View<const float, 1> mean, View<const float, 1> sigma,
                   int n_width, int64_t block, View<float, 2> snr, View<int32_t, 2> start,
                   View<int32_t, 2> width, int threads) {
  check_search(series.shape[1], n_width, block, snr.shape[1]);
  parallel_for(series.shape[0], threads, [&](int64_t t) {
    search_one(&series(t, 0), series.shape[1], {mean(t), sigma(t)}, n_width, block, &snr(t, 0), &start(t, 0),
               &width(t, 0));
  });
}

void search_series(View<const float, 2> series, int n_width, int64_t block, View<float, 1> mean,
                   View<float, 1> sigma, View<float, 2> snr, View<int32_t, 2> start, View<int32_t, 2> width,
                   int threads) {
  check_search(series.shape[1], n_width, block, snr.shape[1]);
  parallel_for(series.shape[0], threads, [&](int64_t t) {
    const Noise n = noise_of(&series(t, 0), series.shape[1]);
    mean(t) = n.mean;
    sigma(t) = n.sigma;
    search_one(&series(t, 0), series.shape[1], n, n_width, block, &snr(t, 0), &start(t, 0), &width(t, 0));
  });
}

}  // namespace mwaconvert
