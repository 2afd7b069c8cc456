// Reads what the RFI detection looks at: amplitudes of all timesteps of some baselines, or the visibilities
// themselves, product by product, so that each image is contiguous.
#pragma once

#include <complex>

#include "mwaconvert/base/view.hpp"
#include "mwaconvert/raw/chunk.hpp"

namespace mwaconvert {

struct RfiInput {
  View<const Chunk, 2> chunks;                // (n_time, n_coarse)
  int64_t n_fine;                             // channels of a coarse channel
  View<const int32_t, 1> antenna1, antenna2;  // (n_rows)
  // (n_antenna, 2 pol, n_coarse * n_fine) factors s of the inputs: V becomes V s_ip conj(s_jq). data null: 1
  View<const std::complex<float>, 3> factors;
};

// out (n_rows, n_plane, n_time, n_coarse * n_fine), channels contiguous. With 4 planes: |V'| of XX, XY, YX,
// YY; with 8: real and imaginary part of each. Missing chunks are 0.

// file_row (n_rows) ascending: the row's baseline in the file.
void rfi_read_mwax(const RfiInput& in, View<const int64_t, 1> file_row, View<float, 4> out, int threads);

// product, conjugated (n_rows, 4): which complex number of a channel of n_slot inputs, and whether to
// conjugate it; van_vleck_samples: of a visibility, 0: no Van Vleck correction. With 4 planes, without this
// correction and from files that are not compressed, of each channel only what holds the products is read.
void rfi_read_legacy(const RfiInput& in, int64_t n_slot, View<const int32_t, 2> product,
                     View<const uint8_t, 2> conjugated, double van_vleck_samples, View<float, 4> out,
                     int threads);

// The 4 planes of visibilities in memory, vis (n_rows, n_time, n_chan, 4).
void rfi_amplitudes(View<const std::complex<float>, 4> vis, View<float, 4> out, int threads);

// Sets bits of a mask (n_time, n_coarse, n_rows_of_mask, ceil(n_fine / 8)) where found (n, n_time, n_coarse *
// n_fine) is 1; row (n): which row of the mask each is, no two the same. Returns how many are 1.
int64_t rfi_set_bits(View<const uint8_t, 3> found, View<const int64_t, 1> row, int64_t n_fine,
                     View<uint8_t, 4> mask, int threads);

}  // namespace mwaconvert
