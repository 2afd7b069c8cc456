// Interference in spectra: what finds it, and what takes it away. Channels are rows; time is cut into blocks
// of `block` samples, n_block = ceil(n_samp / block), the last one may be shorter.
//
// `used` (n_chan, n_samp) is 1 for samples that count and 0 for others; an array of no rows: all count. Data,
// used, sums, common and out may be parts of longer rows.
#pragma once

#include "mwaconvert/base/view.hpp"

namespace mwaconvert {

// Samples that count, their mean and their standard deviation (over the number less one), by channel and
// block; mean and deviation are 0 where there are fewer than two samples. data (n_chan, n_samp); count, mean,
// std (n_chan, n_block)
template <typename T>
void block_moments(View<const T, 2> data, View<const uint8_t, 2> used, int64_t block, View<float, 2> count,
                   View<float, 2> mean, View<float, 2> std, int threads);

// Packets that were lost leave one value in neighbouring channels. Runs end at channels that are not live.
// data (n_chan, n_samp); live (n_chan); longest (n_samp):
// at each time the length of the longest run of channels that hold `value`, 255 if it is longer
template <typename T>
void longest_runs(View<const T, 2> data, View<const uint8_t, 1> live, T value, View<uint8_t, 1> longest,
                  int threads);

// used (n_chan, n_samp) becomes 0 in all runs of at least `run` channels, and is left as it is elsewhere.
template <typename T>
void mark_runs(View<const T, 2> data, View<const uint8_t, 1> live, T value, int64_t run,
               View<uint8_t, 2> used, int threads);

// Median of each value and its neighbours along a row, of those that are there and finite: `half` on either
// side; near the ends as many on either side as there are on both, but at least `least`, so that a slope is
// followed to its end. NaN where there is none. values, out (n_row, n)
void running_median(View<const float, 2> values, int64_t half, int64_t least, View<float, 2> out,
                    int threads);

// How samples become units of the noise: z = (x - base) / sigma, where base is a straight line between the
// middles of blocks, and level beyond the first and last. A block whose inverse is 0 is masked: z = 0.
struct Scales {
  View<const float, 2> base;     // (n_chan, n_block)
  View<const float, 2> inverse;  // (n_chan, n_block) 1 / sigma
  int64_t block;
};

// Sums of z over sub-bands, and of z^2 over all channels. edges (n_sub + 1) ascending from 0 to n_chan;
// sums (n_sub, n_samp); squares (n_samp)
template <typename T>
void band_sums(View<const T, 2> data, View<const uint8_t, 2> used, const Scales& scales,
               View<const int32_t, 1> edges, View<float, 2> sums, View<float, 1> squares, int threads);

// Cleaned bytes: origin + unit * (z - common of the sub-band), rounded half to even, within 0 and 255; origin
// where masked, not used, or where keep is 0. edges (n_sub + 1); common (n_sub, n_samp); keep (n_samp); out
// (n_chan, n_samp); kept (n_chan, n_stretch): samples of each stretch of `stretch` samples that are not
// masked, n_stretch = ceil(n_samp / stretch), stretch at most 255
template <typename T>
void cleaned_bytes(View<const T, 2> data, View<const uint8_t, 2> used, const Scales& scales,
                   View<const int32_t, 1> edges, View<const float, 2> common, View<const uint8_t, 1> keep,
                   float origin, float unit, int64_t stretch, View<uint8_t, 2> out, View<uint8_t, 2> kept,
                   int threads);

}  // namespace mwaconvert
