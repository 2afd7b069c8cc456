#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <vector>

#include "../wide.hpp"
#include "mwaconvert/base/constants.hpp"
#include "mwaconvert/base/parallel.hpp"
#include "mwaconvert/base/simd.hpp"
#include "mwaconvert/base/vector.hpp"
#include "mwaconvert/rfi/input.hpp"
#include "output.hpp"

namespace mwaconvert {
namespace {

// Real and imaginary parts of n cells (n, 4 products): planes[2 p] and planes[2 p + 1] of product p.
template <bool kBigEndian>
MWACONVERT_INLINE void split_cells(const float* in, int64_t n, float* const* planes) {
  int64_t c = 0;
  for (; c + 8 <= n; c += 8) {
    f8 r[8];
    for (int k = 0; k < 8; ++k)
      r[k] = kBigEndian ? load_big_endian(in + 8 * (c + k)) : load(in + 8 * (c + k));
    f8 a[8], b[8];
    for (int k = 0; k < 8; k += 2) {  // eight by eight, transposed
      a[k] = __builtin_shufflevector(r[k], r[k + 1], 0, 8, 1, 9, 4, 12, 5, 13);
      a[k + 1] = __builtin_shufflevector(r[k], r[k + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    }
    for (int k = 0; k < 8; k += 4)
      for (int j = 0; j < 2; ++j) {
        b[k + 2 * j] = __builtin_shufflevector(a[k + j], a[k + j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
        b[k + 2 * j + 1] = __builtin_shufflevector(a[k + j], a[k + j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
      }
    for (int k = 0; k < 4; ++k) {
      store(planes[k] + c, __builtin_shufflevector(b[k], b[k + 4], 0, 1, 2, 3, 8, 9, 10, 11));
      store(planes[k + 4] + c, __builtin_shufflevector(b[k], b[k + 4], 4, 5, 6, 7, 12, 13, 14, 15));
    }
  }
  for (; c < n; ++c) {
    const f8 v = kBigEndian ? load_big_endian(in + 8 * c) : load(in + 8 * c);
    for (int k = 0; k < 8; ++k) planes[k][c] = v[k];
  }
}

MWACONVERT_CLONES
void split(const float* in, bool big_endian, int64_t n, float* const* planes) {
  big_endian ? split_cells<true>(in, n, planes) : split_cells<false>(in, n, planes);
}

// Squares of the amplitudes of n cells (n, 4 products): powers[p] of product p.
template <bool kBigEndian>
MWACONVERT_INLINE void split_powers_of(const float* in, int64_t n, float* const* powers) {
  const auto cell = [in](int64_t c) __attribute__((always_inline)) {
    return kBigEndian ? load_big_endian(in + 8 * c) : load(in + 8 * c);
  };
  const auto two_cells = [&](int64_t c)
                             __attribute__((always_inline)) {  // products 0, 1 of both, 2, 3 of both
                               const f8 v = cell(c), w = cell(c + 1), a = v * v, b = w * w;
                               return __builtin_shufflevector(a, b, 0, 2, 8, 10, 4, 6, 12, 14) +
                                      __builtin_shufflevector(a, b, 1, 3, 9, 11, 5, 7, 13, 15);
                             };
  int64_t c = 0;
  for (; c + 8 <= n; c += 8) {
    const f8 q0 = two_cells(c), q1 = two_cells(c + 2), q2 = two_cells(c + 4), q3 = two_cells(c + 6);
    const f8 even0 = __builtin_shufflevector(q0, q1, 0, 2, 8, 10, 4, 6, 12, 14),  // of products 0 and 2
        odd0 = __builtin_shufflevector(q0, q1, 1, 3, 9, 11, 5, 7, 13, 15);        // of 1 and 3
    const f8 even1 = __builtin_shufflevector(q2, q3, 0, 2, 8, 10, 4, 6, 12, 14),
             odd1 = __builtin_shufflevector(q2, q3, 1, 3, 9, 11, 5, 7, 13, 15);
    store(powers[0] + c, __builtin_shufflevector(even0, even1, 0, 1, 2, 3, 8, 9, 10, 11));
    store(powers[1] + c, __builtin_shufflevector(odd0, odd1, 0, 1, 2, 3, 8, 9, 10, 11));
    store(powers[2] + c, __builtin_shufflevector(even0, even1, 4, 5, 6, 7, 12, 13, 14, 15));
    store(powers[3] + c, __builtin_shufflevector(odd0, odd1, 4, 5, 6, 7, 12, 13, 14, 15));
  }
  for (; c < n; ++c) {
    const f8 v = cell(c), a = v * v;
    for (int p = 0; p < kProducts; ++p) powers[p][c] = a[2 * p] + a[2 * p + 1];
  }
}

MWACONVERT_CLONES
void split_powers(const float* in, bool big_endian, int64_t n, float* const* powers) {
  big_endian ? split_powers_of<true>(in, n, powers) : split_powers_of<false>(in, n, powers);
}

// Sets the bits of n cells that are 1; returns how many are.
MWACONVERT_CLONES
int64_t set_bits(const uint8_t* cells, int64_t n, uint8_t* bits) {
  int64_t count = 0;
  for (int64_t f = 0; f < n; f += 16) {
    const int64_t here = std::min<int64_t>(16, n - f);
    bytes16 cell{};
    here == 16 ? std::memcpy(&cell, cells + f, 16) : std::memcpy(&cell, cells + f, here);
    const uint32_t found = bits_of(reinterpret_cast<bytes16>(cell == bytes16{} + uint8_t{1}));
    if (found == 0) continue;
    bits[f >> 3] |= static_cast<uint8_t>(found);
    if (here > 8) bits[(f >> 3) + 1] |= static_cast<uint8_t>(found >> 8);
    count += std::popcount(found);
  }
  return count;
}

}  // namespace

void rfi_read_mwax(const RfiInput& in, View<const int64_t, 1> file_row, View<float, 4> out, int threads) {
  const Output output(in, out);
  const int64_t n_rows = file_row.shape[0], row_length = 8 * in.n_fine, n_coarse = in.chunks.shape[1];
  const int64_t most = std::max<int64_t>(1, kReadBytes / (4 * row_length));
  parallel_for(in.chunks.size(), threads, [&](int64_t item) {
    static thread_local std::vector<float> input;
    static thread_local Planes planes;
    const int64_t t = item / n_coarse, coarse = item % n_coarse;
    const Chunk& chunk = in.chunks(t, coarse);
    if (chunk.state == kMissing) return output.clear(t, coarse * in.n_fine, in.n_fine);
    planes.reset(in.n_fine);
    for (int64_t begin = 0, end; begin < n_rows; begin = end) {
      for (end = begin + 1; end < n_rows && file_row(end) - file_row(begin) < most;) ++end;
      const int64_t first = file_row(begin), n = file_row(end - 1) + 1 - first;
      input.resize(n * row_length);
      read_rows(chunk, first, n, row_length, input.data());
      for (int64_t row = begin; row < end; ++row) {
        const float* cells = input.data() + (file_row(row) - first) * row_length;
        if (out.shape[1] == kProducts) {
          split_powers(cells, reads_big_endian(chunk), in.n_fine, planes.plane.data());
          output.write_roots(row, t, coarse * in.n_fine, in.n_fine, planes.plane.data());
        } else {
          split(cells, reads_big_endian(chunk), in.n_fine, planes.plane.data());
          output.write(row, t, coarse * in.n_fine, in.n_fine, planes.plane.data());
        }
      }
    }
  });
}

void rfi_amplitudes(View<const std::complex<float>, 4> vis, View<float, 4> out, int threads) {
  const int64_t n_time = vis.shape[1], n_chan = vis.shape[2];
  const RfiInput in{};
  const Output output(in, out);
  parallel_for(vis.shape[0], threads, [&](int64_t row) {
    static thread_local Planes planes;
    planes.reset(n_chan);
    for (int64_t t = 0; t < n_time; ++t) {
      split(reinterpret_cast<const float*>(&vis(row, t, 0, 0)), false, n_chan, planes.plane.data());
      output.write(row, t, 0, n_chan, planes.plane.data());
    }
  });
}

int64_t rfi_set_bits(View<const uint8_t, 3> found, View<const int64_t, 1> row, int64_t n_fine,
                     View<uint8_t, 4> mask, int threads) {
  std::atomic<int64_t> total = 0;
  parallel_for(found.shape[1], threads, [&](int64_t t) {
    int64_t count = 0;
    for (int64_t coarse = 0; coarse < mask.shape[1]; ++coarse)
      for (int64_t k = 0; k < found.shape[0]; ++k)
        count += set_bits(&found(k, t, coarse * n_fine), n_fine, &mask(t, coarse, row(k), 0));
    total += count;
  });
  return total;
}

}  // namespace mwaconvert
