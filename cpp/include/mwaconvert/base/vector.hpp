// A register of eight floats: one cell, that is four complex values (re, im) of one baseline and channel.
// GCC and clang vector types, so that each copy made by MWACONVERT_CLONES uses its own instructions.
#pragma once

#include <complex>
#include <cstdint>
#include <cstring>

#include "mwaconvert/base/simd.hpp"

namespace mwaconvert {

typedef float f8 __attribute__((vector_size(32)));
typedef float f4 __attribute__((vector_size(16)));
typedef int32_t i8 __attribute__((vector_size(32)));
typedef int32_t i4 __attribute__((vector_size(16)));
typedef uint8_t bytes32 __attribute__((vector_size(32)));
typedef uint8_t bytes16 __attribute__((vector_size(16)));
typedef float f8_loose __attribute__((vector_size(32), aligned(4), may_alias));
typedef float f4_loose __attribute__((vector_size(16), aligned(4), may_alias));
typedef uint8_t bytes32_loose __attribute__((vector_size(32), aligned(1), may_alias));
typedef uint8_t bytes16_loose __attribute__((vector_size(16), aligned(1), may_alias));

// Any alignment.
MWACONVERT_INLINE f8 load(const void* p) {
  return *static_cast<const f8_loose*>(p);
}
MWACONVERT_INLINE f4 load4(const void* p) {
  return *static_cast<const f4_loose*>(p);
}
MWACONVERT_INLINE void store(void* p, f8 v) {
  *static_cast<f8_loose*>(p) = v;
}
MWACONVERT_INLINE void store(void* p, f4 v) {
  *static_cast<f4_loose*>(p) = v;
}

// Four complex values from four places.
MWACONVERT_INLINE f8 gather(const std::complex<float>* p, const int32_t (&index)[4]) {
  typedef double d4 __attribute__((vector_size(32)));
  typedef double double_loose __attribute__((aligned(4), may_alias));
  const double_loose* pairs = reinterpret_cast<const double_loose*>(p);
  return reinterpret_cast<f8>(d4{pairs[index[0]], pairs[index[1]], pairs[index[2]], pairs[index[3]]});
}

// Eight big-endian words to native order.
MWACONVERT_INLINE f8 load_big_endian(const void* p) {
  const bytes32 b = *static_cast<const bytes32_loose*>(p);
  return reinterpret_cast<f8>(__builtin_shufflevector(b, b, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13,
                                                      12, 19, 18, 17, 16, 23, 22, 21, 20, 27, 26, 25, 24, 31,
                                                      30, 29, 28));
}

MWACONVERT_INLINE f4 load4_big_endian(const void* p) {
  const bytes16 b = *static_cast<const bytes16_loose*>(p);
  return reinterpret_cast<f4>(
      __builtin_shufflevector(b, b, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12));
}

MWACONVERT_INLINE f8 real_parts(f8 v) {
  return __builtin_shufflevector(v, v, 0, 0, 2, 2, 4, 4, 6, 6);
}
MWACONVERT_INLINE f8 imag_parts(f8 v) {
  return __builtin_shufflevector(v, v, 1, 1, 3, 3, 5, 5, 7, 7);
}
// i * v
MWACONVERT_INLINE f8 times_i(f8 v) {
  const f8 sign = {-1, 1, -1, 1, -1, 1, -1, 1};
  return __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6) * sign;
}
MWACONVERT_INLINE f8 conjugate(f8 v) {
  const f8 sign = {1, -1, 1, -1, 1, -1, 1, -1};
  return v * sign;
}
// Complex product, element by element.
MWACONVERT_INLINE f8 multiply(f8 a, f8 b) {
  return real_parts(a) * b + imag_parts(a) * times_i(b);
}

// (x, x, y, y) and (x, y, x, y) of two complex numbers that lie side by side: the polarisations of the first
// and of the second antenna of the products XX, XY, YX, YY.
MWACONVERT_INLINE f8 first_antenna(const std::complex<float>* xy) {
  const f4 v = *reinterpret_cast<const f4_loose*>(xy);
  return __builtin_shufflevector(v, v, 0, 1, 0, 1, 2, 3, 2, 3);
}
MWACONVERT_INLINE f8 second_antenna(const std::complex<float>* xy) {
  const f4 v = *reinterpret_cast<const f4_loose*>(xy);
  return __builtin_shufflevector(v, v, 0, 1, 2, 3, 0, 1, 2, 3);
}

// J1 V J2^H of a cell V and two matrices, all four complex numbers row by row.
MWACONVERT_INLINE f8 jones_product(const std::complex<float>* j1, f8 v, const std::complex<float>* j2) {
  const f8 a = load(j1), b = load(j2), iv = times_i(v), sign = {1, -1, 1, -1, 1, -1, 1, -1};
  const f8 u = __builtin_shufflevector(a, a, 0, 0, 0, 0, 4, 4, 4, 4) *
                   __builtin_shufflevector(v, v, 0, 1, 2, 3, 0, 1, 2, 3) +
               __builtin_shufflevector(a, a, 1, 1, 1, 1, 5, 5, 5, 5) *
                   __builtin_shufflevector(iv, iv, 0, 1, 2, 3, 0, 1, 2, 3) +
               __builtin_shufflevector(a, a, 2, 2, 2, 2, 6, 6, 6, 6) *
                   __builtin_shufflevector(v, v, 4, 5, 6, 7, 4, 5, 6, 7) +
               __builtin_shufflevector(a, a, 3, 3, 3, 3, 7, 7, 7, 7) *
                   __builtin_shufflevector(iv, iv, 4, 5, 6, 7, 4, 5, 6, 7);
  // i conj(b) is b with its parts swapped
  return __builtin_shufflevector(u, u, 0, 0, 0, 0, 4, 4, 4, 4) *
             (__builtin_shufflevector(b, b, 0, 1, 4, 5, 0, 1, 4, 5) * sign) +
         __builtin_shufflevector(u, u, 1, 1, 1, 1, 5, 5, 5, 5) *
             __builtin_shufflevector(b, b, 1, 0, 5, 4, 1, 0, 5, 4) +
         __builtin_shufflevector(u, u, 2, 2, 2, 2, 6, 6, 6, 6) *
             (__builtin_shufflevector(b, b, 2, 3, 6, 7, 2, 3, 6, 7) * sign) +
         __builtin_shufflevector(u, u, 3, 3, 3, 3, 7, 7, 7, 7) *
             __builtin_shufflevector(b, b, 3, 2, 7, 6, 3, 2, 7, 6);
}

// (a, a, b, b, c, c, d, d): what multiplies the real and the imaginary part.
MWACONVERT_INLINE f8 twice(f4 v) {
  return __builtin_shufflevector(v, v, 0, 0, 1, 1, 2, 2, 3, 3);
}

// Of the result of a comparison.
MWACONVERT_INLINE bool all_true(i8 v) {
  int32_t all = -1;
  for (int k = 0; k < 8; ++k) all &= v[k];
  return all != 0;
}

// True if all eight are finite.
MWACONVERT_INLINE bool all_finite(f8 v) {
  const f8 zero = v - v;  // NaN for NaN and for infinities
  return all_true(zero == zero);
}

}  // namespace mwaconvert
