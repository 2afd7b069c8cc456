// The k-th smallest of some values, in vectors: whatever is left shrinks by a factor of a few with each pass
// (Floyd and Rivest 1975, Comm. ACM 18, 165).
#include <algorithm>
#include <cmath>
#include <limits>

#include "lanes.hpp"
#include "parts.hpp"

namespace mwaconvert {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int64_t kFew = 48;

// Of n <= 16 kVectors values: the largest that has at most `first` smaller ones, and `second`. No branches:
// they could not be foreseen.
template <typename V, int kVectors>
MWACONVERT_INLINE RankPair select_by_rank(const float* v, int64_t n, int64_t first, int64_t second) {
  typename V::Floats x[kVectors];
  typename V::Ints smaller[kVectors];
  for (int j = 0; j < kVectors; ++j) {
    const int64_t here = n - j * kLanes;
    const uint32_t inside = here >= kLanes ? 0xffff : (1u << here) - 1;
    x[j] = V::choose(V::mask(inside), V::load(v + j * kLanes), V::same(kInfinity));
    smaller[j] = V::zero();
  }
  for (int64_t i = 0; i < n; ++i) {
    const typename V::Floats other = V::same(v[i]);
    for (int j = 0; j < kVectors; ++j) smaller[j] = V::increase(smaller[j], V::above(x[j], other));
  }
  const auto largest = [&](int64_t k) __attribute__((always_inline)) {
    typename V::Floats most = V::same(-kInfinity);
    for (int j = 0; j < kVectors; ++j) {
      const typename V::Mask beyond = V::above(V::to_floats(smaller[j]), V::same(static_cast<float>(k)));
      most = V::larger(most, V::choose(beyond, V::same(-kInfinity), x[j]));
    }
    float lane[kLanes];
    V::store(lane, most);
    return largest_of_16(lane);
  };
  const float value = largest(first);
  return {value, second == first ? value : largest(second)};
}

template <typename V>
MWACONVERT_INLINE RankPair select_few_of(const float* v, int64_t n, int64_t first, int64_t second) {
  if (n <= 16) return select_by_rank<V, 1>(v, n, first, second);
  if (n <= 32) return select_by_rank<V, 2>(v, n, first, second);
  return select_by_rank<V, 3>(v, n, first, second);
}

// Copies those of n values that lie in [low, high]; returns the number of values below low. out may be v.
template <typename V>
MWACONVERT_INLINE int64_t take_between_of(const float* v, int64_t n, float low, float high, float* out,
                                          int64_t& n_taken) {
  int64_t n_below = 0, n_out = 0;
  for (int64_t k = 0; k < n; k += kLanes) {
    const uint32_t inside = n - k >= kLanes ? 0xffff : (1u << (n - k)) - 1;
    const typename V::Floats x = V::load(v + k);
    const typename V::Mask there = V::mask(inside), below = V::both(V::above(V::same(low), x), there);
    n_below += std::popcount(V::bits(below));
    n_out += V::append(V::without(V::without(there, below), V::above(x, V::same(high))), x, out + n_out);
  }
  n_taken = n_out;
  return n_below;
}

MWACONVERT_TWICE(RankPair, select_few, select_few_of,
                 (const float* v, int64_t n, int64_t first, int64_t second), (v, n, first, second))
MWACONVERT_TWICE(int64_t, take_between, take_between_of,
                 (const float* v, int64_t n, float low, float high, float* out, int64_t& n_taken),
                 (v, n, low, high, out, n_taken))

}  // namespace

RankPair select_pair(const float* v, int64_t n, int64_t first, int64_t second, float* work) {
  const float* rest = v;
  for (int64_t n_rest = n, n_before = 0; n_rest > 0;) {
    if (n_rest <= kFew) return select_few(rest, n_rest, first - n_before, second - n_before);
    // two values of a sample, between which they lie almost certainly
    float sample[kFew];
    const int64_t step = (n_rest + kFew - 1) / kFew, n_sample = (n_rest + step - 1) / step;
    for (int64_t j = 0; j < n_sample; ++j) sample[j] = rest[j * step];
    const double share = (static_cast<double>(first - n_before) + 0.5) / static_cast<double>(n_rest);
    const double place = share * static_cast<double>(n_sample);
    const double margin = 2.5 * std::sqrt(place * (1 - share)) + 1;
    const int64_t below = static_cast<int64_t>(std::floor(place - margin));
    const int64_t above = static_cast<int64_t>(std::ceil(place + margin));
    const RankPair near = select_few(sample, n_sample, below, above);
    const float low = below >= 0 ? near.first : -kInfinity;
    const float high = above < n_sample ? near.second : kInfinity;
    int64_t n_taken;
    n_before += take_between(rest, n_rest, low, high, work, n_taken);
    if (first < n_before || second >= n_before + n_taken || n_taken == n_rest) break;
    rest = work;
    n_rest = n_taken;
  }
  std::copy_n(v, n, work);
  std::nth_element(work, work + second, work + n);
  const float larger = work[second];
  std::nth_element(work, work + first, work + n);
  return {work[first], larger};
}

}  // namespace mwaconvert
