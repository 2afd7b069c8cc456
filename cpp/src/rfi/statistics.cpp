#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "lanes.hpp"
#include "parts.hpp"

namespace mwaconvert {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr double kMargin = 0.42;  // around percentiles of a sub-band: 2 standard errors of a Gaussian's, in
                                  // distances of the two over the root of the values beyond
constexpr int64_t kSample = 32;   // vectors whose percentiles bracket one of all values

struct Partition {
  int64_t n_below = 0, n_inside = 0;
  double below[kLanes] = {};  // sums of squares
};

// Of the values of a row whose bit in `excluded` is off: counts and sums those below a, copies those in [a,
// b).
template <typename V>
MWACONVERT_INLINE void partition_row_of(const float* v, const uint64_t* excluded, int64_t n, float a, float b,
                                        float* inside, Partition& p) {
  typename V::Floats squares = V::same(0.0f);
  typename V::Ints n_below = V::zero();
  const typename V::Floats low = V::same(a), high = V::same(b);
  int64_t n_inside = p.n_inside;
  for_each_unset(excluded, n, [&](int64_t k, uint32_t unset) __attribute__((always_inline)) {
    const typename V::Floats x = V::load(v + k);
    const typename V::Mask used = V::mask(unset), below = V::both(V::above(low, x), used);
    squares = V::add(squares, V::only(below, V::multiply(x, x)));
    n_below = V::increase(n_below, below);
    n_inside += V::append(V::without(V::both(V::above(high, x), used), below), x, inside + n_inside);
  });
  p.n_below += sum_of_lanes<V>(n_below);
  p.n_inside = n_inside;
  float lane[kLanes];
  V::store(lane, squares);
  for (int64_t k = 0; k < kLanes; ++k) p.below[k] += lane[k];
}

// Values of columns [begin, end) at the given timesteps whose bit in `excluded` is off; returns their number.
template <typename V>
MWACONVERT_INLINE int64_t take_used_of(RfiImage x, const BitTable& excluded, const int32_t* time,
                                       int64_t n_times, int64_t begin, int64_t end, float* out) {
  int64_t n_out = 0;
  for (int64_t k = begin; k < end; k += kLanes) {
    const int64_t word = k >> 6, shift = k & 63;
    const bool two = shift > 64 - kLanes && word + 1 < excluded.words();
    const uint32_t inside = end - k >= kLanes ? 0xffff : (1u << (end - k)) - 1;
    for (int64_t j = 0; j < n_times; ++j) {
      const uint64_t* row = excluded.row(time[j]) + word;
      const uint64_t bits = row[0] >> shift | (two ? row[1] << (64 - shift) : 0);
      const uint32_t used = ~static_cast<uint32_t>(bits) & inside;
      n_out += V::append(V::mask(used), V::load(x.row(time[j]) + k), out + n_out);
    }
  }
  return n_out;
}

// A percentile, thought to lie in [low, high): how many values lie below that, and those inside.
struct Bracket {
  float low, high;
  int64_t n_below, n_inside;
  const float* inside;
};

// Two brackets, the first below the second. NaNs are passed over, also those that follow the n values.
// inside: room for n, padded.
template <typename V>
MWACONVERT_INLINE void partition_twice_of(const float* v, int64_t n, Bracket& first, Bracket& second,
                                          float* inside) {
  const typename V::Floats low1 = V::same(first.low), high1 = V::same(first.high);
  const typename V::Floats low2 = V::same(second.low), high2 = V::same(second.high);
  typename V::Ints n_below1 = V::zero(), n_below2 = V::zero();
  int64_t n_inside = 0;
  for (int64_t k = 0; k < n; k += kLanes) {
    const typename V::Floats x = V::load(v + k);
    const typename V::Mask below1 = V::above(low1, x), below2 = V::above(low2, x);
    n_below1 = V::increase(n_below1, below1);
    n_below2 = V::increase(n_below2, below2);
    const typename V::Mask inside1 = V::without(V::above(high1, x), below1);
    const typename V::Mask inside2 = V::without(V::above(high2, x), below2);
    n_inside += V::append(V::either(inside1, inside2), x, inside + n_inside);
  }
  first.n_below = sum_of_lanes<V>(n_below1);
  second.n_below = sum_of_lanes<V>(n_below2);
  // the second's values to their end, the first's to the beginning: from a place of writing on, all is read
  float* other = inside + n_inside + kLanes;
  int64_t n_first = 0, n_second = 0;
  for (int64_t k = 0; k < n_inside; k += kLanes) {
    const uint32_t there = n_inside - k >= kLanes ? 0xffff : (1u << (n_inside - k)) - 1;
    const typename V::Floats x = V::load(inside + k);
    const typename V::Mask low = V::both(V::above(high1, x), V::mask(there));
    n_second += V::append(V::without(V::mask(there), low), x, other + n_second);
    n_first += V::append(low, x, inside + n_first);
  }
  first.inside = inside;
  first.n_inside = n_first;
  second.inside = other;
  second.n_inside = n_second;
}

// Variance of n values drawn in to [low, high]; NaNs follow them, to the end of a vector.
template <typename V>
MWACONVERT_INLINE double clipped_variance_of(const float* v, int64_t n, float low, float high) {
  const typename V::Floats least = V::same(low), most = V::same(high), centre = V::same(0.5f * (low + high));
  typename V::Floats sum = V::same(0.0f), squares = V::same(0.0f);
  for (int64_t k = 0; k < n; k += kLanes) {
    const typename V::Floats x = V::load(v + k);
    const typename V::Mask there = V::above(x, V::same(-kInfinity));
    const typename V::Floats d = V::only(there, V::subtract(V::clip(x, least, most), centre));
    sum = V::add(sum, d);
    squares = V::add(squares, V::multiply(d, d));
  }
  const double shift = sum_of_lanes<V>(sum) / n;
  return std::max(0.0, sum_of_lanes<V>(squares) / n - shift * shift);
}

// Adds the squares of a row whose bit in `flags` is off, and to the columns'.
template <typename V>
MWACONVERT_INLINE double add_squares_of(const float* v, const uint64_t* flags, int64_t n, float* columns) {
  typename V::Floats s = V::same(0.0f);
  for_each_unset(flags, n, [&](int64_t k, uint32_t unset) __attribute__((always_inline)) {
    const typename V::Floats x = V::load(v + k), q = V::only(V::mask(unset), V::multiply(x, x));
    V::store(columns + k, V::add(V::load(columns + k), q));
    s = V::add(s, q);
  });
  return sum_of_lanes<V>(s);
}

MWACONVERT_TWICE(void, partition_row, partition_row_of,
                 (const float* v, const uint64_t* excluded, int64_t n, float a, float b, float* inside,
                  Partition& p),
                 (v, excluded, n, a, b, inside, p))
MWACONVERT_TWICE(int64_t, take_used, take_used_of,
                 (RfiImage x, const BitTable& excluded, const int32_t* time, int64_t n_times, int64_t begin,
                  int64_t end, float* out),
                 (x, excluded, time, n_times, begin, end, out))
MWACONVERT_TWICE(void, partition_twice, partition_twice_of,
                 (const float* v, int64_t n, Bracket& first, Bracket& second, float* inside),
                 (v, n, first, second, inside))
MWACONVERT_TWICE(double, clipped_variance, clipped_variance_of,
                 (const float* v, int64_t n, float low, float high), (v, n, low, high))
MWACONVERT_TWICE(double, add_squares, add_squares_of,
                 (const float* v, const uint64_t* flags, int64_t n, float* columns), (v, flags, n, columns))

// Sum of the squares of values drawn in to q.
MWACONVERT_CLONES
double clipped_squares(const float* v, int64_t n, float q) {
  f16 squares = all(0.0f);
  for (int64_t k = 0; k < n; k += kLanes) {
    const f16 x = smaller(load16(v + k), all(q));
    squares = squares + or_zero(first_lanes(n - k), x * x);
  }
  return sum(squares);
}

// Sum of squares of the distances from the median, and the largest.
MWACONVERT_CLONES
void distances(const float* v, int64_t n, double median, double& squares, double& largest) {
  constexpr int64_t kParts = 16;
  double sum[kParts] = {}, most[kParts] = {};
  int64_t k = 0;
  const auto take = [&](int64_t part) __attribute__((always_inline)) {
    const double d = std::abs(v[k + part] - median);
    sum[part] += d * d;
    most[part] = most[part] < d ? d : most[part];
  };
  for (; k + kParts <= n; k += kParts)
    for (int64_t part = 0; part < kParts; ++part) take(part);
  for (int64_t part = 0; part < n - k; ++part) take(part);
  for (int64_t part = 0; part < kParts; ++part) {
    squares += sum[part];
    largest = std::max(largest, most[part]);
  }
}

// Bits that are set among the first n.
MWACONVERT_CLONES
int64_t count_bits(const uint64_t* words, int64_t n) {
  int64_t count = 0;
  for (int64_t w = 0; 64 * w < n; ++w) {
    const uint64_t inside = n - 64 * w >= 64 ? ~uint64_t{0} : (uint64_t{1} << (n - 64 * w)) - 1;
    count += std::popcount(words[w] & inside);
  }
  return count;
}

// NaN where there are none.
MWACONVERT_CLONES
void root_means(const double* sum, const float* count, int64_t n, float* out) {
  for (int64_t k = 0; k < n; ++k) out[k] = static_cast<float>(__builtin_sqrt(sum[k] / count[k]));
}

MWACONVERT_CLONES
void add_up(float* part, int64_t n, double* sum) {
  for (int64_t k = 0; k < n; ++k) {
    sum[k] += part[k];
    part[k] = 0;
  }
}

MWACONVERT_CLONES
void scale(const float* factor, int64_t n, float* v) {
  for (int64_t k = 0; k < n; ++k) v[k] *= factor[k];
}

}  // namespace

