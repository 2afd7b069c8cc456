// Writing what is too much for the caches.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "mwaconvert/base/constants.hpp"
#include "mwaconvert/base/vector.hpp"

namespace mwaconvert {

// memcpy() past the caches: what is written is too much for them, and is not read before.
MWACONVERT_INLINE void copy_past_cache(const void* source, int64_t n, void* target) {
#ifdef __SSE2__
  const char* from = static_cast<const char*>(source);
  char* to = static_cast<char*>(target);
  typedef long long words __attribute__((vector_size(16)));
  const int64_t head = std::min<int64_t>(n, -reinterpret_cast<intptr_t>(to) & (kCacheLine - 1));
  std::memcpy(to, from, head);
  int64_t k = head;
  for (; k + kCacheLine <= n; k += kCacheLine)
    for (int64_t j = 0; j < kCacheLine; j += 16) {
      words v;
      std::memcpy(&v, from + k + j, 16);
      __builtin_ia32_movntdq(reinterpret_cast<words*>(to + k + j), v);
    }
  std::memcpy(to + k, from + k, n - k);
#else
  std::memcpy(target, source, n);
#endif
}

}  // namespace mwaconvert
