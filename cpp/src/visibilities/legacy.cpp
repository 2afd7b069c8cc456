#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "finish.hpp"
#include "mwaconvert/base/error.hpp"
#include "mwaconvert/base/parallel.hpp"
#include "mwaconvert/base/scratch.hpp"
#include "mwaconvert/base/simd.hpp"
#include "mwaconvert/visibilities/van_vleck.hpp"

namespace mwaconvert {
namespace {

// At least so many input channels at a time: each row of output is far from the next, so it is visited seldom
// and for several cache lines; and so few that the sums of 128 tiles stay in a second-level cache of 2 MB.
constexpr int64_t kGroupChannels = 8;

// Phasors of one channel, laid out for the inner loop: conj(g) of the second input (x, y, x, y) and i
// conj(g).
struct SlotPhasors {
  f8 conj_g, i_conj_g;
};

template <bool kBigEndian, bool kRotate, bool kFirst>
MWACONVERT_INLINE void accumulate_products(const float* in, const std::complex<float>* g,
                                           const SlotPhasors* second, int64_t n_slot_antenna, float* sum) {
  for (int64_t a = 0; a < n_slot_antenna; ++a) {
    f8 re = {}, im = {};
    if (kRotate) {
      const f8 first = first_antenna(g + 2 * a);
      re = real_parts(first);
      im = imag_parts(first);
    }
    for (int64_t b = 0; b <= a; ++b, in += 8, sum += 8) {
      f8 v = kBigEndian ? load_big_endian(in) : load(in);
      if (kRotate) v = multiply(re * second[b].conj_g + im * second[b].i_conj_g, v);
      store(sum, kFirst ? v : load(sum) + v);
    }
  }
}

// sum += g_s conj(g_u) V(s,u) over the products of one channel, in file order. g null: no rotation.
MWACONVERT_CLONES
void accumulate(const float* in, bool big_endian, const std::complex<float>* g, int64_t n_slot_antenna,
                bool first, SlotPhasors* second, float* sum) {
  if (g) {
    for (int64_t b = 0; b < n_slot_antenna; ++b) {
      second[b].conj_g = conjugate(second_antenna(g + 2 * b));
      second[b].i_conj_g = times_i(second[b].conj_g);
    }
    if (big_endian)
      first ? accumulate_products<true, true, true>(in, g, second, n_slot_antenna, sum)
            : accumulate_products<true, true, false>(in, g, second, n_slot_antenna, sum);
    else
      first ? accumulate_products<false, true, true>(in, g, second, n_slot_antenna, sum)
            : accumulate_products<false, true, false>(in, g, second, n_slot_antenna, sum);
  } else if (big_endian) {
    first ? accumulate_products<true, false, true>(in, g, second, n_slot_antenna, sum)
          : accumulate_products<true, false, false>(in, g, second, n_slot_antenna, sum);
  } else {
    first ? accumulate_products<false, false, true>(in, g, second, n_slot_antenna, sum)
          : accumulate_products<false, false, false>(in, g, second, n_slot_antenna, sum);
  }
}

// The four products of a row out of one channel in file order.
struct Gather {
  int64_t row;
  int32_t index[4];
  float sign[8];  // -1 where an imaginary part is to be turned

  MWACONVERT_INLINE f8 operator()(const float* channel) const {
    return gather(reinterpret_cast<const std::complex<float>*>(channel), index) * load(sign);
  }
};

// What the mask takes from rows, in channels [begin, begin + n) of a coarse channel.
class MaskedCells {
 public:
  // n_times: timesteps in use
  void reset(int64_t n_rows, int64_t begin, int64_t n, int64_t n_times) {
    begin_ = begin;
    n_ = n;
    n_times_ = n_times;
    masked_.assign(n_rows, 0);
    count_ = count_memory_.get(n_rows * n);
    flagged_ = separate() ? flagged_memory_.get(n_rows * n * 8) : nullptr;
  }
  // Whether flagged cells are to be taken out of the sums: a single timestep keeps them there.
  bool separate() const { return n_times_ > 1; }
  bool masked(int64_t k) const { return masked_[k]; }

  // Counts a flagged cell.
  void count(int64_t k, int64_t channel) {
    if (!masked_[k]) std::fill_n(count_ + k * n_, n_, 0);
    masked_[k] = 1;
    ++count_[k * n_ + channel - begin_];
  }
  // Adds one that was just counted.
  void add(int64_t k, int64_t channel, f8 v) {
    const int64_t cell = k * n_ + channel - begin_;
    store(flagged_ + 8 * cell, count_[cell] == 1 ? v : load(flagged_ + 8 * cell) + v);
  }

  struct Row {
    static constexpr bool kMasked = true;
    const uint32_t* count;
    const float* flagged;
    float n_times;

