// How many cells of a mask are flagged, by row, channel and time.
#pragma once

#include <cstdint>

#include "mwaconvert/base/view.hpp"

namespace mwaconvert {

struct MaskCountInput {
  View<const uint8_t, 4> bits;    // (n_times, n_coarse, n_rows, n_bytes) channel f: bit f % 8 of byte f / 8
  View<const uint8_t, 2> wanted;  // (n_coarse, n_bytes) channels to count
  View<const uint8_t, 1> row;     // (n_rows) rows to count
  View<const uint8_t, 2> chunk;   // (n_times, n_coarse) chunks to count
  int64_t n_fine;                 // channels of a coarse channel, at most 8 n_bytes
  int64_t times_per_count;        // input timesteps that are counted together
};

// Adds the counts; the rows' are over all times. by_row is (n_coarse, n_rows), by_channel
// (ceil(n_times / times_per_count), n_coarse * n_fine).
void mask_counts(const MaskCountInput& in, View<int64_t, 2> by_row, View<int32_t, 2> by_channel, int threads);

}  // namespace mwaconvert
