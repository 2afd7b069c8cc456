// Refuses chunks that the kernels cannot follow.
#pragma once

#include <string>

#include "mwaconvert/base/error.hpp"
#include "mwaconvert/raw/chunk.hpp"

namespace mwaconvert {

inline void check_chunk(const Chunk& c) {
  const bool rice_ok =
      c.desc_offset >= 0 && c.rice_block >= 1 && c.row_bytes - int64_t{c.desc_offset} >= (c.desc_64 ? 16 : 8);
  if (c.state != kGood && c.state != kFlagged && c.state != kMissing)
    throw InputError("chunk state " + std::to_string(c.state) + " is unknown");
  if (c.state != kMissing &&
      ((c.kind != kFloat32 && c.kind != kInt32 && c.kind != kRice) || (c.kind == kRice && !rice_ok)))
    throw InputError("chunk kind " + std::to_string(c.kind) + " is unknown, or its table cannot be");
}

}  // namespace mwaconvert
