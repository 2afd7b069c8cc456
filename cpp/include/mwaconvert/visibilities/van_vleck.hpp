// Van Vleck correction: what the correlator of a coarse quantiser measures into what it would have measured
// of unquantised signals. The legacy correlator's inputs had 15 levels, -7 .. 7.
//
// With S samples in a visibility, an input of standard deviation sigma (in quantiser steps) and a pair of
// correlation rho give
//   auto / S  = 49 - sum_{k=0..6} (2k+1) erf((k+1/2) / (sigma sqrt 2))
//   cross / S = K(rho) = sum_{n=1,3,5..} c_n(sigma_1) c_n(sigma_2) rho^n / n!      real and imaginary part
//   alike c_n(sigma) = sqrt(2/pi) sum_{a=0..6} He_{n-1}(x_a) exp(-x_a^2/2), x_a = (a+1/2)/sigma
// He_n: probabilists' Hermite polynomials. These are solved for sigma and rho; the corrected values are S
// sigma^2 and S rho sigma_1 sigma_2. The series is Mehler's form of the integral of Benkevitch et al. 2016
// (arXiv:1608.04367), which takes over where the correlation is so large that the series wants many terms.
#pragma once

#include <complex>
#include <cstdint>

#include "mwaconvert/base/view.hpp"

namespace mwaconvert {

// Standard deviation of an input from its quantised variance auto / S. Where that is below a quarter, or no
// quantiser of 15 levels could have measured it, the answer is 0: such inputs are not corrected.
double van_vleck_sigma(double variance);

// Correlation from cross / S = k of inputs with standard deviations sigma1, sigma2.
double van_vleck_correlation(double k, double sigma1, double sigma2);

// Corrects one channel of a legacy file in place: all products [slot antenna][slot antenna <= it][P][Q], the
// autocorrelations among them. Big-endian floats become native ones. Of pairs with an input that is not
// corrected, only the other input's part is. Values that are not finite stay as they are.
void van_vleck_channel(float* products, bool big_endian, int64_t n_slot_antenna, double samples);

// The same for (n_channel, n_product) native values.
void van_vleck_channels(View<std::complex<float>, 2> products, int64_t n_slot, double samples, int threads);

}  // namespace mwaconvert
