// Search of time series for pulses by running sums of several widths.
#pragma once

#include "mwaconvert/base/view.hpp"

namespace mwaconvert {

// Mean and standard deviation of the noise of each series: medians, over blocks, of the means and of the
// variances of the blocks, the latter over the ratio of median and mean that it has for Gaussian noise. A
// block has the largest power of two of samples that is at most a sixth of the series, but 32 to 1024. A
// pulse or a gap that is shorter than half of the series does not move them. Blocks with values that are not
// finite do not count; 0 and 0 where none is left. series (n_trial, n_samp); mean, sigma (n_trial)
void noise(View<const float, 2> series, View<float, 1> mean, View<float, 1> sigma, int threads);

// Best boxcar of each stretch of `block` samples of each series: over widths w = 1, 2, 4, ... 2^(n_width - 1)
// and starts i of the stretch with i + w <= n_samp, the largest of (sum of series(i .. i + w - 1) - w * mean)
// / (sigma * sqrt(w)); the smaller width and the earlier start if equal. series (n_trial, n_samp); mean,
// sigma (n_trial); snr, start, width (n_trial, ceil(n_samp / block)) A series whose sigma is not positive
// yields S/N 0. block is a multiple of 64.
void boxcar_search(View<const float, 2> series, View<const float, 1> mean, View<const float, 1> sigma,
                   int n_width, int64_t block, View<float, 2> snr, View<int32_t, 2> start,
                   View<int32_t, 2> width, int threads);

// noise() and boxcar_search(), while a series is in the cache.
void search_series(View<const float, 2> series, int n_width, int64_t block, View<float, 1> mean,
                   View<float, 1> sigma, View<float, 2> snr, View<int32_t, 2> start, View<int32_t, 2> width,
                   int threads);

}  // namespace mwaconvert
