// Statistics of visibilities for the quality tables of a measurement set and for the report.
#pragma once

#include <complex>
#include <cstdint>

#include "mwaconvert/base/view.hpp"

namespace mwaconvert {

// What is summed over cells that are not flagged, for each polarisation:
//   sums[0] = sum V,  sums[1] = sum (Re V)^2 + i sum (Im V)^2,
//   sums[2] = sum D,  sums[3] = sum (Re D)^2 + i sum (Im D)^2,   D = (V(c+1) - V(c)) / sqrt 2
//   counts[0] = cells, counts[1] = flagged cells, counts[2] = differences
// Differences are of neighbouring channels of one window, both unflagged: free of sky, they show the noise.
// Cells that a static rule flags are not counted at all: counts[1] is what the data themselves had wrong.
struct QualityInput {
  View<const std::complex<float>, 3> vis;  // (n_rows, n_chan, 4)
  View<const float, 3> weight;             // (n_rows, n_chan, 4) sign bit set: flagged
  View<const uint8_t, 1> row_static;       // (n_rows) rows flagged by a static rule
  View<const uint8_t, 1> row_cross;        // (n_rows) rows that enter the sums of the channels
  View<const uint8_t, 1> channel_static;   // (n_chan) channels flagged by a static rule
  View<const int64_t, 1> window_start;     // (n_win + 1) ascending; the last is n_chan at most
};

// All are added to. Differences stand at the lower channel of the pair.
struct QualityOutput {
  View<std::complex<double>, 4> row_sums;      // (n_rows, n_win, 4, 4 pol)
  View<int64_t, 4> row_counts;                 // (n_rows, n_win, 3, 4 pol)
  View<std::complex<double>, 3> channel_sums;  // (n_chan, 4, 4 pol)
  View<int64_t, 3> channel_counts;             // (n_chan, 3, 4 pol)
};

// Definitions: the statistics that AOFlagger's quality tables hold (Offringa et al. 2012, MNRAS 422, 563,
// and measured on what `aoquality collect` writes). Results do not depend on threads.
void quality_sums(const QualityInput& in, const QualityOutput& out, int threads);

}  // namespace mwaconvert
