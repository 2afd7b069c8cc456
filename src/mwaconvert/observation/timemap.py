"""Timesteps: which HDU holds which time of which coarse channel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mwaconvert.arrays import IntArray
from mwaconvert.errors import FormatError
from mwaconvert.observation.model import Metadata
from mwaconvert.observation.rawfiles import RawScan

#: more timesteps than this mean a time that is wrong, not an observation
MAX_TIMESTEPS = 1_000_000


def place(
    hdus: npt.NDArray[np.void],
    coarse: IntArray,
    int_time_ms: int,
    scans: Sequence[RawScan],
    metadata: Metadata,
    notes: list[str],
) -> tuple[IntArray, npt.NDArray[np.int32]]:
    """Sort HDUs into a grid of timesteps.

    The grid has the phase that most HDUs have; files that are off by a part of an integration go to the
    nearest step (halfway: the later one).

    Parameters
    ----------
    hdus : visibility HDUs with the field `file`, in order of coarse channel and batch
    coarse : (n_hdu,) coarse channel of each

    Returns
    -------
    unix_ms : (n_t,) start of each timestep
    index : (n_t, n_coarse) index into `hdus`, -1 where there is none
    """
    start = hdus["unix_ms"]
    phase = int(np.argmax(np.bincount(start % int_time_ms)))
    step = (start - phase + int_time_ms // 2) // int_time_ms
    first, last = int(step.min()), int(step.max())
    if last - first >= MAX_TIMESTEPS:
        early, late = hdus[np.argmin(start)], hdus[np.argmax(start)]
        seconds = (late["unix_ms"] - early["unix_ms"]) / 1000
        raise FormatError(
            f"{scans[late['file']].name.path}: HDU {late['hdu']} starts {seconds:g} s after "
            f"HDU {early['hdu']} of {scans[early['file']].name.path}; one of the two times is wrong"
        )
    _note_shifted(hdus, start - (step * int_time_ms + phase), int_time_ms, scans, notes)
    index = np.full((last - first + 1, len(metadata.coarse_channels)), -1, dtype=np.int32)
    # of several HDUs for one place the first stays: later batches are written first, then overwritten
    order = np.arange(len(hdus))[::-1]
    index[step[order] - first, coarse[order]] = order
    used = np.zeros(len(hdus), bool)
    used[index[index >= 0]] = True
    unused = np.flatnonzero(~used)
    for file in sorted(set(hdus["file"][unused].tolist())):
        numbers = hdus["hdu"][unused][hdus["file"][unused] == file]
        notes.append(
            f"{scans[file].name.path}: integrations that repeat times of an earlier batch are not used: "
            f"{len(numbers)}, from HDU {numbers[0]} on."
        )
    times = np.arange(first, last + 1, dtype=np.int64) * int_time_ms + phase
    return times, index


def _note_shifted(
    hdus: npt.NDArray[np.void],
    shift_ms: IntArray,
    int_time_ms: int,
    scans: Sequence[RawScan],
    notes: list[str],
) -> None:
    for file in sorted(set(hdus["file"][shift_ms != 0].tolist())):
        shifts = shift_ms[hdus["file"] == file]
        largest = shifts[np.argmax(np.abs(shifts))]
        side = "before" if largest < 0 else "after"
        notes.append(
            f"{scans[file].name.path}: integrations start {abs(largest)} ms {side} the timesteps of "
            f"{int_time_ms} ms that most files follow; each is taken as the nearest timestep, with the phases of "
            "its own time."
        )


def common_run(provided: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_]) -> range:
    """First unbroken run of timesteps that have every coarse channel that has data at any time.

    Parameters
    ----------
    provided : (n_t, n_coarse) where there are data
    among : (n_t,) timesteps to consider

    Returns
    -------
    range of timesteps; empty if there are none
    """
    whole = np.asarray(provided[:, provided.any(axis=0)].all(axis=1)) & among
    if not whole.any():
        return range(0)
    first = int(np.argmax(whole))
    gaps = np.flatnonzero(~whole[first:])
    return range(first, first + int(gaps[0]) if gaps.size else len(whole))


def note_missing(
    index: npt.NDArray[np.int32], scans: Sequence[RawScan], metadata: Metadata, notes: list[str]
) -> None:
    """Say what is not there: whole channels, batches, timesteps."""
    provided = sorted({scan.coarse for scan in scans})
    n_absent = len(metadata.coarse_channels) - len(provided)
    if n_absent:
        notes.append(f"Coarse channels without files: {n_absent} of {len(metadata.coarse_channels)}.")
    batches = range(max(scan.name.batch for scan in scans) + 1)
    held = {(scan.coarse, scan.name.batch) for scan in scans}
    for batch in batches:
        without = [coarse for coarse in provided if (coarse, batch) not in held]
        if without:
            notes.append(f"Batch {batch} is missing for {_name_channels(without, metadata)}.")
    holes = int((index < 0).all(axis=1).sum())
    if holes:
        notes.append(f"Timesteps in no file: {holes} of {len(index)}.")
    missing = (index[:, provided] < 0).sum(axis=0) - holes
    for count in sorted(set(missing[missing > 0].tolist())):
        channels = [provided[k] for k in np.flatnonzero(missing == count)]
        notes.append(
            f"Timesteps missing for {_name_channels(channels, metadata)} that other channels have: "
            f"{count} of {len(index)}."
        )


def _name_channels(coarse: Sequence[int], metadata: Metadata) -> str:
    numbers = ", ".join(str(metadata.coarse_channels[k].number) for k in coarse)
    return f"receiver channel{'s' if len(coarse) > 1 else ''} {numbers}"
