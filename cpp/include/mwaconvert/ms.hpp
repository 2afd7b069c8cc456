// Columns of a measurement set that follow from the signed weights.
#pragma once

#include <cstdint>

#include "mwaconvert/view.hpp"

namespace mwaconvert {

// For each row r, channel c and polarisation p, with w = weight(r, first_chan + c, p):
//
//   weight_spectrum(r, c, p) = |w|
//   flag(r, c, p)            = sign bit of w (-0.0 counts as set)
//   weight_sum(r, p)         = sum over c of |w|, flagged channels included, summed in double
//   flag_row(r)              = all flags of the row are set
//
// weight: (row, channel of the block, 4). weight_spectrum, flag: (row, channel, 4). weight_sum: (row, 4).
// flag_row: (row). Rows must be contiguous inside: the last two axes of weight, weight_spectrum and flag are
// packed. The order of summation is fixed, so results do not depend on nthreads. No aliasing.
// The sum over all channels is what Birli and cotter write as WEIGHT.
void ms_columns(View<const float, 3> weight, int64_t first_chan, View<float, 3> weight_spectrum,
                View<bool, 3> flag, View<float, 2> weight_sum, View<bool, 1> flag_row, int nthreads);

}  // namespace mwaconvert
