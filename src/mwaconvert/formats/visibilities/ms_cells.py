"""DATA, WEIGHT_SPECTRUM and FLAG of a measurement set: nearly all of its bytes."""

from __future__ import annotations

import os
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.formats.visibilities.casa_table import CasaTable, column, refusals
from mwaconvert.visibilities.model import Block, SpectralWindow

#: columns and casacore's type of them, in the order of _core.write_ms_cells
COLUMNS = {"DATA": "complex", "WEIGHT_SPECTRUM": "float", "FLAG": "boolean"}

#: bytes of a tile of DATA
TILE_BYTES = 400_000
#: bytes of WEIGHT_SPECTRUM split off and handed over at a time
_CHUNK_BYTES = 8 << 20

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


class Cells(Protocol):
    """A way to write the cells."""

    def describe(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Columns and storage managers."""

    def create(self, folder: Path, numbers: dict[str, int]) -> None:
        """Prepare the new table in `folder`, not yet open; `numbers`: of its storage managers, by name."""

    def begin(self, table: CasaTable) -> None:
        """Prepare the open table, which has no rows yet."""

    def write(
        self,
        table: CasaTable,
        row0: int,
        block: Block,
        window: SpectralWindow,
        weight_sum: FloatArray,
        flag_row: BoolArray,
    ) -> None:
        """Write the cells of the rows from `row0` on; fill in the sums of weights and the flags of rows."""

    def finish(self) -> None:
        """Finish the table, which is closed."""

    def abandon(self, folder: Path) -> None:
        """Free the disk space of the cells."""


def cells(windows: tuple[SpectralWindow, ...], n_rows: int, threads: int, *, dysco: bool = False) -> Cells:
    """The fastest way that the windows allow."""
    if dysco:
        return DyscoCells(windows, n_rows, threads)
    if len({window.n_chan for window in windows}) == 1:
        return TileFiles(windows[0].n_chan, n_rows, threads)
    return TableCells(windows, n_rows, threads)


class TileFiles:
    """The cells of windows of one shape, written past casacore.

    If each tile of a TiledColumnStMan has all channels, its file is a plain array over rows, which several
    threads can write at the speed of the file system. casacore makes the table around it; as it would fill
    all rows with zeros at the close, its own files are /dev/null until then.
    """

    def __init__(self, n_chan: int, n_rows: int, threads: int) -> None:
        self._n_chan = n_chan
        self._n_rows = n_rows
        self._threads = threads
        self._files: dict[str, FileIO] = {}
        self._final: dict[str, Path] = {}

    def describe(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        columns = {
            name: column(kind, (self._n_chan, 4), stman="TiledColumnStMan", group=_group(name))
            for name, kind in COLUMNS.items()
        }
        shapes = {name: [4, self._n_chan, self._tile_rows(name)] for name in COLUMNS}
        return columns, [_manager(name, "TiledColumnStMan", shape) for name, shape in shapes.items()]

    def create(self, folder: Path, numbers: dict[str, int]) -> None:
        for name in COLUMNS:
            casacore = folder / f"table.f{numbers[_group(name)]}_TSM0"
            casacore.unlink()
            casacore.symlink_to(os.devnull)
            self._final[name] = casacore
            self._files[name] = FileIO(folder / f"{name}.part", "w")

    def begin(self, table: CasaTable) -> None:
        pass

    def write(
        self,
        table: CasaTable,
        row0: int,
        block: Block,
        window: SpectralWindow,
        weight_sum: FloatArray,
        flag_row: BoolArray,
    ) -> None:
        data, spectrum, flag = (self._files[name].fileno() for name in COLUMNS)
        with refusals(table.target):
            _core.write_ms_cells(
                files=(data, spectrum, flag),
                first_row=row0,
                vis=block.vis,
                weight=block.weight,
                first_chan=window.channels.start,
                n_chan=window.n_chan,
                weight_sum=weight_sum,
                flag_row=flag_row,
                threads=self._threads,
            )

    def finish(self) -> None:
        for name, file in self._files.items():
            tile_rows = self._tile_rows(name)
            with file:
                file.truncate(-(-self._n_rows // tile_rows) * tile_rows * self._row_bytes(name))
            Path(file.name).replace(self._final[name])

    def abandon(self, folder: Path) -> None:  # noqa: ARG002, as Cells has it
        for file in self._files.values():
            file.close()
            Path(file.name).unlink(missing_ok=True)

    def _row_bytes(self, name: str) -> int:
        values = 4 * self._n_chan
        return {"DATA": 8 * values, "WEIGHT_SPECTRUM": 4 * values, "FLAG": _core.flag_bytes(self._n_chan)}[
            name
        ]

    def _tile_rows(self, name: str) -> int:
        if name == "FLAG" and self._n_chan % 2:
            return 1  # a row ends inside a byte, a tile fills it up
        return min(_tile_rows(name, self._n_chan), self._n_rows)


class TableCells:
    """The cells of windows of several shapes, handed to casacore."""

    def __init__(self, windows: tuple[SpectralWindow, ...], n_rows: int, threads: int) -> None:
        self._n_chan = max(window.n_chan for window in windows)
        self._n_rows = n_rows
        self._threads = threads
        n = max(_CHUNK_BYTES // 16, 4 * self._n_chan)
        self._spectrum = np.empty(n, np.float32)
        self._flag = np.empty(n, np.bool_)
        self._data = np.empty(n, np.complex64)

    def describe(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        columns = {
            name: column(kind, ndim=2, stman="TiledShapeStMan", group=_group(name))
            for name, kind in COLUMNS.items()
        }
        # channels beyond a tile's worth are cut into tiles of equal size
        tile_chan = -(-self._n_chan // -(-32 * self._n_chan // TILE_BYTES))
        shapes = {name: [4, tile_chan, min(_tile_rows(name, self._n_chan), self._n_rows)] for name in COLUMNS}
        return columns, [_manager(name, "TiledShapeStMan", shape) for name, shape in shapes.items()]

    def create(self, folder: Path, numbers: dict[str, int]) -> None:
        pass

    def begin(self, table: CasaTable) -> None:
        pass

    def write(
        self,
        table: CasaTable,
        row0: int,
        block: Block,
        window: SpectralWindow,
        weight_sum: FloatArray,
        flag_row: BoolArray,
    ) -> None:
        data, spectrum, flag = self._chunk(window.n_chan)
        n_rows, step = len(flag_row), len(spectrum)
        for first in range(0, n_rows, step):
            last = min(first + step, n_rows)
            n = last - first
            _core.ms_columns(
                weight=block.weight[first:last],
                first_chan=window.channels.start,
                weight_spectrum=spectrum[:n],
                flag=flag[:n],
                weight_sum=weight_sum[first:last],
                flag_row=flag_row[first:last],
                threads=self._threads,
            )
            np.copyto(data[:n], block.vis[first:last, window.channels])
            self._prepare(data[:n], spectrum[:n], flag[:n])
            table.put("DATA", data[:n], row0 + first)
            table.put("WEIGHT_SPECTRUM", spectrum[:n], row0 + first)
            table.put("FLAG", flag[:n], row0 + first)

    def _prepare(self, data: npt.NDArray[np.complex64], spectrum: FloatArray, flag: BoolArray) -> None:
        """Last changes to cells that are about to be written."""

    def _chunk(self, n_chan: int) -> tuple[npt.NDArray[np.complex64], FloatArray, BoolArray]:
        """DATA, WEIGHT_SPECTRUM and FLAG of as many rows as fit."""
        n_rows = len(self._spectrum) // (4 * n_chan)
        tile = _tile_rows("DATA", n_chan)
        if n_rows > tile:
            n_rows -= n_rows % tile
        n = n_rows * n_chan * 4
        shape = (n_rows, n_chan, 4)
        return self._data[:n].reshape(shape), self._spectrum[:n].reshape(shape), self._flag[:n].reshape(shape)

    def finish(self) -> None:
        pass

    def abandon(self, folder: Path) -> None:
        for path in folder.glob("table.f*_TSM*"):
            with suppress(OSError):
                os.truncate(path, 0)


class DyscoCells(TableCells):
    """DATA and WEIGHT_SPECTRUM compressed by Dysco (Offringa 2016), which knows nothing of flags.

    Its steps are as wide as the scatter of all values of an antenna or channel. So that interference does not widen
    them, flagged data are stored as NaN and their weights as 0. A weight is stored once for all polarisations.
    """

    SPEC: ClassVar[dict[str, Any]] = {
        "dataBitCount": 8,
        "weightBitCount": 12,
        "distribution": "TruncatedGaussian",
        "distributionTruncation": 2.5,
        "normalization": "AF",
        "studentTNu": 0.0,
    }

    def describe(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        columns, managers = super().describe()
        return {"FLAG": columns["FLAG"]}, [m for m in managers if m["COLUMNS"] == ["FLAG"]]

    def begin(self, table: CasaTable) -> None:
        # not with the table: Dysco cannot open what it has not written to
        for name in ("DATA", "WEIGHT_SPECTRUM"):
            group = f"Dysco{name}"
            made = column(COLUMNS[name], (self._n_chan, 4), stman="DyscoStMan", group=group)
            manager = {"NAME": group, "TYPE": "DyscoStMan", "SPEC": self.SPEC, "COLUMNS": [name]}
            table.add_columns({name: made}, {"*1": manager})

    def _prepare(self, data: npt.NDArray[np.complex64], spectrum: FloatArray, flag: BoolArray) -> None:
        data[flag] = complex(np.nan, np.nan)
        spectrum[flag] = 0


def _group(name: str) -> str:
    return f"Tiled{name}"


def _manager(name: str, kind: str, tile_shape: list[int]) -> dict[str, Any]:
    spec = {"DEFAULTTILESHAPE": tile_shape}
    return {"NAME": _group(name), "TYPE": kind, "SPEC": spec, "COLUMNS": [name]}


def _tile_rows(name: str, n_chan: int) -> int:
    """Rows of a tile; flags are stored as bits."""
    rows = max(1, TILE_BYTES // (32 * n_chan))
    return 8 * rows if name == "FLAG" else rows
