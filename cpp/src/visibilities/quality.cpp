#include "mwaconvert/visibilities/quality.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "mwaconvert/base/parallel.hpp"
#include "mwaconvert/base/scratch.hpp"
#include "mwaconvert/base/simd.hpp"
#include "mwaconvert/base/vector.hpp"

namespace mwaconvert {
namespace {

constexpr int64_t kStrip = 128;     // channels whose accumulators stay in the first-level cache
constexpr int64_t kBatch = 256;     // rows between joins
constexpr int64_t kFloatRows = 64;  // rows summed in float
constexpr float kRootHalf = 0.70710678118654752f;

typedef int32_t i4_loose __attribute__((vector_size(16), aligned(4), may_alias));

// Lanes: re, im of XX, XY, YX, YY.
struct Sums {
  f8 v, v2, d, d2;
};
// Lanes: XX, XY, YX, YY.
struct Counts {
  i4 good, bad, pairs;
};

MWACONVERT_INLINE f8 masked(f8 v, i8 mask) {
  return reinterpret_cast<f8>(reinterpret_cast<i8>(v) & mask);
}
MWACONVERT_INLINE i8 each_twice(i4 m) {
  return __builtin_shufflevector(m, m, 0, 0, 1, 1, 2, 2, 3, 3);
}
MWACONVERT_INLINE i4 flags_of(const float* weight) {
  return *reinterpret_cast<const i4_loose*>(weight) >> 31;  // all bits set where flagged
}

// One row: `mask` says which cells count, of n channels and the one after them (0 if there is none; its
// values are read only if `n_values` > n). The same channels of the next row, at these distances, are
// fetched.
MWACONVERT_CLONES
void sum_row(const float* vis, const i8* mask, int64_t n, int64_t n_values, const float* weight,
             int64_t vis_stride, int64_t weight_stride, Sums* channel, Sums* row) {
  Sums total{};
  f8 v = masked(load(vis), mask[0]);
  i8 m = mask[0];
  const int64_t n_pairs = std::min(n, n_values - 1);
  for (int64_t c = 0; c < n_pairs; ++c) {
    if (c % 2 == 0) __builtin_prefetch(vis + vis_stride + 8 * c);
    if (c % 4 == 0) __builtin_prefetch(weight + weight_stride + 4 * c);
    const i8 next_m = mask[c + 1];
    const f8 next = masked(load(vis + 8 * (c + 1)), next_m);
    const f8 v2 = v * v;
    const f8 d = masked((next - v) * kRootHalf, m & next_m), d2 = d * d;
    Sums& s = channel[c];
    s.v += v;
    s.v2 += v2;
    s.d += d;
    s.d2 += d2;
    total.v += v;
    total.v2 += v2;
    total.d += d;
    total.d2 += d2;
    v = next;
    m = next_m;
  }
  if (n_pairs < n) {  // the last channel of its window
    channel[n_pairs].v += v;
    channel[n_pairs].v2 += v * v;
    total.v += v;
    total.v2 += v * v;
  }
  *row = total;
}

MWACONVERT_CLONES
bool all_good(const float* weight, const i4* kept, int64_t n) {
  i4 found{};
  for (int64_t c = 0; c < n; ++c) found |= *reinterpret_cast<const i4_loose*>(weight + 4 * c) & kept[c];
  return (found[0] | found[1] | found[2] | found[3]) >= 0;
}

// Masks and counts of a row with flagged cells among those that no static rule flags.
MWACONVERT_CLONES
void count_row(const float* weight, const i4* kept, int64_t n, int64_t n_values, i8* mask, Counts* channel,
               Counts* row) {
  Counts total{};
  i4 good = ~flags_of(weight) & kept[0];
  for (int64_t c = 0; c < n; ++c) {
    mask[c] = each_twice(good);
    const i4 bad = flags_of(weight + 4 * c) & kept[c];
    const i4 next = c + 1 < n_values ? ~flags_of(weight + 4 * (c + 1)) & kept[c + 1] : i4{};
    const i4 pair = good & next;
    channel[c].good -= good;
    channel[c].bad -= bad;
    channel[c].pairs -= pair;
    total.good -= good;
    total.bad -= bad;
    total.pairs -= pair;
    good = next;
  }
  mask[n] = each_twice(good);
  *row = total;
}

void add(const Sums& s, std::complex<double>* out) {
  const f8 part[4] = {s.v, s.v2, s.d, s.d2};
  for (int k = 0; k < 4; ++k)
    for (int p = 0; p < 4; ++p) out[4 * k + p] += std::complex<double>(part[k][2 * p], part[k][2 * p + 1]);
}

void add(const Counts& s, int64_t times, int64_t* out) {
  const i4 part[3] = {s.good, s.bad, s.pairs};
  for (int k = 0; k < 3; ++k)
    for (int p = 0; p < 4; ++p) out[4 * k + p] += times * part[k][p];
}

struct Strip {
  int64_t window, begin, end, stop;  // channels [begin, end) of a window that stops at `stop`
};

struct RowPart {
  Sums sums;
  Counts counts;
};

class Summation {
 public:
  Summation(const QualityInput& in, const QualityOutput& out) : in_(in), out_(out) {
    for (int64_t w = 0; w + 1 < in.window_start.shape[0]; ++w) {
      const int64_t stop = in.window_start(w + 1);
      for (int64_t c = in.window_start(w); c < stop; c += kStrip)
        strips_.push_back({w, c, std::min(c + kStrip, stop), stop});
    }
  }

