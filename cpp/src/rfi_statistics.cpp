#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "mwaconvert/simd.hpp"
#include "rfi_parts.hpp"

namespace mwaconvert {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int64_t kSample = 2000;    // values that bracket a percentile,
constexpr int64_t kSampleRows = 32;  // out of so many rows

MWACONVERT_CLONES
int64_t count_below(const float* v, int64_t n, float limit) {
  i16 count = all(0);
  int64_t k = 0;
  for (; k + kLanes <= n; k += kLanes) count = count - (load16(v + k) < all(limit));
  int64_t total = sum(count);
  for (; k < n; ++k) total += v[k] < limit;
  return total;
}

MWACONVERT_CLONES
void extremes(const float* v, int64_t n, float& low, float& high) {
  f16 least = all(v[0]), most = all(v[0]);
  int64_t k = 0;
  for (; k + kLanes <= n; k += kLanes) {
    least = smaller(load16(v + k), least);
    most = larger(load16(v + k), most);
  }
  low = high = v[0];
  for (int l = 0; l < 8; ++l) {
    low = std::min({low, least.a[l], least.b[l]});
    high = std::max({high, most.a[l], most.b[l]});
  }
  for (; k < n; ++k) {
    low = std::min(low, v[k]);
    high = std::max(high, v[k]);
  }
}

constexpr int64_t kChunk = 256;

// Appends those of n <= kChunk values that lie in [a, b) to out, which holds n_out.
MWACONVERT_INLINE int64_t append_inside(const float* v, int64_t n, float a, float b, float* out,
                                        int64_t n_out) {
  alignas(64) uint8_t hit[kChunk];
  for (int64_t k = 0; k < n; ++k) hit[k] = static_cast<uint8_t>(-((v[k] >= a) & (v[k] < b)));
  if (n < kChunk) std::memset(hit + n, 0, std::min<int64_t>(64, kChunk - n));
  for (int64_t k = 0; k < n; k += 64) {
    uint64_t bits = 0;
    for (int64_t part = 0; part < 4; ++part) {
      bytes16 some;
      std::memcpy(&some, hit + k + 16 * part, 16);
      bits |= static_cast<uint64_t>(bits_of(some)) << 16 * part;
    }
    for (; bits; bits &= bits - 1) out[n_out++] = v[k + std::countr_zero(bits)];
  }
  return n_out;
}

MWACONVERT_CLONES
int64_t take_inside(const float* v, int64_t n, float a, float b, float* out) {
  int64_t n_out = 0;
  for (int64_t k = 0; k < n; k += kChunk)
    n_out = append_inside(v + k, std::min(kChunk, n - k), a, b, out, n_out);
  return n_out;
}

// Order-preserving integers, for halving a range of floats whatever its size.
int64_t float_rank(float v) {
  int32_t bits;
  std::memcpy(&bits, &v, 4);
  return bits < 0 ? -static_cast<int64_t>(bits & 0x7fffffff) : bits;
}
float float_of_rank(int64_t rank) {
  const uint32_t bits = rank < 0 ? 0x80000000u | static_cast<uint32_t>(-rank) : static_cast<uint32_t>(rank);
  float v;
  std::memcpy(&v, &bits, 4);
  return v;
}

struct Partition {
  int64_t n_below = 0, n_inside = 0;
  double sum_below = 0;  // of squares
};

// Counts and sums of the values below a, and a copy of those in [a, b); NaNs are passed over.
MWACONVERT_CLONES
void partition(const float* v, int64_t n, float a, float b, float* inside, Partition& p) {
  for (int64_t begin = 0; begin < n; begin += kChunk) {
    const int64_t length = std::min(kChunk, n - begin);
    const float* u = v + begin;
    f16 squares = all(0.0f);
    i16 below = all(0);
    int64_t k = 0;
    for (; k + kLanes <= length; k += kLanes) {
      const f16 x = load16(u + k);
      const i16 lower = x < all(a);
      squares = squares + or_zero(lower, x * x);
      below = below - lower;
    }
    if (k < length) {
      const f16 x = load16(u + k);
      const i16 lower = (x < all(a)) & first_lanes(length - k);
      squares = squares + or_zero(lower, x * x);
      below = below - lower;
    }
    p.sum_below += sum(squares);
    p.n_below += sum(below);
    p.n_inside = append_inside(u, length, a, b, inside, p.n_inside);
  }
}

MWACONVERT_CLONES
void clipped_moments(const float* v, int64_t n, float low, float high, double& mean, double& variance) {
  f16 s = all(0.0f);
  for (int64_t k = 0; k < n; k += kLanes)
    s = s + or_zero(first_lanes(n - k), smaller(larger(load16(v + k), all(low)), all(high)));
  mean = sum(s) / n;
  const float centre = static_cast<float>(mean);
  f16 d = all(0.0f), q = all(0.0f);
  for (int64_t k = 0; k < n; k += kLanes) {
    const f16 clipped = smaller(larger(load16(v + k), all(low)), all(high));
    const f16 x = or_zero(first_lanes(n - k), clipped - all(centre));
    d = d + x;
    q = q + x * x;
  }
  const double shift = sum(d) / n;
  variance = std::max(0.0, sum(q) / n - shift * shift);
}

// Adds the squares of a row, and to the columns'.
MWACONVERT_CLONES
double add_squares(const float* v, int64_t n, float* columns) {
  f16 s = all(0.0f);
  for (int64_t k = 0; k < n; k += kLanes) {
    const f16 x = load16(v + k), q = or_zero(first_lanes(n - k), x * x);
    store16(columns + k, load16(columns + k) + q);
    s = s + q;
  }
  return sum(s);
}

MWACONVERT_CLONES
void scale(const float* factor, int64_t n, float* v) {
  for (int64_t k = 0; k < n; ++k) v[k] *= factor[k];
}

}  // namespace

