#include "mwaconvert/live/beams.hpp"

#include <cstring>
#include <vector>

#include "mwaconvert/base/parallel.hpp"

namespace mwaconvert {
namespace {

template <typename T>
void take(View<const T, 2> beam, View<const int64_t, 1> subbands, int64_t tab, View<T, 2> out, int threads) {
  const int64_t width = beam.shape[0] / subbands.shape[0], n_times = beam.shape[1];
  std::vector<int64_t> mine;
  for (int64_t k = 0; k < subbands.shape[0]; ++k)
    if (subbands(k) == tab) mine.push_back(k);
  const bool in_rows = beam.stride[1] == 1 && out.stride[1] == 1;
  parallel_for(static_cast<int64_t>(mine.size()), threads, [&](int64_t i) {
    const int64_t begin = mine[static_cast<std::size_t>(i)] * width;
    for (int64_t c = begin; c < begin + width; ++c)
      if (in_rows)
        std::memcpy(&out(c, 0), &beam(c, 0), static_cast<std::size_t>(n_times) * sizeof(T));
      else
        for (int64_t t = 0; t < n_times; ++t) out(c, t) = beam(c, t);
  });
}

}  // namespace

void take_subbands(View<const uint8_t, 2> beam, View<const int64_t, 1> subbands, int64_t tab,
                   View<uint8_t, 2> out, int threads) {
  take<uint8_t>(beam, subbands, tab, out, threads);
}

void take_subbands(View<const float, 2> beam, View<const int64_t, 1> subbands, int64_t tab,
                   View<float, 2> out, int threads) {
  take<float>(beam, subbands, tab, out, threads);
}

}  // namespace mwaconvert
