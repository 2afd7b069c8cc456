#include <algorithm>
#include <cmath>
#include <vector>

#include "mwaconvert/base/error.hpp"
#include "mwaconvert/base/parallel.hpp"
#include "mwaconvert/transients/period.hpp"

namespace mwaconvert {
namespace {

constexpr int64_t kPiece = 4096;  // bins that are summed at a time
constexpr int64_t kMostLevels = 6;

// Adds the harmonics that a level has and the one before has not: those of odd number.
void add_harmonics(const float* power, int64_t begin, int64_t n, int64_t n_harmonic, float* sums) {
  for (int64_t k = 1; k < n_harmonic; k += 2)
    for (int64_t j = 0; j < n; ++j) sums[j] += power[((begin + j) * k + n_harmonic / 2) / n_harmonic];
}

void keep_best(const float* sums, int64_t begin, int64_t n, int64_t from, float threshold, Harmonic hit,
               std::vector<Harmonic>& found) {
  for (int64_t group = 0; group < n; group += kHarmonicGroup) {
    hit.power = -INFINITY;
    for (int64_t j = std::max(group, from - begin); j < std::min(group + kHarmonicGroup, n); ++j)
      if (sums[j] > hit.power) {
        hit.power = sums[j];
        hit.bin = static_cast<int32_t>(begin + j);
      }
    if (hit.power >= threshold) found.push_back(hit);
  }
}

}  // namespace

void harmonic_search(View<const float, 2> power, int64_t first, View<const float, 1> thresholds,
                     std::vector<Harmonic>& found, int threads) {
  const int64_t n_trial = power.shape[0], n_bin = power.shape[1], n_level = thresholds.shape[0];
  if (n_level < 1 || n_level > kMostLevels) throw InputError("harmonic_search: expected 1 to 6 levels");
  if (first < 1 || n_bin > INT32_MAX) throw InputError("harmonic_search: expected a first bin above 0");
  const int64_t n_piece = (n_bin + kPiece - 1) / kPiece;
  std::vector<std::vector<Harmonic>> parts(n_trial * n_level * n_piece);
  parallel_for(n_trial * n_piece, threads, [&](int64_t item) {
    const int64_t trial = item / n_piece, piece = item % n_piece;
    const int64_t begin = piece * kPiece, n = std::min(kPiece, n_bin - begin);
    const float* row = &power(trial, 0);
    std::vector<float> sums(row + begin, row + begin + n);
    for (int64_t level = 0; level < n_level; ++level) {
      const int64_t n_harmonic = int64_t{1} << level;
      if (level > 0) add_harmonics(row, begin, n, n_harmonic, sums.data());
      const Harmonic hit{static_cast<int32_t>(trial), static_cast<int32_t>(level), 0, 0};
      keep_best(sums.data(), begin, n, first * n_harmonic, thresholds(level), hit,
                parts[(trial * n_level + level) * n_piece + piece]);
    }
  });
  for (const auto& part : parts) found.insert(found.end(), part.begin(), part.end());
}

}  // namespace mwaconvert
