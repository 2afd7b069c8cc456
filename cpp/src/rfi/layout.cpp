
#include "mwaconvert/base/simd.hpp"
#include "parts.hpp"

namespace mwaconvert {
namespace {

template <typename T>
MWACONVERT_INLINE void pick_runs(const std::vector<RfiLayout::Run>& runs, const T* by_channel, T* by_column) {
  constexpr int64_t kAtOnce = 16;
  typedef T Vector __attribute__((vector_size(kAtOnce * sizeof(T)), aligned(sizeof(T)), may_alias));
  for (const RfiLayout::Run& run : runs)
    for (int64_t k = 0; k < run.length; k += kAtOnce)
      *reinterpret_cast<Vector*>(by_column + run.column + k) =
          *reinterpret_cast<const Vector*>(by_channel + run.channel + k);
}

MWACONVERT_CLONES
void pick_floats(const std::vector<RfiLayout::Run>& runs, const float* by_channel, float* by_column) {
  pick_runs(runs, by_channel, by_column);
}

}  // namespace

void RfiLayout::pick(const float* by_channel, float* by_column) const {
  pick_floats(runs, by_channel, by_column);
}

void RfiLayout::pick(const uint8_t* by_channel, uint8_t* by_column) const {
  pick_runs(runs, by_channel, by_column);
}

void RfiLayout::build(View<const uint8_t, 2> missing) {
  n_time = missing.shape[0];
  n_chan = missing.shape[1];
  stride = padded(n_chan);
  std::vector<int64_t> present(n_chan, 0);
  for (int64_t t = 0; t < n_time; ++t)
    for (int64_t c = 0; c < n_chan; ++c) present[c] += missing(t, c) == 0;
  channel.clear();
  for (int64_t c = 0; c < n_chan; ++c)
    if (present[c] > 0) channel.push_back(static_cast<int32_t>(c));
  n_good = static_cast<int64_t>(channel.size());
  for (int64_t c = 0; c < n_chan; ++c)
    if (present[c] == 0) channel.push_back(static_cast<int32_t>(c));

  runs.clear();
  for (int32_t k = 0; k < n_chan; ++k)
    if (k > 0 && channel[k] == channel[k - 1] + 1)
      ++runs.back().length;
    else
      runs.push_back({k, channel[k], 1});

  missing_in_time.reset(n_time, n_chan);
  missing_in_column.reset(n_chan, n_time);
  row_has_gaps.assign(n_time, 0);
  column_has_gaps.assign(n_chan, 0);
  cells.assign(n_time * stride, kClear);
  for (int64_t t = 0; t < n_time; ++t)
    for (int64_t c = 0; c < n_chan; ++c)
      if (missing(t, c)) cells[t * stride + c] = kMissingCell;
  time.clear();
  place.assign(n_time, -1);
  for (int64_t t = 0; t < n_time; ++t) {
    int64_t n_missing = 0;
    for (int64_t k = 0; k < n_chan; ++k)
      if (missing(t, channel[k])) {
        missing_in_time.set(t, k);
        missing_in_column.set(k, t);
        n_missing += k < n_good;
      }
    if (n_missing == n_good) continue;
    place[t] = static_cast<int32_t>(time.size());
    time.push_back(static_cast<int32_t>(t));
    row_has_gaps[t] = n_missing > 0;
  }
  for (int32_t t : time)
    if (row_has_gaps[t])
      for_each_bit(missing_in_time.row(t), missing_in_time.words(), [&](int64_t k) {
        if (k < n_good) column_has_gaps[k] = 1;
      });
}

}  // namespace mwaconvert
