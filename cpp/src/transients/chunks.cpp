#include "mwaconvert/transients/chunks.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "mwaconvert/base/error.hpp"
#include "mwaconvert/base/parallel.hpp"
#include "mwaconvert/base/scratch.hpp"
#include "mwaconvert/base/simd.hpp"
#if MWACONVERT_HAS_WIDE
// gcc 12 warns of the undefined operands that its own intrinsics are made of
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

namespace mwaconvert {
namespace {

constexpr int64_t kBlock = PackedBytes::kBlock;
constexpr int64_t kMostRows = 248;          // channels of a batch: their number fits a byte
constexpr int64_t kBatchBytes = 512 << 10;  // of a batch of channels: in a second-level cache
constexpr int64_t kGroup = 16;              // samples of one scale and offset, and floats of a register
constexpr int64_t kTile = kGroup * kGroup;  // samples that are summed at a time

// Bytes of 0 and 255 become 0; so do those whose mask is 0.
MWACONVERT_CLONES
void copy_good(const uint8_t* in, const uint8_t* mask, int64_t n, uint8_t* out) {
  if (mask) {
    for (int64_t k = 0; k < n; ++k) out[k] = in[k] == 255 ? 0 : in[k] & mask[k];
  } else {
    for (int64_t k = 0; k < n; ++k) out[k] = in[k] == 255 ? 0 : in[k];
  }
}

typedef int32_t ints __attribute__((vector_size(4 * kGroup)));
typedef float floats __attribute__((vector_size(4 * kGroup)));
typedef float floats_loose __attribute__((vector_size(4 * kGroup), aligned(4), may_alias));

// Of the bytes of 16 groups: how many are not 0, their sums, and those of their squares.
struct Counts {
  ints n, sum, squares;
};

MWACONVERT_INLINE Counts count_bytes(const uint8_t* bytes) {
  Counts all;
  for (int64_t g = 0; g < kGroup; ++g) {
    int32_t n = 0, sum = 0, squares = 0;
    for (int64_t k = 0; k < kGroup; ++k) {
      const int32_t x = bytes[kGroup * g + k];
      n += x != 0;
      sum += x;
      squares += x * x;
    }
    all.n[g] = n;
    all.sum[g] = sum;
    all.squares[g] = squares;
  }
  return all;
}

// Sums of the values of a row about its pivot.
struct Moments {
  int64_t n = 0;
  double sum = 0, squares = 0;
};

// A value of group g is scale(g) * (byte - 128) + level(g).
template <typename Count>
MWACONVERT_INLINE void sum_row(const uint8_t* row, const float* scale, const float* level, int64_t n_groups,
                               Count count, Moments* found) {
  ints n = {};
  floats sum = {}, squares = {};
  for (int64_t g = 0; g < n_groups; g += kGroup) {
    const Counts c = count(row + kGroup * g);
    const floats a = *reinterpret_cast<const floats_loose*>(scale + g);
    const floats b = *reinterpret_cast<const floats_loose*>(level + g);
    // whole numbers, which are exact: of byte - 128 where there is one
    const floats first = __builtin_convertvector(c.sum - 128 * c.n, floats);
    const floats second = __builtin_convertvector(c.squares - 256 * c.sum + 16384 * c.n, floats);
    const floats scaled = a * first, whole = scaled + b * __builtin_convertvector(c.n, floats);
    n += c.n;
    sum += whole;
    squares += a * (a * second) + b * (scaled + whole);
  }
  *found = {};
  for (int64_t k = 0; k < kGroup; ++k) {
    found->n += n[k];
    found->sum += sum[k];
    found->squares += squares[k];
  }
}

MWACONVERT_CLONES
void sum_row_narrow(const uint8_t* row, const float* scale, const float* level, int64_t n_groups,
                    Moments* found) {
  sum_row(row, scale, level, n_groups, [](const uint8_t* bytes) { return count_bytes(bytes); }, found);
}

// to(t) += scale * row(t) + offset where it is there.
MWACONVERT_CLONES
void add_row_narrow(const uint8_t* row, const float* scale, const float* offset, int64_t n_groups,
                    float* to) {
  for (int64_t g = 0; g < n_groups; ++g)
    for (int64_t k = kGroup * g; k < kGroup * (g + 1); ++k)
      to[k] += row[k] ? scale[g] * static_cast<float>(row[k]) + offset[g] : 0.0F;
}

// Levels about a pivot, of bytes about 128.
MWACONVERT_CLONES
void find_level(const float* scale, const float* offset, int64_t n, float pivot, float* level) {
  for (int64_t g = 0; g < n; ++g) level[g] = (offset[g] - pivot) + 128 * scale[g];
}

MWACONVERT_CLONES
void scale_levels(const float* scale, const float* offset, int64_t n, float factor, float zero,
                  float* row_scale, float* row_offset) {
  for (int64_t g = 0; g < n; ++g) {
    row_scale[g] = scale[g] * factor;
    row_offset[g] = (offset[g] - zero) * factor;
  }
}

#if MWACONVERT_HAS_WIDE
// Sums of four values that are side by side, of 4 x 16.
MWACONVERT_WIDE inline __m512i sum_fours(const __m512i* x) {
  const __m512i low = _mm512_add_epi32(_mm512_unpacklo_epi32(x[0], x[1]), _mm512_unpackhi_epi32(x[0], x[1]));
  const __m512i high = _mm512_add_epi32(_mm512_unpacklo_epi32(x[2], x[3]), _mm512_unpackhi_epi32(x[2], x[3]));
  const __m512i mixed = _mm512_add_epi32(_mm512_unpacklo_epi64(low, high), _mm512_unpackhi_epi64(low, high));
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_permutexvar_epi32(order, mixed);
}

MWACONVERT_WIDE inline Counts count_bytes_wide(const uint8_t* bytes) {
  const __m512i low = _mm512_set1_epi16(255), ones = _mm512_set1_epi16(1);
  __m512i sums[4], squares[4], least = _mm512_set1_epi8(-1);
  for (int k = 0; k < 4; ++k) {
    const __m512i x = _mm512_loadu_si512(bytes + 64 * k);
    const __m512i even = _mm512_and_si512(x, low), odd = _mm512_srli_epi16(x, 8);
    least = _mm512_min_epu8(least, x);
    sums[k] = _mm512_madd_epi16(_mm512_add_epi16(even, odd), ones);
    squares[k] = _mm512_add_epi32(_mm512_madd_epi16(even, even), _mm512_madd_epi16(odd, odd));
  }
  Counts all;
  all.n = ints{} + static_cast<int32_t>(kGroup);
  all.sum = reinterpret_cast<ints>(sum_fours(sums));
  all.squares = reinterpret_cast<ints>(sum_fours(squares));
  if (_mm512_testn_epi8_mask(least, least)) {  // some are not there
    const __m512i one = _mm512_set1_epi8(1);
    for (int k = 0; k < 4; ++k) {
      const __m512i there = _mm512_min_epu8(_mm512_loadu_si512(bytes + 64 * k), one);
      sums[k] = _mm512_madd_epi16(_mm512_maddubs_epi16(there, one), ones);
    }
    all.n = reinterpret_cast<ints>(sum_fours(sums));
  }
  return all;
}

MWACONVERT_WIDE void sum_row_wide(const uint8_t* row, const float* scale, const float* level,
                                  int64_t n_groups, Moments* found) {
  sum_row(
      row, scale, level, n_groups,
      [](const uint8_t* bytes) MWACONVERT_WIDE { return count_bytes_wide(bytes); }, found);
}

MWACONVERT_WIDE void add_row_wide(const uint8_t* row, const float* scale, const float* offset,
                                  int64_t n_groups, float* to) {
  for (int64_t g = 0; g < n_groups; ++g, to += kGroup) {
    const __m512i x =
        _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(row + kGroup * g)));
    const __m512 scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(x), _mm512_set1_ps(scale[g]));
    const __m512 value = _mm512_maskz_add_ps(_mm512_test_epi32_mask(x, x), scaled, _mm512_set1_ps(offset[g]));
    _mm512_storeu_ps(to, _mm512_add_ps(_mm512_loadu_ps(to), value));
  }
}
#endif

