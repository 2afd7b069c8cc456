#include <algorithm>
#include <complex>
#include <numeric>
#include <string>
#include <vector>

#include "mwaconvert/base/error.hpp"
#include "mwaconvert/base/parallel.hpp"
#include "mwaconvert/base/simd.hpp"
#include "mwaconvert/base/vector.hpp"
#include "mwaconvert/rfi/input.hpp"
#include "mwaconvert/visibilities/van_vleck.hpp"
#include "output.hpp"

namespace mwaconvert {
namespace {

constexpr int64_t kGroupChannels = 32;  // at a time

// Big-endian floats to native ones in place; n is a multiple of 8.
MWACONVERT_CLONES
void swap(float* v, int64_t n) {
  for (int64_t k = 0; k < n; k += 8) store(v + k, load_big_endian(v + k));
}

// Real and imaginary parts.
void read_parts(const RfiInput& in, int64_t n_slot, View<const int32_t, 2> product,
                View<const uint8_t, 2> conjugated, double van_vleck_samples, View<float, 4> out,
                int threads) {
  const Output output(in, out);
  const int64_t n_product = products_of(n_slot);
  const int64_t n_rows = product.shape[0], n_coarse = in.chunks.shape[1];
  // rows that share cache lines of the input follow each other
  std::vector<int64_t> order(n_rows);
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return product(a, 0) < product(b, 0); });
  const int64_t n_groups = (in.n_fine + kGroupChannels - 1) / kGroupChannels;
  parallel_for(in.chunks.size() * n_groups, threads, [&](int64_t item) {
    static thread_local std::vector<float> input;
    static thread_local Planes planes;
    const int64_t t = item / n_groups / n_coarse, coarse = item / n_groups % n_coarse;
    const int64_t begin = item % n_groups * kGroupChannels, n = std::min(kGroupChannels, in.n_fine - begin);
    const Chunk& chunk = in.chunks(t, coarse);
    const int64_t channel = coarse * in.n_fine + begin;
    if (chunk.state == kMissing) return output.clear(t, channel, n);
    planes.reset(kGroupChannels);
    input.resize(n * 2 * n_product);
    read_rows(chunk, begin, n, 2 * n_product, input.data());
    for (int64_t k = 0; k < n; ++k) {
      float* products = input.data() + k * 2 * n_product;
      if (van_vleck_samples > 0)
        van_vleck_channel(products, reads_big_endian(chunk), n_slot / 2, van_vleck_samples);
      else if (reads_big_endian(chunk))
        swap(products, 2 * n_product);
    }
    const std::complex<float>* cells = reinterpret_cast<const std::complex<float>*>(input.data());
    for (int64_t row : order) {
      for (int p = 0; p < kProducts; ++p) {
        const std::complex<float>* v = cells + product(row, p);
        const float sign = conjugated(row, p) ? -1.0f : 1.0f;
        float *re = planes.plane[2 * p], *im = planes.plane[2 * p + 1];
        for (int64_t k = 0; k < n; ++k) {
          re[k] = v[k * n_product].real();
          im[k] = sign * v[k * n_product].imag();
        }
      }
      output.write(row, t, channel, n, planes.plane.data());
    }
  });
}

}  // namespace

void rfi_read_legacy(const RfiInput& in, int64_t n_slot, View<const int32_t, 2> product,
                     View<const uint8_t, 2> conjugated, double van_vleck_samples, View<float, 4> out,
                     int threads) {
  for (int64_t k = 0; k < product.size(); ++k)
    if (product.data[k] < 0 || product.data[k] >= products_of(n_slot))
      throw InputError("product index " + std::to_string(product.data[k]) + " is outside the " +
                       std::to_string(products_of(n_slot)) + " products of the file");
  if (out.shape[1] == kProducts)
    read_legacy_amplitudes(in, n_slot, product, van_vleck_samples, out, threads);
  else
    read_parts(in, n_slot, product, conjugated, van_vleck_samples, out, threads);
}

}  // namespace mwaconvert
