#include <algorithm>
#include <cmath>

#include "mwaconvert/simd.hpp"
#include "rfi_parts.hpp"

namespace mwaconvert {
namespace {

std::vector<float> half_kernel(int64_t window, double variance) {
  std::vector<float> kernel;
  for (int64_t k = 0; k <= window / 2; ++k)
    kernel.push_back(static_cast<float>(std::exp(-0.5 * static_cast<double>(k * k) / variance)));
  return kernel;
}

MWACONVERT_CLONES
void add(const float* v, int64_t n, bool first, float* sum) {
  for (int64_t k = 0; k < n; ++k) sum[k] = first ? v[k] : sum[k] + v[k];
}

// out[k] = sum of kernel[|j|] in[k + j]; in: kernel.size() - 1 and more zeros on either side.
MWACONVERT_CLONES
void smooth_row(const float* in, int64_t n, const float* kernel, int64_t n_kernel, float* out) {
  for (int64_t k = 0; k < n; k += kLanes) {
    f16 s = load16(in + k) * all(kernel[0]);
    for (int64_t j = 1; j < n_kernel; ++j) s = s + (load16(in + k - j) + load16(in + k + j)) * all(kernel[j]);
    store16(out + k, s);
  }
}

// The same across rows for row t, then the quotient of the two: 0 where there is no weight.
MWACONVERT_CLONES
void smooth_column(const float* sum, const float* weight, int64_t stride, int64_t t, int64_t n_rows,
                   int64_t n, const float* kernel, int64_t n_kernel, float* out) {
  const int64_t above = std::min(n_kernel - 1, t), below = std::min(n_kernel - 1, n_rows - 1 - t);
  for (int64_t k = 0; k < n; k += kLanes) {
    const float *s = sum + t * stride + k, *w = weight + t * stride + k;
    f16 total = load16(s) * all(kernel[0]), total_weight = load16(w) * all(kernel[0]);
    const int64_t both = std::min(above, below);
    int64_t j = 1;
    for (; j <= both; ++j) {
      total = total + (load16(s - j * stride) + load16(s + j * stride)) * all(kernel[j]);
      total_weight = total_weight + (load16(w - j * stride) + load16(w + j * stride)) * all(kernel[j]);
    }
    const int64_t side = above > below ? -stride : stride;
    for (; j <= std::max(above, below); ++j) {
      total = total + load16(s + j * side) * all(kernel[j]);
      total_weight = total_weight + load16(w + j * side) * all(kernel[j]);
    }
    const i16 there = all(0.0f) < total_weight;
    store16(out + k, or_zero(there, total / select(there, total_weight, all(1.0f))));
  }
}

MWACONVERT_CLONES
void spread(const float* blocks, const int32_t* block_of_column, int64_t n, float* row) {
  for (int64_t k = 0; k < n; ++k) row[k] = blocks[block_of_column[k]];
}

MWACONVERT_CLONES
void subtract_row(const float* a, const float* b, int64_t n, float* out) {
  for (int64_t k = 0; k < n; ++k) out[k] = a[k] - b[k];
}

}  // namespace

void RfiBackground::prepare(const RfiLayout& layout, const RfiParameters& p) {
  step_time_ = p.block_time;
  step_chan_ = p.block_freq;
  n_time_ = (layout.n_time + step_time_ - 1) / step_time_;
  n_chan_ = (layout.n_chan + step_chan_ - 1) / step_chan_;
  stride_ = padded(n_chan_);
  kernel_time_ = half_kernel(p.window_time, p.variance_time);
  kernel_chan_ = half_kernel(p.window_freq, p.variance_freq);
  used_.resize(n_time_ * n_chan_);
  used_before_.assign(n_time_ * n_chan_, 2);  // unlike any
  padded_.assign(stride_ + 2 * kernel_chan_.size(), 0);
  sum_.resize(n_time_ * stride_);
  weight_.resize(n_time_ * stride_);
  result_.resize(stride_);
  row_.resize(padded(layout.n_chan));
  block_of_column_.resize(layout.n_chan);
  for (int64_t k = 0; k < layout.n_chan; ++k)
    block_of_column_[k] = static_cast<int32_t>(layout.channel[k] / step_chan_);
}

void RfiBackground::add_row(const float* amplitude, int64_t t, int64_t n_time, int64_t n_chan, float* sum,
                            float* means) const {
  add(amplitude, n_chan, t % step_time_ == 0, sum);
  if (t % step_time_ != step_time_ - 1 && t != n_time - 1) return;
  const int64_t rows = t % step_time_ + 1;
  float* out = means + t / step_time_ * n_chan_;
  for (int64_t j = 0; j < n_chan_; ++j) {
    const int64_t begin = j * step_chan_, end = std::min(begin + step_chan_, n_chan);
    float s = 0;
    for (int64_t c = begin; c < end; ++c) s += sum[c];
    out[j] = s / static_cast<float>(rows * (end - begin));
  }
}

void RfiBackground::subtract(const RfiLayout& layout, const float* means, const BitTable& excluded,
                             RfiImage amplitude, RfiImage residual) {
  const int64_t n_kernel = static_cast<int64_t>(kernel_chan_.size());
  std::fill(used_.begin(), used_.end(), 1);
  for (int64_t t = 0; t < layout.n_time; ++t) {
    uint8_t* used = &used_[t / step_time_ * n_chan_];
    for_each_bit(excluded.row(t), excluded.words(), [&](int64_t k) { used[block_of_column_[k]] = 0; });
  }
  float* in = padded_.data() + n_kernel;
  for (int64_t b = 0; b < n_time_; ++b) {
    const uint8_t* used = &used_[b * n_chan_];
    const float* mean = means + b * n_chan_;
    for (int64_t j = 0; j < n_chan_; ++j) in[j] = used[j] ? mean[j] : 0;
    smooth_row(in, n_chan_, kernel_chan_.data(), n_kernel, &sum_[b * stride_]);
    uint8_t* before = &used_before_[b * n_chan_];
    if (std::equal(used, used + n_chan_, before)) continue;
    std::copy_n(used, n_chan_, before);
    for (int64_t j = 0; j < n_chan_; ++j) in[j] = used[j];
    smooth_row(in, n_chan_, kernel_chan_.data(), n_kernel, &weight_[b * stride_]);
  }
  for (int64_t b = 0; b < n_time_; ++b) {
    smooth_column(sum_.data(), weight_.data(), stride_, b, n_time_, n_chan_, kernel_time_.data(),
                  static_cast<int64_t>(kernel_time_.size()), result_.data());
    spread(result_.data(), block_of_column_.data(), layout.n_chan, row_.data());
    for (int64_t t = b * step_time_; t < std::min((b + 1) * step_time_, layout.n_time); ++t)
      subtract_row(amplitude.row(t), row_.data(), layout.n_chan, residual.row(t));
  }
}

}  // namespace mwaconvert
