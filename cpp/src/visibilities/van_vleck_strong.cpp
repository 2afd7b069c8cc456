#include "van_vleck_strong.hpp"

#include <array>
#include <cmath>
#include <cstdint>

#include "mwaconvert/base/simd.hpp"
#include "mwaconvert/base/vector.hpp"

namespace mwaconvert {
namespace {

typedef double d8 __attribute__((vector_size(64)));
typedef int64_t l8 __attribute__((vector_size(64)));

constexpr double kSeriesLimit = 0.6;
constexpr int kNodes = 8;
constexpr int kPanels = 12;
constexpr double kNarrower = 1.6;   // each panel than the one before
constexpr double kNegligible = 40;  // exp(-40) of 98 terms is nothing beside what matters

// exp(x) of x <= 0 to 1e-11; below -700 it stays there.
MWACONVERT_INLINE d8 exp_of_negative(d8 x) {
  x = x > -700 ? x : d8{} - 700;
  const d8 shift = d8{} + 0x1.8p52;  // the last bits of what is added to it are the nearest whole number
  const d8 place = x * M_LOG2E + shift;
  const d8 whole = place - shift;
  const d8 r = (x - whole * 0x1.62e42fefa0000p-1) - whole * 0x1.cf79abc9e3b3ap-40;
  d8 sum = d8{} + 1 / 3628800.0;
  double factorial = 3628800;
  for (int n = 9; n >= 0; --n) {
    factorial /= n + 1;
    sum = sum * r + 1 / factorial;
  }
  return sum * reinterpret_cast<d8>((reinterpret_cast<l8>(place) + 1023) << 52);
}

MWACONVERT_INLINE bool any(l8 v) {
  int64_t some = 0;
  for (int k = 0; k < 8; ++k) some |= v[k];
  return some != 0;
}

MWACONVERT_INLINE d8 absolute(d8 v) {
  return v < 0 ? -v : v;
}

struct Roots {  // sqrt(m) and 1 / sqrt(m)
  std::array<double, 2 * StrongInput::kTerms + 2> root, inverse;
  Roots() {
    for (size_t m = 0; m < root.size(); ++m) {
      root[m] = std::sqrt(static_cast<double>(m));
      inverse[m] = 1 / root[m];
    }
  }
};

// Where the integral takes over: in phi, rho = cos(phi), from 0.927 (rho = 0.6) down to 0. Its integrand
//   1/pi sum_ab exp(-(x^2 + y^2 - 2 rho x y) / (2 sin^2 phi)) + the same of -rho
// has features of the size |x_a - y_b|, however small these are, so panels get narrower towards 0.
struct Panel {
  double low, high;
  double node[kNodes];
  d8 across, along;  // 1 / (2 sin^2 phi) and 2 cos(phi) times that
};

struct Panels {
  std::array<Panel, kPanels> panel;
  double weight[kNodes];
  double primitive[kNodes + 1][kNodes];  // powers of z in the integral from -1 to z of the interpolation

  Panels() {
    double x[kNodes];
    for (int k = 0; k < kNodes; ++k) find_node(k, &x[k], &weight[k]);
    double high = std::acos(kSeriesLimit);
    for (Panel& p : panel) {
      p.high = high;
      p.low = high /= kNarrower;
      for (int k = 0; k < kNodes; ++k) {
        p.node[k] = p.low + (p.high - p.low) * (1 + x[k]) / 2;
        p.across[k] = 1 / (2 * std::sin(p.node[k]) * std::sin(p.node[k]));
        p.along[k] = 2 * std::cos(p.node[k]) * p.across[k];
      }
    }
    for (int k = 0; k < kNodes; ++k) {  // Lagrange's polynomials, integrated
      std::array<double, kNodes + 1> power{1};
      double scale = 1;
      for (int j = 0, degree = 0; j < kNodes; ++j) {
        if (j == k) continue;
        scale *= x[k] - x[j];
        ++degree;
        for (int n = degree; n >= 0; --n) power[n] = (n > 0 ? power[n - 1] : 0) - x[j] * power[n];
      }
      primitive[0][k] = 0;
      for (int n = 0; n < kNodes; ++n) primitive[n + 1][k] = power[n] / scale / (n + 1);
      double at_begin = 0;
      for (int n = kNodes; n > 0; --n) at_begin = -(at_begin + primitive[n][k]);
      primitive[0][k] = -at_begin;
    }
  }

