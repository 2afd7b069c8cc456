// Kernels of SumThreshold on sixteen neighbouring lines (timesteps or channels) at a time.
#pragma once

#include <cstdint>

namespace mwaconvert {

// A sample of each of sixteen lines: amplitudes in units that leave room for the sum of a window, so that
// sums are exact and do not depend on where they begin.
struct alignas(64) Sixteen {
  int32_t line[16];
};

// Numbers of sixteen lines.
struct alignas(64) SixteenFloats {
  float line[16];
};

// out[r] = rows[r][column..column + 15] * scale in lanes whose bit is set in `lanes` and whose absolute value
// does not exceed limit, else 0; above[r]: bits of those that do exceed it. Returns the union of these. The
// largest absolute values of out are drawn into top and also_top: 16 lanes.
uint32_t to_sixteens(const float* const* rows, int64_t column, int64_t n_rows, uint32_t lanes, float limit,
                     float scale, Sixteen* out, uint16_t* above, int32_t* top, int32_t* also_top);

// Sixteen lines of sixteen samples transposed; stride: from row to row of out.
void transpose(const Sixteen* in, int32_t* out, int64_t stride);

// Largest absolute values of the sums of `length` of n samples, by line; length <= n.
Sixteen largest_sums(const Sixteen* sample, int64_t n, int64_t length);

// The same of 2, 4 and 8 samples at once; the windows at the beginning may hold fewer.
struct ShortSums {
  Sixteen of[3];
};
ShortSums largest_short_sums(const Sixteen* sample, int64_t n);

// What is known of sixteen lines: no window of the length in question had a larger mean (absolute value) than
// `mean` when flags were zeros, of which `later` came to a line since; no sample is larger than `largest`.
struct KnownLines {
  const float *largest, *mean;
  const int32_t *flags, *later;  // numbers of them
};

// Lines of n samples with a flag in which windows of `length` may exceed the level.
uint32_t lines_in_question(const KnownLines& known, int64_t n, int64_t length, float level);

// means = sums / length; returns the largest.
float take_means(const Sixteen& sums, int64_t length, SixteenFloats& means);

// Windows of `length` samples that start at [begin, end): bit l of hit[start] where the mean over samples
// that are not flagged exceeds the level in line l. flags[j]: bit l where sample j of line l is flagged, and
// 0.
bool find_windows(const Sixteen* sample, const uint16_t* flags, int64_t begin, int64_t end, int64_t length,
                  float level, uint16_t* hit);

// bits[j] |= bits[j - 1], ... bits[j - length + 1]; length a power of two. work: room for n.
void dilate(uint16_t* bits, int64_t n, int64_t length, uint16_t* work);

// Bits of the values that differ from the next one in a bit of `lines`, of n, and one more; whole vectors of
// sixteen are read, and one more.
void find_changes(const uint16_t* v, int64_t n, uint32_t lines, uint64_t* bits);

}  // namespace mwaconvert
