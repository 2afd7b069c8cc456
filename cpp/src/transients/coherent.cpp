#include "mwaconvert/transients/coherent.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "mwaconvert/base/error.hpp"
#include "mwaconvert/base/parallel.hpp"
#include "mwaconvert/base/scratch.hpp"
#include "mwaconvert/base/simd.hpp"
#include "mwaconvert/base/vector.hpp"

// Transforms of n = n1 n2 samples in two steps with a twist between (Cooley & Tukey 1965), so that each works
// on what the caches hold. As many transforms go on side by side as a register has lanes. Neither spectra nor
// what is between the steps are brought into order: forward transforms leave them in the order that
// order_of() gives, the filter is computed in that order, and the inverse ones start from it.
namespace mwaconvert {
namespace {

constexpr int64_t kTwist = 16;     // columns whose twists are tabulated: no fewer than lanes
constexpr int64_t kInCache = 256;  // points of all lanes that the first cache holds

template <int kLanes>
struct Lanes {
  typedef float Type __attribute__((vector_size(kLanes * 4)));
  typedef float Loose __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));
};
template <int kLanes>
using Vector = typename Lanes<kLanes>::Type;

template <int kLanes>
MWACONVERT_INLINE Vector<kLanes> load_lanes(const float* p) {
  return *reinterpret_cast<const typename Lanes<kLanes>::Loose*>(p);
}
template <int kLanes>
MWACONVERT_INLINE void store_lanes(float* p, Vector<kLanes> v) {
  *reinterpret_cast<typename Lanes<kLanes>::Loose*>(p) = v;
}

template <typename V, int... k>
MWACONVERT_INLINE V interleave(V a, V b, int half, std::integer_sequence<int, k...>) {
  constexpr int n = sizeof...(k);
  return half == 0 ? __builtin_shufflevector(a, b, (k / 2 + k % 2 * n)...)
                   : __builtin_shufflevector(a, b, (n / 2 + k / 2 + k % 2 * n)...);
}
template <typename V, int... k>
MWACONVERT_INLINE V every_second(V a, V b, int first, std::integer_sequence<int, k...>) {
  return first == 0 ? __builtin_shufflevector(a, b, (2 * k)...)
                    : __builtin_shufflevector(a, b, (2 * k + 1)...);
}

// One complex number for each lane.
template <int kLanes>
struct Complex {
  using V = Vector<kLanes>;
  V re, im;
};
template <int kLanes>
MWACONVERT_INLINE Complex<kLanes> get(const float* p) {
  return {load_lanes<kLanes>(p), load_lanes<kLanes>(p + kLanes)};
}
template <int kLanes>
MWACONVERT_INLINE void put(float* p, Complex<kLanes> z) {
  store_lanes<kLanes>(p, z.re);
  store_lanes<kLanes>(p + kLanes, z.im);
}
template <int kLanes>
MWACONVERT_INLINE Complex<kLanes> operator+(Complex<kLanes> a, Complex<kLanes> b) {
  return {a.re + b.re, a.im + b.im};
}
template <int kLanes>
MWACONVERT_INLINE Complex<kLanes> operator-(Complex<kLanes> a, Complex<kLanes> b) {
  return {a.re - b.re, a.im - b.im};
}
// a b, or a times the conjugate of b
template <bool conjugate, int kLanes>
MWACONVERT_INLINE Complex<kLanes> times(Complex<kLanes> a, Complex<kLanes> b) {
  if constexpr (conjugate) return {a.re * b.re + a.im * b.im, a.im * b.re - a.re * b.im};
  return {a.re * b.re - a.im * b.im, a.im * b.re + a.re * b.im};
}
template <bool conjugate, int kLanes>
MWACONVERT_INLINE Complex<kLanes> times(Complex<kLanes> a, const float* b) {
  return times<conjugate>(a, Complex<kLanes>{Vector<kLanes>{} + b[0], Vector<kLanes>{} + b[1]});
}
// times -i, or i
template <bool inverse, int kLanes>
MWACONVERT_INLINE Complex<kLanes> quarter(Complex<kLanes> a) {
  if constexpr (inverse) return {-a.im, a.re};
  return {a.im, -a.re};
}

