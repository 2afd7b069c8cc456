#include "mwaconvert/visibilities/mask_counts.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include "mwaconvert/base/parallel.hpp"
#include "mwaconvert/base/simd.hpp"

namespace mwaconvert {
namespace {

constexpr int64_t kWord = 64;  // channels counted together
constexpr int64_t kRows = 16;  // rows added before the counts of the channels are touched
constexpr int kPlanes = 4;     // log2 of that

// Adds 2^Level words to binary counters, one for each bit: plane k holds their digits 2^k. Returns what they
// carry over, which counts 2^Level.
template <int Level>
inline uint64_t add_words(uint64_t* plane, const uint64_t* word) {
  if constexpr (Level == 0) {
    return word[0];
  } else {
    const uint64_t a = add_words<Level - 1>(plane, word);
    const uint64_t b = add_words<Level - 1>(plane, word + (1 << (Level - 1)));
    uint64_t& digit = plane[Level - 1];
    const uint64_t sum = digit ^ a, carry = (digit & a) | (sum & b);
    digit = sum ^ b;
    return carry;
  }
}

inline void add_bits(uint64_t bits, uint32_t value, uint32_t* count) {
  for (int k = 0; k < kWord; ++k) count[k] += value * (bits >> k & 1);
}

// One word of all rows of a chunk: n_bytes of it are there.
MWACONVERT_CLONES
void count_word(const uint8_t* bits, int64_t stride, int64_t n_bytes, uint64_t wanted, const uint64_t* row,
                int64_t n_rows, int64_t* by_row, uint32_t* count) {
  uint64_t plane[kPlanes] = {};
  for (int64_t begin = 0; begin < n_rows; begin += kRows) {
    uint64_t word[kRows] = {};
    const int64_t n = std::min(kRows, n_rows - begin);
    if (n_bytes == 8)  // a copy of known size is a load
      for (int64_t k = 0; k < n; ++k) std::memcpy(&word[k], bits + (begin + k) * stride, 8);
    else
      for (int64_t k = 0; k < n; ++k) std::memcpy(&word[k], bits + (begin + k) * stride, n_bytes);
    for (int64_t k = 0; k < n; ++k) word[k] &= wanted & row[begin + k];
    for (int64_t k = 0; k < n; ++k) by_row[begin + k] += std::popcount(word[k]);
    add_bits(add_words<kPlanes>(plane, word), kRows, count);
  }
  for (int k = 0; k < kPlanes; ++k) add_bits(plane[k], 1u << k, count);
}

}  // namespace

void mask_counts(const MaskCountInput& in, View<int64_t, 2> by_row, View<int32_t, 2> by_channel,
                 int threads) {
  static_assert(std::endian::native == std::endian::little);
  const int64_t n_times = in.bits.shape[0], n_coarse = in.bits.shape[1], n_rows = in.bits.shape[2];
  const int64_t n_bytes = in.bits.shape[3];
  std::vector<uint64_t> row(n_rows);
  for (int64_t r = 0; r < n_rows; ++r) row[r] = in.row(r) ? ~uint64_t{0} : 0;
  parallel_for(n_coarse, threads, [&](int64_t coarse) {
    for (int64_t time = 0; time < n_times; ++time) {
      if (!in.chunk(time, coarse)) continue;
      for (int64_t first = 0; first < in.n_fine; first += kWord) {
        const int64_t byte = first / 8, size = std::min<int64_t>(8, n_bytes - byte);
        uint64_t wanted = 0;
        std::memcpy(&wanted, &in.wanted(coarse, byte), size);
        uint32_t count[kWord] = {};
        count_word(&in.bits(time, coarse, 0, byte), n_bytes, size, wanted, row.data(), n_rows,
                   &by_row(coarse, 0), count);
        int32_t* channel = &by_channel(time / in.times_per_count, coarse * in.n_fine + first);
        for (int64_t k = 0; k < std::min(kWord, in.n_fine - first); ++k) channel[k] += count[k];
      }
    }
  });
}

}  // namespace mwaconvert
