#include "arrays.hpp"
#include "check_chunk.hpp"
#include "mwaconvert/rfi/flag.hpp"
#include "mwaconvert/rfi/input.hpp"
#include "register.hpp"

namespace mwaconvert {
namespace {

using Complex = std::complex<float>;

void check(const RfiParameters& p) {
  const auto need = [](bool ok, const char* text) {
    if (!ok) throw InputError(std::string("RFI strategy: ") + text);
  };
  need(p.iterations >= 1, "iterations must be at least 1");
  need(p.longest_window >= 1 && p.longest_window <= 32768, "longest_window must be 1 to 32768");
  need(p.block_time >= 1 && p.block_freq >= 1, "blocks must hold at least one cell");
  need(p.window_time >= 1 && p.window_freq >= 1, "smoothing windows must hold at least one block");
  need(p.variance_time > 0 && p.variance_freq > 0, "variances must be positive");
  need(p.subbands >= 1, "subbands must be at least 1");
}

View<const uint8_t, 2> cells(const Array<uint8_t>& array, const char* name, int64_t n_time, int64_t n_chan) {
  return view<uint8_t, 2>(array, name, {n_time, n_chan});
}

// The arguments common to the two correlators, checked against each other.
struct Arguments {
  RfiInput in;
  View<float, 4> out;