Moments moments(const uint8_t* row, const float* scale, const float* level, int64_t n_groups) {
  Moments found;
#if MWACONVERT_HAS_WIDE
  if (wide_registers()) {
    sum_row_wide(row, scale, level, n_groups, &found);
    return found;
  }
#endif
  sum_row_narrow(row, scale, level, n_groups, &found);
  return found;
}

void add_row(const uint8_t* row, const float* scale, const float* offset, int64_t n_groups, float* to) {
#if MWACONVERT_HAS_WIDE
  if (wide_registers()) return add_row_wide(row, scale, offset, n_groups, to);
#endif
  add_row_narrow(row, scale, offset, n_groups, to);
}

MWACONVERT_CLONES
void count_row(const uint8_t* row, int64_t n, uint8_t* count) {
  for (int64_t t = 0; t < n; ++t) count[t] += row[t] != 0;
}

MWACONVERT_CLONES
void mean_of(const float* total, const int32_t* n, int64_t n_times, float group, float* mean, float* weight) {
  for (int64_t t = 0; t < n_times; ++t) {
    const auto there = static_cast<float>(n[t]);
    mean[t] = n[t] > 0 ? total[t] / there : 0.0F;
    weight[t] = there / group;
  }
}

// Groups of a row that follow each other in time: the first, how many samples, and the time of the first.
struct Run {
  int64_t group, n_times, begin;
  int64_t n_groups() const { return (n_times + kGroup - 1) / kGroup; }
};

