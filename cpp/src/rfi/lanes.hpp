// Sixteen lines side by side, as the machine has them: `Narrow` for any, `Wide` for one register of 64 bytes
// and comparisons to bits. Kernels are templates over these; integers are exact, so both decide the same.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "mwaconvert/base/simd.hpp"
#include "wide.hpp"
#if MWACONVERT_HAS_WIDE
#include <immintrin.h>  // declares the builtins
#endif

namespace mwaconvert {

struct Narrow {
  using Ints = i16;
  using Floats = f16;
  using Mask = i16;  // -1 or 0

  static MWACONVERT_INLINE Ints load(const int32_t* p) {
    return as_bits(load16(reinterpret_cast<const float*>(p)));
  }
  static MWACONVERT_INLINE Floats load(const float* p) { return load16(p); }
  static MWACONVERT_INLINE void store(int32_t* p, Ints v) {
    store16(reinterpret_cast<float*>(p), as_floats(v));
  }
  static MWACONVERT_INLINE void store(float* p, Floats v) { store16(p, v); }
  static MWACONVERT_INLINE Ints zero() { return mwaconvert::all(0); }
  static MWACONVERT_INLINE Ints all(int32_t v) { return mwaconvert::all(v); }
  static MWACONVERT_INLINE Floats same(float v) { return mwaconvert::all(v); }
  static MWACONVERT_INLINE Ints add(Ints x, Ints y) { return {x.a + y.a, x.b + y.b}; }
  static MWACONVERT_INLINE Floats add(Floats x, Floats y) { return x + y; }
  static MWACONVERT_INLINE Ints subtract(Ints x, Ints y) { return x - y; }
  static MWACONVERT_INLINE Floats subtract(Floats x, Floats y) { return x - y; }
  static MWACONVERT_INLINE Floats multiply(Floats x, Floats y) { return x * y; }
  static MWACONVERT_INLINE Floats divide(Floats x, Floats y) { return x / y; }
  static MWACONVERT_INLINE Ints size(Ints v) { return {v.a < 0 ? -v.a : v.a, v.b < 0 ? -v.b : v.b}; }
  static MWACONVERT_INLINE Floats size(Floats v) { return absolute(v); }
  static MWACONVERT_INLINE Ints larger(Ints x, Ints y) {
    return {x.a > y.a ? x.a : y.a, x.b > y.b ? x.b : y.b};
  }
  static MWACONVERT_INLINE Floats larger(Floats x, Floats y) { return mwaconvert::larger(x, y); }
  static MWACONVERT_INLINE Floats clip(Floats v, Floats low, Floats high) {
    return smaller(mwaconvert::larger(v, low), high);
  }
  static MWACONVERT_INLINE Floats to_floats(Ints v) {
    return {__builtin_convertvector(v.a, f8), __builtin_convertvector(v.b, f8)};
  }
  static MWACONVERT_INLINE Ints to_ints(Floats v) {
    return {__builtin_convertvector(v.a, i8), __builtin_convertvector(v.b, i8)};
  }

