#include <algorithm>
#include <cstring>

#include "mwaconvert/simd.hpp"
#include "rfi_parts.hpp"

namespace mwaconvert {
namespace {

// A cell is flagged if it lies in a stretch over which the sum of omega is not negative: omega = eta where
// flagged, eta - 1 where not, and a share of that where missing. S the sums of omega from the start, that is
// if the largest S behind the cell is not below the smallest S before it. Ties are common (eta = 1/5: four
// flags and a gap) and decided by the rounding of S in single precision, as in AOFlagger.
// cells (n, n_lines), sixteen lines at a time; sums: room for 2 * 16 * (n + 1).
MWACONVERT_CLONES
void rank_lines(uint8_t* cells, int64_t n, int64_t n_lines, double eta, double missing, float* sums) {
  const float found = static_cast<float>(eta), clear = found - 1;
  const float gap = static_cast<float>(missing * (eta - 1));
  float* smallest = sums + kLanes * (n + 1);
  for (int64_t line = 0; line < n_lines; line += kLanes) {
    const int64_t width = std::min(kLanes, n_lines - line);
    bytes16 block{};
    f16 s = all(0.0f), least = all(0.0f);
    for (int64_t k = 0; k < n; ++k) {
      std::memcpy(&block, cells + k * n_lines + line, width);
      const i16 cell = widen(block);
      s = s + select(cell == all(int32_t{kClear}), all(clear),
                     select(cell == all(int32_t{kFound}), all(found), all(gap)));
      store16(sums + kLanes * k, s);
      store16(smallest + kLanes * k, least);
      least = smaller(s, least);
    }
    f16 most = all(-3e38f);
    for (int64_t k = n - 1; k >= 0; --k) {
      most = larger(load16(sums + kLanes * k), most);
      const i16 in = load16(smallest + kLanes * k) <= most;
      uint8_t* out = cells + k * n_lines + line;
      std::memcpy(&block, out, width);
      const i16 cell = widen(block);
      block = narrow(cell | (in & (cell == all(int32_t{kClear})) & all(int32_t{kFound})));
      std::memcpy(out, &block, width);
    }
  }
}

void turn(const uint8_t* in, int64_t n_rows, int64_t n_columns, uint8_t* out) {
  constexpr int64_t kBlock = 64;
  for (int64_t r0 = 0; r0 < n_rows; r0 += kBlock)
    for (int64_t c0 = 0; c0 < n_columns; c0 += kBlock)
      for (int64_t c = c0; c < std::min(c0 + kBlock, n_columns); ++c)
        for (int64_t r = r0; r < std::min(r0 + kBlock, n_rows); ++r)
          out[c * n_rows + r] = in[r * n_columns + c];
}

}  // namespace

void RankOperator::run(uint8_t* cells, int64_t n_time, int64_t n_chan, double eta_time, double eta_freq,
                       double missing) {
  sums_.resize(2 * kLanes * (std::max(n_time, n_chan) + 1));
  rank_lines(cells, n_time, n_chan, eta_time, missing, sums_.data());
  turned_.resize(n_time * n_chan);
  turn(cells, n_time, n_chan, turned_.data());
  rank_lines(turned_.data(), n_chan, n_time, eta_freq, missing, sums_.data());
  turn(turned_.data(), n_chan, n_time, cells);
}

}  // namespace mwaconvert
