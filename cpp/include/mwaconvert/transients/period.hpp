// What repeats in a time series: folding, the fast folding algorithm, sums of harmonics of a spectrum.
#pragma once

#include <cstdint>
#include <vector>

#include "mwaconvert/base/view.hpp"

namespace mwaconvert {

// A phase in cycles, modulo 1, as a fraction of 2^64: sums of it wrap by themselves, and no digit is lost.
uint64_t phase_of(double cycles);

// Adds samples to the bin of their phase: that of sample t in channel c is phase + t * step - shift[c]
// cycles, bin floor(n_bin * phase). Channels of a band, edges[b] <= c < edges[b + 1], share sums. data,
// weights (n_chan, n_samp); weights of no rows: all 1; shift (n_chan); edges (n_band + 1) ascending from 0 to
// n_chan; sums, counts (n_band, n_bin) are added to: of weight times value, and of weight.
template <typename T>
void fold(View<const T, 2> data, View<const float, 2> weights, double phase, double step,
          View<const double, 1> shift, View<const int32_t, 1> edges, View<double, 2> sums,
          View<double, 2> counts, int threads);

// The fast folding algorithm (Staelin 1969) for n_row rows of n_bin samples: out[s][b] is the sum over rows r
// of rows[r][b + drift], the drift growing from 0 in the first to s in the last row, rounded at each of its
// log2(n_row) stages. rows, out (n_row, n_bin)
void ffa_transform(View<const float, 2> rows, View<float, 2> out);

// A fold above the threshold: at a base period of n_bin samples and a drift, see ffa_transform.
struct Folded {
  int32_t trial, n_bin, drift, width;
  float snr;
};

constexpr int64_t kFfaGroup = 16;  // neighbouring drifts of which the best is kept

// Folds each series at all periods from first_bin to last_bin (exclusive) samples and a fraction, and looks
// for the best boxcar. S/N = ((h + g) * most - g * total) / sqrt(n_row), with the sum `most` of the best
// boxcar of w bins, h = sqrt((n - w) / (n w)), g = h w / (n - w): a template of mean 0 and norm 1 (Morello et
// al. 2020). Of each group of kFfaGroup drifts the best is found, if it is the threshold or more, and where
// equal the smaller drift and width. series (n_trial, n_samp) of mean 0 and variance 1; widths (n_width)
// samples, ascending: those of half of the period or more are left out. `found` is by trial, n_bin and drift.
void ffa_search(View<const float, 2> series, int64_t first_bin, int64_t last_bin,
                View<const int32_t, 1> widths, float threshold, std::vector<Folded>& found, int threads);

// A sum of n_harmonic = 2^level powers above the threshold; `bin` is that of the highest harmonic.
struct Harmonic {
  int32_t trial, level, bin;
  float power;
};

constexpr int64_t kHarmonicGroup = 16;  // neighbouring bins of which the best is kept

// Sums of 1, 2, 4, ... powers: sum over k = 1 ... h of power[(j k + h / 2) / h], rounded down, for the bin j
// of the highest harmonic. Of each group of kHarmonicGroup bins of each level the best is found, if it is
// thresholds[level] or more, of equal ones the first. power (n_trial, n_bin); thresholds (n_level); the
// lowest harmonic is in bin first or higher. `found` is by trial, level and bin.
void harmonic_search(View<const float, 2> power, int64_t first, View<const float, 1> thresholds,
                     std::vector<Harmonic>& found, int threads);

}  // namespace mwaconvert
