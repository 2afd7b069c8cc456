// Incoherent dedispersion: sums of shifted channels. With the channels as rows each shift is a contiguous
// load.
#pragma once

#include "mwaconvert/base/view.hpp"

namespace mwaconvert {

// delays(trial, channel) = dm(trial) * per_dm(channel), in samples, rounded half away from zero.
// per_dm (n_chan) samples of delay per unit of DM; delays (n_trial, n_chan)
void round_delays(View<const double, 1> dm, View<const double, 1> per_dm, View<int32_t, 2> delays);

// out(trial, i) = sum over channels of data(channel, i + delays(trial, channel)): brute force.
// data (n_chan, n_samp) uint8 or float32; delays (n_trial, n_chan) >= 0; out (n_trial, n_out), any n_out with
// n_out + largest delay <= n_samp.
// Sums of uint8 are exact, up to 65793 channels; sums of float32 start at 0 and take channels in ascending
// order. Throws InputError for delays that leave the data.
void dedisperse(View<const uint8_t, 2> data, View<const int32_t, 2> delays, View<float, 2> out, int threads);
void dedisperse(View<const float, 2> data, View<const int32_t, 2> delays, View<float, 2> out, int threads);

// Two stages: neighbouring trials share the alignment of the channels within each sub-band.
// out(trial, i) = sum over sub-bands s and channels c of [edges(s), edges(s + 1)) of
//                 data(c, i + across(trial, s) + within(trial / trials_per_group, c))
// edges (n_sub + 1) ascending from 0 to n_chan; within (n_group, n_chan) may be negative; across (n_trial,
// n_sub) For uint8 a sub-band may have at most 257 channels.
void dedisperse_subbands(View<const uint8_t, 2> data, View<const int32_t, 1> edges,
                         View<const int32_t, 2> within, View<const int32_t, 2> across,
                         int64_t trials_per_group, View<float, 2> out, int threads);
void dedisperse_subbands(View<const float, 2> data, View<const int32_t, 1> edges,
                         View<const int32_t, 2> within, View<const int32_t, 2> across,
                         int64_t trials_per_group, View<float, 2> out, int threads);

}  // namespace mwaconvert