float select_kth(const float* v, int64_t n, int64_t k) {
  // values < low: n_low of them, <= k; values < high: n_high, > k
  float low, high;
  extremes(v, n, low, high);
  high = std::nextafter(high, kInfinity);
  int64_t n_low = 0, n_high = n;
  for (int round = 0; n_high - n_low > 48; ++round) {
    const int64_t a = float_rank(low), b = float_rank(high);
    if (b - a <= 1) return low;
    float middle;
    if (round % 3 == 2) {
      middle = float_of_rank(a + (b - a) / 2);
    } else {
      // aim a little to the side that leaves k in the smaller part
      const double aim = (k + 0.5 - n_low) / (n_high - n_low);
      middle = static_cast<float>(low + (static_cast<double>(high) - low) * aim);
      if (!(middle > low && middle < high)) middle = float_of_rank(a + (b - a) / 2);
    }
    const int64_t below = count_below(v, n, middle);
    if (below <= k) {
      low = middle;
      n_low = below;
    } else {
      high = middle;
      n_high = below;
    }
  }
  float rest[48];
  const int64_t n_rest = take_inside(v, n, low, high, rest);
  std::nth_element(rest, rest + (k - n_low), rest + n_rest);
  return rest[k - n_low];
}

double RfiStatistics::mode(const RfiLayout& layout, RfiImage x, const BitTable& excluded) {
  const int64_t n = layout.n_good;
  row_.resize(padded(n));
  int64_t total = 0;
  for (int32_t t : layout.time) {
    const uint64_t* bits = excluded.row(t);
    int64_t used = n;
    for (int64_t w = 0; w < excluded.words() && 64 * w < n; ++w) {
      const uint64_t valid = n - 64 * w >= 64 ? ~uint64_t{0} : (uint64_t{1} << (n - 64 * w)) - 1;
      used -= std::popcount(bits[w] & valid);
    }
    total += used;
  }
  if (total == 0) return kInfinity;

  // A row without the cells excluded: those become NaN.
  const auto row = [&](int32_t t) -> const float* {
    const uint64_t* bits = excluded.row(t);
    if (!any_bit(bits, (n + 63) / 64)) return x.row(t);
    std::copy_n(x.row(t), n, row_.data());
    for_each_bit(bits, excluded.words(), [&](int64_t k) {
      if (k < n) row_[k] = kNan;
    });
    return row_.data();
  };

  const int64_t n_rows = static_cast<int64_t>(layout.time.size());
  const int64_t row_step = std::max<int64_t>(1, n_rows / kSampleRows);
  const int64_t step = std::max<int64_t>(1, n_rows / row_step * n / kSample);
  sample_.clear();
  for (int64_t r = row_step / 2; r < n_rows; r += row_step) {
    const float* v = row(layout.time[r]);
    for (int64_t k = r % step; k < n; k += step)
      if (v[k] == v[k]) sample_.push_back(v[k]);
  }
  const int64_t n_sample = static_cast<int64_t>(sample_.size());
  const int64_t wanted = static_cast<int64_t>(0.9 * total);
  bracket_.resize(total);
  for (double margin = n_sample > 0 ? 3 * std::sqrt(0.09 / n_sample) : 1;; margin *= 4) {
    const int64_t below = static_cast<int64_t>((0.9 - margin) * n_sample);
    const int64_t above = static_cast<int64_t>((0.9 + margin) * n_sample) + 1;
    const float a = below > 0 ? select_kth(sample_.data(), n_sample, below) : -kInfinity;
    const float b = above < n_sample ? select_kth(sample_.data(), n_sample, above) : kInfinity;
    Partition p;
    for (int32_t t : layout.time) partition(row(t), n, a, b, bracket_.data(), p);
    const bool all = a == -kInfinity && b == kInfinity;
    if (!all && (wanted < p.n_below || wanted >= p.n_below + p.n_inside)) continue;
    const float q = select_kth(bracket_.data(), p.n_inside, wanted - p.n_below);
    double sum = p.sum_below;
    for (int64_t k = 0; k < p.n_inside; ++k) {
      const double v = std::min(bracket_[k], q);
      sum += v * v;
    }
    sum += static_cast<double>(total - p.n_below - p.n_inside) * q * q;
    return 1.0541 * std::sqrt(sum / (2.0 * total));
  }
}

