// Columns of a measurement set that follow from the signed weights, and files of its large columns.
#pragma once

#include <complex>
#include <cstdint>

#include "mwaconvert/base/view.hpp"

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
// packed. The order of summation is fixed, so results do not depend on threads. No aliasing.
// The sum over all channels is what Birli and cotter write as WEIGHT.
void ms_columns(View<const float, 3> weight, int64_t first_chan, View<float, 3> weight_spectrum,
                View<bool, 3> flag, View<float, 2> weight_sum, View<bool, 1> flag_row, int threads);

// Descriptors of the files of DATA, WEIGHT_SPECTRUM and FLAG. As long as all rows have the same shape and
// each tile has all channels, casacore's tiled files are plain arrays over rows, in native order; flags are
// bits, lowest first, and each row of them is whole bytes.
struct MsFiles {
  int data, weight_spectrum, flag;
};

// Bytes that the flags of a row take.
int64_t flag_bytes(int64_t n_chan);

// Writes the cells of rows first_row, first_row + 1, ... of the measurement set: channels [first_chan,
// first_chan + n_chan) of the block. weight_sum, flag_row: see ms_columns.
void write_ms_cells(const MsFiles& files, int64_t first_row, View<const std::complex<float>, 3> vis,
                    View<const float, 3> weight, int64_t first_chan, int64_t n_chan,
                    View<float, 2> weight_sum, View<bool, 1> flag_row, int threads);

}  // namespace mwaconvert
