#include "mwaconvert/ms.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>

#include "mwaconvert/parallel.hpp"
#include "mwaconvert/simd.hpp"

namespace mwaconvert {
namespace {

constexpr int64_t kRowsPerTask = 32;

static_assert(sizeof(bool) == 1);

// One row of n channels. Returns whether everything is flagged.
MWACONVERT_CLONES
bool split_row(const float* weight, int64_t n, float* spectrum, bool* flag, float* sum) {
  uint32_t all = 0x80000000u;
  for (int64_t k = 0; k < 4 * n; ++k) {
    const uint32_t bits = std::bit_cast<uint32_t>(weight[k]);
    spectrum[k] = std::bit_cast<float>(bits & 0x7fffffffu);
    flag[k] = static_cast<bool>(bits >> 31);
    all &= bits;
  }
  // four channels at a time: one running sum would wait for itself
  double part[4][4] = {};
  int64_t c = 0;
  for (; c + 4 <= n; c += 4)
    for (int lane = 0; lane < 4; ++lane)
      for (int p = 0; p < 4; ++p) part[lane][p] += static_cast<double>(spectrum[4 * (c + lane) + p]);
  for (; c < n; ++c)
    for (int p = 0; p < 4; ++p) part[0][p] += static_cast<double>(spectrum[4 * c + p]);
  for (int p = 0; p < 4; ++p)
    sum[p] = static_cast<float>((part[0][p] + part[1][p]) + (part[2][p] + part[3][p]));
  return all != 0;
}

}  // namespace

void ms_columns(View<const float, 3> weight, int64_t first_chan, View<float, 3> weight_spectrum,
                View<bool, 3> flag, View<float, 2> weight_sum, View<bool, 1> flag_row, int nthreads) {
  const int64_t n_rows = weight.shape[0];
  const int64_t n_chan = weight_spectrum.shape[1];
  parallel_for((n_rows + kRowsPerTask - 1) / kRowsPerTask, nthreads, [&](int64_t task) {
    const int64_t end = std::min(n_rows, (task + 1) * kRowsPerTask);
    for (int64_t r = task * kRowsPerTask; r < end; ++r) {
      flag_row(r) = split_row(&weight(r, first_chan, 0), n_chan, &weight_spectrum(r, 0, 0), &flag(r, 0, 0),
                              &weight_sum(r, 0));
    }
  });
}

}  // namespace mwaconvert
