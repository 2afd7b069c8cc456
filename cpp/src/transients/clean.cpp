#include "mwaconvert/transients/clean.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "mwaconvert/base/error.hpp"
#include "mwaconvert/base/parallel.hpp"
#include "mwaconvert/base/simd.hpp"
#include "mwaconvert/base/vector.hpp"

namespace mwaconvert {
namespace {

constexpr int kLanes = 16;
constexpr int64_t kTile = 1024;  // samples of all channels that are summed at once

struct Moments {
  double count = 0, mean = 0, std = 0;
};

// Sums of bytes are exact.
MWACONVERT_CLONES
Moments moments(const uint8_t* x, const uint8_t* used, int64_t n) {
  uint32_t count = 0, sum = 0;
  uint64_t square = 0;
  for (int64_t begin = 0; begin < n; begin += 4096) {  // squares of so many fit into 32 bits
    const int64_t end = std::min(n, begin + 4096);
    uint32_t part = 0;
    if (used) {
      for (int64_t k = begin; k < end; ++k) {
        const uint32_t u = used[k], v = x[k] * u;
        count += u;
        sum += v;
        part += v * v;
      }
    } else {
      for (int64_t k = begin; k < end; ++k) {
        const uint32_t v = x[k];
        sum += v;
        part += v * v;
      }
      count += static_cast<uint32_t>(end - begin);
    }
    square += part;
  }
  if (count < 2) return {static_cast<double>(count), 0, 0};
  const double c = count, s = sum, q = static_cast<double>(square);
  return {c, s / c, std::sqrt(std::max(0.0, (q - s * s / c) / (c - 1)))};
}

// In doubles: values of any size.
MWACONVERT_CLONES
Moments moments(const float* x, const uint8_t* used, int64_t n) {
  double count = 0, sum[kLanes] = {}, square[kLanes] = {};
  if (used) {
    for (int64_t k = 0; k < n; ++k) count += used[k];
  } else {
    count = static_cast<double>(n);
  }
  if (count < 2) return {count, 0, 0};
  const auto weight = [&](int64_t k) { return used ? static_cast<double>(used[k]) : 1.0; };
  for (int64_t k = 0; k < n; k += kLanes)
    for (int lane = 0; lane < std::min<int64_t>(kLanes, n - k); ++lane)
      sum[lane] += x[k + lane] * weight(k + lane);
  double total = 0;
  for (double s : sum) total += s;
  const double mean = total / count;
  for (int64_t k = 0; k < n; k += kLanes)
    for (int lane = 0; lane < std::min<int64_t>(kLanes, n - k); ++lane) {
      const double d = x[k + lane] - mean;
      square[lane] += d * d * weight(k + lane);
    }
  double squares = 0;
  for (double s : square) squares += s;
  return {count, mean, std::sqrt(squares / (count - 1))};
}

// The base of samples [begin, end), all within one half of a block, is first + slope * (sample - begin).
struct Line {
  int64_t end;
  float first, slope, inverse;
};

Line line_at(const Scales& scales, int64_t channel, int64_t sample, int64_t end) {
  const int64_t n_block = scales.base.shape[1], b = sample / scales.block, half = scales.block / 2;
  const bool late = sample - b * scales.block >= half;
  const int64_t from = late ? b : b - 1, to = std::min(from + 1, n_block - 1);
  const float low = scales.base(channel, std::max<int64_t>(from, 0)), high = scales.base(channel, to);
  const float slope = from < 0 ? 0 : (high - low) / static_cast<float>(scales.block);
  const float first = low + slope * (static_cast<float>(sample - (from * scales.block + half)) + 0.5f);
  const int64_t stop = b * scales.block + (late ? scales.block : half);
  return {std::min(stop, end), from < 0 ? low : first, slope, scales.inverse(channel, b)};
}

template <typename T>
MWACONVERT_INLINE void add_each(const T* x, const uint8_t* used, Line line, int64_t n, float* sum,
                                float* square) {
  for (int64_t k = 0; k < n; ++k) {
    const float base = line.first + line.slope * static_cast<float>(static_cast<int32_t>(k));
    float z = (static_cast<float>(x[k]) - base) * line.inverse;
    if (used) z = used[k] ? z : 0.0f;
    sum[k] += z;
    square[k] += z * z;
  }
}

MWACONVERT_CLONES
void add_scaled(const uint8_t* x, const uint8_t* used, Line line, int64_t n, float* sum, float* square) {
  add_each(x, used, line, n, sum, square);
}
MWACONVERT_CLONES
void add_scaled(const float* x, const uint8_t* used, Line line, int64_t n, float* sum, float* square) {
  add_each(x, used, line, n, sum, square);
}

template <typename T>
MWACONVERT_INLINE void write_each(const T* x, const uint8_t* used, Line line, const float* common,
                                  const uint8_t* keep, int64_t n, float origin, float unit, uint8_t* out) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves a whole number, half to even
  for (int64_t k = 0; k < n; ++k) {
    const float base = line.first + line.slope * static_cast<float>(static_cast<int32_t>(k));
    const float z = (static_cast<float>(x[k]) - base) * line.inverse - common[k];
    float v = origin + unit * z;
    v = v > 0.0f ? v : 0.0f;
    v = v < 255.0f ? v : 255.0f;
    v = (v + kRound) - kRound;
    v = keep[k] != 0 ? v : origin;
    out[k] = static_cast<uint8_t>(static_cast<int32_t>(v));
  }
  if (used)
    for (int64_t k = 0; k < n; ++k) out[k] = used[k] != 0 ? out[k] : static_cast<uint8_t>(origin);
}

MWACONVERT_CLONES
void write_bytes(const uint8_t* x, const uint8_t* used, Line line, const float* common, const uint8_t* keep,
                 int64_t n, float origin, float unit, uint8_t* out) {
  write_each(x, used, line, common, keep, n, origin, unit, out);
}
MWACONVERT_CLONES
void write_bytes(const float* x, const uint8_t* used, Line line, const float* common, const uint8_t* keep,
                 int64_t n, float origin, float unit, uint8_t* out) {
  write_each(x, used, line, common, keep, n, origin, unit, out);
}

void check_used(View<const uint8_t, 2> used, int64_t n_chan, int64_t n_samp) {
  if (used.shape[0] != 0 && (used.shape[0] != n_chan || used.shape[1] != n_samp))
    throw InputError("clean: expected one byte of `used` for each sample, or none at all");
}

void check_edges(View<const int32_t, 1> edges, int64_t n_sub, int64_t n_chan) {
  bool ok = n_sub > 0 && edges(0) == 0 && edges(n_sub) == n_chan;
  for (int64_t s = 0; ok && s < n_sub; ++s) ok = edges(s) < edges(s + 1);
  if (!ok) throw InputError("clean: sub-bands do not divide the band");
}

const uint8_t* row_of(View<const uint8_t, 2> used, int64_t channel, int64_t sample) {
  return used.shape[0] == 0 ? nullptr : &used(channel, sample);
}

int64_t blocks_of(int64_t n_samp, int64_t block) {
  if (block < 2 || block % 2 != 0) throw InputError("clean: blocks must have an even number of samples");
  return (n_samp + block - 1) / block;
}

}  // namespace

