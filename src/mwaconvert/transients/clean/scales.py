"""How samples become units of the noise: baselines, noise levels, and blocks of channels that are masked.

Blocks lie side by side in `Pieces`, between steps of the gain; a baseline does not look beyond its piece.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from mwaconvert import _core

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

_LEAST = 2  # blocks on either side of the running median, at the ends of a piece
_BAD = 5.5  # deviations of a block, in units of their noise
_ALIKE = 0.5  # part by which channels may differ in what they have in common
_SUSPECT = 2.5  # the same beside a bad one
_GROUPS = (1, 4)  # blocks that are judged together
_MOSTLY = 0.3  # part of the blocks of a channel that makes all of it bad, if they are too loud
_GONE = 0.9  # the same of all that are bad
_NOISY = 2.0  # standard deviation over that of neighbours
_DEAD = 0.02
_ENOUGH = 1 << 14  # values that tell a spread to a per cent
_AGAIN = 1e-3  # part of the blocks that is found, from which on the baseline is made anew to find more


@dataclass(frozen=True)
class Pieces:
    """Samples that are cut into blocks: pieces of them, each with blocks of its own.

    Parameters
    ----------
    edges : first sample of each piece, and the number of samples
    block : samples of a block; the last of a piece may be shorter

    Examples
    --------
    >>> pieces = Pieces((0, 512, 1300), 256)
    >>> [(samples.start, blocks.start, blocks.stop) for samples, blocks in pieces.slices()]
    [(0, 0, 2), (512, 2, 6)]
    """

    edges: tuple[int, ...]
    block: int

    @property
    def n_block(self) -> int:
        """Of all pieces."""
        return sum(-(-(end - first) // self.block) for first, end in pairwise(self.edges))

    def slices(self) -> list[tuple[slice, slice]]:
        """Samples and blocks of each piece."""
        out, block = [], 0
        for first, end in pairwise(self.edges):
            n = -(-(end - first) // self.block)
            out.append((slice(first, end), slice(block, block + n)))
            block += n
        return out

    def block_means(self, x: Floats) -> Floats:
        """(n_row, n_block) of (n_row, n_times)."""
        out = np.empty((x.shape[0], self.n_block), np.float32)
        for samples, blocks in self.slices():
            first = np.arange(samples.start, samples.stop, self.block)
            length = np.diff(np.append(first, samples.stop))
            out[:, blocks] = np.add.reduceat(x[:, : samples.stop], first, axis=1) / length
        return out

    def joined(self, values: Floats) -> Floats:
        """(n_row, n_times) straight lines between (n_row, n_block) values in the middles of blocks."""
        out = np.empty((values.shape[0], self.edges[-1]), np.float32)
        for samples, blocks in self.slices():
            n = blocks.stop - blocks.start
            at, middles = np.arange(samples.stop - samples.start) + 0.5, (np.arange(n) + 0.5) * self.block
            for row, value in zip(out, values, strict=True):
                row[samples] = np.interp(at, middles, value[blocks])
        return out


def block_moments(
    data: npt.NDArray[np.uint8] | Floats, used: npt.NDArray[np.uint8], pieces: Pieces, threads: int
) -> tuple[Floats, Floats, Floats]:
    """(n_chan, n_block) samples that count, their mean and standard deviation."""
    parts = []
    for samples, blocks in pieces.slices():
        shape = (data.shape[0], blocks.stop - blocks.start)
        count, mean, std = (np.empty(shape, np.float32) for _ in range(3))
        _core.block_moments(
            data=data[:, samples],
            used=used[:, samples],
            block=pieces.block,
            count=count,
            mean=mean,
            std=std,
            threads=threads,
        )
        parts.append((count, mean, std))
    if len(parts) == 1:
        return parts[0]
    count, mean, std = (np.concatenate(values, axis=1) for values in zip(*parts, strict=True))
    return count, mean, std


def judged(
    count: Floats,
    mean: Floats,
    std: Floats,
    half: int,
    pieces: Pieces,
    *,
    baseline: bool,
    channels: bool,
    threads: int,
) -> tuple[Floats, Floats, Bools]:
    """Baseline, inverse of the noise, and what is masked, by channel and block."""
    bad = count < 2
    if not baseline:
        half = mean.shape[1]
    if channels:
        bad = bad | (std <= _DEAD * np.median(std, axis=1, keepdims=True))
        for _ in range(2):  # what is masked no longer bends the baseline
            base, sigma = _baselines(mean, std, bad, half, half, pieces, threads)
            found = _outliers(count, mean, std, base, sigma, bad, threads)
            bad = bad | found
            if found.mean() < _AGAIN:
                break
    least = _least(half) if baseline else half
    base, sigma = _baselines(mean, std, bad, half, least, pieces, threads)
    bad = bad | ~(sigma > 0)
    inverse = np.divide(np.float32(1), sigma, out=np.zeros_like(sigma), where=~bad)
    return base, inverse, bad


def without_impulses(
    mean: Floats, inverse: Floats, added: Floats, half: int, pieces: Pieces, threads: int
) -> Floats:
    """Baselines of channels without what impulses add to the means of blocks.

    Parameters
    ----------
    mean, inverse : (n_chan, n_block), as for and by `judged`
    added : (n_chan, n_block) by impulses, in units of the noise
    half : blocks on either side of the running median
    """
    there = inverse > 0
    rest = mean - np.divide(added, inverse, out=np.zeros_like(mean), where=there)
    return _baseline(rest, ~there, half, _least(half), pieces, threads)


def _least(half: int) -> int:
    """Blocks on either side of the running median at the ends of a piece."""
    return min(half, _LEAST)


def _baselines(
    mean: Floats, std: Floats, bad: Bools, half: int, least: int, pieces: Pieces, threads: int
) -> tuple[Floats, Floats]:
    """Running medians of the mean and the standard deviation."""
    base, sigma = (_baseline(value, bad, half, least, pieces, threads) for value in (mean, std))
    return base, sigma


def _baseline(value: Floats, bad: Bools, half: int, least: int, pieces: Pieces, threads: int) -> Floats:
    """Running medians; where none is, that of the channel."""
    good = np.where(bad, np.float32(np.nan), value)
    smooth = np.empty_like(good)
    for _, blocks in pieces.slices():
        _core.running_median(good[:, blocks], half, least, smooth[:, blocks], threads)
    rows = np.flatnonzero(np.isnan(smooth).any(1))
    if rows.size:
        whole = np.empty((rows.size, value.shape[1]), np.float32)
        _core.running_median(good[rows], value.shape[1], value.shape[1], whole, threads)
        smooth[rows] = np.where(np.isnan(smooth[rows]), np.nan_to_num(whole), smooth[rows])
    return smooth


def _outliers(
    count: Floats, mean: Floats, std: Floats, base: Floats, sigma: Floats, bad: Bools, threads: int
) -> Bools:
    """Blocks and channels that are unlike their neighbours in frequency and unlike themselves at other times."""
    good = ~bad & (sigma > 0)
    scale = np.where(good, sigma, 1)
    root = np.sqrt(np.maximum(count, 1))
    root[~good] = 0
    root /= scale
    level = (mean - base) * root
    noise = (std - scale) * (root * np.float32(2**0.5))
    n_chan, n_block = mean.shape
    near = min(8, max(1, n_chan // 8))
    found = np.zeros(bad.shape, bool)
    loud = np.zeros(bad.shape, bool)
    suspect = np.zeros(bad.shape, bool)
    excess = np.zeros(bad.shape, np.float32)
    for group in _GROUPS:
        if group > 1 and n_block < 4 * group:
            break
        for value in (level, noise):
            x = _grouped(value, good if group == 1 else good & ~found, group)
            # a pulse is in neighbouring channels too; a loss of data may be in many of them, but is not a pulse
            here, there = _across(x, near, threads), _of_band(x)
            above, below = x - here, there - x
            unit = np.float32(max(1.0, _spread(above, good if group == 1 else None)))
            above /= unit
            below /= unit
            np.abs(here, out=here)
            if group == 1 and value is level:
                excess = np.where(good & (here < _BAD), above, 0)
            # what all channels have in common they have by and large
            here *= _ALIKE
            above -= here
            below -= _ALIKE * abs(there)
            np.maximum(above, below, out=below)
            found |= _blockwise(below > _BAD, group, n_block)
            loud |= _blockwise(above > _BAD, group, n_block)
            suspect |= _blockwise(below > _SUSPECT, group, n_block)
    beside = found.copy()
    beside[:, 1:] |= found[:, :-1]
    beside[:, :-1] |= found[:, 1:]
    found |= beside & suspect
    return (found | _bad_channels(loud, found | bad, sigma, excess, good)[:, None]) & ~bad


def _blockwise(groups: Bools, group: int, n_block: int) -> Bools:
    """What holds for groups of blocks, of each block."""
    return groups if group == 1 else np.repeat(groups, group, axis=1)[:, :n_block]


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
    padded, number = (np.zeros((x.shape[0], n), np.float32) for _ in range(2))
    padded[:, : x.shape[1]] = np.where(good, x, 0)
    number[:, : x.shape[1]] = good
    # a loop over the few of a group is faster than sums of so few
    total, count = (sum(a[:, k::group] for k in range(group)) for a in (padded, number))
    out: Floats = total / np.sqrt(np.maximum(count, 1))
    return out


def _across(x: Floats, half: int, threads: int) -> Floats:
    """Running median over channels."""
    out = np.empty(x.shape, np.float32)
    _core.running_median(x.T, half, half, out.T, threads)
    return out


def _of_band(x: Floats) -> Floats:
    """(1, n_block) median over the channels."""
    low, high = (x.shape[0] - 1) // 2, x.shape[0] // 2
    by_block = np.array(x.T, order="C")
    by_block.partition((low, high), axis=1)
    middle = by_block[:, [low, high]]
    out: Floats = middle.mean(1, dtype=np.float32)[None]
    return out


def _spread(x: Floats, good: Bools | None) -> float:
    """Standard deviation, from the quartiles; of many values a part is enough."""
    step = x.size // _ENOUGH | 1  # odd: not the same blocks of all channels
    some = x.ravel()[::step]
    if good is not None:
        some = some[good.ravel()[::step]]
    if not some.size:
        return 0.0
    low, high = np.percentile(some, [25, 75])
    return float(high - low) / 1.349