double RfiStatistics::mode(const RfiLayout& layout, RfiImage x, const BitTable& excluded) {
  const int64_t n = layout.n_good;
  int64_t total = 0;
  for (int32_t t : layout.time) total += n - count_bits(excluded.row(t), n);
  if (total == 0) return kInfinity;

  // vectors of rows far and wide: neighbours are alike
  const uint64_t n_rows = layout.time.size(), n_vectors = static_cast<uint64_t>(n + kLanes - 1) / kLanes;
  float* sample = at_least(sample_, (kSample + 1) * kLanes);
  int64_t n_sample = 0;
  for (uint32_t j = 0; j < kSample; ++j) {
    const int32_t* t = &layout.time[j * n_rows / kSample];
    const int64_t k = static_cast<int64_t>((j * 0x9e3779b9u) * n_vectors >> 32) * kLanes;
    n_sample += take_used(x, excluded, t, 1, k, std::min(n, k + kLanes), sample + n_sample);
  }
  const int64_t wanted = static_cast<int64_t>(0.9 * total);
  float* inside = at_least(inside_, total + kLanes);
  at_least(work_, n_sample + kLanes);
  for (double margin = n_sample > 0 ? 3 * std::sqrt(0.09 / n_sample) : 1;; margin *= 4) {
    const int64_t below = static_cast<int64_t>((0.9 - margin) * n_sample);
    const int64_t above = static_cast<int64_t>((0.9 + margin) * n_sample) + 1;
    const float a = below > 0 ? select_kth(sample, n_sample, below, work_.data()) : -kInfinity;
    const float b = above < n_sample ? select_kth(sample, n_sample, above, work_.data()) : kInfinity;
    Partition p;
    for (int32_t t : layout.time) partition_row(x.row(t), excluded.row(t), n, a, b, inside, p);
    const bool all = a == -kInfinity && b == kInfinity;
    if (!all && (wanted < p.n_below || wanted >= p.n_below + p.n_inside)) continue;
    const float q = select_kth(inside, p.n_inside, wanted - p.n_below, at_least(work_, p.n_inside + kLanes));
    double sum = std::accumulate(p.below, p.below + kLanes, clipped_squares(inside, p.n_inside, q));
    sum += static_cast<double>(total - p.n_below - p.n_inside) * q * q;
    return 1.0541 * std::sqrt(sum / (2.0 * total));
  }
}

