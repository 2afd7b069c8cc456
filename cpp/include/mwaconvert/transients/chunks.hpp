// Intensity of CHIME/FRB: bytes of channels with a scale and an offset for each block.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mwaconvert/base/view.hpp"
#include "mwaconvert/transients/bitshuffle.hpp"

namespace mwaconvert {

// A piece of the waterfall. Value of (channel, sample) = offset + scale * byte; bytes of 0 and 255 are not
// there.
struct Chunk {
  std::string name;             // for messages
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
