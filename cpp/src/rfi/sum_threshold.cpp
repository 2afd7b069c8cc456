// Sixteen neighbouring lines at a time, all samples integers. Most windows exceed nothing, and flags are few:
// lines are first looked through for windows that would be found without any flags, where those with longer
// windows cannot exceed what none of half the length exceeds. Then, level by level, come only the windows
// with flags in them, unless what was seen at shorter ones rules them out too.
//
// Lines with gaps are handled one by one (rfi_gaps.cpp).
#include <algorithm>
#include <cmath>
#include <cstring>

#include "parts.hpp"

namespace mwaconvert {
namespace {

constexpr int kSixteen = 16;

// Calls visit(begin, end) for ranges of window starts that hold all windows of `length` > 1 with samples that
// are flagged and others that are not. changes: bits of the samples that differ in that from the next.
template <typename Visit>
void for_each_run(const uint64_t* changes, int64_t n, int64_t length, Visit visit) {
  const int64_t last = n - length + 1;
  int64_t begin = 0, end = 0;
  for_each_bit(changes, (n - 1 + 63) / 64, [&](int64_t j) {
    const int64_t first = std::max<int64_t>(0, j - length + 2);
    if (first > end + length) {  // else going on is as fast as a new start
      if (end > begin) visit(begin, end);
      begin = first;
    }
    end = std::min(j + 1, last);
  });
  if (end > begin) visit(begin, end);
}

}  // namespace

RfiLevels::RfiLevels(double first, double ratio, int64_t longest_window) {
  count = 0;
  for (int64_t length = 1; length <= longest_window && count < kMost; length *= 2, ++count)
    level[count] = static_cast<float>(first * std::pow(ratio, count) / static_cast<double>(length));
  lowest = *std::min_element(level, level + count);
}

void SumThreshold::Direction::reset(const RfiLevels& some, int64_t lines, int64_t samples) {
  levels = &some;
  n_lines = lines;
  n = samples;
  n_groups = (lines + kSixteen - 1) / kSixteen;
  sample.resize(n_groups * n + kSixteen);
  flags.assign(n_groups * n + kSixteen + 1, 0);
  group.assign(n_groups, {});
  top.resize(n_groups * some.count);
  largest.assign(n_groups, {});
  n_flags.assign(n_groups * kSixteen, 0);
  n_later.assign(n_groups * kSixteen, 0);
  irregular.assign(lines, 0);
}

void SumThreshold::Direction::flag(int64_t line, int64_t j) {
  const int64_t g = line / kSixteen, lane = line % kSixteen;
  flags[g * n + j] = static_cast<uint16_t>(flags[g * n + j] | 1 << lane);
  sample[g * n + j].line[lane] = 0;
  count_flag(line, true);
}

void SumThreshold::Direction::count_flag(int64_t line, bool later) {
  group[line / kSixteen].flagged = true;
  if (irregular[line]) return;
  ++n_flags[line];
  n_later[line] += later;
}

void SumThreshold::run(const RfiLayout& layout, RfiImage x, const RfiLevels& time,
                       const RfiLevels& frequency) {
  layout_ = &layout;
  x_ = x;
  rows.reset(layout.n_time, layout.n_chan);
  const int64_t n_places = static_cast<int64_t>(layout.time.size());
  time_.reset(time, layout.n_good, n_places);
  frequency_.reset(frequency, n_places, layout.n_good);
  if (layout.n_good == 0 || !std::isfinite(time.level[0] + frequency.level[0])) return;  // nothing exceeds it
  has_holes_ = layout.time.back() - layout.time.front() + 1 != n_places;
  hit_.resize(std::max(n_places, layout.n_good) + kSixteen);
  hit_work_.resize(hit_.size());
  changes_.resize(hit_.size() / 64 + 1);

  find_irregular();
  choose_scale();
  for (int64_t g = 0; g < frequency_.n_groups; ++g) {
    take_rows(g);
    scan_group(frequency_, g);
  }
  for (int64_t g = 0; g < time_.n_groups; ++g) scan_group(time_, g);
  scan_irregular();
  for (int level = 1; level < time.count; ++level) {
    flag_groups(time_, level);
    flag_irregular_columns(level);
    flag_groups(frequency_, level);
    flag_irregular_rows(level);
  }
  collect();
}

void SumThreshold::choose_scale() {
  limit_ = std::min(time_.levels->level[0], frequency_.levels->level[0]);
  int64_t longest = 1;
  for (int k = 1; k < time_.levels->count && longest < std::max(time_.n, frequency_.n); ++k) longest *= 2;
  scale_ = limit_ > 0 ? static_cast<float>((1 << 30) / static_cast<double>(longest) / limit_) : 0;
  if (!std::isfinite(scale_)) scale_ = 0;
}

// Samples of sixteen timesteps, for both directions. What exceeds the limit is 0 and flagged, which is all
// there is to do for windows of one sample.
void SumThreshold::take_rows(int64_t g) {
  const RfiLayout& layout = *layout_;
  const int64_t j0 = g * kSixteen, n_rows = std::min<int64_t>(kSixteen, time_.n - j0);
  Sixteen few[kSixteen] = {};  // the last timesteps may not be sixteen
  const float* from[kSixteen];
  for (int64_t r = 0; r < n_rows; ++r) from[r] = x_.row(layout.time[j0 + r]);
  for (int64_t c0 = 0; c0 < layout.n_good; c0 += kSixteen) {
    const int64_t n_columns = std::min<int64_t>(kSixteen, layout.n_good - c0);
    Sixteen* block = &time_.sample[c0 / kSixteen * time_.n + j0];
    uint16_t above[kSixteen];
    const bool any = to_sixteens(from, c0, n_rows, (1u << n_columns) - 1, limit_, scale_, block, above,
                                 time_.largest[c0 / kSixteen].line, frequency_.largest[g].line) != 0;
    if (n_rows < kSixteen) block = std::copy_n(block, n_rows, few) - n_rows;
    transpose(block, frequency_.sample[g * frequency_.n + c0].line, kSixteen);
    if (!any) continue;
    for (int64_t r = 0; r < n_rows; ++r) {
      const int64_t t = layout.time[j0 + r];
      if (layout.row_has_gaps[t])
        above[r] = static_cast<uint16_t>(above[r] & ~(layout.missing_in_time.row(t)[c0 / 64] >> c0 % 64));
      if (above[r] == 0) continue;
      time_.flags[c0 / kSixteen * time_.n + j0 + r] = above[r];
      for (uint32_t rest = above[r]; rest; rest &= rest - 1) {
        const int64_t c = c0 + std::countr_zero(rest);
        uint16_t& bits = frequency_.flags[g * frequency_.n + c];
        bits = static_cast<uint16_t>(bits | 1 << r);
        time_.count_flag(c, false);
        frequency_.count_flag(j0 + r, false);
      }
    }
  }
}

// Lines with gaps are handled elsewhere.
void SumThreshold::leave_out_irregular(Direction& direction, int64_t g) const {
  if (irregular_rows_.empty() && irregular_columns_.empty()) return;
  Sixteen* sample = &direction.sample[g * direction.n];
  for (int64_t line = g * kSixteen; line < std::min((g + 1) * kSixteen, direction.n_lines); ++line)
    if (direction.irregular[line])
      for (int64_t j = 0; j < direction.n; ++j) sample[j].line[line % kSixteen] = 0;
}

// What windows without flags are found. Flagged samples count as zeros: their windows come later.
void SumThreshold::scan_group(Direction& direction, int64_t g) {
  leave_out_irregular(direction, g);
  const Sixteen* sample = &direction.sample[g * direction.n];
  const RfiLevels& levels = *direction.levels;
  SixteenFloats* top = &direction.top[g * levels.count];
  Group& group = direction.group[g];
  float most = take_means(direction.largest[g], 1, top[0]);
  group.largest = most;
  // lanes are those of the other direction
  if (&direction == &frequency_) std::fill_n(top[0].line, kSixteen, most);
  // where windows of 2 have to be looked at, so have those of 4 and 8
  const bool low = levels.count > 1 && most > levels.level[1] * scale_;
  const ShortSums sums = low ? largest_short_sums(sample, direction.n) : ShortSums{};
  for (int k = 1; k < levels.count; ++k) {
    const int64_t length = int64_t{1} << k;
    group.known[k] = group.known[k - 1];
    if (length > direction.n || most <= levels.level[k] * scale_) continue;
    group.known[k] = static_cast<uint8_t>(k);
    most = take_means(low && k <= 3 ? sums.of[k - 1] : largest_sums(sample, direction.n, length), length,
                      top[k]);
    if (most > levels.level[k] * scale_) group.levels |= 1u << k;
  }
}

void SumThreshold::flag_groups(Direction& direction, int level) {
  if (int64_t{1} << level > direction.n) return;
  const float limit = direction.levels->level[level] * scale_;
  for (int64_t g = 0; g < direction.n_groups; ++g) {
    const Group& group = direction.group[g];
    const bool idle = !(group.levels >> level & 1) && (!group.flagged || group.largest <= limit);
    if (!idle && find_hits(direction, g, level)) flag_hits(direction, g, level);
  }
}

// Whether a window exceeds its level, and which (hit_).
bool SumThreshold::find_hits(Direction& direction, int64_t g, int level) {
  const RfiLevels& levels = *direction.levels;
  const Group& group = direction.group[g];
  const bool all = group.levels >> level & 1;
  const int64_t n = direction.n, length = int64_t{1} << level, first = g * kSixteen;
  const float limit = levels.level[level] * scale_;
  const SixteenFloats* top = &direction.top[g * levels.count];
  const KnownLines known{top[0].line, top[group.known[level]].line, &direction.n_flags[first],
                         &direction.n_later[first]};
  const uint32_t lines = all ? 0xffff : lines_in_question(known, n, length, limit);
  if (lines == 0) return false;
  const Sixteen* sample = &direction.sample[g * n];
  const uint16_t* flags = &direction.flags[g * n];
  bool found = false;
  std::fill_n(hit_.data(), n, 0);
  const auto look = [&](int64_t begin, int64_t end) {
    found |= find_windows(sample, flags, begin, end, length, limit, hit_.data());
  };
  if (all) {
    look(0, n - length + 1);
  } else {
    find_changes(flags, n - 1, lines, changes_.data());
    for_each_run(changes_.data(), n, length, look);
  }
  return found;
}

void SumThreshold::flag_hits(Direction& direction, int64_t g, int level) {
  const int64_t n = direction.n, length = int64_t{1} << level;
  if (&direction == &time_ && has_holes_) flag_holes(g, length);
  dilate(hit_.data(), n, length, hit_work_.data());
  for (int64_t j = 0; j < n; ++j)
    for (uint32_t rest = hit_[j] & ~direction.flags[g * n + j]; rest; rest &= rest - 1) {
      const int64_t line = g * kSixteen + std::countr_zero(rest);
      &direction == &time_ ? flag_cell(j, line) : flag_cell(line, j);
    }
}

// Flags missing timesteps that windows along time reach across.
void SumThreshold::flag_holes(int64_t g, int64_t length) {
  const std::vector<int32_t>& time = layout_->time;
  for (int64_t j = 0; j + 1 < time_.n; ++j) {
    if (time[j + 1] == time[j] + 1) continue;
    uint32_t across = 0;
    for (int64_t i = std::max<int64_t>(0, j - length + 2); i <= j; ++i) across |= hit_[i];
    for (; across; across &= across - 1)
      for (int32_t t = time[j] + 1; t < time[j + 1]; ++t)
        rows.set(t, g * kSixteen + std::countr_zero(across));
  }
}

void SumThreshold::flag_cell(int64_t place, int64_t column) {
  time_.flag(column, place);
  frequency_.flag(place, column);
  row_changed_[place] = column_changed_[column] = 1;
}

void SumThreshold::collect() {
  for (int64_t g = 0; g < time_.n_groups; ++g) {
    if (!time_.group[g].flagged) continue;
    const uint16_t* flags = &time_.flags[g * time_.n];
    for (int64_t j = 0; j < time_.n; ++j)
      rows.row(layout_->time[j])[g / 4] |= static_cast<uint64_t>(flags[j]) << 16 * (g % 4);
  }
}

}  // namespace mwaconvert
