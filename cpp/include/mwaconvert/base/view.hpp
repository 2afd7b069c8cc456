// Typed strided views: all that a kernel sees of an array. Strides count elements, not bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace mwaconvert {

template <typename T, int N>
struct View {
  T* data = nullptr;
  std::array<int64_t, N> shape{};
  std::array<int64_t, N> stride{};

  int64_t size() const {
    int64_t n = 1;
    for (int64_t s : shape) n *= s;
    return n;
  }

  template <typename... I>
  T& operator()(I... index) const {
    static_assert(sizeof...(I) == N, "one index for each dimension");
    int64_t offset = 0;
    int k = 0;
    ((offset += static_cast<int64_t>(index) * stride[k++]), ...);
    return data[offset];
  }
};

}  // namespace mwaconvert
