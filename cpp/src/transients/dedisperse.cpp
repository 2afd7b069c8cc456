#include "mwaconvert/transients/dedisperse.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "mwaconvert/base/constants.hpp"
#include "mwaconvert/base/error.hpp"
#include "mwaconvert/base/parallel.hpp"
#include "mwaconvert/base/scratch.hpp"
#include "mwaconvert/base/simd.hpp"
#include "mwaconvert/base/vector.hpp"

namespace mwaconvert {
namespace {

constexpr int64_t kTileBytes = 512;      // sums of one tile: half of the registers of AVX-512, all of AVX2
constexpr int64_t kChannelBlock = 64;    // rows of a tile that stay in the first cache while trials pass
constexpr int64_t kTrialBlock = 32;      // trials that pass
constexpr int64_t kFewTrials = 4;        // that are summed one at a time, along the rows
constexpr int64_t kStreams = 16;         // rows that are read along at a time
constexpr int64_t kStageSamples = 4096;  // output samples of one item of the two-stage transform

template <typename T>
using Running = std::conditional_t<std::is_same_v<T, float>, float, uint16_t>;
template <typename T>
constexpr bool kInteger = !std::is_same_v<T, float>;
template <typename T>
constexpr int64_t kTile = kTileBytes / sizeof(Running<T>);

// A register of kBytes, and the same anywhere in memory.
template <typename T, int kBytes>
struct Register {
  typedef T Type __attribute__((vector_size(kBytes)));
  typedef T Loose __attribute__((vector_size(kBytes), aligned(1), may_alias));
};

// running[0..kTile) (+)= the rows from base, each shifted by its delay.
template <int kBytes, typename T>
MWACONVERT_INLINE void add_rows(const T* base, int64_t stride, const int32_t* delay, int64_t n_rows,
                                T* running, bool fresh) {
  using Vector = typename Register<T, kBytes>::Type;
  using Loose = typename Register<T, kBytes>::Loose;
  constexpr int n = kTileBytes / kBytes;
  Vector sum[n];
  auto* at = reinterpret_cast<Vector*>(running);
  for (int k = 0; k < n; ++k) sum[k] = fresh ? Vector{} : at[k];
  for (int64_t r = 0; r < n_rows; ++r) {
    const Loose* p = reinterpret_cast<const Loose*>(base + r * stride + delay[r]);
    for (int k = 0; k < n; ++k) sum[k] += p[k];
  }
  for (int k = 0; k < n; ++k) at[k] = sum[k];
}

// Bytes without widening each: words of two samples are summed modulo 2^16, and so are their high bytes. The
// sum of the low bytes is what remains (split_words). running holds the words of the tile, then the high
// bytes.
template <int kBytes>
MWACONVERT_INLINE void add_rows(const uint8_t* base, int64_t stride, const int32_t* delay, int64_t n_rows,
                                uint16_t* running, bool fresh) {
  static_assert(std::endian::native == std::endian::little);
  using Vector = typename Register<uint16_t, kBytes>::Type;
  using Loose = typename Register<uint16_t, kBytes>::Loose;
  constexpr int half = kTileBytes / kBytes / 2;
  Vector word[half], high[half];
  auto* at = reinterpret_cast<Vector*>(running);
  for (int k = 0; k < half; ++k) {
    word[k] = fresh ? Vector{} : at[k];
    high[k] = fresh ? Vector{} : at[half + k];
  }
  for (int64_t r = 0; r < n_rows; ++r) {
    // volatile: or GCC reads twice what is used twice, and unaligned reads are what takes the time here
    const volatile Loose* p = reinterpret_cast<const volatile Loose*>(base + r * stride + delay[r]);
    for (int k = 0; k < half; ++k) {
      const Vector x = p[k];
      word[k] += x;
      high[k] += x >> 8;
    }
  }
  for (int k = 0; k < half; ++k) {
    at[k] = word[k];
    at[half + k] = high[k];
  }
}

// Sums of the samples at even places to the first half of a tile, at odd places to the second.
MWACONVERT_INLINE void split_words(uint16_t* running) {
  constexpr int64_t half = kTile<uint8_t> / 2;
  for (int64_t k = 0; k < half; ++k)
    running[k] = static_cast<uint16_t>(running[k] - (running[half + k] << 8));
}

// out[k] (+)= value of place k of a tile
template <typename T, typename From, typename To>
MWACONVERT_INLINE void in_order(const From* tile, To* out) {
  constexpr int64_t half = kTile<T> / 2;
  if constexpr (std::is_same_v<T, uint8_t>) {
    for (int64_t k = 0; k < half; ++k) {
      out[2 * k] = static_cast<To>(tile[k]);
      out[2 * k + 1] = static_cast<To>(tile[half + k]);
    }
  } else {
    for (int64_t k = 0; k < kTile<T>; ++k) out[k] = static_cast<To>(tile[k]);
  }
}

// For fewer samples than a tile.
template <typename T, typename To>
MWACONVERT_INLINE void add_rows_short(const T* base, int64_t stride, const int32_t* delay, int64_t n_rows,
                                      To* out, int64_t n) {
  std::fill_n(out, n, To{0});
  for (int64_t r = 0; r < n_rows; ++r) {
    const T* p = base + r * stride + delay[r];
    for (int64_t k = 0; k < n; ++k) out[k] += p[k];
  }
}

// Rows to be summed by several trials.
template <typename T>
struct Rows {
  const T* base;  // sample 0 of row 0
  int64_t stride;
  int64_t n_rows;
  int64_t exact_rows;             // rows of which a 16-bit sum cannot overflow
  int64_t block = kChannelBlock;  // rows that are summed at once
};

// out(trial, i) = sum over the rows of row(i + delays(trial, row)), for i of [0, n_out).
template <int kBytes, typename T>
MWACONVERT_INLINE void sum_trials(const Rows<T>& rows, const int32_t* delays, int64_t delay_stride,
                                  int64_t n_trial, float* out, int64_t out_stride, int64_t n_out) {
  constexpr int64_t tile = kTile<T>;
  alignas(64) Running<T> running[kTrialBlock * tile];
  alignas(64) int32_t wide[kInteger<T> ? kTrialBlock * tile : 1];
  const int64_t block = kInteger<T> ? std::min(rows.block, rows.exact_rows) : rows.block;
  int64_t begin = 0;
  for (; begin + tile <= n_out; begin += tile)
    for (int64_t first = 0; first < n_trial; first += kTrialBlock) {
      const int64_t trials = std::min(kTrialBlock, n_trial - first);
      int64_t pending = 0;   // rows in the running sums
      bool widened = false;  // whether `wide` holds anything
      auto widen = [&] {
        for (int64_t t = 0; t < trials; ++t) {
          Running<T>* from = running + t * tile;
          int32_t* to = wide + t * tile;
          if constexpr (std::is_same_v<T, uint8_t>) split_words(from);
          if (widened)
            for (int64_t k = 0; k < tile; ++k) to[k] += static_cast<int32_t>(from[k]);
          else
            for (int64_t k = 0; k < tile; ++k) to[k] = static_cast<int32_t>(from[k]);
        }
        widened = true;
        pending = 0;
      };
      for (int64_t row = 0; row < rows.n_rows; row += block) {
        const int64_t n_rows = std::min(block, rows.n_rows - row);
        if (kInteger<T> && pending + n_rows > rows.exact_rows) widen();
        for (int64_t t = 0; t < trials; ++t)
          add_rows<kBytes>(rows.base + row * rows.stride + begin, rows.stride,
                           delays + (first + t) * delay_stride + row, n_rows, running + t * tile,
                           pending == 0);
        pending += n_rows;
      }
      if constexpr (kInteger<T>) widen();
      for (int64_t t = 0; t < trials; ++t) {
        float* to = out + (first + t) * out_stride + begin;
        if constexpr (kInteger<T>)
          in_order<T>(wide + t * tile, to);
        else
          in_order<T>(running + t * tile, to);
      }
    }
  if (begin < n_out)
    for (int64_t t = 0; t < n_trial; ++t)
      add_rows_short(rows.base + begin, rows.stride, delays + t * delay_stride, rows.n_rows,
                     out + t * out_stride + begin, n_out - begin);
}

// Clones need plain functions.
MWACONVERT_CLONES
void sum_bytes(const Rows<uint8_t>& rows, const int32_t* delays, int64_t delay_stride, int64_t n_trial,
               float* out, int64_t out_stride, int64_t n_out) {
  sum_trials<32>(rows, delays, delay_stride, n_trial, out, out_stride, n_out);
}
MWACONVERT_WIDE
void sum_bytes_wide(const Rows<uint8_t>& rows, const int32_t* delays, int64_t delay_stride, int64_t n_trial,
                    float* out, int64_t out_stride, int64_t n_out) {
  sum_trials<64>(rows, delays, delay_stride, n_trial, out, out_stride, n_out);
}
MWACONVERT_CLONES
void sum_shorts(const Rows<uint16_t>& rows, const int32_t* delays, int64_t delay_stride, int64_t n_trial,
                float* out, int64_t out_stride, int64_t n_out) {
  sum_trials<32>(rows, delays, delay_stride, n_trial, out, out_stride, n_out);
}
MWACONVERT_WIDE
void sum_shorts_wide(const Rows<uint16_t>& rows, const int32_t* delays, int64_t delay_stride, int64_t n_trial,
                     float* out, int64_t out_stride, int64_t n_out) {
  sum_trials<64>(rows, delays, delay_stride, n_trial, out, out_stride, n_out);
}
MWACONVERT_CLONES
void sum_floats(const Rows<float>& rows, const int32_t* delays, int64_t delay_stride, int64_t n_trial,
                float* out, int64_t out_stride, int64_t n_out) {
  sum_trials<32>(rows, delays, delay_stride, n_trial, out, out_stride, n_out);
}
MWACONVERT_WIDE
void sum_floats_wide(const Rows<float>& rows, const int32_t* delays, int64_t delay_stride, int64_t n_trial,
                     float* out, int64_t out_stride, int64_t n_out) {
  sum_trials<64>(rows, delays, delay_stride, n_trial, out, out_stride, n_out);
}
auto sum(const uint8_t*) {
  return wide_registers() ? &sum_bytes_wide : &sum_bytes;
}
auto sum(const uint16_t*) {
  return wide_registers() ? &sum_shorts_wide : &sum_shorts;
}
auto sum(const float*) {
  return wide_registers() ? &sum_floats_wide : &sum_floats;
}

// First stage: one sub-band aligned. base is sample 0 of its first channel.
template <int kBytes, typename T>
MWACONVERT_INLINE void align(const T* base, int64_t stride, const int32_t* delay, int64_t n_rows,
                             Running<T>* out, int64_t n) {
  alignas(64) Running<T> running[kTile<T>];
  if (n < kTile<T>) return add_rows_short(base, stride, delay, n_rows, out, n);
  for (int64_t begin = 0; begin < n; begin += kTile<T>) {
    const int64_t from = std::min(begin, n - kTile<T>);  // the last tile may overlap its neighbour
    add_rows<kBytes>(base + from, stride, delay, n_rows, running, true);
    if constexpr (std::is_same_v<T, uint8_t>) split_words(running);
    in_order<T>(running, out + from);
  }
}
MWACONVERT_CLONES
void align_bytes(const uint8_t* base, int64_t stride, const int32_t* delay, int64_t n_rows, uint16_t* out,
                 int64_t n) {
  align<32>(base, stride, delay, n_rows, out, n);
}
MWACONVERT_WIDE
void align_bytes_wide(const uint8_t* base, int64_t stride, const int32_t* delay, int64_t n_rows,
                      uint16_t* out, int64_t n) {
  align<64>(base, stride, delay, n_rows, out, n);
}
MWACONVERT_CLONES
void align_floats(const float* base, int64_t stride, const int32_t* delay, int64_t n_rows, float* out,
                  int64_t n) {
  align<32>(base, stride, delay, n_rows, out, n);
}
MWACONVERT_WIDE
void align_floats_wide(const float* base, int64_t stride, const int32_t* delay, int64_t n_rows, float* out,
                       int64_t n) {
  align<64>(base, stride, delay, n_rows, out, n);
}
auto align(const uint8_t*) {
  return wide_registers() ? &align_bytes_wide : &align_bytes;
}
auto align(const float*) {
  return wide_registers() ? &align_floats_wide : &align_floats;
}

struct Range {
  int64_t low = std::numeric_limits<int64_t>::max(), high = std::numeric_limits<int64_t>::min();
  void add(int64_t low_, int64_t high_) {
    low = std::min(low, low_);
    high = std::max(high, high_);
  }
};

void check_range(Range delay, int64_t n_out, int64_t n_samp) {
  if (delay.low < 0 || delay.high + n_out > n_samp)
    throw InputError("delays of " + std::to_string(delay.low) + " to " + std::to_string(delay.high) +
                     " samples leave no room for " + std::to_string(n_out) + " of " + std::to_string(n_samp) +
                     " samples");
}

void check_rows(int64_t n_chan, bool integer) {
  constexpr int64_t most = (int64_t{1} << 24) / 255;  // above, float32 does not hold every sum
  if (n_chan < 1) throw InputError("no channels to sum");
  if (integer && n_chan > most)
    throw InputError("more than " + std::to_string(most) + " channels of 8 bits: convert them to float32");
}

// For few trials, of which nothing stays in the caches: tiles that follow each other take the place of
// trials, so that rows are read along.
template <typename T>
void along_rows(View<const T, 2> data, View<const int32_t, 2> delays, View<float, 2> out, int threads) {
  constexpr int64_t tile = kTile<T>, stretch = kTrialBlock * tile;
  const int64_t n_chan = data.shape[0], n_out = out.shape[1];
  const int64_t n_stretch = (n_out + stretch - 1) / stretch;
  parallel_for(n_stretch * out.shape[0], threads, [&](int64_t item) {
    static thread_local Scratch<int32_t> memory;
    const int64_t trial = item / n_stretch, begin = item % n_stretch * stretch;
    const int64_t n_tile = std::min(stretch, n_out - begin) / tile;
    int32_t* later = memory.get(std::max<int64_t>(n_tile, 1) * n_chan);
    for (int64_t k = 0; k < n_tile; ++k)
      for (int64_t c = 0; c < n_chan; ++c)
        later[k * n_chan + c] = delays(trial, c) + static_cast<int32_t>(k * tile);
    const Rows<T> rows{&data(0, begin), data.stride[0], n_chan, kMostByteRows, kStreams};
    if (n_tile > 0) sum(data.data)(rows, later, n_chan, n_tile, &out(trial, begin), tile, tile);
    const int64_t rest = begin + n_tile * tile, end = std::min(begin + stretch, n_out);
    if (rest < end) {
      const Rows<T> last{&data(0, rest), data.stride[0], n_chan, kMostByteRows, kStreams};
      sum(data.data)(last, &delays(trial, 0), delays.stride[0], 1, &out(trial, rest), out.stride[0],
                     end - rest);
    }
  });
}

template <typename T>
void brute_force(View<const T, 2> data, View<const int32_t, 2> delays, View<float, 2> out, int threads) {
  constexpr int64_t trials_at_once = 256;  // a tile of all channels stays in the second cache for so many
  const int64_t n_trial = out.shape[0], n_out = out.shape[1];
  check_rows(data.shape[0], kInteger<T>);
  Range range;
  for (int64_t t = 0; t < n_trial; ++t) {
    const auto [low, high] = std::minmax_element(&delays(t, 0), &delays(t, 0) + delays.shape[1]);
    range.add(*low, *high);
  }
  if (n_trial == 0 || n_out == 0) return;
  check_range(range, n_out, data.shape[1]);
  if (n_trial <= kFewTrials) return along_rows(data, delays, out, threads);
  const int64_t n_tiles = (n_out + kTile<T> - 1) / kTile<T>;
  const int64_t n_sets = (n_trial + trials_at_once - 1) / trials_at_once;
  parallel_for(n_tiles * n_sets, threads, [&](int64_t item) {
    const int64_t set = item % n_sets * trials_at_once;
    const int64_t begin = item / n_sets * kTile<T>, end = std::min(begin + kTile<T>, n_out);
    const Rows<T> rows{&data(0, begin), data.stride[0], data.shape[0], kMostByteRows};
    sum(data.data)(rows, &delays(set, 0), delays.stride[0], std::min(trials_at_once, n_trial - set),
                   &out(set, begin), out.stride[0], end - begin);
  });
}

template <typename T>
void two_stage(View<const T, 2> data, View<const int32_t, 1> edges, View<const int32_t, 2> within,
               View<const int32_t, 2> across, int64_t trials_per_group, View<float, 2> out, int threads) {
  const int64_t n_chan = data.shape[0], n_sub = across.shape[1], n_trial = out.shape[0], n_out = out.shape[1];
  const int64_t n_group = within.shape[0];
  check_rows(n_chan, kInteger<T>);
  if (trials_per_group < 1 || n_group * trials_per_group < n_trial)
    throw InputError("too few groups of trials");
  int64_t widest = 0;
  for (int64_t s = 0; s < n_sub; ++s) {
    if (edges(s) >= edges(s + 1)) throw InputError("a sub-band without channels");
    widest = std::max<int64_t>(widest, edges(s + 1) - edges(s));
  }
  if (edges(0) != 0 || edges(n_sub) != n_chan) throw InputError("sub-bands do not cover the channels");
  if (kInteger<T> && widest > kMostByteRows)
    throw InputError("a sub-band of 8-bit data has more than " + std::to_string(kMostByteRows) + " channels");
  if (n_trial == 0 || n_out == 0) return;

  // What each group reads of each sub-band: [low, high] of `across`.
  std::vector<Range> reach(n_group * n_sub);
  Range total;
  for (int64_t t = 0; t < n_trial; ++t)
    for (int64_t s = 0; s < n_sub; ++s)
      reach[t / trials_per_group * n_sub + s].add(across(t, s), across(t, s));
  int64_t longest = 0;
  const int64_t used_groups = (n_trial + trials_per_group - 1) / trials_per_group;
  for (int64_t g = 0; g < used_groups; ++g)
    for (int64_t s = 0; s < n_sub; ++s) {
      const Range& r = reach[g * n_sub + s];
      const auto [low, high] =
          std::minmax_element(&within(g, edges(s)), &within(g, edges(s)) + edges(s + 1) - edges(s));
      total.add(r.low + *low, r.high + *high);
      longest = std::max(longest, r.high - r.low);
    }
  check_range(total, n_out, data.shape[1]);

  const int64_t row_length =
      (std::min(kStageSamples, n_out) + longest + 63) / 64 * 64 + 32;  // rows not all in one cache set
  const int64_t n_tiles = (n_out + kStageSamples - 1) / kStageSamples;
  parallel_for(n_tiles * used_groups, threads, [&](int64_t item) {
    static thread_local Scratch<Running<T>> aligned_memory;
    static thread_local Scratch<int32_t> delay_memory;
    const int64_t g = item % used_groups, begin = item / used_groups * kStageSamples;
    const int64_t n = std::min(kStageSamples, n_out - begin);
    const int64_t first = g * trials_per_group, trials = std::min(trials_per_group, n_trial - first);
    Running<T>* aligned = aligned_memory.get(n_sub * row_length);
    int32_t* delays = delay_memory.get(trials * n_sub);
    for (int64_t s = 0; s < n_sub; ++s) {
      const Range& r = reach[g * n_sub + s];
      align(data.data)(&data(edges(s), 0) + begin + r.low, data.stride[0], &within(g, edges(s)),
                       edges(s + 1) - edges(s), aligned + s * row_length, n + r.high - r.low);
      for (int64_t t = 0; t < trials; ++t)
        delays[t * n_sub + s] = across(first + t, s) - static_cast<int32_t>(r.low);
    }
    const Rows<Running<T>> rows{aligned, row_length, n_sub, kMostByteRows / widest};
    sum(aligned)(rows, delays, n_sub, trials, &out(first, begin), out.stride[0], n);
  });
}

MWACONVERT_CLONES
void round_products(double dm, const double* per_dm, int64_t n, int32_t* out) {
  for (int64_t c = 0; c < n; ++c) {
    const double x = dm * per_dm[c], whole = std::trunc(x), rest = x - whole;  // exact: floor(x + 0.5) is not
    out[c] = static_cast<int32_t>(whole) + (rest >= 0.5) - (rest <= -0.5);
  }
}

}  // namespace

void round_delays(View<const double, 1> dm, View<const double, 1> per_dm, View<int32_t, 2> delays) {
  constexpr double most = 1 << 30;
  for (int64_t t = 0; t < dm.shape[0]; ++t) {
    for (int64_t c = 0; c < per_dm.shape[0]; ++c)
      if (!(std::abs(dm(t) * per_dm(c)) < most)) throw InputError("a delay of more than 2^30 samples");
    round_products(dm(t), per_dm.data, per_dm.shape[0], &delays(t, 0));
  }
}

void dedisperse(View<const uint8_t, 2> data, View<const int32_t, 2> delays, View<float, 2> out, int threads) {
  brute_force(data, delays, out, threads);
}
void dedisperse(View<const float, 2> data, View<const int32_t, 2> delays, View<float, 2> out, int threads) {
  brute_force(data, delays, out, threads);
}
void dedisperse_subbands(View<const uint8_t, 2> data, View<const int32_t, 1> edges,
                         View<const int32_t, 2> within, View<const int32_t, 2> across,
                         int64_t trials_per_group, View<float, 2> out, int threads) {
  two_stage(data, edges, within, across, trials_per_group, out, threads);
}
void dedisperse_subbands(View<const float, 2> data, View<const int32_t, 1> edges,
                         View<const int32_t, 2> within, View<const int32_t, 2> across,
                         int64_t trials_per_group, View<float, 2> out, int threads) {
  two_stage(data, edges, within, across, trials_per_group, out, threads);
}

}  // namespace mwaconvert
