// Reading a RICE_1 stream: bits, pixels, blocks of pixels.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string>

#include "mwaconvert/base/error.hpp"
#include "mwaconvert/base/simd.hpp"
#include "mwaconvert/base/vector.hpp"
#include "mwaconvert/raw/rice.hpp"

namespace mwaconvert::rice {

constexpr int kSplitBits = 5;  // width of the code that gives a block's split length
constexpr int kMaxSplit = 25;  // from here on pixels are stored whole
constexpr int kPixelBits = 32;
// Up to these split lengths a group of pixels mostly fits one refill (codes take 2.5 bits more on average).
constexpr int kMaxSplitOf4 = 10;
constexpr int kMaxSplitOf3 = 15;
constexpr int kMaxSplitOf2 = 22;

inline uint64_t load_big_endian(const uint8_t* from) {
  uint64_t value;
  std::memcpy(&value, from, sizeof value);
  if constexpr (std::endian::native == std::endian::little) value = __builtin_bswap64(value);
  return value;
}

[[noreturn]] inline void corrupt(const char* why) {
  throw FormatError(std::string("corrupt Rice-compressed data: ") + why);
}

// A window of the next bits, left-aligned in 64. Past the end of the input it delivers zeros and counts on.
class BitReader {
 public:
  static constexpr int kRefilled = 56;

  BitReader(const uint8_t* in, int64_t n) : in_(in), n_(n) {}

  // From bit number `bit` on.
  BitReader(const uint8_t* in, int64_t n, int64_t bit) : in_(in), n_(n), at_(bit / 8) {
    refill();
    if (bit % 8) skip(static_cast<int>(bit % 8));
  }

  // At least kRefilled bits in the window afterwards.
  void refill() {
    if (at_ + 8 <= n_) [[likely]] {
      window_ |= load_big_endian(in_ + at_) >> bits_;
      at_ += (63 - bits_) >> 3;
      bits_ |= 56;
    } else {
      for (; bits_ <= 56; bits_ += 8, ++at_)
        if (at_ < n_) window_ |= uint64_t{in_[at_]} << (56 - bits_);
    }
  }

  uint64_t window() const { return window_; }
  int bits() const { return bits_; }

  // 0 < count < 64, at most bits().
  void skip(int count) {
    window_ <<= count;
    bits_ -= count;
  }

  // 0 < count <= 32; the window must hold that many.
  uint32_t take(int count) {
    const auto value = static_cast<uint32_t>(window_ >> (64 - count));
    skip(count);
    return value;
  }

  // Length of a run of zero bits of any length; takes the one that ends it too.
  int64_t take_zeros() {
    int64_t zeros = 0;
    while (window_ >> (64 - bits_) == 0) {
      zeros += bits_;
      window_ = 0;  // bits that a refill left below the count: the next one brings them again
      bits_ = 0;
      if (at_ >= n_) corrupt("it ends inside a pixel");
      refill();
    }
    const int more = std::countl_zero(window_);
    skip(more);
    skip(1);
    return zeros + more;
  }

  // Number of the next bit.
  int64_t position() const { return at_ * 8 - bits_; }
  bool past_end() const { return position() > n_ * 8; }

 private:
  const uint8_t* in_;
  int64_t n_;
  int64_t at_ = 0;
  uint64_t window_ = 0;
  int bits_ = 0;
};

// Even codes are differences >= 0, odd ones are negative.
inline uint32_t unfold(uint32_t code) {
  return (code >> 1) ^ (0U - (code & 1));
}
inline uint32_t fold(uint32_t difference) {
  return (difference << 1) ^ (0U - (difference >> 31));
}

// One pixel of a split block, however long its code.
inline uint32_t take_code(BitReader& reader, int split) {
  reader.refill();
  const int64_t high = reader.take_zeros();
  if (high >> (kPixelBits - split) != 0) corrupt("a pixel is out of range");
  reader.refill();
  return static_cast<uint32_t>(high) << split | (split ? reader.take(split) : 0);
}

// A row on its way: the bits to come, and the pixel before.
struct Stream {
  BitReader reader;
  uint32_t last = 0;

