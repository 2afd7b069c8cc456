#include "mwaconvert/raw/fits.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>
#include <string_view>

#include "mwaconvert/base/error.hpp"

namespace mwaconvert {
namespace {

constexpr int64_t kBlock = 2880;
constexpr int64_t kCard = 80;
// Raw files need one or two blocks; a header of thousands of cards is garbage.
constexpr int64_t kMaxHeaderBlocks = 64;
constexpr int64_t kFirstRead = 2;

class File {
 public:
  explicit File(const std::string& path) : path_(path), fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (fd_ < 0) throw ResourceError(path + ": cannot be opened: " + std::strerror(errno));
    struct stat info{};
    if (::fstat(fd_, &info) != 0 || !S_ISREG(info.st_mode)) {
      ::close(fd_);
      throw ResourceError(path + ": is not a regular file");
    }
    size_ = info.st_size;
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() { ::close(fd_); }

  int64_t size() const { return size_; }
  const std::string& path() const { return path_; }

  // Reads up to n bytes; fewer at the end of the file.
  int64_t read(char* to, int64_t n, int64_t offset) const {
    int64_t done = 0;
    while (done < n) {
      const ssize_t got =
          ::pread(fd_, to + done, static_cast<size_t>(n - done), static_cast<off_t>(offset + done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) throw ResourceError(path_ + ": cannot be read: " + std::strerror(errno));
      if (got == 0) break;
      done += got;
    }
    return done;
  }

 private:
  std::string path_;
  int fd_;
  int64_t size_ = 0;
};

std::string_view trim(std::string_view s) {
  while (!s.empty() && s.front() == ' ') s.remove_prefix(1);
  while (!s.empty() && s.back() == ' ') s.remove_suffix(1);
  return s;
}

// Value of the columns after "KEYWORD = ", or nothing if it is blank or unreadable.
std::optional<FitsValue> parse_value(std::string_view text) {
  text = trim(text);
  if (text.empty()) return std::nullopt;
  if (text.front() == '\'') {
    std::string value;
    for (size_t k = 1; k < text.size(); ++k) {
      if (text[k] == '\'' && (k + 1 == text.size() || text[k + 1] != '\'')) break;
      if (text[k] == '\'') ++k;  // two quotes stand for one
      value += text[k];
    }
    while (!value.empty() && value.back() == ' ') value.pop_back();
    return value;
  }
  text = trim(text.substr(0, text.find('/')));
  if (text == "T" || text == "F") return text == "T";
  if (!text.empty() && text.front() == '+') text.remove_prefix(1);
  const char* end = text.data() + text.size();
  int64_t integer = 0;
  // NOLINTNEXTLINE(bugprone-suspicious-stringview-data-usage): the end is given
  auto [rest, status] = std::from_chars(text.data(), end, integer);
  if (status == std::errc{} && rest == end) return integer;
  std::string number(text);
  std::replace(number.begin(), number.end(), 'D', 'E');  // FITS allows both exponent letters
  char* stop = nullptr;
  const double real = std::strtod(number.c_str(), &stop);
  if (!number.empty() && stop == number.c_str() + number.size()) return real;
  return std::nullopt;
}

// The cards of one HDU. Keeps the place it came from, to name it in messages.
class Header {
 public:
  // Returns nothing if the file ends before the header does.
  static std::optional<Header> read(const File& file, int hdu, int64_t offset) {
    Header header(file.path(), hdu);
    std::array<char, kFirstRead * kBlock> buffer;
    for (int64_t block = 0; block < kMaxHeaderBlocks;) {
      const int64_t at = offset + block * kBlock;
      const int64_t n = file.read(buffer.data(), static_cast<int64_t>(buffer.size()), at);
      if (block == 0) header.check_start(buffer.data(), n);
      // headers are ASCII; a stray byte costs its own value, not the file
      std::replace_if(buffer.begin(), buffer.begin() + n, [](char c) { return c < ' ' || c > '~'; }, '?');
      for (int64_t k = 0; k + kCard <= n; k += kCard) {
        const std::string_view card(buffer.data() + k, kCard);
        if (trim(card) == "END") {
          header.data_offset_ = at + (k / kBlock + 1) * kBlock;
          return header;
        }
        header.add(card);
      }
      if (n < static_cast<int64_t>(buffer.size())) return std::nullopt;
      block += kFirstRead;
    }
    header.fail("expected an END card within " + std::to_string(kMaxHeaderBlocks) +
                " header blocks, found none");
  }