    MWACONVERT_INLINE bool any(int64_t begin, int64_t end) const {
      uint32_t all = 0;
      for (int64_t f = begin; f < end; ++f) all |= count[f];
      return all != 0;
    }
    MWACONVERT_INLINE void split(int64_t f, f8& v, f8& flagged_v) const {
      if (count[f] == 0) return;
      flagged_v = flagged ? load(flagged + 8 * f) : v;
      if (!flagged) v = f8{};
    }
    MWACONVERT_INLINE void weights(int64_t f, f4& in_sum, f4& total) const {
      in_sum = total = f4{} + (n_times - static_cast<float>(count[f]));
    }
  };
  Row row(int64_t k) const {
    return {count_ + k * n_ - begin_, flagged_ ? flagged_ + 8 * (k * n_ - begin_) : nullptr,
            static_cast<float>(n_times_)};
  }

 private:
  int64_t begin_ = 0, n_ = 0, n_times_ = 0;
  std::vector<uint8_t> masked_;  // rows that lose cells
  Scratch<uint32_t> count_memory_;
  Scratch<float> flagged_memory_;
  uint32_t* count_ = nullptr;
  float* flagged_ = nullptr;
};

// Gathers and finishes all rows of output channels [out_begin, out_end); marks rows that want care. masked
// null: no mask.
MWACONVERT_CLONES
bool finish_rows(const Finisher& finisher, const std::vector<Gather>& gathers, int64_t coarse,
                 int64_t out_begin, int64_t out_end, int64_t first_channel, int64_t n_product,
                 const TimeWeights& time, bool flagged, const float* sums, const MaskedCells* masked,
                 std::vector<const Gather*>& careful) {
  for (size_t k = 0; k < gathers.size(); ++k) {
    const Gather& gather = gathers[k];
    if (k + 1 < gathers.size()) finisher.prefetch(gathers[k + 1].row, coarse, out_begin, out_end);
    const auto cell = [&](int64_t f) __attribute__((always_inline)) {
      return gather(sums + 2 * n_product * (f - first_channel));
    };
    const bool finite = masked && masked->masked(k)
                            ? finisher.finish(gather.row, coarse, out_begin, out_end, time, flagged, cell,
                                              masked->row(static_cast<int64_t>(k)))
                            : finisher.finish(gather.row, coarse, out_begin, out_end, time, flagged, cell);
    if (!finite) careful.push_back(&gather);
  }
  return careful.empty();
}

class LegacyConverter {
 public:
  LegacyConverter(const BlockInput& in, View<const std::complex<float>, 4> phasors, int64_t n_slot,
                  View<const int32_t, 2> product, View<const uint8_t, 2> conjugated, double van_vleck_samples,
                  const BlockOutput& out)
      : in_(in),
        phasors_(phasors),
        n_slot_antenna_(n_slot / 2),
        van_vleck_samples_(van_vleck_samples),
        n_product_(n_slot_antenna_ * (n_slot_antenna_ + 1) * 2),
        finisher_(in, out) {
    for (int64_t row : rows_in_file_order(product)) {
      Gather& gather = gathers_.emplace_back();
      gather.row = row;
      for (int p = 0; p < 4; ++p) {
        gather.index[p] = product(row, p);
        gather.sign[2 * p] = 1;
        gather.sign[2 * p + 1] = conjugated(row, p) ? -1.0f : 1.0f;
      }
    }
    if (in.mask.data) prepare_mask();
    // whole averaging blocks, at least kGroupChannels input channels
    outputs_in_group_ = std::max<int64_t>(1, kGroupChannels / in.freq_factor);
  }

  void run(int threads) const {
    const int64_t n_out = finisher_.plan().n_out;
    const int64_t n_groups = (n_out + outputs_in_group_ - 1) / outputs_in_group_;
    parallel_for(in_.chunks.shape[1] * n_groups, threads, [&](int64_t item) {
      const int64_t begin = item % n_groups * outputs_in_group_;
      convert(item / n_groups, begin, std::min(begin + outputs_in_group_, n_out));
    });
  }

