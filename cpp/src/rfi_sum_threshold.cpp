// Most windows exceed nothing, so whole lines are looked through first, all window lengths at once: sums of 2
// M samples are sums of two sums of M. A line is then taken up again for the window lengths that found
// something, and whenever one of its samples was flagged since.
//
// Odd levels. Along time AOFlagger's masked variant has a quirk that is reproduced here: if the cell after
// the first M - 1 samples of a channel is missing, its value enters the first window of length M and stays in
// all of them, so that windows hold M - 1 samples and that one.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "mwaconvert/simd.hpp"
#include "rfi_parts.hpp"

namespace mwaconvert {
namespace {

MWACONVERT_INLINE float size_of(int32_t bits) {
  float v;
  std::memcpy(&v, &bits, 4);
  return v;
}

// Bit k where a window of 2^k of n samples exceeds its level. first: the samples; work: room for n, padded.
MWACONVERT_CLONES
uint32_t scan_samples(const float* first, float* work, int64_t n, const RfiLevels& levels) {
  uint32_t found = 0;
  const float* s = first;
  for (int k = 0; k < levels.count; ++k) {
    const int64_t length = int64_t{1} << k, half = length / 2, end = n - length + 1;
    if (end <= 0) break;
    i16 most = all(0);
    int64_t i = 0;
    if (k == 0) {
      for (; i + kLanes <= end; i += kLanes) most = larger_size(most, load16(s + i));
      if (i < end) most = larger_size(most, or_zero(first_lanes(end - i), load16(s + i)));
    } else {
      for (; i + kLanes <= end; i += kLanes) {
        const f16 v = load16(s + i) + load16(s + i + half);
        store16(work + i, v);
        most = larger_size(most, v);
      }
      if (i < end) {
        const f16 v = load16(s + i) + load16(s + i + half);
        store16(work + i, v);
        most = larger_size(most, or_zero(first_lanes(end - i), v));
      }
      s = work;
    }
    int32_t top_bits = 0;
    for (int l = 0; l < 8; ++l) top_bits = std::max({top_bits, most.a[l], most.b[l]});
    const float top = size_of(top_bits), m = static_cast<float>(length);
    if (top > levels.level[k] * m) found |= 1u << k;
    if (!(top > levels.lowest * m)) break;  // longer windows have smaller means
  }
  return found;
}

// The same for sixteen neighbouring columns; rows[j]: the j-th sample of each. work: (n, 16).
MWACONVERT_CLONES
void scan_sixteen(const float* const* rows, int64_t offset, int64_t n, float* work, const RfiLevels& levels,
                  uint32_t* found) {
  std::fill_n(found, kLanes, 0);
  for (int k = 0; k < levels.count; ++k) {
    const int64_t length = int64_t{1} << k, half = length / 2, end = n - length + 1;
    if (end <= 0) break;
    i16 most = all(0);
    if (k == 0) {
      for (int64_t j = 0; j < end; ++j) most = larger_size(most, load16(rows[j] + offset));
    } else if (k == 1) {
      f16 here = load16(rows[0] + offset);
      for (int64_t j = 0; j < end; ++j) {
        const f16 next = load16(rows[j + 1] + offset), v = here + next;
        store16(work + kLanes * j, v);
        most = larger_size(most, v);
        here = next;
      }
    } else {
      for (int64_t j = 0; j < end; ++j) {
        const f16 v = load16(work + kLanes * j) + load16(work + kLanes * (j + half));
        store16(work + kLanes * j, v);
        most = larger_size(most, v);
      }
    }
    const float m = static_cast<float>(length);
    bool longer = false;
    for (int64_t l = 0; l < kLanes; ++l) {
      const float top = size_of(l < 8 ? most.a[l] : most.b[l - 8]);
      found[l] |= static_cast<uint32_t>(top > levels.level[k] * m) << k;
      longer |= top > levels.lowest * m;
    }
    if (!longer) break;
  }
}

// The same for one line with flags. value: 0 where flagged; count: 0 there, else 1. Both are summed up on the
// way, to windows of 2^last; hit[i]: window i exceeds the level of `last`, if that is not negative.
MWACONVERT_CLONES
uint32_t scan_flagged(float* value, float* count, int64_t n, const RfiLevels& levels, int last,
                      uint8_t* hit) {
  uint32_t found = 0;
  for (int k = 0; k < levels.count; ++k) {
    const int64_t length = int64_t{1} << k, half = length / 2, end = n - length + 1;
    if (end <= 0) break;
    i16 over = all(0), over_lowest = all(0);
    const f16 level = all(levels.level[k]), lowest = all(levels.lowest);
    int64_t i = 0;
    const auto step = [&]() __attribute__((always_inline)) {
      f16 v = load16(value + i), c = load16(count + i);
      if (k > 0) {
        v = v + load16(value + i + half);
        c = c + load16(count + i + half);
        store16(value + i, v);
        store16(count + i, c);
      }
      const f16 size = absolute(v);
      const i16 inside = first_lanes(end - i);
      over = over | ((level * c < size) & inside);
      over_lowest = over_lowest | ((lowest * c < size) & inside);
    };
    for (; i < end; i += kLanes) step();
    if (any(over)) found |= 1u << k;
    if (k == last) {
      for (i = 0; i < end; ++i) hit[i] = levels.level[k] * count[i] < std::abs(value[i]);
      break;
    }
    if (last < 0 && !any(over_lowest)) break;
  }
  return found;
}

// Four rows of four to four columns of four, sixteen columns at once.
MWACONVERT_CLONES
void transpose_sixteen(const float* const* rows, int64_t offset, int64_t n, float* out, int64_t out_stride) {
  int64_t j = 0;
  for (; j + 4 <= n; j += 4)
    for (int64_t c = 0; c < kLanes; c += 4) {
      const auto at = [&](int64_t r) __attribute__((always_inline)) {
        return *reinterpret_cast<const f4_loose*>(rows[j + r] + offset + c);
      };
      const f4 a = at(0), b = at(1), d = at(2), e = at(3);
      const f4 ab0 = __builtin_shufflevector(a, b, 0, 4, 1, 5),
               ab1 = __builtin_shufflevector(a, b, 2, 6, 3, 7);
      const f4 de0 = __builtin_shufflevector(d, e, 0, 4, 1, 5),
               de1 = __builtin_shufflevector(d, e, 2, 6, 3, 7);
      const auto to = [&](int64_t k, f4 v) __attribute__((always_inline)) {
        *reinterpret_cast<f4_loose*>(out + (c + k) * out_stride + j) = v;
      };
      to(0, __builtin_shufflevector(ab0, de0, 0, 1, 4, 5));
      to(1, __builtin_shufflevector(ab0, de0, 2, 3, 6, 7));
      to(2, __builtin_shufflevector(ab1, de1, 0, 1, 4, 5));
      to(3, __builtin_shufflevector(ab1, de1, 2, 3, 6, 7));
    }
  for (; j < n; ++j)
    for (int64_t c = 0; c < kLanes; ++c) out[c * out_stride + j] = rows[j][offset + c];
}

}  // namespace

RfiLevels::RfiLevels(double first, double ratio, int64_t longest_window) {
  count = 0;
  for (int64_t length = 1; length <= longest_window && count < kMost; length *= 2, ++count)
    level[count] = static_cast<float>(first * std::pow(ratio, count) / static_cast<double>(length));
  lowest = *std::min_element(level, level + count);
}

void SumThreshold::run(const RfiLayout& layout, RfiImage x, const RfiLevels& time,
                       const RfiLevels& frequency) {
  layout_ = &layout;
  x_ = x;
  time_ = &time;
  frequency_ = &frequency;
  const int64_t n_time = layout.n_time, n_good = layout.n_good;
  rows.reset(n_time, layout.n_chan);
  columns.reset(layout.n_chan, n_time);
  row_levels_.assign(n_time, 0);
  column_levels_.assign(padded(n_good), 0);
  row_changed_.assign(n_time, 0);
  column_changed_.assign(n_good, 0);
  transposed_group_.assign(padded(n_good) / kLanes, 0);
  transposed_.resize(padded(n_good) * padded(n_time));
  const int64_t longest = padded(std::max(n_good, n_time));
  value_.resize(longest);
  count_.resize(longest);
  scan_.resize(std::max(longest, kLanes * padded(n_time)));
  hit_.resize(longest);
  position_.resize(longest);
  time_rows_.clear();
  for (int32_t t : layout.time) time_rows_.push_back(x.row(t));

  scan_rows();
  scan_columns();
  for (int level = 0; level < std::max(time.count, frequency.count); ++level) {
    const uint32_t bit = 1u << level;
    for (int64_t c = 0; c < n_good; ++c) {
      if (column_changed_[c]) {
        column_changed_[c] = 0;
        column_levels_[c] = evaluate_column(c);
      }
    }
    for (int64_t c = 0; c < n_good; ++c)
      if (column_levels_[c] & bit) flag_column(c, level);
    for (int32_t t : layout.time) {
      if (row_changed_[t]) {
        row_changed_[t] = 0;
        row_levels_[t] = evaluate_row(t);
      }
      if (row_levels_[t] & bit) flag_row(t, level);
    }
  }
}

void SumThreshold::scan_rows() {
  for (int32_t t : layout_->time)
    row_levels_[t] = layout_->row_has_gaps[t]
                         ? evaluate_row(t)
                         : scan_samples(x_.row(t), scan_.data(), layout_->n_good, *frequency_);
}

void SumThreshold::scan_columns() {
  const int64_t n = static_cast<int64_t>(time_rows_.size());
  regular_column_ = Line{n, layout_->time.data(), 0, {}};
  find_odd_levels(-1, regular_column_);
  for (int64_t c = 0; c < layout_->n_good; c += kLanes) {
    if (!regular_column_.odd_levels)
      mwaconvert::scan_sixteen(time_rows_.data(), c, n, scan_.data(), *time_, &column_levels_[c]);
    for (int64_t k = c; k < std::min(c + kLanes, layout_->n_good); ++k)
      if (regular_column_.odd_levels || layout_->column_has_gaps[k]) column_levels_[k] = evaluate_column(k);
  }
}

uint32_t SumThreshold::evaluate_row(int64_t t) {
  const Line line = load_row(t);
  return scan_flagged(value_.data(), count_.data(), line.n, *frequency_, -1, hit_.data());
}

uint32_t SumThreshold::evaluate_column(int64_t c) {
  const Line line = load_column(c);
  uint32_t odd = 0;
  for (int k = 0; k < time_->count; ++k)
    if (line.odd_levels >> k & 1) odd_windows(c, line, k, [&](int64_t, int64_t) { odd |= 1u << k; });
  const uint32_t found = scan_flagged(value_.data(), count_.data(), line.n, *time_, -1, hit_.data());
  return (found & ~line.odd_levels) | odd;
}

// Fills value_ and count_ with the samples of a timestep.
SumThreshold::Line SumThreshold::load_row(int64_t t) {
  const float* v = x_.row(t);
  const uint64_t* flags = rows.row(t);
  int64_t n = layout_->n_good;
  if (!layout_->row_has_gaps[t]) {
    std::copy_n(v, n, value_.data());
    std::fill_n(count_.data(), n, 1.0f);
    for_each_bit(flags, rows.words(), [&](int64_t k) { value_[k] = count_[k] = 0; });
    return Line{n, nullptr, 0, {}};
  }
  const uint64_t* missing = layout_->missing_in_time.row(t);
  n = 0;
  for (int64_t k = 0; k < layout_->n_good; ++k) {
    if (missing[k >> 6] >> (k & 63) & 1) continue;
    const bool flagged = flags[k >> 6] >> (k & 63) & 1;
    value_[n] = flagged ? 0 : v[k];
    count_[n] = flagged ? 0 : 1;
    position_[n++] = static_cast<int32_t>(k);
  }
  return Line{n, position_.data(), 0, {}};
}

// Fills value_ and count_ with the samples of a channel.
SumThreshold::Line SumThreshold::load_column(int64_t c) {
  const float* v = column_values(c);
  const uint64_t* flags = columns.row(c);
  const std::vector<int32_t>& time = layout_->time;
  if (!layout_->column_has_gaps[c]) {
    const int64_t n = regular_column_.n;
    std::copy_n(v, n, value_.data());
    std::fill_n(count_.data(), n, 1.0f);
    for_each_bit(flags, columns.words(), [&](int64_t t) {
      if (const int32_t j = layout_->place[t]; j >= 0) value_[j] = count_[j] = 0;
    });
    return regular_column_;
  }
  Line line{0, position_.data(), 0, {}};
  for (size_t j = 0; j < time.size(); ++j) {
    if (layout_->missing_in_column.get(c, time[j])) continue;
    const bool flagged = columns.get(c, time[j]);
    value_[line.n] = flagged ? 0 : v[j];
    count_[line.n] = flagged ? 0 : 1;
    position_[line.n++] = time[j];
  }
  find_odd_levels(c, line);
  return line;
}

const float* SumThreshold::column_values(int64_t c) {
  const int64_t stride = padded(layout_->n_time), group = c / kLanes;
  if (!transposed_group_[group]) {
    transposed_group_[group] = 1;
    transpose_sixteen(time_rows_.data(), group * kLanes, static_cast<int64_t>(time_rows_.size()),
                      &transposed_[group * kLanes * stride], stride);
  }
  return &transposed_[c * stride];
}

// c: column, -1 for those without gaps of their own.
void SumThreshold::find_odd_levels(int64_t c, Line& line) const {
  for (int k = 1; k < time_->count; ++k) {
    const int64_t length = int64_t{1} << k;
    if (line.n < length - 1) break;
    const int32_t after = line.position[length - 2] + 1;
    if (after >= layout_->n_time) break;
    if (c < 0 ? layout_->place[after] < 0 : layout_->missing_in_column.get(c, after)) {
      line.odd_levels |= 1u << k;
      line.odd_cell[k] = after;
    }
  }
}

// Calls found(first cell, end cell) for each window of an odd level that exceeds it. value_, count_: samples.
template <typename Found>
void SumThreshold::odd_windows(int64_t c, const Line& line, int level, Found found) {
  const int64_t samples = (int64_t{1} << level) - 1;
  const int32_t odd = line.odd_cell[level];
  const bool odd_flagged = columns.get(c, odd);
  double sum = odd_flagged ? 0 : x_.row(odd)[c], count = odd_flagged ? 0 : 1;
  for (int64_t j = 0; j < samples; ++j) {
    sum += value_[j];
    count += count_[j];
  }
  for (int64_t i = 0;; ++i) {
    const int64_t last = i == 0 ? odd : line.position[i + samples - 1];
    if (std::abs(sum) > time_->level[level] * count) found(line.position[i], last + 1);
    if (i + samples >= line.n) break;
    sum += static_cast<double>(value_[i + samples]) - value_[i];
    count += static_cast<double>(count_[i + samples]) - count_[i];
  }
}

void SumThreshold::flag_row(int64_t t, int level) {
  const Line line = load_row(t);
  const int64_t length = int64_t{1} << level, n_windows = line.n - length + 1;
  if (!scan_flagged(value_.data(), count_.data(), line.n, *frequency_, level, hit_.data())) return;
  for (int64_t i = 0, done = 0; i < n_windows; ++i) {
    if (!hit_[i]) continue;
    for (int64_t j = std::max(i, done); j < i + length; ++j) {
      const int64_t k = line.position ? line.position[j] : j;
      if (rows.get(t, k)) continue;
      rows.set(t, k);
      columns.set(k, t);
      row_changed_[t] = column_changed_[k] = 1;
    }
    done = i + length;
  }
}

void SumThreshold::flag_column(int64_t c, int level) {
  const Line line = load_column(c);
  int64_t done = 0;
  const auto mark = [&](int64_t begin, int64_t end) {  // missing cells in between too
    for (int64_t t = std::max(begin, done); t < end; ++t) {
      if (columns.get(c, t)) continue;
      columns.set(c, t);
      rows.set(t, c);
      row_changed_[t] = column_changed_[c] = 1;
    }
    done = end;
  };
  if (line.odd_levels >> level & 1) {
    odd_windows(c, line, level, mark);
    return;
  }
  const int64_t length = int64_t{1} << level, n_windows = line.n - length + 1;
  if (!scan_flagged(value_.data(), count_.data(), line.n, *time_, level, hit_.data())) return;
  for (int64_t i = 0; i < n_windows; ++i)
    if (hit_[i]) mark(line.position[i], line.position[i + length - 1] + 1);
}

}  // namespace mwaconvert
