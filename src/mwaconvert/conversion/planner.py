"""Decides everything that options leave open, part by part: a plan."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from mwaconvert.arrays import BoolArray
from mwaconvert.constants import SECONDS_PER_DAY
from mwaconvert.conversion.flag_files import load_flag_files
from mwaconvert.conversion.options import Options, check_options
from mwaconvert.conversion.plan import Corrections, Flags, Plan, Resources, Rows, Selection
from mwaconvert.conversion.resources import decide_resources
from mwaconvert.conversion.rfi.array import array_rfi_step
from mwaconvert.conversion.rfi.bad_tiles import bad_tile_step, find_bad_tiles
from mwaconvert.conversion.rfi.detection import choose_detection, plan_detection
from mwaconvert.conversion.steps import State, Step, StepKind, applied_if, unasked
from mwaconvert.conversion.tables import axes, channels, corrections, geometry, selection, solution_choice
from mwaconvert.conversion.tables.calibration import Calibration
from mwaconvert.conversion.tables.passband import choose_passband
from mwaconvert.conversion.tables.static_flags import StaticFlags, static_flags
from mwaconvert.conversion.tables.van_vleck import decide_van_vleck
from mwaconvert.observation.model import COTTER_POSITION, MWA_POSITION, Metadata
from mwaconvert.observation.observation import Observation
from mwaconvert.text import plural
from mwaconvert.visibilities.model import VisHeader

_log = logging.getLogger(__name__)


def make_plan(observation: Observation, options: Options, command_line: str = "") -> Plan:
    """Decide everything that `options` leave open; memory and threads, too.

    Reads no data, but for `flag_bad_tiles`: then the autocorrelations of a few integrations.

    Raises
    ------
    InputError : options that contradict each other or the observation, or too little memory
    FormatError, ResourceError : from reading, with `flag_bad_tiles`
    """
    check_options(options)
    notes = list(observation.notes)
    chosen = select(observation, options, notes)
    rules = _rules(chosen, options, notes)
    flag_files, flag_file_step = load_flag_files(observation, options, chosen.timesteps, chosen.coarse, notes)
    calibration, solution_step = solution_choice.load_calibration(observation, options, chosen.coarse, notes)
    corrected, correction_steps = correct(chosen, options, calibration, notes)
    flagged = flag(chosen, rules, options, calibration)
    bad_tiles = None
    if options.flag_bad_tiles:
        bad_tiles = find_bad_tiles(chosen, flagged.flags, corrected, options)
        flagged = flag(chosen, rules, options, calibration, bad_tiles)
    rows = select_rows(chosen, options, flagged.flags)
    resources = decide_resources(options, chosen, len(rows))
    strategy, rfi_step = choose_detection(options)
    array_step = array_rfi_step(options, len(chosen.timesteps), len(chosen.freqs_hz))
    detection = plan_detection(options, strategy, chosen, corrected, flagged.flags, rows, resources)
    dut1_s, dut1_step = _dut1(chosen, options)
    steps = (
        *correction_steps,
        solution_choice.say_gaps(solution_step, chosen.metadata, *flagged.unsolved),
        dut1_step,
        *rules.steps,
        _partial_step(chosen, options),
        bad_tile_step(chosen.metadata, rules.antennas, bad_tiles, nothing=flagged.flags.nothing_left),
        flag_file_step,
        rfi_step,
        _weight_step(chosen.metadata, options),
        array_step,
        _averaging_step(chosen),
    )
    if options.pointing_centre:
        notes.append(_drift(chosen))
    if options.compress == "dysco":
        notes.append(
            "measurement sets are compressed by Dysco: 8 bits for a value, which adds noise of 1 to 2 % of the rms "
            "of visibilities; flagged data are stored as NaN, and one weight for all polarisations"
        )
    _log_decisions(steps, notes, resources)
    return Plan(
        options=options,
        header=make_header(chosen, options, flagged.flags, rows, dut1_s, steps, command_line),
        steps=steps,
        notes=tuple(notes),
        selection=chosen,
        corrections=corrected,
        flags=flagged.flags,
        rows=rows,
        flag_files=flag_files,
        resources=resources,
        detection=detection,
        array_rfi=array_step.applied,
    )


def _drift(chosen: Selection) -> str:
    """That the tile beam stands still on the ground while the sky turns."""
    ra, dec = chosen.metadata.pointing_deg
    seconds = len(chosen.timesteps) * chosen.metadata.int_time_s
    turned = 360.9856473 / SECONDS_PER_DAY * seconds * np.cos(np.radians(dec))
    return (
        f"phased to RA {ra:.4f}, Dec {dec:.4f} deg, where the tiles point at one moment; their beam stands still in "
        f"azimuth and elevation, and the sky moves through it by {turned:.2g} deg in these data"
    )


def _log_decisions(steps: Iterable[Step], notes: Iterable[str], resources: Resources) -> None:
    for note in notes:
        _log.info("note: %s", note)
    for step in steps:
        _log.info("%s: %s%s", step.name, "" if step.applied else "not applied, ", step.why)
    _log.info(
        "resources: %d threads, %.3g GiB of memory for data", resources.threads, resources.room_bytes / 2**30
    )


def select(observation: Observation, options: Options, notes: list[str]) -> Selection:
    """What is read, and how it is averaged; sentences for the user are appended to `notes`."""
    meta = observation.metadata
    timesteps = selection.select_timesteps(observation, options)
    coarse, bands = selection.select_coarse(observation, options)
    time_factor = selection.averaging_factor(
        "time", options.time_factor, options.time_res_s, meta.int_time_s, "s", len(timesteps), notes
    )
    freq_factor = selection.averaging_factor(
        "frequency",
        options.freq_factor,
        options.freq_res_khz,
        meta.fine_width_hz / 1e3,
        "kHz",
        meta.n_fine,
        notes,
    )
    freqs_hz = np.concatenate([channels.fine_channel_frequencies_hz(meta, c) for c in coarse])
    return Selection(observation, timesteps, coarse, bands, freqs_hz, time_factor, freq_factor)


def correct(
    chosen: Selection, options: Options, calibration: Calibration | None, notes: list[str]
) -> tuple[Corrections, tuple[Step, ...]]:
    """What is done to values, and why."""
    meta = chosen.metadata
    steps = corrections.decide_corrections(meta, options)
    applied = {step.kind: step.applied for step in steps}
    if calibration is not None:
        notes += solution_choice.mismatches(calibration.solutions, meta, applied)
    van_vleck_samples, van_vleck_step = decide_van_vleck(chosen.observation, options)
    passband, _ = choose_passband(meta, options.passband_gains)
    factors = None
    if applied[StepKind.CABLE_DELAYS] or applied[StepKind.DIGITAL_GAINS] or applied[StepKind.PASSBAND]:
        by_pol = corrections.antenna_factors(
            meta,
            chosen.coarse,
            chosen.freqs_hz,
            cable=applied[StepKind.CABLE_DELAYS],
            digital_gains=applied[StepKind.DIGITAL_GAINS],
            passband_kind=passband,
        )
        factors = np.ascontiguousarray(by_pol.transpose(0, 2, 1))
    decided = Corrections(
        factors=factors,
        calibration=calibration,
        van_vleck_samples=van_vleck_samples,
        channel_weight=corrections.channel_weights(meta, chosen.coarse, passband),
        rotate=applied[StepKind.GEOMETRIC_DELAYS],
    )
    return decided, (van_vleck_step, *steps)


@dataclass(frozen=True)
class Flagged:
    """What is flagged, and which antennas and channels of it for want of a solution."""

    flags: Flags
    unsolved: tuple[BoolArray, BoolArray]


def flag(
    chosen: Selection,
    rules: StaticFlags,
    options: Options,
    calibration: Calibration | None,
    bad_tiles: Iterable[int] = (),
) -> Flagged:
    """What rules, bad tiles and gaps of solutions flag."""
    meta, steps, coarse = chosen.metadata, chosen.timesteps, list(chosen.coarse)
    antennas = rules.antennas.copy()
    antennas[list(bad_tiles)] = True
    by_channel = np.tile(rules.fine, len(coarse)) | np.repeat(rules.coarse[coarse], meta.n_fine)
    unsolved = np.zeros_like(antennas), np.zeros_like(by_channel)
    if calibration is not None:
        unsolved = calibration.gaps(axes.gps_s(meta, chosen.input_mjd()), antennas, by_channel)
    times = rules.times[steps.start : steps.stop]
    if options.flag_partial_timesteps:
        times = times | partial_timesteps(chosen)
    flags = Flags(
        antennas=antennas | unsolved[0],
        channels=(by_channel | unsolved[1]).astype(np.uint8),
        times=times,
        chunks=axes.chunk_state(chosen.missing, times, rules.coarse[coarse]),
        autos=options.flag_autos,
    )
    return Flagged(flags, unsolved)


def partial_timesteps(chosen: Selection) -> BoolArray:
    """(n_times,) those that some of the coarse channels with files lack."""
    missing = chosen.missing
    return np.asarray(missing[:, ~missing.all(axis=0)].any(axis=1))


def _partial_step(chosen: Selection, options: Options) -> Step:
    if not options.flag_partial_timesteps:
        return unasked(StepKind.PARTIAL_FLAGS)
    n = int(partial_timesteps(chosen).sum())
    return applied_if(
        n > 0, StepKind.PARTIAL_FLAGS, f"{plural(n, 'timestep')} that some coarse channels lack"
    )


def select_rows(chosen: Selection, options: Options, flags: Flags) -> Rows:
    """Baselines of the outputs."""
    antenna1, antenna2, in_file = selection.select_rows(chosen.metadata, options, flags.antennas)
    flagged = flags.antennas[antenna1] | flags.antennas[antenna2]
    if flags.autos:
        flagged |= antenna1 == antenna2
    return Rows(antenna1, antenna2, in_file, flagged.astype(np.uint8))


def make_header(
    chosen: Selection,
    options: Options,
    flags: Flags,
    rows: Rows,
    dut1_s: float,
    steps: tuple[Step, ...],
    command_line: str,
) -> VisHeader:
    """Axes, phase centre and history of the outputs."""
    meta = chosen.metadata
    times = axes.output_times(chosen.input_mjd(), meta.int_time_s, chosen.time_factor, flags.chunks)
    position = COTTER_POSITION if options.emulate_cotter else MWA_POSITION
    return VisHeader(
        metadata=meta,
        spectral_windows=axes.spectral_windows(
            meta, chosen.bands, chosen.freqs_hz, flags.channels != 0, chosen.freq_factor
        ),
        antenna1=rows.antenna1,
        antenna2=rows.antenna2,
        time_mjd=times.time_mjd,
        centroid_mjd=times.centroid_mjd,
        interval_s=times.interval_s,
        exposure_s=times.exposure_s,
        input_int_time_s=meta.int_time_s,
        phase_centre_rad=geometry.phase_centre_rad(meta, options),
        phase_centre_name=_phase_centre_name(meta, options),
        antenna_flagged=flags.antennas,
        array_position=position,
        antenna_xyz_m=geometry.antenna_xyz_m(meta, position),
        antenna_itrf_m=geometry.antenna_itrf_m(meta, position),
        dut1_s=dut1_s,
        software=_software(),
        command_line=command_line,
        history=tuple(
            f"{s.name}: {'' if s.applied else 'not applied, '}{s.reason}".replace("`", "") for s in steps
        ),
    )


def _rules(chosen: Selection, options: Options, notes: list[str]) -> StaticFlags:
    observation, meta, steps = chosen.observation, chosen.metadata, chosen.timesteps
    start_s = observation.timestep_unix_ms / 1e3
    common = observation.common or steps
    common_s = (float(start_s[common[0]]), float(start_s[common[-1]]) + meta.int_time_s)
    rules = static_flags(meta, options, start_s, common_s)
    if rules.times[steps.start : steps.stop].all():
        notes.append("all selected timesteps are flagged by the quack, end or timestep flags")
    return rules


def _dut1(chosen: Selection, options: Options) -> tuple[float, Step]:
    input_mjd = chosen.input_mjd()
    dut1_s, reason = geometry.choose_dut1(chosen.metadata, options, float(input_mjd[len(input_mjd) // 2]))
    return dut1_s, applied_if(dut1_s != 0, StepKind.DUT1, f"{dut1_s:g} s: {reason}")


def _averaging_step(chosen: Selection) -> Step:
    kind, meta = StepKind.AVERAGING, chosen.metadata
    width_khz = meta.fine_width_hz / 1e3
    if not chosen.averaged:
        why = f"not asked for: {meta.int_time_s:g} s and {width_khz:g} kHz as recorded"
        return Step(kind, State.IDLE, why)
    return Step(
        kind,
        State.APPLIED,
        f"{chosen.time_factor * meta.int_time_s:g} s from {meta.int_time_s:g} s, "
        f"{chosen.freq_factor * width_khz:g} kHz from {width_khz:g} kHz",
    )


def _weight_step(meta: Metadata, options: Options) -> Step:
    kind = StepKind.WEIGHTS
    if meta.correlator != "mwax":
        return Step(kind, State.IDLE, "the legacy correlator wrote none")
    if options.ignore_weights:
        return Step(kind, State.SKIPPED, "`ignore_weights`")
    return Step(
        kind, State.APPLIED, "valid fraction of each baseline and polarisation multiplies the weights"
    )


def _phase_centre_name(meta: Metadata, options: Options) -> str:
    if options.phase_centre_deg is not None:
        return "RA{:.4f}_Dec{:+.4f}".format(*options.phase_centre_deg)
    return meta.name or str(meta.obsid)


def _software() -> str:
    from mwaconvert import __version__

    return f"mwaconvert {__version__}"
