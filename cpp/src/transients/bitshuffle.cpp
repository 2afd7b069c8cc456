#include "mwaconvert/transients/bitshuffle.hpp"

#include <algorithm>
#include <cstring>
#include <string>

#include "mwaconvert/base/error.hpp"
#include "mwaconvert/base/file.hpp"
#include "mwaconvert/base/parallel.hpp"
#include "mwaconvert/base/simd.hpp"
#if MWACONVERT_HAS_WIDE
#include <immintrin.h>
#endif

namespace mwaconvert {
namespace {

constexpr int64_t kBlock = PackedBytes::kBlock;
constexpr int64_t kHead = 4;                                         // bytes of a length
constexpr int64_t kMostPacked = kHead + kBlock + kBlock / 255 + 16;  // what LZ4 makes of a block at worst

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

}  // namespace

PackedBytes::PackedBytes(View<const uint8_t, 1> data, int64_t n_bytes, bool compressed)
    : PackedBytes(-1, 0, data.shape[0], n_bytes, compressed) {
  data_ = data;
  if (compressed)
    while (index_->known < n_blocks_) add_block(data.data + index_->at[index_->known]);
}

PackedBytes::PackedBytes(int file, int64_t begin, int64_t size, int64_t n_bytes, bool compressed)
    : file_(file),
      begin_(begin),
      size_(size),
      n_bytes_(n_bytes),
      n_blocks_((n_bytes + kBlock - 1) / kBlock),
      compressed_(compressed),
      index_(std::make_unique<Index>()) {
  if (!compressed) {
    if (size != n_bytes)
      throw FormatError(std::to_string(size) + " values, expected " + std::to_string(n_bytes) +
                        ": it is cut");
    return;
  }
  index_->at.resize(n_blocks_ + 1);
  if (n_blocks_ == 0 && size > 0) damaged("there should be none");
}

// The next block, whose length is at `head`.
void PackedBytes::add_block(const uint8_t* head) const {
  Index& index = *index_;
  const int64_t k = index.known, at = index.at[k];
  // what does not fill 8 bytes follows the last block as it is, or makes up a block of its own
  const int64_t packed = std::min(kBlock, n_bytes_ - k * kBlock) / 8 * 8;
  const int64_t rest = k == n_blocks_ - 1 ? n_bytes_ % 8 : 0;
  int64_t end = at + rest;
  if (packed > 0) {
    if (size_ - at < kHead + 1) damaged("they end too early");
    const int64_t length = static_cast<int64_t>(head[0]) << 24 | head[1] << 16 | head[2] << 8 | head[3];
    if (length < 1 || length > size_ - at - kHead) damaged("they end too early");
    end += kHead + length;
  }
  if (k == n_blocks_ - 1 && end != size_)
    damaged(("their blocks take " + std::to_string(end) + " bytes of " + std::to_string(size_)).c_str());
  index.at[k + 1] = end;
  index.known = k + 1;
}

void PackedBytes::read(int64_t first, int64_t last, Part& part) const {
  if (file_ < 0) {
    part.data = data_.data;
    part.begin = 0;
    return;
  }
  const auto fill = [&](int64_t begin, int64_t n) {
    uint8_t* memory = part.memory.get(n);
    read_exactly(file_, memory, n, begin_ + begin);
    part.data = memory;
    part.begin = begin;
  };
  if (!compressed_) return fill(first * kBlock, std::min(last * kBlock, n_bytes_) - first * kBlock);
  Index& index = *index_;
  const auto length_at = [&](int64_t at) {
    uint8_t head[kHead] = {};
    read_exactly(file_, head, std::min(kHead, size_ - at), begin_ + at);
    add_block(head);
  };
  {
    const std::lock_guard<std::mutex> lock(index.mutex);
    while (index.known < first) length_at(index.at[index.known]);
    if (index.known < last) {  // lengths are found in what is read, as far as that goes
      const int64_t begin = index.at[first], n = std::min(size_ - begin, (last - first) * kMostPacked);
      fill(begin, n);
      while (index.known < last && index.at[index.known] + kHead <= begin + n)
        add_block(part.data + index.at[index.known] - begin);
      while (index.known < last) length_at(index.at[index.known]);
      if (index.at[last] <= begin + n) return;
    }
  }
  fill(index.at[first], index.at[last] - index.at[first]);
}

const uint8_t* PackedBytes::block(const Part& part, int64_t k, uint8_t* memory, int64_t* n) const {
  *n = std::min(kBlock, n_bytes_ - k * kBlock);
  if (!compressed_) return part.data + (k * kBlock - part.begin);
  const int64_t packed = *n / 8 * 8, end = index_->at[k + 1] - part.begin;
  if (packed > 0) {
    uint8_t planes[kBlock];
    const int64_t at = index_->at[k] - part.begin + kHead;
    join(decode_lz4(part.data + at, end - (*n - packed) - at, planes, packed), packed, memory);
  }
  std::memcpy(memory + packed, part.data + end - (*n - packed), *n - packed);
  return memory;
}

void unpack_bytes(const PackedBytes& packed, View<uint8_t, 1> out, int threads) {
  if (out.shape[0] != packed.n_bytes()) throw InputError("array 'out' is not as long as the bytes");
  constexpr int64_t at_once = 16;
  const int64_t n_blocks = packed.n_blocks();
  parallel_for((n_blocks + at_once - 1) / at_once, threads, [&](int64_t item) {
    thread_local PackedBytes::Part part;
    const int64_t first = item * at_once, last = std::min(first + at_once, n_blocks);
    packed.read(first, last, part);
    uint8_t memory[kBlock];
    for (int64_t k = first; k < last; ++k) {
      int64_t n;
      const uint8_t* bytes = packed.block(part, k, memory, &n);
      std::memcpy(out.data + k * kBlock, bytes, n);
    }
  });
}

}  // namespace mwaconvert
