"""PSRFITS in search mode: rows of spectra with scales, offsets and weights of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.errors import Error, FormatError
from mwaconvert.spectra.stream import Data, Stream, Weights


class SearchStream(Stream):
    """Total intensity of a PSRFITS file: AA + BB of AABB and AABBCRCI, else the first polarisation.

    value = (number - ZERO_OFF) * DAT_SCL + DAT_OFFS; DAT_WTS become weights. Values are uint8 where no scale, offset
    or sum changes the numbers, else float32.

    Parameters
    ----------
    path : FITS file with a SUBINT table

    Raises
    ------
    FormatError : it is not in search mode, or its table is not sound

    Notes
    -----
    van Straten, Hotan & Manchester 2004, and the PSRFITS definition at the ATNF.
    """

    def __init__(self, path: Path) -> None:
        try:
            primary, header, self._place = _open(path)
            table = self._map(path)
            facts = self._set_up(path, primary, header, table)
        except Error:
            raise
        except Exception as error:  # astropy raises whatever a damaged header leads to
            text = " ".join(str(error).split())
            raise FormatError(f"{path}: HDU SUBINT cannot be read: {text}") from error
        super().__init__(**facts)

    def _set_up(self, path: Path, primary: Any, header: Any, table: npt.NDArray[np.void]) -> dict[str, Any]:
        mode = str(primary.get("OBS_MODE", "SEARCH")).strip()
        if mode not in ("SEARCH", "SRCH"):
            raise FormatError(f"{path}: OBS_MODE is {mode}: only search mode is read")
        n_chan, n_pol, n_bits = int(header["NCHAN"]), int(header["NPOL"]), int(header["NBITS"])
        n_block, dt_s, n_row = int(header["NSBLK"]), float(header["TBIN"]), len(table)
        if n_bits not in (1, 2, 4, 8, 16, 32):
            raise FormatError(f"{path}: HDU SUBINT: NBITS = {n_bits}: expected 1, 2, 4, 8, 16 or 32")
        row = n_chan * n_pol * n_bits // 8
        if min(n_chan, n_pol, n_block, n_row) < 1 or n_chan * n_bits % 8:
            raise FormatError(
                f"{path}: HDU SUBINT: NCHAN = {n_chan}, NPOL = {n_pol}, NSBLK = {n_block}, {n_row} rows of "
                f"{n_bits} bits"
            )
        held = table.dtype["DATA"].itemsize
        if held != n_block * row:
            raise FormatError(
                f"{path}: HDU SUBINT: a row of DATA has {held} bytes, NSBLK, NPOL, NCHAN and NBITS make "
                f"{n_block * row}"
            )
        freq_mhz = np.asarray(table["DAT_FREQ"][0], np.float64)
        if freq_mhz.shape != (n_chan,):
            raise FormatError(f"{path}: HDU SUBINT: {freq_mhz.size} frequencies for {n_chan} channels")
        pol_type = str(header.get("POL_TYPE", "")).strip()
        self._n_bits, self._n_block = n_bits, n_block
        self._pols = [0, 1] if n_pol > 1 and pol_type.startswith("AABB") else [0]
        self._zero = _number(header, "ZERO_OFF", 0.0)
        self._scales = _by_channel(path, table, "DAT_SCL", (n_row, n_pol, n_chan), 1.0)
        self._offsets = _by_channel(path, table, "DAT_OFFS", (n_row, n_pol, n_chan), 0.0)
        self._weights = _by_channel(path, table, "DAT_WTS", (n_row, 1, n_chan), 1.0)[:, 0]
        if not (self._weights >= 0).all():
            raise FormatError(f"{path}: HDU SUBINT: DAT_WTS holds weights that are negative or not numbers")
        self._plain = bool(
            len(self._pols) == 1
            and n_bits <= 8
            and self._zero == 0
            and (self._scales[:, 0] == 1).all()
            and (self._offsets[:, 0] == 0).all()
        )
        self._firsts, n_times, notes = _first_samples(table, n_row, n_block, dt_s)
        self._uniform = bool((self._weights == 1).all()) and n_times == n_row * n_block
        start = None
        if "STT_IMJD" in primary:
            seconds = _number(primary, "STT_SMJD", 0) + _number(primary, "STT_OFFS", 0)
            start = _number(primary, "STT_IMJD", 0) + (
                (seconds + _number(header, "NSUBOFFS", 0) * n_block * dt_s) / 86400
            )
        return {
            "path": path,
            "kind": "PSRFITS",
            "freq_mhz": freq_mhz,
            "dt_s": dt_s,
            "n_times": n_times,
            "dtype": np.uint8 if self._plain else np.float32,
            "weighted": not self._uniform,
            "start_mjd": start,
            "source": str(primary.get("SRC_NAME", "")),
            "notes": tuple(notes),
            "fields": {
                key: source[key]
                for source in (primary, header)
                for key in ("TELESCOP", "BACKEND", "NBITS", "NPOL", "POL_TYPE", "NSBLK", "NSUBOFFS")
                if key in source
            },
        }

    def _map(self, path: Path) -> npt.NDArray[np.void]:
        """The table, mapped for as long as it is needed: pages of a mapping count as memory of the process."""
        kind, begin, n_row = self._place
        return np.memmap(path, kind, "r", begin, (n_row,))

    def read(self, first: int, count: int, threads: int = 0) -> tuple[Data, Weights]:
        table = self._map(self.path)
        data = np.zeros((self.n_chan, count), self.dtype)
        weights = None if self._uniform else np.zeros((self.n_chan, count), np.float32)
        order = slice(None, None, -1) if self.descending else slice(None)
        begin = int(np.searchsorted(self._firsts, first, "right")) - 1
        for r in range(max(begin, 0), len(self._firsts)):
            start = int(self._firsts[r])
            if start >= first + count:
                break
            low, high = max(first, start), min(first + count, start + self._n_block)
            if low >= high:
                continue
            place = slice(low - first, high - first)
            data[:, place] = self._row(table["DATA"][r], r, low - start, high - start, threads)[order]
            if weights is not None:
                weights[:, place] = self._weights[r][order, None]
        return data, weights

    def _row(self, held: Any, r: int, low: int, high: int, threads: int) -> npt.NDArray[Any]:
        """Samples of a row, (n_chan, high - low), in the order of the file."""
        packed = np.ascontiguousarray(held).view(np.uint8).reshape(self._n_block, -1)[low:high]
        block: Any = 0
        for pol in self._pols:
            numbers = _numbers(packed, pol, self.n_chan, self._n_bits, threads)
            if self._plain:
                return numbers
            block = block + (numbers - np.float32(self._zero)) * self._scales[r, pol][:, None]
            block += self._offsets[r, pol][:, None]
        return np.asarray(block, np.float32)


def _open(path: Path) -> tuple[Any, Any, tuple[np.dtype[np.void], int, int]]:
    """The headers of the file and of its table; type of its rows, first byte, number of rows."""
    import warnings

    from astropy.io import fits
    from astropy.utils.exceptions import AstropyWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)  # what matters of it is checked below
        with fits.open(path, memmap=True, lazy_load_hdus=True) as hdus:
            names = [hdu.name for hdu in hdus]
            if "SUBINT" not in names:
                raise FormatError(
                    f"{path}: expected a SUBINT table, found the HDUs {', '.join(n or '(no name)' for n in names)}: "
                    "not PSRFITS"
                )
            table = hdus["SUBINT"]
            if "DATA" not in table.columns.names or "DAT_FREQ" not in table.columns.names:
                raise FormatError(
                    f"{path}: HDU SUBINT: expected the columns DATA and DAT_FREQ, found "
                    f"{', '.join(table.columns.names)}"
                )
            kind = np.dtype(table.columns.dtype).newbyteorder(">")
            begin, n_row = int(table.fileinfo()["datLoc"]), int(table.header["NAXIS2"])
            if kind.itemsize != int(table.header["NAXIS1"]):
                raise FormatError(
                    f"{path}: HDU SUBINT: NAXIS1 = {table.header['NAXIS1']}, the columns take {kind.itemsize} bytes"
                )
            held = path.stat().st_size - begin
            if n_row < 1 or held < n_row * kind.itemsize:
                raise FormatError(
                    f"{path}: HDU SUBINT: {n_row} rows take {n_row * kind.itemsize} bytes, the file holds "
                    f"{max(held, 0)}: it is cut"
                )
            primary, header = hdus[0].header.copy(), table.header.copy()
    return primary, header, (kind, begin, n_row)


def _number(header: Any, key: str, default: float) -> float:
    """A keyword that writers leave out, or set to '*'."""
    value = header.get(key, default)
    return float(value) if isinstance(value, int | float) else default


def _by_channel(
    path: Path, table: npt.NDArray[np.void], name: str, shape: tuple[int, int, int], default: float
) -> npt.NDArray[np.float32]:
    if name not in (table.dtype.names or ()):
        return np.broadcast_to(np.float32(default), shape)
    values = np.asarray(table[name], np.float32)
    if values.size == shape[0] * shape[2]:  # one for all polarisations: not to the letter, but written
        return np.broadcast_to(values.reshape(shape[0], 1, shape[2]), shape)
    if values.size != np.prod(shape):
        raise FormatError(f"{path}: HDU SUBINT: {name} has {values.size} values, expected {np.prod(shape)}")
    return values.reshape(shape)


def _first_samples(
    table: npt.NDArray[np.void], n_row: int, n_block: int, dt_s: float
) -> tuple[npt.NDArray[np.int64], int, list[str]]:
    """Where each row begins: rows that a recorder dropped leave gaps of weight 0."""
    firsts = np.arange(n_row, dtype=np.int64) * n_block
    if "OFFS_SUB" in (table.dtype.names or ()) and n_row > 1:
        middles = np.asarray(table["OFFS_SUB"], np.float64)
        seen = np.rint((middles - middles[0]) / dt_s)
        if np.isfinite(seen).all() and (np.diff(seen) >= n_block).all() and seen[-1] < 100 * n_row * n_block:
            firsts = seen.astype(np.int64)
    n_times = int(firsts[-1]) + n_block
    missing = n_times - n_row * n_block
    return firsts, n_times, [f"{missing} samples are missing and have weight 0"] if missing else []


def _numbers(
    packed: npt.NDArray[np.uint8], pol: int, n_chan: int, n_bits: int, threads: int
) -> npt.NDArray[Any]:
    if n_bits <= 8:
        out = np.empty((n_chan, len(packed)), np.uint8)
        _core.unpack(
            spectra=packed,
            offset=pol * n_chan * n_bits // 8,
            n_bits=n_bits,
            first_high=True,
            reverse=False,
            out=out,
            threads=threads,
        )
        return out
    kind = ">i2" if n_bits == 16 else ">f4"
    numbers = np.ascontiguousarray(packed).view(kind)[:, pol * n_chan : (pol + 1) * n_chan]
    return np.ascontiguousarray(numbers.T, np.float32)
