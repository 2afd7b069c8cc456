"""uvfits files (random groups) as rows."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mwaconvert.arrays import FloatArray, IntArray
from mwaconvert.constants import JD_OF_MJD_ZERO, SECONDS_PER_DAY, SPEED_OF_LIGHT_M_S
from mwaconvert.errors import Error, FormatError
from mwaconvert.fits_heads import check_heads
from mwaconvert.formats.stored import StoredArray
from mwaconvert.formats.visibilities.existing import (
    FITS_LINEAR,
    Index,
    VisibilityFile,
    assemble,
    describe_text,
    linear_products,
)
from mwaconvert.visibilities.model import FileAntenna, FileMetadata


class _GroupRows:
    """Groups of a file, read piece by piece: what is mapped would count as memory of this process.

    Attributes
    ----------
    parameters : (n_group, PCOUNT)
    """

    def __init__(
        self, path: Path, start: int, n_groups: int, n_parameters: int, shape: tuple[int, int]
    ) -> None:
        self._shape = shape
        self._n_parameters = n_parameters
        self._words = n_parameters + 3 * shape[0] * shape[1]
        self.products: list[tuple[int, int]] = []
        #: column, scale and zero
        self.uvw_columns: list[tuple[int, float, float]] = []
        self._groups = StoredArray(path, np.dtype(">f4"), start, (n_groups, self._words))
        self.parameters = self._groups.beginnings(n_parameters).astype(np.float32)

    def read(
        self, rows: IntArray, window: int, vis: npt.NDArray[np.complex64], weight: npt.NDArray[np.float32]
    ) -> None:
        del window  # there is one
        weight[:] = -0.0
        vis[:] = 0
        at = 0
        for run in np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1):
            here = slice(at, at + len(run))
            at += len(run)
            groups = self._groups[int(run[0]) : int(run[0]) + len(run)]
            groups = groups[:, self._n_parameters :].astype(np.float32)
            data = groups.reshape(len(run), *self._shape, 3)
            for place, product in self.products:
                vis[here, :, product].real = data[:, :, place, 0]
                vis[here, :, product].imag = data[:, :, place, 1]
                w = data[:, :, place, 2]
                weight[here, :, product] = np.where(w > 0, w, -np.abs(w))

    def uvw_m(self, rows: IntArray) -> FloatArray:
        columns = [
            self.parameters[rows, k].astype(np.float64) * scale + zero for k, scale, zero in self.uvw_columns
        ]
        return np.stack(columns, axis=1) * SPEED_OF_LIGHT_M_S


def open_uvfits(path: Path) -> VisibilityFile:
    """Open a uvfits file with one band of evenly spaced channels.

    Raises
    ------
    FormatError : it is damaged, or holds what cannot be shown
    """
    try:
        return _open(path)
    except Error:
        raise
    except Exception as error:  # a damaged header can make astropy raise anything
        raise FormatError(f"{path}: is not a whole uvfits file: {error}") from None


def _open(path: Path) -> VisibilityFile:
    header, start, names, numbers = _read_head(path)
    n_stokes, n_chan = _shape(path, header)
    n_parameters, n_groups = int(header["PCOUNT"]), int(header["GCOUNT"])
    words = n_parameters + 3 * n_stokes * n_chan
    missing = start + 4 * words * n_groups - path.stat().st_size
    if missing > 0:
        raise FormatError(f"{path}: the file ends {missing} bytes before its {n_groups} visibilities do")
    codes = _axis(header, 3, n_stokes).round().astype(int).tolist()
    kinds = [describe_text(header.get(f"PTYPE{k}", "")) for k in range(1, n_parameters + 1)]
    rows = _GroupRows(path, start, n_groups, n_parameters, (n_chan, n_stokes))
    rows.products = linear_products(path, codes, FITS_LINEAR)
    rows.uvw_columns = [
        _column(header, kinds, (name, f"{name}---SIN", f"{name}---NCP"), path) for name in ("UU", "VV", "WW")
    ]
    if "DATE" not in kinds or not ("BASELINE" in kinds or {"ANTENNA1", "ANTENNA2"} <= set(kinds)):
        raise FormatError(f"{path}: the parameters of its visibilities lack DATE, or BASELINE and ANTENNA1")
    time_s = _times_s(header, kinds, rows.parameters)
    interval_s = np.full(n_groups, _spacing(time_s))
    if "INTTIM" in kinds:
        k, scale, zero = _column(header, kinds, ("INTTIM",), path)
        interval_s = rows.parameters[:, k].astype(np.float64) * scale + zero
    first, second = _antennas(header, kinds, rows.parameters, numbers, path)
    return assemble(
        path,
        rows,
        Index(time_s, first, second, np.zeros(n_groups, np.int64), interval_s),
        frequencies_hz=[_axis(header, 4, n_chan)],
        widths_hz=[np.full(n_chan, abs(float(header.get("CDELT4", 0.0))))],
        metadata=FileMetadata(
            str(header.get("OBSID", path.name)),
            describe_text(header.get("OBJECT", "")),
            tuple(FileAntenna(name) for name in names),
        ),
        software=describe_text(header.get("SOFTWARE", header.get("ORIGIN", ""))),
    )


def _read_head(path: Path) -> tuple[Any, int, list[str], IntArray]:
    """The header, where the data begin, and the names and numbers of the antennas."""
    from astropy.io import fits

    check_heads(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is wrong with the file is said below
        with fits.open(path, memmap=False) as hdus:
            header = hdus[0].header
            start = int(hdus[0].fileinfo()["datLoc"])
            table = next((hdu for hdu in hdus[1:] if hdu.name == "AIPS AN"), None)
            if table is None:
                raise FormatError(f"{path}: expected a uvfits file, but it has no table AIPS AN")
            names = [describe_text(name) for name in table.data["ANNAME"]]
            numbers = np.asarray(table.data["NOSTA"], np.int64)
    if not header.get("GROUPS") or header["NAXIS"] < 4 or header["BITPIX"] != -32:
        raise FormatError(f"{path}: expected random groups of 32-bit floats, as uvfits files have")
    return header, start, names, numbers


def _shape(path: Path, header: Any) -> tuple[int, int]:
    """Numbers of polarisations and channels."""
    axes = {describe_text(header.get(f"CTYPE{k}", "")): k for k in range(2, header["NAXIS"] + 1)}
    lengths = {kind: int(header[f"NAXIS{k}"]) for kind, k in axes.items()}
    for kind in ("COMPLEX", "STOKES", "FREQ"):
        if kind not in axes:
            raise FormatError(f"{path}: has no axis {kind}")
    if [axes[kind] for kind in ("COMPLEX", "STOKES", "FREQ")] != [2, 3, 4] or lengths["COMPLEX"] != 3:
        raise FormatError(f"{path}: expected the axes COMPLEX (3), STOKES, FREQ in this order")
    others = [kind for kind, n in lengths.items() if kind not in ("COMPLEX", "STOKES", "FREQ") and n > 1]
    if others:
        raise FormatError(f"{path}: axis {others[0]} has {lengths[others[0]]} entries; one is understood")
    return lengths["STOKES"], lengths["FREQ"]


def _times_s(header: Any, kinds: list[str], parameters: npt.NDArray[Any]) -> FloatArray:
    """(n_group,) UTC as seconds of MJD: the sum of all dates of a group."""
    mjd = sum(
        parameters[:, k].astype(np.float64) * header.get(f"PSCAL{k + 1}", 1.0)
        + (header.get(f"PZERO{k + 1}", 0.0) - (JD_OF_MJD_ZERO if k == kinds.index("DATE") else 0))
        for k, kind in enumerate(kinds)
        if kind in ("DATE", "_DATE")
    )
    return np.asarray(mjd) * SECONDS_PER_DAY


def _antennas(
    header: Any, kinds: list[str], parameters: npt.NDArray[Any], numbers: IntArray, path: Path
) -> tuple[IntArray, IntArray]:
    """(n_group,) places of both antennas in the table; antennas that it lacks get places beyond its end."""

    def column(name: str) -> IntArray:
        k, scale, zero = _column(header, kinds, (name,), path)
        return (parameters[:, k].astype(np.float64) * scale + zero).astype(np.int64)

    if "BASELINE" in kinds:
        number = column("BASELINE")
        long = number > 65536
        first = np.where(long, (number - 65536) // 2048, number // 256)
        second = np.where(long, (number - 65536) % 2048, number % 256)
    else:
        first, second = column("ANTENNA1"), column("ANTENNA2")
    order = np.argsort(numbers, kind="stable")

    def places(antennas: IntArray) -> IntArray:
        at = np.minimum(np.searchsorted(numbers, antennas, sorter=order), len(numbers) - 1)
        return np.where(numbers[order[at]] == antennas, order[at], len(numbers))

    return places(first), places(second)


def _axis(header: Any, k: int, n: int) -> FloatArray:
    pixel = np.arange(1, n + 1) - float(header.get(f"CRPIX{k}", 1.0))
    return np.asarray(float(header.get(f"CRVAL{k}", 0.0)) + pixel * float(header.get(f"CDELT{k}", 1.0)))


def _column(header: Any, kinds: list[str], names: tuple[str, ...], path: Path) -> tuple[int, float, float]:
    """Column, scale and zero of a parameter."""
    for k, kind in enumerate(kinds):
        if kind in names:
            return k, float(header.get(f"PSCAL{k + 1}", 1.0)), float(header.get(f"PZERO{k + 1}", 0.0))
    raise FormatError(f"{path}: the parameters of its visibilities lack {names[0]}")


def _spacing(time_s: FloatArray) -> float:
    steps = np.diff(np.unique(time_s.round(2)))
    return float(np.median(steps)) if len(steps) else 0.0
