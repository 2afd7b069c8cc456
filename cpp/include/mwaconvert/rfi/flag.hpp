// Detection of radio frequency interference, one baseline at a time.
//
// For each polarisation of a baseline, on its amplitudes: SumThreshold along time and along frequency,
// rejection of timesteps and channels by their rms, subtraction of a smooth background; again, more
// sensitive; the residual divided by the noise of each sub-band, and a last SumThreshold. The flags of the
// four polarisations together go through the scale-invariant rank operator and a last rejection of timesteps.
// Sources: Offringa et al. 2010 (MNRAS 405, 155) for SumThreshold and the iterations, Offringa et al. 2012
// (A&A 539, A95) for the rank operator. docs/rfi.md has the equations and the agreement with AOFlagger.
//
// A missing cell takes no part in the statistics and in the windows, which close over it; its amplitude
// counts in the rms of its timestep and channel. A cell with a NaN or an infinity counts as missing, with
// amplitude 0.
#pragma once

#include <cstdint>

#include "mwaconvert/base/view.hpp"

namespace mwaconvert {

struct RfiParameters {
  int64_t iterations;                   // SumThreshold passes; all but the last subtract a background
  double threshold;                     // of the last pass, in units of first_threshold modes
  double threshold_step;                // the threshold of a pass over that of the next
  double transient_factor;              // threshold along frequency over threshold along time
  double first_threshold;               // of single samples, in modes of the noise
  double threshold_ratio;               // rho: sums of 2 M samples may be rho times those of M
  int64_t longest_window;               // samples; a power of 2
  double timestep_rms;                  // rejection of timesteps, in standard deviations
  double channel_rms;                   // rejection of channels, times the threshold of the pass
  int64_t block_time, block_freq;       // cells averaged before smoothing
  int64_t window_time, window_freq;     // odd; length of the smoothing kernel, in blocks
  double variance_time, variance_freq;  // of the smoothing Gaussian, in blocks squared
  int64_t subbands;                     // groups of channels with noise of their own
  double rank_time, rank_freq;          // eta of the rank operator
  double rank_missing;                  // weight of a missing cell in it, over that of an unflagged one
  double last_timestep_rms;             // the final rejection of timesteps
};

// amplitude (n_baseline, 4, n_time, n_chan), products XX, XY, YX, YY, channels contiguous; missing
// (n_baseline or 1, n_time, n_chan), not 0 where a cell is flagged beforehand; out (n_baseline, n_time,
// n_chan), channels contiguous: 1 where RFI was found, 2 where the cell is missing, else 0. Parallel over
// baselines.
void rfi_flag(View<const float, 4> amplitude, View<const uint8_t, 3> missing, const RfiParameters& parameters,
              View<uint8_t, 3> out, int threads);

// The steps alone, on one image x (n_time, n_chan); for tests and for trying strategies.

// SumThreshold. ignored: cells left out of the noise estimate besides the missing ones. The thresholds are in
// units of first_threshold modes.
void rfi_sum_threshold(View<const float, 2> x, View<const uint8_t, 2> missing, View<const uint8_t, 2> ignored,
                       double time_threshold, double freq_threshold, const RfiParameters& parameters,
                       View<uint8_t, 2> out);
// x minus the smooth background, cells of `ignored` being left out of it.
void rfi_residual(View<const float, 2> x, View<const uint8_t, 2> ignored, const RfiParameters& parameters,
                  View<float, 2> out);
// x over the standard deviation of each sub-band.
void rfi_normalize(View<const float, 2> x, View<const uint8_t, 2> ignored, const RfiParameters& parameters,
                   View<float, 2> out);
// Adds the timesteps (else channels) whose rms is an outlier to flags.
void rfi_reject(View<const float, 2> x, bool timesteps, double threshold, View<uint8_t, 2> flags);
// Scale-invariant rank operator on flags.
void rfi_rank(View<const uint8_t, 2> missing, double eta_time, double eta_freq, double missing_weight,
              View<uint8_t, 2> flags);

}  // namespace mwaconvert
