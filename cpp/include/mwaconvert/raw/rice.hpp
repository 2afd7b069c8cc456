// RICE_1 tile compression of 32-bit integers. Source: FITS standard 4.0, section 10.4.1; Rice, Yeh & Miller
// 1993.
#pragma once

#include <cstdint>
#include <span>

namespace mwaconvert {

// A tile: n_in bytes, and room for its pixels in native order.
struct RiceRow {
  const uint8_t* in;
  int64_t n_in;
  int32_t* out;
};

// Decodes tiles of n pixels, of which `block` share a split length; faster when given several tiles.
// Throws FormatError where a stream is too short or impossible; never reads or writes out of bounds.
void rice_decode(std::span<const RiceRow> rows, int64_t n, int block);

// Bytes that the encoding of n pixels can take at most.
int64_t rice_max_bytes(int64_t n, int block);

// Encodes one tile of n pixels; returns the number of bytes written.
// Throws InputError if capacity < rice_max_bytes(n, block).
int64_t rice_encode_row(const int32_t* in, int64_t n, uint8_t* out, int64_t capacity, int block);

}  // namespace mwaconvert
