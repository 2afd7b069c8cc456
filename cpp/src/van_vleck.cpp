#include "mwaconvert/van_vleck.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "finish.hpp"
#include "mwaconvert/parallel.hpp"
#include "mwaconvert/simd.hpp"
#include "mwaconvert/vector.hpp"

namespace mwaconvert {
namespace {

constexpr int kLevels = 7;            // on each side of zero
constexpr double kLeastRms = 0.5;     // of the quantised signal: below, nothing is known of sigma
constexpr double kMostVariance = 48;  // 49 is the limit of ever stronger signals
constexpr double kTableRms = 6.5;     // end of the table
constexpr double kTableStep = 1.0 / 256;
constexpr int kTerms = 48;  // c_1, c_3 .. : enough for correlations up to
constexpr double kSeriesLimit = 0.8;

double quantised_variance(double sigma) {
  double sum = kLevels * kLevels;
  for (int k = 0; k < kLevels; ++k) sum -= (2 * k + 1) * std::erf((k + 0.5) / (sigma * M_SQRT2));
  return sum;
}

double quantised_variance_slope(double sigma) {
  double sum = 0;
  for (int k = 0; k < kLevels; ++k) {
    const double x = (k + 0.5) / sigma;
    sum += (2 * k + 1) * x * std::exp(-x * x / 2);
  }
  return sum * std::sqrt(2 / M_PI) / sigma;
}

struct Roots {  // sqrt(m) and 1 / sqrt(m)
  std::array<double, 2 * kTerms + 2> root, inverse;
  Roots() {
    for (size_t m = 0; m < root.size(); ++m) {
      root[m] = std::sqrt(static_cast<double>(m));
      inverse[m] = 1 / root[m];
    }
  }
};

// c_n / sqrt(n!) of n = 1, 3, 5 ..: the Hermite polynomials are normalised as they grow.
void coefficients(double sigma, int n_terms, double* c) {
  static const Roots roots;
  std::fill(c, c + n_terms, 0.0);
  for (int a = 0; a < kLevels; ++a) {
    const double x = (a + 0.5) / sigma, scale = std::sqrt(2 / M_PI) * std::exp(-x * x / 2);
    double before = 0, now = 1;  // He_{m-1}, He_m over sqrt(m!)
    for (int term = 0, m = 0; term < n_terms; ++term) {
      c[term] += scale * now * roots.inverse[m + 1];
      for (int step = 0; step < 2; ++step, ++m) {
        const double next = (x * now - roots.root[m] * before) * roots.inverse[m + 1];
        before = now;
        now = next;
      }
    }
  }
}

// Nodes and weights of Gauss and Legendre on [-1, 1].
template <int kNodes>
std::array<std::pair<double, double>, kNodes> gauss_legendre() {
  std::array<std::pair<double, double>, kNodes> rule;
  for (int k = 0; k < kNodes; ++k) {
    double x = std::cos(M_PI * (k + 0.75) / (kNodes + 0.5)), slope = 1;
    for (int iteration = 0; iteration < 100; ++iteration) {
      double before = 1, now = x;
      for (int n = 2; n <= kNodes; ++n) {
        const double next = ((2 * n - 1) * x * now - (n - 1) * before) / n;
        before = now;
        now = next;
      }
      slope = kNodes * (x * now - before) / (x * x - 1);
      const double step = now / slope;
      x -= step;
      if (std::abs(step) < 1e-15) break;
    }
    rule[k] = {x, 2 / ((1 - x * x) * slope * slope)};
  }
  return rule;
}

// dK / d theta for rho = sin(theta): the integrand of Benkevitch et al. without its singularity at rho = 1.
double integrand(double theta, double sigma1, double sigma2) {
  const double r = std::sin(theta), rest = std::cos(theta) * std::cos(theta);
  double sum = 0;
  for (int a = 0; a < kLevels; ++a)
    for (int b = 0; b < kLevels; ++b) {
      const double x = (a + 0.5) / sigma1, y = (b + 0.5) / sigma2, square = x * x + y * y;
      sum +=
          std::exp(-(square - 2 * r * x * y) / (2 * rest)) + std::exp(-(square + 2 * r * x * y) / (2 * rest));
    }
  return sum / M_PI;
}

double integral(double from, double to, double sigma1, double sigma2) {
  static const auto rule = gauss_legendre<64>();
  const double half = (to - from) / 2;
  double sum = 0;
  for (const auto& [x, weight] : rule) sum += weight * integrand(from + half * (1 + x), sigma1, sigma2);
  return sum * half;
}

// Solves K(rho) = k >= 0 by Newton's steps, kept between bounds that close in.
double correlation(double k, const double* c1, const double* c2, double sigma1, double sigma2) {
  std::array<double, kTerms> b;
  for (int term = 0; term < kTerms; ++term) b[term] = c1[term] * c2[term];
  const auto series = [&b](double rho, double* slope) {
    double value = 0, derivative = 0;
    const double square = rho * rho;
    for (int term = kTerms - 1; term >= 0; --term) {
      value = value * square + b[term];
      derivative = derivative * square + (2 * term + 1) * b[term];
    }
    *slope = derivative;
    return value * rho;
  };
  double slope;
  const double at_limit = series(kSeriesLimit, &slope);
  if (k <= at_limit) {
    double low = 0, high = kSeriesLimit, rho = std::min(k / b[0], high);
    for (int iteration = 0; iteration < 60; ++iteration) {
      const double miss = series(rho, &slope) - k;
      (miss > 0 ? high : low) = rho;
      double next = rho - miss / slope;
      if (!(next >= low && next <= high)) next = (low + high) / 2;
      if (std::abs(next - rho) < 1e-13) return next;
      rho = next;
    }
    return rho;
  }
  const double start = std::asin(kSeriesLimit), end = M_PI / 2 - 1e-9;
  if (k >= at_limit + integral(start, end, sigma1, sigma2)) return 1;
  double low = start, high = end, theta = (low + high) / 2;
  for (int iteration = 0; iteration < 60; ++iteration) {
    const double miss = at_limit + integral(start, theta, sigma1, sigma2) - k;
    (miss > 0 ? high : low) = theta;
    double next = theta - miss / integrand(theta, sigma1, sigma2);
    if (!(next > low && next < high)) next = (low + high) / 2;
    if (std::abs(next - theta) < 1e-11) break;
    theta = next;
  }
  return std::sin(theta);
}

// What the fast paths need of an input, so that each product is a matter of multiplications. With y = k /
// (c_1 c_1') and c_n / sqrt(n!) in place of c_n, K(rho) = k reads y = rho + r_3 rho^3 + r_5 rho^5 + r_7
// rho^7, each r_n a product of two inputs' c_n / c_1.
struct Input {
  float gain = 1;   // sigma / c_1
  float y = 0;      // 1 / (c_1 sqrt(S))
  float r[3] = {};  // c_3, c_5, c_7 over c_1
};
constexpr int kQuantities = 6;  // sigma, then those of an Input with y times sqrt(S)
using Quantities = std::array<double, kQuantities>;

Quantities quantities(double sigma) {
  double c[4];
  coefficients(sigma, 4, c);
  return {sigma, sigma / c[0], 1 / c[0], c[1] / c[0], c[2] / c[0], c[3] / c[0]};
}

double solve_sigma(double variance) {
  double low = 0.3, high = 400, sigma = std::sqrt(variance);
  for (int iteration = 0; iteration < 100; ++iteration) {
    const double miss = quantised_variance(sigma) - variance;
    (miss > 0 ? high : low) = sigma;
    double next = sigma - miss / quantised_variance_slope(sigma);
    if (!(next > low && next < high)) next = (low + high) / 2;
    if (std::abs(next - sigma) < 1e-13 * sigma) return next;
    sigma = next;
  }
  return sigma;
}

// Quantities over the rms of the quantised signal, and cubic interpolation between them.
class Table {
 public:
  Table() {
    const int n = static_cast<int>((kTableRms - kLeastRms) / kTableStep) + 4;
    for (int k = 0; k < n; ++k) {
      const double rms = kLeastRms + (k - 1) * kTableStep;
      rows_.push_back(quantities(solve_sigma(rms * rms)));
    }
  }
  Quantities operator()(double rms) const {
    const double position = (rms - kLeastRms) / kTableStep;
    const int k = static_cast<int>(position);
    const double x = position - k;  // between rows k + 1 and k + 2
    const double w[4] = {-x * (x - 1) * (x - 2) / 6, (x + 1) * (x - 1) * (x - 2) / 2,
                         -(x + 1) * x * (x - 2) / 2, (x + 1) * x * (x - 1) / 6};
    Quantities q{};
    for (int row = 0; row < 4; ++row)
      for (int i = 0; i < kQuantities; ++i) q[i] += w[row] * rows_[k + row][i];
    return q;
  }

