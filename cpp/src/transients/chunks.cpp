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
#include <immintrin.h>
#endif

namespace mwaconvert {
namespace {

constexpr int64_t kBlock = 8192;            // bytes that are packed at a time
constexpr int64_t kMostRows = 248;          // channels of a batch: their number fits a byte
constexpr int64_t kBatchBytes = 512 << 10;  // of a batch of channels: in a second-level cache
constexpr int kLanes = 16;                  // sums of a channel side by side

[[noreturn]] void damaged(const char* what) {
  throw FormatError(std::string("the compressed values are damaged: ") + what);
}

// A length of LZ4 that goes on in bytes of 255.
MWACONVERT_INLINE int64_t more_length(const uint8_t*& in, const uint8_t* end) {
  int64_t length = 0;
  uint8_t byte = 255;
  while (byte == 255) {
    if (in == end) damaged("a length goes on beyond the end");
    byte = *in++;
    length += byte;
  }
  return length;
}

// An LZ4 block of exactly n bytes. Returns where they are: in `out`, or in the input if all of them are as
// they are.
const uint8_t* decode_lz4(const uint8_t* in, int64_t n_in, uint8_t* out, int64_t n) {
  const uint8_t* end = in + n_in;
  int64_t at = 0;
  for (;;) {
    if (in == end) damaged("a sequence is missing");
    const uint8_t token = *in++;
    int64_t literals = token >> 4;
    if (literals == 15) literals += more_length(in, end);
    if (literals > end - in || literals > n - at) damaged("more bytes than there are");
    if (literals == n && in + n == end) return in;
    std::memcpy(out + at, in, literals);
    at += literals;
    in += literals;
    if (in == end) break;  // the last sequence is of literals
    if (end - in < 2) damaged("an offset is cut");
    const int64_t back = in[0] | in[1] << 8;
    in += 2;
    int64_t match = token & 15;
    if (match == 15) match += more_length(in, end);
    match += 4;
    if (back < 1 || back > at || match > n - at) damaged("a copy of what is not there");
    const uint8_t* source = out + at - back;
    if (back >= match) {
      std::memcpy(out + at, source, match);
    } else {
      for (int64_t k = 0; k < match; ++k) out[at + k] = source[k];  // it copies what it writes
    }
    at += match;
  }
  if (at != n) damaged("fewer bytes than there should be");
  return out;
}

// Bit j of byte 8 i + k is bit k of byte i of plane j; planes of n / 8 bytes.
MWACONVERT_CLONES
void join_bits(const uint8_t* planes, int64_t n, uint8_t* out) {
  const int64_t m = n / 8;
  for (int64_t i = 0; i < m; ++i) {
    uint64_t x = 0;
    for (int j = 0; j < 8; ++j) x |= static_cast<uint64_t>(planes[j * m + i]) << 8 * j;
    // transpose 8 x 8 bits (Warren, Hacker's Delight, 7-3)
    uint64_t t = (x ^ (x >> 7)) & 0x00AA00AA00AA00AAULL;
    x = x ^ t ^ (t << 7);
    t = (x ^ (x >> 14)) & 0x0000CCCC0000CCCCULL;
    x = x ^ t ^ (t << 14);
    t = (x ^ (x >> 28)) & 0x00000000F0F0F0F0ULL;
    x = x ^ t ^ (t << 28);
    for (int k = 0; k < 8; ++k) out[8 * i + k] = static_cast<uint8_t>(x >> 8 * k);
  }
}

#if MWACONVERT_HAS_WIDE
// The same: 64 bits of a plane say to which of 64 bytes its value is added.
MWACONVERT_WIDE void join_bits_wide(const uint8_t* planes, int64_t n, uint8_t* out) {
  const int64_t m = n / 8;
  for (int64_t i = 0; i < m; i += 8) {
    __m512i x = _mm512_setzero_si512();
    for (int j = 0; j < 8; ++j) {
      uint64_t bits;
      std::memcpy(&bits, planes + j * m + i, 8);
      x = _mm512_mask_add_epi8(x, bits, x, _mm512_set1_epi8(static_cast<char>(1 << j)));
    }
    _mm512_storeu_si512(out + 8 * i, x);
  }
}
#endif

void join(const uint8_t* planes, int64_t n, uint8_t* out) {
#if MWACONVERT_HAS_WIDE
  if (n % 64 == 0 && wide_registers()) return join_bits_wide(planes, n, out);
#endif
  join_bits(planes, n, out);
}

// Bytes of 0 and 255 become 0; so do those whose mask is 0.
MWACONVERT_CLONES
void copy_good(const uint8_t* in, const uint8_t* mask, int64_t n, uint8_t* out) {
  if (mask) {
    for (int64_t k = 0; k < n; ++k) out[k] = in[k] == 255 ? 0 : in[k] & mask[k];
  } else {
    for (int64_t k = 0; k < n; ++k) out[k] = in[k] == 255 ? 0 : in[k];
  }
}

// A length of samples of one channel with its scale and offset.
struct Stretch {
  int64_t begin, end;
  float scale, offset;
};

struct Moments {
  double n = 0, sum = 0, squares = 0;  // about the pivot
};

// Registers of 16 values; where they are shorter, several do for one.
typedef uint8_t bytes_loose __attribute__((vector_size(kLanes), aligned(1), may_alias));
typedef int32_t ints __attribute__((vector_size(4 * kLanes)));
typedef float floats __attribute__((vector_size(4 * kLanes)));
typedef float floats_loose __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));

