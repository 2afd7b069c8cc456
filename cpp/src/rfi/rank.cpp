#include <algorithm>
#include <cmath>
#include <cstring>

#include "lanes.hpp"
#include "parts.hpp"

namespace mwaconvert {
namespace {

// Whether any of sixteen lines has so many flags, up to 255.
MWACONVERT_INLINE bool has_flags(const uint8_t* cells, int64_t n, int64_t stride, uint8_t count) {
  bytes16 found{};
  for (int64_t k = 0; k < n; ++k) {
    bytes16 block;
    std::memcpy(&block, cells + k * stride, kLanes);
    const bytes16 more = reinterpret_cast<bytes16>(block == bytes16{} + uint8_t{kFound}) &
                         reinterpret_cast<bytes16>(found < count);
    found -= more;  // 255, that is -1
  }
  return bits_of(reinterpret_cast<bytes16>(found >= count)) != 0;
}

// A cell is flagged if it lies in a stretch over which the sum of omega is not negative: omega = eta where
// flagged, eta - 1 where not, and a share of that where missing. S the sums of omega from the start, that is
// if the largest S behind the cell is not below the smallest S before it. Ties are common (eta = 1/5: four
// flags and a gap) and decided by the rounding of S in single precision, as in AOFlagger.
// cells (n, stride), n_lines of them in use, whole vectors of sixteen; sums: room for 2 * 16 * n.
template <typename V>
MWACONVERT_INLINE void rank_lines_of(uint8_t* cells, int64_t n, int64_t stride, int64_t n_lines, double eta,
                                     double missing, float* sums) {
  using Floats = typename V::Floats;
  const Floats found = V::same(static_cast<float>(eta)), clear = V::same(static_cast<float>(eta) - 1),
               gap = V::same(static_cast<float>(missing * (eta - 1)));
  const auto where = [](bytes16 block, uint8_t cell) __attribute__((always_inline)) {
    return bits_of(reinterpret_cast<bytes16>(block == bytes16{} + cell));
  };
  float* smallest = sums + kLanes * n;
  // as many flags as make up for one cell; fewer in a line add none
  const uint8_t enough = static_cast<uint8_t>(std::min(255.0, std::ceil(0.999 * (1 - eta) / eta)));
  for (int64_t line = 0; line < n_lines; line += kLanes) {
    if (!has_flags(cells + line, n, stride, enough)) continue;
    Floats s = V::same(0.0f), least = V::same(0.0f);
    for (int64_t k = 0; k < n; ++k) {
      bytes16 block;
      std::memcpy(&block, cells + k * stride + line, kLanes);
      const typename V::Mask is_found = V::mask(where(block, kFound)),
                             is_clear = V::mask(where(block, kClear));
      s = V::add(s, V::choose(is_clear, clear, V::choose(is_found, found, gap)));
      V::store(sums + kLanes * k, s);
      V::store(smallest + kLanes * k, least);
      least = V::choose(V::above(least, s), s, least);
    }
    Floats most = V::same(-3e38f);
    for (int64_t k = n - 1; k >= 0; --k) {
      uint8_t* cell = cells + k * stride + line;
      bytes16 block;
      std::memcpy(&block, cell, kLanes);
      most = V::larger(V::load(sums + kLanes * k), most);
      const uint32_t outside = V::bits(V::above(V::load(smallest + kLanes * k), most));
      for (uint32_t more = where(block, kClear) & ~outside; more; more &= more - 1)  // few
        cell[std::countr_zero(more)] = kFound;
    }
  }
}

MWACONVERT_TWICE(void, rank_lines, rank_lines_of,
                 (uint8_t* cells, int64_t n, int64_t stride, int64_t n_lines, double eta, double missing,
                  float* sums),
                 (cells, n, stride, n_lines, eta, missing, sums))

// out (n_columns, out_stride) = in (n_rows, in_stride) transposed; whole blocks of sixteen by sixteen.
MWACONVERT_CLONES
void turn(const uint8_t* in, int64_t n_rows, int64_t n_columns, int64_t in_stride, uint8_t* out,
          int64_t out_stride) {
  for (int64_t r = 0; r < n_rows; r += 16)
    for (int64_t c = 0; c < n_columns; c += 16) {
      bytes16 a[16], b[16];
      for (int64_t k = 0; k < 16; ++k)
        std::memcpy(&a[k], in + std::min(r + k, n_rows - 1) * in_stride + c, 16);
      const auto interleave = [](const bytes16* from, bytes16* to) __attribute__((always_inline)) {
        for (int64_t k = 0; k < 8; ++k) {
          to[2 * k] = __builtin_shufflevector(from[k], from[k + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21,
                                              6, 22, 7, 23);
          to[2 * k + 1] = __builtin_shufflevector(from[k], from[k + 8], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28,
                                                  13, 29, 14, 30, 15, 31);
        }
      };
      interleave(a, b);
      interleave(b, a);
      interleave(a, b);
      interleave(b, a);
      for (int64_t k = 0; k < std::min<int64_t>(16, n_columns - c); ++k)
        std::memcpy(out + (c + k) * out_stride + r, &a[k], 16);
    }
}

}  // namespace

void RankOperator::run(uint8_t* cells, int64_t n_time, int64_t n_chan, int64_t stride, double eta_time,
                       double eta_freq, double missing) {
  sums_.resize(2 * kLanes * std::max(n_time, n_chan));
  rank_lines(cells, n_time, stride, n_chan, eta_time, missing, sums_.data());
  const int64_t turned_stride = padded(n_time);
  turned_.resize(n_chan * turned_stride);
  turn(cells, n_time, n_chan, stride, turned_.data(), turned_stride);
  rank_lines(turned_.data(), n_chan, turned_stride, n_time, eta_freq, missing, sums_.data());
  turn(turned_.data(), n_chan, n_time, turned_stride, cells, stride);
}

}  // namespace mwaconvert
