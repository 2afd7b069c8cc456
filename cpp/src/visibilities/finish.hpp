// What the two correlators share once the sums over time stand: corrections, average in frequency, flags.
#pragma once

#include <array>
#include <complex>
#include <vector>

#include "mask.hpp"
#include "mwaconvert/base/vector.hpp"
#include "mwaconvert/visibilities/block.hpp"

namespace mwaconvert {

// An output channel: the mean over input channels [begin, end) of its coarse channel.
struct OutputChannel {
  int64_t begin, end;   // counted from the first channel of the coarse channel
  bool flagged;         // all input channels are
  float weight;         // sum of channel_weight over the unflagged channels (over all, if none is)
  float inverse;        // 1 / sum of the shares
  float plain_inverse;  // 1 / number of channels
};

struct ChannelPlan {
  int64_t n_out;                        // output channels of a coarse channel
  std::vector<OutputChannel> channels;  // n_coarse * n_out
  std::vector<float> share;             // (n_coarse * n_fine) weight of a channel in its mean
  explicit ChannelPlan(const BlockInput& in);
};

// The timesteps that enter the sum over time of one coarse channel.
struct TimePlan {
  std::vector<int64_t> used;  // the good ones; where none is good, all that are there
  bool flagged;               // none is good
  TimePlan(const BlockInput& in, int64_t coarse);
};

// How a sum over time becomes a mean, and what weight it stands for.
struct TimeWeights {
  std::array<float, 4> in_sum{};  // sum of the weights that multiplied the data
  std::array<float, 4> total{};   // sum of m(t) over the good timesteps
};

// Sums over time of one row and coarse channel, value by value: for rows with bad values or zero weights.
class CarefulSums {
 public:
  struct Sum {
    std::complex<double> weighted{};  // m V
    double weight = 0;                // m
  };
  struct Sums {
    Sum clear, masked;
  };

  explicit CarefulSums(int64_t n_channel) : sums_(n_channel) {}

  // Adds one cell: its products, rotated, their weights m, and whether the mask flags it. A cell that is not
  // finite is left out.
  void add(int64_t channel, const std::array<std::complex<double>, 4>& cell, const float* m, bool masked);

  const Sums& at(int64_t channel, int product) const { return sums_[channel][product]; }
  int64_t bad_cells() const { return bad_cells_; }

 private:
  std::vector<std::array<Sums, 4>> sums_;
  int64_t bad_cells_ = 0;
};

// Of a row that the mask leaves as it is.
struct NoMask {
  static constexpr bool kMasked = false;
};

class Finisher {
 public:
  Finisher(const BlockInput& in, const BlockOutput& out)
      : in_(in),
        out_(out),
        plan_(in),
        jones_of_output_(in.jones.shape[1] == static_cast<int64_t>(plan_.channels.size())) {}

  const ChannelPlan& plan() const { return plan_; }

  // Writes output channels [out_begin, out_end) of a coarse channel for one row. cell(channel) returns the
  // sum over time of one input channel. `masked` tells what the mask took from it; it is NoMask, or has
  //   bool any(begin, end)       whether it flags a cell of these input channels
  //   void split(f, v, flagged)  v, that is cell(f), becomes the sum of the unflagged, `flagged` that of the
  //                              others, which is 0 when called
  //   void weights(f, in, total) TimeWeights of the unflagged, left alone if that is all
  // Not asked for in rows that are flagged anyway.
  // False: a result is not finite, and the row wants finish_carefully.
  template <typename Cell, typename Masked = NoMask>
  MWACONVERT_INLINE bool finish(int64_t row, int64_t coarse, int64_t out_begin, int64_t out_end,
                                const TimeWeights& time, bool time_flagged, const Cell& cell,
                                const Masked& masked = {}) const {
    if (!in_.jones.data)
      return finish_with<Jones::kNone>(row, coarse, out_begin, out_end, time, time_flagged, cell, masked);
    if (jones_of_output_)
      return finish_with<Jones::kOfOutput>(row, coarse, out_begin, out_end, time, time_flagged, cell, masked);
    return finish_with<Jones::kOfInput>(row, coarse, out_begin, out_end, time, time_flagged, cell, masked);
  }

  // Whether the mask matters in this row.
  bool heeds_mask(int64_t row, bool time_flagged) const {
    return in_.mask.data && !time_flagged && !in_.row_flagged(row);
  }

  // Has the memory of a row's output brought into the cache, which cannot foresee rows that jump.
  MWACONVERT_INLINE void prefetch(int64_t row, int64_t coarse, int64_t out_begin, int64_t out_end) const {
    const int64_t begin = coarse * plan_.n_out + out_begin, end = coarse * plan_.n_out + out_end;
    for (int64_t o = begin; o < end; o += 2) __builtin_prefetch(&out_.vis(row, o, 0), 1);
    for (int64_t o = begin; o < end; o += 4) __builtin_prefetch(&out_.weight(row, o, 0), 1);
  }

  // The same from careful sums, whose channel 0 is input channel `first_channel` of the coarse channel, and
  // whose weights m are 1 where time.total is 0.
  void finish_carefully(int64_t row, int64_t coarse, int64_t out_begin, int64_t out_end,
                        const TimeWeights& time, bool time_flagged, int64_t first_channel,
                        const CarefulSums& sums) const;

 private:
  enum class Jones { kNone, kOfInput, kOfOutput };

  template <Jones kJones, typename Cell, typename Masked>
  MWACONVERT_INLINE bool finish_with(int64_t row, int64_t coarse, int64_t out_begin, int64_t out_end,
                                     const TimeWeights& time, bool time_flagged, const Cell& cell,
                                     const Masked& masked) const;