  Stream(const uint8_t* in, int64_t n) : reader(in, n) {
    if (n < 4) corrupt("it is shorter than one pixel");
    reader.refill();
    last = reader.take(kPixelBits);
  }
  // In the middle of a row.
  Stream(const RiceRow& row, int64_t bit, uint32_t previous)
      : reader(row.in, row.n_in, bit), last(previous) {}
};

// kGroup pixels out of one refill: that is the slow link in the chain of dependent steps.
template <int kGroup>
MWACONVERT_INLINE void decode_group(Stream& stream, int split, int32_t* out) {
  BitReader& reader = stream.reader;
  const uint64_t mask = (uint64_t{1} << split) - 1;
  reader.refill();
  uint64_t window = reader.window();
  std::array<uint32_t, kGroup> codes;
  int used = 0;
  for (uint32_t& code : codes) {
    const int zeros = std::countl_zero(window | 1);
    const int length = zeros + 1 + split;
    code = static_cast<uint32_t>(zeros) << split |
           static_cast<uint32_t>((window >> ((64 - length) & 63)) & mask);
    window <<= length & 63;
    used += length;
  }
  if (used <= BitReader::kRefilled) [[likely]] {
    reader.skip(used);
  } else {
    for (uint32_t& code : codes) code = take_code(reader, split);
  }
  for (int i = 0; i < kGroup; ++i) {
    stream.last += unfold(codes[i]);
    out[i] = static_cast<int32_t>(stream.last);
  }
}

template <int kGroup>
MWACONVERT_INLINE void decode_split(Stream& shared, int split, int32_t* out, int64_t n) {
  Stream stream = shared;  // a local copy stays in registers
  int64_t k = 0;
  for (; k + kGroup <= n; k += kGroup) decode_group<kGroup>(stream, split, out + k);
  for (; k < n; ++k) decode_group<1>(stream, split, out + k);
  shared = stream;
}

// The same of two rows: while one waits for its next bits, the other goes on.
template <int kGroup>
MWACONVERT_INLINE void decode_split_pair(std::array<Stream, 2>& shared, std::array<int, 2> split,
                                         std::array<int32_t*, 2> out, int64_t n) {
  Stream first = shared[0], second = shared[1];
  int64_t k = 0;
  for (; k + kGroup <= n; k += kGroup) {
    decode_group<kGroup>(first, split[0], out[0] + k);
    decode_group<kGroup>(second, split[1], out[1] + k);
  }
  for (; k < n; ++k) {
    decode_group<1>(first, split[0], out[0] + k);
    decode_group<1>(second, split[1], out[1] + k);
  }
  shared = {first, second};
}

// How the pixels of a block are stored: -1 all equal to the one before, kMaxSplit whole, else split there.
inline int take_split(Stream& stream) {
  stream.reader.refill();
  const int split = static_cast<int>(stream.reader.take(kSplitBits)) - 1;
  if (split > kMaxSplit) corrupt("impossible split length");
  return split;
}

MWACONVERT_INLINE void decode_block(Stream& stream, int split, int32_t* out, int64_t n) {
  if (split < 0) {
    std::fill_n(out, n, static_cast<int32_t>(stream.last));
  } else if (split <= kMaxSplitOf4) {
    decode_split<4>(stream, split, out, n);
  } else if (split <= kMaxSplitOf3) {
    decode_split<3>(stream, split, out, n);
  } else if (split <= kMaxSplitOf2) {
    decode_split<2>(stream, split, out, n);
  } else if (split < kMaxSplit) {
    decode_split<1>(stream, split, out, n);
  } else {
    for (int64_t k = 0; k < n; ++k) {
      stream.reader.refill();
      stream.last += unfold(stream.reader.take(kPixelBits));
      out[k] = static_cast<int32_t>(stream.last);
    }
  }
}

inline void check_end(const Stream& stream) {
  if (stream.reader.past_end()) corrupt("it ends too early");
}

#if MWACONVERT_HAS_WIDE
constexpr int kWideRows = 8;

// kWideRows rows side by side, one in each lane of a register; only where wide_registers().
void decode_wide(const RiceRow* rows, int64_t n, int block);
#endif

}  // namespace mwaconvert::rice
