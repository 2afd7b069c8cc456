#include "mwaconvert/visibilities/uvfits.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <vector>

#include "mwaconvert/base/constants.hpp"
#include "mwaconvert/base/file.hpp"
#include "mwaconvert/base/parallel.hpp"
#include "mwaconvert/base/scratch.hpp"
#include "mwaconvert/base/simd.hpp"
#include "mwaconvert/base/vector.hpp"

namespace mwaconvert {
namespace {

uint32_t to_big_endian(float x) {
  uint32_t w;
  std::memcpy(&w, &x, 4);
  return __builtin_bswap32(w);
}

// One row: cells of (vis, weight) to XX, YY, XY, YX triples.
MWACONVERT_CLONES
void encode_cells(const float* vis, const float* weight, int64_t n, uint32_t* out) {
  for (int64_t k = 0; k < n; ++k, vis += 8, weight += 4, out += 12) {
    const f8 v = load_big_endian(vis);
    const f4 w = load4_big_endian(weight);
    const f8 w8 = __builtin_shufflevector(w, w, 0, 1, 2, 3, 0, 1, 2, 3);
    store(out, __builtin_shufflevector(v, w8, 0, 1, 8, 6, 7, 11, 2, 3));
    store(out + 8, __builtin_shufflevector(v, w8, 9, 4, 5, 10));
  }
}

MWACONVERT_CLONES
int64_t count_row(const float* weight, int64_t n_chan, int32_t* by_channel) {
  int64_t total = 0;
  for (int64_t k = 0; k < n_chan; ++k) {
    int32_t flags = 0;
    for (int p = 0; p < 4; ++p) {
      uint32_t w;
      std::memcpy(&w, weight + 4 * k + p, 4);
      flags += static_cast<int32_t>(w >> 31);
    }
    by_channel[k] += flags;
    total += flags;
  }
  return total;
}

}  // namespace

int64_t group_bytes(int64_t n_parameter, int64_t n_channel) {
  return 4 * (n_parameter + 12 * n_channel);
}

void write_groups(int fd, int64_t offset, View<const float, 2> parameters,
                  View<const std::complex<float>, 3> vis, View<const float, 3> weight, int64_t channel_begin,
                  int64_t channel_end, int threads) {
  const int64_t n_rows = vis.shape[0], n_channel = channel_end - channel_begin,
                n_parameter = parameters.shape[1];
  const int64_t bytes = group_bytes(n_parameter, n_channel);
  const int64_t rows_at_once = std::max<int64_t>(1, kWriteBytes / bytes);
  // the system lets one writer into a file at a time, and others spin where they could work on the next block
  std::mutex writing;
  parallel_for((n_rows + rows_at_once - 1) / rows_at_once, threads, [&](int64_t item) {
    static thread_local Scratch<uint32_t> memory;
    const int64_t begin = item * rows_at_once, end = std::min(begin + rows_at_once, n_rows);
    uint32_t* out = memory.get((end - begin) * bytes / 4);
    for (int64_t row = begin; row < end; ++row) {
      uint32_t* group = out + (row - begin) * bytes / 4;
      for (int64_t k = 0; k < n_parameter; ++k) group[k] = to_big_endian(parameters(row, k));
      encode_cells(reinterpret_cast<const float*>(&vis(row, channel_begin, 0)),
                   &weight(row, channel_begin, 0), n_channel, group + n_parameter);
    }
    const std::lock_guard<std::mutex> lock(writing);
    write_exactly(fd, out, (end - begin) * bytes, offset + begin * bytes);
  });
}

void count_flags(View<const float, 3> weight, View<int64_t, 1> by_row, View<int64_t, 1> by_channel,
                 int threads) {
  constexpr int64_t kRows = 256;
  const int64_t n_rows = weight.shape[0], n_chan = weight.shape[1];
  parallel_for((n_rows + kRows - 1) / kRows, threads, [&](int64_t item) {
    std::vector<int32_t> channel(n_chan, 0);
    for (int64_t row = item * kRows; row < std::min((item + 1) * kRows, n_rows); ++row)
      by_row(row) += count_row(&weight(row, 0, 0), n_chan, channel.data());
    for (int64_t k = 0; k < n_chan; ++k) std::atomic_ref<int64_t>(by_channel(k)) += channel[k];
  });
}

}  // namespace mwaconvert
