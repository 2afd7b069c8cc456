"""Steps of the gain: samples at which the level of all channels changes at once, and stays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

_SIDE = 6  # blocks on either side that say what the level is: it stays
_CLEAR = 10.0  # height over the noise of the level
_AT_ONCE = 0.6  # part of the height that lies within two blocks
_STAYS = 0.5  # part of the height that lies between all blocks before and after, but for one on either side
_BATCH = 256  # channels that are averaged at once


def level_steps(
    data: npt.NDArray[np.uint8] | Floats, count: Floats, mean: Floats, std: Floats, block: int, step: int
) -> tuple[int, ...]:
    """Samples at which the level changes, ascending: multiples of `step`.

    The level is the median over the channels of the means of blocks, in units of the noise of a channel. A step is a
    block with medians of six blocks before and after that differ by more than ten times the noise of the level, of
    which most lies within that block: no drift; and but for one on either side, all six before differ from all six
    after: no flash.

    Parameters
    ----------
    data : (n_chan, n_times)
    count, mean, std : (n_chan, n_block) moments of its blocks
    block : samples of a block
    step : samples

    Examples
    --------
    >>> from mwaconvert.transients.clean.scales import Pieces, block_moments
    >>> data = np.random.default_rng(1).normal(0, 1, (64, 4096)).astype(np.float32)
    >>> data[:, 2010:] += 2
    >>> moments = block_moments(data, np.empty((0, 4096), np.uint8), Pieces((0, 4096), 128), 0)
    >>> level_steps(data, *moments, 128, 32)
    (2016,)
    """
    n_block = mean.shape[1]
    there = (count > 1) & (std > 0)
    n = there.sum(1, keepdims=True)
    good = n[:, 0] > n_block // 2
    if n_block < 2 * _SIDE + 1 or not good.any():
        return ()
    middle = (np.where(there, mean, 0).sum(1, keepdims=True) / np.maximum(n, 1)).astype(np.float32)
    sigma = (np.where(there, std, 0).sum(1, keepdims=True) / np.maximum(n, 1)).astype(np.float32)
    sigma[~good] = 1
    level = np.median((np.where(there, mean, middle) - middle)[good] / sigma[good], axis=0)
    noise = 1.4826 * float(np.median(abs(np.diff(level))))
    sides = np.sort(np.lib.stride_tricks.sliding_window_view(level, _SIDE), axis=1)
    before, after = sides[: n_block - 2 * _SIDE], sides[_SIDE + 1 :]
    height, apart, across = np.zeros(n_block), np.zeros(n_block), np.zeros(n_block)
    inner = slice(_SIDE, n_block - _SIDE)
    height[inner] = np.median(after, axis=1) - np.median(before, axis=1)
    apart[inner] = np.maximum(after[:, 1] - before[:, -2], before[:, 1] - after[:, -2])
    across[1:-1] = level[2:] - level[:-2]
    size = abs(height)
    clear = (size > _CLEAR * noise) & (apart > _STAYS * size) & (across * np.sign(height) > _AT_ONCE * size)
    cuts: list[int] = []
    for b in np.argsort(-size, kind="stable"):
        if not clear[b]:
            continue
        clear[max(0, b - _SIDE) : b + _SIDE + 1] = False
        first = (b - 1) * block
        at = first + _change(_average(data, good, middle, sigma, slice(first, (b + 2) * block)))
        cuts.append(round(at / step) * step)
    return tuple(sorted(cuts))


def _average(
    data: npt.NDArray[np.uint8] | Floats,
    good: npt.NDArray[np.bool_],
    middle: Floats,
    sigma: Floats,
    part: slice,
) -> npt.NDArray[np.float64]:
    """Mean over good channels, in units of their noise."""
    channels = np.flatnonzero(good)
    total = np.zeros(part.stop - part.start)
    for k in range(0, channels.size, _BATCH):
        rows = slice(k, k + _BATCH)
        total += ((data[channels[rows], part] - middle[rows]) / sigma[rows]).sum(0)
    return total / channels.size


def _change(x: npt.NDArray[np.float64]) -> int:
    """The sample before and after which the means differ most, in units of their noise."""
    n = x.size
    before = np.arange(1, n)
    total = np.cumsum(x - x.mean())[:-1]
    return int(np.argmax(total**2 / (before * (n - before)))) + 1