 private:
  // Of Gauss and Legendre on [-1, 1].
  static void find_node(int k, double* node, double* weight) {
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
    *node = x;
    *weight = 2 / ((1 - x * x) * slope * slope);
  }
};

// The integrand as it stands.
MWACONVERT_INLINE d8 sum_terms(const Panel& panel, double sigma1, double sigma2) {
  const double least = panel.across[0];  // the first node is the largest: the function falls with across
  d8 sum{};
  for (int a = 0; a < kLevels; ++a)
    for (int b = 0; b < kLevels; ++b) {
      const double x = (a + 0.5) / sigma1, y = (b + 0.5) / sigma2, apart = (x - y) * (x - y);
      if (apart * least + x * y / 2 > kNegligible) continue;
      const d8 q = (x * x + y * y) * panel.across, p = (x * y) * panel.along;
      sum += exp_of_negative(p - q);
      if ((apart + 2 * x * y) * least < kNegligible) sum += exp_of_negative(-p - q);
    }
  return sum;
}

// The same from powers of few exponentials, as x y is an odd multiple of that of the lowest levels.
MWACONVERT_INLINE d8 sum_powers(const Panel& panel, double sigma1, double sigma2) {
  d8 of_y[kLevels];
  for (int b = 0; b < kLevels; ++b) {
    const double y = (b + 0.5) / sigma2;
    of_y[b] = exp_of_negative(-y * y * panel.across);
  }
  const d8 least = exp_of_negative(-panel.along / (4 * sigma1 * sigma2)), most = 1 / least;
  const d8 least_square = least * least, most_square = most * most;
  d8 fall = least, rise = most, sum{};
  for (int a = 0; a < kLevels; ++a, fall *= least_square, rise *= most_square) {
    const double x = (a + 0.5) / sigma1;
    const d8 fall_square = fall * fall, rise_square = rise * rise;
    d8 low = fall, high = rise, part{};
    for (int b = 0; b < kLevels; ++b, low *= fall_square, high *= rise_square) part += of_y[b] * (low + high);
    sum += exp_of_negative(-x * x * panel.across) * part;
  }
  return sum;
}

MWACONVERT_INLINE d8 integrand(const Panel& panel, double sigma1, double sigma2) {
  const double most = (kLevels - 0.5) * (kLevels - 0.5) * (1 / (sigma1 * sigma1) + 1 / (sigma2 * sigma2));
  const bool in_range = most * panel.across[kNodes - 1] < 600;
  return (in_range ? sum_powers(panel, sigma1, sigma2) : sum_terms(panel, sigma1, sigma2)) / M_PI;
}

// Where the integral from -1 of what has the values `value` at the nodes is `wanted`.
double solve_within(const Panels& panels, const d8& value, double wanted) {
  double power[kNodes + 1], low = -1, high = 1, z = 0;
  for (int n = 0; n <= kNodes; ++n) {
    power[n] = 0;
    for (int k = 0; k < kNodes; ++k) power[n] += panels.primitive[n][k] * value[k];
  }
  for (int iteration = 0; iteration < 60; ++iteration) {
    double sum = 0, slope = 0;
    for (int n = kNodes; n >= 0; --n) {
      slope = slope * z + sum;
      sum = sum * z + power[n];
    }
    const double miss = sum - wanted;
    (miss > 0 ? high : low) = z;
    double next = z - miss / slope;
    if (!(next >= low && next <= high)) next = (low + high) / 2;
    if (std::abs(next - z) < 1e-12) return next;
    z = next;
  }
  return z;
}

// Of one pair of inputs with K(0.6) = at_limit below both k that are not negative.
MWACONVERT_INLINE void solve_integral(double sigma1, double sigma2, double at_limit, const double* k,
                                      double* rho) {
  static const Panels panels;
  double total = at_limit;
  bool wanted[2] = {k[0] >= 0, k[1] >= 0};
  for (const Panel& panel : panels.panel) {
    const d8 value = integrand(panel, sigma1, sigma2);
    double part = 0;
    for (int n = 0; n < kNodes; ++n) part += panels.weight[n] * value[n];
    const double half = (panel.high - panel.low) / 2, end = total + half * part;
    for (int i = 0; i < 2; ++i) {
      if (!wanted[i] || k[i] > end) continue;
      // from the low end of phi, at which K is `end`
      const double z = solve_within(panels, value, (end - k[i]) / half);
      rho[i] = std::cos(panel.low + half * (1 + z));
      wanted[i] = false;
    }
    if (!wanted[0] && !wanted[1]) return;
    total = end;
  }
  for (int i = 0; i < 2; ++i)
    if (wanted[i]) rho[i] = 1;
}

}  // namespace

MWACONVERT_CLONES
void StrongInput::coefficients(double sigma, int n_terms, double* c) {
  static const Roots roots;
  d8 x, scale;
  for (int a = 0; a < 8; ++a) x[a] = (a + 0.5) / sigma;
  scale = std::sqrt(2 / M_PI) * exp_of_negative(x * x / -2);
  scale[kLevels] = 0;
  d8 before{}, now = scale;  // He_{m-1}, He_m over sqrt(m!), which keeps them from growing
  for (int term = 0, m = 0; term < n_terms; ++term) {
    double sum = 0;
    for (int a = 0; a < kLevels; ++a) sum += now[a];
    c[term] = sum * roots.inverse[m + 1];
    for (int step = 0; step < 2; ++step, ++m) {
      const d8 next = (x * now - roots.root[m] * before) * roots.inverse[m + 1];
      before = now;
      now = next;
    }
  }
}

MWACONVERT_CLONES
void strong_correlations(const StrongInput* const first[2], const StrongInput* const second[2],
                         const double k[8], const double start[8], double rho[8]) {
  constexpr int kTerms = StrongInput::kTerms;
  d8 b[kTerms], wanted, now;
  for (int i = 0; i < 8; ++i) {
    wanted[i] = k[i];
    now[i] = start[i];
  }
  for (int n = 0; n < kTerms; ++n) {
    const double p = first[0]->c[n], q = first[1]->c[n], r = second[0]->c[n], s = second[1]->c[n];
    b[n] = d8{p, p, p, p, q, q, q, q} * d8{r, r, s, s, r, r, s, s};
  }
  b[0] = wanted == 0 ? d8{} + 1 : b[0];
  // Newton's steps, kept between bounds that close in; what is beyond the limit stays at it
  const d8 limit = d8{} + kSeriesLimit;
  d8 low{}, high = limit, miss{}, value{};
  now = now > 0 ? now : d8{};
  now = now < limit ? now : limit;
  for (int iteration = 0; iteration < 60; ++iteration) {
    const d8 square = now * now;
    d8 sum = b[kTerms - 1], slope{};
    for (int n = kTerms - 2; n >= 0; --n) {
      slope = slope * square + sum;
      sum = sum * square + b[n];
    }
    value = sum * now;
    miss = value - wanted;
    low = miss > 0 ? low : now;
    high = miss > 0 ? now : high;
    d8 next = now - miss / (sum + 2 * square * slope);
    next = ((next >= low) & (next <= high)) ? next : (low + high) / 2;
    const d8 change = absolute(next - now);
    now = next;
    if (!any(change > 3e-5)) break;  // the next one would be its square
  }
  const l8 beyond = low >= limit;
  for (int i = 0; i < 8; ++i) rho[i] = now[i];
  if (!any(beyond)) return;
  for (int i = 0; i < 8; i += 2) {
    if (!(beyond[i] | beyond[i + 1])) continue;
    const double pair[2] = {beyond[i] ? k[i] : -1, beyond[i + 1] ? k[i + 1] : -1};
    const double at_limit = beyond[i] ? value[i] : value[i + 1];
    solve_integral(first[i / 4]->sigma, second[i % 4 / 2]->sigma, at_limit, pair, rho + i);
  }
}

}  // namespace mwaconvert
