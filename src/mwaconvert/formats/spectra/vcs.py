"""Voltages of the MWA's tiles, detected: the incoherent sum of the unflagged inputs.

Legacy voltages, combined (<obsid>_<gps second>_ch<number>.dat): a second of one coarse channel, (time of 100 us, fine
channel, input) of complex numbers in 4 + 4 bits. MWAX (<obsid>_<gps second>_<number>.sub): 8 seconds of one coarse
channel, a header of text, a block of delays, then blocks of (input, time) in 8 + 8 bits.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.constants import SECONDS_PER_DAY, UNIX_EPOCH_MJD
from mwaconvert.errors import FormatError, InputError, MetadataError
from mwaconvert.observation.metafits import read_metadata
from mwaconvert.spectra.recording import Recording
from mwaconvert.spectra.stream import Data, Stream, Weights
from mwaconvert.text import plural

_COARSE_MHZ = 1.28
_LEGACY_FINE, _LEGACY_RATE = 128, 10000  # channels, samples a second
_LEGACY_STEP = 1000  # samples detected at a time
_NAME = re.compile(r"(\d{10})_(\d{10})_(?:ch)?(\d{1,3})\.(dat|sub)")
_HEADER_BYTES = 4096


@dataclass(frozen=True)
class _File:
    path: Path
    gps_s: int
    number: int  # receiver channel


@dataclass(frozen=True)
class _Layout:
    """What all files share."""

    seconds: int  # of a file
    n_input: int
    samples: int  # of voltage, of each input and block
    blocks: int
    begin: int  # byte of the first block
    rate: float  # samples of voltage a second
    fine: int


class VcsStream(Stream):
    """Total power of all unflagged inputs, by fine channel and time.

    Parameters
    ----------
    metafits : of the observation; gives the inputs, their order and their flags
    files : .dat or .sub; default: those beside the metafits file
    fine : MWAX: split each coarse channel into this many, by a Fourier transform without window
    average : spectra that become one
    use_flagged : take in flagged inputs too

    Raises
    ------
    InputError : there are no files, or numbers that do not fit
    MetadataError : all inputs are flagged
    FormatError : a file is cut, or does not belong to the others
    """

    def __init__(
        self,
        metafits: Path,
        files: Sequence[Path] = (),
        *,
        fine: int = 128,
        average: int = 1,
        use_flagged: bool = False,
    ) -> None:
        metadata = read_metadata(metafits)
        found, kind = _find(metafits, files, metadata.obsid)
        good = _inputs(metafits, legacy=kind == "dat", use_flagged=use_flagged)
        layout = _legacy(found, good.size) if kind == "dat" else _mwax(found, good.size, fine)
        per_block = layout.samples // (1 if kind == "dat" else layout.fine)
        if average < 1 or per_block % average:
            raise InputError(
                f"{metafits}: averages of {average}: expected a divisor of the {per_block} spectra of a block"
            )
        self._layout, self._good, self._average, self._kind = layout, good, average, kind
        self._per_block = per_block // average
        self._at = {(file.number, file.gps_s): file.path for file in found}
        self._numbers = sorted({file.number for file in found})
        times = sorted({file.gps_s for file in found})
        self._first_s = times[0]
        for time in times:
            if (time - times[0]) % layout.seconds:
                raise FormatError(f"{metafits}: files of {layout.seconds} s begin at {times[0]} and {time}")
        n_file = (times[-1] - times[0]) // layout.seconds + 1
        missing = n_file * len(self._numbers) - len(found)
        width = _COARSE_MHZ / layout.fine
        # channel k is centred k widths above the lower edge, for the transform of MWAX as for the legacy filter bank
        place = width * np.arange(layout.fine, dtype=np.float64) - _COARSE_MHZ / 2
        freq_mhz = [number * _COARSE_MHZ + place for number in self._numbers]
        self._last: dict[int, tuple[tuple[int, int], npt.NDArray[np.float32] | None]] = {}
        start = UNIX_EPOCH_MJD + (metadata.sched_start_unix_s + times[0] - metadata.obsid) / SECONDS_PER_DAY
        super().__init__(
            path=metafits,
            kind="MWA voltages" if kind == "sub" else "MWA legacy voltages",
            freq_mhz=np.concatenate(freq_mhz),
            dt_s=layout.samples / layout.rate / self._per_block,
            n_times=n_file * layout.blocks * self._per_block,
            dtype=np.float32,
            weighted=missing > 0,
            start_mjd=start,
            source=metadata.name,
            recording=Recording(telescope="MWA"),
            notes=(f"{plural(missing, 'missing file')}: the samples have weight 0",) if missing else (),
            fields={
                "obsid": metadata.obsid,
                "files": len(found),
                "inputs": f"{int(good.sum())} of {good.size}",
                "coarse channels": ",".join(map(str, self._numbers)),
            },
        )

    def read(self, first: int, count: int, threads: int = 0) -> tuple[Data, Weights]:
        data = np.zeros((self.n_chan, count), np.float32)
        weights = np.zeros_like(data) if self.weighted else None
        fine = self._layout.fine
        for block in range(first // self._per_block, -(-(first + count) // self._per_block)):
            start = block * self._per_block
            low, high = max(first, start), min(first + count, start + self._per_block)
            place, part = slice(low - first, high - first), slice(low - start, high - start)
            for c, number in enumerate(self._numbers):
                power = self._block(number, block, threads)
                if power is None:
                    continue
                rows = slice(c * fine, (c + 1) * fine)
                data[rows, place] = power[:, part]
                if weights is not None:
                    weights[rows, place] = 1
        return data, weights

    def _block(self, number: int, block: int, threads: int) -> npt.NDArray[np.float32] | None:
        """Detected spectra of a coarse channel, (fine, per_block); the last of each channel is kept."""
        k, within = divmod(block, self._layout.blocks)
        path = self._at.get((number, self._first_s + k * self._layout.seconds))
        kept = self._last.get(number)
        if kept is None or kept[0] != (k, within):
            power = None
            if path is not None:
                detect = self._legacy if self._kind == "dat" else self._mwax
                power = detect(path, within, threads)
            kept = self._last[number] = ((k, within), power)
        return kept[1]

    def _legacy(self, path: Path, block: int, threads: int) -> npt.NDArray[np.float32]:
        n = self._layout.samples * _LEGACY_FINE * self._good.size
        raw = _bytes(path, block * n, n).reshape(-1, self._good.size)
        power = np.empty(len(raw), np.uint32)
        _core.detect_nibbles(raw, self._good.astype(np.uint8) * np.uint8(255), power, threads)
        mean = power.reshape(self._per_block, self._average, _LEGACY_FINE).mean(1, dtype=np.float64)
        return np.ascontiguousarray(mean.T, np.float32)

    def _mwax(self, path: Path, block: int, threads: int) -> npt.NDArray[np.float32]:
        layout = self._layout
        n = layout.n_input * layout.samples * 2
        raw = _bytes(path, layout.begin + block * n, n).view(np.int8)
        power = np.empty((layout.samples // layout.fine, layout.fine), np.float32)
        _core.detect_channels(
            raw.reshape(layout.n_input, layout.samples, 2),
            np.flatnonzero(self._good).astype(np.int32),
            power,
            threads,
        )
        mean = power.reshape(self._per_block, self._average, layout.fine).mean(1, dtype=np.float64)
        return np.ascontiguousarray(np.fft.fftshift(mean / layout.fine, axes=1).T, np.float32)


def _find(metafits: Path, files: Sequence[Path], obsid: int) -> tuple[list[_File], str]:
    """Files of this observation, all of one kind."""
    given = list(files) or sorted(
        p for p in metafits.parent.iterdir() if p.suffix.lower() in (".dat", ".sub")
    )
    found, kinds = [], set()
    for path in given:
        match = _NAME.fullmatch(path.name)
        if match is None or int(match[1]) != obsid:
            if files:
                raise InputError(
                    f"{path}: not voltages of {obsid}: expected {obsid}_<second>_<channel>.sub or .dat"
                )
            continue
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        found.append(_File(path, int(match[2]), int(match[3])))
        kinds.add(match[4])
    if not found:
        raise InputError(
            f"{metafits}: no voltages of {obsid} beside it: expected {obsid}_<second>_<channel>.sub, or "
            "_ch<channel>.dat"
        )
    if len(kinds) > 1:
        raise InputError(f"{metafits}: both .dat and .sub files: give those of one kind")
    return found, kinds.pop()


def _inputs(metafits: Path, *, legacy: bool, use_flagged: bool) -> npt.NDArray[np.bool_]:
    """Which inputs are used, in the order of the voltages."""
    import mwalib

    version = mwalib.MWAVersion.VCSLegacyRecombined if legacy else mwalib.MWAVersion.VCSMWAXv2
    inputs = mwalib.MetafitsContext(str(metafits), version).rf_inputs
    order = [rf.vcs_order if legacy else rf.subfile_order for rf in inputs]
    if sorted(order) != list(range(len(order))):
        raise MetadataError(
            f"{metafits}: its inputs have no place of their own in the voltages: other receivers?"
        )
    good = np.zeros(len(order), bool)
    good[order] = [use_flagged or not rf.flagged for rf in inputs]
    if not good.any():
        raise MetadataError(f"{metafits}: all inputs are flagged")
    return good


def _legacy(files: list[_File], n_input: int) -> _Layout:
    size = _LEGACY_RATE * _LEGACY_FINE * n_input
    for file in files:
        held = file.path.stat().st_size
        if held != size:
            raise FormatError(
                f"{file.path}: {held} bytes, a second of {n_input} inputs takes {size}: it is cut, or not combined"
            )
    return _Layout(
        1, n_input, _LEGACY_STEP, _LEGACY_RATE // _LEGACY_STEP, 0, float(_LEGACY_RATE), _LEGACY_FINE
    )


def _mwax(files: list[_File], n_input: int, fine: int) -> _Layout:
    layouts = {}
    for file in files:
        head = _header(file.path)
        try:
            samples, rate = int(head["NTIMESAMPLES"]), float(head.get("SAMPLE_RATE", "1280000"))
            held, seconds = int(head["NINPUTS"]), int(head.get("SECS_PER_SUBOBS", "8"))
            begin = int(head.get("HDR_SIZE", str(_HEADER_BYTES)))
        except (KeyError, ValueError) as error:
            raise FormatError(f"{file.path}: its header has no sound {error}") from error
        if held != n_input:
            raise FormatError(f"{file.path}: {held} inputs, the metafits lists {n_input}")
        if not (
            1 <= samples <= 1 << 24 and 1 <= rate < 1e9 and 1 <= seconds <= 3600 and 0 < begin <= 1 << 20
        ):
            raise FormatError(
                f"{file.path}: {samples} samples a block at {rate:g} Hz, {seconds} s: makes no sense"
            )
        block = n_input * samples * 2
        n_block = seconds * rate / samples
        size, want = file.path.stat().st_size, begin + block * (1 + int(n_block))
        if n_block != int(n_block) or n_block < 1 or size != want:
            raise FormatError(
                f"{file.path}: {size} bytes, {seconds} s of {n_input} inputs take {want}: it is cut"
            )
        layouts[_Layout(seconds, n_input, samples, int(n_block), begin + block, rate, fine)] = file.path
    if len(layouts) > 1:
        raise FormatError(
            f"{files[0].path}: the files do not share one layout: {', '.join(map(str, layouts.values()))}"
        )
    layout = next(iter(layouts))
    if fine < 1 or layout.samples % fine:
        raise InputError(
            f"{files[0].path}: {fine} fine channels do not divide the {layout.samples} samples of a block"
        )
    return layout


def _header(path: Path) -> dict[str, str]:
    """Keywords of a .sub file: a name and a value a line."""
    with path.open("rb") as file:
        text = file.read(_HEADER_BYTES).split(b"\0", 1)[0].decode("latin-1")
    if "HDR_SIZE" not in text:
        raise FormatError(f"{path}: expected a header with HDR_SIZE, found {text[:16]!r}: no MWAX voltages")
    return {words[0]: words[1] for words in (line.split() for line in text.splitlines()) if len(words) >= 2}


def _bytes(path: Path, begin: int, n: int) -> npt.NDArray[np.uint8]:
    with path.open("rb") as file:
        file.seek(begin)
        raw = np.fromfile(file, np.uint8, n)
    if raw.size != n:
        raise FormatError(f"{path}: ends at byte {begin + raw.size}, expected {begin + n}: it is cut")
    return raw
