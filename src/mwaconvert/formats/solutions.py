"""Calibration solutions: AOCal (.bin), hyperdrive (.fits), and the fits of a metafits (HDU CALIBDATA).

All become matrices J by which visibilities are multiplied: V' = J_i V J_j^H, elements XX, XY, YX, YY, NaN
where there is no solution.

- AOCal and hyperdrive store J as it is.
- CALIBDATA holds what a tile does to the signal, fitted by the MWA's calibration service to J of hyperdrive:
  gains 1 / |J| of each coarse channel, a delay in metres with the sign of the phase of 1 / J, and the phase of
  J at zero frequency ("intercept"). So J = exp(i (intercept - 2 pi delay f / c)) / gain.
"""

from __future__ import annotations

import re
import struct
import warnings
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mwaconvert.arrays import FloatArray
from mwaconvert.constants import SECONDS_PER_DAY, SPEED_OF_LIGHT_M_S
from mwaconvert.errors import Error, FormatError, ResourceError
from mwaconvert.fits_heads import check_heads
from mwaconvert.formats.promises import check_promise
from mwaconvert.staging import check_input

AOCAL_MAGIC = b"MWAOCAL\0"
_AOCAL_HEADER = struct.Struct("<8sii4I2d")
#: of the day on which GPS time starts, in seconds of MJD
GPS_START_MJD_S = 44244 * SECONDS_PER_DAY

ComplexArray = npt.NDArray[np.complex128]


class SolutionKind(Enum):
    """Who wrote them, in words."""

    AOCAL = "AOCal"
    HYPERDRIVE = "hyperdrive"
    CALIBDATA = "CALIBDATA"


class Assumed(Enum):
    """Corrections of which hyperdrive says whether the data had them; values are its keys."""

    DIGITAL_GAINS = "D_GAINS"
    CABLE_DELAYS = "CABLELEN"
    GEOMETRIC_DELAYS = "GEOMETRY"
    PASSBAND = "PFB"


@dataclass(frozen=True)
class Solutions:
    """Solutions of one file.

    Attributes
    ----------
    jones : (n_times, n_antennas, n_channels, 4) complex128, NaN where there is none
    freq_hz : (n_channels,) centres, ascending; None: equal parts of each coarse channel
    receiver_channels : coarse channels that it covers, where its name says so (AOCal)
    times_gps_s : (n_times,) centres; None: equal parts of an observation
    tiles : names, in the order of the antennas, if the file has them
    obsid : that it was made from, if known
    assumes : corrections that the data had when it was made, if the file says so
    """

    path: Path
    kind: SolutionKind
    jones: ComplexArray
    freq_hz: FloatArray | None
    times_gps_s: FloatArray | None
    receiver_channels: tuple[int, ...] | None = None
    tiles: tuple[str, ...] | None = None
    obsid: int | None = None
    assumes: tuple[tuple[Assumed, bool], ...] = ()

    @property
    def n_antennas(self) -> int:
        return int(self.jones.shape[1])


def read_solutions(path: Path, freqs_hz: FloatArray) -> Solutions:
    """Read solutions; the content decides which format it is.

    Parameters
    ----------
    freqs_hz : (n_coarse, n_fine) channels of the observation, at which CALIBDATA is evaluated

    Raises
    ------
    InputError : there is no such file
    FormatError : no solutions, damaged, or without a single solution
    """
    check_input(path, "solution file")
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise ResourceError(f"{path}: cannot be read: {error.strerror}") from None
    if start == AOCAL_MAGIC:
        found = _read_aocal(path)
    elif start == b"SIMPLE  ":
        found = _read_fits(path, freqs_hz)
    else:
        raise FormatError(
            f"{path}: not a solution file; AOCal (.bin), hyperdrive (.fits) and metafits with CALIBDATA are read"
        )
    found.jones[(found.jones == 0).all(axis=3)] = np.nan  # a matrix of zeros is not a solution
    if not np.isfinite(found.jones).all(axis=3).any():
        raise FormatError(f"{path}: holds no solution, all its values are NaN or 0; choose another")
    return found


def obsid_of(path: Path) -> int | None:
    """The obsid that a file name starts with."""
    match = re.match(r"(\d{10})(?!\d)", path.name)
    return int(match[1]) if match else None


