"""Masks of channels and times in files: rfifind's of PRESTO, and lists of channels."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mwaconvert.errors import FormatError, InputError
from mwaconvert.spectra.mask import TimeMask
from mwaconvert.spectra.stream import Stream
from mwaconvert.staging import StagedPath

SUFFIXES = (".mask", ".txt")
# sigmas of time and frequency, MJD, seconds, lowest MHz, MHz of a channel; channels, intervals, samples of one
_HEAD = struct.Struct("<6d3i")
_MOST = 1 << 28  # channels times intervals
_SIGMAS = 10.0, 4.0  # rfifind's own thresholds, which its readers expect to find


def read_mask(path: Path, stream: Stream) -> TimeMask:
    """Read what is masked in a file of spectra.

    Parameters
    ----------
    path : .mask of PRESTO's rfifind, or .txt: channels as 0-10,35, counted from 0 at the lowest frequency
    stream : the file that it is for

    Returns
    -------
    TimeMask

    Raises
    ------
    FormatError : it is damaged
    InputError : it is for another number of channels, or its name has another ending
    """
    match path.suffix.lower():
        case ".mask":
            mask = _read_rfifind(path, stream)
        case ".txt":
            mask = _read_channels(path, stream)
        case _:
            raise InputError(f"{path}: expected a name that ends in {' or '.join(SUFFIXES)}", path=path)
    if mask.bad.shape[0] != stream.n_chan:
        raise InputError(
            f"{path}: is a mask of {mask.bad.shape[0]} channels; {stream.path} has {stream.n_chan}", path=path
        )
    return mask


def _read_rfifind(path: Path, stream: Stream) -> TimeMask:
    held = path.read_bytes()
    try:
        *_, interval_s, _, _, n_chan, n_interval, points = _HEAD.unpack_from(held)
        if not (
            n_chan > 0
            and n_interval > 0
            and n_chan * n_interval < _MOST
            and 0 < interval_s < math.inf
            and points > 0
        ):
            raise FormatError(f"{path}: {n_chan} channels and {n_interval} intervals make no mask")
        at = _HEAD.size
        channels, at = _numbers(held, at, n_chan)
        intervals, at = _numbers(held, at, n_interval)
        counts = np.frombuffer(held, "<i4", n_interval, at)
        at += 4 * n_interval
        bad = np.zeros((n_chan, n_interval), bool)
        for k, count in enumerate(counts):
            if 0 < count < n_chan:
                bad[np.frombuffer(held, "<i4", count, at), k] = True
                at += 4 * int(count)
            elif count == n_chan:
                bad[:, k] = True
        bad[channels] = True
        bad[:, intervals] = True
    except (struct.error, ValueError, IndexError):
        raise FormatError(f"{path}: is not a whole mask of rfifind, or damaged") from None
    # an interval may be longer than the file, and in a damaged mask than a number holds
    times = interval_s / stream.dt_s
    return TimeMask(bad, max(1, round(times)) if times < stream.n_times else max(1, stream.n_times))


def _numbers(held: bytes, at: int, most: int) -> tuple[npt.NDArray[np.int32], int]:
    """A number of numbers, and these."""
    (count,) = struct.unpack_from("<i", held, at)
    if not 0 <= count <= most:
        raise ValueError(count)
    return np.frombuffer(held, "<i4", count, at + 4), at + 4 + 4 * count


def _read_channels(path: Path, stream: Stream) -> TimeMask:
    bad = np.zeros((stream.n_chan, 1), bool)
    for k, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
        for word in line.partition("#")[0].replace(",", " ").split():
            low, _, high = word.replace(":", "-").partition("-")
            if not (low.isdigit() and (high or low).isdigit()):
                raise FormatError(f"{path}: line {k}: expected channels such as 0-10,35, found {word!r}")
            first, last = int(low), int(high or low)
            if not first <= last < stream.n_chan:
                raise InputError(
                    f"{path}: line {k}: there are channels 0 to {stream.n_chan - 1}, not {word}", path=path
                )
            bad[first : last + 1] = True
    return TimeMask(bad, stream.n_times)


def write_mask(path: Path, mask: TimeMask, stream: Stream, *, overwrite: bool = False) -> None:
    """Write a mask as PRESTO's rfifind does.

    Parameters
    ----------
    path : .mask
    mask : what is masked
    stream : in which file
    overwrite : replace an existing file

    Raises
    ------
    InputError : the file exists
    """
    n_chan, n_interval = mask.bad.shape
    head = _HEAD.pack(
        *_SIGMAS,
        stream.start_mjd or 0.0,
        mask.block * stream.dt_s,
        float(stream.freq_mhz[0]),
        abs(stream.df_mhz),
        n_chan,
        n_interval,
        mask.block,
    )
    channels, intervals = np.flatnonzero(mask.bad.all(1)), np.flatnonzero(mask.bad.all(0))
    parts = [head]
    for numbers in (channels, intervals):
        parts += [struct.pack("<i", numbers.size), numbers.astype("<i4").tobytes()]
    parts.append(mask.bad.sum(0).astype("<i4").tobytes())
    for column in mask.bad.T:
        if 0 < column.sum() < n_chan:
            parts.append(np.flatnonzero(column).astype("<i4").tobytes())
    with StagedPath(path, overwrite) as staged:
        staged.temporary.write_bytes(b"".join(parts))