// 16 bytes as whole numbers. GCC takes one byte after the other where it is not told the instruction.
template <bool wide>
MWACONVERT_INLINE ints widened(const uint8_t* p) {
  const bytes_loose bytes = *reinterpret_cast<const bytes_loose*>(p);
#if MWACONVERT_HAS_WIDE
  if constexpr (wide) {
    typedef char chars __attribute__((vector_size(kLanes)));
    return reinterpret_cast<ints>(
        __builtin_ia32_pmovzxbd512_mask(reinterpret_cast<chars>(bytes), ints{}, 0xFFFF));
  }
#endif
  return __builtin_convertvector(bytes, ints);
}

// a * byte + b of bytes that are there, 0 of others; `there` is -1 or 0.
template <bool wide>
MWACONVERT_INLINE floats values(const uint8_t* row, float a, float b, ints* there) {
  const ints x = widened<wide>(row);
  *there = x != 0;
  const floats level = floats{} + b;
  return a * __builtin_convertvector(x, floats) +
         reinterpret_cast<floats>(*there & reinterpret_cast<ints>(level));
}

template <bool wide>
MWACONVERT_INLINE void moments(const uint8_t* row, const Stretch* stretches, int64_t n_stretch, float pivot,
                               Moments* found) {
  ints n = {};
  floats sum = {}, squares = {};
  Moments all;
  for (int64_t s = 0; s < n_stretch; ++s) {
    const float a = stretches[s].scale, b = stretches[s].offset - pivot;
    int64_t t = stretches[s].begin;
    for (; t + kLanes <= stretches[s].end; t += kLanes) {
      ints there;
      const floats v = values<wide>(row + t, a, b, &there);
      n -= there;
      sum += v;
      squares += v * v;
    }
    for (; t < stretches[s].end; ++t) {
      if (row[t] == 0) continue;
      const float v = a * row[t] + b;
      all.n += 1;
      all.sum += v;
      all.squares += v * v;
    }
  }
  for (int k = 0; k < kLanes; ++k) {
    all.n += n[k];
    all.sum += sum[k];
    all.squares += squares[k];
  }
  *found = all;
}

// total(t) += factor * (scale * row(t + shift) + offset - level) where it is there.
template <bool wide>
MWACONVERT_INLINE void add_values(const uint8_t* row, const Stretch* stretches, int64_t n_stretch,
                                  int64_t shift, int64_t n_times, float factor, float level, float* total) {
  for (int64_t s = 0; s < n_stretch; ++s) {
    const float a = stretches[s].scale * factor, b = (stretches[s].offset - level) * factor;
    int64_t t = std::max(stretches[s].begin, shift);
    const int64_t end = std::min(stretches[s].end, n_times + shift);
    for (; t + kLanes <= end; t += kLanes) {
      ints there;
      float* to = total + (t - shift);
      const floats v = values<wide>(row + t, a, b, &there);
      *reinterpret_cast<floats_loose*>(to) = *reinterpret_cast<const floats_loose*>(to) + v;
    }
    for (; t < end; ++t)
      if (row[t]) total[t - shift] += a * row[t] + b;
  }
}

MWACONVERT_CLONES
void moments_narrow(const uint8_t* row, const Stretch* stretches, int64_t n, float pivot, Moments* found) {
  moments<false>(row, stretches, n, pivot, found);
}
MWACONVERT_CLONES
void add_narrow(const uint8_t* row, const Stretch* stretches, int64_t n, int64_t shift, int64_t n_times,
                float factor, float level, float* total) {
  add_values<false>(row, stretches, n, shift, n_times, factor, level, total);
}
#if MWACONVERT_HAS_WIDE
MWACONVERT_WIDE void moments_wide(const uint8_t* row, const Stretch* stretches, int64_t n, float pivot,
                                  Moments* found) {
  moments<true>(row, stretches, n, pivot, found);
}
MWACONVERT_WIDE void add_wide(const uint8_t* row, const Stretch* stretches, int64_t n, int64_t shift,
                              int64_t n_times, float factor, float level, float* total) {
  add_values<true>(row, stretches, n, shift, n_times, factor, level, total);
}
#endif