void RfiStatistics::normalize_bands(const RfiLayout& layout, RfiImage x, const BitTable& excluded,
                                    int64_t n_bands) {
  const int64_t n_times = static_cast<int64_t>(layout.time.size());
  factor_.assign(padded(layout.n_chan), 0);
  int64_t column = 0;
  Percentiles typical{0, 0};  // of the bands before
  for (int64_t band = 0; band < n_bands; ++band) {
    const int64_t first = column, end = (band + 1) * layout.n_chan / n_bands;
    while (column < layout.n_good && layout.channel[column] < end) ++column;
    float* values = at_least(band_, (column - first) * n_times + kLanes);
    const int64_t n = take_used(x, excluded, layout.time.data(), n_times, first, column, values);
    if (n == 0) continue;
    std::fill_n(values + n, kLanes, kNan);
    const Percentiles found = percentiles(values, n, typical);
    const double variance = clipped_variance(values, n, found.low, found.high);
    if (variance > 0)
      std::fill(&factor_[first], &factor_[column], static_cast<float>(1 / std::sqrt(1.54 * variance)));
    const float share = typical.low < typical.high ? 0.25f : 1.0f;
    typical.low += share * (found.low - typical.low);
    typical.high += share * (found.high - typical.high);
  }
  // missing cells too: SumThreshold looks at some (odd levels)
  for (int64_t t = 0; t < layout.n_time; ++t) scale(factor_.data(), layout.n_good, x.row(t));
}

