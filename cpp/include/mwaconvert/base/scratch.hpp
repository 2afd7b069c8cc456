// Memory that kernels keep between calls: it grows, and is aligned for vectors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

namespace mwaconvert {

// Scratch memory of a thread: grows, is never given back, aligned for vectors.
template <typename T>
class Scratch {
 public:
  T* get(int64_t n) {
    if (n > capacity_) {
      memory_.reset(static_cast<T*>(std::aligned_alloc(64, (n * sizeof(T) + 63) / 64 * 64)));
      if (!memory_) throw std::bad_alloc();
      capacity_ = n;
    }
    return memory_.get();
  }

 private:
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  std::unique_ptr<T[], Free> memory_;
  int64_t capacity_ = 0;
};

// Scratch memory that only grows: what is taken again is not cleared.
template <typename T, typename A>
inline T* at_least(std::vector<T, A>& memory, int64_t n) {
  if (static_cast<int64_t>(memory.size()) < n) memory.resize(n);
  return memory.data();
}

// Memory for vectors of 64 bytes: a load that crosses a line of the cache costs two.
template <typename T>
struct Aligned {
  using value_type = T;
  static constexpr std::align_val_t kAlignment{64};
  Aligned() = default;
  template <typename U>
  Aligned(const Aligned<U>&) {}
  T* allocate(size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), kAlignment)); }
  void deallocate(T* p, size_t) { ::operator delete(p, kAlignment); }
  bool operator==(const Aligned&) const { return true; }
};
using AlignedFloats = std::vector<float, Aligned<float>>;

}  // namespace mwaconvert
