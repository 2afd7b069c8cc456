"""Packets that were lost, and arrive as zeros in many neighbouring channels at once."""

from __future__ import annotations

from math import ceil, log

import numpy as np
import numpy.typing as npt

from mwaconvert import _core

_RUN = 8  # neighbouring channels of zeros, at least, that are a loss and not chance
_LONGEST = 250
_CHANCE = 1e-3  # runs by chance that are expected in the data
_TIMES = 64  # that tell how often zeros are
_RAREST = 1e-3  # part of the samples: they may be rarer, but that is not known


def without_lost(
    data: npt.NDArray[np.uint8] | npt.NDArray[np.float32], used: npt.NDArray[np.uint8], threads: int = 0
) -> npt.NDArray[np.uint8]:
    """Samples that count, without those that were lost.

    A sample is lost if at its time it and its neighbours in frequency are zeros, in a run that is too long for
    chance: so long that fewer than a thousandth of a run is expected in all of the data, given how often zeros are.
    Channels that are zero all the time are not loss, and end a run.

    Parameters
    ----------
    data : (n_chan, n_times)
    used : (n_chan, n_times) 1 where a sample counts; of no rows: all count
    threads : 0 for all cores

    Returns
    -------
    (n_chan, n_times), or of no rows where all count

    Examples
    --------
    >>> data = np.full((32, 1000), 7, np.uint8)
    >>> data[8:24, 100:120] = 0
    >>> int((without_lost(data, np.empty((0, 1000), np.uint8)) == 0).sum())
    320
    """
    n_chan, n_times = data.shape
    some = data[:, :: max(1, n_times // _TIMES)] == 0
    live = ~some.all(1)
    zeros = max(float(np.median(some[live].mean(0))), _RAREST) if live.any() else 1.0
    run = max(_RUN, ceil(log(_CHANCE / data.size) / log(zeros))) if zeros < 1 else n_chan
    if run > min(_LONGEST, n_chan // 2):
        return used
    longest = np.empty(n_times, np.uint8)
    _core.longest_runs(data, live.view(np.uint8), 0.0, longest, threads)
    if longest.max() < run:
        return used
    used = used.copy() if used.size else np.ones(data.shape, np.uint8)
    _core.mark_runs(data, live.view(np.uint8), 0.0, run, used, threads)
    return used