template <typename T>
void block_moments(View<const T, 2> data, View<const uint8_t, 2> used, int64_t block, View<float, 2> count,
                   View<float, 2> mean, View<float, 2> std, int threads) {
  const int64_t n_samp = data.shape[1], n_block = blocks_of(n_samp, block);
  check_used(used, data.shape[0], n_samp);
  if (count.shape[1] != n_block) throw InputError("block_moments: expected one result for each block");
  if (block > 65536) throw InputError("block_moments: blocks of more than 65536 samples");
  parallel_for(data.shape[0], threads, [&](int64_t c) {
    for (int64_t b = 0; b < n_block; ++b) {
      const int64_t first = b * block, n = std::min(block, n_samp - first);
      const Moments m = moments(&data(c, first), row_of(used, c, first), n);
      count(c, b) = static_cast<float>(m.count);
      mean(c, b) = static_cast<float>(m.mean);
      std(c, b) = static_cast<float>(m.std);
    }
  });
}

void running_median(View<const float, 2> in, int64_t half, int64_t least, View<float, 2> out, int threads) {
  const int64_t n = in.shape[1];
  if (least < 0 || half < least)
    throw InputError("running_median: a negative number of neighbours, or fewer than at the ends");
  parallel_for(in.shape[0], threads, [&](int64_t row) {
    std::vector<float> window;  // ascending
    int64_t low = 0, high = 0;  // neither moves back
    for (int64_t k = 0; k < n; ++k) {
      const int64_t reach = std::max(least, std::min({half, k, n - 1 - k}));
      for (const int64_t end = std::min(n, k + reach + 1); high < end; ++high)
        if (const float v = in(row, high); std::isfinite(v))
          window.insert(std::upper_bound(window.begin(), window.end(), v), v);
      for (const int64_t begin = std::max<int64_t>(0, k - reach); low < begin; ++low)
        if (const float v = in(row, low); std::isfinite(v))
          window.erase(std::lower_bound(window.begin(), window.end(), v));
      const size_t m = window.size();
      if (m == 0)
        out(row, k) = NAN;
      else
        out(row, k) =
            m % 2 == 1 ? window[m / 2] : window[m / 2 - 1] + (window[m / 2] - window[m / 2 - 1]) / 2;
    }
  });
}

