"""Statistics of the data by baseline, channel and timestep, gathered while they are written."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.arrays import FloatArray
from mwaconvert.visibilities.interference import Interference
from mwaconvert.visibilities.model import Block, FileHeader, VisHeader

#: places of the statistics in `Sums.sums` and `Sums.counts`
SUM, SUM_SQUARES, DIFFERENCE, DIFFERENCE_SQUARES = range(4)
GOOD, FLAGGED, PAIRS = range(3)
#: XX and YY
PARALLEL_HANDS = (0, 3)


@dataclass(frozen=True)
class DataFlags:
    """Input cells that the data themselves made flagged, of those that no static rule flags; autocorrelations
    are left out.

    What was found in the data are RFI, interference of all baselines, and the flags of flag files.

    Attributes
    ----------
    row_flagged, row_cells : (n_rows,) flagged ones, and those that there are
    flagged, cells : (n_times, n_channels) the same in each output timestep and channel
    """

    row_flagged: npt.NDArray[np.int64]
    row_cells: npt.NDArray[np.int64]
    flagged: npt.NDArray[np.int32]
    cells: npt.NDArray[np.int32]

    def interference(self, header: VisHeader) -> Interference:
        """Fractions."""

        def by_antenna(values: npt.NDArray[np.int64]) -> FloatArray:
            n = header.metadata.n_antennas
            sums = np.bincount(header.antenna1, values, n) + np.bincount(header.antenna2, values, n)
            return np.asarray(sums, np.float64)

        return Interference(
            of_input=True,
            total=float(ratio(self.flagged.sum(), self.cells.sum())),
            antenna=ratio(by_antenna(self.row_flagged), by_antenna(self.row_cells)),
            channel=ratio(self.flagged.sum(axis=0), self.cells.sum(axis=0)),
            timestep=ratio(self.flagged.sum(axis=1), self.cells.sum(axis=1)),
        )


@dataclass(frozen=True)
class Sums:
    """Sums over unflagged cells; D is the difference of neighbouring channels over the square root of 2.

    Attributes
    ----------
    sums : (..., 4, 4 pol) complex128: V; Re(V)^2 + i Im(V)^2; D; Re(D)^2 + i Im(D)^2
    counts : (..., 3, 4 pol) int64: cells; cells flagged by what the data showed; differences
    """

    sums: npt.NDArray[np.complex128]
    counts: npt.NDArray[np.int64]

    @classmethod
    def zeros(cls, *shape: int) -> Sums:
        return cls(np.zeros((*shape, 4, 4), np.complex128), np.zeros((*shape, 3, 4), np.int64))

    def over_windows(self) -> Sums:
        """Of (n, n_window): summed over the windows."""
        return Sums(self.sums.sum(axis=1), self.counts.sum(axis=1))

    def noise(self) -> FloatArray:
        """(..., 2) standard deviation of the real or imaginary part in XX and YY; NaN where nothing is.

        From the differences, in which a smooth sky cancels.
        """
        squares = self.sums[..., DIFFERENCE_SQUARES, PARALLEL_HANDS]
        n = self.counts[..., PAIRS, PARALLEL_HANDS]
        mean = (squares.real + squares.imag) / (2 * np.where(n > 0, n, 1))
        return np.where(n > 0, np.sqrt(mean), np.nan)

    def interference(self) -> FloatArray:
        """(...) fraction flagged of the cells that no static rule flags; NaN where there are none."""
        flagged = self.counts[..., FLAGGED, :].sum(axis=-1)
        return ratio(flagged, flagged + self.counts[..., GOOD, :].sum(axis=-1))


class QualityStatistics:
    """Sums over the blocks of one run. Cells that a static rule flags are left out.

    Parameters
    ----------
    header : of the run
    row_static : (n_rows,) rows flagged by a static rule
    channel_static : (n_times, n_channels) channels flagged by one, or missing
    threads : 0: all cores

    Attributes
    ----------
    baselines : `Sums` of (n_rows, n_window)
    times : of (n_times, n_window), cross-correlations only
    channels : of (n_channels,), cross-correlations only; differences stand at the lower channel of the pair
    """

    def __init__(
        self,
        header: VisHeader | FileHeader,
        row_static: npt.NDArray[np.uint8],
        channel_static: npt.NDArray[np.uint8],
        threads: int = 0,
    ) -> None:
        self.header = header
        windows = header.spectral_windows
        n_rows, n_times = len(header.antenna1), len(header.time_mjd)
        self.baselines = Sums.zeros(n_rows, len(windows))
        self.times = Sums.zeros(n_times, len(windows))
        self.channels = Sums.zeros(channel_static.shape[1])
        self._row_static = row_static
        self._channel_static = channel_static
        self._cross = (header.antenna1 != header.antenna2).astype(np.uint8)
        self._window_start = np.array([0, *(w.channels.stop for w in windows)], np.int64)
        self._threads = threads

    def add(self, block: Block) -> None:
        """Take a block into the sums."""
        rows = Sums.zeros(len(block.vis), len(self._window_start) - 1)
        cross = self._cross[block.rows]
        _core.quality_sums(
            vis=block.vis,
            weight=block.weight,
            row_static=self._row_static[block.rows],
            row_cross=cross,
            channel_static=self._channel_static[block.time_index],
            window_start=self._window_start,
            row_sums=rows.sums,
            row_counts=rows.counts,
            channel_sums=self.channels.sums,
            channel_counts=self.channels.counts,
            threads=self._threads,
        )
        self.baselines.sums[block.rows] += rows.sums
        self.baselines.counts[block.rows] += rows.counts
        chosen = cross != 0
        self.times.sums[block.time_index] += rows.sums[chosen].sum(axis=0)
        self.times.counts[block.time_index] += rows.counts[chosen].sum(axis=0)

    def antennas(self) -> Sums:
        """`Sums` of (n_antenna,): over the cross-correlations of each."""
        found = Sums.zeros(self.header.metadata.n_antennas)
        cross = self._cross != 0
        for antenna in (self.header.antenna1[cross], self.header.antenna2[cross]):
            np.add.at(found.sums, antenna, self.baselines.sums[cross].sum(axis=1))
            np.add.at(found.counts, antenna, self.baselines.counts[cross].sum(axis=1))
        return found

    def paired_channels(self) -> Sums:
        """`channels`, with each difference counted at both channels of its pair."""
        sums, counts = self.channels.sums.copy(), self.channels.counts.copy()
        for start, stop in zip(self._window_start[:-1], self._window_start[1:], strict=True):
            lower = slice(start, stop - 1)
            upper = slice(start + 1, stop)
            sums[upper, DIFFERENCE:] += self.channels.sums[lower, DIFFERENCE:]
            counts[upper, PAIRS] += self.channels.counts[lower, PAIRS]
        return Sums(sums, counts)

    def total(self) -> Sums:
        """`Sums` of (): over all cross-correlations."""
        return Sums(self.times.sums.sum(axis=(0, 1)), self.times.counts.sum(axis=(0, 1)))


def ratio(part: npt.ArrayLike, whole: npt.ArrayLike) -> FloatArray:
    """part / whole; NaN where there is nothing."""
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.asarray(np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0))


def storage_bytes(n_rows: int, n_windows: int) -> int:
    """Memory that the sums by baseline need."""
    one = Sums.zeros(1)
    return n_rows * n_windows * (one.sums.nbytes + one.counts.nbytes)
