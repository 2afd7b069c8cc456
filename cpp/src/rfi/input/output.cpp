#include "output.hpp"

#include <algorithm>

#include "mwaconvert/base/past_cache.hpp"
#include "mwaconvert/base/simd.hpp"

namespace mwaconvert {
namespace {

MWACONVERT_CLONES
void amplitudes(const float* re, const float* im, int64_t n, float* out) {
  for (int64_t k = 0; k < n; ++k) out[k] = __builtin_sqrtf(re[k] * re[k] + im[k] * im[k]);
}

MWACONVERT_CLONES
void take_roots(int64_t n, float* v) {
  for (int64_t k = 0; k < n; ++k) v[k] = __builtin_sqrtf(v[k]);
}

MWACONVERT_CLONES
void take_scaled_roots(const float* a, const float* b, int64_t n, float* v) {
  for (int64_t k = 0; k < n; ++k) v[k] = __builtin_sqrtf(v[k]) * (a[k] * b[k]);
}

MWACONVERT_CLONES
void multiply_sizes(const float* a, const float* b, int64_t n, float* out) {
  for (int64_t k = 0; k < n; ++k) out[k] *= a[k] * b[k];
}

// out = s conj(u) (re + i im)
MWACONVERT_CLONES
void multiply_planes(const std::complex<float>* s, const std::complex<float>* u, const float* re,
                     const float* im, int64_t n, float* out_re, float* out_im) {
  const float *a = reinterpret_cast<const float*>(s), *b = reinterpret_cast<const float*>(u);
  for (int64_t k = 0; k < n; ++k) {
    const float x = a[2 * k] * b[2 * k] + a[2 * k + 1] * b[2 * k + 1];
    const float y = a[2 * k + 1] * b[2 * k] - a[2 * k] * b[2 * k + 1];
    out_re[k] = x * re[k] - y * im[k];
    out_im[k] = x * im[k] + y * re[k];
  }
}

}  // namespace

MWACONVERT_CLONES
void amplitudes_of(const std::complex<float>* v, int64_t n, float* out) {
  const float* parts = reinterpret_cast<const float*>(v);
  for (int64_t k = 0; k < n; ++k)
    out[k] = __builtin_sqrtf(parts[2 * k] * parts[2 * k] + parts[2 * k + 1] * parts[2 * k + 1]);
}

void clear(View<float, 4> out, int64_t t, int64_t channel, int64_t n) {
  for (int64_t row = 0; row < out.shape[0]; ++row)
    for (int64_t p = 0; p < out.shape[1]; ++p) std::fill_n(&out(row, p, t, channel), n, 0.0f);
}

Output::Output(const RfiInput& in, View<float, 4> out) : in_(in), out_(out) {
  if (!in.factors.data || out.shape[1] != kProducts) return;
  const auto& s = in.factors;
  sizes_.resize(s.size());
  amplitudes_of(s.data, s.size(), sizes_.data());  // contiguous
}

void Output::write(int64_t row, int64_t t, int64_t channel, int64_t n, const float* const* planes) const {
  for (int p = 0; p < kProducts; ++p) {
    const float *re = planes[2 * p], *im = planes[2 * p + 1];
    if (out_.shape[1] == kProducts) {
      float* out = &out_(row, p, t, channel);
      amplitudes(re, im, n, out);
      if (!sizes_.empty())
        multiply_sizes(size(in_.antenna1(row), p / 2, channel), size(in_.antenna2(row), p % 2, channel), n,
                       out);
    } else if (in_.factors.data) {
      multiply_planes(&in_.factors(in_.antenna1(row), p / 2, channel),
                      &in_.factors(in_.antenna2(row), p % 2, channel), re, im, n,
                      &out_(row, 2 * p, t, channel), &out_(row, 2 * p + 1, t, channel));
    } else {
      std::copy_n(re, n, &out_(row, 2 * p, t, channel));
      std::copy_n(im, n, &out_(row, 2 * p + 1, t, channel));
    }
  }
}

void Output::write_roots(int64_t row, int64_t t, int64_t channel, int64_t n, float* const* powers) const {
  for (int p = 0; p < kProducts; ++p) {
    if (sizes_.empty())
      take_roots(n, powers[p]);
    else
      take_scaled_roots(size(in_.antenna1(row), p / 2, channel), size(in_.antenna2(row), p % 2, channel), n,
                        powers[p]);
    copy_past_cache(powers[p], n * sizeof(float), &out_(row, p, t, channel));
  }
}

}  // namespace mwaconvert
