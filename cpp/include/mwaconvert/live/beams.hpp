// Synthesised beams, made of pieces of tied-array beams.
#pragma once

#include <cstdint>

#include "mwaconvert/base/view.hpp"

namespace mwaconvert {

// What one tied-array beam gives to a synthesised one: out(channel, sample) = beam(channel, sample) in each
// subband whose entry in `subbands` (n_subband) is `tab`; other channels of out are left as they are. beam
// and out (n_chan, n_times), not the same memory, n_chan a multiple of n_subband; subbands are in the order
// of the channels. The synthesised beam is whole when each tied-array beam that `subbands` names has given
// its part.
void take_subbands(View<const uint8_t, 2> beam, View<const int64_t, 1> subbands, int64_t tab,
                   View<uint8_t, 2> out, int threads);
void take_subbands(View<const float, 2> beam, View<const int64_t, 1> subbands, int64_t tab,
                   View<float, 2> out, int threads);

}  // namespace mwaconvert
