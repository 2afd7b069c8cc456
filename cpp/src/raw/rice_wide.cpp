// Eight Rice streams in the lanes of a 64-byte register.
#include "mwaconvert/base/simd.hpp"

#if MWACONVERT_HAS_WIDE

// gcc 12 warns of the undefined operands that its own intrinsics are made of
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>

#include <array>
#include <bit>

#include "rice_stream.hpp"

namespace mwaconvert::rice {
namespace {

constexpr int kLoadBits = 57;  // valid in eight bytes from within the first of them on
// A code of a window that holds no whole one is taken for so long at most; a block reads no further, whatever
// its bits are.
constexpr int kMaxCodeBits = 64 + 1 + kMaxSplit;
// Up to these split lengths four pixels out of one load, and out of two, are worth a try.
constexpr int kTryOneLoad = 9;
constexpr int kTryTwoLoads = 24;

#define MWACONVERT_WIDE_INLINE MWACONVERT_WIDE inline __attribute__((always_inline))

// The state of eight streams.
struct Lanes {
  __m512i address;  // of the rows
  __m512i bit;      // number of the next one
  __m512i last;     // the pixel before, in the low half
};

// How the pixels of a block are stored.
struct Splits {
  __mmask8 stored;  // where 0 all pixels equal the one before
  __m512i split;
  __m512i length;  // of a code besides its zeros
  __m512i mask;    // of its low bits
};

// Eight bytes of each row from the one on that holds bit number `bit`.
MWACONVERT_WIDE_INLINE __m512i load_at(const Lanes& lanes, __m512i bit, int64_t bytes_further) {
  const __m512i reversed =
      _mm512_set_epi64(0x08090a0b0c0d0e0f, 0x0001020304050607, 0x08090a0b0c0d0e0f, 0x0001020304050607,
                       0x08090a0b0c0d0e0f, 0x0001020304050607, 0x08090a0b0c0d0e0f, 0x0001020304050607);
  const __m512i at = _mm512_add_epi64(lanes.address, _mm512_srli_epi64(bit, 3));
  const auto* base = reinterpret_cast<const void*>(bytes_further);
  return _mm512_shuffle_epi8(_mm512_i64gather_epi64(at, base, 1), reversed);
}

// `window`, which was shifted by `count` bits, with the first ones of `further` behind it.
MWACONVERT_WIDE_INLINE __m512i refilled(__m512i window, __m512i further, __m512i count) {
  return _mm512_or_si512(window, _mm512_srlv_epi64(further, _mm512_sub_epi64(_mm512_set1_epi64(64), count)));
}

// Four pixels each of eight rows, to out[row][k...].
MWACONVERT_WIDE_INLINE void store_four(const __m512i (&pixel)[4], const RiceRow* rows, int64_t k) {
  const __mmask16 odd = 0xaaaa;
  const __m512i first = _mm512_mask_blend_epi32(odd, pixel[0], _mm512_slli_epi64(pixel[1], 32));
  const __m512i second = _mm512_mask_blend_epi32(odd, pixel[2], _mm512_slli_epi64(pixel[3], 32));
  const __m512i even_rows = _mm512_unpacklo_epi64(first, second);
  const __m512i odd_rows = _mm512_unpackhi_epi64(first, second);
  const auto put = [&](int row, __m128i four) MWACONVERT_WIDE {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(rows[row].out + k), four);
  };
  put(0, _mm512_extracti64x2_epi64(even_rows, 0));
  put(1, _mm512_extracti64x2_epi64(odd_rows, 0));
  put(2, _mm512_extracti64x2_epi64(even_rows, 1));
  put(3, _mm512_extracti64x2_epi64(odd_rows, 1));
  put(4, _mm512_extracti64x2_epi64(even_rows, 2));
  put(5, _mm512_extracti64x2_epi64(odd_rows, 2));
  put(6, _mm512_extracti64x2_epi64(even_rows, 3));
  put(7, _mm512_extracti64x2_epi64(odd_rows, 3));
}

// Takes one pixel out of the window; its length joins `used`.
MWACONVERT_WIDE_INLINE __m512i take_pixel(const Splits& s, __m512i& window, __m512i& used, __m512i last) {
  const __m512i zeros = _mm512_lzcnt_epi64(window);
  const __m512i length = _mm512_maskz_add_epi64(s.stored, zeros, s.length);
  const __m512i low = _mm512_srlv_epi64(window, _mm512_sub_epi64(_mm512_set1_epi64(64), length));
  const __m512i high = _mm512_maskz_sllv_epi64(s.stored, zeros, s.split);
  const __m512i code = _mm512_ternarylogic_epi64(low, s.mask, high, 0xea);  // (low & mask) | high
  window = _mm512_sllv_epi64(window, length);
  used = _mm512_add_epi64(used, length);
  const __m512i sign = _mm512_sub_epi64(_mm512_setzero_si512(), _mm512_and_si512(code, _mm512_set1_epi64(1)));
  return _mm512_add_epi64(last, _mm512_xor_si512(_mm512_srli_epi64(code, 1), sign));
}

// Where four pixels come from. Waiting for loads is the slow link in the chain of dependent steps.
enum class Loads { kOne, kTwo, kOneEach };

// A block of n (a multiple of four) pixels. False if the loads did not hold them: then what was written means
// nothing.
template <Loads kLoads>
MWACONVERT_WIDE bool decode_pixels(Lanes& lanes, const Splits& s, const RiceRow* rows, int64_t start,
                                   int64_t n) {
  __m512i bit = lanes.bit, last = lanes.last, most = _mm512_setzero_si512();
  for (int64_t k = start; k < start + n; k += 4) {
    __m512i window{}, further{}, used{}, pixel[4];
    for (int i = 0; i < 4; ++i) {
      if (i == 0 || kLoads == Loads::kOneEach) {
        const __m512i within = _mm512_and_si512(bit, _mm512_set1_epi64(7));
        window = _mm512_sllv_epi64(load_at(lanes, bit, 0), within);
        if constexpr (kLoads == Loads::kTwo) {
          const __m512i second = load_at(lanes, bit, 8);
          window = refilled(window, second, within);
          further = _mm512_sllv_epi64(second, within);
        }
      }
      pixel[i] = last = take_pixel(s, window, used, last);
      const bool loads_end = kLoads == Loads::kOneEach || i == 3 || (kLoads == Loads::kTwo && i == 1);
      if (!loads_end) continue;
      if (kLoads == Loads::kTwo && i == 1) window = refilled(window, further, used);
      bit = _mm512_add_epi64(bit, used);
      most = _mm512_max_epi64(most, used);
      used = _mm512_setzero_si512();
    }
    store_four(pixel, rows, k);
  }
  if (_mm512_cmpgt_epi64_mask(most, _mm512_set1_epi64(kLoadBits))) return false;
  lanes.bit = bit;
  lanes.last = last;
  return true;
}

// A block in which all codes are short; false leaves the lanes where they are.
MWACONVERT_WIDE bool decode_short_codes(Lanes& lanes, const RiceRow* rows, int64_t start, int64_t n) {
  const __m512i one = _mm512_set1_epi64(1);
  const __m512i code = _mm512_srli_epi64(
      _mm512_sllv_epi64(load_at(lanes, lanes.bit, 0), _mm512_and_si512(lanes.bit, _mm512_set1_epi64(7))),
      64 - kSplitBits);
  const auto longest = static_cast<int>(_mm512_reduce_max_epi64(code)) - 1;
  if (n % 4 || longest >= kMaxSplit) return false;
  Splits s;
  s.stored = _mm512_test_epi64_mask(code, code);
  s.split = _mm512_maskz_sub_epi64(s.stored, code, one);
  s.length = code;
  s.mask = _mm512_sub_epi64(_mm512_sllv_epi64(one, s.split), one);
  Lanes next = lanes;
  next.bit = _mm512_add_epi64(lanes.bit, _mm512_set1_epi64(kSplitBits));
  const bool done = (longest <= kTryOneLoad && decode_pixels<Loads::kOne>(next, s, rows, start, n)) ||
                    (longest <= kTryTwoLoads && decode_pixels<Loads::kTwo>(next, s, rows, start, n)) ||
                    decode_pixels<Loads::kOneEach>(next, s, rows, start, n);
  if (done) lanes = next;
  return done;
}

// One row, pixels [begin, end), the plain way.
void decode_plainly(const RiceRow& row, int64_t& bit, uint64_t& last, int64_t begin, int64_t end, int block) {
  Stream stream(row, bit, static_cast<uint32_t>(last));
  for (int64_t start = begin; start < end; start += block) {
    decode_block(stream, take_split(stream), row.out + start, std::min<int64_t>(block, end - start));
    check_end(stream);
  }
  bit = stream.reader.position();
  last = stream.last;
}

}  // namespace

