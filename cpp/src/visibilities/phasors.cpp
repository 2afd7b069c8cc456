#include "mwaconvert/visibilities/phasors.hpp"

#include <cmath>

#include "mwaconvert/base/constants.hpp"
#include "mwaconvert/base/parallel.hpp"

namespace mwaconvert {
namespace {

std::complex<double> turn(double cycles) {
  // whole turns go first: sin and cos of a large argument are slow and lose digits
  const double angle = -2 * M_PI * (cycles - std::rint(cycles));
  return {std::cos(angle), std::sin(angle)};
}

}  // namespace

void antenna_phasors(View<const double, 2> w_m, View<const double, 1> start_hz, double step_hz,
                     bool by_channel, View<std::complex<float>, 4> out, int threads) {
  const int64_t n_coarse = out.shape[1];
  const int64_t n_column = by_channel ? out.shape[3] : out.shape[2];
  const int64_t n_fine = by_channel ? out.shape[2] : out.shape[3];
  const int64_t column_stride = out.stride[by_channel ? 3 : 2], fine_stride = out.stride[by_channel ? 2 : 3];
  parallel_for(out.shape[0] * n_coarse, threads, [&](int64_t item) {
    const int64_t t = item / n_coarse, c = item % n_coarse;
    for (int64_t a = 0; a < n_column; ++a) {
      const double w = w_m(t, a) / kSpeedOfLight;
      const std::complex<double> step = turn(w * step_hz);
      std::complex<double> z = turn(w * start_hz(c));
      std::complex<float>* p = &out(t, c, 0, 0) + a * column_stride;
      for (int64_t k = 0; k < n_fine; ++k, p += fine_stride) {
        *p = std::complex<float>(static_cast<float>(z.real()), static_cast<float>(z.imag()));
        z = {z.real() * step.real() - z.imag() * step.imag(),
             z.real() * step.imag() + z.imag() * step.real()};
      }
    }
  });
}

}  // namespace mwaconvert
