"""Red noise: slow changes of a series, and the slope of a spectrum, taken away by running medians."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from mwaconvert import _core

Floats = npt.NDArray[np.float32]

_PER_WINDOW = 101  # means of which the running median of a series is taken
_LEAST_BINS, _MOST_BINS = 24, 2048  # of a spectrum whose median is taken at once
_GROWTH = 0.2  # bins over frequency


def whiten_series(series: Floats, window: int, threads: int = 0) -> None:
    """Subtract the running median of each series, in place, and bring it to mean 0 and standard deviation 1.

    Parameters
    ----------
    series : (n_trial, n_times)
    window : samples, several times the longest period; the medians are those of 101 means in a window
    threads : 0 for all cores
    """
    n = series.shape[1]
    step = max(1, min(window, n) // _PER_WINDOW)
    n_mean = n // step
    half = min(_PER_WINDOW // 2, max(1, n_mean // 2))
    at = (np.arange(n_mean) + 0.5) * step - 0.5
    for trial, row in enumerate(series):
        means = row[: n_mean * step].reshape(1, n_mean, step).mean(2, dtype=np.float64).astype(np.float32)
        smooth = np.empty_like(means)
        _core.running_median(means, half, max(1, half // 4), smooth, threads)
        series[trial] -= np.interp(np.arange(n), at, smooth[0]).astype(np.float32)
    normalise(series, threads)


def normalise(series: Floats, threads: int = 0) -> None:
    """Bring each series, in place, to mean 0 and standard deviation 1, by medians over blocks."""
    mean, sigma = np.empty((2, len(series)), np.float32)
    _core.noise(series, mean, sigma, threads)
    series -= mean[:, None]
    series *= np.divide(1, sigma, out=np.zeros_like(sigma), where=sigma > 0)[:, None]


def whiten_powers(power: Floats) -> None:
    """Divide the powers of a spectrum, in place, by what noise has there: then its mean is 1.

    Parameters
    ----------
    power : (n_bin) from frequency 0 on

    Notes
    -----
    The median of an exponential distribution is ln 2 of its mean. Medians are those of 24 bins at the lowest
    frequencies, of a fifth of the frequency higher up, and of 2048 at most, joined by straight lines.
    """
    edges = block_edges(power.size)
    level = np.array([np.median(power[a:b]) for a, b in pairwise(edges)]) / np.log(2)
    level = np.maximum(level, 1e-12 * max(float(level.max()), 1e-30))
    middle = (edges[:-1] + edges[1:] - 1) / 2
    power /= np.interp(np.arange(power.size), middle, level).astype(np.float32)


def block_edges(n: int) -> npt.NDArray[np.int64]:
    """First bins of the blocks of a spectrum, and its end; no block is shorter than the least, but if all are.

    Examples
    --------
    >>> block_edges(300).tolist()
    [0, 24, 48, 72, 96, 120, 144, 172, 206, 247, 300]
    """
    edges = [0]
    while True:
        width = min(_MOST_BINS, max(_LEAST_BINS, int(_GROWTH * edges[-1])))
        if edges[-1] + 2 * width > n:
            break
        edges.append(edges[-1] + width)
    return np.array([*edges, n], np.int64)
