#include "mwaconvert/transients/unpack.hpp"

#include <algorithm>
#include <cstring>
#include <string>

#include "mwaconvert/base/constants.hpp"
#include "mwaconvert/base/error.hpp"
#include "mwaconvert/base/parallel.hpp"
#include "mwaconvert/base/past_cache.hpp"
#include "mwaconvert/base/simd.hpp"
#include "mwaconvert/base/vector.hpp"

namespace mwaconvert {
namespace {

// Vectors of 16 bytes: every machine of interest shuffles those.

constexpr int64_t kSamples =
    512;  // spectra of an item: a cache line of each, transposed, fits the first cache
constexpr int64_t kChannels = 128;  // channels that are unpacked at once
constexpr int64_t kNumbers = 64;    // spectra of an item of wider numbers

MWACONVERT_INLINE bytes16 low8(bytes16 a, bytes16 b) {
  return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
MWACONVERT_INLINE bytes16 high8(bytes16 a, bytes16 b) {
  return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

// 16 x 16 bytes. Each round interleaves row k with row k + 8; four rounds rotate the bits of the index
// (row, column) by four, which exchanges rows and columns.
MWACONVERT_INLINE void transpose16(const uint8_t* in, int64_t in_stride, uint8_t* out, int64_t out_stride) {
  bytes16 a[16], b[16];
  for (int k = 0; k < 16; ++k) a[k] = *reinterpret_cast<const bytes16_loose*>(in + k * in_stride);
  for (int k = 0; k < 8; ++k) {
    b[2 * k] = low8(a[k], a[k + 8]);
    b[2 * k + 1] = high8(a[k], a[k + 8]);
  }
  for (int k = 0; k < 8; ++k) {
    a[2 * k] = low8(b[k], b[k + 8]);
    a[2 * k + 1] = high8(b[k], b[k + 8]);
  }
  for (int k = 0; k < 8; ++k) {
    b[2 * k] = low8(a[k], a[k + 8]);
    b[2 * k + 1] = high8(a[k], a[k + 8]);
  }
  for (int k = 0; k < 8; ++k) {
    *reinterpret_cast<bytes16_loose*>(out + 2 * k * out_stride) = low8(b[k], b[k + 8]);
    *reinterpret_cast<bytes16_loose*>(out + (2 * k + 1) * out_stride) = high8(b[k], b[k + 8]);
  }
}

// Halves of the fields of each byte, side by side.
template <int n_bits, bool first_high>
MWACONVERT_INLINE void split(bytes16 x, bytes16* first, bytes16* second) {
  const bytes16 mask = bytes16{} + static_cast<uint8_t>((1 << n_bits) - 1);
  const bytes16 low = x & mask, high = x >> n_bits;
  *first = first_high ? low8(high, low) : low8(low, high);
  *second = first_high ? high8(high, low) : high8(low, high);
}

// 16 bytes to 16 * 8 / n_bits values.
template <int n_bits, bool first_high>
MWACONVERT_INLINE void unpack16(const uint8_t* in, uint8_t* out) {
  constexpr int n = 8 / n_bits;
  bytes16 v[8];
  v[0] = *reinterpret_cast<const bytes16_loose*>(in);
  bytes16 w[8];
  split<4, first_high>(v[0], &w[0], &w[1]);
  if constexpr (n == 2) {
    for (int k = 0; k < n; ++k) *reinterpret_cast<bytes16_loose*>(out + 16 * k) = w[k];
    return;
  }
  split<2, first_high>(w[0], &v[0], &v[1]);
  split<2, first_high>(w[1], &v[2], &v[3]);
  if constexpr (n == 4) {
    for (int k = 0; k < n; ++k) *reinterpret_cast<bytes16_loose*>(out + 16 * k) = v[k];
    return;
  }
  for (int k = 0; k < 4; ++k) split<1, first_high>(v[k], &w[2 * k], &w[2 * k + 1]);
  for (int k = 0; k < 8; ++k) *reinterpret_cast<bytes16_loose*>(out + 16 * k) = w[k];
}

template <int n_bits, bool first_high>
MWACONVERT_INLINE void unpack_row(const uint8_t* in, int64_t n_values, uint8_t* out) {
  constexpr int per_byte = 8 / n_bits;
  int64_t k = 0;
  for (; k + 16 * per_byte <= n_values; k += 16 * per_byte)
    unpack16<n_bits, first_high>(in + k / per_byte, out + k);
  for (; k < n_values; ++k) {
    const int place = static_cast<int>(k % per_byte);
    const int shift = (first_high ? per_byte - 1 - place : place) * n_bits;
    out[k] = static_cast<uint8_t>(in[k / per_byte] >> shift & ((1 << n_bits) - 1));
  }
}

// (n_samp <= kSamples, n_chan) at `in` to (n_chan, n_samp) at `out`. Each cache line of a spectrum is read
// once, the next one is asked for meanwhile (they are too far apart for the machine to guess), and rows of
// out are written one after the other, as long as they are.
MWACONVERT_INLINE void transpose_tile(const uint8_t* in, int64_t in_stride, int64_t n_samp, int64_t n_chan,
                                      uint8_t* out, int64_t out_stride) {
  constexpr int64_t row_length = kSamples + 64;  // rows not all in one cache set
  alignas(64) uint8_t rows[kCacheLine * row_length];
  const int64_t whole = n_samp / 16 * 16;
  int64_t c = 0;
  for (; c + 16 <= n_chan; c += kCacheLine) {
    const int64_t n = std::min(kCacheLine, (n_chan - c) / 16 * 16);
    for (int64_t t = 0; t < whole; t += 16) {
      const uint8_t* from = in + t * in_stride + c;
      for (int64_t k = 0; k < 16; ++k) __builtin_prefetch(from + k * in_stride + kCacheLine);
      for (int64_t k = 0; k < n; k += 16)
        transpose16(from + k, in_stride, rows + k * row_length + t, row_length);
    }
    for (int64_t k = 0; k < n; ++k) {
      uint8_t* row = out + (c + k) * out_stride;
      copy_past_cache(rows + k * row_length, whole, row);
      for (int64_t t = whole; t < n_samp; ++t) row[t] = in[t * in_stride + c + k];
    }
  }
  for (c = n_chan / 16 * 16; c < n_chan; ++c)
    for (int64_t t = 0; t < n_samp; ++t) out[c * out_stride + t] = in[t * in_stride + c];
#ifdef __SSE2__
  _mm_sfence();  // other threads may read it from here on
#endif
}

template <int n_bits, bool first_high>
MWACONVERT_INLINE void unpack_tiles(const uint8_t* in, int64_t in_stride, int64_t n_samp, int64_t n_chan,
                                    uint8_t* out, int64_t out_stride) {
  alignas(64) uint8_t values[kSamples * kChannels];
  for (int64_t c = 0; c < n_chan; c += kChannels) {
    const int64_t n = std::min(kChannels, n_chan - c);
    for (int64_t t = 0; t < n_samp; ++t)
      unpack_row<n_bits, first_high>(in + t * in_stride + c * n_bits / 8, n, values + t * kChannels);
    transpose_tile(values, kChannels, n_samp, n, out + c * out_stride, out_stride);
  }
}

// n_samp <= kSamples spectra.
MWACONVERT_CLONES
void unpack_spectra(const uint8_t* in, int64_t in_stride, int n_bits, bool first_high, int64_t n_samp,
                    int64_t n_chan, uint8_t* out, int64_t out_stride) {
  if (n_bits == 8) return transpose_tile(in, in_stride, n_samp, n_chan, out, out_stride);
  if (n_bits == 4) {
    if (first_high) return unpack_tiles<4, true>(in, in_stride, n_samp, n_chan, out, out_stride);
    return unpack_tiles<4, false>(in, in_stride, n_samp, n_chan, out, out_stride);
  }
  if (n_bits == 2) {
    if (first_high) return unpack_tiles<2, true>(in, in_stride, n_samp, n_chan, out, out_stride);
    return unpack_tiles<2, false>(in, in_stride, n_samp, n_chan, out, out_stride);
  }
  if (first_high) return unpack_tiles<1, true>(in, in_stride, n_samp, n_chan, out, out_stride);
  return unpack_tiles<1, false>(in, in_stride, n_samp, n_chan, out, out_stride);
}

void check(int64_t columns, int64_t offset, int64_t needed, int64_t n_samp, int64_t n_samp_out) {
  if (offset < 0 || offset + needed > columns)
    throw InputError("spectra of " + std::to_string(columns) + " columns are too short for " +
                     std::to_string(needed) + " from column " + std::to_string(offset));
  if (n_samp != n_samp_out) throw InputError("input and output differ in the number of samples");
}

template <typename T>
void transpose_numbers(View<const T, 2> in, int64_t offset, bool reverse, View<float, 2> out, int threads) {
  constexpr int64_t block = 16;  // a cache line of each channel, of each spectrum
  const int64_t n_chan = out.shape[0], n_samp = out.shape[1];
  check(in.shape[1], offset, n_chan, in.shape[0], n_samp);
  parallel_for((n_samp + kNumbers - 1) / kNumbers, threads, [&](int64_t item) {
    const int64_t end = std::min((item + 1) * kNumbers, n_samp);
    for (int64_t c0 = 0; c0 < n_chan; c0 += block)
      for (int64_t t0 = item * kNumbers; t0 < end; t0 += block)
        for (int64_t c = c0; c < std::min(c0 + block, n_chan); ++c) {
          float* to = &out(reverse ? n_chan - 1 - c : c, 0);
          for (int64_t t = t0; t < std::min(t0 + block, end); ++t)
            to[t] = static_cast<float>(in(t, offset + c));
        }
  });
}

}  // namespace

void unpack(View<const uint8_t, 2> in, int64_t offset, int n_bits, bool first_high, bool reverse,
            View<uint8_t, 2> out, int threads) {
  const int64_t n_chan = out.shape[0], n_samp = out.shape[1];
  if (n_bits != 1 && n_bits != 2 && n_bits != 4 && n_bits != 8)
    throw InputError("values of " + std::to_string(n_bits) + " bits: expected 1, 2, 4 or 8");
  if (n_chan * n_bits % 8 != 0) throw InputError("a spectrum is not a whole number of bytes");
  check(in.shape[1], offset, n_chan * n_bits / 8, in.shape[0], n_samp);
  if (n_chan == 0 || n_samp == 0) return;
  uint8_t* base = reverse ? &out(n_chan - 1, 0) : out.data;
  const int64_t stride = reverse ? -out.stride[0] : out.stride[0];
  // items end where cache lines of the output do, if those of all channels end together
  const int64_t early = reinterpret_cast<intptr_t>(out.data) & (kCacheLine - 1);
  parallel_for((n_samp + early + kSamples - 1) / kSamples, threads, [&](int64_t item) {
    const int64_t t = std::max<int64_t>(item * kSamples - early, 0);
    const int64_t end = std::min((item + 1) * kSamples - early, n_samp);
    unpack_spectra(&in(t, 0) + offset, in.stride[0], n_bits, first_high, end - t, n_chan, base + t, stride);
  });
}

void unpack(View<const int8_t, 2> in, int64_t offset, bool reverse, View<float, 2> out, int threads) {
  transpose_numbers(in, offset, reverse, out, threads);
}
void unpack(View<const uint16_t, 2> in, int64_t offset, bool reverse, View<float, 2> out, int threads) {
  transpose_numbers(in, offset, reverse, out, threads);
}
void unpack(View<const float, 2> in, int64_t offset, bool reverse, View<float, 2> out, int threads) {
  transpose_numbers(in, offset, reverse, out, threads);
}

}  // namespace mwaconvert
