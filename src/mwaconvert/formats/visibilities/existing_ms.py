"""Measurement sets as rows, read through arcae."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mwaconvert.arrays import FloatArray, IntArray
from mwaconvert.errors import FormatError
from mwaconvert.formats.visibilities.casa_table import require_arcae
from mwaconvert.formats.visibilities.existing import (
    CASA_LINEAR,
    Index,
    VisibilityFile,
    assemble,
    describe_text,
    linear_products,
)
from mwaconvert.visibilities.model import FileAntenna, FileMetadata


class _MainRows:
    """Rows of the main table."""

    def __init__(self, path: Path, table: Any, products: list[tuple[int, int]]) -> None:
        self._path = path
        self._table = table
        self._products = products

    def read(
        self, rows: IntArray, window: int, vis: npt.NDArray[np.complex64], weight: npt.NDArray[np.float32]
    ) -> None:
        del window  # the rows are of one, so their shapes are alike
        data, flags = self._get("DATA", rows), self._get("FLAG", rows)
        if self._products == [(k, k) for k in range(4)]:
            vis[:] = data
            np.multiply(flags, np.float32(-2), out=weight)
            weight += 1
            return
        vis[:] = 0
        weight[:] = -0.0
        for place, product in self._products:
            vis[..., product] = data[..., place]
            weight[..., product] = np.where(flags[..., place] != 0, np.float32(-0.0), np.float32(1))

    def uvw_m(self, rows: IntArray) -> FloatArray:
        return np.asarray(self._get("UVW", rows), np.float64)

    def _get(self, name: str, rows: IntArray) -> Any:
        import pyarrow as pa

        order = np.argsort(rows)
        try:
            values = self._table.getcol(name, index=(rows[order],))
        except pa.ArrowException as error:
            raise FormatError(f"{self._path}: column {name} cannot be read: {error}") from None
        if (np.diff(order) == 1).all():
            return values
        back = np.empty_like(values)
        back[order] = values
        return back


def open_ms(path: Path) -> VisibilityFile:
    """Open a measurement set of linear polarisations.

    Raises
    ------
    FormatError : it is damaged, or holds what cannot be shown
    ResourceError : arcae cannot be imported
    """
    require_arcae(path)
    import pyarrow as pa
    from arcae.lib.arrow_tables import Table

    def column(name: str, table: str = "") -> Any:
        return Table.from_filename(str(path) + (f"::{table}" if table else ""), readonly=True).getcol(name)

    try:
        main = Table.from_filename(str(path), readonly=True)
        missing = {"DATA", "FLAG", "UVW", "TIME", "ANTENNA1", "ANTENNA2", "DATA_DESC_ID"} - set(
            main.columns()
        )
        if missing:
            raise FormatError(f"{path}: the main table has no column {sorted(missing)[0]}")
        description = np.asarray(column("DATA_DESC_ID"), np.int64)
        used, window = np.unique(description, return_inverse=True)
        spectral = column("SPECTRAL_WINDOW_ID", "DATA_DESCRIPTION")
        polarisation = set(column("POLARIZATION_ID", "DATA_DESCRIPTION")[used].tolist())
        if len(polarisation) != 1:
            raise FormatError(f"{path}: its spectral windows have different polarisations")
        setups = Table.from_filename(f"{path}::POLARIZATION", readonly=True)
        codes = setups.getcol("CORR_TYPE", index=(np.array(list(polarisation)),))[0].tolist()
        bands = Table.from_filename(f"{path}::SPECTRAL_WINDOW", readonly=True)
        frequencies, widths = (
            [bands.getcol(name, index=(np.array([spectral[k]]),))[0] for k in used]
            for name in ("CHAN_FREQ", "CHAN_WIDTH")
        )
        # in ascending frequency, as pictures show them
        rank = np.argsort([freq.min() for freq in frequencies])
        back = np.argsort(rank)
        index = Index(
            np.asarray(column("TIME")),
            np.asarray(column("ANTENNA1"), np.int64),
            np.asarray(column("ANTENNA2"), np.int64),
            back[window],
            np.asarray(column("INTERVAL")),
        )
        names = [describe_text(name) for name in column("NAME", "ANTENNA")]
        field = column("NAME", "FIELD")
    except pa.ArrowException as error:
        raise FormatError(f"{path}: is not a measurement set that casacore can read: {error}") from None
    return assemble(
        path,
        _MainRows(path, main, linear_products(path, codes, CASA_LINEAR)),
        index,
        frequencies_hz=[frequencies[k] for k in rank],
        widths_hz=[np.abs(widths[k]) for k in rank],
        metadata=FileMetadata(
            path.name,
            describe_text(field[0]) if len(field) else "",
            tuple(FileAntenna(name) for name in names),
        ),
        software="",
    )
