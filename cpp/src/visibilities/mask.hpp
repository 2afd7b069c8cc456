// Bits of a mask: which channels of one (timestep, coarse channel, row) are flagged.
#pragma once

#include <bit>
#include <cstdint>

namespace mwaconvert {

inline bool mask_bit(const uint8_t* bits, int64_t channel) {
  return bits[channel >> 3] >> (channel & 7) & 1;
}

// Calls visit(channel) for each channel of [begin, end) that is flagged.
template <typename Visit>
inline void for_each_masked(const uint8_t* bits, int64_t begin, int64_t end, Visit visit) {
  for (int64_t byte = begin >> 3; 8 * byte < end; ++byte)
    for (uint32_t rest = bits[byte]; rest; rest &= rest - 1) {
      const int64_t channel = 8 * byte + std::countr_zero(rest);
      if (channel >= begin && channel < end) visit(channel);
    }
}

}  // namespace mwaconvert