 private:
  void convert(int64_t coarse, int64_t out_begin, int64_t out_end) const {
    static thread_local Scratch<float> input_memory, sum_memory;
    static thread_local Scratch<SlotPhasors> second_memory;
    static thread_local MaskedCells masked;
    static thread_local std::vector<std::vector<int32_t>> flagged_rows;  // of each channel
    const auto& channels = finisher_.plan().channels;
    const int64_t begin = channels[coarse * finisher_.plan().n_out + out_begin].begin;
    const int64_t n = channels[coarse * finisher_.plan().n_out + out_end - 1].end - begin;
    const int64_t row_length = 2 * n_product_;
    const TimePlan times(in_, coarse);
    float* sums = sum_memory.get(n * row_length);
    SlotPhasors* second = second_memory.get(n_slot_antenna_);
    if (times.used.empty()) std::fill(sums, sums + n * row_length, 0.0f);
    const int64_t n_used = static_cast<int64_t>(times.used.size());
    if (in_.mask.data) {
      masked.reset(static_cast<int64_t>(gathers_.size()), begin, n, n_used);
      flagged_rows.resize(std::max<size_t>(flagged_rows.size(), n));
    }
    for (int64_t t : times.used) {
      if (in_.mask.data) find_flagged(t, coarse, begin, n, times.flagged, flagged_rows, masked);
      const Chunk& chunk = in_.chunks(t, coarse);
      // compressed rows are fetched together, plain ones one at a time while they are in the cache
      const int64_t n_rows = chunk.kind == kRice ? n : 1;
      const bool first = t == times.used.front();  // becomes the sum in place
      for (int64_t k = 0; k < n; ++k) {
        float* sum = sums + k * row_length;
        float* input = first ? sum : input_memory.get(n_rows * row_length) + k % n_rows * row_length;
        if (k % n_rows == 0) read_rows(chunk, begin + k, n_rows, row_length, input);
        const bool big_endian = corrected(chunk, input);
        const std::complex<float>* g = phasors_.data ? &phasors_(t, coarse, begin + k, 0) : nullptr;
        if (in_.mask.data && masked.separate())
          take_flagged(input, big_endian, g, flagged_rows[k], begin + k, masked);
        accumulate(input, big_endian, g, n_slot_antenna_, first, second, sum);
      }
    }
    const float count = static_cast<float>(std::max<size_t>(1, times.used.size()));
    const TimeWeights time{{count, count, count, count}, {count, count, count, count}};
    std::vector<const Gather*> careful;
    if (!finish_rows(finisher_, gathers_, coarse, out_begin, out_end, begin, n_product_, time, times.flagged,
                     sums, in_.mask.data ? &masked : nullptr, careful))
      convert_carefully(coarse, out_begin, out_end, begin, n, times, time, careful);
  }

  // Rows that share cache lines of a channel follow each other: a line holds products of eight rows.
  std::vector<int64_t> rows_in_file_order(View<const int32_t, 2> product) const {
    std::vector<std::array<int64_t, 3>> keys;  // blocks of slots, eight by eight, and the row
    for (int64_t row = 0; row < product.shape[0]; ++row) {
      for (int p = 0; p < 4; ++p)
        if (product(row, p) < 0 || product(row, p) >= n_product_)
          throw InputError("product index " + std::to_string(product(row, p)) + " is outside the " +
                           std::to_string(n_product_) + " products of the file");
      const auto [s, u] = slots_of(product(row, 0));
      keys.push_back({s / 8, u / 8, row});
    }
    std::sort(keys.begin(), keys.end());
    std::vector<int64_t> rows;
    rows.reserve(keys.size());
    for (const auto& key : keys) rows.push_back(key[2]);
    return rows;
  }

  // Cells of one row are taken out of the products without a look at the other rows.
  void prepare_mask() {
    std::vector<int64_t> row_of(n_product_, -1);
    for (const Gather& gather : gathers_) {
      std::array<std::pair<int64_t, int64_t>, 4>& slots = slots_.emplace_back();
      for (int p = 0; p < 4; ++p) {
        slots[p] = slots_of(gather.index[p]);
        int64_t& row = row_of[gather.index[p]];
        if (row >= 0 && row != gather.row)
          throw InputError("with a mask, no two rows may use the same product: " + std::to_string(row) +
                           " and " + std::to_string(gather.row) + " do");
        row = gather.row;
      }
    }
  }

  // Lists the gathers of the rows that the mask flags in each of the channels, and counts their cells.
  void find_flagged(int64_t t, int64_t coarse, int64_t begin, int64_t n, bool time_flagged,
                    std::vector<std::vector<int32_t>>& rows, MaskedCells& masked) const {
    for (int64_t k = 0; k < n; ++k) rows[k].clear();
    for (size_t k = 0; k < gathers_.size(); ++k) {
      if (!finisher_.heeds_mask(gathers_[k].row, time_flagged)) continue;
      for_each_masked(&in_.mask(t, coarse, gathers_[k].row, 0), begin, begin + n, [&](int64_t channel) {
        rows[channel - begin].push_back(static_cast<int32_t>(k));
        masked.count(static_cast<int64_t>(k), channel);
      });
    }
  }

