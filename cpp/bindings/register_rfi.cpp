#include "arrays.hpp"
#include "mwaconvert/rfi.hpp"
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

}  // namespace

void register_rfi(py::module_& m) {
  py::class_<RfiParameters> parameters(m, "RfiParameters", "See cpp/include/mwaconvert/rfi.hpp.");
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
      [](const Array<Complex>& vis, const Array<uint8_t>& missing, const RfiParameters& p,
         Array<uint8_t>& out, int nthreads) {
        check(p);
        const auto v = view<Complex, 4>(vis, "vis", {-1, -1, -1, 4});
        const auto [n_baselines, n_time, n_chan, four] = v.shape;
        const auto mask = view<uint8_t, 3>(missing, "missing", {-1, n_time, n_chan});
        if (mask.shape[0] != 1 && mask.shape[0] != n_baselines)
          throw InputError("array 'missing' must hold one mask, or one for each baseline");
        const auto o = mutable_view<uint8_t, 3>(out, "out", {n_baselines, n_time, n_chan});
        if (v.size() == 0) return;
        py::gil_scoped_release release;
        rfi_flag(v, mask, p, o, nthreads);
      },
      "vis"_a.noconvert(), "missing"_a.noconvert(), "parameters"_a, "out"_a.noconvert(), "nthreads"_a = 0,
      R"(Detect RFI in baselines.

vis (n_baselines, n_time, n_chan, 4) complex64, missing (1 or n_baselines, n_time, n_chan) and out
(n_baselines, n_time, n_chan) uint8.)");

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
      "x"_a.noconvert(), "missing"_a.noconvert(), "ignored"_a.noconvert(), "time_threshold"_a,
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
      "Adds timesteps, else channels, of outlying rms to flags.");

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
