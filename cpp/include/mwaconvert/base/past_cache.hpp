// Writing what is too much for the caches.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "mwaconvert/base/constants.hpp"
#include "mwaconvert/base/simd.hpp"
#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace mwaconvert {

// memcpy() past the caches: what is written is too much for them, and is not read before.
MWACONVERT_INLINE void copy_past_cache(const void* source, int64_t n, void* target) {
#ifdef __SSE2__
  const char* from = static_cast<const char*>(source);
  char* to = static_cast<char*>(target);
  const int64_t head = std::min<int64_t>(n, -reinterpret_cast<intptr_t>(to) & (kCacheLine - 1));
  std::memcpy(to, from, head);
  int64_t k = head;
  for (; k + kCacheLine <= n; k += kCacheLine)
    for (int64_t j = 0; j < kCacheLine; j += 16)
      _mm_stream_si128(reinterpret_cast<__m128i*>(to + k + j),
                       _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + k + j)));
  std::memcpy(to + k, from + k, n - k);
#else
  std::memcpy(target, source, n);
#endif
}

}  // namespace mwaconvert