Moments find_moments(const uint8_t* row, const std::vector<Stretch>& stretches, float pivot) {
  Moments found;
  const auto n = static_cast<int64_t>(stretches.size());
#if MWACONVERT_HAS_WIDE
  if (wide_registers()) {
    moments_wide(row, stretches.data(), n, pivot, &found);
    return found;
  }
#endif
  moments_narrow(row, stretches.data(), n, pivot, &found);
  return found;
}

void add_row(const uint8_t* row, const std::vector<Stretch>& stretches, int64_t shift, int64_t n_times,
             float factor, float level, float* total) {
  const auto n = static_cast<int64_t>(stretches.size());
#if MWACONVERT_HAS_WIDE
  if (wide_registers()) return add_wide(row, stretches.data(), n, shift, n_times, factor, level, total);
#endif
  add_narrow(row, stretches.data(), n, shift, n_times, factor, level, total);
}

MWACONVERT_CLONES
void count_row(const uint8_t* row, int64_t n, uint8_t* count) {
  for (int64_t t = 0; t < n; ++t) count[t] += row[t] != 0;
}

// What a thread works in.
struct Memory {
  Scratch<uint8_t> rows, block, mask, count;
  Scratch<float> total;
  Scratch<uint32_t> n;
  std::vector<Stretch> stretches;
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
        n_times_(out.shape[1]) {}

  void subband(int64_t s) const {
    thread_local Memory memory;
    const int64_t group = n_chan_ / out_.shape[0];
    float* total = memory.total.get(n_times_);
    uint32_t* n = memory.n.get(n_times_);
    std::fill_n(total, n_times_, 0.0F);
    std::fill_n(n, n_times_, 0U);
    // in whole blocks, as far as a batch has room for them
    const int64_t most = std::clamp<int64_t>(kBatchBytes / n_times_ / 8 * 8, 8, kMostRows);
    const int64_t top = n_chan_ - s * group;  // rows of the chunks run from the highest channel
    for (int64_t row = top - group; row < top; row += most)
      batch(row, std::min(row + most, top), memory, total, n);
    for (int64_t t = 0; t < n_times_; ++t) {
      out_(s, t) = n[t] ? total[t] / static_cast<float>(n[t]) : 0.0F;
      weights_(s, t) = static_cast<float>(n[t]) / static_cast<float>(group);
    }
  }

 private:
  void batch(int64_t first, int64_t last, Memory& memory, float* total, uint32_t* n) const {
    uint8_t* rows = memory.rows.get((last - first) * n_times_);
    uint8_t* count = memory.count.get(n_times_);
    std::memset(rows, 0, (last - first) * n_times_);
    std::memset(count, 0, n_times_);
    for (const Chunk& chunk : chunks_) read_rows(chunk, first, last, memory, rows);
    const int64_t fine = n_chan_ / chunks_[0].scale.shape[0];
    for (int64_t row = first; row < last; ++row) {
      if (row == first || row % fine == 0) find_stretches(row / fine, memory.stretches);
      add(rows + (row - first) * n_times_, row, memory.stretches, total, count);
    }
    for (int64_t t = 0; t < n_times_; ++t) n[t] += count[t];
  }

