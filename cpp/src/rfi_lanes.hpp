// Sixteen lines side by side, as the machine has them: `Narrow` for any, `Wide` for one register of 64 bytes
// and comparisons to bits. Kernels are templates over these; integers are exact, so both decide the same.
#pragma once

#include <cstdint>

#include "mwaconvert/simd.hpp"
#include "mwaconvert/wide.hpp"
#if MWACONVERT_HAS_WIDE
#include <immintrin.h>  // declares the builtins
#endif

namespace mwaconvert {

struct Narrow {
  using Ints = i16;
  using Floats = f16;

  static MWACONVERT_INLINE Ints load(const int32_t* p) { return as_bits(load16(reinterpret_cast<const float*>(p))); }
  static MWACONVERT_INLINE void store(int32_t* p, Ints v) { store16(reinterpret_cast<float*>(p), as_floats(v)); }
  static MWACONVERT_INLINE Floats load(const float* p) { return load16(p); }
  static MWACONVERT_INLINE Ints zero() { return all(0); }
  static MWACONVERT_INLINE Floats same(float v) { return all(v); }
  static MWACONVERT_INLINE Ints add(Ints x, Ints y) { return {x.a + y.a, x.b + y.b}; }
  static MWACONVERT_INLINE Ints subtract(Ints x, Ints y) { return x - y; }
  static MWACONVERT_INLINE Floats multiply(Floats x, Floats y) { return x * y; }
  static MWACONVERT_INLINE Ints size(Ints v) { return {v.a < 0 ? -v.a : v.a, v.b < 0 ? -v.b : v.b}; }
  static MWACONVERT_INLINE Floats size(Floats v) { return absolute(v); }
  static MWACONVERT_INLINE Ints larger(Ints x, Ints y) { return {x.a > y.a ? x.a : y.a, x.b > y.b ? x.b : y.b}; }
  static MWACONVERT_INLINE int32_t largest(Ints v) {
    const i8 w = v.a > v.b ? v.a : v.b;
    int32_t most = w[0];
    for (int l = 1; l < 8; ++l) most = w[l] > most ? w[l] : most;
    return most;
  }
  static MWACONVERT_INLINE Floats to_floats(Ints v) {
    return {__builtin_convertvector(v.a, f8), __builtin_convertvector(v.b, f8)};
  }
  static MWACONVERT_INLINE Ints to_ints(Floats v) {
    return {__builtin_convertvector(v.a, i8), __builtin_convertvector(v.b, i8)};
  }
  // -1 in the lanes whose bit is set
  static MWACONVERT_INLINE Ints lanes(uint32_t bits) {
    const i8 low = {1, 2, 4, 8, 16, 32, 64, 128}, high = low * 256;
    const i8 v = i8{} + static_cast<int32_t>(bits);
    return {(v & low) == low, (v & high) == high};
  }
  static MWACONVERT_INLINE Ints only(uint32_t bits, Ints v) { return v & lanes(bits); }
  static MWACONVERT_INLINE Ints increase(Ints v, uint32_t bits) { return v - lanes(bits); }
  static MWACONVERT_INLINE Ints decrease(Ints v, uint32_t bits) { return add(v, lanes(bits)); }
  // bits of the lanes in which x > y
  static MWACONVERT_INLINE uint32_t above(Floats x, Floats y) { return bits_of(narrow(y < x)); }
};

#if MWACONVERT_HAS_WIDE
struct Wide {
  typedef int32_t Ints __attribute__((vector_size(64)));
  typedef float Floats __attribute__((vector_size(64)));
  typedef int32_t LooseInts __attribute__((vector_size(64), aligned(4), may_alias));
  typedef float LooseFloats __attribute__((vector_size(64), aligned(4), may_alias));

  static MWACONVERT_INLINE Ints load(const int32_t* p) { return *reinterpret_cast<const LooseInts*>(p); }
  static MWACONVERT_INLINE void store(int32_t* p, Ints v) { *reinterpret_cast<LooseInts*>(p) = v; }
  static MWACONVERT_INLINE Floats load(const float* p) { return *reinterpret_cast<const LooseFloats*>(p); }
  static MWACONVERT_INLINE Ints zero() { return Ints{}; }
  static MWACONVERT_INLINE Floats same(float v) { return Floats{} + v; }
  static MWACONVERT_INLINE Ints add(Ints x, Ints y) { return x + y; }
  static MWACONVERT_INLINE Ints subtract(Ints x, Ints y) { return x - y; }
  static MWACONVERT_INLINE Floats multiply(Floats x, Floats y) { return x * y; }
  static MWACONVERT_INLINE Ints size(Ints v) { return v < 0 ? -v : v; }
  static MWACONVERT_INLINE Floats size(Floats v) {
    return reinterpret_cast<Floats>(reinterpret_cast<Ints>(v) & 0x7fffffff);
  }
  static MWACONVERT_INLINE Ints larger(Ints x, Ints y) { return x > y ? x : y; }
  static MWACONVERT_INLINE int32_t largest(Ints v) {
    int32_t most = v[0];
    for (int l = 1; l < 16; ++l) most = v[l] > most ? v[l] : most;
    return most;
  }
  static MWACONVERT_INLINE Floats to_floats(Ints v) { return __builtin_convertvector(v, Floats); }
  static MWACONVERT_INLINE Ints to_ints(Floats v) { return __builtin_convertvector(v, Ints); }
  static MWACONVERT_INLINE Ints only(uint32_t bits, Ints v) {
    return reinterpret_cast<Ints>(__builtin_ia32_paddd512_mask(
        reinterpret_cast<__v16si>(v), __v16si{}, __v16si{}, static_cast<uint16_t>(bits)));
  }
  static MWACONVERT_INLINE Ints increase(Ints v, uint32_t bits) {
    const auto w = reinterpret_cast<__v16si>(v);
    return reinterpret_cast<Ints>(__builtin_ia32_paddd512_mask(w, __v16si{} + 1, w, static_cast<uint16_t>(bits)));
  }
  static MWACONVERT_INLINE Ints decrease(Ints v, uint32_t bits) {
    const auto w = reinterpret_cast<__v16si>(v);
    return reinterpret_cast<Ints>(__builtin_ia32_psubd512_mask(w, __v16si{} + 1, w, static_cast<uint16_t>(bits)));
  }
  static MWACONVERT_INLINE uint32_t above(Floats x, Floats y) {
    constexpr int kGreater = 30, kAnyLane = -1, kRounding = 4;
    return static_cast<uint16_t>(__builtin_ia32_cmpps512_mask(reinterpret_cast<__v16sf>(x),
                                                              reinterpret_cast<__v16sf>(y), kGreater, kAnyLane,
                                                              kRounding));
  }
};
#endif

}  // namespace mwaconvert
