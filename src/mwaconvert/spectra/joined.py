"""Several files as one observation: one after the other by their start times, gaps of weight 0."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import fields

import numpy as np
import numpy.typing as npt

from mwaconvert.errors import InputError
from mwaconvert.spectra.stream import Data, Stream, Weights

_LONGEST_GAP = 100  # times what there is
_NEAR = 1e-3  # of a channel, or of a sample: what headers may differ by


class JoinedStream(Stream):
    """Files of one recording, in the order of their start times.

    Parameters
    ----------
    parts : with equal channels and samples; files without start times follow each other as given

    Raises
    ------
    InputError : they do not belong to each other, or overlap by more than a sample

    Examples
    --------
    >>> from pathlib import Path
    >>> from mwaconvert.spectra.spectra import Spectra
    >>> from mwaconvert.spectra.stream import ArrayStream
    >>> one, other = (
    ...     ArrayStream(Spectra(np.ones((4, 10)), 400 + np.arange(4), 1.0, start_mjd=mjd), Path("a"), "memory")
    ...     for mjd in (58000 + 15 / 86400, 58000.0)
    ... )
    >>> JoinedStream([one, other]).notes
    ('2 files were joined', '5 samples between the files are missing and have weight 0')
    """

    def __init__(self, parts: Sequence[Stream]) -> None:
        timed = all(part.start_mjd is not None for part in parts)
        self._parts = sorted(parts, key=lambda part: part.start_mjd or 0.0) if timed else list(parts)
        first = self._parts[0]
        for part in self._parts[1:]:
            _check_alike(first, part)
        self._firsts = _places(self._parts, timed=timed)
        last = self._parts[-1]
        n_times = int(self._firsts[-1]) + last.n_times
        self._missing = n_times - sum(part.n_times for part in self._parts)
        plain = all(np.dtype(part.dtype) == np.uint8 for part in self._parts)
        own = dict.fromkeys(note for part in self._parts for note in part.notes)
        notes = [*own, f"{len(self._parts)} files were joined"]
        if self._missing:
            notes.append(f"{self._missing} samples between the files are missing and have weight 0")
        weighted = self._missing > 0 or any(part.weighted for part in self._parts)
        facts = {field.name: getattr(first, field.name) for field in fields(Stream)}
        facts |= {"n_times": n_times, "notes": tuple(notes), "weighted": weighted}
        super().__init__(**facts | {"dtype": np.uint8 if plain else np.float32})

    def read(self, first: int, count: int, threads: int = 0) -> tuple[Data, Weights]:
        data: npt.NDArray[np.float32] | npt.NDArray[np.uint8] = np.zeros((self.n_chan, count), self.dtype)
        weights = np.zeros(data.shape, np.float32) if self.weighted else None
        for begin, part in zip(self._firsts.tolist(), self._parts, strict=True):
            low, high = max(first, begin), min(first + count, begin + part.n_times)
            if low >= high:
                continue
            read, held = part.read(low - begin, high - low, threads)
            place = slice(low - first, high - first)
            data[:, place] = read
            if weights is not None:
                ones = np.float32(1) if held is None else held if held.ndim == 2 else held[:, None]
                weights[:, place] = ones
        return data, weights

    def close(self) -> None:
        for part in self._parts:
            part.close()


def follows(before: Stream, part: Stream) -> bool:
    """Whether a file begins where another one ends, with the same channels, source and direction.

    Parameters
    ----------
    before, part : with start times; what begins up to a tenth of `before` late follows it

    Examples
    --------
    >>> from pathlib import Path
    >>> from mwaconvert.spectra.spectra import Spectra
    >>> from mwaconvert.spectra.stream import ArrayStream
    >>> one, other, late = (
    ...     ArrayStream(Spectra(np.ones((4, 10)), 400 + np.arange(4), 1.0, start_mjd=58000 + s / 86400), Path("a"), "")
    ...     for s in (0, 10, 12)
    ... )
    >>> follows(one, other), follows(one, late), follows(other, one)
    (True, False, False)
    """
    if before.start_mjd is None or part.start_mjd is None:
        return False
    try:
        _check_alike(before, part)
    except InputError:
        return False
    late_s = (part.start_mjd - before.start_mjd) * 86400 - before.n_times * before.dt_s
    if not -2 * before.dt_s - 2e-6 <= late_s <= max(0.1 * before.n_times * before.dt_s, 2 * before.dt_s):
        return False
    where, there = part.recording, before.recording
    return part.source == before.source and (where.ra_deg, where.dec_deg, where.beam) == (
        there.ra_deg,
        there.dec_deg,
        there.beam,
    )


def _check_alike(first: Stream, part: Stream) -> None:
    step = first.df_mhz or 1.0
    if part.n_chan != first.n_chan or np.abs(part.freq_mhz - first.freq_mhz).max() > _NEAR * step:
        what = f"{part.n_chan} channels from {part.freq_mhz[0]:g} to {part.freq_mhz[-1]:g} MHz"
        other = f"{first.n_chan} from {first.freq_mhz[0]:g} to {first.freq_mhz[-1]:g} MHz"
    elif abs(part.dt_s - first.dt_s) * first.n_times > _NEAR * first.n_times * first.dt_s:
        what, other = f"samples of {part.dt_s:g} s", f"{first.dt_s:g} s"
    elif part.dm != first.dm:
        what, other = f"data at DM {part.dm:g}", f"DM {first.dm:g}"
    else:
        return
    raise InputError(
        f"{part.path}: {what}, but {other} in {first.path}: they are not of one observation", path=part.path
    )


def _places(parts: Sequence[Stream], *, timed: bool) -> npt.NDArray[np.int64]:
    """First sample of each file, from the start of the first."""
    dt_s = parts[0].dt_s
    firsts = [0]
    for before, part in itertools.pairwise(parts):
        end = firsts[-1] + before.n_times
        if not timed or part.start_mjd is None or parts[0].start_mjd is None:
            firsts.append(end)
            continue
        begin = round((part.start_mjd - parts[0].start_mjd) * 86400 / dt_s)
        slack = max(1, int(np.ceil(2e-6 / dt_s)))  # s: an MJD of 64 bits is known to a microsecond
        if begin < end - slack:
            raise InputError(
                f"{part.path}: begins {(end - begin) * dt_s:.6g} s before the end of {before.path}: files of one "
                "observation follow each other",
                path=part.path,
            )
        if begin > _LONGEST_GAP * sum(p.n_times for p in parts):
            raise InputError(
                f"{part.path}: begins {(begin - end) * dt_s:.6g} s after the end of {before.path}: search them one "
                "at a time",
                path=part.path,
            )
        firsts.append(end if begin <= end + slack else begin)
    return np.array(firsts, np.int64)