def _read_aocal(path: Path) -> Solutions:
    with path.open("rb") as file:
        data = file.read(_AOCAL_HEADER.size)
    if len(data) < _AOCAL_HEADER.size:
        raise FormatError(f"{path}: ends within its header of {_AOCAL_HEADER.size} bytes; fetch it again")
    _, file_type, structure, n_times, n_antennas, n_channels, n_pols, start, end = _AOCAL_HEADER.unpack_from(
        data
    )
    if (file_type, structure, n_pols) != (0, 0, 4) or not (n_times and n_antennas and n_channels):
        raise FormatError(
            f"{path}: not usable: expected AOCal type 0, structure 0, 4 polarisations, found {file_type}, "
            f"{structure}, {n_pols} with {n_times} intervals, {n_antennas} antennas, {n_channels} channels"
        )
    expected = _AOCAL_HEADER.size + n_times * n_antennas * n_channels * 64
    found = path.stat().st_size
    if found != expected:
        raise FormatError(
            f"{path}: expected {expected} bytes for {n_times} intervals, {n_antennas} antennas and {n_channels} "
            f"channels, found {found}; fetch it again"
        )
    values = np.fromfile(path, "<c16", offset=_AOCAL_HEADER.size)
    times = None
    if n_times > 1 and end > start > 0:
        if start > 4e9:  # AIPS time, seconds of MJD; leap seconds do not matter among minutes
            start, end = start - GPS_START_MJD_S, end - GPS_START_MJD_S
        times = start + (np.arange(n_times) + 0.5) / n_times * (end - start)
    match = re.search(r"_ch(\d{1,3})(?:-(\d{1,3}))?_", path.name)
    channels = None
    if match:
        channels = tuple(range(int(match[1]), int(match[2] or match[1]) + 1))
    return Solutions(
        path=path,
        kind=SolutionKind.AOCAL,
        jones=values.reshape(n_times, n_antennas, n_channels, 4).astype(np.complex128),
        freq_hz=None,
        times_gps_s=times,
        receiver_channels=channels,
        obsid=obsid_of(path),
    )


def _read_fits(path: Path, freqs_hz: FloatArray) -> Solutions:
    from astropy.io import fits
    from astropy.utils.exceptions import AstropyWarning

    check_promise(path, "it", path.stat().st_size, path.stat().st_size)
    check_heads(path)
    try:
        with warnings.catch_warnings(), fits.open(path, memmap=False) as hdus:
            warnings.simplefilter("ignore", AstropyWarning)
            names = {hdu.name for hdu in hdus}
            _check_length(path, hdus)
            if "SOLUTIONS" in names:
                return _parse_hyperdrive(path, hdus)
            if "CALIBDATA" in names:
                return _parse_calibdata(path, hdus, freqs_hz)
    except Error:
        raise
    except Exception as error:  # a damaged header can make astropy raise anything
        raise FormatError(
            f"{path}: damaged, or solutions of an unknown layout: {error}; fetch it again, or choose another"
        ) from None
    raise FormatError(
        f"{path}: holds neither SOLUTIONS (hyperdrive) nor CALIBDATA (metafits made with include_calib=1); "
        "choose another, or fetch it again"
    )


def _check_length(path: Path, hdus: Any) -> None:
    """Refuse a file that was cut off; astropy reads as much of it as there is."""
    found = path.stat().st_size
    for hdu in hdus:
        if hdu.header.get("ZIMAGE") or hasattr(hdu, "compressed_data"):
            raise FormatError(f"{path}: its HDU {hdu.name} is compressed, which solutions never are")
        expected = hdu.fileinfo()["datLoc"] + hdu.size
        if found < expected:
            raise FormatError(
                f"{path}: ends after {found} bytes, within its HDU {hdu.name}; expected at least {expected}; "
                "fetch it again"
            )