  static MWACONVERT_INLINE Mask none() { return mwaconvert::all(0); }
  static MWACONVERT_INLINE Mask mask(uint32_t bits) {
    const i8 low = {1, 2, 4, 8, 16, 32, 64, 128}, high = low * 256;
    const i8 v = i8{} + static_cast<int32_t>(bits);
    return {(v & low) == low, (v & high) == high};
  }
  static MWACONVERT_INLINE Mask above(Floats x, Floats y) { return y < x; }  // x > y
  static MWACONVERT_INLINE Mask both(Mask x, Mask y) { return x & y; }
  static MWACONVERT_INLINE Mask either(Mask x, Mask y) { return x | y; }
  static MWACONVERT_INLINE Mask without(Mask x, Mask y) { return {x.a & ~y.a, x.b & ~y.b}; }
  static MWACONVERT_INLINE uint32_t bits(Mask v) {
#ifdef __SSE__
    const auto four = [](i4 w) __attribute__((always_inline)) {
      return static_cast<uint32_t>(__builtin_ia32_movmskps(reinterpret_cast<f4>(w)));
    };
    const i4 a = __builtin_shufflevector(v.a, v.a, 0, 1, 2, 3),
             b = __builtin_shufflevector(v.a, v.a, 4, 5, 6, 7);
    const i4 c = __builtin_shufflevector(v.b, v.b, 0, 1, 2, 3),
             d = __builtin_shufflevector(v.b, v.b, 4, 5, 6, 7);
    return four(a) | four(b) << 4 | four(c) << 8 | four(d) << 12;
#else
    return bits_of(narrow(v));
#endif
  }
  static MWACONVERT_INLINE Ints only(Mask where, Ints v) { return v & where; }
  static MWACONVERT_INLINE Floats only(Mask where, Floats v) { return or_zero(where, v); }
  static MWACONVERT_INLINE Floats choose(Mask where, Floats x, Floats y) { return select(where, x, y); }
  static MWACONVERT_INLINE Ints increase(Ints v, Mask where) { return v - where; }
  static MWACONVERT_INLINE Ints decrease(Ints v, Mask where) { return add(v, where); }
  // Writes some lanes one after the other, and then whatever, 16 in all; returns their number.
  static MWACONVERT_INLINE int64_t append(Mask where, Floats v, float* out) {
    uint32_t rest = bits(where);
    if (rest == 0) return 0;
    float lane[kLanes];
    store16(lane, v);
    int64_t n = 0;
    for (; rest; rest &= rest - 1) out[n++] = lane[std::countr_zero(rest)];
    return n;
  }
};

#if MWACONVERT_HAS_WIDE
struct Wide {
  typedef int32_t Ints __attribute__((vector_size(64)));
  typedef float Floats __attribute__((vector_size(64)));
  typedef int32_t LooseInts __attribute__((vector_size(64), aligned(4), may_alias));
  typedef float LooseFloats __attribute__((vector_size(64), aligned(4), may_alias));
  using Mask = uint16_t;

  static MWACONVERT_INLINE Ints load(const int32_t* p) { return *reinterpret_cast<const LooseInts*>(p); }
  static MWACONVERT_INLINE Floats load(const float* p) { return *reinterpret_cast<const LooseFloats*>(p); }
  static MWACONVERT_INLINE void store(int32_t* p, Ints v) { *reinterpret_cast<LooseInts*>(p) = v; }
  static MWACONVERT_INLINE void store(float* p, Floats v) { *reinterpret_cast<LooseFloats*>(p) = v; }
  static MWACONVERT_INLINE Ints zero() { return Ints{}; }
  static MWACONVERT_INLINE Ints all(int32_t v) { return Ints{} + v; }
  static MWACONVERT_INLINE Floats same(float v) { return Floats{} + v; }
  static MWACONVERT_INLINE Ints add(Ints x, Ints y) { return x + y; }
  static MWACONVERT_INLINE Floats add(Floats x, Floats y) { return x + y; }
  static MWACONVERT_INLINE Ints subtract(Ints x, Ints y) { return x - y; }
  static MWACONVERT_INLINE Floats subtract(Floats x, Floats y) { return x - y; }
  static MWACONVERT_INLINE Floats multiply(Floats x, Floats y) { return x * y; }
  static MWACONVERT_INLINE Floats divide(Floats x, Floats y) { return x / y; }
  static MWACONVERT_INLINE Ints size(Ints v) { return v < 0 ? -v : v; }
  static MWACONVERT_INLINE Floats size(Floats v) {
    return reinterpret_cast<Floats>(reinterpret_cast<Ints>(v) & 0x7fffffff);
  }
  static MWACONVERT_INLINE Ints larger(Ints x, Ints y) { return x > y ? x : y; }
  static MWACONVERT_INLINE Floats larger(Floats x, Floats y) { return x < y ? y : x; }
  static MWACONVERT_INLINE Floats clip(Floats v, Floats low, Floats high) {
    const Floats x = v < low ? low : v;
    return x < high ? x : high;
  }
  static MWACONVERT_INLINE Floats to_floats(Ints v) { return __builtin_convertvector(v, Floats); }
  static MWACONVERT_INLINE Ints to_ints(Floats v) { return __builtin_convertvector(v, Ints); }

