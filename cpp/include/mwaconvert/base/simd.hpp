// Which copies of a kernel are compiled. Instructions by name are in base/past_cache.hpp, raw/rice_wide.cpp,
// rfi/lanes.hpp, transients/{bitshuffle,chunks,unpack}.cpp only.
#pragma once

#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(MWACONVERT_NO_CLONES)

// MWACONVERT_CLONES before a function compiles it for several x86 levels; the loader picks one at start-up.
// It needs ifunc support, so it is empty away from glibc on x86 and under sanitizers.
#define MWACONVERT_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))

// For the few kernels that keep as much as possible in registers, so that they need the machine's own width:
// a copy marked MWACONVERT_WIDE with vectors of 64 bytes for where wide_registers(), and a cloned one with
// vectors of 32.
#define MWACONVERT_WIDE __attribute__((target("arch=x86-64-v4")))
#define MWACONVERT_HAS_WIDE 1
inline bool wide_registers() {
  return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512cd");
}

#else

#define MWACONVERT_CLONES
#define MWACONVERT_WIDE
#define MWACONVERT_HAS_WIDE 0
inline bool wide_registers() {
  return false;
}

#endif

// Into the copy that calls it, whose instructions it then uses.
#define MWACONVERT_INLINE inline __attribute__((always_inline))