// What a thread works in.
struct Memory {
  PackedBytes::Part part;
  Scratch<uint8_t> rows, block, mask, count;
  Scratch<float> total, scale, offset, level, row_scale, row_offset;
  Scratch<int32_t> full, n;
};

class Waterfall {
 public:
  Waterfall(const std::vector<Chunk>& chunks, View<const int32_t, 1> shift, bool scaled, View<float, 2> out,
            View<float, 2> weights)
      : chunks_(chunks),
        shift_(shift),
        scaled_(scaled),
        out_(out),
        weights_(weights),
        n_chan_(shift.shape[0]),
        n_times_(out.shape[1]),
        fine_(n_chan_ / chunks[0].scale.shape[0]) {
    for (const Chunk& chunk : chunks) {
      const int64_t length = stretch(chunk), whole = chunk.n_times * chunk.repeat;
      first_run_.push_back(static_cast<int64_t>(runs_.size()));
      const int64_t step = length % kGroup == 0 ? whole : length;
      for (int64_t t = 0; t < whole; t += step) {
        runs_.push_back({n_groups_, step, chunk.first + t});
        n_groups_ += runs_.back().n_groups();
      }
      n_there_ += whole;
    }
    n_groups_ = (n_groups_ + kGroup - 1) / kGroup * kGroup;
  }

  void subband(int64_t s) const {
    thread_local Memory memory;
    const int64_t group = n_chan_ / out_.shape[0];
    float* total = memory.total.get(n_times_ + 4 * kGroup) + kGroup;
    int32_t* n = memory.n.get(n_times_);
    int32_t* full = memory.full.get(n_times_ + 1);
    std::fill_n(total - kGroup, n_times_ + 4 * kGroup, 0.0F);
    std::fill_n(n, n_times_, 0);
    std::fill_n(full, n_times_ + 1, 0);
    // in whole blocks, as far as a batch has room for them
    const int64_t most = std::clamp<int64_t>(kBatchBytes / (kGroup * n_groups_) / 8 * 8, 8, kMostRows);
    const int64_t top = n_chan_ - s * group;  // rows of the chunks run from the highest channel
    for (int64_t row = top - group; row < top; row += most)
      batch(row, std::min(row + most, top), memory, total, n, full);
    int32_t whole = 0;
    for (int64_t t = 0; t < n_times_; ++t) n[t] += whole += full[t];
    mean_of(total, n, n_times_, static_cast<float>(group), &out_(s, 0), &weights_(s, 0));
  }

 private:
  static int64_t stretch(const Chunk& chunk) { return chunk.n_times / chunk.scale.shape[1] * chunk.repeat; }

  void batch(int64_t first, int64_t last, Memory& memory, float* total, int32_t* n, int32_t* full) const {
    const int64_t width = kGroup * n_groups_;
    uint8_t* rows = memory.rows.get((last - first) * width);
    uint8_t* count = memory.count.get(n_times_);
    std::memset(count, 0, n_times_);
    for (int64_t row = 0; row < last - first; ++row) clear_gaps(rows + row * width);
    for (size_t c = 0; c < chunks_.size(); ++c) {
      try {
        read_rows(c, first, last, memory, rows);
      } catch (const FormatError& error) {
        throw FormatError(chunks_[c].name + ": " + error.what());
      } catch (const ResourceError& error) {
        throw ResourceError(chunks_[c].name + ": " + error.what());
      }
    }
    for (int64_t row = first; row < last; ++row) {
      if (row == first || row % fine_ == 0) find_levels(row / fine_, memory);
      add(rows + (row - first) * width, row, memory, total, count, full);
    }
    for (int64_t t = 0; t < n_times_; ++t) n[t] += count[t];
  }

  // What no chunk fills, between the stretches of a row and at its end.
  void clear_gaps(uint8_t* row) const {
    int64_t end = 0;
    for (const Run& run : runs_) {
      const int64_t begin = kGroup * run.group;
      std::memset(row + end, 0, begin - end);
      end = begin + run.n_times;
    }
    std::memset(row + end, 0, kGroup * n_groups_ - end);
  }

