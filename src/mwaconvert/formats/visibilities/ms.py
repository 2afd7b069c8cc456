"""Measurement sets, written through arcae."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mwaconvert.constants import SECONDS_PER_DAY
from mwaconvert.errors import InputError, ResourceError
from mwaconvert.formats.visibilities.casa_table import (
    CasaTable,
    column,
    create_measurement_set,
    refusals,
    require_arcae,
    standard_columns,
)
from mwaconvert.formats.visibilities.ms_cells import TILE_BYTES, Cells, cells
from mwaconvert.formats.visibilities.ms_quality import quality_bytes, quality_tables
from mwaconvert.formats.visibilities.ms_tables import CABLE_VELOCITY_FACTOR, write_subtable, write_subtables
from mwaconvert.staging import Kind, StagedPath
from mwaconvert.visibilities.model import Block, SpectralWindow, VisHeader

if TYPE_CHECKING:
    from mwaconvert.visibilities.statistics import QualityStatistics

#: least disk space held back, see _Reserve
_RESERVE_BYTES = 8 << 20

#: the same in every row
_CONSTANT = {
    "ARRAY_ID": 0,
    "FEED1": 0,
    "FEED2": 0,
    "FIELD_ID": 0,
    "OBSERVATION_ID": 0,
    "PROCESSOR_ID": -1,
    "SCAN_NUMBER": 1,
    "STATE_ID": -1,
}
#: the same in all rows of one timestep and window
_SLOW = ("TIME", "TIME_CENTROID", "INTERVAL", "EXPOSURE", "DATA_DESC_ID")


class MeasurementSetWriter:
    """Writes a CASA measurement set version 2.0, block by block.

    One row for each timestep, spectral window and baseline, in this order (baselines fastest).

    - DATA: complex64 (channel, pol), polarisations XX, XY, YX, YY.
    - WEIGHT_SPECTRUM: |weight|; FLAG: its sign bit; FLAG_ROW: all flags of the row are set.
    - WEIGHT: sum of WEIGHT_SPECTRUM over all channels, flagged ones included, as Birli and cotter write it.
      SIGMA: 1, as they do.
    - TIME: nominal middle of the timestep, INTERVAL: its nominal length, TIME_CENTROID and EXPOSURE: of the
      data in it that are not flagged. All in seconds, UTC as MJD.
    - UVW: metres, J2000, antenna 1 minus antenna 2.

    Parameters
    ----------
    path : name of the measurement set (a directory)
    header : its spectral windows may be several; several writers, each with one window, write one measurement
        set for each
    overwrite : whether an existing one may be replaced
    threads : for writing; 0: all cores this process may use
    dysco : compress DATA and WEIGHT_SPECTRUM; all windows have the same number of channels

    Raises
    ------
    InputError : `path` exists and `overwrite` is False; in `write`, blocks out of order or of a wrong shape
    ResourceError : arcae cannot be imported, no permission, no space
    """

    def __init__(
        self, path: Path, header: VisHeader, *, overwrite: bool = False, threads: int = 0, dysco: bool = False
    ) -> None:
        self.path = path
        require_arcae(path)
        self._header = header
        self._threads = threads
        self._n_bl = len(header.antenna1)
        self._antennas = {"ANTENNA1": header.antenna1, "ANTENNA2": header.antenna2}
        self._next = (0, 0)  # timestep and baseline of the next block
        self._table: CasaTable | None = None
        self._staged = StagedPath(path, overwrite, Kind.MEASUREMENT_SET)
        n_rows = len(header.time_mjd) * len(header.spectral_windows) * self._n_bl
        self._cells = cells(header.spectral_windows, n_rows, threads, dysco=dysco)
        self._reserve = _Reserve(self._staged.temporary / ".reserve", _reserve_bytes(header))
        try:
            self._create()
        except BaseException:
            self.abort()
            raise
        self._weight_sum = np.empty((self._n_bl, 4), np.float32)
        self._flag_row = np.empty(self._n_bl, np.bool_)

    def _create(self) -> None:
        temporary = self._staged.temporary
        with refusals(self.path):
            temporary.mkdir()
            self._reserve.take()
            self._reserve.release()
        numbers = create_measurement_set(temporary, self.path, *_describe(self._cells))
        with refusals(self.path):
            self._cells.create(temporary, numbers)
        self._table = CasaTable(temporary, self.path)
        self._cells.begin(self._table)
        self._table.put_keywords(
            {
                "UT1UTC": self._header.dut1_s,
                "MWA_FIBER_VEL_FACTOR": CABLE_VELOCITY_FACTOR,
                "MWA_METADATA_VERSION": self._header.metadata.metafits_version,
            }
        )
        # casacore's default says ITRF
        self._table.put_column_keywords("UVW", {"MEASINFO": {"type": "uvw", "Ref": "J2000"}})
        write_subtables(self._table, self._header)
        with refusals(self.path):
            self._reserve.take()

    def write(self, block: Block) -> None:
        """Append a block. Blocks come in row order."""
        table = self._open_table()
        self._check(block)
        if block.rows.start == 0:
            self._start_timestep(table, block.time_index)
        for index, window in enumerate(self._header.spectral_windows):
            self._write_window(table, block, index, window)
        at_end = block.rows.stop == self._n_bl
        self._next = (block.time_index + 1, 0) if at_end else (block.time_index, block.rows.stop)

    def put_statistics(self, statistics: QualityStatistics) -> None:
        """Write the quality tables."""
        table = self._open_table()
        for quality in quality_tables(statistics, self._header):
            write_subtable(table, quality)

    def close(self) -> None:
        """Finish the measurement set, sync it and give it its final name.

        Raises
        ------
        InputError : blocks are missing
        ResourceError : the disk refused
        """
        table = self._open_table()
        try:
            if self._next != (len(self._header.time_mjd), 0):
                raise InputError(f"{self.path}: closed before its last block was written")
            self._reserve.release()
            self._table = None
            table.close()
            with refusals(self.path):
                self._cells.finish()
                self._staged.commit()
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Remove what was written; nothing stays under either name."""
        table, self._table = self._table, None
        # casacore flushes at close and kills the process if it cannot: give it room first
        self._cells.abandon(self._staged.temporary)
        self._reserve.release()
        if table is not None:
            with suppress(ResourceError):
                table.close()
        self._staged.discard()

    def _open_table(self) -> CasaTable:
        if self._table is None:
            raise InputError(f"{self.path}: is closed")
        return self._table

    def _check(self, block: Block) -> None:
        n_chan = max(window.channels.stop for window in self._header.spectral_windows)
        n_rows = block.rows.stop - block.rows.start
        if (block.time_index, block.rows.start) != self._next or n_rows < 1 or block.rows.stop > self._n_bl:
            raise InputError(
                f"{self.path}: expected the block of timestep {self._next[0]} that starts at baseline "
                f"{self._next[1]} of {self._n_bl}, found timestep {block.time_index}, baselines "
                f"{block.rows.start} to {block.rows.stop}"
            )
        for name in ("vis", "weight"):
            shape = getattr(block, name).shape
            if len(shape) != 3 or shape[0] != n_rows or shape[1] < n_chan or shape[2] != 4:
                raise InputError(
                    f"{self.path}: expected {name} of shape ({n_rows}, {n_chan}, 4), found {shape}"
                )

    def _start_timestep(self, table: CasaTable, time_index: int) -> None:
        """Add the rows of a timestep.

        The incremental storage manager gives a new row the values of the row before it: putting the first
        of a run of equal values is enough, and ten times faster than putting all.
        """
        header = self._header
        n_windows = len(header.spectral_windows)
        for window in range(n_windows):
            row = (time_index * n_windows + window) * self._n_bl
            table.add_rows(1)
            if row == 0:
                for name, value in _CONSTANT.items():
                    table.put(name, np.array([value], np.int32))
                table.put("SIGMA", np.ones((1, 4), np.float32))
            table.put("TIME", header.time_mjd[[time_index]] * SECONDS_PER_DAY, row)
            table.put("TIME_CENTROID", header.centroid_mjd[[time_index]] * SECONDS_PER_DAY, row)
            table.put("INTERVAL", header.interval_s[[time_index]], row)
            table.put("EXPOSURE", header.exposure_s[[time_index]], row)
            table.put("DATA_DESC_ID", np.array([window], np.int32), row)
            if self._n_bl > 1:
                table.add_rows(self._n_bl - 1)

    def _write_window(self, table: CasaTable, block: Block, index: int, window: SpectralWindow) -> None:
        rows = block.rows
        n_rows = rows.stop - rows.start
        row0 = (block.time_index * len(self._header.spectral_windows) + index) * self._n_bl + rows.start
        weight_sum, flag_row = self._weight_sum[:n_rows], self._flag_row[:n_rows]
        for name, antenna in self._antennas.items():  # Dysco looks at them
            table.put(name, antenna[rows].astype(np.int32), row0)
        self._cells.write(table, row0, block, window, weight_sum, flag_row)
        table.put("WEIGHT", weight_sum, row0)
        table.put("FLAG_ROW", flag_row, row0)
        table.put("UVW", block.uvw_m, row0)


