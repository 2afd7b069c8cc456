// Numbers that several kernels share: each stands here once.
#pragma once

#include <cstdint>

namespace mwaconvert {

constexpr double kSpeedOfLight = 299792458.0;  // m/s

constexpr int kProducts = 4;  // of a baseline: XX, XY, YX, YY

// Of bytes in a sum of 16 bits.
constexpr int64_t kMostByteRows = 65535 / 255;

constexpr int64_t kCacheLine = 64;  // bytes
// Read at a time: the data, and as much again that is made of them, fit into a second-level cache.
constexpr int64_t kReadBytes = 256 << 10;
// Of one write: large enough for the system, small enough for the cache.
constexpr int64_t kWriteBytes = 512 << 10;

}  // namespace mwaconvert
