"""Gathers what the picture shows from the blocks as they pass, in memory that does not grow with the data."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from mwaconvert.arrays import FloatArray
from mwaconvert.errors import InputError, ResourceError
from mwaconvert.staging import check_target, kind_of
from mwaconvert.visibilities.model import Block, FileHeader, VisHeader
from mwaconvert.visibilities.statistics import PARALLEL_HANDS, DataFlags, ratio

#: of a run, or of a file
QaHeader: TypeAlias = VisHeader | FileHeader

#: largest number of pixels along time and frequency
MAX_PIXELS = 1000
#: largest number of uv points that are drawn
MAX_UV_POINTS = 60_000
#: timesteps that the uv points are taken from
UV_TIMES = 12
#: rows that are worked on at once, times channels: their scratch stays in the cache
CHUNK_CELLS = 1 << 16


class QaCollector:
    """Sums over the blocks of one run.

    Parameters
    ----------
    header : of the run, or of a file
    path : picture to write, .png or .html
    overwrite : whether an existing one may be replaced

    Attributes
    ----------
    amplitude : (n_time_pixel, n_pixel) mean |V| of XX and YY over unflagged crosses; NaN where none
    occupancy : (n_time_pixel, n_pixel) fraction of flagged cross-correlations between unflagged tiles
    data_flags : what the data of a conversion showed, once it is known; None: of a file
    interference : (n_time_pixel, n_pixel) the fraction of the input that it made flagged, of what no static rule
        flags; of a file, whose rules are not known, the occupancy where not all baselines are flagged; NaN where
        nothing is left
    autos : (2 pol, n_antenna, n_pixel) mean unflagged autocorrelation; NaN where none
    uv_m : (n, 2) sample of the uv coverage

    Raises
    ------
    InputError : unknown suffix, or the file exists
    ResourceError : matplotlib is not installed, or the directory cannot be written
    """

    def __init__(
        self,
        header: QaHeader,
        path: Path,
        *,
        overwrite: bool = False,
    ) -> None:
        if path.suffix not in (".png", ".html"):
            raise InputError(f"{path}: unknown kind of picture; end the name in .png or .html")
        if find_spec("matplotlib") is None:
            raise ResourceError(
                f"{path}: drawing needs matplotlib, which is not installed; pip install 'mwaconvert[plot]'"
            )
        self.header = header
        self.path = path
        check_target(path, kind_of(path), overwrite=overwrite)  # better now than after the work
        self.overwrite = overwrite
        n_times, n_antennas = len(header.time_mjd), header.metadata.n_antennas
        n_channels = sum(w.n_chan for w in header.spectral_windows)
        self.time_bin = -(-n_times // MAX_PIXELS)
        self.channel_bin = -(-n_channels // MAX_PIXELS)
        #: first channel of each pixel: pixels do not reach across spectral windows
        self.pixel_start = np.concatenate(
            [np.arange(w.channels.start, w.channels.stop, self.channel_bin) for w in header.spectral_windows]
        )
        shape = (-(-n_times // self.time_bin), len(self.pixel_start))
        self._cross = header.antenna1 != header.antenna2
        flagged = header.antenna_flagged[header.antenna1] | header.antenna_flagged[header.antenna2]
        #: rows that the flag occupancy is taken over: all, if all tiles are flagged
        self._counted = self._cross & ~flagged if (self._cross & ~flagged).any() else self._cross
        self._amplitude_sum, self._amplitude_n = np.zeros(shape), np.zeros(shape)
        self._flagged_n, self._cells_n = np.zeros(shape), np.zeros(shape)
        self.data_flags: DataFlags | None = None
        auto_shape = (2, n_antennas, shape[1])
        self._auto_sum, self._auto_n = np.zeros(auto_shape), np.zeros(auto_shape)
        self._uv: list[FloatArray] = []
        self._uv_times = set(np.linspace(0, n_times - 1, min(UV_TIMES, n_times)).astype(int).tolist())
        n_cross = int(self._cross.sum())
        self._uv_stride = max(1, -(-n_cross * len(self._uv_times) // MAX_UV_POINTS))

    @property
    def amplitude(self) -> FloatArray:
        return ratio(self._amplitude_sum, self._amplitude_n)

    @property
    def occupancy(self) -> FloatArray:
        return ratio(self._flagged_n, self._cells_n)

    @property
    def interference(self) -> FloatArray:
        if self.data_flags is None:
            return np.where(self._flagged_n < self._cells_n, self.occupancy, np.nan)
        first = np.arange(0, len(self.header.time_mjd), self.time_bin)
        flagged, cells = (
            np.add.reduceat(self._to_pixels(counts), first)
            for counts in (self.data_flags.flagged, self.data_flags.cells)
        )
        return ratio(flagged, cells)

    @property
    def autos(self) -> FloatArray:
        return ratio(self._auto_sum, self._auto_n)

    @property
    def uv_m(self) -> FloatArray:
        return np.concatenate(self._uv) if self._uv else np.zeros((0, 2))

    def add(self, block: Block) -> None:
        """Take a block into the sums."""
        n_rows, n_channels = block.vis.shape[:2]
        cross = self._cross[block.rows]
        counted = self._counted[block.rows]
        step = max(1, CHUNK_CELLS // n_channels)
        for start in range(0, n_rows, step):
            part = slice(start, start + step)
            if cross[part].any():
                self._add_cross(block, part, cross[part], counted[part])
        if not cross.all():
            self._add_autos(block, np.flatnonzero(~cross))
        if block.time_index in self._uv_times:
            self._uv.append(block.uvw_m[cross, :2][:: self._uv_stride].copy())

    def _add_cross(
        self, block: Block, part: slice, cross: npt.NDArray[np.bool_], counted: npt.NDArray[np.bool_]
    ) -> None:
        pixel = block.time_index // self.time_bin
        good = ~np.signbit(block.weight[part, :, 0])  # the four products share their flags
        amplitude = np.zeros(good.shape, np.float32)
        for pol in PARALLEL_HANDS:
            values = block.vis[part, :, pol]
            # ten times faster than np.abs, which guards against overflow
            with np.errstate(over="ignore", invalid="ignore"):  # of flagged values
                amplitude += np.sqrt(np.square(values.real) + np.square(values.imag))
        # flagged values may be anything, so they are replaced and not multiplied by 0
        amplitude[~good] = 0
        n_good = np.stack([cross, counted]).astype(np.float32) @ good.astype(np.float32)
        self._amplitude_sum[pixel] += self._to_pixels(cross.astype(np.float32) @ amplitude)
        self._amplitude_n[pixel] += self._to_pixels(len(PARALLEL_HANDS) * n_good[0])
        self._flagged_n[pixel] += self._to_pixels(counted.sum() - n_good[1])
        self._cells_n[pixel] += self._to_pixels(np.full(good.shape[1], counted.sum()))

    def _add_autos(self, block: Block, rows: npt.NDArray[np.intp]) -> None:
        antennas = self.header.antenna1[block.rows][rows]
        for i, pol in enumerate(PARALLEL_HANDS):
            good = ~np.signbit(block.weight[rows, :, pol])
            power = np.where(good, block.vis[rows, :, pol].real, np.float32(0))
            self._auto_sum[i, antennas] += self._to_pixels(power)
            self._auto_n[i, antennas] += self._to_pixels(good)

    def _to_pixels(self, values: npt.NDArray[np.generic]) -> FloatArray:
        """Sums over the channels of each pixel, along the last axis."""
        return np.asarray(np.add.reduceat(values, self.pixel_start, axis=-1, dtype=np.float64))