  int64_t data_offset() const { return data_offset_; }
  const std::map<std::string, FitsValue>& cards() const { return cards_; }

  bool has(const std::string& key) const { return cards_.count(key) != 0; }

  double real(const std::string& key, double otherwise) const {
    const auto found = cards_.find(key);
    if (found == cards_.end()) return otherwise;
    if (const auto* i = std::get_if<int64_t>(&found->second)) return static_cast<double>(*i);
    if (const auto* d = std::get_if<double>(&found->second)) return *d;
    fail("expected a number for " + key);
  }

  int64_t integer(const std::string& key, std::optional<int64_t> otherwise, int64_t low, int64_t high) const {
    if (!has(key)) {
      if (otherwise) return *otherwise;
      fail("keyword " + key + " is missing");
    }
    const double value = real(key, 0);
    if (!(value >= static_cast<double>(low) && value <= static_cast<double>(high)))
      fail("expected " + key + " between " + std::to_string(low) + " and " + std::to_string(high) +
           ", found " + std::to_string(value));
    return static_cast<int64_t>(value);
  }

  // A number that is used where it makes sense.
  int64_t integer_or(const std::string& key, int64_t otherwise, int64_t low, int64_t high) const {
    const auto found = cards_.find(key);
    if (found == cards_.end()) return otherwise;
    double value = static_cast<double>(low) - 1;
    if (const auto* i = std::get_if<int64_t>(&found->second)) value = static_cast<double>(*i);
    if (const auto* d = std::get_if<double>(&found->second)) value = *d;
    const bool sound = value >= static_cast<double>(low) && value <= static_cast<double>(high);
    return sound ? static_cast<int64_t>(value) : otherwise;
  }

  std::string text(const std::string& key) const {
    const auto found = cards_.find(key);
    if (found == cards_.end()) return "";
    const auto* s = std::get_if<std::string>(&found->second);
    return s ? *s : "";
  }

  bool flag(const std::string& key) const {
    const auto found = cards_.find(key);
    if (found == cards_.end()) return false;
    const auto* b = std::get_if<bool>(&found->second);
    return b && *b;
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw FormatError(path_ + ": HDU " + std::to_string(hdu_) + ": " + what);
  }

 private:
  Header(const std::string& path, int hdu) : path_(path), hdu_(hdu) {}

  void check_start(const char* data, int64_t n) const {
    const std::string_view start(data, static_cast<size_t>(std::min<int64_t>(n, 10)));
    if (hdu_ == 0 && start != "SIMPLE  = ") throw FormatError(path_ + ": not a FITS file");
    const std::string_view expected = "XTENSION= ";
    // bytes that were reserved but never written are a truncation, not a mistake
    const bool unwritten = std::all_of(start.begin(), start.end(), [](char c) { return c == '\0'; });
    if (hdu_ > 0 && !unwritten && start != expected.substr(0, start.size()))
      fail("expected an extension header, found other bytes");
  }

  void add(std::string_view card) {
    if (card.substr(8, 2) != "= ") return;  // COMMENT, HISTORY, CONTINUE, blank
    if (auto value = parse_value(card.substr(10))) cards_.emplace(trim(card.substr(0, 8)), std::move(*value));
  }

