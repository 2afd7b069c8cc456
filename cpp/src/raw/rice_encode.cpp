#include <algorithm>
#include <bit>

#include "mwaconvert/raw/rice.hpp"
#include "rice_stream.hpp"

namespace mwaconvert {

using namespace rice;

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
