"""Write SIGPROC filterbanks and time series."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from mwaconvert.errors import InputError
from mwaconvert.formats.spectra.sigproc import _DOUBLES, _INTEGERS, _STRINGS
from mwaconvert.spectra.aliases import old_keywords
from mwaconvert.staging import Kind, StagedPath, check_target

#: keywords that are handed on from the header of another file
KEPT = ("telescope_id", "machine_id", "src_raj", "src_dej", "az_start", "za_start", "ibeam", "nbeams")


class FilterbankWriter:
    """Writes spectra as they come; a context manager, which gives the file its name when it is whole.

    Parameters
    ----------
    path : .fil or .tim
    freq_mhz : (n_chan) MHz, ascending; written from the highest to the lowest, as is usual
    dt_s : seconds per sample
    nbits : 1, 2, 4, 8, 16 (whole numbers that are not negative) or 32 (float)
    dm : pc/cm^3, to which the data are dedispersed
    series : write a time series: one channel; then freqs is that of the DM's reference
    start_mjd : UTC of the beginning of the first sample
    source : name
    rawdatafile : where the data are from
    header : further keywords; of these `KEPT` are written, barycentric and pulsarcentric
    overwrite : replace an existing file

    Raises
    ------
    InputError : number of bits, or channels that do not fill bytes

    Examples
    --------
    >>> with FilterbankWriter(Path("a.fil"), np.array([400.0, 401.0]), 1e-3, 8) as writer:
    ...     writer.write(np.array([[1, 2, 300], [4, 5, 6]]))
    >>> writer.clipped
    1
    """

    @old_keywords("freqs", "dt")
    def __init__(
        self,
        path: Path,
        freq_mhz: npt.NDArray[np.float64],
        dt_s: float,
        nbits: int,
        *,
        dm: float = 0.0,
        series: bool = False,
        start_mjd: float | None = None,
        source: str = "",
        rawdatafile: str = "",
        header: Mapping[str, Any] | None = None,
        overwrite: bool = False,
    ) -> None:
        if nbits not in (1, 2, 4, 8, 16, 32):
            raise InputError(f"{path}: cannot write {nbits} bits: choose 1, 2, 4, 8, 16 or 32")
        if freq_mhz.size * nbits % 8:
            raise InputError(f"{path}: {freq_mhz.size} channels of {nbits} bits do not fill whole bytes")
        self.clipped = 0  #: values that were too small or too large for their bits
        self._nbits, self._nchan = nbits, freq_mhz.size
        check_target(path, Kind.SIGPROC, overwrite=overwrite)  # better now than after the work
        self._path, self._overwrite = path, overwrite
        self._head = _header(freq_mhz, dt_s, nbits, dm, series, start_mjd, source, rawdatafile, header or {})

    def __enter__(self) -> FilterbankWriter:
        self._staged = StagedPath(self._path, self._overwrite, Kind.SIGPROC)
        try:
            self._file = self._staged.temporary.open("wb")
            self._file.write(self._head)
        except BaseException:
            self._staged.discard()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._staged:
            self._file.close()
            if error is not None:
                raise error

    def write(self, data: npt.NDArray[Any]) -> None:
        """Append spectra.

        Parameters
        ----------
        data : (n_chan, n_times) channels from the lowest to the highest; rounded to whole numbers below 32 bits
        """
        spectra = data[::-1].T
        if self._nbits == 32:
            self._file.write(np.ascontiguousarray(spectra, "<f4").tobytes())
            return
        most = (1 << self._nbits) - 1
        if spectra.dtype.kind not in "ub":
            spectra = np.rint(np.nan_to_num(spectra, nan=0.0, posinf=most, neginf=0.0))
        self.clipped += int(((spectra < 0) | (spectra > most)).sum())
        numbers = np.clip(spectra, 0, most)
        if self._nbits == 16:
            self._file.write(np.ascontiguousarray(numbers, "<u2").tobytes())
            return
        numbers = np.ascontiguousarray(numbers, np.uint8)
        if self._nbits < 8:  # the first channel is in the low bits
            per = 8 // self._nbits
            shifts = (np.arange(per) * self._nbits).astype(np.uint8)
            parts = numbers.reshape(len(numbers), -1, per) << shifts
            numbers = np.bitwise_or.reduce(parts, axis=2)
        self._file.write(numbers.tobytes())


def kept(header: Mapping[str, Any]) -> dict[str, Any]:
    """What is handed on of the header of another file: the keywords of `KEPT` that are numbers."""
    return {key: header[key] for key in KEPT if isinstance(header.get(key), int | float)}


def _header(
    freq_mhz: npt.NDArray[np.float64],
    dt_s: float,
    nbits: int,
    dm: float,
    series: bool,
    start_mjd: float | None,
    source: str,
    rawdatafile: str,
    other: Mapping[str, Any],
) -> bytes:
    first = float(freq_mhz[-1])
    values: dict[str, Any] = {"telescope_id": 0, "machine_id": 0} | kept(other)
    values |= {
        "data_type": 2 if series else 6 if dm else 1,
        "rawdatafile": rawdatafile[:80],
        "source_name": source[:80],
    }
    values |= {
        "barycentric": int(other.get("barycentric", 0)),
        "tstart": 0.0 if start_mjd is None else start_mjd,
        "tsamp": dt_s,
        "nbits": nbits,
    }
    values |= {"fch1": first, "nchans": freq_mhz.size, "nifs": 1}
    if other.get("pulsarcentric"):
        values["pulsarcentric"] = 1
    if series or dm:
        values["refdm"] = dm
    table = b""
    if not series and freq_mhz.size > 1:
        step = (float(freq_mhz[0]) - first) / (freq_mhz.size - 1)
        values["foff"] = step
        even = first + step * np.arange(freq_mhz.size)
        if np.abs(even - freq_mhz[::-1]).max() > 1e-3 * abs(step):
            del values["fch1"], values["foff"]
            rows = b"".join(_word("fchannel") + struct.pack("<d", f) for f in freq_mhz[::-1])
            table = _word("FREQUENCY_START") + rows + _word("FREQUENCY_END")
    elif not series:
        values["foff"] = -1.0  # of a single channel: it has no neighbour to tell
    out = _word("HEADER_START")
    for key, value in values.items():
        if key in _STRINGS:
            out += _word(key) + _word(str(value)) if value else b""
        elif key in _INTEGERS:
            out += _word(key) + struct.pack("<i", int(value))
        elif key in _DOUBLES and math.isfinite(value):
            out += _word(key) + struct.pack("<d", float(value))
    return out + table + _word("HEADER_END")


def _word(text: str) -> bytes:
    raw = text.encode("latin-1", "replace")
    return struct.pack("<i", len(raw)) + raw