  std::string path_;
  int hdu_;
  int64_t data_offset_ = 0;
  std::map<std::string, FitsValue> cards_;
};

// Counts of pixels, rows and bytes: their products are checked against overflow.
constexpr int64_t kMaxAxis = int64_t{1} << 40;

int64_t product(const Header& header, int64_t a, int64_t b) {
  int64_t result = 0;
  if (__builtin_mul_overflow(a, b, &result) || result > (int64_t{1} << 60))
    header.fail("its axes are impossibly long");
  return result;
}

// Bytes of data after the header, without the padding to a full block.
int64_t data_bytes(const Header& header) {
  const int64_t naxis = header.integer("NAXIS", std::nullopt, 0, 999);
  if (naxis == 0) return 0;
  int64_t n = 1;
  for (int64_t k = 1; k <= naxis; ++k)
    n = product(header, n, header.integer("NAXIS" + std::to_string(k), std::nullopt, 0, kMaxAxis));
  n += header.integer("PCOUNT", 0, 0, kMaxAxis);
  n = product(header, n, header.integer("GCOUNT", 1, 0, kMaxAxis));
  const int64_t bitpix = header.integer("BITPIX", std::nullopt, -64, 64);
  return product(header, n, std::abs(bitpix) / 8);
}

// Bytes of a table column and the letter of its type, from TFORMn.
std::pair<int64_t, char> column_width(const Header& header, int64_t column) {
  const std::string form = header.text("TFORM" + std::to_string(column));
  int64_t repeat = 1;
  const char* end = form.data() + form.size();
  const char* at = form.data();
  if (auto [rest, status] = std::from_chars(at, end, repeat); status == std::errc{}) at = rest;
  const char letter = at < end ? *at : ' ';
  if (repeat < 0 || repeat > kMaxAxis)
    header.fail("TFORM" + std::to_string(column) + " is impossible: " + form);
  switch (letter) {
    case 'X':
      return {(repeat + 7) / 8, letter};
    case 'L':
    case 'B':
    case 'A':
      return {repeat, letter};
    case 'I':
      return {repeat * 2, letter};
    case 'J':
    case 'E':
      return {repeat * 4, letter};
    case 'K':
    case 'D':
    case 'C':
    case 'P':
      return {repeat * 8, letter};
    case 'M':
    case 'Q':
      return {repeat * 16, letter};
    default:
      header.fail("TFORM" + std::to_string(column) + " is not a column format: '" + form + "'");
  }
}

int64_t big_endian(const char* from, int bytes) {
  uint64_t value = 0;
  for (int k = 0; k < bytes; ++k) value = value << 8 | static_cast<uint8_t>(from[k]);
  return static_cast<int64_t>(value);
}

// Finds the descriptor column and the block size. False where a general reader must decode the image.
bool rice_layout(const Header& header, Hdu& hdu) {
  const std::string codec = header.text("ZCMPTYPE");
  if (codec != "RICE_1" && codec != "RICE_ONE") return false;
  if (header.real("ZBITPIX", 0) != 32 || header.has("BLANK") || header.has("ZBLANK") ||
      header.has("ZSCALE") || header.has("ZZERO") || header.has("ZMASKCMP"))
    return false;
  if (header.real("ZTILE1", static_cast<double>(hdu.naxis1)) != static_cast<double>(hdu.naxis1) ||
      header.real("ZTILE2", 1) != 1)
    return false;
  hdu.rice_block = 32;
  for (int k = 1; header.has("ZNAME" + std::to_string(k)); ++k) {
    const std::string name = header.text("ZNAME" + std::to_string(k));
    const int64_t value = header.integer("ZVAL" + std::to_string(k), 0, INT32_MIN, INT32_MAX);
    if (name == "BLOCKSIZE") hdu.rice_block = static_cast<int32_t>(value);
    if (name == "BYTEPIX" && value != 4) return false;
  }
  if (hdu.rice_block < 1 || hdu.rice_block > 4096) return false;

  int64_t offset = 0;
  bool found = false;
  const int64_t fields = header.integer("TFIELDS", std::nullopt, 0, 999);
  for (int64_t column = 1; column <= fields; ++column) {
    const auto [width, letter] = column_width(header, column);
    const std::string name = header.text("TTYPE" + std::to_string(column));
    if (name == "ZSCALE" || name == "ZZERO" || name == "ZBLANK") return false;
    if (name == "COMPRESSED_DATA") {
      const std::string form = header.text("TFORM" + std::to_string(column));
      const size_t at = form.find(letter);
      found = (letter == 'P' || letter == 'Q') && width == (letter == 'Q' ? 16 : 8) && at + 1 < form.size() &&
              form[at + 1] == 'B';
      if (!found) return false;
      hdu.desc_64 = letter == 'Q';
      hdu.desc_offset = static_cast<int32_t>(std::min<int64_t>(offset, INT32_MAX));
    }
    offset += width;
  }
  return found && offset == hdu.row_bytes;
}

// Reads the descriptors: every row must have its tile in the heap.
bool tiles_complete(const File& file, const Header& header, const Hdu& hdu, int64_t data_end) {
  std::vector<char> table(static_cast<size_t>(hdu.row_bytes * hdu.naxis2));
  file.read(table.data(), static_cast<int64_t>(table.size()), hdu.data_offset);
  const int bytes = hdu.desc_64 ? 8 : 4;
  for (int64_t row = 0; row < hdu.naxis2; ++row) {
    const char* descriptor = table.data() + row * hdu.row_bytes + hdu.desc_offset;
    const int64_t length = big_endian(descriptor, bytes);
    const int64_t offset = big_endian(descriptor + bytes, bytes);
    if (length == 0) return false;  // the tile is in a column of another codec
    if (length < 0 || offset < 0 || length > data_end - hdu.heap_offset ||
        offset > data_end - hdu.heap_offset - length)
      header.fail("row " + std::to_string(row) + " points outside the compressed data; the file is damaged");
  }
  return true;
}

void describe_image(const Header& header, Hdu& hdu) {
  const int64_t bitpix = header.integer("BITPIX", std::nullopt, -64, 64);
  if (header.integer("NAXIS", std::nullopt, 0, 999) != 2)
    header.fail("expected an image of 2 axes, found " + std::to_string(header.integer("NAXIS", 0, 0, 999)));
  hdu.naxis1 = header.integer("NAXIS1", std::nullopt, 0, kMaxAxis);
  hdu.naxis2 = header.integer("NAXIS2", std::nullopt, 0, kMaxAxis);
  const bool plain =
      header.integer("PCOUNT", 0, 0, kMaxAxis) == 0 && header.integer("GCOUNT", 1, 0, kMaxAxis) == 1;
  hdu.kind = HduKind::other;
  if (plain && bitpix == -32) hdu.kind = HduKind::float32;
  if (plain && bitpix == 32 && !header.has("BLANK")) hdu.kind = HduKind::int32;
}

void describe_compressed(const File& file, const Header& header, Hdu& hdu, int64_t data_end) {
  if (header.integer("ZNAXIS", std::nullopt, 0, 999) != 2)
    header.fail("expected a compressed image of 2 axes, found " +
                std::to_string(header.integer("ZNAXIS", 0, 0, 999)));
  hdu.naxis1 = header.integer("ZNAXIS1", std::nullopt, 0, kMaxAxis);
  hdu.naxis2 = header.integer("ZNAXIS2", std::nullopt, 0, kMaxAxis);
  hdu.kind = HduKind::other;
  const int64_t width = header.integer("NAXIS1", std::nullopt, 0, kMaxAxis);
  const int64_t rows = header.integer("NAXIS2", std::nullopt, 0, kMaxAxis);
  if (width > 65536 || rows != hdu.naxis2 || hdu.naxis1 == 0 || hdu.naxis1 > INT32_MAX) return;
  hdu.row_bytes = static_cast<int32_t>(width);
  hdu.heap_offset = hdu.data_offset + header.integer("THEAP", width * rows, width * rows, kMaxAxis);
  if (data_end > file.size()) return;  // truncated: the caller says so
  if (hdu.heap_offset > data_end) header.fail("its heap (THEAP) starts after the end of its data");
  if (rice_layout(header, hdu) && tiles_complete(file, header, hdu, data_end)) hdu.kind = HduKind::rice;
}

}  // namespace

FitsScan scan_fits(const std::string& path) {
  const File file(path);
  FitsScan scan;
  int64_t offset = 0;
  for (int number = 0; number == 0 || offset < file.size(); ++number) {
    Hdu hdu;
    hdu.hdu = number;
    const std::optional<Header> header = Header::read(file, number, offset);
    if (!header) {
      if (number == 0) throw FormatError(path + ": the file ends inside its first header");
      hdu.kind = HduKind::truncated;
      scan.hdus.push_back(hdu);
      break;
    }
    hdu.data_offset = header->data_offset();
    hdu.data_bytes = data_bytes(*header);
    const int64_t data_end = hdu.data_offset + hdu.data_bytes;
    if (number == 0) {
      scan.primary = header->cards();
    } else {
      // who places the HDU in time knows its neighbours, and what to do without a time
      const int64_t seconds = header->integer_or("TIME", 0, 0, int64_t{1} << 40);
      if (seconds > 0) hdu.unix_ms = seconds * 1000 + header->integer_or("MILLITIM", 0, 0, 999);
      hdu.marker = header->integer_or("MARKER", -1, 0, int64_t{1} << 40);
      hdu.bscale = header->real("BSCALE", 1);
      hdu.bzero = header->real("BZERO", 0);
      const std::string type = header->text("XTENSION");
      if (type == "IMAGE") {
        describe_image(*header, hdu);
      } else if (type == "BINTABLE" && header->flag("ZIMAGE")) {
        describe_compressed(file, *header, hdu, data_end);
      } else {
        header->fail("expected an image, found " + (type.empty() ? std::string("no extension type") : type));
      }
      if (data_end > file.size()) hdu.kind = HduKind::truncated;
      scan.hdus.push_back(hdu);
      if (hdu.kind == HduKind::truncated) break;
    }
    offset = (data_end + kBlock - 1) / kBlock * kBlock;
  }
  return scan;
}

}  // namespace mwaconvert
