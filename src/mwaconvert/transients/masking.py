"""Interference in spectra: what arrives at all frequencies at once, and channels that are not like the rest.

Everything here answers with new spectra whose weights are 0 where something was found; searches, series and averages
leave that out.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mwaconvert.errors import InputError
from mwaconvert.spectra.spectra import Spectra

Floats = npt.NDArray[np.float64]

_IQR = 1.349  # of a Gaussian of unit standard deviation


def zero_dm(spectra: Spectra) -> Spectra:
    """Subtract from each sample the mean over the channels, by their weights, and add that of the whole data.

    Removes what arrives at all frequencies at once (Eatough, Keane & Lyne 2009, MNRAS 395, 410), and part of a pulse
    that sweeps over few of its widths. The mean of each channel stays. Data become float32.
    """
    data = spectra.data.astype(np.float32)
    if spectra.weights is None:
        mean = data.mean(0, dtype=np.float64)
        overall = mean.mean()
    else:
        weights = np.broadcast_to(
            spectra.weights[:, None] if spectra.weights.ndim == 1 else spectra.weights, data.shape
        )
        # about the mean of each channel: which channels are there changes from sample to sample
        count = weights.sum(1, dtype=np.float64)
        level = np.einsum("ct,ct->c", weights, data, dtype=np.float64) / np.where(count > 0, count, 1)
        total = weights.sum(0, dtype=np.float64)
        above = np.einsum("ct,ct->t", weights, data, dtype=np.float64) - level @ weights.astype(np.float64)
        mean = np.divide(above, total, out=np.zeros_like(total), where=total > 0)
        overall = 0.0
    data -= (mean - overall).astype(np.float32)
    return replace(spectra, data=data)


def mask_channels(spectra: Spectra, threshold: float = 5.0) -> Spectra:
    """Mask channels whose mean or standard deviation over time is not like that of the others.

    Compared with the running median over a sixteenth of the band, in units of the spread that the quartiles of the
    differences have. A channel that does not vary is masked too.

    Parameters
    ----------
    threshold : in such units

    Raises
    ------
    InputError : the threshold is not positive
    """
    if not threshold > 0:
        raise InputError(f"a threshold of {threshold}")
    mean, std, good = _moments(spectra, spectra.n_times)
    bad = ~good[:, 0] | (std[:, 0] == 0)
    for statistic in (mean[:, 0], std[:, 0]):
        rest = statistic - _running_median(statistic, ~bad, max(5, spectra.n_chan // 16))
        low, high = np.percentile(rest[~bad], [25, 75]) if (~bad).any() else (0.0, 0.0)
        bad |= np.abs(rest) > threshold * (high - low) / _IQR
    return _masked(spectra, bad[:, None], spectra.n_times)


def mask_iqrm(
    spectra: Spectra, block: int = 1024, threshold: float = 3.0, radius: int | None = None
) -> Spectra:
    """Mask channels, block by block in time, by the IQRM of their standard deviations.

    Parameters
    ----------
    block : samples of a block; the last one is shorter, or joined to the one before if shorter than half
    threshold, radius : see `iqrm`; radius by default a tenth of the channels

    Raises
    ------
    InputError : block, threshold or radius are not positive
    """
    if block < 2:
        raise InputError(f"blocks of {block} samples")
    _, std, good = _moments(spectra, block)
    bad = ~good | (std == 0)
    reach = max(1, spectra.n_chan // 10) if radius is None else radius
    for k in range(std.shape[1]):
        use = ~bad[:, k]
        if use.sum() > 2:
            bad[use, k] |= iqrm(std[use, k], reach, threshold)
    return _masked(spectra, bad, block)


def iqrm(statistic: npt.ArrayLike, radius: int, threshold: float = 3.0) -> npt.NDArray[np.bool_]:
    """Outliers above their neighbours (Morello, Rajwade & Stappers 2022, MNRAS 510, 1393).

    For lags 1, 2, 3, 4, 6, 9, ... up to the radius, of both signs, a value that exceeds the one a lag away by more than
    `threshold` standard deviations of such differences (from their quartiles) gets the vote of that other. It is an
    outlier if one of its voters has cast fewer votes than it has received; so a value that is low, which votes
    against all others, counts for little.

    Parameters
    ----------
    statistic : (n) of which high values are bad
    radius : largest lag
    threshold : standard deviations

    Returns
    -------
    (n) True for outliers

    Raises
    ------
    InputError
    """
    x = np.asarray(statistic, np.float64)
    if x.ndim != 1 or x.size < 2 or not np.isfinite(x).all():
        raise InputError("IQRM: expected at least two numbers, all finite")
    if radius < 1 or not threshold > 0:
        raise InputError(f"IQRM: a radius of {radius} and a threshold of {threshold}")
    place = np.arange(x.size)
    votes: set[tuple[int, int]] = set()
    lag = 1
    while lag <= min(radius, x.size - 1):
        for shift in (lag, -lag):
            other = (place - shift).clip(0, x.size - 1)  # beyond the ends, the value at the end
            difference = x - x[other]
            low, middle, high = np.percentile(difference, [25, 50, 75])
            over = difference - middle > threshold * (high - low) / _IQR
            votes.update(zip(place[over].tolist(), other[over].tolist(), strict=True))
        lag = max(int(1.5 * lag), lag + 1)
    if not votes:
        return np.zeros(x.size, bool)
    pairs = np.array(sorted(votes))
    received, cast = (np.bincount(pairs[:, k], minlength=x.size) for k in (0, 1))
    bad = np.zeros(x.size, bool)
    bad[pairs[cast[pairs[:, 1]] < received[pairs[:, 0]], 0]] = True
    return bad


def _edges(n_times: int, block: int) -> npt.NDArray[np.int64]:
    edges = np.arange(0, n_times, block)
    if edges.size > 1 and n_times - edges[-1] < block / 2:
        edges = edges[:-1]
    return np.append(edges, n_times)


def _moments(spectra: Spectra, block: int) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """(n_chan, n_block) mean and standard deviation of samples with weight, and whether there are two."""
    edges = _edges(spectra.n_times, block)
    shape = (spectra.n_chan, edges.size - 1)
    mean, std, good = np.zeros(shape), np.zeros(shape), np.zeros(shape, bool)
    weights = spectra.weights
    for k in range(shape[1]):
        x = spectra.data[:, edges[k] : edges[k + 1]].astype(np.float64)
        if weights is None:
            use = np.ones(x.shape, bool)
        else:
            w = weights[:, None] if weights.ndim == 1 else weights[:, edges[k] : edges[k + 1]]
            use = np.broadcast_to(w > 0, x.shape)
        count = use.sum(1)
        n = np.maximum(count, 1)
        mean[:, k] = np.where(use, x, 0).sum(1) / n
        std[:, k] = np.sqrt((np.where(use, x - mean[:, k : k + 1], 0) ** 2).sum(1) / n)
        good[:, k] = count > 1
    return mean, std, good


def _masked(spectra: Spectra, bad: npt.NDArray[np.bool_], block: int) -> Spectra:
    """Weight 0 for blocks of channels; one weight for each channel as long as that suffices."""
    if not bad.any():
        return spectra
    if (bad == bad[:, :1]).all():
        return spectra.masked(bad[:, 0])
    lengths = np.diff(_edges(spectra.n_times, block))
    weights = np.ones(spectra.data.shape, np.float32)
    if spectra.weights is not None:
        weights *= spectra.weights[:, None] if spectra.weights.ndim == 1 else spectra.weights
    weights[np.repeat(bad, lengths, axis=1)] = 0
    return replace(spectra, weights=weights)


def _running_median(x: Floats, use: npt.NDArray[np.bool_], length: int) -> Floats:
    """Median over `length` neighbours, of those to use; at the ends over as many as lie on both sides, of at least 7."""
    good = np.where(use, x, np.nan)
    out = np.zeros(x.size)
    for k in range(x.size):
        half = max(3, min(length // 2, k, x.size - 1 - k))
        window = good[max(0, k - half) : k + half + 1]
        if not np.isnan(window).all():
            out[k] = np.nanmedian(window)
    return out