  // Rows [first, last) of a chunk to their place in time.
  void read_rows(const Chunk& chunk, int64_t first, int64_t last, Memory& memory, uint8_t* rows) const {
    const int64_t length = chunk.n_times;
    uint8_t* buffer = memory.block.get(2 * kBlock);
    uint8_t* mask = memory.mask.get(length);
    int64_t masked = -1;
    for (int64_t k = first * length / kBlock; k < chunk.bytes.n_blocks(); ++k) {
      int64_t n;
      const int64_t begin = k * kBlock;
      if (begin >= last * length) break;
      const uint8_t* bytes = chunk.bytes.block(k, buffer, &n);
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
        place(bytes + (at - begin), good, m, chunk.repeat, rows + (row - first) * n_times_ + chunk.first, t,
              buffer + kBlock);
        at += m;
      }
    }
  }

  static void place(const uint8_t* bytes, const uint8_t* good, int64_t n, int64_t repeat, uint8_t* row,
                    int64_t t, uint8_t* buffer) {
    if (repeat == 1) return copy_good(bytes, good, n, row + t);
    copy_good(bytes, good, n, buffer);
    for (int64_t k = 0; k < n; ++k) std::memset(row + (t + k) * repeat, buffer[k], repeat);
  }

  void find_stretches(int64_t coarse, std::vector<Stretch>& stretches) const {
    stretches.clear();
    for (const Chunk& chunk : chunks_) {
      const int64_t length = chunk.n_times / chunk.scale.shape[1] * chunk.repeat;
      for (int64_t k = 0; k < chunk.scale.shape[1]; ++k) {
        const int64_t begin = chunk.first + k * length;
        stretches.push_back({begin, begin + length, chunk.scale(coarse, k), chunk.offset(coarse, k)});
      }
    }
  }

  // A row of the file to the sums of its sub-band.
  void add(const uint8_t* bytes, int64_t row, const std::vector<Stretch>& stretches, float* total,
           uint8_t* count) const {
    float factor = 1, level = 0;
    if (scaled_) {
      const float pivot = stretches[0].offset + 128 * stretches[0].scale;
      const Moments found = find_moments(bytes, stretches, pivot);
      const double mean = found.sum / found.n, variance = found.squares / found.n - mean * mean;
      // what rounding alone makes of values that are all the same is not a variation
      if (!(found.n > 1 && variance > 1e-12 * mean * mean) || !std::isfinite(variance)) return;
      level = static_cast<float>(pivot + mean);
      factor = static_cast<float>(1 / std::sqrt(variance));
    }
    const int64_t shift = shift_(n_chan_ - 1 - row);
    add_row(bytes, stretches, shift, n_times_, factor, level, total);
    const int64_t from = std::max<int64_t>(shift, 0), to = std::min(n_times_, n_times_ + shift);
    if (from < to) count_row(bytes + from, to - from, count + (from - shift));
  }

  const std::vector<Chunk>& chunks_;
  View<const int32_t, 1> shift_;
  bool scaled_;
  View<float, 2> out_, weights_;
  int64_t n_chan_, n_times_;
};

}  // namespace

PackedBytes::PackedBytes(View<const uint8_t, 1> data, int64_t n_bytes, bool compressed)
    : data_(data), n_bytes_(n_bytes), n_blocks_((n_bytes + kBlock - 1) / kBlock), compressed_(compressed) {
  const int64_t size = data.shape[0];
  if (!compressed) {
    if (size != n_bytes)
      throw FormatError(std::to_string(size) + " values, expected " + std::to_string(n_bytes) +
                        ": it is cut");
    return;
  }
  int64_t at = 0;
  const int64_t n_packed = n_bytes / kBlock + (n_bytes % kBlock >= 8), rest = n_bytes % 8;
  at_.reserve(n_packed + 1);
  for (int64_t k = 0; k < n_packed; ++k) {
    at_.push_back(at);
    if (size - at < 5) damaged("they end too early");
    const uint8_t* p = data.data + at;
    const int64_t length = static_cast<int64_t>(p[0]) << 24 | p[1] << 16 | p[2] << 8 | p[3];
    if (length < 1 || length > size - at - 4) damaged("they end too early");
    at += 4 + length;
  }
  at_.push_back(at);
  if (at + rest != size)
    damaged(("their blocks take " + std::to_string(at + rest) + " bytes of " + std::to_string(size)).c_str());
}

const uint8_t* PackedBytes::block(int64_t k, uint8_t* memory, int64_t* n) const {
  *n = std::min(kBlock, n_bytes_ - k * kBlock);
  if (!compressed_) return data_.data + k * kBlock;
  const int64_t packed = *n / 8 * 8;
  if (packed > 0) {
    uint8_t planes[kBlock];
    const int64_t at = at_[k] + 4;
    join(decode_lz4(data_.data + at, at_[k + 1] - at, planes, packed), packed, memory);
  }
  std::memcpy(memory + packed, data_.data + at_.back(), *n - packed);
  return memory;
}

void unpack_bytes(const PackedBytes& packed, View<uint8_t, 1> out, int threads) {
  if (out.shape[0] != packed.n_bytes()) throw InputError("array 'out' is not as long as the bytes");
  constexpr int64_t at_once = 16;
  const int64_t n_blocks = packed.n_blocks();
  parallel_for((n_blocks + at_once - 1) / at_once, threads, [&](int64_t item) {
    uint8_t memory[kBlock];
    for (int64_t k = item * at_once; k < std::min((item + 1) * at_once, n_blocks); ++k) {
      int64_t n;
      const uint8_t* bytes = packed.block(k, memory, &n);
      std::memcpy(out.data + k * kBlock, bytes, n);
    }
  });
}

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
                       (chunk.mask.shape[0] == 0 ||
                        (n_chan % chunk.mask.shape[0] == 0 && chunk.mask.shape[1] * 8 == chunk.n_times));
    if (!sound) throw InputError("a chunk does not fit the waterfall");
  }
  const Waterfall waterfall(chunks, shift, scaled, out, weights);
  parallel_for(n_sub, threads, [&](int64_t s) { waterfall.subband(s); });
}

}  // namespace mwaconvert
