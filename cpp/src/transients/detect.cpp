#include "mwaconvert/transients/detect.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "mwaconvert/base/parallel.hpp"
#include "mwaconvert/base/simd.hpp"

namespace mwaconvert {
namespace {

constexpr int kLanes = 16;            // spectra that are transformed side by side
constexpr int64_t kRowsAtATime = 64;  // of 4-bit voltages

using f16 = float __attribute__((vector_size(4 * kLanes)));
using b16 = int8_t __attribute__((vector_size(kLanes)));

// In memory: as aligned as allocators make it.
typedef float f16_loose __attribute__((vector_size(4 * kLanes), aligned(16), may_alias));

struct Complex16 {
  f16_loose re, im;
};

struct Real16 {
  f16_loose value;
};

// Transforms of one length, by Stockham's algorithm: after each factor r of the length the sequences are r
// times as many and r times shorter, and lie so that the result is in order.
class Fourier {
 public:
  explicit Fourier(int64_t n) {
    for (int64_t rest = n, stride = 1; rest > 1;) {
      int64_t r = 4;
      if (rest % 4 != 0)
        for (r = 2; rest % r != 0;) ++r;
      Pass pass{r, rest / r, stride, {}, {}};
      for (int64_t p = 0; p < pass.m; ++p)
        for (int64_t j = 0; j < r; ++j) pass.twiddle.push_back(turn(p * j, rest));
      if (r != 2 && r != 4)
        for (int64_t k = 0; k < r * r; ++k) pass.table.push_back(turn(k / r * (k % r), r));
      passes_.push_back(std::move(pass));
      rest /= r;
      stride *= r;
    }
  }

  // x is transformed; work is as long. The result is in the one that is returned.
  Complex16* run(Complex16* x, Complex16* work) const {
    for (const Pass& pass : passes_) {
      step(pass, x, work);
      std::swap(x, work);
    }
    return x;
  }

 private:
  struct Turn {
    float re, im;
  };
  struct Pass {
    int64_t r, m, stride;
    std::vector<Turn> twiddle;  // (m, r)
    std::vector<Turn> table;    // (r, r), of factors without a formula of their own
  };

  static Turn turn(int64_t k, int64_t n) {
    const double angle = -2 * M_PI * static_cast<double>(k % n) / static_cast<double>(n);
    return {static_cast<float>(std::cos(angle)), static_cast<float>(std::sin(angle))};
  }

  static MWACONVERT_INLINE void put(Complex16& to, f16 re, f16 im, Turn w) {
    to.re = re * w.re - im * w.im;
    to.im = re * w.im + im * w.re;
  }

  MWACONVERT_CLONES
  static void step(const Pass& pass, const Complex16* x, Complex16* y) {
    const int64_t m = pass.m, s = pass.stride, r = pass.r;
    for (int64_t p = 0; p < m; ++p) {
      const Turn* w = &pass.twiddle[p * r];
      for (int64_t q = 0; q < s; ++q) {
        const Complex16* in = x + q + s * p;
        Complex16* out = y + q + s * r * p;
        if (r == 4) {
          const Complex16 a = in[0], b = in[s * m], c = in[2 * s * m], d = in[3 * s * m];
          const f16 er = a.re + c.re, ei = a.im + c.im, fr = a.re - c.re, fi = a.im - c.im;
          const f16 gr = b.re + d.re, gi = b.im + d.im, hr = b.im - d.im, hi = d.re - b.re;  // -j (b - d)
          out[0] = {er + gr, ei + gi};
          put(out[s], fr + hr, fi + hi, w[1]);
          put(out[2 * s], er - gr, ei - gi, w[2]);
          put(out[3 * s], fr - hr, fi - hi, w[3]);
        } else if (r == 2) {
          const Complex16 a = in[0], b = in[s * m];
          out[0] = {a.re + b.re, a.im + b.im};
          put(out[s], a.re - b.re, a.im - b.im, w[1]);
        } else {
          for (int64_t j = 0; j < r; ++j) {
            f16 re = {}, im = {};
            for (int64_t k = 0; k < r; ++k) {
              const Turn t = pass.table[j * r + k];
              const Complex16& a = in[k * s * m];
              re += a.re * t.re - a.im * t.im;
              im += a.re * t.im + a.im * t.re;
            }
            put(out[j * s], re, im, w[j]);
          }
        }
      }
    }
  }

  std::vector<Pass> passes_;
};

// Samples of up to kLanes spectra side by side; those that are not there are 0.
MWACONVERT_CLONES
void load_lanes(const int8_t* volts, int64_t n_fine, int lanes, Complex16* x) {
  for (int64_t k = 0; k < n_fine; ++k) {
    b16 re = {}, im = {};
    if (lanes == kLanes) {
      for (int b = 0; b < kLanes; ++b) {
        re[b] = volts[2 * (b * n_fine + k)];
        im[b] = volts[2 * (b * n_fine + k) + 1];
      }
    } else {
      for (int b = 0; b < lanes; ++b) {
        re[b] = volts[2 * (b * n_fine + k)];
        im[b] = volts[2 * (b * n_fine + k) + 1];
      }
    }
    x[k].re = __builtin_convertvector(re, f16);
    x[k].im = __builtin_convertvector(im, f16);
  }
}

MWACONVERT_CLONES
void add_power(const Complex16* x, int64_t n, Real16* power) {
  for (int64_t k = 0; k < n; ++k) power[k].value += x[k].re * x[k].re + x[k].im * x[k].im;
}

MWACONVERT_CLONES
uint32_t nibble_power(const uint8_t* volts, const uint8_t* used, int64_t n) {
  uint32_t sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    const uint8_t x = volts[i] & used[i];
    const int16_t re = static_cast<int8_t>(x) >> 4, im = static_cast<int8_t>(x << 4) >> 4;
    sum += static_cast<uint16_t>(re * re + im * im);
  }
  return sum;
}

}  // namespace

void detect_channels(View<const int8_t, 3> volts, View<const int32_t, 1> used, View<float, 2> power,
                     int threads) {
  const int64_t n_spectrum = power.shape[0], n_fine = power.shape[1];
  const Fourier fourier(n_fine);
  parallel_for((n_spectrum + kLanes - 1) / kLanes, threads, [&](int64_t item) {
    const int64_t first = item * kLanes;
    const int lanes = static_cast<int>(std::min<int64_t>(kLanes, n_spectrum - first));
    std::vector<Complex16> memory(2 * n_fine);
    std::vector<Real16> sum(n_fine, Real16{});
    for (int64_t u = 0; u < used.shape[0]; ++u) {
      load_lanes(&volts(used(u), first * n_fine, 0), n_fine, lanes, memory.data());
      add_power(fourier.run(memory.data(), memory.data() + n_fine), n_fine, sum.data());
    }
    for (int b = 0; b < lanes; ++b)
      for (int64_t k = 0; k < n_fine; ++k) power(first + b, k) = sum[k].value[b];
  });
}

void detect_nibbles(View<const uint8_t, 2> volts, View<const uint8_t, 1> used, View<uint32_t, 1> power,
                    int threads) {
  const int64_t n_row = volts.shape[0];
  parallel_for((n_row + kRowsAtATime - 1) / kRowsAtATime, threads, [&](int64_t item) {
    for (int64_t r = item * kRowsAtATime, end = std::min(n_row, r + kRowsAtATime); r < end; ++r)
      power(r) = nibble_power(&volts(r, 0), used.data, volts.shape[1]);
  });
}

}  // namespace mwaconvert
