#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>

#include "finish.hpp"
#include "mwaconvert/base/constants.hpp"
#include "mwaconvert/base/error.hpp"
#include "mwaconvert/base/file.hpp"
#include "mwaconvert/base/parallel.hpp"
#include "mwaconvert/base/scratch.hpp"
#include "mwaconvert/base/simd.hpp"

namespace mwaconvert {
namespace {

// f = g1 conj(g2), channel by channel.
MWACONVERT_CLONES
void pair_phasors(const std::complex<float>* g1, const std::complex<float>* g2, int64_t n,
                  std::complex<float>* f) {
  int64_t k = 0;
  for (; k + 4 <= n; k += 4) store(f + k, multiply(load(g1 + k), conjugate(load(g2 + k))));
  for (; k < n; ++k)
    f[k] = {g1[k].real() * g2[k].real() + g1[k].imag() * g2[k].imag(),
            g1[k].imag() * g2[k].real() - g1[k].real() * g2[k].imag()};
}

template <bool kBigEndian, bool kRotate, bool kFirst>
MWACONVERT_INLINE void accumulate_cells(const float* in, const std::complex<float>* f, f8 m, int64_t n,
                                        float* sum) {
  for (int64_t k = 0; k < n; ++k) {
    f8 v = kBigEndian ? load_big_endian(in + 8 * k) : load(in + 8 * k);
    if (kRotate) v = v * f[k].real() + times_i(v) * f[k].imag();
    v *= m;
    store(sum + 8 * k, kFirst ? v : load(sum + 8 * k) + v);
  }
}

// sum += m f V over the channels of one baseline; f null: no rotation; first: sum = m f V.
MWACONVERT_CLONES
void accumulate(const float* in, bool big_endian, const std::complex<float>* f, const float* m, int64_t n,
                bool first, float* sum) {
  const f8 m8 = {m[0], m[0], m[1], m[1], m[2], m[2], m[3], m[3]};
  if (big_endian) {
    if (f)
      first ? accumulate_cells<true, true, true>(in, f, m8, n, sum)
            : accumulate_cells<true, true, false>(in, f, m8, n, sum);
    else
      first ? accumulate_cells<true, false, true>(in, f, m8, n, sum)
            : accumulate_cells<true, false, false>(in, f, m8, n, sum);
  } else {
    if (f)
      first ? accumulate_cells<false, true, true>(in, f, m8, n, sum)
            : accumulate_cells<false, true, false>(in, f, m8, n, sum);
    else
      first ? accumulate_cells<false, false, true>(in, f, m8, n, sum)
            : accumulate_cells<false, false, false>(in, f, m8, n, sum);
  }
}

MWACONVERT_CLONES
bool finish_row(const Finisher& finisher, int64_t row, int64_t coarse, const TimeWeights& time, bool flagged,
                const float* sum) {
  return finisher.finish(row, coarse, 0, finisher.plan().n_out, time, flagged,
                         [sum](int64_t f) __attribute__((always_inline)) { return load(sum + 8 * f); });
}

// What the mask takes from a row.
struct MaskedRow {
  static constexpr bool kMasked = true;
  const TimePlan& times;
  const uint8_t* bits;    // of timestep 0
  int64_t bits_stride;    // from timestep to timestep
  const uint32_t* count;  // (n_fine) flagged timesteps in use
  const float* flagged;   // (n_fine, 8) their sums, where count > 0; null: one timestep, still in the sums
  const float* m;         // (4) weights at the first timestep in use
  int64_t m_stride;       // to those of the next

  MWACONVERT_INLINE bool any(int64_t begin, int64_t end) const {
    uint32_t all = 0;
    for (int64_t f = begin; f < end; ++f) all |= count[f];
    return all != 0;
  }
  MWACONVERT_INLINE void split(int64_t f, f8& v, f8& flagged_v) const {
    if (count[f] == 0) return;
    flagged_v = flagged ? load(flagged + 8 * f) : v;
    if (!flagged) v = f8{};
  }
  MWACONVERT_INLINE void weights(int64_t f, f4& in_sum, f4& total) const {
    if (count[f] == 0) return;
    f4 sum = {};
    for (size_t k = 0; k < times.used.size(); ++k)
      if (!mask_bit(bits + times.used[k] * bits_stride, f)) sum += load4(m + k * m_stride);
    in_sum = total = sum;
  }
};

MWACONVERT_CLONES
bool finish_masked_row(const Finisher& finisher, int64_t row, int64_t coarse, const TimeWeights& time,
                       const float* sum, const MaskedRow& masked) {
  return finisher.finish(
      row, coarse, 0, finisher.plan().n_out, time, false,
      [sum](int64_t f) __attribute__((always_inline)) { return load(sum + 8 * f); }, masked);
}

// Whether matrices (n_antenna, n_channel, 4) make any product depend on another one.
bool mixes_products(View<const std::complex<float>, 3> jones) {
  if (!jones.data) return false;
  for (int64_t k = 0; k < jones.size(); k += 4)
    if (jones.data[k + 1] != 0.0f || jones.data[k + 2] != 0.0f) return true;  // contiguous
  return false;
}

struct Tile {
  int64_t coarse, row_begin, row_end;
};

class MwaxConverter {
 public:
  MwaxConverter(const BlockInput& in, View<const std::complex<float>, 4> phasors,
                View<const int64_t, 1> file_row, bool use_weights, const BlockOutput& out)
      : in_(in), phasors_(phasors), file_row_(file_row), use_weights_(use_weights), finisher_(in, out) {
    const int64_t n_rows = file_row.shape[0];
    const int64_t most = std::max<int64_t>(1, kReadBytes / (in.n_fine * 32));
    for (int64_t begin = 0, end; begin < n_rows; begin = end) {
      for (end = begin + 1; end < n_rows && file_row(end) - file_row(begin) < most;) ++end;
      row_ranges_.emplace_back(begin, end);
    }
  }