  static MWACONVERT_INLINE Mask none() { return 0; }
  static MWACONVERT_INLINE Mask mask(uint32_t bits) { return static_cast<Mask>(bits); }
  static MWACONVERT_INLINE Mask above(Floats x, Floats y) {
    constexpr int kGreater = 30, kAnyLane = -1, kRounding = 4;
    return static_cast<Mask>(__builtin_ia32_cmpps512_mask(
        reinterpret_cast<__v16sf>(x), reinterpret_cast<__v16sf>(y), kGreater, kAnyLane, kRounding));
  }
  static MWACONVERT_INLINE Mask both(Mask x, Mask y) { return static_cast<Mask>(x & y); }
  static MWACONVERT_INLINE Mask either(Mask x, Mask y) { return static_cast<Mask>(x | y); }
  static MWACONVERT_INLINE Mask without(Mask x, Mask y) { return static_cast<Mask>(x & ~y); }
  static MWACONVERT_INLINE uint32_t bits(Mask v) { return v; }
  static MWACONVERT_INLINE Ints only(Mask where, Ints v) {
    return reinterpret_cast<Ints>(
        __builtin_ia32_blendmd_512_mask(__v16si{}, reinterpret_cast<__v16si>(v), where));
  }
  static MWACONVERT_INLINE Floats choose(Mask where, Floats x, Floats y) {
    return reinterpret_cast<Floats>(
        __builtin_ia32_blendmps_512_mask(reinterpret_cast<__v16sf>(y), reinterpret_cast<__v16sf>(x), where));
  }
  static MWACONVERT_INLINE Floats only(Mask where, Floats v) { return choose(where, v, Floats{}); }
  static MWACONVERT_INLINE Ints increase(Ints v, Mask where) {
    const auto w = reinterpret_cast<__v16si>(v);
    return reinterpret_cast<Ints>(__builtin_ia32_paddd512_mask(w, __v16si{} + 1, w, where));
  }
  static MWACONVERT_INLINE Ints decrease(Ints v, Mask where) {
    const auto w = reinterpret_cast<__v16si>(v);
    return reinterpret_cast<Ints>(__builtin_ia32_psubd512_mask(w, __v16si{} + 1, w, where));
  }
  static MWACONVERT_INLINE int64_t append(Mask where, Floats v, float* out) {
    store(out, reinterpret_cast<Floats>(
                   __builtin_ia32_compresssf512_mask(reinterpret_cast<__v16sf>(v), __v16sf{}, where)));
    return std::popcount(where);
  }
};
#endif

// Defines function `name` as kernel<Narrow> or kernel<Wide>, whichever suits the machine.
// NOLINTBEGIN(bugprone-macro-parentheses): types and parameter lists
#if MWACONVERT_HAS_WIDE
#define MWACONVERT_TWICE(type, name, kernel, parameters, arguments) \
  MWACONVERT_CLONES type name##_narrow parameters {                 \
    return kernel<Narrow> arguments;                                \
  }                                                                 \
  MWACONVERT_WIDE type name##_wide parameters {                     \
    return kernel<Wide> arguments;                                  \
  }                                                                 \
  inline type name parameters {                                     \
    static const bool wide = wide_registers();                      \
    return wide ? name##_wide arguments : name##_narrow arguments;  \
  }
#else
#define MWACONVERT_TWICE(type, name, kernel, parameters, arguments) \
  MWACONVERT_CLONES type name parameters {                          \
    return kernel<Narrow> arguments;                                \
  }
#endif

// NOLINTEND(bugprone-macro-parentheses)

// Added up in the same order, whatever the lanes are.
template <typename V>
MWACONVERT_INLINE double sum_of_lanes(typename V::Floats v) {
  float lane[16];
  V::store(lane, v);
  double s[8];
  for (int k = 0; k < 8; ++k) s[k] = lane[k] + lane[k + 8];
  for (int half = 4; half > 0; half /= 2)
    for (int k = 0; k < half; ++k) s[k] += s[k + half];
  return s[0];
}

template <typename V>
MWACONVERT_INLINE int64_t sum_of_lanes(typename V::Ints v) {
  int32_t lane[16], s = 0;
  V::store(lane, v);
  for (int k = 0; k < 16; ++k) s += lane[k];
  return s;
}

// Calls visit(k, bits of columns [k, k + 16) of n that are not set in a row of bits), k = 0, 16, ...
template <typename Visit>
MWACONVERT_INLINE void for_each_unset(const uint64_t* row, int64_t n, Visit visit) {
  for (int64_t k = 0; k < n;) {
    uint64_t unset = ~row[k >> 6];
    if (n - k < 64) unset &= (uint64_t{1} << (n - k)) - 1;
    for (const int64_t end = std::min(n, k + 64); k < end; k += 16, unset >>= 16)
      visit(k, static_cast<uint32_t>(unset & 0xffff));
  }
}

}  // namespace mwaconvert
