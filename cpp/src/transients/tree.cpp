#include "mwaconvert/transients/tree.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <new>
#include <string>
#include <type_traits>
#include <utility>

#ifdef __linux__
#include <sys/mman.h>
#endif

#include "mwaconvert/base/constants.hpp"
#include "mwaconvert/base/error.hpp"
#include "mwaconvert/base/parallel.hpp"
#include "mwaconvert/base/scratch.hpp"
#include "mwaconvert/base/simd.hpp"
#include "mwaconvert/base/vector.hpp"

namespace mwaconvert {
namespace {

constexpr int64_t kScratchBytes = 512 << 10;         // rows of a block: within the second cache
constexpr int64_t kShortest = 256, kLongest = 8192;  // samples of a tile
constexpr int kMostChildren = 512;

template <typename T, int kBytes>
struct Register {
  typedef T Type __attribute__((vector_size(kBytes)));
  typedef T Loose __attribute__((vector_size(kBytes), aligned(1), may_alias));
};

// What sums are held in while children are added, and as what they are stored: bytes in 16-bit numbers; those
// in 16-bit numbers, or in float32 by way of 32-bit numbers.
template <typename From, typename To>
using Sum = std::conditional_t<std::is_same_v<From, uint16_t> && std::is_same_v<To, float>, int32_t, To>;

// Numbers of half the size, widened: interleaved with zeros, which compiles to one instruction where
// __builtin_convertvector() takes four.
template <typename Vector, typename Source, int... lane>
MWACONVERT_INLINE Vector widened(Source x, std::integer_sequence<int, lane...>) {
  static_assert(std::endian::native == std::endian::little);
  constexpr int n = sizeof...(lane) / 2;
  return reinterpret_cast<Vector>(__builtin_shufflevector(x, Source{}, (lane % 2 ? n : lane / 2)...));
}
// From anywhere in memory. (A loosely aligned type would lose its attribute as a template's argument.)
template <typename Vector, typename Source, typename From>
MWACONVERT_INLINE Vector load(const From* p) {
  Source x;
  std::memcpy(&x, p, sizeof x);
  if constexpr (sizeof(Source) == sizeof(Vector))
    return x;
  else
    return widened<Vector, Source>(x, std::make_integer_sequence<int, 2 * sizeof(Source) / sizeof(From)>());
}

// out[0, n) = sum of the rows, of which there is at least one.
template <int kBytes, typename From, typename To>
MWACONVERT_INLINE void add_rows(const From* const* rows, int n_rows, To* out, int64_t n) {
  using Wide = Sum<From, To>;
  constexpr int lanes = kBytes / sizeof(Wide);
  using Vector = typename Register<Wide, kBytes>::Type;
  constexpr int from_bytes = lanes * static_cast<int>(sizeof(From));
  using Source = typename Register<From, from_bytes>::Type;
  using Stored = typename Register<To, lanes* static_cast<int>(sizeof(To))>::Loose;
  constexpr int registers = 8;
  constexpr int64_t tile = registers * lanes;
  if (n < tile) {
    for (int64_t k = 0; k < n; ++k) {
      Wide sum = rows[0][k];
      for (int r = 1; r < n_rows; ++r) sum = static_cast<Wide>(sum + rows[r][k]);
      out[k] = static_cast<To>(sum);
    }
    return;
  }
  for (int64_t begin = 0; begin < n; begin += tile) {
    const int64_t at = std::min(begin, n - tile);  // the last one may overlap its neighbour
    Vector sum[registers];
    for (int j = 0; j < registers; ++j) sum[j] = load<Vector, Source>(rows[0] + at + j * lanes);
    for (int r = 1; r < n_rows; ++r)
      for (int j = 0; j < registers; ++j) sum[j] += load<Vector, Source>(rows[r] + at + j * lanes);
    Stored* to = reinterpret_cast<Stored*>(out + at);
    for (int j = 0; j < registers; ++j) to[j] = __builtin_convertvector(sum[j], Stored);
  }
}

// NOLINTBEGIN(bugprone-macro-parentheses): the arguments are types
#define MWACONVERT_ADD_ROWS(FROM, TO)                                                            \
  MWACONVERT_CLONES void add_rows_any(const FROM* const* rows, int n_rows, TO* out, int64_t n) { \
    add_rows<32>(rows, n_rows, out, n);                                                          \
  }                                                                                              \
  MWACONVERT_WIDE void add_rows_wide(const FROM* const* rows, int n_rows, TO* out, int64_t n) {  \
    add_rows<64>(rows, n_rows, out, n);                                                          \
  }                                                                                              \
  void add_rows(const FROM* const* rows, int n_rows, TO* out, int64_t n) {                       \
    static const bool wide = wide_registers();                                                   \
    wide ? add_rows_wide(rows, n_rows, out, n) : add_rows_any(rows, n_rows, out, n);             \
  }
// NOLINTEND(bugprone-macro-parentheses)
MWACONVERT_ADD_ROWS(uint8_t, uint16_t)
MWACONVERT_ADD_ROWS(uint16_t, uint16_t)
MWACONVERT_ADD_ROWS(uint16_t, float)
MWACONVERT_ADD_ROWS(float, float)
#undef MWACONVERT_ADD_ROWS

enum class Kind { kByte, kShort, kFloat };
int64_t size_of(Kind kind) {
  return kind == Kind::kByte ? 1 : kind == Kind::kShort ? 2 : 4;
}

// Rows in memory: sample i of row r is at data + (origin(r) + i) * size of the kind.
struct Rows {
  Kind kind;
  std::byte* data;
  const int64_t* origin;
};

void add(const Rows& from, const int32_t* child, const int32_t* offset, int n, int64_t i, const Rows& to,
         int64_t row, int64_t samples) {
  const void* pointers[kMostChildren];
  const int64_t size = size_of(from.kind);
  for (int k = 0; k < n; ++k) pointers[k] = from.data + (from.origin[child[k]] + i + offset[k]) * size;
  void* out = to.data + (to.origin[row] + i) * size_of(to.kind);
  if (from.kind == Kind::kByte)
    add_rows(reinterpret_cast<const uint8_t* const*>(pointers), n, static_cast<uint16_t*>(out), samples);
  else if (from.kind == Kind::kFloat)
    add_rows(reinterpret_cast<const float* const*>(pointers), n, static_cast<float*>(out), samples);
  else if (to.kind == Kind::kShort)
    add_rows(reinterpret_cast<const uint16_t* const*>(pointers), n, static_cast<uint16_t*>(out), samples);
  else
    add_rows(reinterpret_cast<const uint16_t* const*>(pointers), n, static_cast<float*>(out), samples);
}

// Samples of a row that are wanted: [low, high).
struct Range {
  int64_t low = std::numeric_limits<int64_t>::max(), high = std::numeric_limits<int64_t>::min();
  bool empty() const { return low >= high; }
  void add(int64_t low_, int64_t high_) {
    low = std::min(low, low_);
    high = std::max(high, high_);
  }
};

// What a block of rows needs of one level: its rows, with children by their place in the list below.
struct Part {
  Kind kind;
  std::vector<int32_t> rows, first, child, offset;
};

// One pass: levels [begin, end] of the tree, from the rows below to the rows of level `end`.
class Pass {
 public:
  Pass(const std::vector<TreeLevel>& levels, const std::vector<Kind>& kinds, int begin, int end)
      : levels_(levels), kinds_(kinds), begin_(begin), end_(end) {}