MWACONVERT_WIDE void decode_wide(const RiceRow* rows, int64_t n, int block) {
  alignas(64) std::array<int64_t, kWideRows> address, bit, last_safe_bit;
  alignas(64) std::array<uint64_t, kWideRows> last;
  // a block that starts here or before stays within its row, and so do its windows
  const int64_t reach = (kSplitBits + int64_t{kMaxCodeBits} * block) / 8 + 1 + 16;
  for (int r = 0; r < kWideRows; ++r) {
    const Stream stream(rows[r].in, rows[r].n_in);
    address[r] = std::bit_cast<int64_t>(rows[r].in);
    bit[r] = stream.reader.position();
    last[r] = stream.last;
    last_safe_bit[r] = 8 * (rows[r].n_in - reach);
  }
  Lanes lanes{_mm512_load_si512(address.data()), _mm512_load_si512(bit.data()),
              _mm512_load_si512(last.data())};
  const __m512i safe = _mm512_load_si512(last_safe_bit.data());
  const auto plainly = [&](int64_t begin, int64_t end) MWACONVERT_WIDE {
    _mm512_store_si512(bit.data(), lanes.bit);
    _mm512_store_si512(last.data(), lanes.last);
    for (int r = 0; r < kWideRows; ++r) decode_plainly(rows[r], bit[r], last[r], begin, end, block);
    lanes.bit = _mm512_load_si512(bit.data());
    lanes.last = _mm512_load_si512(last.data());
  };
  for (int64_t start = 0; start < n; start += block) {
    if (_mm512_cmpgt_epi64_mask(lanes.bit, safe)) return plainly(start, n);
    const int64_t end = std::min(start + block, n);
    if (!decode_short_codes(lanes, rows, start, end - start)) plainly(start, end);
  }
}

}  // namespace mwaconvert::rice

#endif
