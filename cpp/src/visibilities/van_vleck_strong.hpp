// Van Vleck correction of correlations of any strength; formulas in mwaconvert/visibilities/van_vleck.hpp.
#pragma once

namespace mwaconvert {

constexpr int kLevels = 7;  // of the quantiser, on each side of zero

// An input of which some correlations are strong.
struct StrongInput {
  static constexpr int kTerms = 20;  // of the series: enough for correlations up to 0.6
  double sigma = 0;
  double c[kTerms] = {};  // c_n / sqrt(n!) of n = 1, 3, 5 ..

  StrongInput() = default;
  explicit StrongInput(double sigma_) : sigma(sigma_) { coefficients(sigma_, kTerms, c); }

  static void coefficients(double sigma, int n_terms, double* c);
};

// Correlations rho >= 0 from k = K(rho) >= 0 of two by two inputs, real and imaginary part of each pair:
// index 4 * first + 2 * second + part. start: near to rho, or anything. More than the quantiser can show
// gives 1. Where k is 0 the inputs do not matter.
void strong_correlations(const StrongInput* const first[2], const StrongInput* const second[2],
                         const double k[8], const double start[8], double rho[8]);

}  // namespace mwaconvert
