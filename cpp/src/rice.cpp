#include "mwaconvert/rice.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <string>

#include "mwaconvert/error.hpp"
#include "mwaconvert/simd.hpp"
#include "mwaconvert/vector.hpp"

namespace mwaconvert {
namespace {

constexpr int kSplitBits = 5;  // width of the code that gives a block's split length
constexpr int kMaxSplit = 25;  // from here on pixels are stored whole
constexpr int kPixelBits = 32;
// Up to these split lengths a group of pixels mostly fits one refill (codes take 2.5 bits more on average).
constexpr int kMaxSplitOf4 = 10;
constexpr int kMaxSplitOf3 = 15;
constexpr int kMaxSplitOf2 = 22;

uint64_t load_big_endian(const uint8_t* from) {
  uint64_t value;
  std::memcpy(&value, from, sizeof value);
  if constexpr (std::endian::native == std::endian::little) value = __builtin_bswap64(value);
  return value;
}

[[noreturn]] void corrupt(const char* why) {
  throw FormatError(std::string("corrupt Rice-compressed data: ") + why);
}

// A window of the next bits, left-aligned in 64. Past the end of the input it delivers zeros and counts on.
class BitReader {
 public:
  static constexpr int kRefilled = 56;

  BitReader(const uint8_t* in, int64_t n) : in_(in), n_(n) {}

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

  bool past_end() const { return at_ * 8 - bits_ > n_ * 8; }

 private:
  const uint8_t* in_;
  int64_t n_;
  int64_t at_ = 0;
  uint64_t window_ = 0;
  int bits_ = 0;
};

// Even codes are differences >= 0, odd ones are negative.
uint32_t unfold(uint32_t code) {
  return (code >> 1) ^ (0U - (code & 1));
}
uint32_t fold(uint32_t difference) {
  return (difference << 1) ^ (0U - (difference >> 31));
}

// One pixel of a split block, however long its code.
uint32_t take_code(BitReader& reader, int split) {
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
int take_split(Stream& stream) {
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

void check_end(const Stream& stream) {
  if (stream.reader.past_end()) corrupt("it ends too early");
}

// flattened: a clone must not call the default version of its inner loops
[[gnu::flatten]] MWACONVERT_CLONES void decode_row(const RiceRow& row, int64_t n, int block) {
  Stream stream(row.in, row.n_in);
  for (int64_t start = 0; start < n; start += block) {
    decode_block(stream, take_split(stream), row.out + start, std::min<int64_t>(block, n - start));
    check_end(stream);
  }
}

[[gnu::flatten]] MWACONVERT_CLONES void decode_two_rows(const RiceRow* rows, int64_t n, int block) {
  std::array<Stream, 2> streams{Stream(rows[0].in, rows[0].n_in), Stream(rows[1].in, rows[1].n_in)};
  for (int64_t start = 0; start < n; start += block) {
    const int64_t count = std::min<int64_t>(block, n - start);
    const std::array<int32_t*, 2> out{rows[0].out + start, rows[1].out + start};
    const std::array<int, 2> split{take_split(streams[0]), take_split(streams[1])};
    const auto [least, most] = std::minmax(split[0], split[1]);
    if (least >= 0 && most <= kMaxSplitOf4) {
      decode_split_pair<4>(streams, split, out, count);
    } else if (least >= 0 && most <= kMaxSplitOf3) {
      decode_split_pair<3>(streams, split, out, count);
    } else {
      for (int i = 0; i < 2; ++i) decode_block(streams[i], split[i], out[i], count);
    }
    for (const Stream& stream : streams) check_end(stream);
  }
}

}  // namespace

void rice_decode(std::span<const RiceRow> rows, int64_t n, int block) {
  if (n <= 0) return;
  size_t r = 0;
  for (; r + 2 <= rows.size(); r += 2) decode_two_rows(&rows[r], n, block);
  if (r < rows.size()) decode_row(rows[r], n, block);
}

int64_t rice_max_bytes(int64_t n, int block) {
  const int64_t blocks = (n + block - 1) / block;
  return 4 + (n * kPixelBits + blocks * kSplitBits + 7) / 8;
}

namespace {

class BitWriter {
 public:
  explicit BitWriter(uint8_t* out) : out_(out) {}

  // count <= 32
  void put(uint32_t value, int count) {
    window_ = window_ << count | value;
    bits_ += count;
    while (bits_ >= 8) {
      bits_ -= 8;
      out_[n_++] = static_cast<uint8_t>(window_ >> bits_);
    }
  }

  void put_zeros(uint32_t count) {
    for (; count > 32; count -= 32) put(0, 32);
    put(0, static_cast<int>(count));
  }

  int64_t finish() {
    if (bits_ > 0) put(0, 8 - bits_);
    return n_;
  }

 private:
  uint8_t* out_;
  int64_t n_ = 0;
  uint64_t window_ = 0;
  int bits_ = 0;
};

}  // namespace

int64_t rice_encode_row(const int32_t* in, int64_t n, uint8_t* out, int64_t capacity, int block) {
  if (capacity < rice_max_bytes(n, block)) throw InputError("Rice encoder: the output buffer is too small");
  if (n <= 0) return 0;
  BitWriter writer(out);
  auto last = static_cast<uint32_t>(in[0]);
  writer.put(last, kPixelBits);
  for (int64_t start = 0; start < n; start += block) {
    const int64_t end = std::min<int64_t>(start + block, n);
    uint64_t sum = 0;
    uint32_t previous = last;
    for (int64_t k = start; k < end; ++k) {
      const auto pixel = static_cast<uint32_t>(in[k]);
      sum += fold(pixel - previous);
      previous = pixel;
    }
    if (sum == 0) {
      writer.put(0, kSplitBits);
      continue;
    }
    // the split whose step is half of the mean, to which a geometric distribution gives short codes
    const uint64_t mean = sum / static_cast<uint64_t>(end - start);
    const int split = std::min(static_cast<int>(std::bit_width(mean >> 1)), kMaxSplit);
    writer.put(static_cast<uint32_t>(split + 1), kSplitBits);
    for (int64_t k = start; k < end; ++k) {
      const auto pixel = static_cast<uint32_t>(in[k]);
      const uint32_t code = fold(pixel - last);
      last = pixel;
      if (split == kMaxSplit) {
        writer.put(code, kPixelBits);
      } else {
        writer.put_zeros(code >> split);
        writer.put(1, 1);
        if (split > 0) writer.put(code & ((1U << split) - 1), split);
      }
    }
  }
  return writer.finish();
}

}  // namespace mwaconvert