  // Takes flagged cells out of the input of one channel.
  void take_flagged(float* input, bool big_endian, const std::complex<float>* g,
                    const std::vector<int32_t>& rows, int64_t channel, MaskedCells& masked) const {
    for (int32_t k : rows) {
      const Gather& gather = gathers_[k];
      float cell[8];
      for (int p = 0; p < 4; ++p) std::copy_n(input + 2 * gather.index[p], 2, cell + 2 * p);
      f8 v = big_endian ? load_big_endian(cell) : load(cell);
      if (g) {
        std::complex<float> rotation[4];
        for (int p = 0; p < 4; ++p) {
          const auto [s, u] = slots_[k][p];
          rotation[p] = {g[s].real() * g[u].real() + g[s].imag() * g[u].imag(),
                         g[s].imag() * g[u].real() - g[s].real() * g[u].imag()};
        }
        v = multiply(load(rotation), v);
      }
      masked.add(k, channel, v * load(gather.sign));
      for (const auto index : gather.index) std::fill_n(input + 2 * index, 2, 0.0f);
    }
  }

  // Takes the quantiser out of a channel that was read; returns whether its words are still in file order.
  bool corrected(const Chunk& chunk, float* channel) const {
    const bool big_endian = reads_big_endian(chunk);
    if (van_vleck_samples_ <= 0) return big_endian;
    van_vleck_channel(channel, big_endian, n_slot_antenna_, van_vleck_samples_);
    return false;
  }

  void convert_carefully(int64_t coarse, int64_t out_begin, int64_t out_end, int64_t begin, int64_t n,
                         const TimePlan& times, const TimeWeights& time,
                         const std::vector<const Gather*>& rows) const {
    std::vector<CarefulSums> sums(rows.size(), CarefulSums(n));
    std::vector<float> input(2 * n_product_);
    const float one[4] = {1, 1, 1, 1};
    for (int64_t t : times.used) {
      const Chunk& chunk = in_.chunks(t, coarse);
      for (int64_t k = 0; k < n; ++k) {
        read_rows(chunk, begin + k, 1, 2 * n_product_, input.data());
        if (corrected(chunk, input.data()))
          for (int64_t q = 0; q < 2 * n_product_; q += 8) store(&input[q], load_big_endian(&input[q]));
        for (size_t r = 0; r < rows.size(); ++r) {
          const f8 raw = (*rows[r])(input.data());
          std::array<std::complex<double>, 4> cell;
          for (int p = 0; p < 4; ++p)
            cell[p] = rotation(*rows[r], p, t, coarse, begin + k) *
                      std::complex<double>(raw[2 * p], raw[2 * p + 1]);
          const bool masked = finisher_.heeds_mask(rows[r]->row, times.flagged) &&
                              mask_bit(&in_.mask(t, coarse, rows[r]->row, 0), begin + k);
          sums[r].add(k, cell, one, masked);
        }
      }
    }
    for (size_t r = 0; r < rows.size(); ++r)
      finisher_.finish_carefully(rows[r]->row, coarse, out_begin, out_end, time, times.flagged, begin,
                                 sums[r]);
  }

  std::complex<double> rotation(const Gather& gather, int p, int64_t t, int64_t coarse,
                                int64_t channel) const {
    if (!phasors_.data) return 1;
    const auto [s, u] = slots_of(gather.index[p]);
    const std::complex<double> z = std::complex<double>(phasors_(t, coarse, channel, s)) *
                                   std::conj(std::complex<double>(phasors_(t, coarse, channel, u)));
    return gather.sign[2 * p + 1] < 0 ? std::conj(z) : z;
  }

  // Slots (s, u) of product number k = 2 A (A + 1) + 4 B + 2 P + Q, s = 2 A + P, u = 2 B + Q.
  static std::pair<int64_t, int64_t> slots_of(int64_t k) {
    int64_t a = static_cast<int64_t>((std::sqrt(2.0 * static_cast<double>(k) + 1) - 1) / 2);
    while (2 * (a + 1) * (a + 2) <= k) ++a;
    while (2 * a * (a + 1) > k) --a;
    const int64_t rest = k - 2 * a * (a + 1);
    return {2 * a + rest % 4 / 2, 2 * (rest / 4) + rest % 2};
  }

  const BlockInput& in_;
  const View<const std::complex<float>, 4> phasors_;
  const int64_t n_slot_antenna_;
  const double van_vleck_samples_;
  const int64_t n_product_;  // complex numbers of one channel
  const Finisher finisher_;
  std::vector<Gather> gathers_;
  std::vector<std::array<std::pair<int64_t, int64_t>, 4>> slots_;  // of the products, where there is a mask
  int64_t outputs_in_group_;
};

}  // namespace

void convert_legacy(const BlockInput& in, View<const std::complex<float>, 4> phasors, int64_t n_slot,
                    View<const int32_t, 2> product, View<const uint8_t, 2> conjugated,
                    double van_vleck_samples, const BlockOutput& out, int threads) {
  LegacyConverter(in, phasors, n_slot, product, conjugated, van_vleck_samples, out).run(threads);
}

}  // namespace mwaconvert
