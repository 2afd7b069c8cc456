"""Intensity that CHIME/FRB archives for an event: chunks of a second, a msgpack file each."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from io import FileIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.constants import SECONDS_PER_DAY, UNIX_EPOCH_MJD
from mwaconvert.errors import FormatError, InputError, ResourceError
from mwaconvert.extras import need
from mwaconvert.formats.stored import StoredArray
from mwaconvert.machine import free_bytes
from mwaconvert.spectra.dispersion import delay_per_dm, delay_samples
from mwaconvert.spectra.recording import Recording
from mwaconvert.spectra.spectra import Spectra, indivisible
from mwaconvert.spectra.stream import Data, Stream, Weights
from mwaconvert.text import size_text

_COARSE = 1024
_FRAME_S = 2.56e-6
_TOP_EDGE_MHZ = 800.1953125
_BAND_MHZ = 400.0
_MOST_VALUES = 1 << 26  # of a chunk; the largest of CHIME/FRB has a quarter of that
_MOST_TABLE = 4 * _COARSE * 4096  # bytes of scales, of offsets or of the mask
_VALUES = 16  # the item that holds them
_BLOCK = 8192  # values that are packed at a time
_HEAD = 5 << 17  # bytes before the values of a chunk of a second, and some more
SUFFIXES = (".msgpack", ".msg")


@dataclass(frozen=True, eq=False)
class _Chunk:
    path: Path
    beam: int
    fpga0: int  # frame of the first sample
    n_times: int
    n_freq: int
    fpga_per_sample: int  # binning counted
    frame0_nano: int
    scales: npt.NDArray[np.float32]  # (1024, blocks of time)
    offsets: npt.NDArray[np.float32]
    begin: int  # of the packed values in the file
    size: int  # of them
    compressed: bool
    mask: npt.NDArray[np.uint8] | None  # (frequencies, bytes of 8 samples), bits from the low one, 1: good

    @property
    def end(self) -> int:
        """Frame after the last sample."""
        return self.fpga0 + self.n_times * self.fpga_per_sample


class ChunkStream(Stream):
    """Chunks of one beam in the order of their time.

    intensity = offset + scale * byte, an offset and a scale for 16 channels and 16 samples; bytes of 0 and 255, and
    samples that the mask excludes, have weight 0, and so have chunks that are missing. Where chunks have samples of
    several lengths, as those of older data have that were averaged more, all are brought to the shortest: a longer one
    fills several.

    Parameters
    ----------
    paths : .msgpack or .msg

    Raises
    ------
    InputError : the packages for it are not installed
    FormatError : a file is damaged, or they do not belong to each other
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        chunks = sorted((_read_chunk(path) for path in paths), key=lambda chunk: chunk.fpga0)
        one = chunks[0]
        for chunk in chunks[1:]:
            if (chunk.beam, chunk.n_freq) != (one.beam, one.n_freq):
                raise FormatError(
                    f"{chunk.path}: beam {chunk.beam}, {chunk.n_freq} channels: {one.path.name} has {one.beam} and "
                    f"{one.n_freq}"
                )
        for before, after in pairwise(chunks):
            if after.fpga0 < before.end:
                raise FormatError(f"{after.path}: overlaps with {before.path.name}: the same samples twice")
        self._chunks, self._step = chunks, min(chunk.fpga_per_sample for chunk in chunks)
        for chunk in chunks:
            if chunk.fpga_per_sample % self._step or (chunk.fpga0 - one.fpga0) % self._step:
                raise FormatError(
                    f"{chunk.path}: samples of {chunk.fpga_per_sample} frames from {chunk.fpga0} on are between those "
                    f"of {self._step} frames from {one.fpga0} on"
                )
        n_times = (chunks[-1].end - one.fpga0) // self._step
        held = sum(chunk.end - chunk.fpga0 for chunk in chunks) // self._step
        missing = n_times - held
        if missing > 100 * held:
            raise FormatError(f"{chunks[-1].path}: {missing} samples are missing before it: another event?")
        longer = {chunk.fpga_per_sample // self._step for chunk in chunks} - {1}
        notes = [f"{missing} samples are missing and have weight 0"] if missing else []
        if longer:
            words = ", ".join(str(n) for n in sorted(longer))
            notes.append(f"some chunks have samples that are {words} times as long: each fills as many")
        dt_s = self._step * _FRAME_S
        start = None
        if one.frame0_nano > 0:
            start = UNIX_EPOCH_MJD + (one.frame0_nano * 1e-9 + one.fpga0 * _FRAME_S) / SECONDS_PER_DAY
        df_mhz = _BAND_MHZ / one.n_freq
        super().__init__(
            path=one.path,
            kind="CHIME/FRB msgpack",
            freq_mhz=_TOP_EDGE_MHZ - df_mhz * (np.arange(one.n_freq, dtype=np.float64) + 0.5),
            dt_s=dt_s,
            n_times=n_times,
            dtype=np.float32,
            weighted=True,
            start_mjd=start,
            notes=tuple(notes),
            recording=Recording(telescope="CHIME", beam=one.beam),
            fields={"beam": one.beam, "files": len(chunks), "fpga_counts_per_sample": self._step},
        )
        self._unpacked: tuple[int, Data, npt.NDArray[np.float32]] | None = None

    def read(self, first: int, count: int, threads: int = 0) -> tuple[Data, Weights]:
        self._check_memory(self.n_chan, count)
        data, weights = (np.zeros((self.n_chan, count), np.float32) for _ in range(2))
        for k, chunk in enumerate(self._chunks):
            start, end = self._place(chunk)
            low, high = max(first, start), min(first + count, end)
            if low >= high:
                continue
            if self._unpacked is None or self._unpacked[0] != k:
                self._unpacked = (k, *_unpack(chunk, threads))
            place = slice(low - first, high - first)
            part = (np.arange(low, high) - start) // (chunk.fpga_per_sample // self._step)
            data[:, place], weights[:, place] = self._unpacked[1][:, part], self._unpacked[2][:, part]
        return data, weights

    def waterfall(self, dm: float, n_sub: int, *, scaled: bool = True, threads: int = 0) -> Spectra:
        """Dedispersed sub-bands of all chunks, made in one pass over their bytes.

        The same as `spectra().scale().dedisperse(dm).subband(n_sub)`, to the rounding of float32, and without the
        values of all channels in memory.

        Parameters
        ----------
        dm : pc/cm^3
        n_sub : number of sub-bands, divides the number of channels
        scaled : each channel to mean 0 and standard deviation 1 first, by its samples of weight above 0
        threads : 0 for all cores; the result does not depend on it

        Raises
        ------
        InputError : numbers that make no sense
        FormatError : a file is damaged
        ResourceError : there is no memory for it
        """
        if n_sub < 1 or self.n_chan % n_sub:
            raise InputError(f"{self.path}: {indivisible(n_sub, self.n_chan)}", option="n_sub")
        if not np.isfinite(dm):
            raise InputError(f"a DM of {dm}: expected a finite number, pc/cm^3", option="dm")
        shifts = delay_samples(dm, delay_per_dm(self.freq_mhz, "top", self.k_dm) / self.dt_s)[0]
        self._check_memory(n_sub, self.n_times)
        data, weights = (np.empty((n_sub, self.n_times), np.float32) for _ in range(2))
        with ExitStack() as stack:
            chunks = [
                (
                    str(chunk.path),
                    stack.enter_context(_opened(chunk.path)).fileno(),
                    chunk.begin,
                    chunk.size,
                    chunk.compressed,
                    chunk.scales,
                    chunk.offsets,
                    chunk.mask,
                    chunk.n_times,
                    self._place(chunk)[0],
                    chunk.fpga_per_sample // self._step,
                )
                for chunk in self._chunks
            ]
            _core.chunk_waterfall(chunks, shifts, scaled, data, weights, threads)
        return Spectra(
            data,
            self.freq_mhz.reshape(n_sub, -1).mean(1),
            self.dt_s,
            weights=weights,
            dm=dm,
            start_mjd=self.start_mjd,
            source=self.source,
            k_dm=self.k_dm,
            notes=self.notes,
            recording=self.recording,
        )

    def _check_memory(self, n_chan: int, n_times: int) -> None:
        needed, free = 8 * n_chan * n_times, free_bytes()
        if needed > free:
            raise ResourceError(
                f"{self.path}: {n_chan} channels of {n_times} samples take {size_text(needed)} of memory, this machine "
                f"has {size_text(free)} free",
                path=self.path,
            )

    def _place(self, chunk: _Chunk) -> tuple[int, int]:
        """First and last sample of a chunk."""
        first = self._chunks[0].fpga0
        return (chunk.fpga0 - first) // self._step, (chunk.end - first) // self._step


def chunk_files(folder: Path) -> list[Path]:
    """Chunks in a folder, in the order of their numbers."""

    def numbers(path: Path) -> list[int]:
        return [int(digits) for digits in re.findall(r"\d+", path.name)]

    return sorted((p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES), key=numbers)


def _read_chunk(path: Path) -> _Chunk:
    """A chunk; its values stay in the file until they are asked for."""
    msgpack = need("msgpack", "chime", f"reading {path.name}")
    size = path.stat().st_size
    if not 0 < size <= 8 * _MOST_VALUES:
        raise FormatError(f"{path}: {size} bytes are not a chunk of CHIME/FRB")
    try:
        with _opened(path) as file:
            items = _items(msgpack, file, size)
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error
    except ResourceError:
        raise
    except Exception as error:  # its own tree, and ValueError of nested sizes
        raise FormatError(f"{path}: not a sound msgpack file: {error}") from error
    try:
        return _checked(path, items)
    except (TypeError, ValueError, OverflowError) as error:
        raise FormatError(f"{path}: a damaged chunk: {error}") from error


def _opened(path: Path) -> FileIO:
    try:
        return path.open("rb", buffering=0)
    except OSError as error:
        raise ResourceError(f"{path}: cannot be read: {error.strerror}", path=path) from error


def _items(msgpack: Any, file: FileIO, size: int) -> list[Any]:
    """Items of a chunk; of the values, which are most of it, where they begin and end in the file."""
    limits = {"max_array_len": 32, "max_map_len": 0, "max_str_len": 1 << 20, "max_bin_len": _MOST_TABLE}
    head = msgpack.Unpacker(file, raw=True, read_size=_HEAD, max_buffer_size=4 * _MOST_TABLE, **limits)
    try:
        n = head.read_array_header()
    except (ValueError, msgpack.UnpackException):
        n = 0
    if n not in (17, 21):
        raise FormatError(
            f"expected an array of 17 or 21 items, found {n or 'none'}: not a chunk of CHIME/FRB"
        )
    items = [head.unpack() for _ in range(_VALUES)]
    at = head.tell()
    mark = os.pread(file.fileno(), 5, at)  # its kind and its length
    wide = {0xC4: 1, 0xC5: 2, 0xC6: 4}.get(mark[0]) if mark else None  # bin 8, 16 and 32
    if wide is None:
        raise FormatError("a damaged chunk: its values are not bytes")
    begin = at + 1 + wide
    end = begin + int.from_bytes(mark[1 : 1 + wide], "big")
    if end > size:
        raise FormatError("not a sound msgpack file: it is cut")
    items.append(range(begin, end))
    file.seek(end)
    rest = msgpack.Unpacker(file, raw=True, max_buffer_size=4 * _MOST_TABLE, **limits)
    return [*items, *(rest.unpack() for _ in range(n - _VALUES - 1))]


def _checked(path: Path, items: list[Any]) -> _Chunk:
    version, compression = int(items[1]), int(items[2])
    if version not in (1, 2) or len(items) != (17 if version == 1 else 21) or compression not in (0, 1):
        raise FormatError(
            f"{path}: version {version}, compression {compression}, {len(items)} items: not known"
        )
    beam, n_up, per_packet, per_sample, nt_coarse, n_scale, n_data = (int(items[k]) for k in range(4, 11))
    first, length, binning = int(items[11]), int(items[12]), int(items[13])
    n_freq, n_times = _COARSE * n_up, nt_coarse * per_packet
    sound = (
        1 <= n_up <= 64 and 1 <= per_packet <= 4096 and 1 <= nt_coarse <= 4096 and 1 <= per_sample <= 1 << 20
    )
    sound = sound and 1 <= binning <= 1 << 10 and 0 <= first < 1 << 62
    if not sound or n_scale != _COARSE * nt_coarse or n_data != n_freq * n_times or n_data > _MOST_VALUES:
        raise FormatError(
            f"{path}: {n_up} x {_COARSE} channels, {nt_coarse} x {per_packet} samples of {per_sample} frames, binned by "
            f"{binning}, do not make {n_data} values with {n_scale} scales"
        )
    per_sample *= binning
    if length not in (0, n_times * per_sample) or first % per_sample:
        raise FormatError(
            f"{path}: {n_times} samples of {per_sample} frames from {first} on do not take {length} frames"
        )
    tables = []
    for k, name in ((14, "scales"), (15, "offsets")):
        table = np.frombuffer(items[k], "<f4")
        if table.size != n_scale:
            raise FormatError(f"{path}: {table.size} {name}, expected {n_scale}")
        tables.append(table.reshape(_COARSE, nt_coarse))
    mask = None
    if version == 2 and items[19]:
        n_mask = int(items[18])
        if n_mask < 1 or n_freq % n_mask or len(items[20]) != n_mask * (n_times // 8) or n_times % 8:
            raise FormatError(f"{path}: a mask of {n_mask} channels in {len(items[20])} bytes")
        mask = np.frombuffer(items[20], np.uint8).reshape(n_mask, -1)
    size = len(items[_VALUES])
    if compression and size < 5 * (n_data // _BLOCK):  # a length and a byte at least
        raise FormatError(f"{path}: the compressed values are damaged: they end too early")
    if not compression and size != n_data:
        raise FormatError(f"{path}: {size} values, expected {n_data}: it is cut")
    frame0 = int(items[17]) if version == 2 else 0
    return _Chunk(
        path=path,
        beam=beam,
        fpga0=first,
        n_times=n_times,
        n_freq=n_freq,
        fpga_per_sample=per_sample,
        frame0_nano=frame0,
        scales=tables[0],
        offsets=tables[1],
        begin=items[_VALUES].start,
        size=size,
        compressed=bool(compression),
        mask=mask,
    )


def _unpack(chunk: _Chunk, threads: int = 0) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Values and weights, (n_freq, n_times) from the lowest channel."""
    shape = (chunk.n_freq, chunk.n_times)
    raw = StoredArray(chunk.path, np.dtype(np.uint8), chunk.begin, (chunk.size,))[:]
    if chunk.compressed:
        packed, raw = raw, np.empty(chunk.n_freq * chunk.n_times, np.uint8)
        try:
            _core.unpack_bitshuffle(packed, raw, threads)
        except FormatError as error:
            raise FormatError(f"{chunk.path}: {error}") from error
    raw = raw.reshape(shape)
    n_up, per_packet = chunk.n_freq // _COARSE, chunk.n_times // chunk.scales.shape[1]
    blocks = raw.reshape(_COARSE, n_up, -1, per_packet)
    scales, offsets = chunk.scales[:, None, :, None], chunk.offsets[:, None, :, None]
    data = (blocks * scales + offsets).astype(np.float32).reshape(shape)
    weights = ((raw > 0) & (raw < 255)).astype(np.float32)
    if chunk.mask is not None:
        good = np.unpackbits(chunk.mask, axis=1, bitorder="little").astype(np.float32)
        weights *= np.repeat(good, chunk.n_freq // len(good), axis=0)
    return data[::-1], weights[::-1]
