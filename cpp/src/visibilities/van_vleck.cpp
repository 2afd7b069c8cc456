#include "mwaconvert/visibilities/van_vleck.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "mwaconvert/base/parallel.hpp"
#include "mwaconvert/base/scratch.hpp"
#include "mwaconvert/base/simd.hpp"
#include "mwaconvert/base/vector.hpp"
#include "van_vleck_strong.hpp"

namespace mwaconvert {
namespace {

constexpr double kLeastRms = 0.5;     // of the quantised signal: below, nothing is known of sigma
constexpr double kMostVariance = 48;  // 49 is the limit of ever stronger signals
constexpr double kTableRms = 6.5;     // end of the table
constexpr double kTableStep = 1.0 / 256;

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
  StrongInput::coefficients(sigma, 4, c);
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
  void correct_very_strong(const f8& v, const f8& start, int64_t a, int64_t b, f8* result);
  const StrongInput* strong(int64_t slot);

  double samples_ = 0;
  std::vector<Input> inputs_;
  std::vector<double> sigma_;  // 0: not corrected
  std::vector<float> gain_, bend_, limit_;
  Scratch<Second> second_;
  std::vector<StrongInput> strong_;  // where needed
  std::vector<uint8_t> strong_known_;
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
  strong_.resize(n_slot);
  strong_known_.assign(n_slot, 0);
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

const StrongInput* Channel::strong(int64_t slot) {
  if (!strong_known_[slot]) strong_[slot] = sigma_[slot] > 0 ? StrongInput(sigma_[slot]) : StrongInput();
  strong_known_[slot] = 1;
  return &strong_[slot];
}

// The products v of the slot antennas a and b, corrected in double precision; start: correlations, nearly.
// What is not finite, and pairs with an input that is not corrected, stay as they are in `result`.
void Channel::correct_very_strong(const f8& v, const f8& start, int64_t a, int64_t b, f8* result) {
  const StrongInput* const first[2] = {strong(2 * a), strong(2 * a + 1)};
  const StrongInput* const second[2] = {strong(2 * b), strong(2 * b + 1)};
  double k[8], near[8], rho[8], size[8];
  for (int i = 0; i < 8; ++i) {
    size[i] = first[i / 4]->sigma * second[i % 4 / 2]->sigma * samples_;
    k[i] = std::isfinite(v[i]) && size[i] > 0 ? std::abs(v[i]) / samples_ : 0;
    near[i] = std::abs(start[i]);
  }
  strong_correlations(first, second, k, near, rho);
  for (int i = 0; i < 8; ++i)
    if (k[i] > 0) (*result)[i] = static_cast<float>(std::copysign(rho[i] * size[i], v[i]));
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
  // where the iteration goes astray it may end anywhere
  const i8 weak = (square * ratio * ratio <= f8{} + 0.09f) & (square <= f8{} + 0.12f);
  if (!all_true(weak)) correct_very_strong(v, y * ratio, a, b, &result);
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
  const StrongInput one(sigma1), other(sigma2);
  const StrongInput *const first[2] = {&one, &one}, *const second[2] = {&other, &other};
  double all[8], start[8], rho[8];
  std::fill_n(all, 8, std::abs(k));
  std::fill_n(start, 8, std::abs(k) / (one.c[0] * other.c[0]));
  strong_correlations(first, second, all, start, rho);
  return std::copysign(rho[0], k);
}

void van_vleck_channel(float* products, bool big_endian, int64_t n_slot_antenna, double samples) {
  static thread_local Channel channel;
  channel.correct(products, big_endian, n_slot_antenna, samples);
}

void van_vleck_channels(View<std::complex<float>, 2> products, int64_t n_slot, double samples, int threads) {
  parallel_for(products.shape[0], threads, [&](int64_t k) {
    van_vleck_channel(reinterpret_cast<float*>(&products(k, 0)), false, n_slot / 2, samples);
  });
}

}  // namespace mwaconvert
