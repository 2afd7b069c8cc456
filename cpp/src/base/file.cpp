#include "mwaconvert/base/file.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "mwaconvert/base/error.hpp"

namespace mwaconvert {

void read_exactly(int fd, void* buffer, int64_t n, int64_t offset) {
  char* p = static_cast<char*>(buffer);
  while (n > 0) {
    const ssize_t got = pread(fd, p, n, offset);
    if (got < 0) {
      if (errno == EINTR) continue;
      throw ResourceError(std::string("reading failed: ") + std::strerror(errno));
    }
    if (got == 0)
      throw FormatError("the file ends at byte " + std::to_string(offset) + ", " + std::to_string(n) +
                        " bytes too early; was it changed while being read?");
    p += got;
    n -= got;
    offset += got;
  }
}

void write_exactly(int fd, const void* buffer, int64_t n, int64_t offset) {
  const char* p = static_cast<const char*>(buffer);
  while (n > 0) {
    const ssize_t done = pwrite(fd, p, n, offset);
    if (done < 0) {
      if (errno == EINTR) continue;
      throw ResourceError(std::string("writing failed: ") + std::strerror(errno));
    }
    p += done;
    n -= done;
    offset += done;
  }
}

}  // namespace mwaconvert
