#include <cmath>
#include <vector>

#include "mwaconvert/base/error.hpp"
#include "mwaconvert/base/parallel.hpp"
#include "mwaconvert/base/simd.hpp"
#include "mwaconvert/transients/period.hpp"

namespace mwaconvert {
namespace {

constexpr int64_t kPiece = 1024;  // samples whose bins are found at a time
constexpr int64_t kMostBins = 1 << 20;

// Bins of n samples.
MWACONVERT_CLONES
void find_bins(uint64_t phase, uint64_t step, uint64_t n_bin, int64_t n, int32_t* bins) {
  for (int64_t k = 0; k < n; ++k) {
    bins[k] = static_cast<int32_t>(((phase >> 32) * n_bin) >> 32);
    phase += step;
  }
}

template <typename T>
void fold_channel(const T* data, const float* weights, int64_t n, uint64_t phase, uint64_t step,
                  int64_t n_bin, double* sums, double* counts) {
  int32_t bins[kPiece];
  for (int64_t begin = 0; begin < n; begin += kPiece) {
    const int64_t size = std::min(kPiece, n - begin);
    find_bins(phase + static_cast<uint64_t>(begin) * step, step, static_cast<uint64_t>(n_bin), size, bins);
    for (int64_t k = 0; k < size; ++k) {
      const double weight = weights == nullptr ? 1.0 : weights[begin + k];
      if (weight == 0) continue;
      sums[bins[k]] += weight * static_cast<double>(data[begin + k]);
      counts[bins[k]] += weight;
    }
  }
}

}  // namespace

uint64_t phase_of(double cycles) {
  const double part = cycles - std::floor(cycles);
  return static_cast<uint64_t>(std::ldexp(part, 63)) << 1;  // 2^64 itself would not fit
}

template <typename T>
void fold(View<const T, 2> data, View<const float, 2> weights, double phase, double step,
          View<const double, 1> shift, View<const int32_t, 1> edges, View<double, 2> sums,
          View<double, 2> counts, int threads) {
  const int64_t n_chan = data.shape[0], n_band = sums.shape[0], n_bin = sums.shape[1];
  if (n_bin < 1 || n_bin > kMostBins) throw InputError("fold: expected 1 to 2^20 bins");
  if (!std::isfinite(phase) || !std::isfinite(step)) throw InputError("fold: a phase is not finite");
  for (int64_t c = 0; c < n_chan; ++c)
    if (!std::isfinite(shift(c))) throw InputError("fold: a phase is not finite");
  if (edges(0) != 0 || edges(n_band) != n_chan) throw InputError("fold: bands do not cover the channels");
  for (int64_t b = 0; b < n_band; ++b)
    if (edges(b) > edges(b + 1)) throw InputError("fold: edges of bands are not in order");
  const uint64_t increment = phase_of(step);
  parallel_for(n_band, threads, [&](int64_t b) {
    for (int64_t c = edges(b); c < edges(b + 1); ++c)
      fold_channel(&data(c, 0), weights.shape[0] == 0 ? nullptr : &weights(c, 0), data.shape[1],
                   phase_of(phase - shift(c)), increment, n_bin, &sums(b, 0), &counts(b, 0));
  });
}

template void fold(View<const uint8_t, 2>, View<const float, 2>, double, double, View<const double, 1>,
                   View<const int32_t, 1>, View<double, 2>, View<double, 2>, int);
template void fold(View<const float, 2>, View<const float, 2>, double, double, View<const double, 1>,
                   View<const int32_t, 1>, View<double, 2>, View<double, 2>, int);

}  // namespace mwaconvert