  // wanted: of each row of level `end`
  void run(const Rows& source, const Rows& target, const std::vector<Range>& wanted, int threads) const {
    const TreeLevel& top = levels_[end_];
    const int64_t n_block = top.blocks.shape[0] - 1;
    struct Item {
      int64_t block, low, high;
    };
    std::vector<std::vector<Part>> parts(n_block);
    std::vector<std::vector<Item>> items_of(n_block);
    parallel_for(n_block, threads, [&](int64_t b) {
      parts[b] = needed(top.blocks(b), top.blocks(b + 1));
      Range all;
      for (int64_t r = top.blocks(b); r < top.blocks(b + 1); ++r)
        if (!wanted[r].empty()) all.add(wanted[r].low, wanted[r].high);
      if (all.empty()) return;
      const int64_t tile = tile_length(parts[b]);
      const int64_t n_tile = (all.high - all.low + tile - 1) / tile;
      for (int64_t t = 0; t < n_tile; ++t)  // tiles of about the same length
        items_of[b].push_back({b, all.low + (all.high - all.low) * t / n_tile,
                               all.low + (all.high - all.low) * (t + 1) / n_tile});
    });
    std::vector<Item> items;
    for (const auto& some : items_of) items.insert(items.end(), some.begin(), some.end());
    parallel_for(static_cast<int64_t>(items.size()), threads, [&](int64_t k) {
      const Item& item = items[k];
      work(parts[item.block], source, target, wanted, item.low, item.high);
    });
  }

