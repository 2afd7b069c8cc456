#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "mwaconvert/base/error.hpp"
#include "mwaconvert/base/parallel.hpp"
#include "mwaconvert/base/simd.hpp"
#include "mwaconvert/transients/period.hpp"

namespace mwaconvert {
namespace {

// out = a + b, b rotated by shift to the left.
MWACONVERT_INLINE void add_rotated(const float* a, const float* b, int64_t shift, int64_t n, float* out) {
  const int64_t whole = n - shift;
  for (int64_t k = 0; k < whole; ++k) out[k] = a[k] + b[k + shift];
  for (int64_t k = whole; k < n; ++k) out[k] = a[k] + b[k - whole];
}

// Sums of the two halves of the rows, for each drift.
MWACONVERT_CLONES
void merge(const float* halves, int64_t n_head, int64_t n_row, int64_t n, float* out) {
  const int64_t n_tail = n_row - n_head, last = n_row - 1;
  for (int64_t s = 0; s < n_row; ++s) {
    const int64_t head = (2 * s * (n_head - 1) + last) / (2 * last);
    const int64_t tail = (2 * s * (n_tail - 1) + last) / (2 * last);
    add_rotated(halves + head * n, halves + (n_head + tail) * n, (s - tail) % n, n, out + s * n);
  }
}

// out and scratch take n_row rows each.
void transform(const float* rows, int64_t n_row, int64_t n, float* out, float* scratch) {
  if (n_row == 1) {
    std::memcpy(out, rows, n * sizeof(float));
    return;
  }
  if (n_row == 2) {
    merge(rows, 1, 2, n, out);
    return;
  }
  const int64_t n_head = n_row / 2;
  transform(rows, n_head, n, scratch, out);
  transform(rows + n_head * n, n_row - n_head, n, scratch + n_head * n, out + n_head * n);
  merge(scratch, n_head, n_row, n, out);
}

struct Template {
  int64_t width;
  float on, off;  // on + off where the boxcar is, -off everywhere
};

std::vector<Template> templates(View<const int32_t, 1> widths, int64_t n) {
  std::vector<Template> out;
  for (int64_t k = 0; k < widths.shape[0]; ++k) {
    const int64_t w = widths(k);
    if (2 * w >= n) break;
    const double h = std::sqrt(static_cast<double>(n - w) / (static_cast<double>(n) * w));
    const double g = h * w / (n - w);
    out.push_back({w, static_cast<float>(h + g), static_cast<float>(g)});
  }
  return out;
}

typedef float f32x16 __attribute__((vector_size(64)));
typedef float f32x16_loose __attribute__((vector_size(64), aligned(4), may_alias));

// The largest difference of sums that are w apart.
MWACONVERT_CLONES
float largest(const float* sums, int64_t w, int64_t n) {
  constexpr int kLanes = 16;
  float most[kLanes];
  for (float& m : most) m = -INFINITY;
  if (n < kLanes) {
    for (int64_t k = 0; k < n; ++k) most[0] = std::max(most[0], sums[k + w] - sums[k]);
    return most[0];
  }
  f32x16 best = *reinterpret_cast<const f32x16_loose*>(most);
  for (int64_t begin = 0; begin < n; begin += kLanes) {
    const float* x = sums + std::min(begin, n - kLanes);  // the last ones overlap
    const f32x16 d =
        *reinterpret_cast<const f32x16_loose*>(x + w) - *reinterpret_cast<const f32x16_loose*>(x);
    best = best < d ? d : best;
  }
  *reinterpret_cast<f32x16_loose*>(most) = best;
  for (int half = kLanes / 2; half > 0; half /= 2)
    for (int lane = 0; lane < half; ++lane) most[lane] = std::max(most[lane], most[lane + half]);
  return most[0];
}

constexpr int kTogether = 8;  // profiles summed side by side: each sum waits for the one before

// Running sums of profiles that lie n apart, from 0 to `reach` samples, the profile going on from its start.
MWACONVERT_CLONES
void running_sums(const float* profiles, int64_t n, int64_t reach, float* sums) {
  double total[kTogether] = {};
  for (int p = 0; p < kTogether; ++p) sums[p * (reach + 1)] = 0;
  for (int64_t k = 0; k < reach; ++k) {
    const float* x = profiles + (k < n ? k : k - n);
    for (int p = 0; p < kTogether; ++p) {
      total[p] += x[p * n];
      sums[p * (reach + 1) + k + 1] = static_cast<float>(total[p]);
    }
  }
}

// Best boxcar of a profile of n bins, of which the running sums are given; the smaller width where equal.
Folded best_boxcar(const float* sums, int64_t n, const std::vector<Template>& shapes) {
  const float total = sums[n];
  Folded best{0, static_cast<int32_t>(n), 0, 0, -INFINITY};
  for (const Template& shape : shapes) {
    const float snr = shape.on * largest(sums, shape.width, n) - shape.off * total;
    if (snr > best.snr) {
      best.snr = snr;
      best.width = static_cast<int32_t>(shape.width);
    }
  }
  return best;
}

// All drifts of one base period.
void search_base(const float* x, int64_t n_row, int64_t n, const std::vector<Template>& shapes,
                 float threshold, int32_t trial, std::vector<Folded>& found) {
  const int64_t reach = n + shapes.back().width;
  const int64_t padded = (n_row + kTogether - 1) / kTogether * kTogether;  // the last rows are not looked at
  std::vector<float> out(padded * n), scratch(n_row * n), sums(kTogether * (reach + 1));
  transform(x, n_row, n, out.data(), scratch.data());
  const float scale = 1 / std::sqrt(static_cast<float>(n_row));
  Folded group{trial, static_cast<int32_t>(n), 0, 0, -INFINITY};
  for (int64_t begin = 0; begin < n_row; begin += kTogether) {
    if (begin % kFfaGroup == 0) group.snr = -INFINITY;
    running_sums(&out[begin * n], n, reach, sums.data());
    for (int64_t s = begin; s < std::min<int64_t>(begin + kTogether, n_row); ++s) {
      Folded one = best_boxcar(&sums[(s - begin) * (reach + 1)], n, shapes);
      one.snr *= scale;
      if (one.snr > group.snr) group = {trial, one.n_bin, static_cast<int32_t>(s), one.width, one.snr};
    }
    const bool last = begin + kTogether >= n_row || (begin + kTogether) % kFfaGroup == 0;
    if (last && group.snr >= threshold) found.push_back(group);
  }
}

static_assert(kFfaGroup % kTogether == 0);

}  // namespace

void ffa_transform(View<const float, 2> rows, View<float, 2> out) {
  if (rows.size() == 0) return;
  std::vector<float> scratch(rows.size());
  transform(rows.data, rows.shape[0], rows.shape[1], out.data, scratch.data());
}

void ffa_search(View<const float, 2> series, int64_t first_bin, int64_t last_bin,
                View<const int32_t, 1> widths, float threshold, std::vector<Folded>& found, int threads) {
  const int64_t n_trial = series.shape[0], n_samp = series.shape[1];
  if (first_bin < 4 || last_bin < first_bin || 2 * (last_bin - 1) > n_samp)
    throw InputError("ffa_search: expected periods of 4 samples or more, of which the series has two");
  for (int64_t k = 0; k < widths.shape[0]; ++k)
    if (widths(k) < 1 || (k > 0 && widths(k) <= widths(k - 1)))
      throw InputError("ffa_search: widths are not positive and ascending");
  if (widths.shape[0] == 0 || 2 * int64_t{widths(0)} >= first_bin)
    throw InputError("ffa_search: no width is less than half of a period");
  const int64_t n_base = last_bin - first_bin;
  std::vector<std::vector<Folded>> parts(n_trial * n_base);
  parallel_for(n_trial * n_base, threads, [&](int64_t item) {
    const int64_t trial = item / n_base, n = first_bin + item % n_base;
    search_base(&series(trial, 0), n_samp / n, n, templates(widths, n), threshold,
                static_cast<int32_t>(trial), parts[item]);
  });
  for (const auto& part : parts) found.insert(found.end(), part.begin(), part.end());
}

}  // namespace mwaconvert
