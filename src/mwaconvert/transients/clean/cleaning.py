"""Cleaning before a search: channels scaled, baselines taken away, interference masked or subtracted.

What an expert would type, done by default, of a segment at a time, so that results do not depend on threads or gulps.
What comes out are bytes in units of the noise, which the kernels add fastest; masked samples hold the mean, and
`Cleaned.kept` says how many samples count.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.errors import InputError
from mwaconvert.spectra.dispersion import delay_per_dm
from mwaconvert.transients.clean.impulses import Impulses, find_impulses

if TYPE_CHECKING:
    from mwaconvert.spectra.spectra import Spectra

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

STRETCH = 64  #: samples of which `Cleaned.kept` counts those that are kept
ORIGIN, UNIT = (
    60.0,
    10.0,
)  #: byte of the mean; of the noise's standard deviation: from -6 to 19.5 of it fit in
_BLOCK = 256  # samples whose mean and variation are judged at once
_WINDOW = 16  # blocks on either side of the running median that is a channel's baseline
_LEAST = 2  # the same at the ends of the data
_SUBBANDS = 16  # that tell impulses at DM 0 from pulses of low DM
_BAD = 5.5  # deviations of a block, in units of their noise
_ALIKE = 0.5  # part by which channels may differ in what they have in common
_SUSPECT = 2.5  # the same beside a bad one
_GROUPS = (1, 4)  # blocks that are judged together
_MOSTLY = 0.3  # part of the blocks of a channel that makes all of it bad, if they are too loud
_GONE = 0.9  # the same of all that are bad
_NOISY = 2.0  # standard deviation over that of neighbours
_DEAD = 0.02
_FEW = 8  # channels, of which fewer do not tell interference from pulses


@dataclass(frozen=True)
class Cleaning:
    """Which steps are done. Channels are always brought to one scale.

    Parameters
    ----------
    baseline : subtract the running median of each channel, and what is common to all of them and slow
    channels : mask channels, and blocks of time of channels, that are unlike their neighbours
    impulses : take away what arrives at all frequencies at once; not done to data that are dedispersed already

    Of fewer than 8 channels, none is masked and no impulse is taken away.
    """

    baseline: bool = True
    channels: bool = True
    impulses: bool = True


@dataclass(frozen=True, eq=False)
class Cleaned:
    """Spectra that are ready to be searched, and what was masked."""

    spectra: Spectra  #: bytes: ORIGIN is the mean, UNIT the standard deviation of the noise; no weights
    kept: npt.NDArray[
        np.uint8
    ]  #: (n_chan, n_stretch) of the samples of each stretch of STRETCH, those not masked
    bad: Bools  #: (n_chan, n_block) blocks of channels that are masked
    block: int  #: samples of a block
    impulses: Impulses | None  #: what arrived at all frequencies at once
    stretch: int = STRETCH

    @property
    def masked_part(self) -> float:
        """Part of the samples that are masked."""
        return 1 - float(self.kept.sum(dtype=np.int64)) / self.spectra.data.size

    @property
    def bad_channels(self) -> npt.NDArray[np.intp]:
        """Numbers of the channels of which nothing is kept."""
        return np.flatnonzero(~self.kept.any(1))


def clean(
    spectra: Spectra,
    steps: Cleaning | None = None,
    *,
    n_width: int = 9,
    sweep: int | None = None,
    threads: int = 0,
) -> Cleaned:
    """Clean spectra for a search.

    Parameters
    ----------
    spectra : of any scale; weights of 0 are masked, others are taken as 1
    steps : by default all
    n_width : the widest boxcar that is searched has 2^(n_width - 1) samples: baselines are several times as long
    sweep : samples that the highest DM of interest takes to cross the band; by default a quarter of the data
    threads : 0 for all cores; the result does not depend on it

    Returns
    -------
    Cleaned

    Raises
    ------
    InputError : all channels are masked

    Examples
    --------
    >>> import numpy as np
    >>> from mwaconvert.transients import Spectra
    >>> noise = np.random.default_rng(1).normal(100, 12, (64, 4096))
    >>> cleaned = clean(Spectra(noise, 1500 - np.arange(64.0), 1e-3))
    >>> cleaned.masked_part < 0.01
    True
    """
    steps = _possible(steps or Cleaning(), spectra)
    if spectra.n_times < 2:
        raise InputError("a single sample cannot be searched")
    used = _used(spectra)
    block = int(np.clip(1 << max(0, (spectra.n_times // 16).bit_length() - 1), 32, _BLOCK))
    half = max(_WINDOW, (4 << n_width) // block)
    moments = _moments(spectra.data, used, block, threads)
    base, inverse, bad = _judged(*moments, half, steps, threads)
    if not (inverse > 0).any():
        raise InputError("all channels are masked, or hold no number: there is nothing to search")
    edges = _sub_edges(spectra)
    common = np.zeros((edges.size - 1, spectra.n_times), np.float32)
    keep = np.ones(spectra.n_times, np.uint8)
    impulses = None
    if steps.baseline or steps.impulses:
        sums, squares = _band_sums(spectra, used, base, inverse, block, edges, threads)
        n_used = _channels_used(inverse > 0, edges, block, spectra.n_times)
        if steps.baseline:
            slow = _slow(sums.sum(0), n_used.sum(0), 4 << n_width, threads)
            sums -= slow * n_used
            common += slow
        if steps.impulses:
            impulses = find_impulses(
                sums,
                squares,
                n_used,
                _sub_delays(spectra, edges),
                n_width=n_width,
                sweep=spectra.n_times // 4 if sweep is None else sweep,
            )
            impulses.subtract_from(common)
            keep = impulses.keep
    out = np.empty(spectra.data.shape, np.uint8)
    kept = np.empty((spectra.n_chan, -(-spectra.n_times // STRETCH)), np.uint8)
    _core.cleaned_bytes(
        data=spectra.data,
        used=used,
        base=base,
        inverse=inverse,
        block=block,
        edges=edges,
        common=common,
        keep=keep,
        origin=ORIGIN,
        unit=UNIT,
        stretch=STRETCH,
        out=out,
        kept=kept,
        threads=threads,
    )
    return Cleaned(replace(spectra, data=out, weights=None), kept, bad, block, impulses)


def _possible(steps: Cleaning, spectra: Spectra) -> Cleaning:
    """Without what cannot be told from few channels, or from data in which pulses are aligned already."""
    if spectra.n_chan < _FEW:
        return replace(steps, channels=False, impulses=False)
    return replace(steps, impulses=steps.impulses and spectra.dm == 0)


def _used(spectra: Spectra) -> npt.NDArray[np.uint8]:
    """(n_chan, n_times) 1 where a sample has weight; no rows where all have."""
    weights = spectra.weights
    if weights is None or (weights > 0).all():
        return np.empty((0, 0), np.uint8)
    whole = weights[:, None] if weights.ndim == 1 else weights
    return np.ascontiguousarray(np.broadcast_to(whole > 0, spectra.data.shape)).view(np.uint8)


def _moments(
    data: npt.NDArray[np.uint8] | Floats, used: npt.NDArray[np.uint8], block: int, threads: int
) -> tuple[Floats, Floats, Floats]:
    """(n_chan, n_block) samples that count, their mean and standard deviation."""
    shape = (data.shape[0], -(-data.shape[1] // block))
    count, mean, std = (np.empty(shape, np.float32) for _ in range(3))
    _core.block_moments(data=data, used=used, block=block, count=count, mean=mean, std=std, threads=threads)
    return count, mean, std


def _judged(
    count: Floats, mean: Floats, std: Floats, half: int, steps: Cleaning, threads: int
) -> tuple[Floats, Floats, Bools]:
    """Baseline, inverse of the noise, and what is masked, by channel and block."""
    bad = count < 2
    if not steps.baseline:
        half = mean.shape[1]
    if steps.channels:
        bad = bad | (std <= _DEAD * np.median(std, axis=1, keepdims=True))
        for _ in range(2):  # what is masked no longer bends the baseline
            base, sigma = _baselines(mean, std, bad, half, half, threads)
            found = _outliers(count, mean, std, base, sigma, bad, threads)
            if not found.any():
                break
            bad = bad | found
    least = min(half, _LEAST) if steps.baseline else half
    base, sigma = _baselines(mean, std, bad, half, least, threads)
    bad = bad | ~(sigma > 0)
    inverse = np.divide(np.float32(1), sigma, out=np.zeros_like(sigma), where=~bad)
    return base, inverse, bad


def _baselines(
    mean: Floats, std: Floats, bad: Bools, half: int, least: int, threads: int
) -> tuple[Floats, Floats]:
    """Running medians of the mean and the standard deviation; where none is, those of the channel."""
    out = []
    for value in (mean, std):
        good = np.where(bad, np.float32(np.nan), value)
        smooth = np.empty_like(good)
        _core.running_median(good, half, least, smooth, threads)
        gone = np.isnan(smooth)
        if gone.any():
            whole = np.empty_like(good)
            _core.running_median(good, mean.shape[1], mean.shape[1], whole, threads)
            smooth[gone] = np.nan_to_num(whole[gone])
        out.append(smooth)
    return out[0], out[1]


def _outliers(
    count: Floats, mean: Floats, std: Floats, base: Floats, sigma: Floats, bad: Bools, threads: int
) -> Bools:
    """Blocks and channels that are unlike their neighbours in frequency and unlike themselves at other times."""
    good = ~bad & (sigma > 0)
    scale = np.where(good, sigma, 1)
    root = np.sqrt(np.maximum(count, 1))
    level = np.where(good, (mean - base) / scale * root, 0)
    noise = np.where(good, (std - scale) / scale * root * np.float32(2**0.5), 0)
    n_chan = mean.shape[0]
    near = min(8, max(1, n_chan // 8))
    found = np.zeros(bad.shape, bool)
    loud = np.zeros(bad.shape, bool)
    suspect = np.zeros(bad.shape, bool)
    excess = np.zeros(n_chan)
    for group in _GROUPS:
        if group > 1 and mean.shape[1] < 4 * group:
            break
        for value in (level, noise):
            x = _grouped(value, good if group == 1 else good & ~found, group)
            # a pulse is in neighbouring channels too; a loss of data may be in many of them, but is no pulse
            here, there = _across(x, near, threads), np.median(x, axis=0, keepdims=True)
            above, below = x - here, there - x
            unit = max(1.0, _spread(above[good] if group == 1 else above))
            # what all channels have in common they have by and large
            above, below = above / unit - _ALIKE * abs(here), below / unit - _ALIKE * abs(there)
            most = np.repeat(np.maximum(above, below), group, 1)[:, : bad.shape[1]]
            found |= most > _BAD
            loud |= np.repeat(above > _BAD, group, 1)[:, : bad.shape[1]]
            suspect |= most > _SUSPECT
            if group == 1 and value is level:
                excess = np.where(good & (abs(here) < _BAD), x - here, 0) / unit
    beside = found.copy()
    beside[:, 1:] |= found[:, :-1]
    beside[:, :-1] |= found[:, 1:]
    found |= beside & suspect
    return (found | _bad_channels(loud, found | bad, sigma, excess, good)[:, None]) & ~bad


def _bad_channels(
    loud: Bools, bad: Bools, sigma: Floats, excess: npt.NDArray[np.floating], good: Bools
) -> Bools:
    """Channels that are mostly loud, or gone; noisier than their neighbours; dead; or that vary slowly."""
    n_chan = bad.shape[0]
    typical = np.median(sigma, axis=1)
    alive = typical > 0
    if not alive.any():
        return np.ones(n_chan, bool)
    log = np.where(alive, np.log(np.where(alive, typical, 1)), np.nan).astype(np.float32)
    around = _across(log[:, None], min(16, max(2, n_chan // 8)), 1)[:, 0]
    unlike = log - np.nan_to_num(around)
    still = good & ~bad
    n = still.sum(1)
    variance = np.where(still, np.square(excess), 0).sum(1) / np.maximum(n, 1)
    typical_variance = max(1.0, float(np.median(variance[n > 0]))) if (n > 0).any() else 1.0
    restless = variance > typical_variance * (1 + 6 * np.sqrt(2 / np.maximum(n, 1)))
    mostly = (loud.mean(1) > _MOSTLY) | (bad.mean(1) > _GONE)
    out: Bools = mostly | ~alive | restless | (unlike > np.log(_NOISY)) | (unlike < np.log(_DEAD))
    return out


def _grouped(x: Floats, good: Bools, group: int) -> Floats:
    """Sums of neighbouring blocks over the root of their number, so that the noise stays 1."""
    if group == 1:
        return x
    n = -(-x.shape[1] // group) * group
    padded = np.zeros((x.shape[0], n), np.float32)
    padded[:, : x.shape[1]] = np.where(good, x, 0)
    some = np.zeros((x.shape[0], n), np.float32)
    some[:, : x.shape[1]] = good
    total = padded.reshape(x.shape[0], -1, group).sum(2)
    number = some.reshape(x.shape[0], -1, group).sum(2)
    out: Floats = total / np.sqrt(np.maximum(number, 1))
    return out


def _across(x: Floats, half: int, threads: int) -> Floats:
    """Running median over channels."""
    turned = np.ascontiguousarray(x.T)
    out = np.empty_like(turned)
    _core.running_median(turned, half, half, out, threads)
    return np.ascontiguousarray(out.T)


def _spread(x: npt.NDArray[np.floating]) -> float:
    """Standard deviation, from the quartiles."""
    if not x.size:
        return 0.0
    low, high = np.percentile(x, [25, 75])
    return float(high - low) / 1.349


def _sub_edges(spectra: Spectra) -> npt.NDArray[np.int32]:
    """(n_sub + 1) channels at which sub-bands begin that are equally wide in delay."""
    delays = delay_per_dm(spectra.freq_mhz, "top", spectra.k_dm)
    n_sub = min(_SUBBANDS, spectra.n_chan)
    inner = np.searchsorted(-delays, -delays[0] * (1 - np.arange(1, n_sub) / n_sub))
    inner = np.clip(inner, 1, max(1, spectra.n_chan - 1))
    return np.unique(np.concatenate([[0], inner, [spectra.n_chan]])).astype(np.int32)


def _band_sums(
    spectra: Spectra,
    used: npt.NDArray[np.uint8],
    base: Floats,
    inverse: Floats,
    block: int,
    edges: npt.NDArray[np.int32],
    threads: int,
) -> tuple[Floats, Floats]:
    """Sums over sub-bands, and the sum of squares over all channels."""
    sums = np.empty((edges.size - 1, spectra.n_times), np.float32)
    squares = np.empty(spectra.n_times, np.float32)
    _core.band_sums(
        data=spectra.data,
        used=used,
        base=base,
        inverse=inverse,
        block=block,
        edges=edges,
        sums=sums,
        squares=squares,
        threads=threads,
    )
    return sums, squares


def _channels_used(good: Bools, edges: npt.NDArray[np.int32], block: int, n_times: int) -> Floats:
    """(n_sub, n_times) channels that are not masked."""
    number = np.add.reduceat(good, edges[:-1], axis=0, dtype=np.float32)
    out: Floats = np.repeat(number, block, axis=1)[:, :n_times]
    return out


def _sub_delays(spectra: Spectra, edges: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
    """(n_sub) mean delay of each sub-band over that across the whole band."""
    delays = delay_per_dm(spectra.freq_mhz, "top", spectra.k_dm)
    mean = np.add.reduceat(delays, edges[:-1]) / np.diff(edges)
    return np.asarray(mean / delays[0] if delays[0] > 0 else mean, np.float64)


def _slow(total: Floats, n_used: Floats, window: int, threads: int) -> Floats:
    """What is common to all channels and changes slowly: a running median of short means, joined by straight lines."""
    n = total.size
    step = min(STRETCH, n)
    whole = n // step * step
    number = n_used[:whole].reshape(-1, step).sum(1)
    mean = np.where(number > 0, total[:whole].reshape(-1, step).sum(1) / np.maximum(number, 1), np.nan)
    smooth = np.empty((1, mean.size), np.float32)
    half = max(1, window // step // 2)
    _core.running_median(mean[None].astype(np.float32), half, max(1, half // 8), smooth, threads)
    at = (np.arange(mean.size) + 0.5) * step
    out: Floats = np.interp(np.arange(n) + 0.5, at, np.nan_to_num(smooth[0])).astype(np.float32)
    return out