 private:
  // From the top down: the rows that rows [first, last) of the highest level are made of.
  std::vector<Part> needed(int64_t first, int64_t last) const {
    std::vector<Part> parts(end_ - begin_ + 1);
    parts.back().rows.resize(last - first);
    for (int64_t r = first; r < last; ++r) parts.back().rows[r - first] = static_cast<int32_t>(r);
    for (int l = end_; l >= begin_; --l) {
      Part& part = parts[l - begin_];
      const TreeLevel& level = levels_[l];
      part.kind = kinds_[l];
      part.first.push_back(0);
      for (const int32_t r : part.rows) {
        for (int32_t k = level.first(r); k < level.first(r + 1); ++k) {
          part.child.push_back(level.child(k));
          part.offset.push_back(level.offset(k));
        }
        part.first.push_back(static_cast<int32_t>(part.child.size()));
      }
      if (l == begin_) continue;  // children are rows of the source
      std::vector<int32_t>& below = parts[l - 1 - begin_].rows;
      below = part.child;
      std::sort(below.begin(), below.end());
      below.erase(std::unique(below.begin(), below.end()), below.end());
      for (int32_t& c : part.child)
        c = static_cast<int32_t>(std::lower_bound(below.begin(), below.end(), c) - below.begin());
    }
    return parts;
  }

  // Such that the rows of the block stay in the cache.
  static int64_t tile_length(const std::vector<Part>& parts) {
    int64_t fixed = 0, per_sample = 0;
    std::vector<int32_t> above;  // by how much the range of a row exceeds the tile
    for (size_t l = parts.size() - 1; l-- > 0;) {
      const Part& parent = parts[l + 1];
      std::vector<Range> range(parts[l].rows.size());
      for (size_t p = 0; p + 1 < parent.first.size(); ++p)
        for (int32_t k = parent.first[p]; k < parent.first[p + 1]; ++k)
          range[parent.child[k]].add(parent.offset[k], parent.offset[k] + (above.empty() ? 0 : above[p]));
      above.resize(range.size());
      for (size_t r = 0; r < range.size(); ++r) above[r] = static_cast<int32_t>(range[r].high - range[r].low);
      const int64_t size = size_of(parts[l].kind);
      for (const int32_t extra : above) fixed += extra * size;
      per_sample += static_cast<int64_t>(above.size()) * size;
    }
    if (per_sample == 0) return kLongest;
    return std::clamp((kScratchBytes - fixed) / per_sample / 64 * 64, kShortest, kLongest);
  }

