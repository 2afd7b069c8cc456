#include "mwaconvert/visibilities/ms.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <mutex>

#include "mwaconvert/base/constants.hpp"
#include "mwaconvert/base/file.hpp"
#include "mwaconvert/base/parallel.hpp"
#include "mwaconvert/base/scratch.hpp"
#include "mwaconvert/base/simd.hpp"

namespace mwaconvert {
namespace {

constexpr int64_t kRowsPerTask = 32;

static_assert(std::endian::native == std::endian::little, "measurement sets are written in native order");
static_assert(sizeof(bool) == 1);

// One row of n channels. Returns whether everything is flagged.
MWACONVERT_CLONES
bool split_row(const float* weight, int64_t n, float* spectrum, bool* flag, float* sum) {
  uint32_t all = 0x80000000u;
  for (int64_t k = 0; k < 4 * n; ++k) {
    const uint32_t bits = std::bit_cast<uint32_t>(weight[k]);
    spectrum[k] = std::bit_cast<float>(bits & 0x7fffffffu);
    flag[k] = static_cast<bool>(bits >> 31);
    all &= bits;
  }
  // four channels at a time: one running sum would wait for itself
  double part[4][4] = {};
  int64_t c = 0;
  for (; c + 4 <= n; c += 4)
    for (int lane = 0; lane < 4; ++lane)
      for (int p = 0; p < 4; ++p) part[lane][p] += static_cast<double>(spectrum[4 * (c + lane) + p]);
  for (; c < n; ++c)
    for (int p = 0; p < 4; ++p) part[0][p] += static_cast<double>(spectrum[4 * c + p]);
  for (int p = 0; p < 4; ++p)
    sum[p] = static_cast<float>((part[0][p] + part[1][p]) + (part[2][p] + part[3][p]));
  return all != 0;
}

// Flags to bits, the first one lowest. flag has room for whole bytes and zeros there.
void pack_flags(const bool* flag, int64_t n, uint8_t* bits) {
  for (int64_t k = 0; k < n; k += 8) {
    uint64_t eight;
    std::memcpy(&eight, flag + k, 8);
    bits[k / 8] = static_cast<uint8_t>((eight * 0x0102040810204080u) >> 56);
  }
}

}  // namespace

void ms_columns(View<const float, 3> weight, int64_t first_chan, View<float, 3> weight_spectrum,
                View<bool, 3> flag, View<float, 2> weight_sum, View<bool, 1> flag_row, int threads) {
  const int64_t n_rows = weight.shape[0];
  const int64_t n_chan = weight_spectrum.shape[1];
  parallel_for((n_rows + kRowsPerTask - 1) / kRowsPerTask, threads, [&](int64_t task) {
    const int64_t end = std::min(n_rows, (task + 1) * kRowsPerTask);
    for (int64_t r = task * kRowsPerTask; r < end; ++r) {
      flag_row(r) = split_row(&weight(r, first_chan, 0), n_chan, &weight_spectrum(r, 0, 0), &flag(r, 0, 0),
                              &weight_sum(r, 0));
    }
  });
}

int64_t flag_bytes(int64_t n_chan) {
  return (4 * n_chan + 7) / 8;
}

void write_ms_cells(const MsFiles& files, int64_t first_row, View<const std::complex<float>, 3> vis,
                    View<const float, 3> weight, int64_t first_chan, int64_t n_chan,
                    View<float, 2> weight_sum, View<bool, 1> flag_row, int threads) {
  const int64_t n_rows = vis.shape[0], n_flag = flag_bytes(n_chan);
  const int64_t data_bytes = n_chan * 32, spectrum_bytes = n_chan * 16;
  const int64_t rows_at_once = std::max<int64_t>(1, kWriteBytes / data_bytes);
  const bool whole = n_chan == vis.shape[1];
  // the system lets one writer into a file at a time, and others spin where they could work on the next block
  std::mutex writing;
  parallel_for((n_rows + rows_at_once - 1) / rows_at_once, threads, [&](int64_t task) {
    static thread_local Scratch<float> spectrum_memory;
    static thread_local Scratch<std::complex<float>> data_memory;
    static thread_local Scratch<bool> flag_memory;
    static thread_local Scratch<uint8_t> bit_memory;
    const int64_t begin = task * rows_at_once, n = std::min(rows_at_once, n_rows - begin);
    float* spectrum = spectrum_memory.get(n * n_chan * 4);
    bool* flag = flag_memory.get(n_flag * 8);
    uint8_t* bits = bit_memory.get(n * n_flag);
    std::fill(flag + 4 * n_chan, flag + n_flag * 8, false);
    for (int64_t r = 0; r < n; ++r) {
      flag_row(begin + r) = split_row(&weight(begin + r, first_chan, 0), n_chan, spectrum + r * n_chan * 4,
                                      flag, &weight_sum(begin + r, 0));
      pack_flags(flag, 4 * n_chan, bits + r * n_flag);
    }
    const std::complex<float>* data = &vis(begin, first_chan, 0);
    if (!whole) {
      std::complex<float>* copy = data_memory.get(n * n_chan * 4);
      for (int64_t r = 0; r < n; ++r)
        std::copy_n(&vis(begin + r, first_chan, 0), n_chan * 4, copy + r * n_chan * 4);
      data = copy;
    }
    const int64_t row = first_row + begin;
    const std::lock_guard<std::mutex> lock(writing);
    write_exactly(files.data, data, n * data_bytes, row * data_bytes);
    write_exactly(files.weight_spectrum, spectrum, n * spectrum_bytes, row * spectrum_bytes);
    write_exactly(files.flag, bits, n * n_flag, row * n_flag);
  });
}

}  // namespace mwaconvert
