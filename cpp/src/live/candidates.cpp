#include "mwaconvert/live/candidates.hpp"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string>

namespace mwaconvert {
namespace {

constexpr double kLimit = 5e5;
constexpr int32_t kBeams = 2048;
constexpr double kLargestInteger = 1 << 24;
constexpr std::array<double, 23> kPowers = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                            1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                            1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

// 1 for what numbers have, 2 for what parts words, 0 for all else.
constexpr std::array<uint8_t, 256> kinds() {
  std::array<uint8_t, 256> kind{};
  for (const char c : {'0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '+', '-', '.', 'e', 'E'})
    kind[static_cast<uint8_t>(c)] = 1;
  for (const char c : {' ', '\t', '\r'}) kind[static_cast<uint8_t>(c)] = 2;
  return kind;
}
constexpr std::array<uint8_t, 256> kKind = kinds();

bool is_digit(uint8_t c) {
  return c >= '0' && c <= '9';
}

// The number that a word is; false if it is none. Up to 15 digits and powers to 22 are exact in doubles, so
// one rounding makes the nearest (Clinger 1990); strtod takes the rest.
bool read_number(const uint8_t* word, const uint8_t* end, double& value) {
  const uint8_t* at = word;
  const bool negative = at < end && *at == '-';
  if (at < end && (*at == '-' || *at == '+')) ++at;
  uint64_t mantissa = 0;
  int64_t n_digit = 0, power = 0;
  bool any = false;
  for (; at < end && is_digit(*at); ++at, any = true) {
    mantissa = 10 * mantissa + (*at - '0');
    n_digit += mantissa != 0;
    if (n_digit > 18) break;
  }
  if (at < end && *at == '.') {
    for (++at; at < end && is_digit(*at) && n_digit <= 18; ++at, any = true, --power) {
      mantissa = 10 * mantissa + (*at - '0');
      n_digit += mantissa != 0;
    }
  }
  if (n_digit <= 15 && at == end && any && power >= -22) {
    value = static_cast<double>(mantissa) / kPowers[static_cast<size_t>(-power)];
    if (negative) value = -value;
    return true;
  }
  const std::string copy(word, end);
  char* stop = nullptr;
  value = std::strtod(copy.c_str(), &stop);
  return stop == copy.c_str() + copy.size() && stop != copy.c_str();
}

int32_t integer(double value) {
  return std::abs(value) < kLargestInteger ? static_cast<int32_t>(value) : -1;
}

// The candidate of a line, as bytes; false if it is bad.
class LineReader {
 public:
  LineReader(const CandidateColumns& columns, int32_t downsampling, int32_t instance)
      : columns_(columns), downsampling_(downsampling), instance_(instance) {
    want_.assign(static_cast<size_t>(columns.n_word), -1);
    for (size_t k = 0; k < columns.place.size(); ++k)
      want_[static_cast<size_t>(columns.place[k])] = static_cast<int>(k);
  }

  // at: the first byte of a line; left behind its last. is_empty: there is no word in it.
  bool read(const uint8_t*& at, const uint8_t* stop, bool& is_empty, uint8_t* row) const {
    std::array<double, 5> value{};
    int64_t n = 0;
    bool good = true;
    while (true) {
      while (at < stop && kKind[*at] == 2) ++at;
      if (at == stop || *at == '\n') break;
      const uint8_t* const word = at;
      while (at < stop && kKind[*at] == 1) ++at;
      if (at < stop && *at != '\n' && kKind[*at] == 0) {
        good = false;
        break;
      }
      if (n < columns_.n_word) {
        const int k = want_[static_cast<size_t>(n)];
        if (k >= 0) good &= read_number(word, at, value[static_cast<size_t>(k)]);
      }
      ++n;
    }
    if (at < stop && *at != '\n') {
      const void* end = std::memchr(at, '\n', static_cast<size_t>(stop - at));
      at = end ? static_cast<const uint8_t*>(end) : stop;
    }
    is_empty = good && n == 0;
    return good && n == columns_.n_word && write(value, row);
  }

 private:
  bool write(const std::array<double, 5>& value, uint8_t* row) const {
    const auto [beam, width, time_s, dm, snr] = value;
    const int32_t w = integer(std::abs(width) < kLargestInteger ? width * downsampling_ : -1);
    const int32_t b = integer(beam);
    if (!(time_s >= 0 && time_s < kLimit && dm >= 0 && dm < kLimit && snr > 0 && std::isfinite(snr) &&
          w > 0 && b >= 0 && b < kBeams))
      return false;
    const std::array<double, 3> floats = {time_s, dm, snr};
    const std::array<int32_t, 3> integers = {w, b, instance_};
    std::memcpy(row, floats.data(), sizeof floats);
    std::memcpy(row + sizeof floats, integers.data(), sizeof integers);
    return true;
  }

  const CandidateColumns& columns_;
  int32_t downsampling_, instance_;
  std::vector<int> want_;
};

}  // namespace

int64_t parse_candidates(View<const uint8_t, 1> text, const CandidateColumns& columns, int32_t downsampling,
                         int32_t instance, View<uint8_t, 2> rows, std::vector<BadLine>& bad) {
  const LineReader reader(columns, downsampling, instance);
  const uint8_t* const begin = text.data;
  const uint8_t* const stop = begin + text.shape[0];
  int64_t n = 0;
  std::array<uint8_t, kCandidateBytes> row{};
  for (const uint8_t* at = begin; at < stop; ++at) {
    const uint8_t* const line = at;
    bool is_empty = false;
    if (reader.read(at, stop, is_empty, row.data()) && n < rows.shape[0]) {
      std::memcpy(rows.data + n * rows.stride[0], row.data(), row.size());
      ++n;
    } else if (!is_empty) {
      bad.push_back({line - begin, at - begin});
    }
  }
  return n;
}

}  // namespace mwaconvert