  void run(int threads) const {
    const int64_t n_ranges = static_cast<int64_t>(row_ranges_.size());
    parallel_for(in_.chunks.shape[1] * n_ranges, threads, [&](int64_t item) {
      const auto [begin, end] = row_ranges_[item % n_ranges];
      convert({item / n_ranges, begin, end});
    });
  }

 private:
  void convert(const Tile& tile) const {
    static thread_local Scratch<float> input_memory, sum_memory, weight_memory;
    static thread_local Scratch<std::complex<float>> pair_memory;
    static thread_local Scratch<TimeWeights> time_memory;
    static thread_local Scratch<float> flagged_memory;
    static thread_local Scratch<uint32_t> count_memory;
    static thread_local std::vector<uint8_t> masked;  // rows that lose cells to the mask
    const int64_t n_rows = tile.row_end - tile.row_begin, first_baseline = file_row_(tile.row_begin);
    const int64_t n_baselines = file_row_(tile.row_end - 1) + 1 - first_baseline;
    const int64_t row_length = in_.n_fine * 8;
    const TimePlan times(in_, tile.coarse);
    float* sums = sum_memory.get(n_baselines * row_length);
    float* m_first = weight_memory.get(std::max<size_t>(1, times.used.size()) * n_baselines * 4);
    float* flagged = in_.mask.data ? flagged_memory.get(n_rows * row_length) : nullptr;
    uint32_t* count = in_.mask.data ? count_memory.get(n_rows * in_.n_fine) : nullptr;
    masked.assign(n_rows, 0);
    std::complex<float>* pair = pair_memory.get(in_.n_fine);
    TimeWeights* time = time_memory.get(n_rows);
    std::fill(time, time + n_rows, TimeWeights{});
    const float one[4] = {1, 1, 1, 1};

    if (times.used.empty()) {  // nothing there: zeros, flagged
      std::fill(sums, sums + n_baselines * row_length, 0.0f);
      std::fill(time, time + n_rows, TimeWeights{{1, 1, 1, 1}, {1, 1, 1, 1}});
    }
    float* m = m_first;
    for (int64_t t : times.used) {
      const Chunk& chunk = in_.chunks(t, tile.coarse);
      const bool first = t == times.used.front();  // becomes the sum in place
      if (!first) m += n_baselines * 4;
      float* input = first ? sums : input_memory.get(n_baselines * row_length);
      read_rows(chunk, first_baseline, n_baselines, row_length, input);
      read_weights(chunk, first_baseline, n_baselines, m);
      for (int64_t r = 0; r < n_rows; ++r) {
        const int64_t row = tile.row_begin + r, b = file_row_(row) - first_baseline;
        // one value needs no weighting: it stays as it is, to the last bit
        const float* in_sum = times.used.size() == 1 ? one : m + 4 * b;
        const std::complex<float>* f = nullptr;
        if (phasors_.data && in_.antenna1(row) != in_.antenna2(row)) {
          pair_phasors(&phasors_(t, tile.coarse, in_.antenna1(row), 0),
                       &phasors_(t, tile.coarse, in_.antenna2(row), 0), in_.n_fine, pair);
          f = pair;
        }
        if (finisher_.heeds_mask(row, times.flagged))
          for_each_masked(&in_.mask(t, tile.coarse, row, 0), 0, in_.n_fine, [&](int64_t channel) {
            if (!masked[r]) std::fill_n(count + r * in_.n_fine, in_.n_fine, 0);
            masked[r] = 1;
            const bool first_flagged = count[r * in_.n_fine + channel]++ == 0;
            if (times.used.size() == 1) return;
            float* v = input + b * row_length + 8 * channel;
            accumulate(v, reads_big_endian(chunk), f ? f + channel : nullptr, in_sum, 1, first_flagged,
                       flagged + r * row_length + 8 * channel);
            std::fill_n(v, 8, 0.0f);
          });
        accumulate(input + b * row_length, reads_big_endian(chunk), f, in_sum, in_.n_fine, first,
                   sums + b * row_length);
        for (int p = 0; p < 4; ++p) {
          time[r].in_sum[p] += in_sum[p];
          time[r].total[p] += m[4 * b + p];
        }
      }
    }
    for (int64_t r = 0; r < n_rows; ++r) {
      const int64_t row = tile.row_begin + r;
      const bool weighted =
          std::all_of(time[r].total.begin(), time[r].total.end(), [](float w) { return w > 0; });
      const int64_t b = file_row_(row) - first_baseline;
      const float* sum = sums + b * row_length;
      const auto finish = [&] {
        if (!masked[r]) return finish_row(finisher_, row, tile.coarse, time[r], times.flagged, sum);
        const float* flagged_sum = times.used.size() == 1 ? nullptr : flagged + r * row_length;
        const MaskedRow mask{times,
                             &in_.mask(0, tile.coarse, row, 0),
                             in_.mask.stride[0],
                             count + r * in_.n_fine,
                             flagged_sum,
                             m_first + 4 * b,
                             4 * n_baselines};
        return finish_masked_row(finisher_, row, tile.coarse, time[r], sum, mask);
      };
      if (!weighted || !finish()) convert_carefully(row, tile.coarse, times, time[r]);
    }
  }