// Four transforms of length m become one of 4 m, or the other way round. twiddles: w^p, w^2p, w^3p for p of
// [0, m).
template <bool inverse, int kLanes>
MWACONVERT_INLINE void four(float* x, int64_t m, const float* twiddles) {
  const int64_t step = 2 * kLanes * m;
  for (int64_t p = 0; p < m; ++p, x += 2 * kLanes, twiddles += 6) {
    auto a = get<kLanes>(x), b = get<kLanes>(x + step), c = get<kLanes>(x + 2 * step),
         d = get<kLanes>(x + 3 * step);
    if constexpr (inverse) {
      b = times<true>(b, twiddles);
      c = times<true>(c, twiddles + 2);
      d = times<true>(d, twiddles + 4);
    }
    const auto even = a + c, odd = a - c, sum = b + d, turned = quarter<inverse>(b - d);
    a = even + sum;
    b = odd + turned;
    c = even - sum;
    d = odd - turned;
    if constexpr (!inverse) {
      b = times<false>(b, twiddles);
      c = times<false>(c, twiddles + 2);
      d = times<false>(d, twiddles + 4);
    }
    put(x, a);
    put(x + step, b);
    put(x + 2 * step, c);
    put(x + 3 * step, d);
  }
}
template <int kLanes>
MWACONVERT_INLINE void two(float* x) {
  const auto a = get<kLanes>(x), b = get<kLanes>(x + 2 * kLanes);
  put(x, a + b);
  put(x + 2 * kLanes, a - b);
}

// The place k of the result of a transform of n points that is left at each place.
std::vector<int64_t> order_of(int64_t n) {
  std::vector<int64_t> order{0};
  int64_t m = 1;
  if (std::countr_zero(static_cast<uint64_t>(n)) % 2 == 1) order = {0, 1}, m = 2;
  for (; m < n; m *= 4) {
    std::vector<int64_t> longer(4 * m);
    for (int64_t p = 0; p < 4 * m; ++p) longer[p] = p / m + 4 * order[p % m];
    order.swap(longer);
  }
  return order;
}

// exp(2 pi i turns) times a factor, in pairs. Polynomials: the functions of the library take most of the
// time.
MWACONVERT_CLONES
void phasors(const double* turns, int64_t n, double factor, float* out, int64_t stride_im, int64_t stride) {
  for (int64_t k = 0; k < n; ++k) {
    const double quarters = 4 * (turns[k] - std::rint(turns[k])), whole = std::rint(quarters);
    const double x = (quarters - whole) * (M_PI / 2), y = x * x;
    const double sine = x * (1 - y / 6 * (1 - y / 20 * (1 - y / 42 * (1 - y / 72 * (1 - y / 110)))));
    const double cosine = 1 - y / 2 * (1 - y / 12 * (1 - y / 30 * (1 - y / 56 * (1 - y / 90))));
    const double size = std::abs(whole);
    const double c = size == 1 ? 0.0 : 1 - size, s = size == 1 ? whole : 0.0;  // of the whole quarters
    out[k * stride] = static_cast<float>(factor * (c * cosine - s * sine));
    out[k * stride + stride_im] = static_cast<float>(factor * (s * cosine + c * sine));
  }
}

// One of the two steps.
struct Step {
  int64_t n;
  std::vector<int64_t> order;
  std::vector<float> twiddles;  // from the longest stage to the shortest
  explicit Step(int64_t length) : n(length), order(order_of(length)) {
    for (int64_t m = n / 4; m >= 1; m /= 4) {
      std::vector<double> turns;
      for (int64_t p = 0; p < m; ++p)
        for (int64_t k = 1; k <= 3; ++k)
          turns.push_back(-static_cast<double>(k * p) / static_cast<double>(4 * m));
      twiddles.resize(twiddles.size() + 6 * m);
      phasors(turns.data(), 3 * m, 1.0, &twiddles[twiddles.size() - 6 * m], 1, 2);
    }
  }

