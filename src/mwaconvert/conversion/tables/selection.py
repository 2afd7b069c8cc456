"""What of an observation enters a conversion: timesteps, coarse channels, baselines, averaging factors."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mwaconvert.arrays import IntArray
from mwaconvert.conversion.options import Options
from mwaconvert.errors import InputError
from mwaconvert.observation.model import Metadata
from mwaconvert.observation.observation import Observation


def averaging_factor(
    what: str,
    factor: int | None,
    resolution: float | None,
    unit_size: float,
    unit: str,
    n: int,
    notes: list[str],
) -> int:
    """Averaging factor from whichever of factor and resolution was given."""
    if resolution is not None:
        ratio = resolution / unit_size
        factor = round(ratio)
        if factor < 1 or not math.isclose(ratio, factor, rel_tol=1e-6):
            nearest = sorted({max(1, math.floor(ratio)), max(1, math.ceil(ratio))})
            raise InputError(
                f"{what} resolution {resolution:g} {unit} is not a multiple of the {unit_size:g} {unit} of the raw "
                f"data; choose {' or '.join(f'{k * unit_size:g}' for k in nearest)} {unit}"
            )
    if factor is None:
        return 1
    if factor < 1:
        raise InputError(f"{what} averaging factor {factor} is less than 1")
    if what == "frequency" and factor > n:
        raise InputError(
            f"frequency resolution {factor * unit_size:g} kHz is wider than a coarse channel ({n * unit_size:g} kHz); "
            "choose at most that"
        )
    if n % factor:
        where = "of each coarse channel " if what == "frequency" else ""
        notes.append(
            f"the last output {'channel' if what == 'frequency' else 'timestep'} {where}is shorter: "
            f"{n % factor} instead of {factor} inputs, as {n} is not a multiple of {factor}"
        )
    return factor


def select_timesteps(observation: Observation, options: Options) -> range:
    """First common to last provided timestep, or what was asked for."""
    n = len(observation.timestep_unix_ms)
    if options.sel_time is None:
        return range(observation.common[0] if observation.common else 0, n)
    first, last = options.sel_time
    if not 0 <= first <= last < n:
        raise InputError(
            f"timesteps {first} to {last} do not exist: the raw files hold {n}, counted from 0 to {n - 1}"
        )
    return range(first, last + 1)


def select_coarse(
    observation: Observation, options: Options
) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
    """Coarse channels to convert, and the same in contiguous groups."""
    meta = observation.metadata
    n = len(meta.coarse_channels)
    if options.sel_chan_ranges is None:
        groups = [list(observation.provided_coarse)]
    else:
        groups = []
        for first, last in options.sel_chan_ranges:
            if not 0 <= first <= last < n:
                raise InputError(
                    f"coarse channels {first} to {last} do not exist: the observation has {n}, counted from 0 to {n - 1}"
                )
            groups.append(list(range(first, last + 1)))
        groups.sort()
    chosen = [c for group in groups for c in group]
    if len(set(chosen)) < len(chosen):
        raise InputError("coarse channel ranges overlap; give each channel once")
    if not set(chosen) & set(observation.provided_coarse):
        raise InputError("none of the chosen coarse channels has raw files")
    contiguous: list[list[int]] = []
    for group in groups:
        previous = None
        for c in group:
            number = meta.coarse_channels[c].number
            if previous is None or number != previous + 1:
                contiguous.append([])
            contiguous[-1].append(c)
            previous = number
    return tuple(chosen), tuple(tuple(group) for group in contiguous)


def select_rows(
    meta: Metadata, options: Options, flagged: npt.NDArray[np.bool_]
) -> tuple[IntArray, IntArray, IntArray]:
    """Antennas of the output rows, and their baseline numbers in the file."""
    n = meta.n_antennas
    keep = np.ones(n, bool)
    if options.sel_ants is not None:
        for index in options.sel_ants:
            if not 0 <= index < n:
                raise InputError(
                    f"antenna {index} does not exist: the observation has {n}, counted from 0 to {n - 1}"
                )
        keep[:] = False
        keep[list(options.sel_ants)] = True
    if not options.sel_flagged_ants:
        keep &= ~flagged
    antenna1, antenna2 = (np.asarray(a, np.int64) for a in np.triu_indices(n))
    rows = keep[antenna1] & keep[antenna2]
    if not options.sel_autos:
        rows &= antenna1 != antenna2
    if not rows.any():
        raise InputError("no baselines are left: all antennas are flagged or deselected")
    return antenna1[rows], antenna2[rows], np.flatnonzero(rows)