  void run(int threads) const {
    const int64_t n_rows = in_.vis.shape[0], n_strips = static_cast<int64_t>(strips_.size());
    Scratch<RowPart> memory;  // aligned, which a vector's memory need not be
    RowPart* parts = memory.get(n_strips * std::min(kBatch, n_rows));
    for (int64_t begin = 0; begin < n_rows; begin += kBatch) {
      const int64_t end = std::min(begin + kBatch, n_rows);
      parallel_for(n_strips, threads,
                   [&](int64_t s) { sum(strips_[s], begin, end, parts + s * (end - begin)); });
      // in the order of the channels, so that the sums are always the same
      for (int64_t s = 0; s < n_strips; ++s)
        for (int64_t row = begin; row < end; ++row) {
          if (in_.row_static(row)) continue;
          const RowPart& part = parts[s * (end - begin) + row - begin];
          add(part.sums, &out_.row_sums(row, strips_[s].window, 0, 0));
          add(part.counts, 1, &out_.row_counts(row, strips_[s].window, 0, 0));
        }
    }
  }

 private:
  void sum(const Strip& strip, int64_t row_begin, int64_t row_end, RowPart* parts) const {
    const int64_t n = strip.end - strip.begin, n_values = std::min(strip.end + 1, strip.stop) - strip.begin;
    static thread_local Scratch<i8> mask_memory;
    static thread_local Scratch<i4> kept_memory;
    static thread_local Scratch<Sums> sum_memory;
    static thread_local Scratch<Counts> count_memory;
    i8* static_mask = mask_memory.get(2 * (kStrip + 1));
    i8* mask = static_mask + kStrip + 1;
    i4* kept = kept_memory.get(kStrip + 1);
    Sums* sums = sum_memory.get(2 * kStrip);  // of crosses; of what is in no channel's sum
    Counts* counts = count_memory.get(3 * kStrip);
    Counts* whole = counts + 2 * kStrip;  // of a row without flags but the static ones
    Counts whole_row{};
    for (int64_t c = 0; c <= n; ++c) {
      const int32_t keep = c < n_values && !in_.channel_static(strip.begin + c) ? -1 : 0;
      kept[c] = i4{keep, keep, keep, keep};
      static_mask[c] = each_twice(kept[c]);
    }
    for (int64_t c = 0; c < n; ++c) {
      whole[c] = {-kept[c], i4{}, -(kept[c] & kept[c + 1])};
      whole_row.good += whole[c].good;
      whole_row.pairs += whole[c].pairs;
    }
    std::fill(counts, counts + 2 * kStrip, Counts{});
    int64_t n_whole = 0;
    for (int64_t first = row_begin; first < row_end; first += kFloatRows) {
      std::fill(sums, sums + 2 * kStrip, Sums{});
      for (int64_t row = first; row < std::min(first + kFloatRows, row_end); ++row) {
        if (in_.row_static(row)) continue;
        const int64_t cross = in_.row_cross(row) ? 0 : 1;
        RowPart& part = parts[row - row_begin];
        const float* weight = &in_.weight(row, strip.begin, 0);
        const i8* valid = static_mask;
        if (all_good(weight, kept, n_values)) {
          n_whole += 1 - cross;
          part.counts = whole_row;
        } else {
          count_row(weight, kept, n, n_values, mask, counts + cross * kStrip, &part.counts);
          valid = mask;
        }
        sum_row(reinterpret_cast<const float*>(&in_.vis(row, strip.begin, 0)), valid, n, n_values, weight,
                2 * in_.vis.stride[0], in_.weight.stride[0], sums + cross * kStrip, &part.sums);
      }
      for (int64_t c = 0; c < n; ++c) add(sums[c], &out_.channel_sums(strip.begin + c, 0, 0));
    }
    for (int64_t c = 0; c < n; ++c) {
      add(counts[c], 1, &out_.channel_counts(strip.begin + c, 0, 0));
      add(whole[c], n_whole, &out_.channel_counts(strip.begin + c, 0, 0));
    }
  }

  const QualityInput& in_;
  const QualityOutput& out_;
  std::vector<Strip> strips_;
};

}  // namespace

void quality_sums(const QualityInput& in, const QualityOutput& out, int threads) {
  Summation(in, out).run(threads);
}

}  // namespace mwaconvert
