// What is done to each channel of a filterbank by itself: sums for its mean and spread, and its scale.
#pragma once

#include <cstdint>

#include "mwaconvert/base/view.hpp"

namespace mwaconvert {

// sums(c) = number, sum and sum of squares of data(c, t) - about(c), over the samples t; with weights, over
// those of weight above 0. data, weights (n_chan, n_samp); weights.data null: all count; about (n_chan); sums
// (n_chan, 3). Of bytes the sums are exact, of floats they are added in double, eight in turn; `about` is not
// looked at for bytes, which are summed as they are. Results do not depend on threads.
template <typename T>
void channel_sums(View<const T, 2> data, View<const float, 2> weights, View<const double, 1> about,
                  View<double, 2> sums, int threads);

// out(c, t) = (data(c, t) - mean(c)) * scale(c), in float of bytes, in double of floats. data, out (n_chan,
// n_samp); mean, scale (n_chan); out may be data.
template <typename T>
void scale_channels(View<const T, 2> data, View<const double, 1> mean, View<const double, 1> scale,
                    View<float, 2> out, int threads);

}  // namespace mwaconvert
