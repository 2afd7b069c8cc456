#include "mwaconvert/transients/clean.hpp"

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

constexpr int kLanes = 16;
constexpr int64_t kTile = 4096;  // samples of all channels that are summed at once

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

// The base of samples up to `end`, all within one half of a block: first + slope * (sample - begin).
struct Line {
  int64_t end;
  float first, slope, inverse;
};

// The lines of a channel, one after the other.
class Lines {
 public:
  Lines(const Scales& scales, int64_t channel, int64_t begin)
      : base_(&scales.base(channel, 0)),
        inverse_(&scales.inverse(channel, 0)),
        n_block_(scales.base.shape[1]),
        half_(scales.block / 2),
        at_(begin / half_) {}

  // The line of a sample, the end of the one before; not beyond `end`.
  Line next(int64_t sample, int64_t end) {
    const int64_t from = (at_ + 1) / 2 - 1, to = std::min(from + 1, n_block_ - 1);
    const float low = base_[std::max<int64_t>(from, 0)], high = base_[to];
    const float slope = from < 0 ? 0 : (high - low) / static_cast<float>(2 * half_);
    const float since = static_cast<float>(sample - (2 * from + 1) * half_) + 0.5f;
    const float inverse = inverse_[at_ / 2];
    return {std::min(++at_ * half_, end), from < 0 ? low : low + slope * since, slope, inverse};
  }

 private:
  const float *base_, *inverse_;
  int64_t n_block_, half_, at_;
};

