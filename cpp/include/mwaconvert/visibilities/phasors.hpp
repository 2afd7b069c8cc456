// Phase factors of antennas: exp(-2 pi i w f / c).
#pragma once

#include <complex>

#include "mwaconvert/base/view.hpp"

namespace mwaconvert {

// w_m      (n_time, n_column) metres; a column is an antenna or a correlator slot
// start_hz (n_coarse) frequency of the first fine channel of each coarse channel
// step_hz  distance of fine channels, n_fine of them in a coarse channel
// out      by antenna:  (n_time, n_coarse, n_column, n_fine)
//          by channel:  (n_time, n_coarse, n_fine, n_column)
// A recurrence in double precision, started anew in each coarse channel; for w of 6 km at 300 MHz its error
// is below 1e-11 before the rounding to float.
void antenna_phasors(View<const double, 2> w_m, View<const double, 1> start_hz, double step_hz,
                     bool by_channel, View<std::complex<float>, 4> out, int threads);

}  // namespace mwaconvert
