"""Intensity that CHIME/FRB archives for an event: chunks of a second, a msgpack file each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mwaconvert.constants import SECONDS_PER_DAY, UNIX_EPOCH_MJD
from mwaconvert.errors import FormatError
from mwaconvert.extras import need
from mwaconvert.spectra.recording import Recording
from mwaconvert.spectra.stream import Data, Stream, Weights

_COARSE = 1024
_FRAME_S = 2.56e-6
_TOP_EDGE_MHZ = 800.1953125
_BAND_MHZ = 400.0
_BLOCK = 8192  # bytes that bitshuffle compresses at a time, for elements of one byte
_MOST_VALUES = 1 << 26  # of a chunk; the largest of CHIME/FRB has a quarter of that
SUFFIXES = (".msgpack", ".msg")


@dataclass(frozen=True)
class _Chunk:
    path: Path
    beam: int
    first: int  # sample
    n_times: int
    n_freq: int
    fpga_per_sample: int
    frame0_nano: int
    scales: npt.NDArray[np.float32]  # (1024, blocks of time)
    offsets: npt.NDArray[np.float32]
    packed: bytes
    compressed: bool
    mask: npt.NDArray[np.uint8] | None  # (frequencies, bytes of 8 samples), bits from the low one, 1: good


class ChunkStream(Stream):
    """Chunks of one beam in the order of their time.

    intensity = offset + scale * byte, an offset and a scale for 16 channels and 16 samples; bytes of 0 and 255, and
    samples that the mask excludes, have weight 0, and so have chunks that are missing.

    Parameters
    ----------
    paths : .msgpack or .msg

    Raises
    ------
    InputError : the packages for it are not installed
    FormatError : a file is damaged, or they do not belong to each other
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        chunks = sorted((_emptied(_read_chunk(path)) for path in paths), key=lambda chunk: chunk.first)
        one = chunks[0]
        for chunk in chunks[1:]:
            if (chunk.beam, chunk.n_freq, chunk.fpga_per_sample) != (
                one.beam,
                one.n_freq,
                one.fpga_per_sample,
            ):
                raise FormatError(
                    f"{chunk.path}: beam {chunk.beam}, {chunk.n_freq} channels, {chunk.fpga_per_sample} frames a "
                    f"sample: {one.path.name} has {one.beam}, {one.n_freq} and {one.fpga_per_sample}"
                )
        for before, after in pairwise(chunks):
            if after.first < before.first + before.n_times:
                raise FormatError(f"{after.path}: overlaps with {before.path.name}: the same samples twice")
        self._chunks = chunks
        n_times = chunks[-1].first + chunks[-1].n_times - one.first
        held = sum(chunk.n_times for chunk in chunks)
        missing = n_times - held
        if missing > 100 * held:
            raise FormatError(f"{chunks[-1].path}: {missing} samples are missing before it: another event?")
        dt_s = one.fpga_per_sample * _FRAME_S
        start = None
        if one.frame0_nano > 0:
            start = UNIX_EPOCH_MJD + (one.frame0_nano * 1e-9 + one.first * dt_s) / SECONDS_PER_DAY
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
            notes=(f"{missing} samples are missing and have weight 0",) if missing else (),
            recording=Recording(telescope="CHIME", beam=one.beam),
            fields={"beam": one.beam, "files": len(chunks), "fpga_counts_per_sample": one.fpga_per_sample},
        )
        self._unpacked: tuple[int, Data, npt.NDArray[np.float32]] | None = None

    def read(self, first: int, count: int, threads: int = 0) -> tuple[Data, Weights]:  # noqa: ARG002
        data, weights = (np.zeros((self.n_chan, count), np.float32) for _ in range(2))
        for k, chunk in enumerate(self._chunks):
            start = chunk.first - self._chunks[0].first
            low, high = max(first, start), min(first + count, start + chunk.n_times)
            if low >= high:
                continue
            if self._unpacked is None or self._unpacked[0] != k:
                self._unpacked = (k, *_unpack(_read_chunk(chunk.path)))
            place, part = slice(low - first, high - first), slice(low - start, high - start)
            data[:, place], weights[:, place] = self._unpacked[1][:, part], self._unpacked[2][:, part]
        return data, weights