// Those between which lie 80 % of n values, to the end of a vector followed by NaNs.
RfiStatistics::Percentiles RfiStatistics::percentiles(const float* values, int64_t n, Percentiles guess) {
  const int64_t tail = static_cast<int64_t>(0.1 * n);
  const float margin = static_cast<float>(kMargin * (guess.high - guess.low) / std::sqrt(0.1 * n));
  const float middle = 0.5f * (guess.low + guess.high);
  Bracket lower{guess.low - margin, std::min(guess.low + margin, middle), 0, 0, nullptr};
  Bracket upper{std::max(guess.high - margin, middle), guess.high + margin, 0, 0, nullptr};
  at_least(work_, n + kLanes);
  partition_twice(values, n, lower, upper, at_least(bracket_, 2 * n + 3 * kLanes));
  const auto select = [&](const Bracket& near, int64_t k) {
    const int64_t rest = k - near.n_below;
    const bool there = rest >= 0 && rest < near.n_inside;
    return there ? select_kth(near.inside, near.n_inside, rest, work_.data())
                 : select_kth(values, n, k, work_.data());
  };
  return {select(lower, tail), select(upper, n - 1 - tail)};
}

void RfiStatistics::rms(const RfiLayout& layout, RfiImage x, const BitTable& flags) {
  constexpr int64_t kRows = 32;  // added up in single precision
  const int64_t n = layout.n_chan;
  of_time.resize(layout.n_time);
  of_column.resize(n);
  column_sums_.assign(n, 0);
  column_count_.assign(n, static_cast<float>(layout.n_time));
  column_part_.assign(padded(n), 0);
  for (int64_t t = 0; t < layout.n_time; ++t) {
    const uint64_t* bits = flags.row(t);
    int64_t used = n;
    for_each_bit(bits, flags.words(), [&](int64_t k) {
      --column_count_[k];
      --used;
    });
    const double sum = add_squares(x.row(t), bits, n, column_part_.data());
    of_time[t] = used > 0 ? static_cast<float>(std::sqrt(sum / used)) : kNan;
    if (t % kRows == kRows - 1 || t == layout.n_time - 1) add_up(column_part_.data(), n, column_sums_.data());
  }
  root_means(column_sums_.data(), column_count_.data(), n, of_column.data());
}

const std::vector<int32_t>& RfiStatistics::outliers(const std::vector<float>& values, double threshold,
                                                    bool moving) {
  outliers_.clear();
  int64_t n = 0;
  float* sample = at_least(sample_, static_cast<int64_t>(values.size()) + kLanes);  // whole vectors are read
  int32_t* index = at_least(index_, static_cast<int64_t>(values.size()));
  for (size_t k = 0; k < values.size(); ++k) {
    sample[n] = values[k];
    index[n] = static_cast<int32_t>(k);
    n += !std::isnan(values[k]);
  }
  double median = 0;
  for (bool first = true; n > 0; first = false) {
    if (first || moving) median = median_of_sample(n);
    double variance = 0, furthest = 0;
    distances(sample, n, median, variance, furthest);
    const double limit = threshold * std::sqrt(variance / static_cast<double>(n));
    if (!(furthest > limit)) break;
    int64_t kept = 0;
    for (int64_t k = 0; k < n; ++k) {
      const bool far = std::abs(sample[k] - median) > limit;
      if (far) outliers_.push_back(index[k]);
      sample[kept] = sample[k];
      index[kept] = index[k];
      kept += !far;
    }
    n = kept;
  }
  return outliers_;
}

double RfiStatistics::median_of_sample(int64_t n) {
  at_least(work_, n + kLanes);
  const RankPair middle = select_pair(sample_.data(), n, (n - 1) / 2, n / 2, work_.data());
  return 0.5 * (static_cast<double>(middle.first) + middle.second);
}

}  // namespace mwaconvert
