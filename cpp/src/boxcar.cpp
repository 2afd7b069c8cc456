#include "mwaconvert/boxcar.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "finish.hpp"
#include "mwaconvert/error.hpp"
#include "mwaconvert/parallel.hpp"
#include "mwaconvert/simd.hpp"
#include "mwaconvert/vector.hpp"

namespace mwaconvert {
namespace {

constexpr int64_t kNoiseBlock = 1024;
constexpr int kLanes = 64;  // partial results of a reduction: its order is part of the result

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
      best[j] = v > best[j] ? v : best[j];
    }
  float top = -HUGE_VALF;
  for (const f32x16& b : best)
    for (int lane = 0; lane < 16; ++lane) top = std::max(top, b[lane]);
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

}  // namespace

void noise(View<const float, 2> series, View<float, 1> mean, View<float, 1> sigma, int nthreads) {
  const int64_t n = series.shape[1];
  if (n < 1) throw InputError("a series without samples has no noise");
  const int64_t blocks = std::max<int64_t>(1, n / kNoiseBlock);
  parallel_for(series.shape[0], nthreads, [&](int64_t t) {
    std::vector<double> means, variances;
    for (int64_t b = 0; b < blocks; ++b) {
      const Moments m = moments(&series(t, b * kNoiseBlock), std::min(kNoiseBlock, n));
      if (!std::isfinite(m.mean) || !std::isfinite(m.variance)) continue;
      means.push_back(m.mean);
      variances.push_back(m.variance);
    }
    if (means.empty()) {
      mean(t) = sigma(t) = 0;
      return;
    }
    mean(t) = static_cast<float>(median(means));
    sigma(t) = static_cast<float>(std::sqrt(median(variances)));
  });
}

void boxcar_search(View<const float, 2> series, View<const float, 1> mean, View<const float, 1> sigma,
                   int n_width, int64_t block, View<float, 2> snr, View<int32_t, 2> start,
                   View<int32_t, 2> width, int nthreads) {
  if (n_width < 1 || n_width > 20) throw InputError("the number of widths is not between 1 and 20");
  if (block < 64 || block % 64 != 0) throw InputError("the length of a stretch is not a multiple of 64");
  const int64_t n_samp = series.shape[1], n_block = (n_samp + block - 1) / block;
  if (snr.shape[1] != n_block) throw InputError("expected one result for each stretch of each series");
  const int64_t widest = int64_t{1} << (n_width - 1);
  parallel_for(series.shape[0], nthreads, [&](int64_t t) {
    static thread_local Scratch<float> memory;
    float* y = memory.get(block + widest);
    for (int64_t b = 0; b < n_block; ++b) {
      const int64_t begin = b * block, n = std::min(block, n_samp - begin);
      Best best{0, 0, 1};
      if (sigma(t) > 0)
        best = search_block(&series(t, begin), n, std::min(widest - 1, n_samp - begin - n), mean(t), sigma(t),
                            n_width, y);
      snr(t, b) = best.snr;
      start(t, b) = static_cast<int32_t>(begin) + best.start;
      width(t, b) = best.width;
    }
  });
}

}  // namespace mwaconvert
