"""PSRFITS in search mode: rows of spectra with scales, offsets and weights of their own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.errors import Error, FormatError, InputError
from mwaconvert.fits_heads import check_heads
from mwaconvert.formats.spectra.choices import Choices
from mwaconvert.formats.spectra.sigproc import signed_numbers, sorted_channels
from mwaconvert.formats.stored import StoredArray
from mwaconvert.spectra.recording import Frame, Recording, direction
from mwaconvert.spectra.stream import Data, Stream, Weights


@dataclass(frozen=True)
class _Shape:
    """Sizes of a row, checked."""

    n_row: int
    n_chan: int
    n_pol: int
    n_bits: int
    n_block: int
    dt_s: float


class SearchStream(Stream):
    """Total intensity of a PSRFITS file: the sum of two polarisations, or Stokes I.

    value = (number - ZERO_OFF) * DAT_SCL + DAT_OFFS; DAT_WTS become weights. Weights and scales that are not numbers
    count as weight 0. Values are uint8 where no scale, offset or sum changes the numbers, else float32.

    Parameters
    ----------
    path : FITS file with a SUBINT table
    choices : polarisation, and what is not applied

    Raises
    ------
    InputError : there is no such polarisation
    FormatError : it is not in search mode, or its table is not sound

    Notes
    -----
    van Straten, Hotan & Manchester 2004, and the PSRFITS definition at the ATNF.
    """

    def __init__(self, path: Path, choices: Choices | None = None) -> None:
        try:
            primary, header, self._table = _open(path)
            facts = self._set_up(path, primary, header, self._table, choices or Choices())
        except Error:
            raise
        except Exception as error:  # astropy raises whatever a damaged header leads to
            raise FormatError(f"{path}: HDU SUBINT cannot be read: {error}") from error
        super().__init__(**facts)

    def _set_up(
        self, path: Path, primary: Any, header: Any, table: StoredArray, choices: Choices
    ) -> dict[str, Any]:
        mode = str(primary.get("OBS_MODE", "SEARCH")).strip()
        if mode not in ("SEARCH", "SRCH"):
            raise FormatError(f"{path}: OBS_MODE is {mode}: only search mode is read")
        shape = _shape(path, header, table)
        notes: list[str] = []
        freq_mhz, self._order = _frequencies(path, primary, header, table, shape.n_chan, notes)
        self._n_bits, self._n_block = shape.n_bits, shape.n_block
        self._pols = _polarisations(path, header, shape.n_pol, choices.pol, notes)
        self._kind = _number_kind(header, table, shape.n_bits)
        self._zero = _number(header, "ZERO_OFF", 0.0) - (
            _zero_of_column(header) if shape.n_bits >= 8 else 0.0
        )
        self._levels(path, table, shape, choices, notes)
        self._plain = bool(
            len(self._pols) == 1
            and shape.n_bits <= 8
            and self._kind == "u1"
            and self._zero == 0
            and (self._scales[:, self._pols] == 1).all()
            and (self._offsets[:, self._pols] == 0).all()
        )
        middles = np.asarray(table.column("OFFS_SUB"), np.float64) if _has(table, "OFFS_SUB") else None
        self._firsts, n_times, more = _first_samples(middles, shape)
        n_stated = int(_number(header, "NSTOT", 0))
        if n_times - shape.n_block < n_stated < n_times:  # the last row is not full
            n_times = n_stated
        self._uniform = bool((self._weights == 1).all()) and not more
        return {
            "path": path,
            "kind": "PSRFITS",
            "freq_mhz": freq_mhz,
            "dt_s": shape.dt_s,
            "n_times": n_times,
            "dtype": np.uint8 if self._plain else np.float32,
            "weighted": not self._uniform,
            "dm": _number(header, "DM", 0.0) if header.get("DEDISP") is True else 0.0,
            "start_mjd": _start_mjd(primary, header, middles, shape),
            "source": str(primary.get("SRC_NAME", "")).strip(),
            "notes": (*notes, *more),
            "recording": _recording(primary),
            "fields": {
                key: source[key]
                for source in (primary, header)
                for key in ("TELESCOP", "BACKEND", "NBITS", "NPOL", "POL_TYPE", "NSBLK", "NSUBOFFS")
                if key in source
            },
        }

    def _levels(
        self, path: Path, table: StoredArray, shape: _Shape, choices: Choices, notes: list[str]
    ) -> None:
        """Scales, offsets and weights; what is not a number gets weight 0, what is 0 everywhere is not believed."""
        by_pol = (shape.n_row, shape.n_pol, shape.n_chan)
        by_row = (shape.n_row, 1, shape.n_chan)
        one, none = np.broadcast_to(np.float32(1), by_pol), np.broadcast_to(np.float32(0), by_pol)
        self._scales = _by_channel(path, table, "DAT_SCL", by_pol, 1.0) if choices.use_scales else one
        self._offsets = _by_channel(path, table, "DAT_OFFS", by_pol, 0.0) if choices.use_offsets else none
        weights = np.broadcast_to(np.float32(1), by_row)
        if choices.use_weights:
            weights = _by_channel(path, table, "DAT_WTS", by_row, 1.0)
        if not self._scales.any():
            self._scales = one
            notes.append("all scales of the file are 0 and were taken as 1")
        self._weights = weights[:, 0]
        if not self._weights.any():
            self._weights = np.ones_like(self._weights)
            notes.append("all weights of the file are 0 and were taken as 1")
        used = np.s_[:, self._pols]
        bad = ~(self._weights >= 0) | ~np.isfinite(self._weights)
        bad |= ~(np.isfinite(self._scales[used]) & np.isfinite(self._offsets[used])).all(1)
        flat = (self._scales[used] == 0).all(1) & ~bad & (self._weights > 0)
        if bad.any():
            notes.append(
                f"weights or scales of {int(bad.sum())} of {bad.size} channels of rows are not numbers, or negative: "
                "they have weight 0"
            )
        if flat.any():
            notes.append(
                f"scales of {int(flat.sum())} of {flat.size} channels of rows are 0: they have weight 0"
            )
        if (bad | flat).any():
            self._weights = np.where(bad | flat, np.float32(0), self._weights)
            self._scales = np.where(np.isfinite(self._scales), self._scales, np.float32(0))
            self._offsets = np.where(np.isfinite(self._offsets), self._offsets, np.float32(0))

    def read(self, first: int, count: int, threads: int = 0) -> tuple[Data, Weights]:
        data = np.zeros((self.n_chan, count), self.dtype)
        weights = None if self._uniform else np.zeros((self.n_chan, count), np.float32)
        order: Any = self._order
        if order is None:
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
            data[:, place] = self._row(self._table[r]["DATA"], r, low - start, high - start, threads)[order]
            if weights is not None:
                weights[:, place] = self._weights[r][order, None]
        return data, weights

    def _row(self, held: Any, r: int, low: int, high: int, threads: int) -> npt.NDArray[Any]:
        """Samples of a row, (n_chan, high - low), in the order of the file."""
        packed = np.ascontiguousarray(held).view(np.uint8).reshape(self._n_block, -1)[low:high]
        block: Any = 0
        for pol in self._pols:
            numbers = _numbers(packed, pol, self.n_chan, self._n_bits, self._kind, threads)
            if self._plain:
                return numbers
            block = block + (numbers - np.float32(self._zero)) * self._scales[r, pol][:, None]
            block += self._offsets[r, pol][:, None]
        return np.asarray(block, np.float32)


def _open(path: Path) -> tuple[Any, Any, StoredArray]:
    """The headers of the file and of its table, and its rows."""
    import warnings

    from astropy.io import fits
    from astropy.utils.exceptions import AstropyWarning

    check_heads(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)  # what matters of it is checked below
        with fits.open(path, memmap=False, lazy_load_hdus=True) as hdus:
            names = [hdu.name for hdu in hdus]
            if "SUBINT" not in names:
                raise FormatError(
                    f"{path}: expected a SUBINT table, found the HDUs {', '.join(n or '(no name)' for n in names)}: "
                    "not PSRFITS"
                )
            table = hdus["SUBINT"]
            _check_promises(path, table.header)
            if "DATA" not in table.columns.names:
                raise FormatError(
                    f"{path}: HDU SUBINT: expected the column DATA, found {', '.join(table.columns.names)}"
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
    return primary, header, StoredArray(path, kind, begin, (n_row,))


def _check_promises(path: Path, header: Any) -> None:
    """Refuse a table that states more than it can have, before anything is made of its size.

    Raises
    ------
    FormatError
    """
    n_axis, n_field = header.get("NAXIS"), header.get("TFIELDS")
    if n_axis != 2:
        raise FormatError(f"{path}: HDU SUBINT: NAXIS = {n_axis}, expected 2, as a table has")
    if not n_field:
        raise FormatError(f"{path}: HDU SUBINT: TFIELDS = {n_field}, expected columns")


def _number(header: Any, key: str, default: float) -> float:
    """A keyword that writers leave out, or set to '*'."""
    value = header.get(key, default)
    return float(value) if isinstance(value, int | float) else default


def _by_channel(
    path: Path, table: StoredArray, name: str, shape: tuple[int, int, int], default: float
) -> npt.NDArray[np.float32]:
    if name not in (table.dtype.names or ()):
        return np.broadcast_to(np.float32(default), shape)
    values = np.asarray(table.column(name), np.float32)
    if values.size == shape[0] * shape[2]:  # one for all polarisations: not to the letter, but written
        return np.broadcast_to(values.reshape(shape[0], 1, shape[2]), shape)
    if values.size != np.prod(shape):
        raise FormatError(f"{path}: HDU SUBINT: {name} has {values.size} values, expected {np.prod(shape)}")
    return values.reshape(shape)


def _has(table: StoredArray, name: str) -> bool:
    return name in (table.dtype.names or ())


def _shape(path: Path, header: Any, table: StoredArray) -> _Shape:
    n_chan, n_pol, n_bits = int(header["NCHAN"]), int(header["NPOL"]), int(header["NBITS"])
    n_block, dt_s, n_row = int(header["NSBLK"]), float(header["TBIN"]), len(table)
    if n_bits not in (1, 2, 4, 8, 16, 32):
        raise FormatError(f"{path}: HDU SUBINT: NBITS = {n_bits}: expected 1, 2, 4, 8, 16 or 32")
    row = n_chan * n_pol * n_bits // 8
    if min(n_chan, n_pol, n_block, n_row) < 1 or n_chan * n_bits % 8:
        raise FormatError(
            f"{path}: HDU SUBINT: NCHAN = {n_chan}, NPOL = {n_pol}, NSBLK = {n_block}, {n_row} rows of {n_bits} bits"
        )
    held = table.dtype["DATA"].itemsize
    if held != n_block * row:
        raise FormatError(
            f"{path}: HDU SUBINT: a row of DATA has {held} bytes, NSBLK, NPOL, NCHAN and NBITS make {n_block * row}"
        )
    return _Shape(n_row, n_chan, n_pol, n_bits, n_block, dt_s)


def _frequencies(
    path: Path, primary: Any, header: Any, table: StoredArray, n_chan: int, notes: list[str]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp] | None]:
    """Centres of the channels, and the channels in their order where the file has none."""
    if _has(table, "DAT_FREQ"):
        freq_mhz = np.asarray(table[0]["DAT_FREQ"], np.float64).ravel()
        if freq_mhz.shape != (n_chan,):
            raise FormatError(f"{path}: HDU SUBINT: {freq_mhz.size} frequencies for {n_chan} channels")
        sound = np.isfinite(freq_mhz).all() and (freq_mhz > 0).all() and np.unique(freq_mhz).size == n_chan
    else:
        freq_mhz, sound = np.empty(0), False
    if not sound:
        centre, width = _number(primary, "OBSFREQ", 0.0), _number(primary, "OBSBW", 0.0)
        width = width or n_chan * _number(header, "CHAN_BW", 0.0)
        if not (centre > 0 and width):
            raise FormatError(
                f"{path}: HDU SUBINT: no frequencies in DAT_FREQ, and no OBSFREQ and OBSBW to make them of"
            )
        freq_mhz = centre + width * ((np.arange(n_chan) + 0.5) / n_chan - 0.5)
        notes.append("DAT_FREQ holds no frequencies: they were made of OBSFREQ and OBSBW")
    freq_mhz, order = sorted_channels(freq_mhz)
    if order is not None:
        notes.append("the channels of the file are in no order and were sorted by frequency")
    return freq_mhz, order


def _polarisations(path: Path, header: Any, n_pol: int, chosen: int | None, notes: list[str]) -> list[int]:
    """Which polarisations are summed: one that was chosen, two of equal letters (AA, BB, CR, CI), or I."""
    if chosen is not None:
        if not 0 <= chosen < n_pol:
            raise InputError(
                f"{path}: there is no polarisation {chosen}: expected 0 to {n_pol - 1}", option="pol"
            )
        return [chosen]
    if n_pol == 1:
        return [0]
    named = str(header.get("POL_TYPE", "")).strip().upper()
    pairs = [named[k : k + 2] for k in range(0, len(named), 2)]
    alike = [k for k, pair in enumerate(pairs) if len(set(pair)) == 1 and len(pair) == 2]
    if len(pairs) == n_pol and len(alike) == 2:
        return alike
    if len(named) == n_pol and "I" in named:
        return [named.index("I")]
    taken = [0, 1] if n_pol == 2 else [0]
    notes.append(
        f"POL_TYPE = {named or 'nothing'} does not say what the {n_pol} polarisations are: "
        + ("they were summed" if n_pol == 2 else "the first was read")
        + "; see `pol`"
    )
    return taken


def _number_kind(header: Any, table: StoredArray, n_bits: int) -> str:
    """Type of the numbers, as numpy spells it; "i1" of 2 to 8 bits with a sign."""
    if n_bits == 32:
        return ">i4" if table.dtype["DATA"].base.kind == "i" else ">f4"
    if n_bits == 16:
        return ">i2"
    return "i1" if _number(header, "SIGNINT", 0) > 0 and n_bits > 1 else "u1"


def _zero_of_column(header: Any) -> float:
    """TZERO of DATA, with which FITS says that 16 bits have no sign, or that bytes have one."""
    for k in range(1, int(header.get("TFIELDS", 0)) + 1):
        if str(header.get(f"TTYPE{k}", "")).strip() == "DATA":
            return _number(header, f"TZERO{k}", 0.0)
    return 0.0


def _start_mjd(
    primary: Any, header: Any, middles: npt.NDArray[np.float64] | None, shape: _Shape
) -> float | None:
    """Start of the first row: OFFS_SUB knows of rows that were lost, NSUBOFFS of files before this one."""
    if not _number(primary, "STT_IMJD", 0):  # not there, or the 0 that stands for a start that is not known
        return None
    row_s = shape.n_block * shape.dt_s
    before_s = _number(header, "NSUBOFFS", 0) * row_s
    begin_s = float(middles[0]) - row_s / 2 if middles is not None else 0.0
    if np.isfinite(begin_s) and begin_s > 0:  # counted from the start of the first file, or of this one
        before_s = begin_s if begin_s > before_s - row_s / 2 else before_s + begin_s
    seconds = _number(primary, "STT_SMJD", 0) + _number(primary, "STT_OFFS", 0) + before_s
    return _number(primary, "STT_IMJD", 0) + seconds / 86400


def _recording(primary: Any) -> Recording:
    def text(key: str) -> str:
        value = str(primary.get(key, "")).strip()
        return "" if value.lower() in ("*", "unknown", "unset") else value

    frames = {"BARYCENTER": Frame.BARYCENTRIC, "CUSTOM": Frame.PULSARCENTRIC}
    beam = _number(primary, "IBEAM", 0) or (int(text("IBEAM")) if text("IBEAM").isdigit() else 0)
    ra_deg, dec_deg = direction(primary.get("RA", ""), primary.get("DEC", ""))
    return Recording(
        telescope=text("TELESCOP"),
        backend=text("BACKEND"),
        ra_deg=ra_deg,
        dec_deg=dec_deg,
        beam=int(beam),
        n_beams=int(_number(primary, "NBEAM", 0)),
        frame=frames.get(text("TREFPOS").upper(), Frame.TOPOCENTRIC),
    )


def _first_samples(
    middles: npt.NDArray[np.float64] | None, shape: _Shape
) -> tuple[npt.NDArray[np.int64], int, list[str]]:
    """Where each row begins: rows that a recorder dropped leave gaps of weight 0."""
    n_row, n_block = shape.n_row, shape.n_block
    firsts = np.arange(n_row, dtype=np.int64) * n_block
    if middles is not None and n_row > 1:
        seen = np.rint((middles - middles[0]) / shape.dt_s)
        if np.isfinite(seen).all() and (np.diff(seen) >= n_block).all() and seen[-1] < 100 * n_row * n_block:
            firsts = seen.astype(np.int64)
    n_times = int(firsts[-1]) + n_block
    missing = n_times - n_row * n_block
    return firsts, n_times, [f"{missing} samples are missing and have weight 0"] if missing else []


def _numbers(
    packed: npt.NDArray[np.uint8], pol: int, n_chan: int, n_bits: int, kind: str, threads: int
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
        return signed_numbers(out, n_bits) if kind == "i1" else out
    numbers = np.ascontiguousarray(packed).view(kind)[:, pol * n_chan : (pol + 1) * n_chan]
    return np.ascontiguousarray(numbers.T, np.float32)
