// From raw files to one averaged output timestep: read, phase-rotate, average in time, correct, average in
// frequency, flag. Shapes slowest to fastest; products are XX, XY, YX, YY.
//
//   V'(t,f)  = V(t,f) * g_i(t,f) conj(g_j(t,f)) * s_ip(f) conj(s_jq(f))      g phasors, s factors
//   vis      = sum(w V') / sum(w) over unflagged cells of the averaging block, weight = sum(w)
//   w(t,f)   = channel_weight(f) * m(t)        m: weight in the MWAX file, else 1
//
// m differs by product; a NaN, an infinity or less than 0 there means 0. What has w = 0 counts as flagged.
// Where nothing in the block is unflagged, vis is its mean weighted by m only (evenly, if m is 0 in all
// timesteps) over the unflagged timesteps, or if there are none over all that are there, or 0. The weight is
// then 0 with its sign bit set; without averaging it keeps its size w (m = 1 if missing) and is negative.
// A cell with a NaN or an infinity in any product counts as flagged and is left out of every mean; where the
// result is still not finite, vis is 0 and flagged.
// s does not depend on time, so the sum over time comes before the multiplication.
//
// Matrices J of antennas make of the four products the matrix product J_i V' J_j^H, of the mean over time
// where they are given for input channels, of vis where they are given for output channels. If any of them is
// not diagonal, m is the least of the four products' for all four.
//
// A cell whose bit in the mask is set is flagged: it is left out of the sums of vis and weight over time and
// channels. Where all cells of the block are flagged, by whatever means, vis is their mean as above. In rows
// and timesteps that are flagged as a whole the mask changes nothing.
#pragma once

#include <complex>

#include "mwaconvert/base/view.hpp"
#include "mwaconvert/raw/chunk.hpp"

namespace mwaconvert {

struct BlockInput {
  View<const Chunk, 2> chunks;  // (n_time, n_coarse)
  int64_t n_fine;               // input channels of a coarse channel
  int64_t freq_factor;          // input channels of an output channel; blocks start at coarse borders
  bool averaged;                // whether averaging is on; needed for freq_factor > 1 or n_time > 1
  View<const int32_t, 1> antenna1, antenna2;   // (n_rows)
  View<const uint8_t, 1> row_flagged;          // (n_rows)
  View<const std::complex<float>, 3> factors;  // (n_antenna, n_coarse * n_fine, 2 pol), data null: all 1
  // (n_antenna, n_coarse * n_fine, or n_coarse * n_out, 4) XX, XY, YX, YY; data null: none
  View<const std::complex<float>, 3> jones;
  View<const float, 1> channel_weight;     // (n_coarse * n_fine)
  View<const uint8_t, 1> channel_flagged;  // (n_coarse * n_fine)
  // (n_time, n_coarse, n_rows, ceil(n_fine / 8)): channel f is bit f % 8 of byte f / 8; data null: nothing
  View<const uint8_t, 4> mask;
};

struct BlockOutput {
  View<std::complex<float>, 3> vis;  // (n_rows, n_coarse * n_out, 4)
  View<float, 3> weight;             // (n_rows, n_coarse * n_out, 4) sign bit set: flagged
  View<int64_t, 1> bad_cells;        // (n_rows) += cells of the timesteps in use left out for NaN or infinity
};

// MWAX: image rows are baselines, [channel][product]; phasors (n_time, n_coarse, n_antenna, n_fine), data
// null: no rotation; file_row (n_rows) ascending: the row's baseline in the file. Autocorrelations are not
// rotated.
void convert_mwax(const BlockInput& in, View<const std::complex<float>, 4> phasors,
                  View<const int64_t, 1> file_row, bool use_weights, const BlockOutput& out, int threads);

// Legacy: image rows are channels, [slot antenna][slot antenna <= it][P][Q]; phasors (n_time, n_coarse,
// n_fine, n_slot), data null: no rotation; product, conjugated (n_rows, 4): which complex number of a
// channel, and whether to conjugate it. g_i conj(g_j) are those of the product's slots. van_vleck_samples:
// number of samples in a visibility, for the correction of van_vleck.hpp before all else; 0: none.
void convert_legacy(const BlockInput& in, View<const std::complex<float>, 4> phasors, int64_t n_slot,
                    View<const int32_t, 2> product, View<const uint8_t, 2> conjugated,
                    double van_vleck_samples, const BlockOutput& out, int threads);

}  // namespace mwaconvert
