// Sixteen floats as two registers of eight: enough work in flight to hide latencies, and comparisons that GCC
// translates well (those of 64-byte vectors it takes apart, even for AVX-512).
#pragma once

#include <cstdint>
#include <cstring>

#include "mwaconvert/base/vector.hpp"

namespace mwaconvert {

typedef uint8_t bytes8 __attribute__((vector_size(8)));

constexpr int64_t kLanes = 16;

struct f16 {
  f8 a, b;
};
struct i16 {  // integers, or the result of a comparison: -1 or 0
  i8 a, b;
};

MWACONVERT_INLINE f16 load16(const float* p) {
  return {load(p), load(p + 8)};
}
MWACONVERT_INLINE void store16(float* p, f16 v) {
  store(p, v.a);
  store(p + 8, v.b);
}
MWACONVERT_INLINE f16 all(float v) {
  const f8 w = f8{} + v;
  return {w, w};
}
MWACONVERT_INLINE i16 all(int32_t v) {
  const i8 w = i8{} + v;
  return {w, w};
}
MWACONVERT_INLINE f16 operator+(f16 x, f16 y) {
  return {x.a + y.a, x.b + y.b};
}
MWACONVERT_INLINE f16 operator-(f16 x, f16 y) {
  return {x.a - y.a, x.b - y.b};
}
MWACONVERT_INLINE f16 operator*(f16 x, f16 y) {
  return {x.a * y.a, x.b * y.b};
}
MWACONVERT_INLINE f16 operator/(f16 x, f16 y) {
  return {x.a / y.a, x.b / y.b};
}
MWACONVERT_INLINE i16 operator<(f16 x, f16 y) {
  return {x.a < y.a, x.b < y.b};
}
MWACONVERT_INLINE i16 operator<=(f16 x, f16 y) {
  return {x.a <= y.a, x.b <= y.b};
}
MWACONVERT_INLINE i16 operator==(i16 x, i16 y) {
  return {x.a == y.a, x.b == y.b};
}
MWACONVERT_INLINE i16 operator-(i16 x, i16 y) {
  return {x.a - y.a, x.b - y.b};
}
MWACONVERT_INLINE i16 operator&(i16 x, i16 y) {
  return {x.a & y.a, x.b & y.b};
}
MWACONVERT_INLINE i16 operator|(i16 x, i16 y) {
  return {x.a | y.a, x.b | y.b};
}
MWACONVERT_INLINE f16 as_floats(i16 v) {
  return {reinterpret_cast<f8>(v.a), reinterpret_cast<f8>(v.b)};
}
MWACONVERT_INLINE i16 as_bits(f16 v) {
  return {reinterpret_cast<i8>(v.a), reinterpret_cast<i8>(v.b)};
}
MWACONVERT_INLINE f16 select(i16 where, f16 x, f16 y) {
  return {where.a ? x.a : y.a, where.b ? x.b : y.b};
}
MWACONVERT_INLINE f16 or_zero(i16 where, f16 x) {
  return as_floats(where & as_bits(x));
}
MWACONVERT_INLINE f16 smaller(f16 x, f16 y) {
  return select(x < y, x, y);
}
MWACONVERT_INLINE f16 larger(f16 x, f16 y) {
  return select(x < y, y, x);
}
MWACONVERT_INLINE f16 absolute(f16 v) {
  return as_floats(as_bits(v) & all(0x7fffffff));
}
MWACONVERT_INLINE i16 widen(bytes16 v) {
  const bytes8 low = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7);
  const bytes8 high = __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
  return {__builtin_convertvector(low, i8), __builtin_convertvector(high, i8)};
}
MWACONVERT_INLINE bytes16 narrow(i16 v) {
  const bytes8 low = __builtin_convertvector(v.a, bytes8), high = __builtin_convertvector(v.b, bytes8);
  return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}
// Bit l is set where byte l is: bytes are 0 or 255.
MWACONVERT_INLINE uint32_t bits_of(bytes16 v) {
#ifdef __SSE2__
  typedef char signed_bytes __attribute__((vector_size(16)));
  return static_cast<uint32_t>(__builtin_ia32_pmovmskb128(reinterpret_cast<signed_bytes>(v)));
#else
  uint64_t half[2];
  std::memcpy(half, &v, 16);
  const uint64_t one = 0x0101010101010101, gather = 0x0102040810204080;
  return static_cast<uint32_t>((half[0] & one) * gather >> 56 | ((half[1] & one) * gather >> 56) << 8);
#endif
}
// The first n lanes.
MWACONVERT_INLINE i16 first_lanes(int64_t n) {
  const i8 low = {0, 1, 2, 3, 4, 5, 6, 7};
  const int32_t end = static_cast<int32_t>(n);
  return {low < end, low < end - 8};
}
MWACONVERT_INLINE float largest_of_16(const float* lane) {
  const f8 a = load(lane), b = load(lane + 8), x = a < b ? b : a;
  const f4 c = __builtin_shufflevector(x, x, 0, 1, 2, 3), d = __builtin_shufflevector(x, x, 4, 5, 6, 7);
  const f4 y = c < d ? d : c, turned = __builtin_shufflevector(y, y, 2, 3, 0, 1);
  const f4 z = y < turned ? turned : y;
  return z[0] < z[1] ? z[1] : z[0];
}
MWACONVERT_INLINE double sum(f16 v) {
  const f8 w = v.a + v.b;
  double s = 0;
  for (int k = 0; k < 8; ++k) s += w[k];
  return s;
}
MWACONVERT_INLINE int64_t sum(i16 v) {
  const i8 w = v.a + v.b;
  int64_t s = 0;
  for (int k = 0; k < 8; ++k) s += w[k];
  return s;
}
MWACONVERT_INLINE bool any(i16 v) {
  const i8 w = v.a | v.b;
  int32_t found = 0;
  for (int k = 0; k < 8; ++k) found |= w[k];
  return found != 0;
}

}  // namespace mwaconvert
