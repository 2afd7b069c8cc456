// From samples as a telescope writes them, one spectrum after the other, to channels as kernels read them.
#pragma once

#include "mwaconvert/base/view.hpp"

namespace mwaconvert {

// out(channel, sample) of packed spectra, that is a transposition.
// in (n_samp, bytes) uint8: spectrum `sample` begins at in(sample, offset); n_bits is 1, 2, 4 or 8
// first_high: the first of the channels that share a byte is in its high bits (PSRFITS), not in its low ones
// (SIGPROC) reverse: channels of out run from the last to the first out (n_chan, n_samp); n_chan * n_bits is
// a whole number of bytes
void unpack(View<const uint8_t, 2> in, int64_t offset, int n_bits, bool first_high, bool reverse,
            View<uint8_t, 2> out, int threads);

// The same for whole numbers and floats; out(channel, sample) = in(sample, offset + channel).
void unpack(View<const int8_t, 2> in, int64_t offset, bool reverse, View<float, 2> out, int threads);
void unpack(View<const uint16_t, 2> in, int64_t offset, bool reverse, View<float, 2> out, int threads);
void unpack(View<const float, 2> in, int64_t offset, bool reverse, View<float, 2> out, int threads);

}  // namespace mwaconvert