  // Stages whose blocks are longer than the first cache go first (or last), then all others block by block.
  template <int kLanes>
  MWACONVERT_INLINE void forward(float* x) const {
    const float* w = twiddles.data();
    int64_t length = n;
    for (; length > kInCache; w += 6 * (length / 4), length /= 4)
      for (int64_t at = 0; at < n; at += length) four<false, kLanes>(x + 2 * kLanes * at, length / 4, w);
    for (int64_t block = 0; block < n; block += length) {
      const float* v = w;
      int64_t l = length;
      for (; l >= 4; v += 6 * (l / 4), l /= 4)
        for (int64_t at = block; at < block + length; at += l)
          four<false, kLanes>(x + 2 * kLanes * at, l / 4, v);
      if (l == 2)
        for (int64_t at = block; at < block + length; at += 2) two<kLanes>(x + 2 * kLanes * at);
    }
  }
  template <int kLanes>
  MWACONVERT_INLINE void inverse(float* x) const {
    int64_t length = n;
    while (length > kInCache) length /= 4;
    const float* end = twiddles.data() + twiddles.size();
    const float* w = end;
    for (int64_t block = 0; block < n; block += length) {
      int64_t l = 4;
      w = end;
      if (std::countr_zero(static_cast<uint64_t>(n)) % 2 == 1) {
        for (int64_t at = block; at < block + length; at += 2) two<kLanes>(x + 2 * kLanes * at);
        l = 8;
      }
      for (; l <= length; l *= 4) {
        w -= 6 * (l / 4);
        for (int64_t at = block; at < block + length; at += l)
          four<true, kLanes>(x + 2 * kLanes * at, l / 4, w);
      }
    }
    for (length *= 4; length <= n; length *= 4) {
      w -= 6 * (length / 4);
      for (int64_t at = 0; at < n; at += length) four<true, kLanes>(x + 2 * kLanes * at, length / 4, w);
    }
  }
};

// As many rows as lanes. Each round interleaves row k with row k + half: after all, the bits of row and
// column have changed places.
template <int kLanes>
MWACONVERT_INLINE void transpose(const float* in, int64_t in_stride, float* out, int64_t out_stride) {
  using V = Vector<kLanes>;
  constexpr auto places = std::make_integer_sequence<int, kLanes>();
  V a[kLanes], b[kLanes];
  for (int k = 0; k < kLanes; ++k) a[k] = load_lanes<kLanes>(in + k * in_stride);
  for (int round = 1; round < kLanes; round *= 2) {
    for (int k = 0; k < kLanes / 2; ++k) {
      b[2 * k] = interleave(a[k], a[k + kLanes / 2], 0, places);
      b[2 * k + 1] = interleave(a[k], a[k + kLanes / 2], 1, places);
    }
    for (int k = 0; k < kLanes; ++k) a[k] = b[k];
  }
  for (int k = 0; k < kLanes; ++k) store_lanes<kLanes>(out + k * out_stride, a[k]);
}

// Circular convolutions of n_fft samples by one filter after the other.
class Convolution {
 public:
  Convolution(int64_t n, int lanes, int threads)
      : n_(n),
        lanes_(lanes),
        first_(int64_t{1} << std::countr_zero(static_cast<uint64_t>(n)) / 2),
        second_(n / first_.n),
        stride_(second_.n * 2 * lanes + 32 * lanes) {
    // w^(k j), k by place, of column j = 16 block + within: a product, the same for any number of lanes
    within_.resize(kTwist * first_.n * 2);
    blocks_.resize(n / kTwist * 2);
    std::vector<double> turns(first_.n);
    for (int64_t j = 0; j < kTwist; ++j) {
      for (int64_t p = 0; p < first_.n; ++p) turns[p] = twist(first_.order[p], j);
      phasors(turns.data(), first_.n, 1.0, &within_[j / lanes * first_.n * 2 * lanes + j % lanes], lanes,
              2 * lanes);
    }
    parallel_for(second_.n / kTwist, threads, [&](int64_t b) {
      std::vector<double> here(first_.n);
      for (int64_t p = 0; p < first_.n; ++p) here[p] = twist(first_.order[p], b * kTwist);
      phasors(here.data(), first_.n, 1.0, &blocks_[b * first_.n * 2], 1, 2);
    });
    filter_.resize(n * 2);
  }

