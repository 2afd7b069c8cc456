// Search of time series for pulses by running sums of several widths.
#pragma once

#include <vector>

#include "mwaconvert/base/view.hpp"

namespace mwaconvert {

// Mean and standard deviation of the noise of each series: medians, over blocks, of the means and of the
// variances of the blocks, the latter over the ratio of median and mean that it has for Gaussian noise. A
// block has the largest power of two of samples that is at most a sixth of the series, but 32 to 1024. A
// pulse or a gap that is shorter than half of the series does not move them. Blocks with values that are not
// finite do not count; 0 and 0 where none is left. series (n_trial, n_samp); mean, sigma (n_trial)
void noise(View<const float, 2> series, View<float, 1> mean, View<float, 1> sigma, int threads);

// A boxcar of a series: its first sample, its width, and S/N = (sum - width * mean) / (sigma * sqrt(width *
// cover)).
struct Boxcar {
  int32_t trial;
  float snr;
  int32_t start, width;
};

// How much of the band each part of a series has, because of masks or because the sweep runs past the data:
// the variance of its samples over that of samples with all channels. Trials share rows. share (n_row,
// ceil(n_samp / kCoverStep)), row (n_trial); without rows all is there.
constexpr int64_t kCoverStep = 64;
struct Cover {
  View<const float, 2> share;
  View<const int32_t, 1> row;
};
constexpr float kLeastCover = 0.25f;  // boxcars with less count for nothing

// Noise and best boxcars of each series, of widths w = 1, 2, 4, ... 2^(n_width - 1). Starts of boxcars are
// divided into groups of max(16, min(w, 1024)) (with a cover that changes, at most 64); of each group of each
// width the best boxcar is found, if its S/N is the threshold or more. So a boxcar above the threshold is in
// `found`, or one that has the same width, begins less than a group away and is at least as good. snr, start,
// width (n_trial): the best of each series, the smaller width and the earlier start if equal; S/N 0 where
// sigma is not positive. `found` is by trial, start of a stretch of 1024, width and start.
void search_series(View<const float, 2> series, const Cover& cover, int n_width, float threshold,
                   View<float, 1> mean, View<float, 1> sigma, View<float, 1> snr, View<int32_t, 1> start,
                   View<int32_t, 1> width, std::vector<Boxcar>& found, int threads);

}  // namespace mwaconvert
