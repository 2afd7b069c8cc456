// Coherent dedispersion of complex voltages.
#pragma once

#include <complex>

#include "mwaconvert/base/view.hpp"

namespace mwaconvert {

struct Chirp {
  double rate_mhz;  // width of a channel, which is its number of samples per microsecond
  double k_dm;      // dispersion constant times DM, MHz^2 s
  int sideband;     // -1 where frequencies run backwards within channels
  int64_t n_fft;    // samples of a segment: a power of two, 2^12 to 2^30
  int64_t before;   // samples of a segment that are lost at its beginning,
  int64_t after;    // and at its end
};

// Multiplies the spectra of overlapping segments by exp(-2 pi i K DM f^2 / ((f0 + f) f0^2)) (Lorimer & Kramer
// 2004, eq. 5.17), f from the centre f0 of the channel.
// data (n_input, n_chan, n_samp), freqs (n_chan) MHz, out (n_input, n_chan, n_samp - before - after)
// In single precision: errors (rms) are 3e-7 of the voltages. Throws InputError for
// lengths that do not fit and for values that are not finite. Needs n_fft * 8 bytes for each thread.
void dedisperse_coherent(View<const std::complex<float>, 3> data, View<const double, 1> freqs,
                         const Chirp& chirp, View<std::complex<float>, 3> out, int threads);

}  // namespace mwaconvert
