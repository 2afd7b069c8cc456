// The steps of RFI detection on one image (the amplitudes of one polarisation of a baseline), and the shapes
// they share. An image has rows of timesteps; its columns are channels, those with data first (RfiLayout).
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <vector>

#include "mwaconvert/base/scratch.hpp"
#include "mwaconvert/base/view.hpp"
#include "mwaconvert/rfi/flag.hpp"
#include "wide.hpp"
#include "windows.hpp"

namespace mwaconvert {

// Length of a row of n values: whole vectors, and one more.
inline int64_t padded(int64_t n) {
  return (n + kLanes - 1) / kLanes * kLanes + kLanes;
}

// Rows of bits.
class BitTable {
 public:
  void reset(int64_t n_rows, int64_t n_columns) {
    words_ = (n_columns + 63) / 64;
    bits_.assign(n_rows * words_, 0);
  }
  int64_t words() const { return words_; }
  uint64_t* row(int64_t r) { return bits_.data() + r * words_; }
  const uint64_t* row(int64_t r) const { return bits_.data() + r * words_; }
  void add(const BitTable& other) {
    for (size_t w = 0; w < bits_.size(); ++w) bits_[w] |= other.bits_[w];
  }
  bool get(int64_t r, int64_t c) const { return row(r)[c >> 6] >> (c & 63) & 1; }
  void set(int64_t r, int64_t c) { row(r)[c >> 6] |= uint64_t{1} << (c & 63); }

 private:
  int64_t words_ = 0;
  std::vector<uint64_t> bits_;
};

template <typename Visit>
inline void for_each_bit(const uint64_t* words, int64_t n_words, Visit visit) {
  for (int64_t w = 0; w < n_words; ++w)
    for (uint64_t rest = words[w]; rest; rest &= rest - 1) visit(64 * w + std::countr_zero(rest));
}

enum RfiCell : uint8_t { kClear = 0, kFound = 1, kMissingCell = 2 };

// Which cells of a baseline hold data.
struct RfiLayout {
  int64_t n_time = 0, n_chan = 0;
  int64_t n_good = 0;            // channels with data: the first columns
  int64_t stride = 0;            // floats from row to row of an image
  std::vector<int32_t> channel;  // (n_chan) of each column; good ones first, each kind ascending
  std::vector<int32_t> time;     // timesteps with data
  std::vector<int32_t> place;    // (n_time) index into `time`, -1
  struct Run {
    int32_t column, channel, length;
  };
  std::vector<Run> runs;       // neighbouring columns that are neighbouring channels; columns ascend
  BitTable missing_in_time;    // (n_time, n_chan columns)
  BitTable missing_in_column;  // (n_chan columns, n_time)
  std::vector<uint8_t> row_has_gaps, column_has_gaps;  // a cell missing where timestep and channel have data
  std::vector<uint8_t> cells;                          // (n_time, stride) by channel: kMissingCell or kClear

  void build(View<const uint8_t, 2> missing);  // (n_time, n_chan)

  // From the order of channels to that of columns. Both are rows of `stride` values: whole vectors are
  // copied.
  void pick(const float* by_channel, float* by_column) const;
  void pick(const uint8_t* by_channel, uint8_t* by_column) const;
};

struct RfiImage {
  float* data;
  int64_t stride;
  float* row(int64_t t) const { return data + t * stride; }
};

// ---- statistics (rfi_statistics.cpp) ----

// The k-th smallest of n values, k from 0: one, or that and the next. Whole vectors are read; work: room for
// n, padded.
struct RankPair {
  float first, second;
};
RankPair select_pair(const float* values, int64_t n, int64_t first, int64_t second, float* work);
inline float select_kth(const float* values, int64_t n, int64_t k, float* work) {
  return select_pair(values, n, k, k, work).first;
}

class RfiStatistics {
 public:
  // Mode of a Rayleigh distribution fitted to the cells whose bit in `excluded` is off, values above the 90th
  // percentile being drawn in to it: 1.0541 sqrt(sum(min(x, q)^2) / (2 n)). Infinite
  // without cells: nothing exceeds it.
  double mode(const RfiLayout& layout, RfiImage x, const BitTable& excluded);

