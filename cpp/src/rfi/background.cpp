#include <algorithm>
#include <cmath>
#include <cstring>

#include "lanes.hpp"
#include "parts.hpp"

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

// Means of `step` neighbours in a sum of n_rows rows.
MWACONVERT_INLINE void means_of(const float* sum, int64_t n, int64_t step, int64_t n_rows, float* out) {
  const int64_t n_whole = n / step;
  const float size = static_cast<float>(n_rows * step);
  for (int64_t j = 0; j < n_whole; ++j) {
    float s = 0;
    for (int64_t c = 0; c < step; ++c) s += sum[j * step + c];
    out[j] = s / size;
  }
  if (n_whole * step == n) return;
  float s = 0;
  for (int64_t c = n_whole * step; c < n; ++c) s += sum[c];
  out[n_whole] = s / static_cast<float>(n_rows * (n - n_whole * step));
}

MWACONVERT_CLONES
void block_means(const float* sum, int64_t n, int64_t step, int64_t n_rows, float* out) {
  step == 3 ? means_of(sum, n, 3, n_rows, out) : means_of(sum, n, step, n_rows, out);
}

// out[k] = sum of kernel[|j|] in[k + j]; in: kernel.size() - 1 and more zeros on either side.
template <typename V>
MWACONVERT_INLINE void smooth_row_of(const float* in, int64_t n, const float* kernel, int64_t n_kernel,
                                     float* out) {
  for (int64_t k = 0; k < n; k += kLanes) {
    typename V::Floats s = V::multiply(V::load(in + k), V::same(kernel[0]));
    for (int64_t j = 1; j < n_kernel; ++j)
      s = V::add(s, V::multiply(V::add(V::load(in + k - j), V::load(in + k + j)), V::same(kernel[j])));
    V::store(out + k, s);
  }
}

// The same across rows, then the quotients of the two: 0 where there is no weight. Sums of four vectors grow
// side by side, as none of them waits for another; all rows of these, while they are at hand.
template <typename V>
MWACONVERT_INLINE void smooth_columns_of(const float* sum, const float* weight, int64_t stride,
                                         int64_t n_rows, int64_t n, const float* kernel, int64_t n_kernel,
                                         float* out) {
  using Floats = typename V::Floats;
  for (int64_t k = 0; k < n; k += 2 * kLanes)
    for (int64_t t = 0; t < n_rows; ++t) {
      const int64_t above = std::min(n_kernel - 1, t), below = std::min(n_kernel - 1, n_rows - 1 - t);
      const int64_t both = std::min(above, below), side = above > below ? -stride : stride;
      const int64_t first = t * stride + k, second = first + kLanes;
      const float* from[4] = {sum + first, sum + second, weight + first, weight + second};
      Floats s[4];
      for (int64_t i = 0; i < 4; ++i) s[i] = V::multiply(V::load(from[i]), V::same(kernel[0]));
      int64_t j = 1;
      for (; j <= both; ++j)
        for (int64_t i = 0; i < 4; ++i) {
          const Floats pair = V::add(V::load(from[i] - j * stride), V::load(from[i] + j * stride));
          s[i] = V::add(s[i], V::multiply(pair, V::same(kernel[j])));
        }
      for (; j <= std::max(above, below); ++j)
        for (int64_t i = 0; i < 4; ++i)
          s[i] = V::add(s[i], V::multiply(V::load(from[i] + j * side), V::same(kernel[j])));
      for (int64_t i = 0; i < 2; ++i) {
        const typename V::Mask there = V::above(s[2 + i], V::same(0.0f));
        const Floats divisor = V::choose(there, s[2 + i], V::same(1.0f));
        V::store(out + first + i * kLanes, V::only(there, V::divide(s[i], divisor)));
      }
    }
}

MWACONVERT_TWICE(void, smooth_row, smooth_row_of,
                 (const float* in, int64_t n, const float* kernel, int64_t n_kernel, float* out),
                 (in, n, kernel, n_kernel, out))
MWACONVERT_TWICE(void, smooth_columns, smooth_columns_of,
                 (const float* sum, const float* weight, int64_t stride, int64_t n_rows, int64_t n,
                  const float* kernel, int64_t n_kernel, float* out),
                 (sum, weight, stride, n_rows, n, kernel, n_kernel, out))

// Means of the blocks with weight, 0 elsewhere.
MWACONVERT_CLONES
void only_used(const float* mean, const float* used, int64_t n, float* out) {
  for (int64_t j = 0; j < n; ++j) out[j] = used[j] > 0 ? mean[j] : 0;
}

