#include "mwaconvert/rfi/incoherent.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "mwaconvert/base/parallel.hpp"
#include "mwaconvert/base/scratch.hpp"
#include "mwaconvert/base/simd.hpp"
#include "mwaconvert/base/vector.hpp"

namespace mwaconvert {
namespace {

constexpr int64_t kTileBytes = 128 << 10;  // of one integration: two of them fit into a second-level cache
constexpr int64_t kGroups = 32;  // parts that MWAX baselines are summed in, over all coarse channels

MWACONVERT_CLONES
void to_native(float* values, int64_t n) {
  for (int64_t k = 0; k < n; k += 8) store(values + k, load_big_endian(values + k));
}

// |a - b| of eight complex numbers.
MWACONVERT_INLINE f8 distances(const float* a, const float* b) {
  const f8 d0 = load(a) - load(b), d1 = load(a + 8) - load(b + 8);
  const f8 q0 = d0 * d0, q1 = d1 * d1;
  const f8 square = __builtin_shufflevector(q0, q1, 0, 2, 4, 6, 8, 10, 12, 14) +
                    __builtin_shufflevector(q0, q1, 1, 3, 5, 7, 9, 11, 13, 15);
  f8 root;
  for (int k = 0; k < 8; ++k) root[k] = __builtin_sqrtf(square[k]);
  return root;
}

// sum += |a - b| and count += 1, complex number by complex number, where that is finite.
MWACONVERT_CLONES
void add_distances(const float* a, const float* b, int64_t n, float* sum, float* count) {
  constexpr float inf = std::numeric_limits<float>::infinity();
  int64_t k = 0;
  for (; k + 8 <= n; k += 8) {
    const f8 d = distances(a + 2 * k, b + 2 * k);
    const i8 finite = d < inf;
    const f8 one = {1, 1, 1, 1, 1, 1, 1, 1};
    store(sum + k, load(sum + k) + reinterpret_cast<f8>(reinterpret_cast<i8>(d) & finite));
    store(count + k, load(count + k) + reinterpret_cast<f8>(reinterpret_cast<i8>(one) & finite));
  }
  for (; k < n; ++k) {
    const float re = a[2 * k] - b[2 * k], im = a[2 * k + 1] - b[2 * k + 1];
    const float d = __builtin_sqrtf(re * re + im * im);
    if (d < inf) {
      sum[k] += d;
      count[k] += 1;
    }
  }
}

MWACONVERT_CLONES
void list_distances(const float* a, const float* b, int64_t n, float* out) {
  for (int64_t k = 0; k < n; k += 8) store(out + k, distances(a + 2 * k, b + 2 * k));
}

void read_native(const Chunk& chunk, int64_t row0, int64_t n_rows, int64_t row_length, float* out) {
  read_rows(chunk, row0, n_rows, row_length, out);
  if (reads_big_endian(chunk)) to_native(out, n_rows * row_length);
}

// Calls use(t, now, before) for every pair of good neighbours, each integration read once.
template <typename Read, typename Use>
void over_pairs(View<const Chunk, 2> chunks, int64_t coarse, float* now, float* before, const Read& read,
                const Use& use) {
  bool have = false;
  for (int64_t t = 0; t < chunks.shape[0]; ++t) {
    const Chunk& chunk = chunks(t, coarse);
    if (chunk.state != kGood) {
      have = false;
      continue;
    }
    read(chunk, now);
    if (have) use(t - 1, now, before);
    std::swap(now, before);
    have = true;
  }
}

}  // namespace

void incoherent_mwax(View<const Chunk, 2> chunks, View<const int64_t, 1> file_row,
                     const IncoherentOutput& out, int threads) {
  const int64_t n_rows = file_row.shape[0], n_coarse = chunks.shape[1], n_pair = out.sum.shape[0];
  const int64_t cells = out.sum.shape[2] * 4, row_length = 2 * cells;
  const int64_t n_groups = std::clamp<int64_t>(kGroups / n_coarse, 1, n_rows);
  const int64_t tile = std::max<int64_t>(1, kTileBytes / (4 * row_length));
  // sums, then counts, of each group and coarse channel
  std::vector<std::vector<float>> parts(n_coarse * n_groups);
  parallel_for(n_coarse * n_groups, threads, [&](int64_t item) {
    const int64_t coarse = item / n_groups, group = item % n_groups;
    const int64_t group_begin = n_rows * group / n_groups, group_end = n_rows * (group + 1) / n_groups;
    static thread_local Scratch<float> memory;
    std::vector<float>& part = parts[item];
    part.assign(2 * n_pair * cells, 0.0f);
    for (int64_t begin = group_begin, end; begin < group_end; begin = end) {
      for (end = begin + 1; end < group_end && file_row(end) - file_row(begin) < tile;) ++end;
      const int64_t first = file_row(begin), n = file_row(end - 1) + 1 - first;
      float* now = memory.get(2 * n * row_length);
      over_pairs(
          chunks, coarse, now, now + n * row_length,
          [&](const Chunk& chunk, float* to) { read_native(chunk, first, n, row_length, to); },
          [&](int64_t t, const float* a, const float* b) {
            for (int64_t r = begin; r < end; ++r) {
              const int64_t at = (file_row(r) - first) * row_length;
              add_distances(a + at, b + at, cells, &part[t * cells], &part[(n_pair + t) * cells]);
            }
          });
    }
  });
  for (int64_t item = 0; item < n_coarse * n_groups; ++item)
    for (int64_t t = 0; t < n_pair; ++t)
      for (int64_t k = 0; k < cells; ++k) {
        const std::vector<float>& part = parts[item];
        out.sum(t, item / n_groups, k / 4, k % 4) += static_cast<double>(part[t * cells + k]);
        out.count(t, item / n_groups, k / 4, k % 4) += static_cast<int64_t>(part[(n_pair + t) * cells + k]);
      }
}

void incoherent_legacy(View<const Chunk, 2> chunks, int64_t n_product, View<const int32_t, 2> product,
                       const IncoherentOutput& out, int threads) {
  const int64_t n_fine = out.sum.shape[2];
  parallel_for(chunks.shape[1] * n_fine, threads, [&](int64_t item) {
    const int64_t coarse = item / n_fine, fine = item % n_fine;
    static thread_local Scratch<float> memory;
    float* now = memory.get(5 * n_product);
    float* distance = now + 4 * n_product;
    over_pairs(
        chunks, coarse, now, now + 2 * n_product,
        [&](const Chunk& chunk, float* to) { read_native(chunk, fine, 1, 2 * n_product, to); },
        [&](int64_t t, const float* a, const float* b) {
          list_distances(a, b, n_product, distance);
          double sum[4] = {};
          int64_t count[4] = {};
          for (int64_t r = 0; r < product.shape[0]; ++r)
            for (int p = 0; p < 4; ++p) {
              const float d = distance[product(r, p)];
              if (!std::isfinite(d)) continue;
              sum[p] += static_cast<double>(d);
              ++count[p];
            }
          for (int p = 0; p < 4; ++p) {
            out.sum(t, coarse, fine, p) += sum[p];
            out.count(t, coarse, fine, p) += count[p];
          }
        });
  });
}

}  // namespace mwaconvert
