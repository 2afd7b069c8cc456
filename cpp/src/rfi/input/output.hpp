// What the readers of the two correlators share: images out of planes of real and imaginary parts.
#pragma once

#include <array>
#include <complex>
#include <cstdint>
#include <vector>

#include "mwaconvert/base/constants.hpp"
#include "mwaconvert/rfi/input.hpp"

namespace mwaconvert {

// Complex numbers of a channel of a legacy file.
inline int64_t products_of(int64_t n_slot) {
  return n_slot / 2 * (n_slot / 2 + 1) * 2;
}

// out = |v|, of n contiguous values.
void amplitudes_of(const std::complex<float>* v, int64_t n, float* out);

// rfi_read_legacy with 4 planes.
void read_legacy_amplitudes(const RfiInput& in, int64_t n_slot, View<const int32_t, 2> product,
                            double van_vleck_samples, View<float, 4> out, int threads);

// Zeros in all images of n channels of a timestep.
void clear(View<float, 4> out, int64_t t, int64_t channel, int64_t n);

// Turns planes of real and imaginary parts into what is asked for.
class Output {
 public:
  Output(const RfiInput& in, View<float, 4> out);

  // planes: 2 * kProducts of n channels, from `channel` on; the first kProducts pairs (re, im).
  void write(int64_t row, int64_t t, int64_t channel, int64_t n, const float* const* planes) const;

  // powers: of the products, of n channels, which become the amplitudes; for planes of these.
  void write_roots(int64_t row, int64_t t, int64_t channel, int64_t n, float* const* powers) const;

  void clear(int64_t t, int64_t channel, int64_t n) const { mwaconvert::clear(out_, t, channel, n); }

 private:
  const float* size(int64_t antenna, int pol, int64_t channel) const {
    return sizes_.data() + (2 * antenna + pol) * in_.factors.shape[2] + channel;
  }

  const RfiInput& in_;
  const View<float, 4> out_;
  std::vector<float> sizes_;
};

struct Planes {
  std::vector<float> memory;
  std::array<float*, 2 * kProducts> plane;

  void reset(int64_t n) {
    memory.resize(2 * kProducts * n);
    for (int64_t k = 0; k < 2 * kProducts; ++k) plane[k] = memory.data() + k * n;
  }
};

}  // namespace mwaconvert