 private:
  std::vector<Quantities> rows_;
};

bool correctable(double variance) {
  return variance > kLeastRms * kLeastRms && variance < kMostVariance;
}

Quantities quantities_of(double variance) {
  static const Table table;
  const double rms = std::sqrt(variance);
  return rms < kTableRms ? table(rms) : quantities(solve_sigma(variance));
}

// One float of every input for the first and the second input of the products of a block of two by two slots.
MWACONVERT_INLINE f8 first_slot(float p, float q) {
  return f8{p, p, p, p, q, q, q, q};
}
MWACONVERT_INLINE f8 second_slot(float p, float q) {
  return f8{p, p, q, q, p, p, q, q};
}

// What the fastest path needs of the second input.
struct Second {
  f8 gain, bend, limit;
};

class Channel {
 public:
  void correct(float* products, bool big_endian, int64_t n_slot_antenna, double samples);

 private:
  void find_inputs(const float* products, bool big_endian, int64_t n_slot, double samples);
  f8 correct_strong(f8 v, int64_t a, int64_t b);
  float correct_alone(float v, int64_t s, int64_t u);
  const double* terms(int64_t slot);

  double samples_ = 0;
  std::vector<Input> inputs_;
  std::vector<double> sigma_;  // 0: not corrected
  std::vector<float> gain_, bend_, limit_;
  Scratch<Second> second_;
  std::vector<double> terms_;  // (n_slot, kTerms) coefficients, where needed
  std::vector<uint8_t> terms_known_;
};

int64_t auto_index(int64_t slot) {
  const int64_t a = slot / 2, p = slot % 2;
  return 2 * a * (a + 1) + 4 * a + 3 * p;
}

float native(float v, bool big_endian) {
  if (!big_endian) return v;
  uint32_t word;
  std::memcpy(&word, &v, 4);
  word = __builtin_bswap32(word);
  std::memcpy(&v, &word, 4);
  return v;
}

void Channel::find_inputs(const float* products, bool big_endian, int64_t n_slot, double samples) {
  samples_ = samples;
  inputs_.assign(n_slot, {});
  sigma_.assign(n_slot, 0);
  gain_.assign(n_slot, 1);
  bend_.assign(n_slot, 0);
  limit_.assign(n_slot, std::numeric_limits<float>::max());
  terms_known_.assign(n_slot, 0);
  for (int64_t s = 0; s < n_slot; ++s) {
    const double variance = native(products[2 * auto_index(s)], big_endian) / samples;
    if (!correctable(variance)) continue;
    const Quantities q = quantities_of(variance);
    const double y = q[2] / std::sqrt(samples);
    sigma_[s] = q[0];
    gain_[s] = static_cast<float>(q[1]);
    bend_[s] = static_cast<float>(q[3] * y * y);
    // |rho| up to 0.05: its fifth power is then below 3e-7 of the first
    limit_[s] = static_cast<float>(0.05 / (y * y));
    inputs_[s] = {static_cast<float>(q[1]),
                  static_cast<float>(y),
                  {static_cast<float>(q[3]), static_cast<float>(q[4]), static_cast<float>(q[5])}};
  }
}

const double* Channel::terms(int64_t slot) {
  terms_.resize(sigma_.size() * kTerms);
  double* c = terms_.data() + slot * kTerms;
  if (!terms_known_[slot]) coefficients(sigma_[slot], kTerms, c);
  terms_known_[slot] = 1;
  return c;
}

float Channel::correct_alone(float v, int64_t s, int64_t u) {
  if (!std::isfinite(v)) return v;
  if (sigma_[s] == 0 || sigma_[u] == 0) return v * gain_[s] * gain_[u];
  const double rho = correlation(std::abs(v) / samples_, terms(s), terms(u), sigma_[s], sigma_[u]);
  return static_cast<float>(std::copysign(rho * sigma_[s] * sigma_[u] * samples_, v));
}

// Products of the slot antennas a and b whose correlation may be anything.
MWACONVERT_INLINE f8 Channel::correct_strong(f8 v, int64_t a, int64_t b) {
  const Input *p = &inputs_[2 * a], *q = &inputs_[2 * b];
  const f8 y = v * first_slot(p[0].y, p[1].y) * second_slot(q[0].y, q[1].y);
  f8 r[3];
  for (int n = 0; n < 3; ++n) r[n] = first_slot(p[0].r[n], p[1].r[n]) * second_slot(q[0].r[n], q[1].r[n]);
  const f8 square = y * y;
  f8 ratio = f8{} + 1;  // rho / y
  for (int iteration = 0; iteration < 4; ++iteration) {
    const f8 w = square * ratio * ratio;
    ratio = 1 - w * (r[0] + w * (r[1] + w * r[2])) * ratio;
  }
  f8 result = v * ratio * first_slot(p[0].gain, p[1].gain) * second_slot(q[0].gain, q[1].gain);
  const i8 weak = square * ratio * ratio <= f8{} + 0.09f;
  if (all_true(weak)) return result;
  for (int k = 0; k < 8; ++k)
    if (!weak[k]) result[k] = correct_alone(v[k], 2 * a + k / 4, 2 * b + k % 4 / 2);
  return result;
}

MWACONVERT_CLONES
void Channel::correct(float* products, bool big_endian, int64_t n_slot_antenna, double samples) {
  find_inputs(products, big_endian, 2 * n_slot_antenna, samples);
  Second* second = second_.get(n_slot_antenna);
  for (int64_t b = 0; b < n_slot_antenna; ++b)
    second[b] = {second_slot(gain_[2 * b], gain_[2 * b + 1]), second_slot(bend_[2 * b], bend_[2 * b + 1]),
                 second_slot(limit_[2 * b], limit_[2 * b + 1])};
  float* v = products;
  const f8 no_autos = {0, 0, 1, 1, 1, 1, 0, 0};
  for (int64_t a = 0; a < n_slot_antenna; ++a) {
    const f8 gain = first_slot(gain_[2 * a], gain_[2 * a + 1]);
    const f8 bend = first_slot(bend_[2 * a], bend_[2 * a + 1]);
    const f8 limit = first_slot(limit_[2 * a], limit_[2 * a + 1]);
    const auto correct = [&](f8 x, int64_t b) __attribute__((always_inline)) {
      const f8 square = x * x;
      if (all_true(square <= limit * second[b].limit))
        return x * (gain * second[b].gain) * (1 - square * (bend * second[b].bend));
      return correct_strong(x, a, b);
    };
    for (int64_t b = 0; b < a; ++b, v += 8) store(v, correct(big_endian ? load_big_endian(v) : load(v), b));
    const f8 x = big_endian ? load_big_endian(v) : load(v);
    store(v, correct(x * no_autos, a));
    for (int p = 0; p < 2; ++p) {
      const double sigma = sigma_[2 * a + p];
      v[6 * p] = sigma > 0 ? static_cast<float>(samples * sigma * sigma) : x[6 * p];
      v[6 * p + 1] = sigma > 0 ? 0 : x[6 * p + 1];
    }
    v += 8;
  }
}

}  // namespace

double van_vleck_sigma(double variance) {
  return correctable(variance) ? quantities_of(variance)[0] : 0;
}

double van_vleck_correlation(double k, double sigma1, double sigma2) {
  double c1[kTerms], c2[kTerms];
  coefficients(sigma1, kTerms, c1);
  coefficients(sigma2, kTerms, c2);
  return std::copysign(correlation(std::abs(k), c1, c2, sigma1, sigma2), k);
}

void van_vleck_channel(float* products, bool big_endian, int64_t n_slot_antenna, double samples) {
  static thread_local Channel channel;
  channel.correct(products, big_endian, n_slot_antenna, samples);
}

void van_vleck_channels(View<std::complex<float>, 2> products, int64_t n_slot, double samples, int nthreads) {
  parallel_for(products.shape[0], nthreads, [&](int64_t k) {
    van_vleck_channel(reinterpret_cast<float*>(&products(k, 0)), false, n_slot / 2, samples);
  });
}

}  // namespace mwaconvert
