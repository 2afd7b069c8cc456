"""Write PSRFITS in search mode: rows of spectra, in few bits with scales and offsets of their own."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from mwaconvert import __version__
from mwaconvert.constants import FITS_BLOCK
from mwaconvert.errors import InputError
from mwaconvert.spectra.recording import NOT_RECORDED, Frame, Recording, dms, hms
from mwaconvert.staging import Kind, StagedPath, check_target

_ROW_BYTES = 1 << 20  # of a row, about
_MJD_ZERO = datetime(1858, 11, 17)


class SearchWriter:
    """Writes spectra as they come; a context manager, which gives the file its name when it is whole.

    Rows hold a power of two of spectra; what the last one lacks is filled with the means of its channels, and NSTOT
    says where the data end.

    Parameters
    ----------
    path : .sf
    freq_mhz : (n_chan) MHz, ascending; written from the highest to the lowest
    dt_s : seconds per sample
    n_bits : 1, 2, 4, 8 or 16, with a scale and an offset for each channel of a row, or 32 (float). Whole numbers that
        fit into 8 bits are written as they are
    dm : pc/cm^3, to which the data are dedispersed
    start_mjd : of the beginning of the first sample
    source : name
    recording : telescope, direction, beam and frame of time
    overwrite : replace an existing file

    Raises
    ------
    InputError : number of bits, or channels that do not fill bytes

    Notes
    -----
    Keywords and columns: the PSRFITS definition at the ATNF, version 6.1; TREFPOS and TIMESYS of barycentric times: the
    fourth paper on FITS (Rots et al. 2015).

    Examples
    --------
    >>> with SearchWriter(Path("a.sf"), np.array([400.0, 401.0]), 1e-3, 8, start_mjd=59000.0) as writer:
    ...     writer.write(np.array([[1, 2, 3], [4, 5, 6]], np.uint8))
    >>> from mwaconvert.transients import open
    >>> open("a.sf").data
    array([[1, 2, 3],
           [4, 5, 6]], dtype=uint8)
    """

    def __init__(
        self,
        path: Path,
        freq_mhz: npt.NDArray[np.float64],
        dt_s: float,
        n_bits: int,
        *,
        dm: float = 0.0,
        start_mjd: float | None = None,
        source: str = "",
        recording: Recording = NOT_RECORDED,
        overwrite: bool = False,
    ) -> None:
        if n_bits not in (1, 2, 4, 8, 16, 32):
            raise InputError(f"{path}: cannot write {n_bits} bits: choose 1, 2, 4, 8, 16 or 32")
        if freq_mhz.size * n_bits % 8:
            raise InputError(f"{path}: {freq_mhz.size} channels of {n_bits} bits do not fill whole bytes")
        check_target(path, Kind.PSRFITS, overwrite=overwrite)  # better now than after the work
        self._path, self._overwrite = path, overwrite
        self._freq_mhz, self._dt_s, self._n_bits = freq_mhz, dt_s, n_bits
        row = _ROW_BYTES * 8 // (freq_mhz.size * n_bits)
        self._n_block = 1 << min(12, max(4, row.bit_length() - 1))
        self._kind = _row_type(freq_mhz.size, self._n_block, n_bits)
        self._primary = _primary(freq_mhz, start_mjd, source, recording)
        self._table = _table(freq_mhz, self._n_block, self._kind, dt_s, n_bits, dm)
        self._waiting: list[tuple[npt.NDArray[Any], npt.NDArray[np.float32]]] = []
        self._n_waiting = self._n_rows = self._n_times = 0

    def __enter__(self) -> SearchWriter:
        self._staged = StagedPath(self._path, self._overwrite, Kind.PSRFITS)
        try:
            self._file = self._staged.temporary.open("w+b")
            self._file.write(self._headers())
        except BaseException:
            self._staged.discard()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._staged:
            try:
                if error is None:
                    self._finish()
            finally:
                self._file.close()
            if error is not None:
                raise error

    def write(self, data: npt.NDArray[Any], weights: npt.NDArray[np.float32] | None = None) -> None:
        """Append spectra.

        Parameters
        ----------
        data : (n_chan, n_times) channels from the lowest to the highest
        weights : None (all 1), (n_chan) or (n_chan, n_times); a row keeps their means
        """
        held = np.ones((1, 1), np.float32) if weights is None else weights
        held = held if held.ndim == 2 else held[:, None]
        self._waiting.append((data[::-1].T, np.broadcast_to(held, data.shape)[::-1].T))
        self._n_waiting += data.shape[1]
        self._n_times += data.shape[1]
        while self._n_waiting >= self._n_block:
            self._write_row(*self._take(self._n_block))

    def _take(self, count: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32]]:
        """The first spectra that wait, (count, n_chan), and their weights."""
        data, weights = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
        self._waiting = [(data[count:], weights[count:])]
        self._n_waiting -= count
        return data[:count], weights[:count]

    def _write_row(self, data: npt.NDArray[Any], weights: npt.NDArray[np.float32]) -> None:
        row = np.zeros(1, self._kind)
        row["TSUBINT"] = self._n_block * self._dt_s
        row["OFFS_SUB"] = (self._n_rows + 0.5) * self._n_block * self._dt_s
        row["DAT_FREQ"] = self._freq_mhz[::-1]
        row["DAT_WTS"] = weights.mean(0)
        numbers, row["DAT_SCL"], row["DAT_OFFS"] = _quantised(data, self._n_bits)
        row["DATA"] = _packed(numbers, self._n_bits).reshape(row["DATA"].shape)
        self._file.write(row.tobytes())
        self._n_rows += 1

    def _finish(self) -> None:
        if self._n_waiting:
            data, weights = self._take(self._n_waiting)
            lacking = self._n_block - len(data)
            means = np.rint(data.mean(0)) if data.dtype.kind in "ub" else data.mean(0)
            fill = np.broadcast_to(means.astype(data.dtype), (lacking, data.shape[1]))
            held = np.broadcast_to(weights.mean(0, dtype=np.float32), fill.shape)
            self._write_row(np.concatenate([data, fill]), np.concatenate([weights, held]))
        self._file.write(bytes(-self._n_rows * self._kind.itemsize % FITS_BLOCK))
        self._table["NAXIS2"], self._table["NSTOT"] = self._n_rows, self._n_times
        self._file.seek(0)
        self._file.write(self._headers())

    def _headers(self) -> bytes:
        text: str = self._primary.tostring() + self._table.tostring()
        return text.encode("ascii")


def _row_type(n_chan: int, n_block: int, n_bits: int) -> np.dtype[np.void]:
    shape = (n_block, 1, n_chan * n_bits // 8) if n_bits < 8 else (n_block, 1, n_chan)
    values = {16: ">i2", 32: ">f4"}.get(n_bits, "u1")
    per_channel = (n_chan,)
    return np.dtype(
        [
            ("TSUBINT", ">f8"),
            ("OFFS_SUB", ">f8"),
            ("DAT_FREQ", ">f8", per_channel),
            ("DAT_WTS", ">f4", per_channel),
            ("DAT_OFFS", ">f4", per_channel),
            ("DAT_SCL", ">f4", per_channel),
            ("DATA", values, shape),
        ]
    )


def _primary(
    freq_mhz: npt.NDArray[np.float64], start_mjd: float | None, source: str, recording: Recording
) -> Any:
    from astropy.io import fits

    step = float(freq_mhz[-1] - freq_mhz[0]) / max(1, freq_mhz.size - 1) or 1.0
    header = fits.PrimaryHDU().header
    header["EXTEND"] = True
    values: dict[str, Any] = {
        "HDRVER": "6.1",
        "FITSTYPE": "PSRFITS",
        "ORIGIN": f"mwaconvert {__version__}",
        "TELESCOP": _ascii(recording.telescope) or "unknown",
        "BACKEND": _ascii(recording.backend) or "unknown",
        "FRONTEND": "unknown",
        "OBSERVER": "unknown",
        "PROJID": "unknown",
        "OBS_MODE": "SEARCH",
        "OBSFREQ": float(freq_mhz[0] + freq_mhz[-1]) / 2,
        "OBSBW": -step * freq_mhz.size,
        "OBSNCHAN": freq_mhz.size,
        "CHAN_DM": 0.0,
        "SRC_NAME": _ascii(source)[:60],
        "COORD_MD": "J2000",
        "EQUINOX": 2000.0,
        "FD_POLN": "LIN",
        "TRK_MODE": "TRACK",
    }
    # readers ask for start, direction and beam without a thought that they may not be known: zeros stand for that
    start = start_mjd or 0.0
    day = math.floor(start)
    seconds = (start - day) * 86400
    values["DATE-OBS"] = (_MJD_ZERO + timedelta(days=start)).isoformat(timespec="milliseconds")
    values |= {"STT_IMJD": day, "STT_SMJD": math.floor(seconds), "STT_OFFS": seconds % 1}
    values |= {"RA": hms(recording.ra_deg or 0.0), "DEC": dms(recording.dec_deg or 0.0)}
    values |= {"BMAJ": 0.0, "BMIN": 0.0}
    if recording.beam or recording.n_beams:
        values |= {"IBEAM": recording.beam, "NBEAM": recording.n_beams}
    if recording.frame is Frame.BARYCENTRIC:
        values |= {"TIMESYS": "TDB", "TREFPOS": "BARYCENTER"}
    if recording.frame is Frame.PULSARCENTRIC:
        values |= {"TREFPOS": "CUSTOM"}
    header.update(values)
    return header


def _table(
    freq_mhz: npt.NDArray[np.float64],
    n_block: int,
    kind: np.dtype[np.void],
    dt_s: float,
    n_bits: int,
    dm: float,
) -> Any:
    from astropy.io import fits

    header = fits.BinTableHDU(np.zeros(0, kind), name="SUBINT").header
    step = float(freq_mhz[-1] - freq_mhz[0]) / max(1, freq_mhz.size - 1) or 1.0
    header.update(
        {
            "INT_TYPE": "TIME",
            "INT_UNIT": "SEC",
            "SCALE": "FluxDen",
            "POL_TYPE": "AA+BB",
            "NPOL": 1,
            "TBIN": dt_s,
            "NBIN": 1,
            "NBIN_PRD": 1,
            "PHS_OFFS": 0.0,
            "NBITS": n_bits,
            "ZERO_OFF": -32768.0 if n_bits == 16 else 0.0,
            "SIGNINT": int(n_bits == 16),
            "NSUBOFFS": 0,
            "NCHAN": freq_mhz.size,
            "CHAN_BW": -step,
            "NCHNOFFS": 0,
            "NSBLK": n_block,
            "NSTOT": 0,
            "DM": dm,
            "DEDISP": bool(dm),
        }
    )
    return header


def _quantised(
    data: npt.NDArray[Any], n_bits: int
) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32] | float, npt.NDArray[np.float32] | float]:
    """Numbers of so many bits, and the scale and the offset of each channel with which they are the data."""
    if n_bits == 32:
        return data.astype(np.float32), 1.0, 0.0
    most = (1 << n_bits) - 1
    if data.dtype == np.uint8 and n_bits <= 8 and int(data.max()) <= most:
        return data, 1.0, 0.0
    values = np.nan_to_num(data.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = values.min(0), values.max(0)
    scale = np.where(high > low, (high - low) / most, 1.0).astype(np.float32)
    offset = low.astype(np.float32)
    numbers = np.clip(np.rint((values - offset) / scale), 0, most)
    return numbers, scale, offset


def _packed(numbers: npt.NDArray[Any], n_bits: int) -> npt.NDArray[Any]:
    """As they are in the file: the first channel of few bits in the high ones, 16 bits with a sign."""
    if n_bits == 32:
        return numbers.astype(">f4")
    if n_bits == 16:
        return (numbers - 32768).astype(">i2")
    if n_bits == 8:
        return numbers.astype(np.uint8)
    per = 8 // n_bits
    shifts = (np.arange(per)[::-1] * n_bits).astype(np.uint8)
    parts = numbers.astype(np.uint8).reshape(len(numbers), -1, per) << shifts
    packed: npt.NDArray[Any] = np.bitwise_or.reduce(parts, axis=2)
    return packed


def _ascii(text: str) -> str:
    """What a FITS header can hold."""
    return "".join(c if " " <= c <= "~" else "?" for c in text)