  // Samples [low, high) of the rows of one block.
  void work(const std::vector<Part>& parts, const Rows& source, const Rows& target,
            const std::vector<Range>& wanted, int64_t low, int64_t high) const {
    static thread_local Scratch<std::byte> memory;
    static thread_local std::vector<std::vector<Range>> ranges;
    static thread_local std::vector<std::vector<int64_t>> origins;
    const size_t n = parts.size();
    ranges.resize(std::max(ranges.size(), n));
    origins.resize(std::max(origins.size(), n));

    // what is wanted of each row, from the top down
    for (size_t l = 0; l < n; ++l) ranges[l].assign(parts[l].rows.size(), Range{});
    for (size_t r = 0; r < parts[n - 1].rows.size(); ++r) {
      const Range& w = wanted[parts[n - 1].rows[r]];
      ranges[n - 1][r] = {std::max(w.low, low), std::min(w.high, high)};
    }
    for (size_t l = n - 1; l > 0; --l)
      for (size_t r = 0; r < parts[l].rows.size(); ++r) {
        const Range& range = ranges[l][r];
        if (range.empty()) continue;
        for (int32_t k = parts[l].first[r]; k < parts[l].first[r + 1]; ++k)
          ranges[l - 1][parts[l].child[k]].add(range.low + parts[l].offset[k],
                                               range.high + parts[l].offset[k]);
      }

    // where it is kept
    int64_t bytes = 0;
    for (size_t l = 0; l + 1 < n; ++l) {
      const int64_t size = size_of(parts[l].kind);
      bytes = (bytes + 63) / 64 * 64;
      origins[l].resize(parts[l].rows.size());
      for (size_t r = 0; r < parts[l].rows.size(); ++r) {
        const Range& range = ranges[l][r];
        if (range.empty()) continue;
        origins[l][r] = bytes / size - range.low;
        bytes += (range.high - range.low) * size;
        bytes = (bytes + 3) / 4 * 4;
      }
    }
    std::byte* scratch = memory.get(bytes);

    Rows from = source;
    std::vector<int64_t>& last = origins[n - 1];
    last.resize(parts[n - 1].rows.size());
    for (size_t r = 0; r < last.size(); ++r) last[r] = target.origin[parts[n - 1].rows[r]];
    for (size_t l = 0; l < n; ++l) {
      const Part& part = parts[l];
      const Rows to = l + 1 < n ? Rows{part.kind, scratch, origins[l].data()}
                                : Rows{target.kind, target.data, last.data()};
      for (size_t r = 0; r < part.rows.size(); ++r) {
        const Range& range = ranges[l][r];
        if (range.empty()) continue;
        const int32_t k = part.first[r];
        add(from, &part.child[k], &part.offset[k], part.first[r + 1] - k, range.low, to,
            static_cast<int64_t>(r), range.high - range.low);
      }
      from = to;
    }
  }