void RfiStatistics::normalize_bands(const RfiLayout& layout, RfiImage x, const BitTable& excluded,
                                    int64_t n_bands) {
  factor_.assign(padded(layout.n_chan), 0);
  int64_t column = 0;
  float low = 0, high = 0;  // percentiles of the last band: those of the next are not far
  for (int64_t band = 0; band < n_bands; ++band) {
    const int64_t first = column, end = (band + 1) * layout.n_chan / n_bands;
    while (column < layout.n_good && layout.channel[column] < end) ++column;
    if (column == first) continue;
    const int64_t n = take_columns(layout, x, excluded, first, column);
    if (n == 0) continue;
    const int64_t tail = static_cast<int64_t>(0.1 * n);
    const double margin = 0.6 * (high - low) / std::sqrt(0.1 * n);  // three or four standard errors
    low = select_near(n, tail, low, margin);
    high = select_near(n, n - 1 - tail, high, margin);
    double mean, variance;
    clipped_moments(bracket_.data(), n, low, high, mean, variance);
    if (variance > 0)
      std::fill(&factor_[first], &factor_[column], static_cast<float>(1 / std::sqrt(1.54 * variance)));
  }
  // missing cells too: SumThreshold looks at some (odd levels)
  for (int64_t t = 0; t < layout.n_time; ++t) scale(factor_.data(), layout.n_good, x.row(t));
}

// Puts the cells of columns [first, end) that are not excluded into bracket_; returns their number.
int64_t RfiStatistics::take_columns(const RfiLayout& layout, RfiImage x, const BitTable& excluded,
                                    int64_t first, int64_t end) {
  bracket_.resize(layout.time.size() * (end - first) + kLanes);
  int64_t n = 0;
  for (int32_t t : layout.time) {
    const float* v = x.row(t);
    const uint64_t* bits = excluded.row(t);
    for (int64_t k = first, next; k < end; k = next) {
      next = std::min(end, (k / 64 + 1) * 64);
      const uint64_t here = bits[k / 64] >> (k % 64) & (~uint64_t{0} >> (64 - (next - k)));
      if (here == 0) {
        std::copy(v + k, v + next, &bracket_[n]);
        n += next - k;
      } else {
        for (int64_t j = k; j < next; ++j)
          if (!(here >> (j - k) & 1)) bracket_[n++] = v[j];
      }
    }
  }
  return n;
}

