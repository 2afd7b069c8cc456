"""Static flags: which antennas, channels and timesteps are flagged before the data are looked at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mwaconvert.arrays import BoolArray
from mwaconvert.conversion.options import Options
from mwaconvert.conversion.steps import State, Step, StepKind, applied_if, unasked
from mwaconvert.errors import InputError
from mwaconvert.observation.model import Metadata
from mwaconvert.text import plural

DEFAULT_EDGE_KHZ = 80.0


@dataclass(frozen=True)
class StaticFlags:
    """Flags known before reading.

    Attributes
    ----------
    antennas : (n_antenna,)
    fine : (n_fine,) the same in every coarse channel
    coarse : (n_coarse_in_metafits,)
    times : (n_timesteps,) of the observation
    steps : what each rule flagged, and why
    """

    antennas: BoolArray
    fine: BoolArray
    coarse: BoolArray
    times: BoolArray
    steps: tuple[Step, ...]


def static_flags(
    metadata: Metadata, options: Options, start_s: npt.NDArray[np.float64], common_s: tuple[float, float]
) -> StaticFlags:
    """Apply the flag rules.

    Parameters
    ----------
    start_s : (n_timesteps,) start of each integration of the observation, seconds (any zero point)
    common_s : start of the first and end of the last integration that all coarse channels have, same scale

    Raises
    ------
    InputError : an index outside the observation
    """
    antennas, antenna_step = _antennas(metadata, options)
    fine, fine_steps = _fine_channels(metadata, options)
    coarse = np.zeros(len(metadata.coarse_channels), bool)
    coarse[_indices("coarse channel", options.flag_coarse_chans, len(coarse))] = True
    coarse_step = _listed(StepKind.COARSE_FLAGS, "coarse channels", np.flatnonzero(coarse))
    times, time_steps = _times(metadata, options, start_s, common_s)
    autos = unasked(StepKind.AUTO_FLAGS)
    if options.flag_autos:
        autos = Step(StepKind.AUTO_FLAGS, State.APPLIED, "asked for")
    return StaticFlags(
        antennas, fine, coarse, times, (antenna_step, autos, *fine_steps, coarse_step, *time_steps)
    )


def _antennas(metadata: Metadata, options: Options) -> tuple[BoolArray, Step]:
    flagged = np.array([a.flagged and options.flag_metafits for a in metadata.antennas], bool)
    n_metafits = int(flagged.sum())
    silent = _without_gain(metadata, options) & ~flagged
    flagged |= silent
    flagged[_indices("antenna", options.flag_antennas, len(flagged))] = True
    names = ", ".join(metadata.antennas[k].name for k in np.flatnonzero(flagged))
    counts = {
        "by the metafits": n_metafits,
        "by a digital gain of 0": int(silent.sum()),
        "by option": int(flagged.sum()) - n_metafits - int(silent.sum()),
    }
    by = [f"{n} {why}" for why, n in counts.items() if n]
    if not names:
        return flagged, Step(StepKind.ANTENNA_FLAGS, State.UNASKED, "none")
    return flagged, Step(StepKind.ANTENNA_FLAGS, State.APPLIED, f"{', '.join(by)}: {names}")


def _without_gain(metadata: Metadata, options: Options) -> BoolArray:
    """Antennas of which an input has gain 0 in all channels: nothing of them can be corrected. Metafits with
    no gain at all do not know them."""
    none = (metadata.digital_gains == 0).all(axis=2)
    corrected = options.digital_gains and not metadata.digital_gains_applied
    if none.all() or not corrected or not options.flag_metafits:
        return np.zeros(len(none), bool)
    silent: BoolArray = none.any(axis=1)
    return silent


def _fine_channels(metadata: Metadata, options: Options) -> tuple[BoolArray, tuple[Step, ...]]:
    n, width_khz = metadata.n_fine, metadata.fine_width_hz / 1e3
    flagged = np.zeros(n, bool)

    if options.flag_edge_chans is not None:
        edge, edge_reason = (
            options.flag_edge_chans,
            f"{plural(options.flag_edge_chans, 'channel')} at each end",
        )
    else:
        edge_khz = DEFAULT_EDGE_KHZ if options.flag_edge_width_khz is None else options.flag_edge_width_khz
        edge = math.ceil(round(edge_khz / width_khz, 9))
        edge_reason = f"{edge_khz:g} kHz at each end: {plural(edge, 'channel')} of {width_khz:g} kHz"
        if not math.isclose(edge * width_khz, edge_khz):
            edge_reason += ", rounded up"
        if 2 * edge >= n and options.flag_edge_width_khz is None:
            edge, edge_reason = (
                0,
                f"none: {edge_khz:g} kHz at each end would leave nothing of {plural(n, 'channel')}",
            )
    if edge < 0 or 2 * edge >= n:
        raise InputError(
            f"edge flags: {plural(edge, 'channel')} at each end would leave nothing of the {plural(n, 'fine channel')} "
            f"of a coarse channel; choose less than {n / 2 * width_khz:g} kHz"
        )
    flagged[:edge] = flagged[n - edge :] = True

    dc = metadata.correlator == "legacy" if options.flag_dc is None else options.flag_dc
    if n < 3 and options.flag_dc is None:
        dc = False
    if dc:
        flagged[n // 2] = True
    automatic = f"default of the {metadata.correlator} correlator"
    dc_reason = f"channel {n // 2} of {n}" if dc else "off"
    dc_reason += f" ({automatic})" if options.flag_dc is None else " (asked for)"

    listed = _indices("fine channel", options.flag_fine_chans, n)
    flagged[listed] = True
    return flagged, (
        applied_if(edge > 0, StepKind.EDGE_FLAGS, edge_reason),
        applied_if(dc, StepKind.DC_FLAGS, dc_reason),
        _listed(StepKind.FINE_FLAGS, "channels", listed),
    )


def _times(
    metadata: Metadata, options: Options, start_s: npt.NDArray[np.float64], common_s: tuple[float, float]
) -> tuple[BoolArray, tuple[Step, ...]]:
    integration = metadata.int_time_s
    flagged = np.zeros(len(start_s), bool)

    if options.flag_init_steps is not None:
        init_s, origin = options.flag_init_steps * integration, plural(options.flag_init_steps, "integration")
    elif options.flag_init_s is not None:
        init_s, origin = options.flag_init_s, "asked for"
    else:
        init_s, origin = metadata.quack_s, "QUACKTIM of the metafits"
    quack = start_s < common_s[0] + init_s - 1e-6
    n_quack = int((quack & (start_s > common_s[0] - 1e-6)).sum())
    quack_reason = (
        f"first {init_s:g} s from the first common timestep ({origin}): {plural(n_quack, 'integration')}"
    )
    if n_quack and not math.isclose(n_quack * integration, init_s, abs_tol=1e-6) and n_quack < len(start_s):
        quack_reason += f" of {integration:g} s, rounded up"

    end_s = options.flag_end_s or 0.0
    if options.flag_end_steps is not None:
        end_s = options.flag_end_steps * integration
    end = (start_s + integration > common_s[1] - end_s + 1e-6) if end_s > 0 else np.zeros(len(start_s), bool)
    n_end = int((end & (start_s < common_s[1] - 1e-6)).sum())
    end_reason = f"last {end_s:g} s to the last common timestep: {plural(n_end, 'integration')}"
    if n_end and not math.isclose(n_end * integration, end_s, abs_tol=1e-6) and n_end < len(start_s):
        end_reason += f" of {integration:g} s, rounded up"
    listed = _indices("timestep", options.flag_times, len(start_s))
    flagged |= quack & (init_s > 0)
    flagged |= end
    flagged[listed] = True
    return flagged, (
        _timed(StepKind.QUACK_FLAGS, init_s, quack, quack_reason),
        _timed(StepKind.END_FLAGS, end_s, end, end_reason),
        _listed(StepKind.TIME_FLAGS, "timesteps", listed),
    )


def _indices(what: str, indices: Sequence[int], n: int) -> list[int]:
    for index in indices:
        if not 0 <= index < n:
            raise InputError(
                f"{what} {index} does not exist: this observation has {n}, counted from 0 to {n - 1}"
            )
    return sorted(set(indices))


def _listed(kind: StepKind, what: str, indices: Sequence[int] | npt.NDArray[np.int64]) -> Step:
    """A rule that flags what was listed."""
    if not len(indices):
        return Step(kind, State.UNASKED, "none")
    return Step(kind, State.APPLIED, f"{what} {', '.join(str(k) for k in indices)}")


def _timed(kind: StepKind, seconds: float, flagged: BoolArray, why: str) -> Step:
    """A rule that flags some time."""
    if seconds <= 0:
        return Step(kind, State.UNASKED, "off")
    return applied_if(bool(flagged.any()), kind, why)