  Arguments(const Array<Chunk>& chunks, int64_t n_fine, const Array<int32_t>& antenna1,
            const Array<int32_t>& antenna2, const std::optional<Array<Complex>>& factors,
            Strided<float>& planes) {
    if (n_fine < 1) throw InputError("n_fine must be at least 1");
    in.chunks = view<Chunk, 2>(chunks, "chunks", {-1, -1});
    for (int64_t k = 0; k < in.chunks.size(); ++k) check_chunk(in.chunks.data[k]);
    in.n_fine = n_fine;
    const int64_t n_channel = in.chunks.shape[1] * n_fine;
    in.antenna1 = view<int32_t, 1>(antenna1, "antenna1", {-1});
    const int64_t n_rows = in.antenna1.shape[0];
    in.antenna2 = view<int32_t, 1>(antenna2, "antenna2", {n_rows});
    if (factors) {
      in.factors = view<Complex, 3>(*factors, "factors", {-1, 2, n_channel});
      for (int64_t r = 0; r < n_rows; ++r)
        for (int32_t antenna : {in.antenna1(r), in.antenna2(r)})
          if (antenna < 0 || antenna >= in.factors.shape[0])
            throw InputError("row " + std::to_string(r) +
                             " names an antenna that array 'factors' does not hold");
    }
    out = mutable_view<float, 4>(planes, "out", {n_rows, -1, in.chunks.shape[0], n_channel});
    if (out.shape[1] != 4 && out.shape[1] != 8) throw InputError("array 'out' must hold 4 or 8 planes");
    if (out.stride[3] != 1 && n_channel > 1 && out.size() > 0)
      throw InputError("array 'out': channels must be contiguous");
  }
};

}  // namespace

void register_rfi(py::module_& m) {
  py::class_<RfiParameters> parameters(m, "RfiParameters", "The numbers of an RFI strategy.");
  parameters.def(py::init<>());
#define FIELD(name) parameters.def_readwrite(#name, &RfiParameters::name)
  FIELD(iterations);
  FIELD(threshold);
  FIELD(threshold_step);
  FIELD(transient_factor);
  FIELD(first_threshold);
  FIELD(threshold_ratio);
  FIELD(longest_window);
  FIELD(timestep_rms);
  FIELD(channel_rms);
  FIELD(block_time);
  FIELD(block_freq);
  FIELD(window_time);
  FIELD(window_freq);
  FIELD(variance_time);
  FIELD(variance_freq);
  FIELD(subbands);
  FIELD(rank_time);
  FIELD(rank_freq);
  FIELD(rank_missing);
  FIELD(last_timestep_rms);
#undef FIELD

  m.def(
      "rfi_flag",
      [](const Strided<float>& amplitude, const Array<uint8_t>& missing, const RfiParameters& p,
         Array<uint8_t>& out, int threads) {
        check(p);
        const auto v = view<float, 4>(amplitude, "amplitude", {-1, 4, -1, -1});
        const auto [n_baselines, four, n_time, n_chan] = v.shape;
        if (v.stride[3] != 1 && n_chan > 1 && v.size() > 0)
          throw InputError("array 'amplitude': channels must be contiguous");
        const auto mask = view<uint8_t, 3>(missing, "missing", {-1, n_time, n_chan});
        if (mask.shape[0] != 1 && mask.shape[0] != n_baselines)
          throw InputError("array 'missing' must hold one mask, or one for each baseline");
        const auto o = mutable_view<uint8_t, 3>(out, "out", {n_baselines, n_time, n_chan});
        if (v.size() == 0) return;
        py::gil_scoped_release release;
        rfi_flag(v, mask, p, o, threads);
      },
      "amplitude"_a.noconvert(), "missing"_a.noconvert(), "parameters"_a, "out"_a.noconvert(),
      "threads"_a = 0,
      R"(Detect RFI in baselines.

amplitude (n_baselines, 4, n_time, n_chan) float32, missing (1 or n_baselines, n_time, n_chan) and out
(n_baselines, n_time, n_chan) uint8: 1 found, 2 missing.)");

  m.def(
      "rfi_amplitudes",
      [](const Array<Complex>& vis, Array<float>& out, int threads) {
        const auto v = view<Complex, 4>(vis, "vis", {-1, -1, -1, 4});
        const auto o = mutable_view<float, 4>(out, "out", {v.shape[0], 4, v.shape[1], v.shape[2]});
        if (v.size() == 0) return;
        py::gil_scoped_release release;
        rfi_amplitudes(v, o, threads);
      },
      "vis"_a.noconvert(), "out"_a.noconvert(), "threads"_a = 0,
      "Amplitudes (n_baselines, 4, n_time, n_chan) of visibilities (n_baselines, n_time, n_chan, 4).");

  m.def(
      "rfi_read_mwax",
      [](const Array<Chunk>& chunks, int64_t n_fine, const Array<int32_t>& antenna1,
         const Array<int32_t>& antenna2, const std::optional<Array<Complex>>& factors,
         const Array<int64_t>& file_row, Strided<float>& out, int threads) {
        const Arguments a(chunks, n_fine, antenna1, antenna2, factors, out);
        const auto rows = view<int64_t, 1>(file_row, "file_row", {a.in.antenna1.shape[0]});
        for (int64_t r = 0; r < rows.shape[0]; ++r)
          if (rows(r) < 0 || (r > 0 && rows(r) <= rows(r - 1)))
            throw InputError("file_row must ascend from 0");
        if (a.out.size() == 0) return;
        py::gil_scoped_release release;
        rfi_read_mwax(a.in, rows, a.out, threads);
      },
      py::kw_only(), "chunks"_a.noconvert(), "n_fine"_a, "antenna1"_a.noconvert(), "antenna2"_a.noconvert(),
      "factors"_a.noconvert(), "file_row"_a.noconvert(), "out"_a.noconvert(), "threads"_a = 0,
      "Read images of baselines from MWAX files.");

  m.def(
      "rfi_read_legacy",
      [](const Array<Chunk>& chunks, int64_t n_fine, const Array<int32_t>& antenna1,
         const Array<int32_t>& antenna2, const std::optional<Array<Complex>>& factors, int64_t n_slot,
         const Array<int32_t>& product, const Array<uint8_t>& conjugated, double van_vleck_samples,
         Strided<float>& out, int threads) {
        const Arguments a(chunks, n_fine, antenna1, antenna2, factors, out);
        if (n_slot < 2 || n_slot % 2 != 0) throw InputError("n_slot must be even and at least 2");
        const int64_t n_rows = a.in.antenna1.shape[0];
        const auto index = view<int32_t, 2>(product, "product", {n_rows, 4});
        const auto conj = view<uint8_t, 2>(conjugated, "conjugated", {n_rows, 4});
        if (a.out.size() == 0) return;
        py::gil_scoped_release release;
        rfi_read_legacy(a.in, n_slot, index, conj, van_vleck_samples, a.out, threads);
      },
      py::kw_only(), "chunks"_a.noconvert(), "n_fine"_a, "antenna1"_a.noconvert(), "antenna2"_a.noconvert(),
      "factors"_a.noconvert(), "n_slot"_a, "product"_a.noconvert(), "conjugated"_a.noconvert(),
      "van_vleck_samples"_a, "out"_a.noconvert(), "threads"_a = 0,
      "Read images of baselines from legacy files.");

  m.def(
      "rfi_set_bits",
      [](const Array<uint8_t>& found, const Array<int64_t>& row, int64_t n_fine, Strided<uint8_t>& mask,
         int threads) {
        const auto m = mutable_view<uint8_t, 4>(mask, "mask", {-1, -1, -1, (n_fine + 7) / 8});
        const auto f = view<uint8_t, 3>(found, "found", {-1, m.shape[0], m.shape[1] * n_fine});
        const auto rows = view<int64_t, 1>(row, "row", {f.shape[0]});
        for (int64_t k = 0; k < rows.shape[0]; ++k)
          if (rows(k) < 0 || rows(k) >= m.shape[2] || (k > 0 && rows(k) <= rows(k - 1)))
            throw InputError("array 'row' must ascend, within the rows of the mask");
        if (f.size() == 0) return int64_t{0};
        py::gil_scoped_release release;
        return rfi_set_bits(f, rows, n_fine, m, threads);
      },
      "found"_a.noconvert(), "row"_a.noconvert(), "n_fine"_a, "mask"_a.noconvert(), "threads"_a = 0,
      "Set bits of a mask (n_time, n_coarse, n_rows, bytes) where found (n, n_time, channels) is 1; returns "
      "how many.");

  m.def(
      "rfi_sum_threshold",
      [](const Array<float>& x, const Array<uint8_t>& missing, const Array<uint8_t>& ignored,
         double time_threshold, double freq_threshold, const RfiParameters& p, Array<uint8_t>& out) {
        check(p);
        const auto v = view<float, 2>(x, "x", {-1, -1});
        const auto [n_time, n_chan] = v.shape;
        rfi_sum_threshold(v, cells(missing, "missing", n_time, n_chan),
                          cells(ignored, "ignored", n_time, n_chan), time_threshold, freq_threshold, p,
                          mutable_view<uint8_t, 2>(out, "out", {n_time, n_chan}));
      },
      py::kw_only(), "x"_a.noconvert(), "missing"_a.noconvert(), "ignored"_a.noconvert(), "time_threshold"_a,
      "freq_threshold"_a, "parameters"_a, "out"_a.noconvert(), "SumThreshold on one image.");

  const auto image_step = [&m](const char* name, auto step, const char* text) {
    m.def(
        name,
        [step](const Array<float>& x, const Array<uint8_t>& ignored, const RfiParameters& p,
               Array<float>& out) {
          check(p);
          const auto v = view<float, 2>(x, "x", {-1, -1});
          const auto [n_time, n_chan] = v.shape;
          step(v, cells(ignored, "ignored", n_time, n_chan), p,
               mutable_view<float, 2>(out, "out", {n_time, n_chan}));
        },
        "x"_a.noconvert(), "ignored"_a.noconvert(), "parameters"_a, "out"_a.noconvert(), text);
  };
  image_step("rfi_residual", &rfi_residual, "One image minus its smooth background.");
  image_step("rfi_normalize", &rfi_normalize, "One image over the noise of its sub-bands.");

  m.def(
      "rfi_reject",
      [](const Array<float>& x, bool timesteps, double threshold, Array<uint8_t>& flags) {
        const auto v = view<float, 2>(x, "x", {-1, -1});
        rfi_reject(v, timesteps, threshold,
                   mutable_view<uint8_t, 2>(flags, "flags", {v.shape[0], v.shape[1]}));
      },
      "x"_a.noconvert(), "timesteps"_a, "threshold"_a, "flags"_a.noconvert(),
      "Add timesteps, else channels, of outlying rms to flags.");

  m.def(
      "rfi_rank",
      [](const Array<uint8_t>& missing, double eta_time, double eta_freq, double missing_weight,
         Array<uint8_t>& flags) {
        const auto f = mutable_view<uint8_t, 2>(flags, "flags", {-1, -1});
        rfi_rank(cells(missing, "missing", f.shape[0], f.shape[1]), eta_time, eta_freq, missing_weight, f);
      },
      "missing"_a.noconvert(), "eta_time"_a, "eta_freq"_a, "missing_weight"_a, "flags"_a.noconvert(),
      "Scale-invariant rank operator.");
}

}  // namespace mwaconvert
