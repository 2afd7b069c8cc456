// Sums of windows over sixteen lines at a time.
#include "windows.hpp"

#include <algorithm>
#include <cstring>

#include "lanes.hpp"
#include "mwaconvert/base/simd.hpp"

namespace mwaconvert {
namespace {

MWACONVERT_INLINE i4 load_four(const int32_t* p) {
  return reinterpret_cast<i4>(load4(p));
}
MWACONVERT_INLINE void store_four(int32_t* p, i4 v) {
  store(p, reinterpret_cast<f4>(v));
}

template <typename V>
MWACONVERT_INLINE uint32_t to_sixteens_of(const float* const* rows, int64_t column, int64_t n_rows,
                                          uint32_t lanes, float limit, float scale, Sixteen* out,
                                          uint16_t* above, int32_t* top, int32_t* also_top) {
  const typename V::Mask there = V::mask(lanes);
  typename V::Mask any = V::none();
  typename V::Ints largest = V::zero();
  for (int64_t r = 0; r < n_rows; ++r) {
    const typename V::Floats x = V::load(rows[r] + column);
    const typename V::Mask high = V::both(V::above(V::size(x), V::same(limit)), there);
    const typename V::Ints sample =
        V::only(V::without(there, high), V::to_ints(V::multiply(x, V::same(scale))));
    V::store(out[r].line, sample);
    largest = V::larger(largest, V::size(sample));
    above[r] = static_cast<uint16_t>(V::bits(high));
    any = V::either(any, high);
  }
  V::store(top, V::larger(V::load(top), largest));
  V::store(also_top, V::larger(V::load(also_top), largest));
  return V::bits(any);
}

template <typename V>
MWACONVERT_INLINE Sixteen largest_sums_of(const Sixteen* sample, int64_t n, int64_t length) {
  typename V::Ints sum = V::zero(), most;
  for (int64_t i = 0; i < length; ++i) sum = V::add(sum, V::load(sample[i].line));
  most = V::size(sum);
  for (int64_t i = 1; i + length <= n; ++i) {
    sum = V::add(sum, V::subtract(V::load(sample[i + length - 1].line), V::load(sample[i - 1].line)));
    most = V::larger(most, V::size(sum));
  }
  Sixteen result;
  V::store(result.line, most);
  return result;
}

template <typename V>
MWACONVERT_INLINE ShortSums largest_short_sums_of(const Sixteen* sample, int64_t n) {
  typename V::Ints last = V::zero(), two[2] = {last, last}, four[4] = {last, last, last, last};
  typename V::Ints most[3] = {last, last, last};
  const auto take = [&](const Sixteen& next, int place) __attribute__((always_inline)) {
    const typename V::Ints x = V::load(next.line), sum2 = V::add(x, last),
                           sum4 = V::add(sum2, two[place % 2]), sum8 = V::add(sum4, four[place]);
    last = x;
    two[place % 2] = sum2;
    four[place] = sum4;
    most[0] = V::larger(most[0], V::size(sum2));
    most[1] = V::larger(most[1], V::size(sum4));
    most[2] = V::larger(most[2], V::size(sum8));
  };
  int64_t i = 0;
  for (; i + 4 <= n; i += 4)
    for (int k = 0; k < 4; ++k) take(sample[i + k], k);
  if (i < n) take(sample[i], 0);
  if (i + 1 < n) take(sample[i + 1], 1);
  if (i + 2 < n) take(sample[i + 2], 2);
  ShortSums result;
  for (int k = 0; k < 3; ++k) V::store(result.of[k].line, most[k]);
  return result;
}

template <typename V>
MWACONVERT_INLINE float take_means_of(const Sixteen& sums, int64_t length, SixteenFloats& means) {
  const typename V::Floats v =
      V::multiply(V::to_floats(V::load(sums.line)), V::same(1 / static_cast<float>(length)));
  V::store(means.line, v);
  return largest_of_16(means.line);
}

// A window with f flags exceeds if its sum is above (length - f) levels. Each later flag has changed a sum by
// the largest sample at most. Where no sample exceeds the level no mean does.
template <typename V>
MWACONVERT_INLINE uint32_t lines_in_question_of(const KnownLines& known, int64_t n, int64_t length,
                                                float level) {
  using Floats = typename V::Floats;
  const auto same = [](int64_t v) __attribute__((always_inline)) { return V::same(static_cast<float>(v)); };
  const Floats rounding = V::same(1.0001f), limit = V::same(level);
  const Floats largest = V::multiply(V::load(known.largest), rounding);
  const Floats flags = V::to_floats(V::load(known.flags)), later = V::to_floats(V::load(known.later));
  const Floats sum = V::add(V::multiply(V::multiply(V::load(known.mean), rounding), same(length)),
                            V::multiply(later, largest));
  const Floats needed = V::multiply(V::subtract(same(length), flags), limit);
  const auto some = V::both(V::above(flags, same(0)), V::above(same(n), flags));
  return V::bits(V::both(some, V::both(V::above(largest, limit), V::above(sum, needed))));
}

template <typename V>
MWACONVERT_INLINE bool find_windows_of(const Sixteen* sample, const uint16_t* flags, int64_t begin,
                                       int64_t end, int64_t length, float level, uint16_t* hit) {
  typename V::Ints sum = V::zero(), count = V::all(static_cast<int32_t>(length));
  for (int64_t i = begin; i < begin + length - 1; ++i) {
    sum = V::add(sum, V::load(sample[i].line));
    count = V::decrease(count, V::mask(flags[i]));
  }
  const typename V::Floats levels = V::same(level);
  uint32_t over = 0;
  for (int64_t i = begin; i < end; ++i) {
    sum = V::add(sum, V::load(sample[i + length - 1].line));
    count = V::decrease(count, V::mask(flags[i + length - 1]));
    const typename V::Floats size = V::to_floats(V::size(sum)), n = V::to_floats(count);
    const uint32_t here = V::bits(V::above(size, V::multiply(n, levels)));
    hit[i] = static_cast<uint16_t>(here);
    over |= here;
    sum = V::subtract(sum, V::load(sample[i].line));
    count = V::increase(count, V::mask(flags[i]));
  }
  return over != 0;
}

MWACONVERT_TWICE(uint32_t, to_sixteens_here, to_sixteens_of,
                 (const float* const* rows, int64_t column, int64_t n_rows, uint32_t lanes, float limit,
                  float scale, Sixteen* out, uint16_t* above, int32_t* top, int32_t* also_top),
                 (rows, column, n_rows, lanes, limit, scale, out, above, top, also_top))
MWACONVERT_TWICE(Sixteen, largest_sums_here, largest_sums_of,
                 (const Sixteen* sample, int64_t n, int64_t length), (sample, n, length))
MWACONVERT_TWICE(ShortSums, largest_short_sums_here, largest_short_sums_of,
                 (const Sixteen* sample, int64_t n), (sample, n))
MWACONVERT_TWICE(float, take_means_here, take_means_of,
                 (const Sixteen& sums, int64_t length, SixteenFloats& means), (sums, length, means))
MWACONVERT_TWICE(uint32_t, lines_in_question_here, lines_in_question_of,
                 (const KnownLines& known, int64_t n, int64_t length, float level), (known, n, length, level))
MWACONVERT_TWICE(bool, find_windows_here, find_windows_of,
                 (const Sixteen* sample, const uint16_t* flags, int64_t begin, int64_t end, int64_t length,
                  float level, uint16_t* hit),
                 (sample, flags, begin, end, length, level, hit))

}  // namespace

uint32_t to_sixteens(const float* const* rows, int64_t column, int64_t n_rows, uint32_t lanes, float limit,
                     float scale, Sixteen* out, uint16_t* above, int32_t* top, int32_t* also_top) {
  return to_sixteens_here(rows, column, n_rows, lanes, limit, scale, out, above, top, also_top);
}

Sixteen largest_sums(const Sixteen* sample, int64_t n, int64_t length) {
  return largest_sums_here(sample, n, length);
}

ShortSums largest_short_sums(const Sixteen* sample, int64_t n) {
  return largest_short_sums_here(sample, n);
}

float take_means(const Sixteen& sums, int64_t length, SixteenFloats& means) {
  return take_means_here(sums, length, means);
}

uint32_t lines_in_question(const KnownLines& known, int64_t n, int64_t length, float level) {
  return lines_in_question_here(known, n, length, level);
}

bool find_windows(const Sixteen* sample, const uint16_t* flags, int64_t begin, int64_t end, int64_t length,
                  float level, uint16_t* hit) {
  return find_windows_here(sample, flags, begin, end, length, level, hit);
}

MWACONVERT_CLONES
void transpose(const Sixteen* in, int32_t* out, int64_t stride) {
  for (int64_t r = 0; r < 16; r += 4)
    for (int64_t c = 0; c < 16; c += 4) {
      const i4 a = load_four(in[r].line + c), b = load_four(in[r + 1].line + c),
               d = load_four(in[r + 2].line + c), e = load_four(in[r + 3].line + c);
      const i4 ab0 = __builtin_shufflevector(a, b, 0, 4, 1, 5),
               ab1 = __builtin_shufflevector(a, b, 2, 6, 3, 7);
      const i4 de0 = __builtin_shufflevector(d, e, 0, 4, 1, 5),
               de1 = __builtin_shufflevector(d, e, 2, 6, 3, 7);
      store_four(out + c * stride + r, __builtin_shufflevector(ab0, de0, 0, 1, 4, 5));
      store_four(out + (c + 1) * stride + r, __builtin_shufflevector(ab0, de0, 2, 3, 6, 7));
      store_four(out + (c + 2) * stride + r, __builtin_shufflevector(ab1, de1, 0, 1, 4, 5));
      store_four(out + (c + 3) * stride + r, __builtin_shufflevector(ab1, de1, 2, 3, 6, 7));
    }
}

MWACONVERT_CLONES
void dilate(uint16_t* bits, int64_t n, int64_t length, uint16_t* work) {
  for (int64_t s = 1; s < length; s *= 2) {
    for (int64_t j = 0; j < n; ++j) work[j] = bits[j];
    for (int64_t j = s; j < n; ++j) bits[j] = static_cast<uint16_t>(work[j] | work[j - s]);
  }
}

MWACONVERT_CLONES
void find_changes(const uint16_t* v, int64_t n, uint32_t lines, uint64_t* bits) {
  typedef uint16_t Shorts __attribute__((vector_size(32)));
  std::fill_n(bits, (n + 63) / 64, 0);
  for (int64_t j = 0; j < n; j += 16) {
    Shorts some, next;
    std::memcpy(&some, v + j, sizeof some);
    std::memcpy(&next, v + j + 1, sizeof next);
    const Shorts change = (some ^ next) & static_cast<uint16_t>(lines);
    const bytes16 there = __builtin_convertvector(reinterpret_cast<Shorts>(change != Shorts{}), bytes16);
    const uint64_t inside = n - j >= 16 ? 0xffff : (uint64_t{1} << (n - j)) - 1;
    bits[j / 64] |= (bits_of(there) & inside) << j % 64;
  }
}

}  // namespace mwaconvert
