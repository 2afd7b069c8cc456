"""What blocks show as a whole: how much is flagged, how noisy the data are, and both in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.arrays import FloatArray
from mwaconvert.text import percent, some
from mwaconvert.visibilities.interference import Interference
from mwaconvert.visibilities.model import Block, FileHeader, VisHeader
from mwaconvert.visibilities.statistics import QualityStatistics

#: noise of a tile, in units of the median tile, from which on it is named
LOUD = 1.5


@dataclass(frozen=True)
class Occupancy:
    """Fraction of the output that is flagged: of everything, and by antenna, channel and timestep.

    Attributes
    ----------
    antenna : (n_antenna,) over the baselines of each antenna; NaN for an antenna without rows
    channel : (n_channel,) in the order of the spectral windows
    timestep : (n_time,)
    """

    total: float
    antenna: FloatArray
    channel: FloatArray
    timestep: FloatArray


@dataclass(frozen=True)
class Quality:
    """What the cross-correlations themselves show, by antenna, channel and timestep.

    Attributes
    ----------
    noise : (2,) standard deviation of the real or imaginary part, XX and YY, from differences of neighbouring
        channels; antenna_noise (n_antenna, 2), channel_noise (n_channel, 2), timestep_noise (n_time, 2)
    interference : fraction of the cells that no static rule flags that were flagged by what the data showed

    NaN where nothing is unflagged.
    """

    noise: FloatArray
    antenna_noise: FloatArray
    channel_noise: FloatArray
    timestep_noise: FloatArray
    interference: Interference


class FlagCounts:
    """Numbers of flagged values by row, channel and timestep."""

    def __init__(self, header: VisHeader | FileHeader, threads: int = 0) -> None:
        self._threads = threads
        n_times, n_rows = len(header.time_mjd), len(header.antenna1)
        n_channels = sum(w.n_chan for w in header.spectral_windows)
        self.values_per_row = n_channels * 4 * n_times
        self.by_row = np.zeros(n_rows, np.int64)
        self.by_channel = np.zeros(n_channels, np.int64)
        self.by_time = np.zeros(n_times, np.int64)
        self.bad_cells = np.zeros(n_rows, np.int64)
        self.file_cells = 0
        self.rfi_cells = 0

    def add(self, block: Block) -> None:
        by_row = np.zeros(len(block.weight), np.int64)
        _core.count_flags(block.weight, by_row, self.by_channel, self._threads)
        self.by_row[block.rows] += by_row
        self.by_time[block.time_index] += by_row.sum()


def make_occupancy(header: VisHeader | FileHeader, counts: FlagCounts) -> Occupancy:
    """What the counts of flags say."""
    a, b = header.antenna1, header.antenna2
    n_antennas, n_times = header.metadata.n_antennas, len(header.time_mjd)
    n_channels = len(counts.by_channel)
    cross = a != b

    def by_antenna(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        sums = np.bincount(a, values, n_antennas) + np.bincount(b[cross], values[cross], n_antennas)
        return sums.astype(np.float64)

    rows = by_antenna(np.ones(len(a)))
    with np.errstate(invalid="ignore"):
        antenna = by_antenna(counts.by_row) / (rows * counts.values_per_row)
    return Occupancy(
        total=float(counts.by_row.sum() / (len(a) * counts.values_per_row)),
        antenna=antenna,
        channel=counts.by_channel / (n_times * len(a) * 4),
        timestep=counts.by_time / (n_channels * len(a) * 4),
    )


def make_quality(statistics: QualityStatistics, interference: Interference) -> Quality:
    """What statistics and flags say."""
    antennas, channels, total = statistics.antennas(), statistics.paired_channels(), statistics.total()
    times = statistics.times.over_windows()
    return Quality(
        noise=total.noise(),
        antenna_noise=antennas.noise(),
        channel_noise=channels.noise(),
        timestep_noise=times.noise(),
        interference=interference,
    )


def noise_lines(quality: Quality, names: Sequence[str]) -> list[str]:
    """Noise of the data, and the tiles that have much of it."""
    if not np.isfinite(quality.noise).any():
        return []
    xx, yy = quality.noise
    found = quality.interference
    of_what = (
        "of the input flagged by the data" if found.of_input else "flagged besides whole tiles and channels"
    )
    line = f"noise {xx:.4g} (XX) and {yy:.4g} (YY), {percent(found.total)} {of_what}"
    shown = relative_noise(quality)
    loud = [i for i in np.argsort(-shown).tolist() if shown[i] > LOUD]
    if not loud:
        return [line]
    return [line, f"noisy tiles: {some([f'{names[i]} ({shown[i]:.1f} x)' for i in loud])}"]


def relative_noise(quality: Quality) -> FloatArray:
    """(n_antenna,) noise of the noisier polarisation in units of the median tile; 0 where there is none."""
    shown = np.nan_to_num(quality.antenna_noise.max(axis=1))
    typical = float(np.median(shown[shown > 0])) if (shown > 0).any() else 1.0
    return np.asarray(shown / typical)