// The k-th smallest of the n values in bracket_, likely to lie within margin of guess.
float RfiStatistics::select_near(int64_t n, int64_t k, float guess, double margin) {
  const float a = static_cast<float>(guess - margin), b = static_cast<float>(guess + margin);
  sample_.resize(n + kLanes);
  Partition p;
  partition(bracket_.data(), n, a, b, sample_.data(), p);
  if (k < p.n_below || k >= p.n_below + p.n_inside) return select_kth(bracket_.data(), n, k);
  const auto wanted = sample_.begin() + (k - p.n_below);
  std::nth_element(sample_.begin(), wanted, sample_.begin() + p.n_inside);
  return *wanted;
}

void RfiStatistics::rms(const RfiLayout& layout, RfiImage x, const BitTable& flags) {
  constexpr int64_t kRows = 32;  // added up in single precision
  const int64_t n = layout.n_chan;
  row_.resize(padded(n));
  of_time.resize(layout.n_time);
  of_column.resize(n);
  column_sums_.assign(n, 0);
  column_count_.assign(n, static_cast<float>(layout.n_time));
  column_part_.assign(padded(n), 0);
  for (int64_t t = 0; t < layout.n_time; ++t) {
    const uint64_t* bits = flags.row(t);
    const float* v = x.row(t);
    int64_t used = n;
    if (any_bit(bits, flags.words())) {
      std::copy_n(v, n, row_.data());
      v = row_.data();
      for_each_bit(bits, flags.words(), [&](int64_t k) {
        row_[k] = 0;
        --column_count_[k];
        --used;
      });
    }
    const double sum = add_squares(v, n, column_part_.data());
    of_time[t] = used > 0 ? static_cast<float>(std::sqrt(sum / used)) : kNan;
    if (t % kRows == kRows - 1 || t == layout.n_time - 1)
      for (int64_t k = 0; k < n; ++k) {
        column_sums_[k] += column_part_[k];
        column_part_[k] = 0;
      }
  }
  for (int64_t k = 0; k < n; ++k)
    of_column[k] =
        column_count_[k] > 0 ? static_cast<float>(std::sqrt(column_sums_[k] / column_count_[k])) : kNan;
}

const std::vector<int32_t>& RfiStatistics::outliers(const std::vector<float>& values, double threshold,
                                                    bool moving) {
  outliers_.clear();
  sample_.clear();
  for (float v : values)
    if (!std::isnan(v)) sample_.push_back(v);
  if (sample_.empty() || !has_outlier(threshold)) return outliers_;

  sorted_.clear();
  for (size_t k = 0; k < values.size(); ++k)
    if (!std::isnan(values[k])) sorted_.emplace_back(values[k], static_cast<int32_t>(k));
  std::sort(sorted_.begin(), sorted_.end());
  // outliers are taken from both ends: what is left is [low, high)
  size_t low = 0, high = sorted_.size();
  double median = 0;
  for (bool first = true; low < high; first = false) {
    const size_t n = high - low, middle = low + n / 2;
    if (first || moving)
      median = n % 2 ? sorted_[middle].first
                     : 0.5 * (static_cast<double>(sorted_[middle - 1].first) + sorted_[middle].first);
    double variance = 0;
    for (size_t k = low; k < high; ++k) {
      const double d = sorted_[k].first - median;
      variance += d * d;
    }
    const double limit = threshold * std::sqrt(variance / n);
    for (; low < high && median - sorted_[low].first > limit; ++low) outliers_.push_back(sorted_[low].second);
    for (; low < high && sorted_[high - 1].first - median > limit; --high)
      outliers_.push_back(sorted_[high - 1].second);
    if (high - low == n) break;
  }
  return outliers_;
}

// Whether one of sample_ could be further than threshold from the median; mostly none is, and sorting is
// slow.
bool RfiStatistics::has_outlier(double threshold) {
  const auto middle = sample_.begin() + sample_.size() / 2;
  std::nth_element(sample_.begin(), middle, sample_.end());
  double median = *middle, variance = 0, furthest = 0;
  if (sample_.size() % 2 == 0) median = 0.5 * (median + *std::max_element(sample_.begin(), middle));
  for (float v : sample_) {
    const double d = v - median;
    variance += d * d;
    furthest = std::max(furthest, std::abs(d));
  }
  return furthest > 0.999 * threshold * std::sqrt(variance / sample_.size());
}

}  // namespace mwaconvert
