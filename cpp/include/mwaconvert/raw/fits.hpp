// Where the data of a raw visibility file lie: a walk over its HDUs that reads headers only.
// Source: FITS standard 4.0, sections 3 (structure), 4.1-4.2 (cards), 7.3 (binary tables), 10 (tile
// compression).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

namespace mwaconvert {

// How the pixels of an HDU are stored.
enum class HduKind : int32_t {
  float32 = 0,    // image, BITPIX -32
  int32 = 1,      // image, BITPIX 32
  rice = 2,       // RICE_1-compressed 32-bit integers, one tile for each row, every tile in COMPRESSED_DATA
  other = 3,      // valid FITS image that only a general reader can decode
  truncated = 4,  // the file ends before the header or the data do
};

// One HDU after the primary.
struct Hdu {
  int32_t hdu = 0;  // 1 for the first after the primary
  HduKind kind = HduKind::other;
  int64_t unix_ms = 0;  // TIME * 1000 + MILLITIM; 0 where TIME is absent or no time
  int64_t marker = -1;  // MARKER, the number of the integration; -1 where it is absent
  int64_t naxis1 = 0;   // image axes, also of a compressed image
  int64_t naxis2 = 0;
  double bscale = 1;  // of this HDU; that of the primary says nothing about the data
  double bzero = 0;
  int64_t data_offset = 0;  // bytes from the start of the file: the image, or the first row of the table
  int32_t row_bytes = 0;    // compressed: width of the table
  int32_t desc_offset = 0;  // compressed: position of the COMPRESSED_DATA descriptor in a row
  int32_t desc_64 = 0;      // 1: descriptors are pairs of 64-bit integers (Q), 0: of 32-bit (P)
  int32_t rice_block = 0;   // pixels in a block
  int64_t heap_offset = 0;  // bytes from the start of the file
  int64_t data_bytes = 0;   // of the whole data unit, without padding
};

using FitsValue = std::variant<bool, int64_t, double, std::string>;

struct FitsScan {
  std::map<std::string, FitsValue> primary;
  std::vector<Hdu> hdus;  // empty for a file that has only a primary HDU
};

// Scans one file. The scan ends at the first truncated HDU, which is its last record.
// Throws FormatError for anything that is not FITS, breaks its rules or holds no images, ResourceError where
// the file cannot be opened or read.
FitsScan scan_fits(const std::string& path);

}  // namespace mwaconvert