  void set_filter(const Chirp& chirp, double f0, int threads) {
    const double step = chirp.sideband * chirp.rate_mhz / static_cast<double>(n_);
    const double scale = -chirp.sideband * chirp.k_dm * 1e6 / (f0 * f0);
    parallel_for(first_.n, threads, [&](int64_t p) {
      static thread_local std::vector<double> turns;
      turns.resize(second_.n);
      for (int64_t q = 0; q < second_.n; ++q) {
        const int64_t k = first_.order[p] + first_.n * second_.order[q];
        const double f = step * static_cast<double>(k < n_ / 2 ? k : k - n_);
        turns[q] = scale * f * f / (f0 + f);
      }
      float* to = &filter_[p / lanes_ * second_.n * 2 * lanes_ + p % lanes_];
      phasors(turns.data(), second_.n, 1 / static_cast<double>(n_), to, lanes_, 2 * lanes_);
    });
  }

  // out[0, n_out) = samples [before, before + n_out) of the convolution; of x there are n_in, then zeros
  template <int kLanes>
  MWACONVERT_INLINE void run(const float* x, int64_t n_in, int64_t before, float* out, int64_t n_out) const {
    static thread_local Scratch<float> between_memory, column_memory;
    const int64_t n1 = first_.n, n2 = second_.n;
    float* between = between_memory.get(n1 / kLanes * stride_);
    float* columns = column_memory.get(n1 * 2 * kLanes);
    constexpr auto places = std::make_integer_sequence<int, kLanes>();
    for (int64_t j = 0; j < n2; j += kLanes) {
      for (int64_t row = 0; row < n1; ++row) {
        const int64_t at = row * n2 + j;
        float* to = columns + row * 2 * kLanes;
        if (at + kLanes <= n_in) {
          const auto a = load_lanes<kLanes>(x + 2 * at), b = load_lanes<kLanes>(x + 2 * at + kLanes);
          put(to, Complex<kLanes>{every_second(a, b, 0, places), every_second(a, b, 1, places)});
        } else {
          for (int k = 0; k < kLanes; ++k)
            for (int part = 0; part < 2; ++part)
              to[part * kLanes + k] = at + k < n_in ? x[2 * (at + k) + part] : 0.0f;
        }
      }
      first_.forward<kLanes>(columns);
      twist_columns<false, kLanes>(columns, j);
      for (int64_t p = 0; p < n1; p += kLanes)
        for (int part = 0; part < 2; ++part)
          transpose<kLanes>(columns + p * 2 * kLanes + part * kLanes, 2 * kLanes,
                            between + p / kLanes * stride_ + j * 2 * kLanes + part * kLanes, 2 * kLanes);
    }
    for (int64_t b = 0; b < n1 / kLanes; ++b) {
      float* here = between + b * stride_;
      second_.forward<kLanes>(here);
      const float* filter = &filter_[b * n2 * 2 * kLanes];
      for (int64_t q = 0; q < n2 * 2 * kLanes; q += 2 * kLanes)
        put(here + q, times<false>(get<kLanes>(here + q), get<kLanes>(filter + q)));
      second_.inverse<kLanes>(here);
    }
    for (int64_t j = 0; j < n2; j += kLanes) {
      for (int64_t p = 0; p < n1; p += kLanes)
        for (int part = 0; part < 2; ++part)
          transpose<kLanes>(between + p / kLanes * stride_ + j * 2 * kLanes + part * kLanes, 2 * kLanes,
                            columns + p * 2 * kLanes + part * kLanes, 2 * kLanes);
      twist_columns<true, kLanes>(columns, j);
      first_.inverse<kLanes>(columns);
      for (int64_t row = 0; row < n1; ++row) {
        const int64_t at = row * n2 + j - before;
        const float* from = columns + row * 2 * kLanes;
        if (at >= 0 && at + kLanes <= n_out) {
          const auto z = get<kLanes>(from);
          store_lanes<kLanes>(out + 2 * at, interleave(z.re, z.im, 0, places));
          store_lanes<kLanes>(out + 2 * at + kLanes, interleave(z.re, z.im, 1, places));
        } else {
          for (int k = 0; k < kLanes; ++k)
            for (int part = 0; part < 2; ++part)
              if (at + k >= 0 && at + k < n_out) out[2 * (at + k) + part] = from[part * kLanes + k];
        }
      }
    }
  }

