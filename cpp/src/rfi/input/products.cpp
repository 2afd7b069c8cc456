// Amplitudes of some baselines from legacy files, which are ordered by channel: of each channel only the
// stretches that hold their products are read, where the file allows.
#include <algorithm>
#include <complex>
#include <vector>

#include "mwaconvert/base/parallel.hpp"
#include "mwaconvert/base/past_cache.hpp"
#include "mwaconvert/base/simd.hpp"
#include "mwaconvert/base/vector.hpp"
#include "mwaconvert/rfi/input.hpp"
#include "mwaconvert/visibilities/van_vleck.hpp"
#include "output.hpp"

namespace mwaconvert {
namespace {

// at a time: what is written to each image is then long enough for the memory
constexpr int64_t kGroupChannels = 64;
constexpr int64_t kWholeChannels = 16;  // of these at a time, where channels are read whole
constexpr int64_t kGapProducts = 128;   // a read takes as long as this many products more of a longer one
constexpr int64_t kVector = 8;          // products that are worked on together

// Consecutive products of a channel, all of them wanted but for small gaps.
struct Stretch {
  int64_t first, n;
  int64_t at;  // of the first among all that are read of the channel
};

// Where a product goes.
struct Target {
  int64_t at;  // among all that are read of a channel
  int64_t row;
  int32_t plane;
  int32_t input1, input2;  // 2 * antenna + polarisation
};

struct Selection {
  std::vector<Stretch> stretches;
  std::vector<Target> targets;  // `at` ascending
  int64_t length = 0;           // of all stretches