def _parse_hyperdrive(path: Path, hdus: Any) -> Solutions:
    values = np.asarray(hdus["SOLUTIONS"].data, np.float64)
    if values.ndim != 4 or values.shape[3] != 8:
        raise FormatError(
            f"{path}: SOLUTIONS has shape {values.shape}; expected times, tiles, channels and 8 numbers"
        )
    jones = np.ascontiguousarray(values).view(np.complex128)
    n_times, n_antennas, n_channels, _ = jones.shape
    header = hdus[0].header
    names = {hdu.name for hdu in hdus}
    freq = times = tiles = None
    if "CHANBLOCKS" in names:
        freq = _column(hdus["CHANBLOCKS"], "Freq", n_channels, path)
        if freq is not None and (not np.isfinite(freq).all() or (np.diff(freq) <= 0).any()):
            raise FormatError(f"{path}: the frequencies of CHANBLOCKS do not ascend")
    if "TIMEBLOCKS" in names:
        times = _column(hdus["TIMEBLOCKS"], "Average", n_times, path)
        if times is not None and (not np.isfinite(times).all() or (np.diff(times) <= 0).any()):
            times = None
    if "TILES" in names and "TileName" in hdus["TILES"].columns.names:
        table = hdus["TILES"].data
        if len(table) != n_antennas:
            raise FormatError(f"{path}: SOLUTIONS has {n_antennas} tiles, but TILES has {len(table)} rows")
        tiles = tuple(str(name).strip() for name in table["TileName"])
    return Solutions(
        path=path,
        kind=SolutionKind.HYPERDRIVE,
        jones=jones,
        freq_hz=freq,
        times_gps_s=times,
        tiles=tiles,
        obsid=int(header["OBSID"]) if "OBSID" in header else obsid_of(path),
        assumes=_assumed(header),
    )


def _assumed(header: Any) -> tuple[tuple[Assumed, bool], ...]:
    """What the file says of its data; PFB is the name of a passband, or none."""
    said = {which: header.get(which.value) for which in Assumed}
    passband = said.pop(Assumed.PASSBAND)
    known = [(which, value) for which, value in said.items() if isinstance(value, bool)]
    if isinstance(passband, str) and passband.strip():
        known.append((Assumed.PASSBAND, passband.strip().lower() != "none"))
    return tuple(known)


def _column(hdu: Any, name: str, length: int, path: Path) -> FloatArray | None:
    if name not in hdu.columns.names:
        return None
    values = np.asarray(hdu.data[name], np.float64)
    if len(values) != length:
        raise FormatError(
            f"{path}: SOLUTIONS has {length} along the axis of {hdu.name}, which has {len(values)} rows"
        )
    return values


def _parse_calibdata(path: Path, hdus: Any, freqs_hz: FloatArray) -> Solutions:
    table = hdus["CALIBDATA"].data
    names = {name.lower(): name for name in table.columns.names}

    def column(*candidates: str) -> Any:
        for name in candidates:
            if name in names:
                return table[names[name]]
        raise FormatError(f"{path}: CALIBDATA has no column {candidates[0]}")

    antenna, pol = np.asarray(column("antenna"), int), np.char.strip(np.asarray(column("pol"), str))
    delay_m = np.asarray(column("calib_delay", "delay"), np.float64)
    gains = np.asarray(column("calib_gains", "gains"), np.float64).reshape(len(delay_m), -1)
    intercept = np.zeros(len(delay_m))
    if "intercept" in names:
        intercept = np.asarray(table[names["intercept"]], np.float64)
    n_coarse = len(freqs_hz)
    if gains.shape[1] != n_coarse:
        raise FormatError(
            f"{path}: CALIBDATA has gains of {gains.shape[-1]} coarse channels, the observation has {n_coarse}"
        )
    n_antennas = int(antenna.max()) + 1
    with np.errstate(divide="ignore", invalid="ignore"):
        phase = intercept[:, None, None] - 2 * np.pi / SPEED_OF_LIGHT_M_S * delay_m[:, None, None] * freqs_hz
        factor = np.exp(1j * phase) / gains[:, :, None]
    factor[~np.isfinite(factor)] = np.nan
    jones = np.zeros((1, n_antennas, freqs_hz.size, 4), np.complex128)
    jones[..., [0, 3]] = np.nan
    for row in range(len(antenna)):
        jones[0, antenna[row], :, 0 if pol[row] == "X" else 3] = factor[row].ravel()
    tiles = [""] * n_antennas
    if "tilename" in names:
        for row in range(len(antenna)):
            tiles[antenna[row]] = str(table[names["tilename"]][row]).strip()
    header = hdus["CALIBDATA"].header
    obsid = header.get("CALOBSID", hdus[0].header.get("CALOBSID"))
    return Solutions(
        path=path,
        kind=SolutionKind.CALIBDATA,
        jones=jones,
        freq_hz=freqs_hz.ravel(),
        times_gps_s=None,
        tiles=tuple(tiles) if all(tiles) else None,
        obsid=None if obsid is None else int(obsid),
    )