 private:
  double twist(int64_t k, int64_t j) const {
    return -static_cast<double>(k * j % n_) / static_cast<double>(n_);
  }
  template <bool conjugate, int kLanes>
  MWACONVERT_INLINE void twist_columns(float* columns, int64_t j) const {
    const float* block = &blocks_[j / kTwist * first_.n * 2];
    const float* within = &within_[j % kTwist * first_.n * 2];
    for (int64_t p = 0; p < first_.n; ++p) {
      float* z = columns + p * 2 * kLanes;
      const auto w = times<false>(get<kLanes>(within + p * 2 * kLanes), block + 2 * p);
      put(z, times<conjugate>(get<kLanes>(z), w));
    }
  }

  int64_t n_;
  int lanes_;
  Step first_, second_;
  int64_t stride_;  // of the blocks between the steps: not all in one cache set
  std::vector<float> within_, blocks_, filter_;
};

MWACONVERT_CLONES
void run_any(const Convolution& c, const float* x, int64_t n_in, int64_t before, float* out, int64_t n_out) {
  c.run<8>(x, n_in, before, out, n_out);
}
MWACONVERT_WIDE
void run_wide(const Convolution& c, const float* x, int64_t n_in, int64_t before, float* out, int64_t n_out) {
  c.run<16>(x, n_in, before, out, n_out);
}

}  // namespace

void dedisperse_coherent(View<const std::complex<float>, 3> data, View<const double, 1> freqs,
                         const Chirp& chirp, View<std::complex<float>, 3> out, int threads) {
  const int64_t n_samp = data.shape[2], n_out = out.shape[2], step = chirp.n_fft - chirp.before - chirp.after;
  if (chirp.n_fft < 1 << 12 || chirp.n_fft > 1 << 30 ||
      !std::has_single_bit(static_cast<uint64_t>(chirp.n_fft)))
    throw InputError("segments of " + std::to_string(chirp.n_fft) +
                     " samples: expected a power of two from 2^12 to 2^30");
  if (chirp.before < 0 || chirp.after < 0 || step < 1 || n_out < 1 ||
      n_out != n_samp - chirp.before - chirp.after)
    throw InputError("segments, data and result do not fit");
  const bool wide = wide_registers();
  Convolution convolution(chirp.n_fft, wide ? 16 : 8, threads);
  const int64_t n_segment = (n_out + step - 1) / step;
  std::atomic<bool> finite{true};
  for (int64_t c = 0; c < data.shape[1]; ++c) {
    convolution.set_filter(chirp, freqs(c), threads);
    parallel_for(data.shape[0] * n_segment, threads, [&](int64_t item) {
      const int64_t input = item / n_segment, begin = item % n_segment * step;
      const float* x = reinterpret_cast<const float*>(&data(input, c, begin));
      float* y = reinterpret_cast<float*>(&out(input, c, begin));
      (wide ? run_wide : run_any)(convolution, x, std::min(chirp.n_fft, n_samp - begin), chirp.before, y,
                                  std::min(step, n_out - begin));
      if (!std::isfinite(y[0] + y[1])) finite = false;  // a bad sample is in all samples of its transform
    });
  }
  if (!finite) throw InputError("voltages that are not finite");
}

}  // namespace mwaconvert