  // J_i V J_j^H of a row at one channel of `jones`.
  void apply_jones(int64_t row, int64_t channel, std::array<std::complex<double>, 4>& v) const;

  float flagged_weight(float size) const { return in_.averaged ? -0.0f : -size; }

  const BlockInput& in_;
  const BlockOutput& out_;
  ChannelPlan plan_;
  bool jones_of_output_;
};

template <Finisher::Jones kJones, typename Cell, typename Masked>
MWACONVERT_INLINE bool Finisher::finish_with(int64_t row, int64_t coarse, int64_t out_begin, int64_t out_end,
                                             const TimeWeights& time, bool time_flagged, const Cell& cell,
                                             const Masked& masked) const {
  const std::complex<float>*s1 = nullptr, *s2 = nullptr;
  if (in_.factors.data) {
    s1 = &in_.factors(in_.antenna1(row), coarse * in_.n_fine, 0);
    s2 = &in_.factors(in_.antenna2(row), coarse * in_.n_fine, 0);
  }
  const std::complex<float>*j1 = nullptr, *j2 = nullptr;
  if constexpr (kJones != Jones::kNone) {
    const int64_t first = coarse * (kJones == Jones::kOfOutput ? plan_.n_out : in_.n_fine);
    j1 = &in_.jones(in_.antenna1(row), first, 0);
    j2 = &in_.jones(in_.antenna2(row), first, 0);
  }
  const float* share = plan_.share.data() + coarse * in_.n_fine;
  const OutputChannel* channels = plan_.channels.data() + coarse * plan_.n_out;
  std::complex<float>* vis = &out_.vis(row, coarse * plan_.n_out, 0);
  float* weight = &out_.weight(row, coarse * plan_.n_out, 0);
  const bool row_flagged = time_flagged || in_.row_flagged(row);
  const f8 time_inverse = twice(1.0f / f4{time.in_sum[0], time.in_sum[1], time.in_sum[2], time.in_sum[3]});
  const f4 total = {time.total[0], time.total[1], time.total[2], time.total[3]};
  [[maybe_unused]] const f4 in_sum = {time.in_sum[0], time.in_sum[1], time.in_sum[2], time.in_sum[3]};
  const f4 flagged_total = in_.averaged ? f4{} : total;
  const auto correct = [&](int64_t f, f8 v) __attribute__((always_inline)) {
    if (!s1) return v;
    return multiply(multiply(first_antenna(s1 + 2 * f), conjugate(second_antenna(s2 + 2 * f))), v);
  };
  // Matrices mix the products, so they want means, each sum over its own weights.
  const auto corrected = [&](int64_t f) __attribute__((always_inline)) {
    if constexpr (kJones == Jones::kOfInput)
      return jones_product(j1 + 4 * f, correct(f, cell(f)) * time_inverse, j2 + 4 * f);
    return correct(f, cell(f));
  };
  const auto finished = [&](int64_t o, f8 v) __attribute__((always_inline)) {
    return kJones == Jones::kOfOutput ? jones_product(j1 + 4 * o, v, j2 + 4 * o) : v;
  };
  f8 finite = {};
  for (int64_t o = out_begin; o < out_end; ++o) {
    const OutputChannel channel = channels[o];
    if constexpr (Masked::kMasked) {
      if (masked.any(channel.begin, channel.end)) {
        f8 good = {}, all = {};      // sums of unflagged cells, of all
        f4 good_in = {}, size = {};  // what the data were multiplied by, and the weight they stand for
        for (int64_t f = channel.begin; f < channel.end; ++f) {
          f8 v = cell(f), flagged_v = {};
          f4 in_weight = in_sum, weight_sum = total;
          masked.split(f, v, flagged_v);
          masked.weights(f, in_weight, weight_sum);
          v = correct(f, v);
          flagged_v = correct(f, flagged_v) + v;
          if constexpr (kJones == Jones::kOfInput) {
            flagged_v = jones_product(j1 + 4 * f, flagged_v * time_inverse, j2 + 4 * f);
            const i4 some = in_weight > f4{};
            v = jones_product(j1 + 4 * f, v * twice(1.0f / (some ? in_weight : f4{} + 1)), j2 + 4 * f) *
                twice(in_weight);
          }
          good += v * share[f];
          all += flagged_v;
          good_in += in_weight * share[f];
          const int64_t k = coarse * in_.n_fine + f;
          if (!in_.channel_flagged(k)) size += weight_sum * in_.channel_weight(k);
        }
        all *= channel.plain_inverse;
        if (kJones != Jones::kOfInput) all *= time_inverse;
        all = finished(o, all);
        const i4 unflagged = size > f4{};
        const f4 divisor = unflagged ? good_in : f4{} + 1;
        good = finished(o, good * twice(1 / divisor));
        finite += (good - good) + (all - all);
        store(vis + 4 * o,
              __builtin_shufflevector(unflagged, unflagged, 0, 0, 1, 1, 2, 2, 3, 3) ? good : all);
        store(weight + 4 * o, unflagged ? size : -(flagged_total * channel.weight));
        continue;
      }
    }
    f8 sum = {};
    if (in_.freq_factor == 1) {  // its share is 1
      sum = corrected(o);
    } else {
      for (int64_t f = channel.begin; f < channel.end; ++f)
        sum += row_flagged ? corrected(f) : corrected(f) * share[f];
      sum *= row_flagged ? channel.plain_inverse : channel.inverse;
    }
    if (kJones != Jones::kOfInput) sum *= time_inverse;
    sum = finished(o, sum);
    finite += sum - sum;
    store(vis + 4 * o, sum);
    store(weight + 4 * o,
          row_flagged || channel.flagged ? -(flagged_total * channel.weight) : total * channel.weight);
  }
  return all_finite(finite);
}

}  // namespace mwaconvert
