#include "mwaconvert/transients/channels.hpp"

#include <algorithm>

#include "mwaconvert/base/parallel.hpp"
#include "mwaconvert/base/simd.hpp"

namespace mwaconvert {
namespace {

constexpr int64_t kLanes = 8;        // of a sum in double
constexpr int64_t kExact = 1 << 15;  // bytes whose squares fit into a sum of 32 bits

struct Sums {
  double count = 0, total = 0, squares = 0;
};

MWACONVERT_CLONES
Sums plain_sums(const uint8_t* x, int64_t n, double) {
  uint64_t total = 0, squares = 0;
  for (int64_t begin = 0; begin < n; begin += kExact) {
    uint32_t part = 0, part_squares = 0;
    for (int64_t t = begin, end = std::min(n, begin + kExact); t < end; ++t) {
      part += x[t];
      part_squares += static_cast<uint32_t>(x[t]) * x[t];
    }
    total += part;
    squares += part_squares;
  }
  return {static_cast<double>(n), static_cast<double>(total), static_cast<double>(squares)};
}

MWACONVERT_CLONES
Sums plain_sums(const float* x, int64_t n, double about) {
  double total[kLanes] = {}, squares[kLanes] = {};
  int64_t t = 0;
  for (; t + kLanes <= n; t += kLanes)
    for (int64_t k = 0; k < kLanes; ++k) {
      const double d = static_cast<double>(x[t + k]) - about;
      total[k] += d;
      squares[k] += d * d;
    }
  for (int64_t k = 0; t < n; ++t, ++k) {
    const double d = static_cast<double>(x[t]) - about;
    total[k] += d;
    squares[k] += d * d;
  }
  Sums sums{static_cast<double>(n)};
  for (int64_t k = 0; k < kLanes; ++k) {
    sums.total += total[k];
    sums.squares += squares[k];
  }
  return sums;
}

template <typename T>
Sums weighted_sums(const T* x, const float* w, int64_t n, double about) {
  Sums sums;
  for (int64_t t = 0; t < n; ++t)
    if (w[t] > 0) {
      const double d = static_cast<double>(x[t]) - about;
      sums.count += 1;
      sums.total += d;
      sums.squares += d * d;
    }
  return sums;
}

MWACONVERT_CLONES
void scale_row(const uint8_t* x, int64_t n, double mean, double scale, float* out) {
  const float m = static_cast<float>(mean), s = static_cast<float>(scale);
  for (int64_t t = 0; t < n; ++t) out[t] = (static_cast<float>(x[t]) - m) * s;
}

// Of floats the mean may be much larger than a difference.
MWACONVERT_CLONES
void scale_row(const float* x, int64_t n, double mean, double scale, float* out) {
  for (int64_t t = 0; t < n; ++t) out[t] = static_cast<float>((static_cast<double>(x[t]) - mean) * scale);
}

}  // namespace

template <typename T>
void channel_sums(View<const T, 2> data, View<const float, 2> weights, View<const double, 1> about,
                  View<double, 2> sums, int threads) {
  const int64_t n = data.shape[1];
  parallel_for(data.shape[0], threads, [&](int64_t c) {
    const double from = sizeof(T) == 1 ? 0.0 : about(c);
    const Sums found = weights.data == nullptr ? plain_sums(&data(c, 0), n, from)
                                               : weighted_sums(&data(c, 0), &weights(c, 0), n, from);
    sums(c, 0) = found.count;
    sums(c, 1) = found.total;
    sums(c, 2) = found.squares;
  });
}

template <typename T>
void scale_channels(View<const T, 2> data, View<const double, 1> mean, View<const double, 1> scale,
                    View<float, 2> out, int threads) {
  parallel_for(data.shape[0], threads,
               [&](int64_t c) { scale_row(&data(c, 0), data.shape[1], mean(c), scale(c), &out(c, 0)); });
}

template void channel_sums(View<const uint8_t, 2>, View<const float, 2>, View<const double, 1>,
                           View<double, 2>, int);
template void channel_sums(View<const float, 2>, View<const float, 2>, View<const double, 1>, View<double, 2>,
                           int);
template void scale_channels(View<const uint8_t, 2>, View<const double, 1>, View<const double, 1>,
                             View<float, 2>, int);
template void scale_channels(View<const float, 2>, View<const double, 1>, View<const double, 1>,
                             View<float, 2>, int);

}  // namespace mwaconvert
