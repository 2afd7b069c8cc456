// Where the visibilities of one (timestep, coarse channel) lie in an open file.
#pragma once

#include <cstdint>

#include "mwaconvert/base/view.hpp"

namespace mwaconvert {

enum ChunkKind : int32_t {
  kFloat32 = 0,  // big-endian float32 image
  kInt32 = 1,    // big-endian int32 image, value * bscale + bzero
  kRice = 2,     // RICE_1 compressed int32 rows
};

enum ChunkState : int32_t {
  kGood = 0,
  kFlagged = 1,  // there, but every cell is to be flagged
  kMissing = 2,  // not there
};

// One element of the table that Python hands in (numpy structured dtype of the same names).
struct Chunk {
  int32_t fd;
  int32_t kind;
  int32_t state;
  int32_t row_bytes;    // kRice: length of a table row
  int32_t desc_offset;  // kRice: offset of the COMPRESSED_DATA descriptor in a row
  int32_t desc_64;      // kRice: descriptors are pairs of 64 instead of 32 bit
  int32_t rice_block;
  int32_t file;           // index into the caller's list of files, for messages
  int64_t data_offset;    // first byte of the image, or of the table's first row
  int64_t heap_offset;    // kRice: first byte of the heap
  int64_t weight_offset;  // MWAX: first byte of the weights image, -1 if there is none
  double bscale;
  double bzero;
};

// Converts n values of an integer image to floats in place: big-endian words or native, value*bscale + bzero.
void integers_to_floats(void* words, int64_t n, bool big_endian, double bscale, double bzero);

// Reads rows [row0, row0 + n_rows) of an image of row_length values and returns native floats in out.
// Big-endian float images are NOT swapped (see reads_big_endian). `scratch` grows as needed by kRice.
void read_rows(const Chunk& chunk, int64_t row0, int64_t n_rows, int64_t row_length, float* out);

// Reads n consecutive values of an image that is not compressed, from value `first` on; otherwise as
// read_rows.
void read_values(const Chunk& chunk, int64_t first, int64_t n, float* out);

// Whether these leave the words of this chunk in file order.
inline bool reads_big_endian(const Chunk& chunk) {
  return chunk.kind == kFloat32;
}

}  // namespace mwaconvert