  void convert_carefully(int64_t row, int64_t coarse, const TimePlan& times, const TimeWeights& time) const {
    CarefulSums sums(in_.n_fine);
    std::vector<float> input(in_.n_fine * 8);
    float m[4];
    const bool heeds_mask = finisher_.heeds_mask(row, times.flagged);
    for (int64_t t : times.used) {
      const Chunk& chunk = in_.chunks(t, coarse);
      read_rows(chunk, file_row_(row), 1, in_.n_fine * 8, input.data());
      if (reads_big_endian(chunk))
        for (int64_t k = 0; k < in_.n_fine; ++k) store(&input[8 * k], load_big_endian(&input[8 * k]));
      read_weights(chunk, file_row_(row), 1, m);
      for (int p = 0; p < 4; ++p)
        if (time.total[p] == 0) m[p] = 1;
      for (int64_t f = 0; f < in_.n_fine; ++f) {
        std::complex<double> phasor = 1;
        if (phasors_.data && in_.antenna1(row) != in_.antenna2(row))
          phasor = std::complex<double>(phasors_(t, coarse, in_.antenna1(row), f)) *
                   std::conj(std::complex<double>(phasors_(t, coarse, in_.antenna2(row), f)));
        std::array<std::complex<double>, 4> cell;
        for (int p = 0; p < 4; ++p)
          cell[p] = phasor * std::complex<double>(input[8 * f + 2 * p], input[8 * f + 2 * p + 1]);
        sums.add(f, cell, m, heeds_mask && mask_bit(&in_.mask(t, coarse, row, 0), f));
      }
    }
    finisher_.finish_carefully(row, coarse, 0, finisher_.plan().n_out, time, times.flagged, 0, sums);
  }

  // Whether the matrices mix products: looked at only where that matters, as there are many.
  bool mixes() const {
    if (mixes_ < 0) mixes_ = mixes_products(in_.jones);
    return mixes_ > 0;
  }

  // Weights of n baselines, native order; what is not a weight counts as none.
  void read_weights(const Chunk& chunk, int64_t first_baseline, int64_t n, float* m) const {
    if (!use_weights_ || chunk.weight_offset < 0) {
      std::fill(m, m + 4 * n, 1.0f);
      return;
    }
    read_exactly(chunk.fd, m, n * 16, chunk.weight_offset + first_baseline * 16);
    uint32_t word;
    for (int64_t k = 0; k < 4 * n; ++k) {
      std::memcpy(&word, m + k, 4);
      word = __builtin_bswap32(word);
      std::memcpy(m + k, &word, 4);
      if (!(m[k] > 0 && std::isfinite(m[k]))) m[k] = 0;
    }
    // a product of four is worth no more than the least of them
    for (int64_t k = 0; in_.jones.data && k < 4 * n; k += 4) {
      const float least = *std::min_element(m + k, m + k + 4);
      if (*std::max_element(m + k, m + k + 4) > least && mixes()) std::fill_n(m + k, 4, least);
    }
  }

  const BlockInput& in_;
  const View<const std::complex<float>, 4> phasors_;
  const View<const int64_t, 1> file_row_;
  const bool use_weights_;
  mutable std::atomic<int> mixes_ = -1;  // not known
  const Finisher finisher_;
  std::vector<std::pair<int64_t, int64_t>> row_ranges_;
};

}  // namespace

void convert_mwax(const BlockInput& in, View<const std::complex<float>, 4> phasors,
                  View<const int64_t, 1> file_row, bool use_weights, const BlockOutput& out, int threads) {
  MwaxConverter(in, phasors, file_row, use_weights, out).run(threads);
}

}  // namespace mwaconvert
