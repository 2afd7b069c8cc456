#include "mwaconvert/raw/chunk.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "mwaconvert/base/error.hpp"
#include "mwaconvert/base/file.hpp"
#include "mwaconvert/base/simd.hpp"
#include "mwaconvert/raw/rice.hpp"

namespace mwaconvert {
namespace {

constexpr int64_t kFarAway = int64_t{1}
                             << 60;  // no file is so long; sums of offsets below it do not overflow

MWACONVERT_CLONES
void swap_words(uint32_t* w, int64_t n) {
  for (int64_t k = 0; k < n; ++k) w[k] = __builtin_bswap32(w[k]);
}

// A power of two scales exactly: rounding to float first gives the same as rounding last.
MWACONVERT_CLONES
void scale_exactly(int32_t* w, int64_t n, float bscale) {
  for (int64_t k = 0; k < n; ++k) {
    const float x = static_cast<float>(w[k]) * bscale;
    std::memcpy(&w[k], &x, sizeof x);
  }
}

void scale_in_double(int32_t* w, int64_t n, double bscale, double bzero) {
  for (int64_t k = 0; k < n; ++k) {
    const float x = static_cast<float>(w[k] * bscale + bzero);
    std::memcpy(&w[k], &x, sizeof x);
  }
}

bool is_power_of_two(double x) {
  int exponent;
  return std::frexp(x, &exponent) == 0.5;
}

template <typename T>
T big_endian(const uint8_t* p) {
  T x = 0;
  for (size_t k = 0; k < sizeof(T); ++k) x = static_cast<T>(x << 8) | p[k];
  return x;
}

void read_rice_rows(const Chunk& chunk, int64_t row0, int64_t n_rows, int64_t row_length, float* out) {
  static thread_local std::vector<uint8_t> table, heap;
  table.resize(n_rows * chunk.row_bytes);
  read_exactly(chunk.fd, table.data(), table.size(), chunk.data_offset + row0 * chunk.row_bytes);
  int64_t begin = INT64_MAX, end = 0;
  std::vector<std::pair<int64_t, int64_t>> pieces(n_rows);  // (length, offset in the heap)
  for (int64_t r = 0; r < n_rows; ++r) {
    const uint8_t* d = table.data() + r * chunk.row_bytes + chunk.desc_offset;
    auto& [length, offset] = pieces[r];
    length = chunk.desc_64 ? static_cast<int64_t>(big_endian<uint64_t>(d)) : big_endian<uint32_t>(d);
    offset = chunk.desc_64 ? static_cast<int64_t>(big_endian<uint64_t>(d + 8)) : big_endian<uint32_t>(d + 4);
    // incompressible data grow by less than this
    if (length <= 0 || length > 8 * row_length + 64 || offset < 0 || offset > kFarAway)
      throw FormatError("row " + std::to_string(row0 + r) + ": compressed length " + std::to_string(length) +
                        " at byte " + std::to_string(offset) + " of the heap is impossible for " +
                        std::to_string(row_length) + " values");
    begin = std::min(begin, offset);
    end = std::max(end, offset + length);
  }
  // Rows follow each other in the heap; where they do not, read them one by one.
  const bool together = end - begin <= 2 * (8 * row_length + 64) * n_rows;
  if (together) {
    heap.resize(end - begin);
    read_exactly(chunk.fd, heap.data(), heap.size(), chunk.heap_offset + begin);
  }
  std::vector<RiceRow> rows(n_rows);
  for (int64_t r = 0; r < n_rows; ++r) {
    const auto [length, offset] = pieces[r];
    rows[r] = {heap.data() + (offset - begin), length, reinterpret_cast<int32_t*>(out + r * row_length)};
    if (!together) {
      heap.resize(length);
      read_exactly(chunk.fd, heap.data(), length, chunk.heap_offset + offset);
      rows[r].in = heap.data();
      rice_decode({&rows[r], 1}, row_length, chunk.rice_block);
    }
  }
  if (together) rice_decode(rows, row_length, chunk.rice_block);
  integers_to_floats(out, n_rows * row_length, false, chunk.bscale, chunk.bzero);
}

}  // namespace

void integers_to_floats(void* words, int64_t n, bool from_big_endian, double bscale, double bzero) {
  if (from_big_endian) swap_words(static_cast<uint32_t*>(words), n);
  int32_t* w = static_cast<int32_t*>(words);
  if (bzero == 0 && is_power_of_two(bscale))
    scale_exactly(w, n, static_cast<float>(bscale));
  else
    scale_in_double(w, n, bscale, bzero);
}

void read_values(const Chunk& chunk, int64_t first, int64_t n, float* out) {
  constexpr int64_t kBytes = sizeof(float);
  read_exactly(chunk.fd, out, n * kBytes, chunk.data_offset + first * kBytes);
  if (chunk.kind == kInt32) integers_to_floats(out, n, true, chunk.bscale, chunk.bzero);
}

void read_rows(const Chunk& chunk, int64_t row0, int64_t n_rows, int64_t row_length, float* out) {
  if (chunk.kind == kRice) return read_rice_rows(chunk, row0, n_rows, row_length, out);
  read_values(chunk, row0 * row_length, n_rows * row_length, out);
}

}  // namespace mwaconvert