template <typename T>
MWACONVERT_INLINE void add_each(const T* __restrict x, const uint8_t* __restrict used, Line line, int64_t n,
                                float* __restrict sum, float* __restrict square) {
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
MWACONVERT_INLINE void write_each(const T* __restrict x, const uint8_t* __restrict used, Line line,
                                  const float* __restrict common, const uint8_t* __restrict keep, int64_t n,
                                  float origin, float unit, uint8_t* __restrict out) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves a whole number, half to even
  const float scale = unit * line.inverse;
  for (int64_t k = 0; k < n; ++k) {
    const float base = line.first + line.slope * static_cast<float>(static_cast<int32_t>(k));
    float v = origin + ((static_cast<float>(x[k]) - base) * scale - unit * common[k]);
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

constexpr int64_t kRunTile = 4096;  // samples of which runs over all channels are found at once

template <typename T>
MWACONVERT_INLINE void lengthen_each(const T* __restrict x, T value, int64_t n, uint8_t* __restrict length,
                                     uint8_t* __restrict best) {
  for (int64_t k = 0; k < n; ++k) {
    const uint8_t longer = length[k] < 255 ? length[k] + 1 : 255;
    const uint8_t run = x[k] == value ? longer : 0;
    length[k] = run;
    best[k] = run > best[k] ? run : best[k];
  }
}

MWACONVERT_CLONES
void lengthen_runs(const uint8_t* x, uint8_t value, int64_t n, uint8_t* length, uint8_t* best) {
  lengthen_each(x, value, n, length, best);
}
MWACONVERT_CLONES
void lengthen_runs(const float* x, float value, int64_t n, uint8_t* length, uint8_t* best) {
  lengthen_each(x, value, n, length, best);
}

typedef float f32x16 __attribute__((vector_size(64)));
constexpr int kRows = 16;  // of which running medians are found side by side

// Of each of n ascending values a row lets one go and takes another, which may be infinite: then there is one
// fewer, or one more. Without x, sorted values are s[k] < x ? s[k] : s[k + 1]; with y besides, each is y
// clamped between its neighbour below and itself.
MWACONVERT_CLONES
void exchange_values(float* sorted, int64_t n, const float* gone, const float* come) {
  f32x16* window = reinterpret_cast<f32x16*>(sorted);
  const f32x16 x = *reinterpret_cast<const f32x16*>(gone), y = *reinterpret_cast<const f32x16*>(come);
  f32x16 below = f32x16{} - HUGE_VALF, here = window[0];
  for (int64_t k = 0; k < n; ++k) {
    const f32x16 next = window[k + 1];
    const f32x16 left = here < x ? here : next;
    const f32x16 least = y > below ? y : below;
    window[k] = least < left ? least : left;
    below = left;
    here = next;
  }
}

// The values of a window of kRows rows, ascending in each; those that are not there are infinite, and last.
class SortedRows {
 public:
  // memory: (room + 1, kRows), aligned
  SortedRows(float* memory, int64_t room) : values_(memory), room_(room) {
    std::fill(values_, values_ + (room + 1) * kRows, HUGE_VALF);
  }

  // A row of values that are not there.
  const float* none() const { return values_ + room_ * kRows; }

  void exchange(const float* gone, const float* come) {
    exchange_values(values_, room_, gone, come);
    for (int row = 0; row < kRows; ++row) count_[row] += (come[row] < HUGE_VALF) - (gone[row] < HUGE_VALF);
  }

  float median(int64_t row) const {
    const int64_t m = count_[row];
    if (m == 0) return NAN;
    const float high = values_[m / 2 * kRows + row];
    if (m % 2 == 1) return high;
    const float low = values_[(m / 2 - 1) * kRows + row];
    return low + (high - low) / 2;
  }

 private:
  float* values_;
  int64_t room_;
  int32_t count_[kRows] = {};
};

// Samples that both say count.
MWACONVERT_CLONES
int32_t count_both(const uint8_t* keep, const uint8_t* used, int64_t n) {
  int32_t sum = 0;
  if (used)
    for (int64_t k = 0; k < n; ++k) sum += keep[k] != 0 && used[k] != 0;
  else
    for (int64_t k = 0; k < n; ++k) sum += keep[k] != 0;
  return sum;
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
  const int64_t n_row = in.shape[0], n = in.shape[1];
  if (least < 0 || half < least)
    throw InputError("running_median: a negative number of neighbours, or fewer than at the ends");
  if (n == 0) return;
  const int64_t room = half < n / 2 ? 2 * half + 1 : n;
  parallel_for((n_row + kRows - 1) / kRows, threads, [&](int64_t group) {
    static thread_local Scratch<float> memory;
    const int64_t first = group * kRows, rows = std::min<int64_t>(kRows, n_row - first);
    float* values = memory.get((n + room + 1) * kRows);  // (n, kRows)
    SortedRows window(values + n * kRows, room);
    std::fill(values, values + n * kRows, HUGE_VALF);
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t k = 0; k < n; ++k)
        if (const float v = in(first + row, k); std::isfinite(v)) values[k * kRows + row] = v;
    const float* none = window.none();
    int64_t low = 0, high = 0;  // neither moves back
    for (int64_t k = 0; k < n; ++k) {
      const int64_t reach = std::max(least, std::min({half, k, n - 1 - k}));
      const int64_t begin = std::max<int64_t>(0, k - reach), end = std::min(n, k + reach + 1);
      while (low < begin || high < end) {
        const float* gone = low < begin ? values + kRows * low++ : none;
        window.exchange(gone, high < end ? values + kRows * high++ : none);
      }
      for (int64_t row = 0; row < rows; ++row) out(first + row, k) = window.median(row);
    }
  });
}

template <typename T>
void longest_runs(View<const T, 2> data, View<const uint8_t, 1> live, T value, View<uint8_t, 1> longest,
                  int threads) {
  const int64_t n_chan = data.shape[0], n_samp = data.shape[1];
  parallel_for((n_samp + kRunTile - 1) / kRunTile, threads, [&](int64_t tile) {
    const int64_t first = tile * kRunTile, n = std::min(n_samp - first, kRunTile);
    uint8_t length[kRunTile] = {};
    uint8_t* best = &longest(first);
    std::fill(best, best + n, uint8_t{0});
    for (int64_t c = 0; c < n_chan; ++c)
      if (live(c))
        lengthen_runs(&data(c, first), value, n, length, best);
      else
        std::fill(length, length + n, uint8_t{0});
  });
}

template <typename T>
void mark_runs(View<const T, 2> data, View<const uint8_t, 1> live, T value, int64_t run,
               View<uint8_t, 2> used, int threads) {
  const int64_t n_chan = data.shape[0], n_samp = data.shape[1];
  if (run < 1) throw InputError("mark_runs: a run of no channels");
  parallel_for((n_samp + kRunTile - 1) / kRunTile, threads, [&](int64_t tile) {
    const int64_t first = tile * kRunTile, n = std::min(n_samp - first, kRunTile);
    std::vector<int64_t> begin(n, 0);  // of the run that a time is in
    for (int64_t c = 0; c <= n_chan; ++c)
      for (int64_t k = 0; k < n; ++k) {
        if (c < n_chan && live(c) && data(c, first + k) == value) continue;
        if (c - begin[k] >= run)
          for (int64_t b = begin[k]; b < c; ++b) used(b, first + k) = 0;
        begin[k] = c + 1;
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
      for (int64_t c = edges(s); c < edges(s + 1); ++c) {
        Lines lines(scales, c, first);
        for (int64_t k = first; k < end;) {
          const Line line = lines.next(k, end);
          if (line.inverse > 0)
            add_scaled(&data(c, k), row_of(used, c, k), line, line.end - k, sum + (k - first), &squares(k));
          k = line.end;
        }
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
    Lines lines(scales, c, 0);
    for (int64_t k = 0; k < n_samp;) {
      const Line line = lines.next(k, n_samp);
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
        for (int64_t k = first; k < end;) {
          const int64_t b = k / scales.block, stop = std::min(end, (b + 1) * scales.block);
          if (scales.inverse(c, b) > 0) n += count_both(&keep(k), row_of(used, c, k), stop - k);
          k = stop;
        }
      }
      kept(c, s) = static_cast<uint8_t>(n);
    }
  });
}

#define MWACONVERT_CLEAN(T)                                                                                \
  template void block_moments(View<const T, 2>, View<const uint8_t, 2>, int64_t, View<float, 2>,           \
                              View<float, 2>, View<float, 2>, int);                                        \
  template void longest_runs(View<const T, 2>, View<const uint8_t, 1>, T, View<uint8_t, 1>, int);          \
  template void mark_runs(View<const T, 2>, View<const uint8_t, 1>, T, int64_t, View<uint8_t, 2>, int);    \
  template void band_sums(View<const T, 2>, View<const uint8_t, 2>, const Scales&, View<const int32_t, 1>, \
                          View<float, 2>, View<float, 1>, int);                                            \
  template void cleaned_bytes(View<const T, 2>, View<const uint8_t, 2>, const Scales&,                     \
                              View<const int32_t, 1>, View<const float, 2>, View<const uint8_t, 1>, float, \
                              float, int64_t, View<uint8_t, 2>, View<uint8_t, 2>, int);
MWACONVERT_CLEAN(uint8_t)
MWACONVERT_CLEAN(float)

}  // namespace mwaconvert
