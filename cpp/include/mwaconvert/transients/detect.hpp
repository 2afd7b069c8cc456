// Power of the voltages of tiles, summed over inputs.
#pragma once

#include <cstdint>

#include "mwaconvert/base/view.hpp"

namespace mwaconvert {

// power(s, f) = sum over the inputs i of `used` of |sum over k of v(i, s * n_fine + k) exp(-2 pi j f k /
// n_fine)|^2, n_fine = power.shape[1]. volts (n_input, n_samp, 2) real and imaginary parts, n_samp =
// n_spectrum * n_fine; used (n_used) rows of volts, added in their order. Results do not depend on threads.
void detect_channels(View<const int8_t, 3> volts, View<const int32_t, 1> used, View<float, 2> power,
                     int threads);

// power(r) = sum over the inputs i with used(i) = 255 of re^2 + im^2 of volts(r, i), whose high 4 bits are
// the real and whose low 4 bits the imaginary part, as two's complements. volts (n_row, n_input); used
// (n_input) 0 or 255.
void detect_nibbles(View<const uint8_t, 2> volts, View<const uint8_t, 1> used, View<uint32_t, 1> power,
                    int threads);

}  // namespace mwaconvert
