"""Two searches of time series for what repeats: spectra with sums of harmonics, and the fast folding algorithm."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.transients.periodicity.significance import (
    gaussian_sigma,
    log_power_tail,
    power_threshold,
)
from mwaconvert.transients.periodicity.whitening import normalise, whiten_powers

Floats = npt.NDArray[np.float32]

LEVELS = 5  #: sums of 1, 2, 4, 8 and 16 harmonics
_OVERSAMPLING = 2  # bins of a spectrum in 1 / T: between two of them a fifth of the power is lost at most
_BINS = 128  # of a period of the fast folding algorithm, at least, where samples are short enough
_COARSER = 1.25  # at which ratio of periods samples are averaged further
LARGEST_DUTY = 0.3  #: of a period that a boxcar fills

#: a trial above the threshold; `statistic` is the sum of powers, or S/N; `score` the same as a Gaussian's sigma
HIT = np.dtype(
    [
        ("trial", "i4"),
        ("freq_hz", "f8"),
        ("score", "f4"),
        ("statistic", "f4"),
        ("n_harmonic", "i4"),
        ("width_s", "f4"),
    ]
)
Hits = npt.NDArray[np.void]


class Method(StrEnum):
    """How periods are found."""

    FFT = "fft"
    FFA = "ffa"


@dataclass(frozen=True)
class Range:
    """Periods to search.

    Parameters
    ----------
    period_min_s, period_max_s : s
    dt_s : of the series
    n_times : samples of the series
    """

    period_min_s: float
    period_max_s: float
    dt_s: float
    n_times: int

    @property
    def length_s(self) -> float:
        """Of the series."""
        return self.n_times * self.dt_s


def fast_length(n: int) -> int:
    """The smallest number of at least n that has no prime factor above 5.

    Examples
    --------
    >>> [fast_length(n) for n in (1, 7, 1023, 1025, 10007)]
    [1, 8, 1024, 1080, 10125]
    """
    best = 1 << max(0, n - 1).bit_length()
    five = 1
    while five < best:
        three = five
        while three < best:
            two = 1 << max(0, -(-n // three) - 1).bit_length()
            best = min(best, three * two)
            three *= 3
        five *= 5
    return best


# -- spectra


def spectrum(series: Floats, most_bins: int | None = None) -> Floats:
    """Powers of a series of mean 0 and variance 1, in units of their mean in noise.

    Parameters
    ----------
    series : (n_times)
    most_bins : leave out those from there on

    Returns
    -------
    (n_bin)
        bin k is at k / (dt_s * n_fft), n_fft twice `fast_length(n_times)`: zeros are appended, so that a frequency
        between two bins is met
    """
    transformed = np.fft.rfft(series, _OVERSAMPLING * fast_length(series.size))[:most_bins]
    power = (transformed.real**2 + transformed.imag**2).astype(np.float32)
    power[0] = 0
    whiten_powers(power)
    return np.asarray(power, np.float32)


def spectral_hits(series: Floats, span: Range, threshold: float, threads: int = 0) -> Hits:
    """Sums of harmonics that are as unlikely as `threshold` standard deviations, of each series.

    Parameters
    ----------
    series : (n_trial, n_times) of mean 0 and variance 1
    span : which periods
    threshold : of the equivalent of a Gaussian, in a single trial
    threads : 0 for all cores; the result does not depend on it
    """
    per_hz = span.dt_s * _OVERSAMPLING * fast_length(span.n_times)
    highest = (1 << (LEVELS - 1)) / span.period_min_s
    most_bins = int(min(highest, 0.5 / span.dt_s) * per_hz) + 1
    first = max(1, int(np.ceil(per_hz / span.period_max_s)))
    limits = np.array([power_threshold(threshold, 1 << level) for level in range(LEVELS)], np.float32)

    def of_one(trial: int) -> Hits:
        power = spectrum(series[trial], most_bins)
        found = _core.harmonic_search(power=power[None], first=first, thresholds=limits, threads=1)
        return _of_harmonics(found, trial, per_hz, span)

    with ThreadPoolExecutor(threads or _core.available_threads()) as pool:
        return np.concatenate([np.empty(0, HIT), *pool.map(of_one, range(len(series)))])


def _of_harmonics(found: npt.NDArray[np.void], trial: int, per_hz: float, span: Range) -> Hits:
    hits = np.zeros(len(found), HIT)
    n_harmonic = 1 << found["level"].astype(np.int64)
    hits["trial"] = trial
    hits["freq_hz"] = found["bin"] / n_harmonic / per_hz
    hits["n_harmonic"] = n_harmonic
    hits["statistic"] = found["power"]
    for n in np.unique(n_harmonic):
        use = n_harmonic == n
        hits["score"][use] = gaussian_sigma(log_power_tail(found["power"][use], int(n)))
    return hits[hits["freq_hz"] <= 1 / span.period_min_s]


def n_spectral_trials(span: Range) -> float:
    """Sums of harmonics of a series: one for each bin of the highest harmonic, for each number of harmonics."""
    per_hz = span.dt_s * _OVERSAMPLING * fast_length(span.n_times)
    top = [min(n / span.period_min_s, 0.5 / span.dt_s) for n in (1 << level for level in range(LEVELS))]
    return sum(top) * per_hz


# -- the fast folding algorithm


@dataclass(frozen=True)
class FoldStep:
    """Periods that are folded with the same samples.

    Parameters
    ----------
    factor : samples of the series that become one
    first_bin, last_bin : base periods in these samples, the last one exclusive
    """

    factor: int
    first_bin: int
    last_bin: int

    def widths(self) -> npt.NDArray[np.int32]:
        """Boxcars: 1, 2, 3, 4, 6, 9, ... samples, each about 1.5 times as wide as the last."""
        widths = [1]
        while (wider := max(widths[-1] + 1, int(1.5 * widths[-1]))) <= max(1, LARGEST_DUTY * self.last_bin):
            widths.append(wider)
        return np.array(widths, np.int32)


def plan_folds(span: Range) -> list[FoldStep]:
    """Steps that cover a range of periods with 128 bins or more, or as many as there are samples.

    Examples
    --------
    >>> plan_folds(Range(0.5, 0.7, 1e-3, 10000))
    [FoldStep(factor=3, first_bin=166, last_bin=172), FoldStep(factor=4, first_bin=128, last_bin=161), \
FoldStep(factor=5, first_bin=128, last_bin=141)]
    """
    steps: list[FoldStep] = []
    period = span.period_min_s
    while period < span.period_max_s:
        factor = max(1, int(period / (span.dt_s * _BINS) * (1 + 1e-9)))
        coarser = max(factor + 1, int(_COARSER * factor))
        end = min(span.period_max_s, coarser * span.dt_s * _BINS)
        unit = factor * span.dt_s
        most = span.n_times // factor // 2
        first, last = int(period / unit * (1 + 1e-9)), min(int(np.ceil(end / unit * (1 - 1e-9))), most)
        if first < last:
            steps.append(FoldStep(factor, first, last + 1 if last < most else last))
        period = end
    return steps


def folded_hits(series: Floats, span: Range, threshold: float, threads: int = 0) -> Hits:
    """Folds whose best boxcar is above the threshold, of each series.

    Parameters
    ----------
    series : (n_trial, n_times) of mean 0 and variance 1
    span : which periods
    threshold : S/N
    threads : 0 for all cores; the result does not depend on it
    """
    parts = [np.empty(0, HIT)]
    for step in plan_folds(span):
        shorter = _summed(series, step.factor)
        normalise(shorter, threads)
        found = _core.ffa_search(
            series=shorter,
            first_bin=step.first_bin,
            last_bin=step.last_bin,
            widths=step.widths(),
            threshold=threshold,
            threads=threads,
        )
        hits = np.zeros(len(found), HIT)
        n_bin, unit = found["n_bin"].astype(np.float64), step.factor * span.dt_s
        n_row = shorter.shape[1] // found["n_bin"]
        # a fold that drifts by s samples from the first to the last of m rows (Morello et al. 2020)
        hits["freq_hz"] = (n_bin - found["drift"] / np.maximum(n_row - 1, 1)) / (unit * n_bin**2)
        hits["trial"], hits["n_harmonic"] = found["trial"], 0
        hits["score"] = hits["statistic"] = found["snr"]
        hits["width_s"] = found["width"] * unit
        parts.append(hits)
    hits = np.concatenate(parts)
    inside = hits["freq_hz"] <= 1.0000001 / span.period_min_s
    return hits[inside & (hits["freq_hz"] >= 0.9999999 / span.period_max_s)]


def _summed(series: Floats, factor: int) -> Floats:
    """Sums of samples; those that are left over at the end are dropped."""
    whole = series.shape[1] // factor * factor
    total = series[:, :whole:factor].copy()
    for k in range(1, factor):
        total += series[:, k:whole:factor]
    return total


def n_folded_trials(span: Range) -> float:
    """Boxcars of all folds of a series."""
    total = 0.0
    for step in plan_folds(span):
        n_bins = np.arange(step.first_bin, step.last_bin)
        total += float((span.n_times // step.factor // n_bins * n_bins).sum()) * step.widths().size
    return total
