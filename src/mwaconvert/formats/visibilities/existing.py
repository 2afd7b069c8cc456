"""Visibility files that exist already, of this or another program, as blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mwaconvert.arrays import FloatArray, IntArray
from mwaconvert.constants import SECONDS_PER_DAY
from mwaconvert.errors import FormatError
from mwaconvert.visibilities.model import Block, FileHeader, FileMetadata, SpectralWindow

#: of the values of a block
BLOCK_BYTES = 16 << 20
#: codes of XX, XY, YX, YY in measurement sets and in FITS
CASA_LINEAR = {9: 0, 10: 1, 11: 2, 12: 3}
FITS_LINEAR = {-5: 0, -6: 3, -7: 1, -8: 2}
#: times nearer to each other than this belong to one integration
SAME_TIME_S = 0.01


class Rows(Protocol):
    """The rows of a file, in the order of the file; polarisations XX, XY, YX, YY."""

    def read(
        self, rows: IntArray, window: int, vis: npt.NDArray[np.complex64], weight: npt.NDArray[np.float32]
    ) -> None:
        """Fill (n, n_chan, 4) from rows of one window; a sign bit of weight marks a flag."""

    def uvw_m(self, rows: IntArray) -> FloatArray:
        """(n, 3)."""


@dataclass(frozen=True)
class Index:
    """Where the rows of a file stand.

    Attributes
    ----------
    time_s, antenna1, antenna2, window : (n_row,)
    interval_s : (n_row,)
    """

    time_s: FloatArray
    antenna1: IntArray
    antenna2: IntArray
    window: IntArray
    interval_s: FloatArray


@dataclass(frozen=True)
class VisibilityFile:
    """A file as blocks; values that it does not hold are zero and flagged.

    Attributes
    ----------
    header : antennas flagged are those that have no unflagged value in the first, middle and last timestep
    """

    path: Path
    header: FileHeader
    _rows: Rows
    _order: IntArray = field(repr=False)
    _starts: IntArray = field(repr=False)
    _baseline: IntArray = field(repr=False)
    _window: IntArray = field(repr=False)

    def blocks(self, times: list[int] | None = None) -> Iterator[Block]:
        """Blocks of all or some timesteps; the next one reuses the arrays of a block."""
        windows = self.header.spectral_windows
        n_chan, n_bl = windows[-1].channels.stop, len(self.header.antenna1)
        step = int(np.clip(BLOCK_BYTES // (n_chan * 48), 1, n_bl))
        vis = np.zeros((step, n_chan, 4), np.complex64)
        weight = np.zeros((step, n_chan, 4), np.float32)
        for t in range(len(self.header.time_mjd)) if times is None else times:
            rows = self._order[self._starts[t] : self._starts[t + 1]]
            place = np.full((len(windows), n_bl), -1, np.int64)
            place[self._window[rows], self._baseline[rows]] = rows
            for begin in range(0, n_bl, step):
                end = min(begin + step, n_bl)
                yield self._block(t, place[:, begin:end], begin, vis, weight)

    def _block(
        self,
        time: int,
        place: IntArray,
        begin: int,
        vis: npt.NDArray[np.complex64],
        weight: npt.NDArray[np.float32],
    ) -> Block:
        n = place.shape[1]
        vis, weight = vis[:n], weight[:n]
        uvw_m = np.zeros((n, 3))
        for w, window in enumerate(self.header.spectral_windows):
            there = np.flatnonzero(place[w] >= 0)
            whole = len(there) == n and window.n_chan == vis.shape[1]
            shape = (len(there), window.n_chan, 4)
            part = vis if whole else np.zeros(shape, np.complex64)
            part_weight = weight if whole else np.zeros(shape, np.float32)
            if len(there):
                self._rows.read(place[w, there], w, part, part_weight)
                uvw_m[there] = self._rows.uvw_m(place[w, there])
            if not whole:
                vis[:, window.channels] = 0
                weight[:, window.channels] = -0.0
                vis[there, window.channels] = part
                weight[there, window.channels] = part_weight
        return Block(time, slice(begin, begin + n), vis, weight, uvw_m)


def assemble(
    path: Path,
    rows: Rows,
    index: Index,
    *,
    frequencies_hz: list[FloatArray],
    widths_hz: list[FloatArray],
    metadata: FileMetadata,
    software: str,
) -> VisibilityFile:
    """Sort the rows of a file by time and baseline."""
    if len(index.time_s) == 0:
        raise FormatError(f"{path}: holds no visibilities")
    order = np.argsort(index.time_s, kind="stable")
    steps = np.flatnonzero(np.diff(index.time_s[order]) > SAME_TIME_S) + 1
    starts = np.concatenate([[0], steps, [len(order)]])
    n = metadata.n_antennas
    for antenna in (index.antenna1, index.antenna2):
        if antenna.min() < 0 or antenna.max() >= n:
            raise FormatError(
                f"{path}: its antenna table has {n} antennas, but its visibilities name antenna {antenna.max()}"
            )
    pairs, baseline = np.unique(index.antenna1 * n + index.antenna2, return_inverse=True)
    windows, at = [], 0
    for freq, width in zip(frequencies_hz, widths_hz, strict=True):
        windows.append(SpectralWindow(slice(at, at + len(freq)), freq, width, width, ()))
        at += len(freq)
    header = FileHeader(
        metadata,
        tuple(windows),
        pairs // n,
        pairs % n,
        index.time_s[order][starts[:-1]] / SECONDS_PER_DAY,
        index.interval_s[order][starts[:-1]],
        np.zeros(n, np.bool_),
        software,
    )
    file = VisibilityFile(path, header, rows, order, starts, baseline, index.window)
    header.antenna_flagged[:] = _flagged_antennas(file)
    return file


def linear_products(path: Path, codes: list[int], names: dict[int, int]) -> list[tuple[int, int]]:
    """(place in the file, place in XX, XY, YX, YY) of each product; XX and YY must be there."""
    found = [(k, names[code]) for k, code in enumerate(codes) if code in names]
    if not {0, 3} <= {place for _, place in found}:
        raise FormatError(
            f"{path}: expected linear polarisations with XX and YY, found the codes"
            f" {', '.join(map(str, codes))}"
        )
    return found


def _flagged_antennas(file: VisibilityFile) -> npt.NDArray[np.bool_]:
    header = file.header
    good = np.zeros(header.metadata.n_antennas, np.bool_)
    last = len(header.time_mjd) - 1
    for block in file.blocks(sorted({0, last // 2, last})):
        some = ~np.signbit(block.weight).all(axis=(1, 2))
        for antenna in (header.antenna1, header.antenna2):
            good[antenna[block.rows][some]] = True
    return ~good


def describe_text(value: Any) -> str:
    """A name as files write it: bytes or text, padded."""
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
    return text.strip(" \0")
