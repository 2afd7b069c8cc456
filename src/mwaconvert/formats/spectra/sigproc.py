"""SIGPROC filterbanks and time series: a header of keywords, then spectra one after the other."""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.errors import FormatError, InputError
from mwaconvert.spectra.recording import Recording
from mwaconvert.spectra.stream import MOST_CHANNELS, Data, Stream, Weights

_INTEGERS = frozenset(
    {
        "telescope_id",
        "machine_id",
        "data_type",
        "barycentric",
        "pulsarcentric",
        "nbits",
        "nsamples",
        "nchans",
        "nifs",
        "nbins",
        "nbeams",
        "ibeam",
    }
)
_DOUBLES = frozenset(
    {
        "az_start",
        "za_start",
        "src_raj",
        "src_dej",
        "gal_l",
        "gal_b",
        "header_tobs",
        "tstart",
        "tsamp",
        "fch1",
        "foff",
        "raw_fch1",
        "raw_foff",
        "refdm",
        "period",
    }
)
_STRINGS = frozenset(["rawdatafile", "source_name"])
DEDISPERSED = (
    2,
    6,
)  # data_type of time series and of sub-bands; refdm of others is what was done to voltages
_LONGEST_WORD = 80  # of a keyword
_LONGEST_TEXT = 4096  # of a value: some writers put paths there
_KEYWORD = re.compile(rb"[A-Za-z_][A-Za-z0-9_.\-]*")
_PIECE_BYTES = 4 << 20
_LONGEST_HEADER = 32 << 20  # a table of frequencies of so many channels


@dataclass(frozen=True)
class Header:
    """Keywords of a SIGPROC file, checked."""

    values: dict[str, Any]  #: every keyword as it stands
    n_bytes: int  #: length of the header
    nchans: int
    nifs: int
    nbits: int
    tsamp: float  #: s
    signed: bool  #: values of 2 to 16 bits are two's complement
    freq_mhz: npt.NDArray[np.float64]  #: (nchans) MHz, in the order of the file
    notes: tuple[str, ...] = ()  #: what there is to say of it


def read_header(path: Path) -> Header:
    """Read and check the header.

    Parameters
    ----------
    path : .fil or .tim

    Returns
    -------
    Header

    Raises
    ------
    FormatError : it is cut, or holds what cannot be
    """
    with path.open("rb") as file:
        return _read(path, file)


def _read(path: Path, file: BinaryIO) -> Header:
    at = 0

    def take(n: int, what: str) -> bytes:
        nonlocal at
        at += n
        raw = file.read(n) if at <= _LONGEST_HEADER else b""
        if len(raw) < n:
            raise FormatError(f"{path}: the file ends inside its header, at {what}; it is cut or not SIGPROC")
        return raw

    def word(what: str, shortest: int = 1, longest: int = _LONGEST_WORD) -> str:
        n = struct.unpack("<i", take(4, what))[0]
        if not shortest <= n <= longest:
            raise FormatError(
                f"{path}: header at byte {at - 4}: expected {what}, found a word of {n} characters"
            )
        return take(n, what).decode("latin-1")

    def skip(key: str) -> None:
        ahead = file.read(_LONGEST_TEXT + _LONGEST_WORD + 8)
        file.seek(at)
        size = _size_of_unknown(ahead)
        if size is None:
            raise FormatError(f"{path}: header at byte {at}: unknown keyword {key!r}, of unknown length")
        take(size, key)
        skipped.append(key)

    if word("HEADER_START") != "HEADER_START":
        raise FormatError(f"{path}: expected HEADER_START, found something else: not a SIGPROC file")
    values: dict[str, Any] = {}
    table: list[float] = []
    skipped: list[str] = []
    while (key := word("a keyword")) != "HEADER_END":
        if key in _INTEGERS:
            values[key] = struct.unpack("<i", take(4, key))[0]
        elif key in _DOUBLES:
            values[key] = struct.unpack("<d", take(8, key))[0]
        elif key in _STRINGS:
            values[key] = word(f"the value of {key}", 0, _LONGEST_TEXT).rstrip("\0 ")
        elif key == "signed":
            values[key] = take(1, key)[0]
        elif key == "fchannel":
            table.append(struct.unpack("<d", take(8, key))[0])
        elif key not in ("FREQUENCY_START", "FREQUENCY_END"):
            skip(key)
    notes = (f"unknown keywords of the header were skipped: {', '.join(skipped)}",) if skipped else ()
    return _checked(path, values, table, at, notes)


def _size_of_unknown(ahead: bytes) -> int | None:
    """Bytes of a value of unknown type: those after which there is a keyword again.

    Parameters
    ----------
    ahead : what follows the keyword
    """
    sizes = [4, 8, 1, 0]
    if len(ahead) >= 4:
        n = struct.unpack("<i", ahead[:4])[0]
        if 1 <= n <= _LONGEST_TEXT and ahead[4 : 4 + n].decode("latin-1").isprintable():
            sizes.insert(0, 4 + n)
    return next((size for size in sizes if _is_keyword(ahead[size:])), None)


