#include "mwaconvert/raw/rice.hpp"

#include <algorithm>
#include <array>

#include "mwaconvert/base/simd.hpp"
#include "rice_stream.hpp"

namespace mwaconvert {
namespace rice {
namespace {

// flattened: a clone must not call the default version of its inner loops
[[gnu::flatten]] MWACONVERT_CLONES void decode_row(const RiceRow& row, int64_t n, int block) {
  Stream stream(row.in, row.n_in);
  for (int64_t start = 0; start < n; start += block) {
    decode_block(stream, take_split(stream), row.out + start, std::min<int64_t>(block, n - start));
    check_end(stream);
  }
}

[[gnu::flatten]] MWACONVERT_CLONES void decode_two_rows(const RiceRow* rows, int64_t n, int block) {
  std::array<Stream, 2> streams{Stream(rows[0].in, rows[0].n_in), Stream(rows[1].in, rows[1].n_in)};
  for (int64_t start = 0; start < n; start += block) {
    const int64_t count = std::min<int64_t>(block, n - start);
    const std::array<int32_t*, 2> out{rows[0].out + start, rows[1].out + start};
    const std::array<int, 2> split{take_split(streams[0]), take_split(streams[1])};
    const auto [least, most] = std::minmax(split[0], split[1]);
    if (least >= 0 && most <= kMaxSplitOf4) {
      decode_split_pair<4>(streams, split, out, count);
    } else if (least >= 0 && most <= kMaxSplitOf3) {
      decode_split_pair<3>(streams, split, out, count);
    } else {
      for (int i = 0; i < 2; ++i) decode_block(streams[i], split[i], out[i], count);
    }
    for (const Stream& stream : streams) check_end(stream);
  }
}

}  // namespace
}  // namespace rice

void rice_decode(std::span<const RiceRow> rows, int64_t n, int block) {
  if (n <= 0) return;
  size_t r = 0;
#if MWACONVERT_HAS_WIDE
  if (wide_registers())
    for (; r + rice::kWideRows <= rows.size(); r += rice::kWideRows) rice::decode_wide(&rows[r], n, block);
#endif
  for (; r + 2 <= rows.size(); r += 2) rice::decode_two_rows(&rows[r], n, block);
  if (r < rows.size()) rice::decode_row(rows[r], n, block);
}

}  // namespace mwaconvert
