"""Axes of the output: channels and timesteps after averaging."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mwaconvert import _core, _ufuncs
from mwaconvert.arrays import FloatArray
from mwaconvert.constants import SECONDS_PER_DAY, UNIX_EPOCH_MJD
from mwaconvert.observation.model import Metadata
from mwaconvert.observation.observation import Observation
from mwaconvert.visibilities.model import SpectralWindow


def spectral_windows(
    meta: Metadata,
    groups: tuple[tuple[int, ...], ...],
    freqs: FloatArray,
    flagged: npt.NDArray[np.bool_],
    factor: int,
) -> tuple[SpectralWindow, ...]:
    """Output channels: the mean frequency of their inputs, in blocks that start anew in each coarse channel."""
    borders = np.arange(0, meta.n_fine, factor)
    counts = np.diff(np.append(borders, meta.n_fine))
    coarse_freqs = freqs.reshape(-1, meta.n_fine)
    centre = np.add.reduceat(coarse_freqs, borders, axis=1) / counts
    width = np.broadcast_to(counts * meta.fine_width_hz, centre.shape)
    good = np.add.reduceat(~flagged.reshape(-1, meta.n_fine), borders, axis=1, dtype=np.int64)
    effective = np.where(good > 0, good, counts) * meta.fine_width_hz
    windows, at = [], 0
    for group in groups:
        rows = slice(at, at + len(group))
        at += len(group)
        n = len(borders)
        windows.append(
            SpectralWindow(
                channels=slice(rows.start * n, rows.stop * n),
                freq_hz=centre[rows].ravel(),
                width_hz=width[rows].ravel().astype(np.float64),
                effective_hz=effective[rows].ravel(),
                coarse=group,
            )
        )
    return tuple(windows)


def chunk_state(
    missing: npt.NDArray[np.bool_],
    time_flagged: npt.NDArray[np.bool_],
    coarse_flagged: npt.NDArray[np.bool_],
) -> npt.NDArray[np.int32]:
    """(n_times, n_coarse) good, flagged or missing (`_core.CHUNK_*`)."""
    state = np.where(time_flagged[:, None] | coarse_flagged, _core.CHUNK_FLAGGED, _core.CHUNK_GOOD)
    return np.where(missing, _core.CHUNK_MISSING, state).astype(np.int32)


@dataclass(frozen=True)
class OutputTimes:
    """Centre, centroid, length and exposure of each output timestep, as `VisHeader` explains them."""

    time_mjd: FloatArray
    centroid_mjd: FloatArray
    interval_s: FloatArray
    exposure_s: FloatArray


def output_times(
    input_mjd: FloatArray, int_time_s: float, factor: int, state: npt.NDArray[np.int32]
) -> OutputTimes:
    """The output timesteps.

    The centroid is the mean over unflagged (integration, coarse channel) pairs, so all rows share it.
    """
    good = (state == _core.CHUNK_GOOD).sum(axis=1).astype(np.float64)
    borders = np.arange(0, len(input_mjd), factor)
    counts = np.diff(np.append(borders, len(input_mjd)))
    first = input_mjd[borders]
    centre = first + (counts - 1) / 2 * int_time_s / SECONDS_PER_DAY
    weight = np.add.reduceat(good, borders)
    offset_s = (input_mjd - np.repeat(first, counts)) * SECONDS_PER_DAY
    moment = np.add.reduceat(good * offset_s, borders)
    shift_s = np.where(weight > 0, moment / np.where(weight > 0, weight, 1), (counts - 1) / 2 * int_time_s)
    # rounded: a fully good timestep has its centroid exactly at its centre
    partial = np.abs(shift_s - (counts - 1) / 2 * int_time_s) > 1e-6
    return OutputTimes(
        time_mjd=centre,
        centroid_mjd=np.where(partial, first + shift_s / SECONDS_PER_DAY, centre),
        interval_s=counts * int_time_s,
        exposure_s=np.add.reduceat(good > 0, borders, dtype=np.int64) * int_time_s,
    )


def gps_s(meta: Metadata, mjd: npt.ArrayLike) -> FloatArray:
    """GPS seconds of UTC: counted from the start of the schedule, so leap seconds do not matter."""
    gps: FloatArray = meta.obsid + (
        (np.asarray(mjd) - UNIX_EPOCH_MJD) * SECONDS_PER_DAY - meta.sched_start_unix_s
    )
    return gps


def input_mjd(observation: Observation, steps: range) -> FloatArray:
    """(n_steps,) centres of input integrations, UTC as MJD."""
    start_s = observation.timestep_unix_ms[steps.start : steps.stop] / 1e3
    mjd: FloatArray = _ufuncs.unix_to_mjd(start_s + observation.metadata.int_time_s / 2)
    return mjd