class _Reserve:
    """Disk space held back in a file.

    casacore ends the whole process when the flush at the close of a table fails. On a disk that fills up, the
    writing of visibilities therefore has to fail first, and what is held back has to be free by the close.
    """

    def __init__(self, path: Path, n_bytes: int) -> None:
        self._path = path
        self._n_bytes = n_bytes

    def take(self) -> None:
        block = os.urandom(1 << 20)  # not zeros: a file system that compresses would hold back nothing
        with self._path.open("wb") as file:
            for _ in range(-(-self._n_bytes // len(block))):
                file.write(block)

    def release(self) -> None:
        self._path.unlink(missing_ok=True)


def _describe(cells: Cells) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Columns and storage managers of the main table."""
    large, managers = cells.describe()
    columns = standard_columns("MAIN") | large
    for name in ("WEIGHT", "SIGMA"):
        columns[name] = column("float", (4,))
    slow = [*_CONSTANT, *_SLOW, "SIGMA"]
    for name in slow:
        columns[name] |= {"dataManagerType": "IncrementalStMan", "dataManagerGroup": "Slow"}
    managers.append({"NAME": "Slow", "TYPE": "IncrementalStMan", "SPEC": {}, "COLUMNS": slow})
    rest = [name for name, c in columns.items() if c.get("dataManagerGroup") == "StandardStMan"]
    # the default bucket of casacore, for every column one for 32 rows, costs five times the time
    spec = {"BUCKETSIZE": 1 << 16}
    managers.append({"NAME": "StandardStMan", "TYPE": "StandardStMan", "SPEC": spec, "COLUMNS": rest})
    return columns, managers


def _reserve_bytes(header: VisHeader) -> int:
    """Enough for all sub-tables and for what casacore still has in memory at the end."""
    windows = header.spectral_windows
    n_chan = sum(window.n_chan for window in windows)
    return _RESERVE_BYTES + len(windows) * 2 * TILE_BYTES + 40 * n_chan + quality_bytes(header)
