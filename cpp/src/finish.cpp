#include "finish.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>

namespace mwaconvert {

ChannelPlan::ChannelPlan(const BlockInput& in) : n_out((in.n_fine + in.freq_factor - 1) / in.freq_factor) {
  const int64_t n_coarse = in.chunks.shape[1];
  share.resize(n_coarse * in.n_fine);
  for (int64_t c = 0; c < n_coarse; ++c) {
    const int64_t first = c * in.n_fine;
    for (int64_t begin = 0; begin < in.n_fine; begin += in.freq_factor) {
      const int64_t end = std::min(begin + in.freq_factor, in.n_fine);
      const bool single = end - begin == 1;
      double good = 0, all = 0;
      for (int64_t f = begin; f < end; ++f) {
        all += in.channel_weight(first + f);
        if (!in.channel_flagged(first + f)) good += in.channel_weight(first + f);
      }
      const bool flagged = good == 0;
      for (int64_t f = begin; f < end; ++f) {
        const bool counts = flagged || !in.channel_flagged(first + f);
        // the mean of one value, or of flagged ones, is plain
        share[first + f] = single || flagged ? 1.0f : counts ? in.channel_weight(first + f) : 0.0f;
      }
      const double plain = static_cast<double>(end - begin);
      channels.push_back({begin, end, flagged, static_cast<float>(flagged ? all : good),
                          static_cast<float>(1 / (single || flagged ? plain : good)),
                          static_cast<float>(1 / plain)});
    }
  }
}

TimePlan::TimePlan(const BlockInput& in, int64_t coarse) {
  std::vector<int64_t> there;
  for (int64_t t = 0; t < in.chunks.shape[0]; ++t) {
    const int32_t state = in.chunks(t, coarse).state;
    if (state == kGood) used.push_back(t);
    if (state != kMissing) there.push_back(t);
  }
  flagged = used.empty();
  if (flagged) used = there;
}

void CarefulSums::add(int64_t channel, const std::array<std::complex<double>, 4>& cell, const float* m,
                      bool masked) {
  for (const std::complex<double>& v : cell)
    if (!std::isfinite(v.real()) || !std::isfinite(v.imag())) {
      bad_cells_ += !masked;
      return;
    }
  for (int p = 0; p < 4; ++p) {
    Sums& sums = sums_[channel][p];
    Sum& sum = masked ? sums.masked : sums.clear;
    sum.weighted += static_cast<double>(m[p]) * cell[p];
    sum.weight += m[p];
  }
}

void Finisher::finish_carefully(int64_t row, int64_t coarse, int64_t out_begin, int64_t out_end,
                                const TimeWeights& time, bool time_flagged, int64_t first_channel,
                                const CarefulSums& sums) const {
  const int32_t a1 = in_.antenna1(row), a2 = in_.antenna2(row);
  for (int64_t o = out_begin; o < out_end; ++o) {
    const OutputChannel& channel = plan_.channels[coarse * plan_.n_out + o];
    for (int p = 0; p < 4; ++p) {
      std::complex<double> good, all;
      double good_weight = 0, all_weight = 0;
      for (int64_t f = channel.begin; f < channel.end; ++f) {
        const int64_t k = coarse * in_.n_fine + f;
        const auto& [clear, masked] = sums.at(f - first_channel, p);
        std::complex<double> factor = 1;
        if (in_.factors.data)
          factor = std::complex<double>(in_.factors(a1, k, p / 2)) *
                   std::conj(std::complex<double>(in_.factors(a2, k, p % 2)));
        all += factor * (clear.weighted + masked.weighted);
        all_weight += clear.weight + masked.weight;
        if (in_.channel_flagged(k)) continue;
        const double b = in_.channel_weight(k);
        good += b * factor * clear.weighted;
        good_weight += b * clear.weight;
      }
      bool flagged = time_flagged || in_.row_flagged(row) || time.total[p] <= 0 || good_weight <= 0;
      std::complex<float> mean{flagged ? all_weight > 0 ? all / all_weight : 0 : good / good_weight};
      if (!std::isfinite(mean.real()) || !std::isfinite(mean.imag())) {
        mean = 0;
        flagged = true;
      }
      out_.vis(row, coarse * plan_.n_out + o, p) = mean;
      out_.weight(row, coarse * plan_.n_out + o, p) =
          flagged ? flagged_weight(channel.weight * time.total[p]) : static_cast<float>(good_weight);
    }
  }
  // coarse channels of one row may be at work on several threads
  std::atomic_ref<int64_t>(out_.bad_cells(row)) += sums.bad_cells();
}

}  // namespace mwaconvert