template <typename T>
void band_sums(View<const T, 2> data, View<const uint8_t, 2> used, const Scales& scales,
               View<const int32_t, 1> edges, View<float, 2> sums, View<float, 1> squares, int threads) {
  const int64_t n_chan = data.shape[0], n_samp = data.shape[1], n_sub = sums.shape[0];
  check_used(used, n_chan, n_samp);
  if (scales.base.shape[1] != blocks_of(n_samp, scales.block))
    throw InputError("band_sums: expected one scale for each block");
  check_edges(edges, n_sub, n_chan);
  parallel_for((n_samp + kTile - 1) / kTile, threads, [&](int64_t tile) {
    const int64_t first = tile * kTile, end = std::min(n_samp, first + kTile);
    std::fill(&squares(first), &squares(first) + (end - first), 0.0f);
    for (int64_t s = 0; s < n_sub; ++s) {
      float* sum = &sums(s, first);
      std::fill(sum, sum + (end - first), 0.0f);
      for (int64_t c = edges(s); c < edges(s + 1); ++c)
        for (int64_t k = first; k < end;) {
          const Line line = line_at(scales, c, k, end);
          if (line.inverse > 0)
            add_scaled(&data(c, k), row_of(used, c, k), line, line.end - k, sum + (k - first), &squares(k));
          k = line.end;
        }
    }
  });
}

template <typename T>
void cleaned_bytes(View<const T, 2> data, View<const uint8_t, 2> used, const Scales& scales,
                   View<const int32_t, 1> edges, View<const float, 2> common, View<const uint8_t, 1> keep,
                   float origin, float unit, int64_t stretch, View<uint8_t, 2> out, View<uint8_t, 2> kept,
                   int threads) {
  const int64_t n_chan = data.shape[0], n_samp = data.shape[1], n_sub = common.shape[0];
  check_used(used, n_chan, n_samp);
  if (scales.base.shape[1] != blocks_of(n_samp, scales.block))
    throw InputError("cleaned_bytes: expected one scale for each block");
  if (stretch < 1 || stretch > 255 || kept.shape[1] != (n_samp + stretch - 1) / stretch)
    throw InputError("cleaned_bytes: expected one number for each stretch of up to 255 samples");
  check_edges(edges, n_sub, n_chan);
  std::vector<uint8_t> of_stretch(kept.shape[1]);  // samples to keep
  for (int64_t k = 0; k < n_samp; ++k) of_stretch[k / stretch] += keep(k) != 0;
  parallel_for(n_chan, threads, [&](int64_t c) {
    int64_t sub = 0;
    while (edges(sub + 1) <= c) ++sub;
    for (int64_t k = 0; k < n_samp;) {
      const Line line = line_at(scales, c, k, n_samp);
      uint8_t* row = &out(c, k);
      if (line.inverse > 0)
        write_bytes(&data(c, k), row_of(used, c, k), line, &common(sub, k), &keep(k), line.end - k, origin,
                    unit, row);
      else
        std::fill(row, row + (line.end - k), static_cast<uint8_t>(origin));
      k = line.end;
    }
    const bool plain = used.shape[0] == 0 && scales.block % stretch == 0;
    for (int64_t s = 0; s < kept.shape[1]; ++s) {
      const int64_t first = s * stretch, end = std::min(n_samp, first + stretch);
      int32_t n = 0;
      if (plain) {
        n = scales.inverse(c, first / scales.block) > 0 ? of_stretch[s] : 0;
      } else {
        for (int64_t k = first; k < end; ++k)
          n += keep(k) != 0 && (used.shape[0] == 0 || used(c, k) != 0) &&
               scales.inverse(c, k / scales.block) > 0;
      }
      kept(c, s) = static_cast<uint8_t>(n);
    }
  });
}

#define MWACONVERT_CLEAN(T)                                                                                \
  template void block_moments(View<const T, 2>, View<const uint8_t, 2>, int64_t, View<float, 2>,           \
                              View<float, 2>, View<float, 2>, int);                                        \
  template void band_sums(View<const T, 2>, View<const uint8_t, 2>, const Scales&, View<const int32_t, 1>, \
                          View<float, 2>, View<float, 1>, int);                                            \
  template void cleaned_bytes(View<const T, 2>, View<const uint8_t, 2>, const Scales&,                     \
                              View<const int32_t, 1>, View<const float, 2>, View<const uint8_t, 1>, float, \
                              float, int64_t, View<uint8_t, 2>, View<uint8_t, 2>, int);
MWACONVERT_CLEAN(uint8_t)
MWACONVERT_CLEAN(float)

}  // namespace mwaconvert