  // Divides each of n_bands groups of channels by its standard deviation: 10 % of the values at either end
  // drawn in, times sqrt(1.54). A band without spread becomes 0.
  void normalize_bands(const RfiLayout& layout, RfiImage x, const BitTable& excluded, int64_t n_bands);

  // Root mean squares over the cells whose bit in `flags` is off: of timesteps and of columns. NaN where
  // there are none.
  void rms(const RfiLayout& layout, RfiImage x, const BitTable& flags);
  std::vector<float> of_time, of_column;

  // Indices of values further than threshold standard deviations from the median, both taken again without
  // them until none is left; the median only if `moving`. NaNs are left out.
  const std::vector<int32_t>& outliers(const std::vector<float>& values, double threshold, bool moving);

 private:
  struct Percentiles {
    float low, high;
  };
  Percentiles percentiles(const float* values, int64_t n, Percentiles guess);
  double median_of_sample(int64_t n);

  AlignedFloats sample_, bracket_, band_, work_, factor_;
  AlignedFloats inside_;  // where a mode is sought: values near a percentile
  std::vector<int32_t> index_;
  std::vector<double> column_sums_;
  AlignedFloats column_part_, column_count_;
  std::vector<int32_t> outliers_;
};

// ---- SumThreshold (rfi_sum_threshold.cpp) ----

// Windows of 1, 2, 4, ... samples; a window is flagged if its mean exceeds the level of its length.
struct RfiLevels {
  static constexpr int kMost = 16;
  int count;
  float level[kMost];
  float lowest;

  RfiLevels(double first, double ratio, int64_t longest_window);
};

// Cells are addressed by place (index into the layout's `time`) and column, both of those with data.
class SumThreshold {
 public:
  void run(const RfiLayout& layout, RfiImage x, const RfiLevels& time, const RfiLevels& frequency);
  BitTable rows;  // flags (n_time, n_chan columns)

 private:
  // Lines of one direction, sixteen at a time.
  struct Group {
    uint32_t levels;                  // bit k: without the flags, a window of length 2^k exceeds its level
    bool flagged;                     // has flags
    float largest;                    // no sample without a flag is larger, in units of the samples
    uint8_t known[RfiLevels::kMost];  // which of `top` holds for windows of 2^k
  };
  struct Direction {
    const RfiLevels* levels;
    int64_t n_lines, n, n_groups;  // n: samples of a line
    std::vector<Sixteen> largest;  // (n_groups) absolute values of samples
    std::vector<Sixteen> sample;   // (n_groups, n) 0 where flagged, and in lines with gaps
    std::vector<uint16_t> flags;   // (n_groups, n) bit l: line 16 group + l
    std::vector<Group> group;
    std::vector<SixteenFloats> top;  // (n_groups, levels) what means of windows without flags do not exceed
    std::vector<int32_t> n_flags, n_later;  // (n_lines) regular lines; later: than the first ones
    std::vector<uint8_t> irregular;         // (n_lines) lines with gaps: each on its own

    void reset(const RfiLevels& levels, int64_t n_lines, int64_t n);
    bool flagged(int64_t line, int64_t j) const { return flags[line / 16 * n + j] >> (line % 16) & 1; }
    void flag(int64_t line, int64_t j);
    void count_flag(int64_t line, bool later);
  };

  // A line with gaps, without its missing cells (rfi_gaps.cpp).
  struct Line {
    int64_t n;
    const int32_t* position;  // timestep or column of each sample
    uint32_t odd_levels;      // along time: window lengths that meet a gap
    int32_t odd_cell[RfiLevels::kMost];
  };