MWACONVERT_INLINE void repeat_each(const float* block, int64_t n, int64_t step, float* out) {
  for (int64_t j = 0; j < n; ++j)
    for (int64_t c = 0; c < step; ++c) out[j * step + c] = block[j];
}

// The value of each channel's block.
MWACONVERT_CLONES
void to_channels(const float* block, int64_t n_blocks, int64_t step, float* out) {
  step == 3 ? repeat_each(block, n_blocks, 3, out) : repeat_each(block, n_blocks, step, out);
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
  stride_ = padded(n_chan_);  // an even number of vectors is read
  kernel_time_ = half_kernel(p.window_time, p.variance_time);
  kernel_chan_ = half_kernel(p.window_freq, p.variance_freq);
  const int64_t n_kernel = static_cast<int64_t>(kernel_chan_.size());
  used_stride_ = stride_ + 2 * n_kernel;
  used_.assign(n_time_ * used_stride_, 0);
  used_before_.assign(n_time_ * used_stride_, 2);  // unlike any
  means_.assign(used_stride_, 0);
  sum_.resize(n_time_ * stride_);
  weight_.resize(n_time_ * stride_);
  result_.resize(n_time_ * stride_);
  by_channel_.resize(padded(n_chan_ * step_chan_));
  row_.resize(padded(layout.n_chan));
  block_of_column_.resize(layout.n_chan);
  for (int64_t k = 0; k < layout.n_chan; ++k)
    block_of_column_[k] = static_cast<int32_t>(layout.channel[k] / step_chan_);
  complete_.assign(n_chan_, 1);
  for (int64_t k = layout.n_good; k < layout.n_chan; ++k) complete_[block_of_column_[k]] = 0;
}

void RfiBackground::add_row(const float* amplitude, int64_t t, int64_t n_time, int64_t n_chan, float* sum,
                            float* means) const {
  add(amplitude, n_chan, t % step_time_ == 0, sum);
  if (t % step_time_ != step_time_ - 1 && t != n_time - 1) return;
  block_means(sum, n_chan, step_chan_, t % step_time_ + 1, means + t / step_time_ * n_chan_);
}

// Weights of blocks, 0 or 1; what is excluded includes the channels without data.
void RfiBackground::find_used(const RfiLayout& layout, const BitTable& excluded) {
  const int64_t words = (layout.n_good + 63) / 64;
  block_bits_.resize(words);
  for (int64_t b = 0; b < n_time_; ++b) {
    std::fill(block_bits_.begin(), block_bits_.end(), 0);
    for (int64_t t = b * step_time_; t < std::min((b + 1) * step_time_, layout.n_time); ++t)
      for (int64_t w = 0; w < words; ++w) block_bits_[w] |= excluded.row(t)[w];
    float* used = used_row(used_, b);
    std::copy(complete_.begin(), complete_.end(), used);
    for_each_bit(block_bits_.data(), words, [&](int64_t k) { used[block_of_column_[k]] = 0; });
  }
}

void RfiBackground::subtract(const RfiLayout& layout, const float* means, const BitTable& excluded,
                             RfiImage amplitude, RfiImage residual) {
  const int64_t n_kernel = static_cast<int64_t>(kernel_chan_.size());
  find_used(layout, excluded);
  for (int64_t b = 0; b < n_time_; ++b) {
    const float* used = used_row(used_, b);
    float* in = used_row(means_, 0);
    only_used(means + b * n_chan_, used, n_chan_, in);
    smooth_row(in, n_chan_, kernel_chan_.data(), n_kernel, &sum_[b * stride_]);
    float* before = used_row(used_before_, b);
    if (std::memcmp(used, before, n_chan_ * sizeof(float)) == 0) continue;
    std::copy_n(used, n_chan_, before);
    smooth_row(used, n_chan_, kernel_chan_.data(), n_kernel, &weight_[b * stride_]);
  }
  smooth_columns(sum_.data(), weight_.data(), stride_, n_time_, n_chan_, kernel_time_.data(),
                 static_cast<int64_t>(kernel_time_.size()), result_.data());
  for (int64_t b = 0; b < n_time_; ++b) {
    to_channels(&result_[b * stride_], n_chan_, step_chan_, by_channel_.data());
    layout.pick(by_channel_.data(), row_.data());
    for (int64_t t = b * step_time_; t < std::min((b + 1) * step_time_, layout.n_time); ++t)
      subtract_row(amplitude.row(t), row_.data(), layout.n_chan, residual.row(t));
  }
}

}  // namespace mwaconvert