def chunk_files(folder: Path) -> list[Path]:
    """Chunks in a folder, in the order of their numbers."""

    def numbers(path: Path) -> list[int]:
        return [int(digits) for digits in re.findall(r"\d+", path.name)]

    return sorted((p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES), key=numbers)


def _emptied(chunk: _Chunk) -> _Chunk:
    """A chunk without its values, which are read again when they are asked for."""
    return replace(chunk, scales=chunk.scales[:0], offsets=chunk.offsets[:0], packed=b"", mask=None)


def _read_chunk(path: Path) -> _Chunk:
    msgpack = need("msgpack", "chime", f"reading {path.name}")
    if path.stat().st_size > 8 * _MOST_VALUES:
        raise FormatError(f"{path}: {path.stat().st_size} bytes are too many for a chunk of CHIME/FRB")
    raw = path.read_bytes()
    try:
        items = msgpack.unpackb(raw, raw=True, max_array_len=32, max_map_len=32)
    except Exception as error:  # its own tree, and ValueError of nested sizes
        raise FormatError(f"{path}: not a sound msgpack file: {' '.join(str(error).split())}") from error
    if not isinstance(items, list) or len(items) not in (17, 21):
        n = len(items) if isinstance(items, list) else 0
        raise FormatError(f"{path}: expected an array of 17 or 21 items, found {n}: not a chunk of CHIME/FRB")
    try:
        return _checked(path, items)
    except (TypeError, ValueError, OverflowError) as error:
        raise FormatError(f"{path}: a damaged chunk: {error}") from error


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
    packed = bytes(items[16])
    if compression:
        _check_blocks(path, packed, n_data)
    elif len(packed) != n_data:
        raise FormatError(f"{path}: {len(packed)} values, expected {n_data}: it is cut")
    frame0 = int(items[17]) if version == 2 else 0
    return _Chunk(
        path=path,
        beam=beam,
        first=first // per_sample,
        n_times=n_times,
        n_freq=n_freq,
        fpga_per_sample=per_sample,
        frame0_nano=frame0,
        scales=tables[0],
        offsets=tables[1],
        packed=packed,
        compressed=bool(compression),
        mask=mask,
    )


def _check_blocks(path: Path, packed: bytes, n_data: int) -> None:
    """That the lengths of the blocks stay within the file: the library takes them on trust."""
    at = 0
    blocks, rest = divmod(n_data, _BLOCK)
    for _ in range(blocks + (rest >= 8)):
        length = int.from_bytes(packed[at : at + 4], "big")
        at += 4 + length
        if at > len(packed) or length < 1:
            raise FormatError(f"{path}: the compressed values end too early: it is cut or damaged")
    if at + rest % 8 != len(packed):
        raise FormatError(
            f"{path}: {len(packed)} bytes of compressed values, their blocks take {at + rest % 8}"
        )


def _unpack(chunk: _Chunk) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Values and weights, (n_freq, n_times) from the lowest channel."""
    shape = (chunk.n_freq, chunk.n_times)
    if chunk.compressed:
        bitshuffle = need("bitshuffle", "chime", f"reading {chunk.path.name}")
        try:
            raw = bitshuffle.decompress_lz4(np.frombuffer(chunk.packed, np.uint8), shape, np.dtype(np.uint8))
        except Exception as error:
            raise FormatError(f"{chunk.path}: its values cannot be decompressed: {error}") from error
    else:
        raw = np.frombuffer(chunk.packed, np.uint8).reshape(shape)
    n_up, per_packet = chunk.n_freq // _COARSE, chunk.n_times // chunk.scales.shape[1]
    blocks = raw.reshape(_COARSE, n_up, -1, per_packet)
    scales, offsets = chunk.scales[:, None, :, None], chunk.offsets[:, None, :, None]
    data = (blocks * scales + offsets).astype(np.float32).reshape(shape)
    weights = ((raw > 0) & (raw < 255)).astype(np.float32)
    if chunk.mask is not None:
        good = np.unpackbits(chunk.mask, axis=1, bitorder="little").astype(np.float32)
        weights *= np.repeat(good, chunk.n_freq // len(good), axis=0)
    return data[::-1], weights[::-1]