  const std::vector<TreeLevel>& levels_;
  const std::vector<Kind>& kinds_;
  int begin_, end_;
};

// Refuses trees that would leave the data. Returns how each level is stored.
std::vector<Kind> check(const std::vector<TreeLevel>& levels, int64_t n_chan, int64_t n_samp, bool bytes,
                        int kept, View<float, 2> out) {
  if (levels.empty() || kept < -1 || kept >= static_cast<int>(levels.size()) - 1)
    throw InputError("a tree of " + std::to_string(levels.size()) + " levels cannot keep level " +
                     std::to_string(kept));
  std::vector<int64_t> channels(n_chan, 1), reach(n_chan, 0);
  std::vector<Kind> kinds;
  for (const TreeLevel& level : levels) {
    const int64_t n = level.rows(), below = static_cast<int64_t>(channels.size());
    std::vector<int64_t> channels_here(std::max<int64_t>(n, 0), 0), reach_here(channels_here);
    if (n < 1 || level.first(0) != 0 || level.first(n) != level.child.shape[0] ||
        level.offset.shape[0] != level.child.shape[0])
      throw InputError("a level of a tree whose rows and children do not fit");
    for (int64_t r = 0; r < n; ++r) {
      const int64_t count = static_cast<int64_t>(level.first(r + 1)) - level.first(r);
      if (count < 1 || count > kMostChildren)
        throw InputError("a row of a tree with " + std::to_string(count) + " children: expected 1 to " +
                         std::to_string(kMostChildren));
      for (int32_t k = level.first(r); k < level.first(r + 1); ++k) {
        if (level.child(k) < 0 || level.child(k) >= below || level.offset(k) < 0)
          throw InputError("a row of a tree with a child that is not there");
        channels_here[r] += channels[level.child(k)];
        reach_here[r] = std::max(reach_here[r], reach[level.child(k)] + level.offset(k));
      }
    }
    const int64_t n_block = level.blocks.shape[0] - 1;
    bool ascending = n_block >= 0 && level.blocks(0) == 0 && level.blocks(n_block) == n;
    for (int64_t b = 0; ascending && b < n_block; ++b) ascending = level.blocks(b) < level.blocks(b + 1);
    if (!ascending) throw InputError("the blocks of a level of a tree are not those of its rows");
    const int64_t most = *std::max_element(channels_here.begin(), channels_here.end());
    if (bytes && kinds.empty() && most > kMostByteRows)
      throw InputError("a row of a tree sums " + std::to_string(most) +
                       " channels of 8 bits: expected at most " + std::to_string(kMostByteRows));
    if (bytes && most > (int64_t{1} << 24) / 255)
      throw InputError("more than 65793 channels of 8 bits: convert them to float32");
    kinds.push_back(bytes && most <= kMostByteRows ? Kind::kShort : Kind::kFloat);
    channels.swap(channels_here);
    reach.swap(reach_here);
  }
  kinds.back() = Kind::kFloat;
  if (levels.size() == 1 && bytes) throw InputError("a tree of one level: use dedisperse()");
  if (static_cast<int64_t>(channels.size()) != out.shape[0])
    throw InputError("a tree of " + std::to_string(channels.size()) + " trials for " +
                     std::to_string(out.shape[0]) + " series");
  const int64_t longest = *std::max_element(reach.begin(), reach.end());
  if (longest + out.shape[1] > n_samp)
    throw InputError("delays of up to " + std::to_string(longest) + " samples leave no room for " +
                     std::to_string(out.shape[1]) + " of " + std::to_string(n_samp) + " samples");
  return kinds;
}

template <typename T>
void run(View<const T, 2> data, const std::vector<TreeLevel>& levels, int kept, View<float, 2> out,
         int threads, TreeMemory& memory) {
  constexpr bool bytes = std::is_same_v<T, uint8_t>;
  const int64_t n_out = out.shape[1];
  const std::vector<Kind> kinds = check(levels, data.shape[0], data.shape[1], bytes, kept, out);
  if (n_out == 0) return;
  auto* raw = reinterpret_cast<std::byte*>(const_cast<T*>(data.data));
  std::vector<int64_t> channel(data.shape[0]), trial(out.shape[0]);
  for (size_t c = 0; c < channel.size(); ++c) channel[c] = static_cast<int64_t>(c) * data.stride[0];
  for (size_t t = 0; t < trial.size(); ++t) trial[t] = static_cast<int64_t>(t) * out.stride[0];
  const Rows source{bytes ? Kind::kByte : Kind::kFloat, raw, channel.data()};
  const Rows target{Kind::kFloat, reinterpret_cast<std::byte*>(out.data), trial.data()};
  const int top = static_cast<int>(levels.size()) - 1;
  const std::vector<Range> whole(out.shape[0], Range{0, n_out});
  if (kept < 0) return Pass(levels, kinds, 0, top).run(source, target, whole, threads);

  std::vector<Range> wanted = whole;
  for (int l = top; l > kept; --l) {
    std::vector<Range> below(levels[l - 1].rows());
    for (int64_t r = 0; r < levels[l].rows(); ++r)
      for (int32_t k = levels[l].first(r); k < levels[l].first(r + 1); ++k)
        if (!wanted[r].empty())
          below[levels[l].child(k)].add(wanted[r].low + levels[l].offset(k),
                                        wanted[r].high + levels[l].offset(k));
    wanted.swap(below);
  }
  std::vector<int64_t> origin(wanted.size(), 0);
  int64_t size = 0;
  for (size_t r = 0; r < wanted.size(); ++r) {
    if (wanted[r].empty()) continue;
    origin[r] = size - wanted[r].low;
    size += (wanted[r].high - wanted[r].low + 15) / 16 * 16;
  }
  const Rows middle{kinds[kept], memory.get(size * size_of(kinds[kept])), origin.data()};
  Pass(levels, kinds, 0, kept).run(source, middle, wanted, threads);
  Pass(levels, kinds, kept + 1, top).run(middle, target, whole, threads);
}

}  // namespace

// In large pages where the system has them: with small ones, their first use takes as long as the sums.
std::byte* TreeMemory::get(int64_t bytes) {
  if (bytes > bytes_) {
    constexpr int64_t page = 2 << 20;
    bytes_ = 0;
    memory_.reset();  // before there is more
    const int64_t whole = (bytes + page - 1) / page * page;
    memory_.reset(static_cast<std::byte*>(std::aligned_alloc(page, whole)));
    if (!memory_) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
    madvise(memory_.get(), whole, MADV_HUGEPAGE);
#endif
    bytes_ = whole;
  }
  return memory_.get();
}

void dedisperse_tree(View<const uint8_t, 2> data, const std::vector<TreeLevel>& levels, int kept,
                     View<float, 2> out, int threads, TreeMemory& memory) {
  run(data, levels, kept, out, threads, memory);
}
void dedisperse_tree(View<const float, 2> data, const std::vector<TreeLevel>& levels, int kept,
                     View<float, 2> out, int threads, TreeMemory& memory) {
  run(data, levels, kept, out, threads, memory);
}

}  // namespace mwaconvert