  Selection(const RfiInput& in, View<const int32_t, 2> product) {
    for (int64_t row = 0; row < product.shape[0]; ++row)
      for (int32_t p = 0; p < kProducts; ++p)
        targets.push_back(
            {product(row, p), row, p, 2 * in.antenna1(row) + p / 2, 2 * in.antenna2(row) + p % 2});
    std::sort(targets.begin(), targets.end(), [](const Target& a, const Target& b) { return a.at < b.at; });
    for (Target& target : targets) {
      const int64_t k = target.at;
      if (stretches.empty() || k - (stretches.back().first + stretches.back().n) > kGapProducts)
        stretches.push_back({k, 0, length});
      Stretch& last = stretches.back();
      last.n = k + 1 - last.first;
      length = last.at + last.n;
      target.at = last.at + k - last.first;
    }
  }
};

// Factors' sizes as the groups of channels need them: [group][input][kGroupChannels].
std::vector<float> sizes_by_group(const RfiInput& in) {
  const auto& s = in.factors;
  if (!s.data) return {};
  const int64_t n_coarse = in.chunks.shape[1];
  const int64_t n_groups = (in.n_fine + kGroupChannels - 1) / kGroupChannels;
  std::vector<float> sizes(n_coarse * n_groups * s.shape[0] * 2 * kGroupChannels);
  float* out = sizes.data();
  for (int64_t coarse = 0; coarse < n_coarse; ++coarse)
    for (int64_t begin = 0; begin < in.n_fine; begin += kGroupChannels)
      for (int64_t antenna = 0; antenna < s.shape[0]; ++antenna)
        for (int64_t pol = 0; pol < 2; ++pol, out += kGroupChannels)
          amplitudes_of(&s(antenna, pol, coarse * in.n_fine + begin),
                        std::min(kGroupChannels, in.n_fine - begin), out);
  return sizes;
}

// Whole vectors are read and written, up to seven products beyond the n.
MWACONVERT_CLONES
void amplitudes_of_products(const float* in, bool big_endian, int64_t n, float* out) {
  for (int64_t k = 0; k < n; k += 8) {
    f8 x = big_endian ? load_big_endian(in + 2 * k) : load(in + 2 * k);
    f8 y = big_endian ? load_big_endian(in + 2 * k + 8) : load(in + 2 * k + 8);
    x *= x;
    y *= y;
    store(out + k, __builtin_shufflevector(x, y, 0, 2, 4, 6, 8, 10, 12, 14) +
                       __builtin_shufflevector(x, y, 1, 3, 5, 7, 9, 11, 13, 15));
  }
  const int64_t whole = (n + 7) / 8 * 8;
  for (int64_t k = 0; k < whole; ++k) out[k] = __builtin_sqrtf(out[k]);
}

// Eight by eight.
MWACONVERT_INLINE void transpose8(const float* in, int64_t stride, float* out) {
  f8 a[8], b[8];
  for (int k = 0; k < 8; k += 2) {
    const f8 x = load(in + k * stride), y = load(in + (k + 1) * stride);
    a[k] = __builtin_shufflevector(x, y, 0, 8, 2, 10, 4, 12, 6, 14);
    a[k + 1] = __builtin_shufflevector(x, y, 1, 9, 3, 11, 5, 13, 7, 15);
  }
  for (int k = 0; k < 8; k += 4)
    for (int j = 0; j < 2; ++j) {
      b[k + j] = __builtin_shufflevector(a[k + j], a[k + j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
      b[k + j + 2] = __builtin_shufflevector(a[k + j], a[k + j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  for (int k = 0; k < 4; ++k) {
    store(out + k * kGroupChannels, __builtin_shufflevector(b[k], b[k + 4], 0, 1, 2, 3, 8, 9, 10, 11));
    store(out + (k + 4) * kGroupChannels,
          __builtin_shufflevector(b[k], b[k + 4], 4, 5, 6, 7, 12, 13, 14, 15));
  }
}

// a, b: sizes of the factors of the two inputs.
MWACONVERT_INLINE void scale(const float* line, const float* a, const float* b, int64_t n, float* out) {
  for (int64_t k = 0; k < n; ++k) out[k] = line[k] * (a[k] * b[k]);
}

// amplitude [n][stride]: of n channels, from `channel` on; sizes [input][kGroupChannels]
MWACONVERT_CLONES
void put_targets(const float* amplitude, int64_t stride, int64_t n, const std::vector<Target>& targets,
                 const float* sizes, int64_t t, int64_t channel, View<float, 4> out) {
  alignas(64) float lines[kVector * kGroupChannels], scaled[kGroupChannels];
  int64_t tile = -1;
  for (const Target& target : targets) {
    if (const int64_t here = target.at / kVector; here != tile) {
      tile = here;
      for (int64_t c = 0; c < n; c += 8)
        transpose8(amplitude + c * stride + tile * kVector, stride, lines + c);
    }
    const float* line = lines + target.at % kVector * kGroupChannels;
    if (sizes) {
      const float* a = sizes + target.input1 * kGroupChannels;
      const float* b = sizes + target.input2 * kGroupChannels;
      n == kGroupChannels ? scale(line, a, b, kGroupChannels, scaled) : scale(line, a, b, n, scaled);
      line = scaled;
    }
    copy_past_cache(line, n * sizeof(float), &out(target.row, target.plane, t, channel));
  }
}

// Reads amplitudes of groups of channels, [channel][stride].
class ChannelReader {
 public:
  ChannelReader(const Selection& selection, int64_t n_slot, double van_vleck_samples, int64_t stride)
      : selection_(selection), n_slot_(n_slot), van_vleck_samples_(van_vleck_samples), stride_(stride) {}

  void read(const Chunk& chunk, int64_t begin, int64_t n, float* amplitude) const {
    if (chunk.kind != kRice && van_vleck_samples_ == 0) return read_stretches(chunk, begin, n, amplitude);
    for (int64_t k = 0; k < n; k += kWholeChannels)
      read_whole(chunk, begin + k, std::min(kWholeChannels, n - k), amplitude + k * stride_);
  }

 private:
  void read_stretches(const Chunk& chunk, int64_t begin, int64_t n, float* amplitude) const {
    static thread_local std::vector<float> input;
    input.resize(2 * (selection_.length + kVector));
    for (int64_t k = 0; k < n; ++k) {
      for (const Stretch& s : selection_.stretches)
        read_values(chunk, 2 * ((begin + k) * products_of(n_slot_) + s.first), 2 * s.n,
                    input.data() + 2 * s.at);
      amplitudes_of_products(input.data(), reads_big_endian(chunk), selection_.length,
                             amplitude + k * stride_);
    }
  }

  void read_whole(const Chunk& chunk, int64_t begin, int64_t n, float* amplitude) const {
    static thread_local std::vector<float> input;
    const int64_t row_length = 2 * products_of(n_slot_);
    input.resize(n * row_length + 2 * kVector);
    read_rows(chunk, begin, n, row_length, input.data());
    for (int64_t k = 0; k < n; ++k) {
      float* products = input.data() + k * row_length;
      if (van_vleck_samples_ > 0)
        van_vleck_channel(products, reads_big_endian(chunk), n_slot_ / 2, van_vleck_samples_);
      const bool big_endian = van_vleck_samples_ == 0 && reads_big_endian(chunk);
      for (const Stretch& s : selection_.stretches)
        amplitudes_of_products(products + 2 * s.first, big_endian, s.n, amplitude + k * stride_ + s.at);
    }
  }

  const Selection& selection_;
  const int64_t n_slot_;
  const double van_vleck_samples_;
  const int64_t stride_;
};

}  // namespace

void read_legacy_amplitudes(const RfiInput& in, int64_t n_slot, View<const int32_t, 2> product,
                            double van_vleck_samples, View<float, 4> out, int threads) {
  const Selection selection(in, product);
  // rows of an odd number of cache lines do not get in each other's way
  const int64_t stride = (selection.length + kVector) | 16;
  const ChannelReader reader(selection, n_slot, van_vleck_samples, stride);
  const int64_t n_coarse = in.chunks.shape[1];
  const int64_t n_groups = (in.n_fine + kGroupChannels - 1) / kGroupChannels;
  const std::vector<float> sizes = sizes_by_group(in);
  const int64_t group_size = 2 * in.factors.shape[0] * kGroupChannels;
  parallel_for(in.chunks.size() * n_groups, threads, [&](int64_t item) {
    static thread_local std::vector<float> amplitude;
    const int64_t t = item / n_groups / n_coarse, group = item % (n_groups * n_coarse);
    const int64_t coarse = group / n_groups, begin = group % n_groups * kGroupChannels;
    const int64_t channel = coarse * in.n_fine + begin, n = std::min(kGroupChannels, in.n_fine - begin);
    const Chunk& chunk = in.chunks(t, coarse);
    if (chunk.state == kMissing) return clear(out, t, channel, n);
    amplitude.resize(kGroupChannels * stride);
    reader.read(chunk, begin, n, amplitude.data());
    put_targets(amplitude.data(), stride, n, selection.targets,
                sizes.empty() ? nullptr : sizes.data() + group * group_size, t, channel, out);
  });
}

}  // namespace mwaconvert