def _is_keyword(raw: bytes) -> bool:
    if len(raw) < 5:
        return False
    n = struct.unpack("<i", raw[:4])[0]
    return 2 <= n <= _LONGEST_WORD and len(raw) >= 4 + n and bool(_KEYWORD.fullmatch(raw[4 : 4 + n]))


def _checked(
    path: Path, values: dict[str, Any], table: list[float], n_bytes: int, notes: tuple[str, ...]
) -> Header:
    def need(key: str, default: Any = None) -> Any:
        value = values.get(key, default)
        if value is None:
            raise FormatError(f"{path}: the header has no {key}")
        return value

    series = values.get("data_type") == 2
    nchans, nifs, nbits = need("nchans", 1 if series else None), need("nifs", 1), need("nbits")
    tsamp = need("tsamp")
    if not 1 <= nchans <= MOST_CHANNELS:
        raise FormatError(f"{path}: nchans = {nchans}: expected 1 to {MOST_CHANNELS}")
    if not 1 <= nifs <= 8:
        raise FormatError(f"{path}: nifs = {nifs}: expected 1 to 8")
    if nbits not in (1, 2, 4, 8, 16, 32):
        raise FormatError(f"{path}: nbits = {nbits}: expected 1, 2, 4, 8, 16 or 32")
    if nchans * nbits % 8:
        raise FormatError(f"{path}: {nchans} channels of {nbits} bits are not a whole number of bytes")
    if not (math.isfinite(tsamp) and tsamp > 0):
        raise FormatError(f"{path}: tsamp = {tsamp} s: expected a positive number")
    if table:
        if len(table) != nchans:
            raise FormatError(f"{path}: a table of {len(table)} frequencies for {nchans} channels")
        freq_mhz = np.array(table)
    elif series:
        freq_mhz = np.array([values.get("fch1", 1.0)])
    else:
        freq_mhz = need("fch1") + need("foff") * np.arange(nchans)
    if not (
        np.isfinite(freq_mhz).all() and (freq_mhz > 0).all() and np.unique(freq_mhz).size == freq_mhz.size
    ):
        raise FormatError(
            f"{path}: fch1 = {values.get('fch1')}, foff = {values.get('foff')}: the {nchans} channels are not at "
            "positive frequencies, each at its own"
        )
    signed = bool(values.get("signed", 0)) and 2 <= nbits <= 16
    return Header(values, n_bytes, nchans, nifs, nbits, tsamp, signed, freq_mhz, notes)


class FilterbankStream(Stream):
    """A filterbank, as total intensity: of two IFs the sum, else the first.

    Values are uint8 up to 8 bits (float32 if signed, or summed), else float32. Channels in no order are sorted.

    Parameters
    ----------
    path : .fil
    pol : read this IF only, counted from 0

    Raises
    ------
    InputError : there is no such IF
    FormatError : the header is not sound, or the file ends before its samples
    """

    frugal = True

    def __init__(self, path: Path, pol: int | None = None) -> None:
        header = read_header(path)
        if pol is not None and not 0 <= pol < header.nifs:
            raise InputError(f"{path}: there is no IF {pol}: expected 0 to {header.nifs - 1}", option="pol")
        self._ifs = [pol] if pol is not None else [0, 1] if header.nifs == 2 else [0]
        self._rows, notes = _rows(path, header)
        if header.nifs > 2 and pol is None:
            notes.append(f"the first of {header.nifs} IFs was read; see `pol`")
        freq_mhz, self._order = sorted_channels(header.freq_mhz)
        if self._order is not None:
            notes.append("the channels of the file are in no order and were sorted by frequency")
        plain = len(self._ifs) == 1 and header.nbits <= 8 and not header.signed
        mjd = header.values.get("tstart")
        dedispersed = header.values.get("data_type") in DEDISPERSED
        super().__init__(
            path=path,
            kind="SIGPROC",
            freq_mhz=freq_mhz,
            dt_s=header.tsamp,
            n_times=len(self._rows),
            dtype=np.uint8 if plain else np.float32,
            dm=float(header.values.get("refdm", 0.0)) if dedispersed else 0.0,
            start_mjd=None if mjd is None else float(mjd),
            source=header.values.get("source_name", ""),
            notes=(*header.notes, *notes),
            fields=header.values,
            recording=Recording.of_sigproc(header.values),
        )

    def read(self, first: int, count: int, threads: int = 0) -> tuple[Data, Weights]:
        parts = [self._rows.channels(first, count, k, self.descending, threads) for k in self._ifs]
        data = parts[0] if len(parts) == 1 else parts[0].astype(np.float32) + parts[1]
        return (data if self._order is None else data[self._order]), None


