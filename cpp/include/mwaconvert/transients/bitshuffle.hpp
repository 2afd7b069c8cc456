// Bytes that bitshuffle packed with LZ4 (Masui et al. 2015), in memory or in a file.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "mwaconvert/base/scratch.hpp"
#include "mwaconvert/base/view.hpp"

namespace mwaconvert {

// Bytes in blocks of 8192 that are packed each on its own: the length of a block (4 bytes, the highest
// first), then its LZ4; at the end a shorter block of a multiple of 8 bytes, then up to 7 bytes as they are.
class PackedBytes {
 public:
  static constexpr int64_t kBlock = 8192;

  // Some blocks as they are packed, and memory for them that serves again.
  struct Part {
    const uint8_t* data = nullptr;
    int64_t begin = 0;  // of `data` among the packed bytes
    Scratch<uint8_t> memory;
  };

  // n_bytes: once they are unpacked; compressed: false if they are as they are.
  // FormatError where the blocks do not end with the data.
  PackedBytes(View<const uint8_t, 1> data, int64_t n_bytes, bool compressed);

  // `size` bytes from byte `begin` of an open file on. Where blocks lie is found as they are read:
  // FormatError of `read` where they do not end with the data, or the file does before.
  PackedBytes(int file, int64_t begin, int64_t size, int64_t n_bytes, bool compressed);

  int64_t n_bytes() const { return n_bytes_; }
  int64_t n_blocks() const { return n_blocks_; }

  // Blocks [first, last), in one read. Several threads may call it at once; it is fast where they ask in
  // ascending order.
  void read(int64_t first, int64_t last, Part& part) const;

  // The bytes of a block of a part, up to 8192; memory: room for as many. FormatError if they are damaged.
  const uint8_t* block(const Part& part, int64_t k, uint8_t* memory, int64_t* n) const;

 private:
  // Where blocks begin among the packed bytes: [0, known] of them, which change no more.
  struct Index {
    std::mutex mutex;
    int64_t known = 0;
    std::vector<int64_t> at;
  };

  void add_block(const uint8_t* head) const;

  View<const uint8_t, 1> data_{};
  int file_ = -1;
  int64_t begin_ = 0, size_, n_bytes_, n_blocks_;
  bool compressed_;
  std::unique_ptr<Index> index_;
};

// All of it: out (n_bytes).
void unpack_bytes(const PackedBytes& packed, View<uint8_t, 1> out, int threads);

}  // namespace mwaconvert