  // Rows [first, last) of a chunk to their place in time.
  void read_rows(size_t c, int64_t first, int64_t last, Memory& memory, uint8_t* rows) const {
    const Chunk& chunk = chunks_[c];
    const int64_t length = chunk.n_times, width = kGroup * n_groups_;
    const int64_t first_block = first * length / kBlock, last_block = (last * length + kBlock - 1) / kBlock;
    uint8_t* buffer = memory.block.get(2 * kBlock);
    uint8_t* mask = memory.mask.get(length);
    int64_t masked = -1;
    chunk.bytes.read(first_block, last_block, memory.part);
    for (int64_t k = first_block; k < last_block; ++k) {
      int64_t n;
      const int64_t begin = k * kBlock;
      const uint8_t* bytes = chunk.bytes.block(memory.part, k, buffer, &n);
      const int64_t end = std::min(begin + n, last * length);
      for (int64_t at = std::max(begin, first * length); at < end;) {
        const int64_t row = at / length, t = at - row * length;
        const int64_t m = std::min(end - at, length - t);
        const uint8_t* good = nullptr;
        if (chunk.mask.shape[0] > 0) {
          const int64_t own = row / (n_chan_ / chunk.mask.shape[0]);
          if (own != masked)
            for (int64_t j = 0; j < length; ++j) mask[j] = chunk.mask(own, j / 8) >> j % 8 & 1 ? 255 : 0;
          masked = own;
          good = mask + t;
        }
        place(c, bytes + (at - begin), good, t, m, rows + (row - first) * width, buffer + kBlock);
        at += m;
      }
    }
  }

  // Samples [t, t + n) of a chunk to a row.
  void place(size_t c, const uint8_t* bytes, const uint8_t* good, int64_t t, int64_t n, uint8_t* row,
             uint8_t* buffer) const {
    const int64_t repeat = chunks_[c].repeat;
    const Run* first = &runs_[first_run_[c]];
    for (int64_t done = 0; done < n;) {
      const int64_t at = (t + done) * repeat, k = at < first->n_times ? 0 : at / first->n_times;
      const Run& run = first[k];
      const int64_t inside = at - k * run.n_times;
      const int64_t m =
          std::min(n - done, repeat == 1 ? run.n_times - inside : (run.n_times - inside) / repeat);
      uint8_t* to = row + kGroup * run.group + inside;
      copy_good(bytes + done, good ? good + done : nullptr, m, repeat == 1 ? to : buffer);
      for (int64_t j = 0; repeat > 1 && j < m; ++j) std::memset(to + j * repeat, buffer[j], repeat);
      done += m;
    }
  }

  // Scales and offsets of the groups of a row.
  void find_levels(int64_t coarse, Memory& memory) const {
    float* scale = memory.scale.get(n_groups_);
    float* offset = memory.offset.get(n_groups_);
    float* level = memory.level.get(n_groups_);
    std::fill_n(scale, n_groups_, 0.0F);
    std::fill_n(offset, n_groups_, 0.0F);
    for (size_t c = 0; c < chunks_.size(); ++c) {
      const Chunk& chunk = chunks_[c];
      const int64_t each = (stretch(chunk) + kGroup - 1) / kGroup;
      const int64_t n = chunk.scale.shape[1], first = runs_[first_run_[c]].group;
      if (each == 1) {
        std::copy_n(&chunk.scale(coarse, 0), n, scale + first);
        std::copy_n(&chunk.offset(coarse, 0), n, offset + first);
        continue;
      }
      for (int64_t k = 0; k < n; ++k) {
        std::fill_n(scale + first + k * each, each, chunk.scale(coarse, k));
        std::fill_n(offset + first + k * each, each, chunk.offset(coarse, k));
      }
    }
    find_level(scale, offset, n_groups_, offset[0] + 128 * scale[0], level);
  }

  // Mean and variance of a row by sums in double, about nothing but the mean.
  static void exact(const uint8_t* row, const float* scale, const float* offset, int64_t n_groups, int64_t n,
                    double* mean, double* variance) {
    const auto sum = [&](auto&& of) {
      double all = 0;
      for (int64_t k = 0; k < kGroup * n_groups; ++k)
        if (row[k]) all += of(static_cast<double>(scale[k / kGroup]) * row[k] + offset[k / kGroup]);
      return all / static_cast<double>(n);
    };
    *mean = sum([](double v) { return v; });
    *variance = sum([&](double v) { return (v - *mean) * (v - *mean); });
    // what rounding alone makes of values that are all the same is not a variation
    if (*variance < 1e-20 * *mean * *mean) *variance = 0;
  }

