"""PSRFITS in search mode: rows of spectra with scales, offsets and weights of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.errors import FormatError
from mwaconvert.transients.spectra import Spectra


def read_search(path: Path, nthreads: int = 0) -> Spectra:
    """Read total intensity: AA + BB of AABB and AABBCRCI, else the first polarisation.

    value = (number - ZERO_OFF) * DAT_SCL + DAT_OFFS; DAT_WTS become weights.

    Parameters
    ----------
    path : FITS file with a SUBINT table
    nthreads : 0 for all cores

    Returns
    -------
    Spectra
        uint8 where no scale, offset or sum changes the numbers, else float32

    Raises
    ------
    FormatError : it is not in search mode, or its table is not sound

    Notes
    -----
    van Straten, Hotan & Manchester 2004, and the PSRFITS definition at the ATNF.
    """
    from astropy.io import fits

    try:
        with fits.open(path, memmap=True) as hdus:
            names = [hdu.name for hdu in hdus]
            if "SUBINT" not in names:
                raise FormatError(f"{path}: expected a SUBINT table, found {', '.join(names)}: not PSRFITS")
            primary, table = hdus[0].header, hdus["SUBINT"]
            return _read(path, primary, table.header, table.data, nthreads)
    except (OSError, ValueError, TypeError, KeyError, IndexError) as error:
        text = " ".join(str(error).split())
        raise FormatError(f"{path}: HDU SUBINT cannot be read: {text}") from error


def _number(header: Any, key: str, default: float) -> float:
    """A keyword that writers leave out, or set to '*'."""
    value = header.get(key, default)
    return float(value) if isinstance(value, int | float) else default


def _read(path: Path, primary: Any, header: Any, table: Any, nthreads: int) -> Spectra:
    if primary.get("OBS_MODE", "SEARCH").strip() not in ("SEARCH", "SRCH"):
        raise FormatError(f"{path}: OBS_MODE is {primary['OBS_MODE']}: only search mode is read")
    n_chan, n_pol, n_bits = int(header["NCHAN"]), int(header["NPOL"]), int(header["NBITS"])
    n_block, dt, n_row = int(header["NSBLK"]), float(header["TBIN"]), len(table)
    if n_bits not in (1, 2, 4, 8, 16, 32):
        raise FormatError(f"{path}: HDU SUBINT: NBITS = {n_bits}: expected 1, 2, 4, 8, 16 or 32")
    row = n_chan * n_pol * n_bits // 8
    if min(n_chan, n_pol, n_block, n_row) < 1 or n_chan * n_bits % 8:
        raise FormatError(
            f"{path}: HDU SUBINT: NCHAN = {n_chan}, NPOL = {n_pol}, NSBLK = {n_block}, {n_row} rows of {n_bits} bits"
        )
    if table["DATA"][0].nbytes != n_block * row:
        raise FormatError(
            f"{path}: HDU SUBINT: a row of DATA has {table['DATA'][0].nbytes} bytes, NSBLK, NPOL, NCHAN and NBITS make "
            f"{n_block * row}"
        )
    freqs = np.asarray(table["DAT_FREQ"][0], np.float64)
    if freqs.shape != (n_chan,):
        raise FormatError(f"{path}: HDU SUBINT: {freqs.size} frequencies for {n_chan} channels")
    reverse = bool(n_chan > 1 and freqs[1] < freqs[0])
    pol_type = str(header.get("POL_TYPE", "")).strip()
    pols = [0, 1] if n_pol > 1 and pol_type.startswith("AABB") else [0]
    zero = _number(header, "ZERO_OFF", 0.0)
    scales = _by_channel(path, table, "DAT_SCL", (n_row, n_pol, n_chan), 1.0)
    offsets = _by_channel(path, table, "DAT_OFFS", (n_row, n_pol, n_chan), 0.0)
    row_weights = _by_channel(path, table, "DAT_WTS", (n_row, 1, n_chan), 1.0)[:, 0]
    plain = (
        len(pols) == 1
        and n_bits <= 8
        and zero == 0
        and (scales[:, 0] == 1).all()
        and (offsets[:, 0] == 0).all()
    )

    firsts, n_samp, notes = _first_samples(table, n_row, n_block, dt)
    data = np.zeros((n_chan, n_samp), np.uint8 if plain else np.float32)
    weights = np.zeros((n_chan, n_samp), np.float32)
    for r, first in enumerate(firsts):
        packed = np.ascontiguousarray(table["DATA"][r]).view(np.uint8).reshape(n_block, row)
        block: Any = 0
        for pol in pols:
            numbers = _numbers(packed, pol, n_chan, n_bits, nthreads)
            block = numbers if plain else block + (numbers - np.float32(zero)) * scales[r, pol][:, None]
            if not plain:
                block += offsets[r, pol][:, None]
        data[:, first : first + n_block] = block
        weights[:, first : first + n_block] = row_weights[r][:, None]
    order = slice(None, None, -1) if reverse else slice(None)
    start = None
    if "STT_IMJD" in primary:
        seconds = _number(primary, "STT_SMJD", 0) + _number(primary, "STT_OFFS", 0)
        start = primary["STT_IMJD"] + (seconds + _number(header, "NSUBOFFS", 0) * n_block * dt) / 86400
    return Spectra(
        data[order],
        freqs[order],
        dt,
        weights=None if (weights == 1).all() else weights[order],
        start_mjd=start,
        source=str(primary.get("SRC_NAME", "")),
        notes=tuple(notes),
    )


def _by_channel(
    path: Path, table: Any, name: str, shape: tuple[int, int, int], default: float
) -> npt.NDArray[np.float32]:
    if name not in table.columns.names:
        return np.full(shape, default, np.float32)
    values = np.asarray(table[name], np.float32)
    if values.size == shape[0] * shape[2]:  # one for all polarisations: not to the letter, but written
        return np.broadcast_to(values.reshape(shape[0], 1, shape[2]), shape)
    if values.size != np.prod(shape):
        raise FormatError(f"{path}: HDU SUBINT: {name} has {values.size} values, expected {np.prod(shape)}")
    return values.reshape(shape)


def _first_samples(table: Any, n_row: int, n_block: int, dt: float) -> tuple[list[int], int, list[str]]:
    """Where each row begins: rows that a recorder dropped leave gaps of weight 0."""
    firsts = [r * n_block for r in range(n_row)]
    if "OFFS_SUB" in table.columns.names and n_row > 1:
        middles = np.asarray(table["OFFS_SUB"], np.float64)
        seen = np.rint((middles - middles[0]) / dt).astype(int)
        if (np.diff(seen) >= n_block).all() and seen[-1] < 100 * n_row * n_block:
            firsts = [int(s) for s in seen]
    n_samp = firsts[-1] + n_block
    missing = n_samp - n_row * n_block
    return firsts, n_samp, [f"{missing} samples are missing and have weight 0"] if missing else []


def _numbers(
    packed: npt.NDArray[np.uint8], pol: int, n_chan: int, n_bits: int, nthreads: int
) -> npt.NDArray[Any]:
    if n_bits <= 8:
        out = np.empty((n_chan, len(packed)), np.uint8)
        _core.unpack(packed, pol * n_chan * n_bits // 8, n_bits, True, False, out, nthreads)
        return out
    kind = ">i2" if n_bits == 16 else ">f4"
    return np.ascontiguousarray(packed.view(kind)[:, pol * n_chan : (pol + 1) * n_chan].T, np.float32)