  void choose_scale();
  void take_rows(int64_t g);
  void leave_out_irregular(Direction& direction, int64_t g) const;
  void scan_group(Direction& direction, int64_t g);
  bool find_hits(Direction& direction, int64_t g, int level);
  void flag_groups(Direction& direction, int level);
  void flag_hits(Direction& direction, int64_t g, int level);
  void flag_holes(int64_t g, int64_t length);
  void flag_cell(int64_t place, int64_t column);
  void collect();

  void find_irregular();
  void scan_irregular();
  void flag_irregular_columns(int level);
  void flag_irregular_rows(int level);
  uint32_t evaluate_row(int64_t place);
  uint32_t evaluate_column(size_t which);
  Line load_row(int64_t place);
  Line load_column(size_t which);
  void flag_row(int64_t place, int level);
  void flag_column(size_t which, int level);
  bool flagged(int64_t t, int64_t column) const;
  void find_odd_levels(int64_t c, Line& line) const;
  template <typename Found>
  void odd_windows(int64_t c, const Line& line, int level, Found found);

  const RfiLayout* layout_ = nullptr;
  RfiImage x_{};
  Direction time_, frequency_;   // lines are channels, timesteps
  float limit_ = 0, scale_ = 0;  // of single samples; to integers
  bool has_holes_ = false;       // timesteps without data between others
  std::vector<uint16_t> hit_, hit_work_;
  std::vector<uint64_t> changes_;

  std::vector<int32_t> irregular_rows_, irregular_columns_;
  std::vector<uint32_t> row_levels_, column_levels_;   // of these: bit k as above
  std::vector<float> column_value_;                    // (irregular columns, places)
  std::vector<uint8_t> row_changed_, column_changed_;  // by place, column
  std::vector<float> value_, count_;
  std::vector<uint8_t> line_hit_;
  std::vector<int32_t> position_;
  Line regular_column_{};
};

// ---- background (rfi_background.cpp) ----

class RfiBackground {
 public:
  // Shapes and kernels for images of this layout.
  void prepare(const RfiLayout& layout, const RfiParameters& p);
  int64_t n_time() const { return n_time_; }
  int64_t n_chan() const { return n_chan_; }

  // Takes the amplitudes of timestep t, by channel, and writes a row of block means when a block is full; t
  // ascending from 0. sum: (n_chan) kept between the calls; means (n_time, n_chan blocks).
  void add_row(const float* amplitude, int64_t t, int64_t n_time, int64_t n_chan, float* sum,
               float* means) const;
  // residual = amplitude - Gaussian-weighted mean of the block means around; blocks with a cell of `excluded`
  // have no weight. means (n_time, n_chan blocks).
  void subtract(const RfiLayout& layout, const float* means, const BitTable& excluded, RfiImage amplitude,
                RfiImage residual);

 private:
  void find_used(const RfiLayout& layout, const BitTable& excluded);

  // A row of blocks, with as many zeros on either side as the kernel needs.
  float* used_row(AlignedFloats& rows, int64_t b) const {
    return rows.data() + b * used_stride_ + static_cast<int64_t>(kernel_chan_.size());
  }

  int64_t step_time_ = 1, step_chan_ = 1, n_time_ = 0, n_chan_ = 0, stride_ = 0, used_stride_ = 0;
  std::vector<float> kernel_time_, kernel_chan_;  // from the centre outwards
  AlignedFloats used_, used_before_;              // blocks with weight, now and when weight_ was computed
  AlignedFloats means_;                           // of blocks with weight, a row
  AlignedFloats sum_, weight_, result_, by_channel_, row_;
  std::vector<float> complete_;  // blocks in which no channel is without data
  std::vector<uint64_t> block_bits_;
  std::vector<int32_t> block_of_column_;
};

// ---- scale-invariant rank operator (rfi_rank.cpp) ----

class RankOperator {
 public:
  // cells (n_time, n_chan) of RfiCell, rows padded to `stride`: along time, then along frequency.
  void run(uint8_t* cells, int64_t n_time, int64_t n_chan, int64_t stride, double eta_time, double eta_freq,
           double missing);

 private:
  std::vector<uint8_t> turned_;
  AlignedFloats sums_;
};

}  // namespace mwaconvert
