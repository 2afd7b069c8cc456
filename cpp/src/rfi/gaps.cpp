// SumThreshold of lines with missing cells, one by one: windows close over the gaps.
//
// Odd levels. Along time AOFlagger's masked variant has a quirk that is reproduced here: if the cell after
// the first M - 1 samples of a channel is missing, its value enters the first window of length M and stays in
// all of them, so that windows hold M - 1 samples and that one.
#include <algorithm>
#include <cmath>

#include "mwaconvert/base/simd.hpp"
#include "parts.hpp"

namespace mwaconvert {
namespace {

// Bit k where a window of 2^k of n samples exceeds its level. value: 0 where flagged; count: 0 there, else 1.
// Both are summed up on the way, to windows of 2^last; hit[i]: window i exceeds the level of `last`, if that
// is not negative.
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

}  // namespace

void SumThreshold::find_irregular() {
  const RfiLayout& layout = *layout_;
  const int64_t n = time_.n;
  regular_column_ = Line{n, layout.time.data(), 0, {}};
  find_odd_levels(-1, regular_column_);
  irregular_rows_.clear();
  irregular_columns_.clear();
  for (int64_t j = 0; j < n; ++j)
    if (layout.row_has_gaps[layout.time[j]]) irregular_rows_.push_back(static_cast<int32_t>(j));
  for (int64_t c = 0; c < layout.n_good; ++c)
    if (layout.column_has_gaps[c] || regular_column_.odd_levels)
      irregular_columns_.push_back(static_cast<int32_t>(c));
  for (int32_t j : irregular_rows_) frequency_.irregular[j] = 1;
  for (int32_t c : irregular_columns_) time_.irregular[c] = 1;
  row_changed_.assign(n, 0);
  column_changed_.assign(layout.n_good, 0);
  column_value_.resize(irregular_columns_.size() * n);
  for (int64_t j = 0; j < n; ++j)
    for (size_t k = 0; k < irregular_columns_.size(); ++k)
      column_value_[k * n + j] = x_.row(layout.time[j])[irregular_columns_[k]];
}

void SumThreshold::scan_irregular() {
  const int64_t longest = padded(std::max(time_.n, frequency_.n));
  value_.resize(longest);
  count_.resize(longest);
  line_hit_.resize(longest);
  position_.resize(longest);
  row_levels_.clear();
  column_levels_.clear();
  for (int32_t j : irregular_rows_) row_levels_.push_back(evaluate_row(j));
  for (size_t k = 0; k < irregular_columns_.size(); ++k) column_levels_.push_back(evaluate_column(k));
}

void SumThreshold::flag_irregular_columns(int level) {
  for (size_t k = 0; k < irregular_columns_.size(); ++k) {
    uint8_t& changed = column_changed_[irregular_columns_[k]];
    if (changed) column_levels_[k] = evaluate_column(k);
    changed = 0;
    if (column_levels_[k] >> level & 1) flag_column(k, level);
  }
}

void SumThreshold::flag_irregular_rows(int level) {
  for (size_t k = 0; k < irregular_rows_.size(); ++k) {
    const int32_t j = irregular_rows_[k];
    if (row_changed_[j]) row_levels_[k] = evaluate_row(j);
    row_changed_[j] = 0;
    if (row_levels_[k] >> level & 1) flag_row(j, level);
  }
}

uint32_t SumThreshold::evaluate_row(int64_t place) {
  const Line line = load_row(place);
  return scan_flagged(value_.data(), count_.data(), line.n, *frequency_.levels, -1, line_hit_.data());
}

uint32_t SumThreshold::evaluate_column(size_t which) {
  const Line line = load_column(which);
  uint32_t odd = 0;
  for (int k = 0; k < time_.levels->count; ++k)
    if (line.odd_levels >> k & 1)
      odd_windows(irregular_columns_[which], line, k, [&](int64_t, int64_t) { odd |= 1u << k; });
  const uint32_t found =
      scan_flagged(value_.data(), count_.data(), line.n, *time_.levels, -1, line_hit_.data());
  return (found & ~line.odd_levels) | odd;
}

// Fills value_ and count_ with the samples of a timestep.
SumThreshold::Line SumThreshold::load_row(int64_t place) {
  const int32_t t = layout_->time[place];
  const float* v = x_.row(t);
  const uint64_t* missing = layout_->missing_in_time.row(t);
  Line line{0, position_.data(), 0, {}};
  for (int64_t k = 0; k < layout_->n_good; ++k) {
    if (missing[k >> 6] >> (k & 63) & 1) continue;
    const bool flagged = time_.flagged(k, place);
    value_[line.n] = flagged ? 0 : v[k];
    count_[line.n] = flagged ? 0 : 1;
    position_[line.n++] = static_cast<int32_t>(k);
  }
  return line;
}

// Fills value_ and count_ with the samples of a channel.
SumThreshold::Line SumThreshold::load_column(size_t which) {
  const int32_t c = irregular_columns_[which];
  const float* v = &column_value_[which * time_.n];
  Line line{0, position_.data(), 0, {}};
  for (int64_t j = 0; j < time_.n; ++j) {
    const int32_t t = layout_->time[j];
    if (layout_->missing_in_column.get(c, t)) continue;
    const bool flagged = time_.flagged(c, j);
    value_[line.n] = flagged ? 0 : v[j];
    count_[line.n] = flagged ? 0 : 1;
    position_[line.n++] = t;
  }
  find_odd_levels(c, line);
  return line;
}

bool SumThreshold::flagged(int64_t t, int64_t column) const {
  const int32_t place = layout_->place[t];
  return place < 0 ? rows.get(t, column) : time_.flagged(column, place);
}

// c: column, -1 for those without gaps of their own.
void SumThreshold::find_odd_levels(int64_t c, Line& line) const {
  for (int k = 1; k < time_.levels->count; ++k) {
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
  const bool odd_flagged = flagged(odd, c);
  double sum = odd_flagged ? 0 : x_.row(odd)[c], count = odd_flagged ? 0 : 1;
  for (int64_t j = 0; j < samples; ++j) {
    sum += value_[j];
    count += count_[j];
  }
  for (int64_t i = 0;; ++i) {
    const int64_t last = i == 0 ? odd : line.position[i + samples - 1];
    if (std::abs(sum) > time_.levels->level[level] * count) found(line.position[i], last + 1);
    if (i + samples >= line.n) break;
    sum += static_cast<double>(value_[i + samples]) - value_[i];
    count += static_cast<double>(count_[i + samples]) - count_[i];
  }
}

void SumThreshold::flag_row(int64_t place, int level) {
  const Line line = load_row(place);
  const int64_t length = int64_t{1} << level, n_windows = line.n - length + 1;
  if (!scan_flagged(value_.data(), count_.data(), line.n, *frequency_.levels, level, line_hit_.data()))
    return;
  for (int64_t i = 0, done = 0; i < n_windows; ++i) {
    if (!line_hit_[i]) continue;
    for (int64_t j = std::max(i, done); j < i + length; ++j)
      if (!time_.flagged(line.position[j], place)) flag_cell(place, line.position[j]);
    done = i + length;
  }
}

void SumThreshold::flag_column(size_t which, int level) {
  const int32_t c = irregular_columns_[which];
  const Line line = load_column(which);
  int64_t done = 0;
  const auto mark = [&](int64_t begin, int64_t end) {  // missing cells in between too
    for (int64_t t = std::max(begin, done); t < end; ++t) {
      if (flagged(t, c)) continue;
      if (const int32_t place = layout_->place[t]; place >= 0)
        flag_cell(place, c);
      else
        rows.set(t, c);
    }
    done = end;
  };
  if (line.odd_levels >> level & 1) {
    odd_windows(c, line, level, mark);
    return;
  }
  const int64_t length = int64_t{1} << level, n_windows = line.n - length + 1;
  if (!scan_flagged(value_.data(), count_.data(), line.n, *time_.levels, level, line_hit_.data())) return;
  for (int64_t i = 0; i < n_windows; ++i)
    if (line_hit_[i]) mark(line.position[i], line.position[i + length - 1] + 1);
}

}  // namespace mwaconvert