  // A row of the file to the sums of its sub-band.
  void add(const uint8_t* bytes, int64_t row, Memory& memory, float* total, uint8_t* count,
           int32_t* full) const {
    const float* scale = memory.scale.get(n_groups_);
    const float* offset = memory.offset.get(n_groups_);
    const float* level = memory.level.get(n_groups_);
    float* row_scale = memory.row_scale.get(n_groups_);
    float* row_offset = memory.row_offset.get(n_groups_);
    const Moments found = moments(bytes, scale, level, n_groups_);
    float factor = 1, zero = 0;
    if (scaled_) {
      if (found.n < 2) return;
      const auto n = static_cast<double>(found.n);
      const double about = found.sum / n;
      double mean = offset[0] + 128 * scale[0] + about, variance = found.squares / n - about * about;
      // small beside what it is the difference of
      if (!(variance > 0.01 * about * about))
        exact(bytes, scale, offset, n_groups_, found.n, &mean, &variance);
      if (!(variance > 0) || !std::isfinite(variance)) return;
      zero = static_cast<float>(mean);
      factor = static_cast<float>(1 / std::sqrt(variance));
    }
    scale_levels(scale, offset, n_groups_, factor, zero, row_scale, row_offset);
    const int64_t shift = shift_(n_chan_ - 1 - row);
    for (const Run& run : runs_) {
      const int64_t begin = run.begin - shift;
      // groups that touch the waterfall; beside it there is room for a group
      const int64_t low = begin < 0 ? std::min(-begin / kGroup, run.n_groups()) : 0;
      const int64_t high =
          begin < n_times_ ? std::min((n_times_ - begin + kGroup - 1) / kGroup, run.n_groups()) : 0;
      if (low >= high) continue;
      const int64_t g = run.group + low;
      add_row(bytes + kGroup * g, row_scale + g, row_offset + g, high - low, total + begin + kGroup * low);
      const int64_t from = std::max<int64_t>(begin, 0), to = std::min(begin + run.n_times, n_times_);
      if (from >= to) continue;
      if (found.n == n_there_) {
        ++full[from];
        --full[to];
      } else {
        count_row(bytes + kGroup * run.group + (from - begin), to - from, count + from);
      }
    }
  }

  const std::vector<Chunk>& chunks_;
  View<const int32_t, 1> shift_;
  bool scaled_;
  View<float, 2> out_, weights_;
  int64_t n_chan_, n_times_, fine_;
  int64_t n_groups_ = 0, n_there_ = 0;
  std::vector<Run> runs_;
  std::vector<int64_t> first_run_;  // of each chunk
};

}  // namespace

void chunk_waterfall(const std::vector<Chunk>& chunks, View<const int32_t, 1> shift, bool scaled,
                     View<float, 2> out, View<float, 2> weights, int threads) {
  const int64_t n_chan = shift.shape[0], n_sub = out.shape[0], n_times = out.shape[1];
  if (n_sub < 1 || n_chan % n_sub != 0) throw InputError("sub-bands do not divide the channels");
  if (chunks.empty() || n_times < 1) throw InputError("there is no chunk");
  for (const Chunk& chunk : chunks) {
    const bool sound = chunk.n_times > 0 && chunk.repeat > 0 && chunk.first >= 0 &&
                       chunk.first + chunk.n_times * chunk.repeat <= n_times &&
                       chunk.bytes.n_bytes() == n_chan * chunk.n_times && chunk.scale.shape[0] > 0 &&
                       chunk.scale.shape[1] > 0 && n_chan % chunk.scale.shape[0] == 0 &&
                       chunk.scale.shape[0] == chunks[0].scale.shape[0] &&
                       chunk.n_times % chunk.scale.shape[1] == 0 && chunk.scale.shape == chunk.offset.shape &&
                       chunk.scale.stride[1] == 1 && chunk.offset.stride[1] == 1 && out.stride[1] == 1 &&
                       weights.stride[1] == 1 &&
                       (chunk.mask.shape[0] == 0 ||
                        (n_chan % chunk.mask.shape[0] == 0 && chunk.mask.shape[1] * 8 == chunk.n_times));
    if (!sound) throw InputError("a chunk does not fit the waterfall");
  }
  const Waterfall waterfall(chunks, shift, scaled, out, weights);
  parallel_for(n_sub, threads, [&](int64_t s) { waterfall.subband(s); });
}

}  // namespace mwaconvert
