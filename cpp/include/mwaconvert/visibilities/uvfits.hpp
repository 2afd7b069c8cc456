// Random groups of uvfits.
#pragma once

#include <complex>

#include "mwaconvert/base/view.hpp"

namespace mwaconvert {

// Writes rows of vis and weight as random groups at `offset` of an open file, in parallel.
// parameters (n_rows, n_parameter) group parameters, native order
// vis, weight (n_rows, n_chan, 4) XX, XY, YX, YY; channels [channel_begin, channel_end) are written
// A group is its parameters, then [channel][XX, YY, XY, YX][re, im, weight], all big-endian float32.
// vis is V_ij; the group holds it as it is, with uvw of antenna i minus antenna j among the parameters.
void write_groups(int fd, int64_t offset, View<const float, 2> parameters,
                  View<const std::complex<float>, 3> vis, View<const float, 3> weight, int64_t channel_begin,
                  int64_t channel_end, int threads);

// Bytes of a group.
int64_t group_bytes(int64_t n_parameter, int64_t n_channel);

// Counts of flagged values (sign bit set): adds those of each row and of each channel.
// weight (n_rows, n_chan, 4); by_row (n_rows), by_channel (n_chan) are added to.
void count_flags(View<const float, 3> weight, View<int64_t, 1> by_row, View<int64_t, 1> by_channel,
                 int threads);

}  // namespace mwaconvert
