"""Folded profiles: their S/N, and the best period of folds by parts of the data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.transients.periodicity.hits import LARGEST_DUTY

Floats = npt.NDArray[np.float64]

_NO_WEIGHTS = np.empty((0, 0), np.float32)
_MOST_PARTS, _MOST_BINS, _LEAST_BINS = 32, 128, 8


def widths_of(n_bin: int) -> list[int]:
    """Boxcars that are tried: 1, 2, 3, 4, 6, 9, ... bins, up to 0.3 of the period."""
    widths = [1]
    while (wider := max(widths[-1] + 1, int(1.5 * widths[-1]))) <= LARGEST_DUTY * n_bin:
        widths.append(wider)
    return widths


def boxcar_snr(profiles: Floats) -> tuple[Floats, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """S/N of the best boxcar of profiles whose bins have noise of variance 1.

    Parameters
    ----------
    profiles : (..., n_bin)

    Returns
    -------
    snr, first, width
        (...) in bins

    Notes
    -----
    The product with a template of mean 0 and norm 1 that has one level in w bins and another elsewhere (Morello et
    al. 2020): ((h + g) * sum within - g * sum of all), h = sqrt((n - w) / (n w)), g = h w / (n - w).

    Examples
    --------
    >>> snr, first, width = boxcar_snr(np.array([0, 0, 6.0, 6, 0, 0, 0, 0]))
    >>> print(f"{snr:.2f}", first, width)
    7.35 2 2
    """
    n = profiles.shape[-1]
    widths = widths_of(n)
    total = profiles.sum(-1)
    wrapped = np.concatenate([profiles, profiles[..., : widths[-1]]], -1)
    sums = np.concatenate([np.zeros((*profiles.shape[:-1], 1)), wrapped.cumsum(-1)], -1)
    best = np.full(total.shape, -np.inf)
    first, width = (np.zeros(total.shape, np.int64) for _ in range(2))
    for w in widths:
        h = np.sqrt((n - w) / (n * w))
        g = h * w / (n - w)
        within = sums[..., w : w + n] - sums[..., :n]
        at = within.argmax(-1)
        snr = (h + g) * np.take_along_axis(within, at[..., None], -1)[..., 0] - g * total
        use = snr > best
        best, first, width = np.where(use, snr, best), np.where(use, at, first), np.where(use, w, width)
    return best, first, width


def drifted(parts: Floats, drifts: Floats) -> Floats:
    """Sums of parts that are moved ahead by a drift that grows evenly, about the middle of the data.

    Parameters
    ----------
    parts : (n_part, n_bin)
    drifts : (n_drift) bins, from the start to the end of the data

    Returns
    -------
    (n_drift, n_bin)
    """
    n_part, n_bin = parts.shape
    at = (np.arange(n_part) + 0.5) / n_part - 0.5
    shifts = np.rint(drifts[:, None] * at).astype(np.int64)
    out = np.zeros((drifts.size, n_bin))
    bins = np.arange(n_bin)
    for k in range(n_part):
        out += parts[k][(bins + shifts[:, k, None]) % n_bin]
    return out


@dataclass(frozen=True)
class Refined:
    """The best period about one that was found.

    Attributes
    ----------
    period_s, period_err_s, snr, width_s : of the fold
    """

    period_s: float
    period_err_s: float
    snr: float
    width_s: float


def refine(series: npt.NDArray[np.float32], dt_s: float, period_s: float) -> Refined:
    """Fold a series of mean 0 and variance 1 at periods about one: those that drift by up to a turn over the data.

    Parameters
    ----------
    series : (n_times)
    dt_s : s
    period_s : s
    """
    length_s = series.size * dt_s
    n_bin = int(np.clip(period_s / dt_s, _LEAST_BINS, _MOST_BINS))
    n_part = int(np.clip(length_s / period_s / 2, 1, _MOST_PARTS))
    edges = np.linspace(0, series.size, n_part + 1).astype(np.int64)
    sums, counts = np.zeros((2, n_part, n_bin))
    step = dt_s / period_s
    for k in range(n_part):
        _core.fold(
            data=series[None, edges[k] : edges[k + 1]],
            weights=_NO_WEIGHTS,
            phase=(edges[k] + 0.5) * step,
            step=step,
            shift=np.zeros(1),
            edges=np.array([0, 1], np.int32),
            sums=sums[k : k + 1],
            counts=counts[k : k + 1],
            threads=1,
        )
    # bins of equal noise: a bin that has more samples than others counts as much as they do
    means = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
    scale = np.sqrt(series.size / n_bin) / n_part
    coarse: Floats = np.arange(-n_bin, n_bin + 0.5, 1.0, np.float64)
    snr, _, widths = boxcar_snr(drifted(means, coarse) * scale)
    k = int(snr.argmax())
    drift, drift_err = likeliest_drift(means * scale, float(coarse[k]), n_bin / int(widths[k]))
    best, _, width = (value[0] for value in boxcar_snr(drifted(means, np.array([drift])) * scale))
    if snr[k] > best:  # of parts that are moved by whole bins
        best, width = snr[k], widths[k]
    freq_hz = 1 / period_s - drift / n_bin / length_s
    err_s = drift_err / n_bin / length_s / freq_hz**2
    return Refined(1 / freq_hz, err_s, float(best), int(width) / n_bin / freq_hz)


def likeliest_drift(
    parts: Floats, drift: float, n_harmonic: float, at: Floats | None = None
) -> tuple[float, float]:
    """The drift at which harmonics of the sum of all parts have most power, and its standard deviation.

    Parameters
    ----------
    parts : (n_part, n_bin); bins of their sum have noise of variance 1
    drift : bins, about which it is looked for
    n_harmonic : of the pulse that matter: one over the part of a period that it fills
    at : (n_part) part of the drift that each has; default: evenly from -1/2 to 1/2

    Notes
    -----
    The logarithm of the likelihood of a pulse of unknown shape is the sum of |F_k|^2 / n_bin over the harmonics
    k that it has; its curvature gives the error.
    """
    n_part, n_bin = parts.shape
    harmonics = np.arange(1, int(np.clip(n_harmonic, 1, n_bin // 2)) + 1)
    spectra = np.fft.rfft(parts, axis=1)[:, harmonics]
    at = (np.arange(n_part) + 0.5) / n_part - 0.5 if at is None else at

    def likelihood(drifts: Floats) -> Floats:
        turns = np.exp(2j * np.pi * drifts[:, None, None] * at[:, None] * harmonics / n_bin)
        power: Floats = (np.abs((turns * spectra).sum(1)) ** 2).sum(1) / n_bin
        return power

    reach, step = 2.0, 0.125
    for _ in range(2):
        grid: Floats = drift + np.arange(-reach, reach + step / 2, step, np.float64)
        drift = float(grid[int(likelihood(grid).argmax())])
        reach, step = step, step / 16
    width = 0.25
    low, middle, high = likelihood(np.array([drift - width, drift, drift + width]))
    curvature = (2 * middle - low - high) / width**2
    return drift, float(curvature**-0.5) if curvature > 0 else float(n_bin)