def sorted_channels(
    freq_mhz: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp] | None]:
    """Frequencies that ascend or descend, and the channels of the file in that order; None: as they are.

    Examples
    --------
    >>> sorted_channels(np.array([3.0, 1.0, 2.0]))
    (array([1., 2., 3.]), array([1, 2, 0]))
    """
    steps = np.diff(freq_mhz)
    if (steps > 0).all() or (steps < 0).all():
        return freq_mhz, None
    order = np.argsort(freq_mhz, kind="stable")
    return freq_mhz[order], order


def read_series(path: Path) -> tuple[Header, npt.NDArray[np.float32]]:
    """Read a dedispersed time series (.tim).

    Parameters
    ----------
    path : .tim

    Returns
    -------
    header, (nsamples) values

    Raises
    ------
    FormatError
    """
    header = read_header(path)
    if header.nchans != 1 or header.nifs != 1:
        raise FormatError(
            f"{path}: expected a series, found {header.nchans} channels: open it as a filterbank"
        )
    rows, _ = _rows(path, header)
    return header, rows.channels(0, len(rows), 0, False, 1)[0].astype(np.float32)


@dataclass(frozen=True)
class _Rows:
    """The spectra as they are. Read rather than mapped: pages of a mapping count as memory of the process."""

    path: Path
    header: Header
    count: int
    row: int  # bytes

    def __len__(self) -> int:
        return self.count

    def channels(self, first: int, count: int, k_if: int, reverse: bool, threads: int) -> npt.NDArray[Any]:
        """(nchans, count) of one IF, in pieces that stay in the cache."""
        head = self.header
        shape = (head.nchans, count)
        packed = head.nbits < 8 or (head.nbits == 8 and not head.signed)
        out: npt.NDArray[Any] = np.empty(shape, np.uint8 if packed else np.float32)
        step = max(1, _PIECE_BYTES // self.row)
        buffer = np.empty((min(step, count), self.row), np.uint8)
        with self.path.open("rb", buffering=0) as file:
            file.seek(head.n_bytes + first * self.row)
            for begin in range(0, count, step):
                rows = buffer[: min(step, count - begin)]
                if _fill(file, rows) != rows.nbytes:
                    raise FormatError(f"{self.path}: became shorter while it was read")
                if packed:
                    offset = k_if * head.nchans * head.nbits // 8
                    _core.unpack(
                        spectra=rows,
                        offset=offset,
                        n_bits=head.nbits,
                        first_high=False,
                        reverse=reverse,
                        out=out,
                        column=begin,
                        threads=threads,
                    )
                    continue
                numbers = rows.view({8: "i1", 16: "<u2", 32: "<f4"}[head.nbits])
                block = np.empty((head.nchans, len(rows)), np.float32)
                _core.unpack_numbers(numbers, k_if * head.nchans, reverse, block, threads)
                out[:, begin : begin + len(rows)] = block
        return signed_numbers(out, head.nbits) if head.signed and head.nbits != 8 else out


def signed_numbers(numbers: npt.NDArray[Any], n_bits: int) -> npt.NDArray[np.float32]:
    """Two's complement of a few bits, from the numbers that the bits make without a sign.

    Examples
    --------
    >>> signed_numbers(np.array([0, 7, 8, 15]), 4)
    array([ 0.,  7., -8., -1.], dtype=float32)
    """
    values = numbers.astype(np.float32)
    values[values >= 1 << (n_bits - 1)] -= 1 << n_bits
    return values


def _fill(file: Any, rows: npt.NDArray[np.uint8]) -> int:
    """Read into an array; the number of bytes that there were."""
    view, done = rows.data.cast("B"), 0
    while done < len(view) and (n := file.readinto(view[done:])):
        done += n
    return done


def _rows(path: Path, header: Header) -> tuple[_Rows, list[str]]:
    """Where the spectra are, and what there is to say of them."""
    row = header.nchans * header.nifs * header.nbits // 8
    size = path.stat().st_size - header.n_bytes
    n_times, rest = divmod(size, row)
    stated = header.values.get("nsamples", 0)
    notes = []
    if n_times < 1:
        raise FormatError(f"{path}: no spectrum after the header: {size} bytes, a spectrum takes {row}")
    if stated > n_times:
        notes.append(f"the header promises {stated} samples, the file holds {n_times}: it may be cut")
    elif 0 < stated < n_times:
        notes.append(f"the header promises {stated} samples, the file holds {n_times}: all were read")
    if rest:
        notes.append(f"the last spectrum is cut and was left out ({rest} of {row} bytes)")
    return _Rows(path, header, n_times, row), notes
