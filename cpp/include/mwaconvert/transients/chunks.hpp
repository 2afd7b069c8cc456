// Intensity of CHIME/FRB: bytes of channels with a scale and an offset for each block, packed by bitshuffle
// and LZ4 (Masui et al. 2015).
#pragma once

#include <cstdint>
#include <vector>

#include "mwaconvert/base/view.hpp"

namespace mwaconvert {

// Bytes in blocks of 8192 that are packed each on its own: the length of a block (4 bytes, the highest
// first), then its LZ4; at the end a shorter block of a multiple of 8 bytes, then up to 7 bytes as they are.
class PackedBytes {
 public:
  // n_bytes: once they are unpacked; compressed: false if they are as they are.
  // FormatError where the blocks do not end with the data.
  PackedBytes(View<const uint8_t, 1> data, int64_t n_bytes, bool compressed);

  int64_t n_bytes() const { return n_bytes_; }
  int64_t n_blocks() const { return n_blocks_; }

  // The bytes of a block, up to 8192; memory: room for as many. FormatError if they are damaged.
  const uint8_t* block(int64_t k, uint8_t* memory, int64_t* n) const;

 private:
  View<const uint8_t, 1> data_;
  int64_t n_bytes_, n_blocks_;
  bool compressed_;
  std::vector<int64_t> at_;  // of each block that is compressed
};

// All of it: out (n_bytes).
void unpack_bytes(const PackedBytes& packed, View<uint8_t, 1> out, int threads);

// A piece of the waterfall. Value of (channel, sample) = offset + scale * byte; bytes of 0 and 255 are not
// there.
struct Chunk {
  PackedBytes bytes;            // (n_chan, n_times), from the highest channel
  View<const float, 2> scale;   // (n_coarse, n_block): of n_chan / n_coarse channels and n_times / n_block
  View<const float, 2> offset;  // samples
  View<const uint8_t, 2>
      mask;  // (n_mask, n_times / 8), bit k of a byte is its k-th sample, 1: good; or empty
  int64_t n_times;
  int64_t first;   // sample of the waterfall at which it begins
  int64_t repeat;  // samples of the waterfall that one of its samples fills
};

// Sub-bands of dedispersed channels. out(s, t) = mean over the channels c of a sub-band of
// value(c, t + shift(c)), weights(s, t) the part of the channels that are there; 0 where none is.
// Where scaled, a channel's mean is taken off before, and it is divided by its standard deviation; a channel
// without variation, or with fewer than two samples, is left out.
// shift (n_chan) from the lowest channel; out, weights (n_sub, n_times) from the lowest sub-band, which
// divides n_chan. Chunks do not overlap. Results do not depend on threads.
void chunk_waterfall(const std::vector<Chunk>& chunks, View<const int32_t, 1> shift, bool scaled,
                     View<float, 2> out, View<float, 2> weights, int threads);

}  // namespace mwaconvert
