// Whole reads and writes at an offset. ResourceError where the system refuses.
#pragma once

#include <cstdint>

namespace mwaconvert {

// Reads exactly n bytes; FormatError at the end of the file.
void read_exactly(int fd, void* buffer, int64_t n, int64_t offset);

void write_exactly(int fd, const void* buffer, int64_t n, int64_t offset);

}  // namespace mwaconvert
