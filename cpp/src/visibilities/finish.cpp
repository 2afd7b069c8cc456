#include "finish.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <utility>

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
  if (flagged) used = std::move(there);
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

void Finisher::apply_jones(int64_t row, int64_t channel, std::array<std::complex<double>, 4>& v) const {
  std::complex<double> j1[4], j2[4], half[4];
  for (int p = 0; p < 4; ++p) {
    j1[p] = std::complex<double>(in_.jones(in_.antenna1(row), channel, p));
    j2[p] = std::conj(std::complex<double>(in_.jones(in_.antenna2(row), channel, p)));
  }
  for (int p = 0; p < 4; ++p) half[p] = j1[p / 2 * 2] * v[p % 2] + j1[p / 2 * 2 + 1] * v[2 + p % 2];
  for (int p = 0; p < 4; ++p)
    v[p] = half[p / 2 * 2] * j2[p % 2 * 2] + half[p / 2 * 2 + 1] * j2[p % 2 * 2 + 1];
}

void Finisher::finish_carefully(int64_t row, int64_t coarse, int64_t out_begin, int64_t out_end,
                                const TimeWeights& time, bool time_flagged, int64_t first_channel,
                                const CarefulSums& sums) const {
  using Cell = std::array<std::complex<double>, 4>;
  const int32_t a1 = in_.antenna1(row), a2 = in_.antenna2(row);
  const auto mean = [](const CarefulSums::Sum& sum) {
    return sum.weight > 0 ? sum.weighted / sum.weight : 0;
  };
  const auto correct = [&](int64_t k, Cell& v) {
    if (in_.factors.data)
      for (int p = 0; p < 4; ++p)
        v[p] *= std::complex<double>(in_.factors(a1, k, p / 2)) *
                std::conj(std::complex<double>(in_.factors(a2, k, p % 2)));
    if (in_.jones.data && !jones_of_output_) apply_jones(row, k, v);
  };
  for (int64_t o = out_begin; o < out_end; ++o) {
    const int64_t channel_out = coarse * plan_.n_out + o;
    const OutputChannel& channel = plan_.channels[channel_out];
    Cell good{}, all{};
    std::array<double, 4> good_weight{}, all_weight{};
    for (int64_t f = channel.begin; f < channel.end; ++f) {
      const int64_t k = coarse * in_.n_fine + f;
      const double b = in_.channel_flagged(k) ? 0 : in_.channel_weight(k);
      Cell clear_mean, all_mean;
      std::array<double, 4> clear_weight, weight;
      for (int p = 0; p < 4; ++p) {
        const auto& [clear, masked] = sums.at(f - first_channel, p);
        const CarefulSums::Sum both{clear.weighted + masked.weighted, clear.weight + masked.weight};
        clear_mean[p] = mean(clear);
        all_mean[p] = mean(both);
        clear_weight[p] = clear.weight;
        weight[p] = both.weight;
      }
      correct(k, clear_mean);
      correct(k, all_mean);
      for (int p = 0; p < 4; ++p) {
        good[p] += b * clear_weight[p] * clear_mean[p];
        good_weight[p] += b * clear_weight[p];
        all[p] += weight[p] * all_mean[p];
        all_weight[p] += weight[p];
      }
    }
    std::array<bool, 4> flagged;
    Cell v;
    for (int p = 0; p < 4; ++p) {
      flagged[p] = time_flagged || in_.row_flagged(row) || time.total[p] <= 0 || good_weight[p] <= 0;
      v[p] = flagged[p] ? all_weight[p] > 0 ? all[p] / all_weight[p] : 0 : good[p] / good_weight[p];
    }
    if (in_.jones.data && jones_of_output_) apply_jones(row, channel_out, v);
    for (int p = 0; p < 4; ++p) {
      std::complex<float> rounded{v[p]};
      if (!std::isfinite(rounded.real()) || !std::isfinite(rounded.imag())) {
        rounded = 0;
        flagged[p] = true;
      }
      out_.vis(row, channel_out, p) = rounded;
      out_.weight(row, channel_out, p) =
          flagged[p] ? flagged_weight(channel.weight * time.total[p]) : static_cast<float>(good_weight[p]);
    }
  }
  // coarse channels of one row may be at work on several threads
  std::atomic_ref<int64_t>(out_.bad_cells(row)) += sums.bad_cells();
}

}  // namespace mwaconvert
