"""The plan: what will be read, corrected, flagged, averaged and written. Made once, before any data are read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.conversion import channels, corrections, flags, geometry
from mwaconvert.conversion.options import Options
from mwaconvert.conversion.passband import choose_passband
from mwaconvert.conversion.steps import Step
from mwaconvert.errors import InputError
from mwaconvert.formats.visibility import Block, SpectralWindow, VisHeader
from mwaconvert.observation.model import COTTER_POSITION, MWA_POSITION, FloatArray, IntArray, Metadata

if TYPE_CHECKING:
    from mwaconvert.conversion.pipeline import Progress
    from mwaconvert.conversion.report import Report
    from mwaconvert.observation.observation import Observation

UNIX_EPOCH_MJD = 40587.0
SECONDS_PER_DAY = 86400.0


@dataclass(frozen=True)
class Plan:
    """All decisions of one conversion. `describe` says them in words, `run` carries them out.

    Attributes
    ----------
    timesteps : range of observation timesteps that enter, in input order
    coarse : (n_coarse,) indices into `Metadata.coarse_channels`, ascending frequency
    time_factor, freq_factor : input integrations, channels of an output one
    freqs_hz : (n_coarse * n_fine,) input channels
    factors : (n_antenna, n_coarse * n_fine, 2) complex64, cable, gain and passband corrections; None: nothing
        to correct
    channel_weight, channel_flagged : (n_coarse * n_fine,)
    rotate : whether visibilities are rotated to the phase centre
    file_rows : (n_bl,) baseline number in the file of each output row
    row_flagged : (n_bl,)
    """

    observation: Observation
    options: Options
    header: VisHeader
    steps: tuple[Step, ...]
    notes: tuple[str, ...]
    timesteps: range
    coarse: tuple[int, ...]
    time_factor: int
    freq_factor: int
    freqs_hz: FloatArray
    factors: npt.NDArray[np.complex64] | None
    channel_weight: npt.NDArray[np.float32]
    channel_flagged: npt.NDArray[np.uint8]
    time_flagged: npt.NDArray[np.bool_]
    coarse_flagged: npt.NDArray[np.bool_]
    rotate: bool
    file_rows: IntArray
    row_flagged: npt.NDArray[np.uint8]

    @property
    def metadata(self) -> Metadata:
        return self.observation.metadata

    @property
    def averaged(self) -> bool:
        return self.time_factor > 1 or self.freq_factor > 1

    @property
    def n_times(self) -> int:
        """Output timesteps."""
        return len(self.header.time_mjd)

    @property
    def n_rows(self) -> int:
        """Rows of an output timestep."""
        return len(self.header.antenna1)

    @property
    def n_channels(self) -> int:
        """Output channels, all spectral windows together."""
        return self.header.spectral_windows[-1].channels.stop

    def input_steps(self, time_index: int) -> range:
        """Observation timesteps of one output timestep."""
        return self.timesteps[time_index * self.time_factor : (time_index + 1) * self.time_factor]

    def input_bytes(self) -> int:
        """Size of the visibilities that will be read, uncompressed."""
        meta = self.metadata
        there = self.chunk_state() != _core.CHUNK_MISSING
        return int(there.sum()) * meta.n_antennas * (meta.n_antennas + 1) // 2 * meta.n_fine * 32

    def chunk_state(self) -> npt.NDArray[np.int32]:
        """(n_input_times, n_coarse) good, flagged or missing (`_core.CHUNK_*`)."""
        return _chunk_state(
            self.observation, self.timesteps, self.coarse, self.time_flagged, self.coarse_flagged
        )

    def antenna_uvw_m(self, mjd: FloatArray) -> FloatArray:
        """(n_times, n_antenna, 3) uvw towards the phase centre."""
        h = self.header
        return geometry.antenna_uvw_m(
            mjd, h.phase_centre_rad, h.antenna_xyz_m, h.array_position, h.dut1_s, self.options.geometry
        )

    def antenna_rotation_m(self, mjd: FloatArray) -> FloatArray:
        """(n_times, n_antenna) path, in metres, that rotation to the phase centre still has to take out."""
        h = self.header
        w = self.antenna_uvw_m(mjd)[..., 2]
        delivered = geometry.delivered_w_m(
            self.metadata, mjd, h.array_position, h.dut1_s, self.options.geometry
        )
        return w if delivered is None else w - delivered

    def input_mjd(self, steps: range) -> FloatArray:
        """Centroids of input integrations, UTC as MJD."""
        return _input_mjd(self.observation, steps)

    def describe(self, outputs: Sequence[str | Path] = ()) -> dict[str, Any]:
        """What would be done, as plain data (layout: docs/report.md).

        Parameters
        ----------
        outputs : files that would be written
        """
        from mwaconvert.conversion.describe import describe

        return describe(self, [Path(p) for p in outputs])

    def blocks(self) -> Iterator[Block]:
        """Stream the converted data: output timestep by output timestep, baselines in order.

        A block's arrays are views of a buffer that the next block overwrites.
        """
        from mwaconvert.conversion.pipeline import stream_blocks

        return stream_blocks(self)

    def run(
        self,
        outputs: Sequence[str | Path] | str | Path,
        *,
        qa: str | Path | None = None,
        progress: Progress | None = None,
    ) -> Report:
        """Convert and write.

        Parameters
        ----------
        outputs : files to write; the suffix decides: .uvfits or .ms
        qa : quality picture to write, .png or .html
        progress : called with (done, total) input bytes

        Raises
        ------
        InputError, FormatError, ResourceError : nothing stays under the final names
        """
        from mwaconvert.conversion.pipeline import run

        paths = [outputs] if isinstance(outputs, str | Path) else outputs
        return run(self, [Path(p) for p in paths], qa=None if qa is None else Path(qa), progress=progress)

    def to_uvdata(self) -> Any:
        """Convert into a `pyuvdata.UVData` object, in memory (extra `pyuvdata`)."""
        from mwaconvert.conversion.to_uvdata import to_uvdata

        return to_uvdata(self)


def make_plan(observation: Observation, options: Options, command_line: str = "") -> Plan:
    """Decide everything that `options` leave open.

    Raises
    ------
    InputError : options that contradict each other or the observation
    """
    meta = observation.metadata
    check_options(options)
    timesteps = _select_timesteps(observation, options)
    coarse, coarse_groups = _select_coarse(observation, options)
    notes = list(observation.notes)

    time_factor = _factor(
        "time", options.time_factor, options.time_res_s, meta.int_time_s, "s", len(timesteps), notes
    )
    freq_factor = _factor(
        "frequency",
        options.freq_factor,
        options.freq_res_khz,
        meta.fine_width_hz / 1e3,
        "kHz",
        meta.n_fine,
        notes,
    )

    start_s = observation.timestep_unix_ms / 1e3
    common = observation.common or timesteps
    common_s = (float(start_s[common[0]]), float(start_s[common[-1]]) + meta.int_time_s)
    static = flags.static_flags(meta, options, start_s, common_s)
    time_flagged = static.times[timesteps.start : timesteps.stop]
    if time_flagged.all():
        notes.append("all selected timesteps are flagged by the quack, end or timestep flags")
    coarse_flagged = static.coarse[list(coarse)]
    channel_flagged = np.tile(static.fine, len(coarse)) | np.repeat(coarse_flagged, meta.n_fine)

    antenna1, antenna2, file_rows = _select_rows(meta, options, static.antennas)
    row_flagged = static.antennas[antenna1] | static.antennas[antenna2]
    if options.flag_autos:
        row_flagged |= antenna1 == antenna2

    steps = corrections.decide_corrections(meta, options)
    applied = {step.name: step.applied for step in steps}
    passband, _ = choose_passband(meta, options.passband_gains)
    freqs = np.concatenate([channels.fine_channel_frequencies_hz(meta, c) for c in coarse])
    factors = None
    if applied["cable delays"] or applied["digital gains"] or applied["coarse passband"]:
        by_pol = corrections.antenna_factors(
            meta,
            coarse,
            freqs,
            cable=applied["cable delays"],
            digital_gains=applied["digital gains"],
            passband_kind=passband,
        )
        factors = np.ascontiguousarray(by_pol.transpose(0, 2, 1))

    input_mjd = _input_mjd(observation, timesteps)
    dut1_s, dut1_reason = geometry.choose_dut1(meta, options, float(input_mjd[len(input_mjd) // 2]))
    position = COTTER_POSITION if options.emulate_cotter else MWA_POSITION
    weight_step = _weight_step(observation, options)
    averaging = Step(
        "averaging",
        time_factor > 1 or freq_factor > 1,
        f"{time_factor * meta.int_time_s:g} s from {meta.int_time_s:g} s, "
        f"{freq_factor * meta.fine_width_hz / 1e3:g} kHz from {meta.fine_width_hz / 1e3:g} kHz",
    )
    steps = (
        *steps,
        Step("UT1-UTC", dut1_s != 0, f"{dut1_s:g} s: {dut1_reason}"),
        *static.steps,
        weight_step,
        averaging,
    )

    state = _chunk_state(observation, timesteps, coarse, time_flagged, coarse_flagged)
    times = _output_times(input_mjd, meta.int_time_s, time_factor, state)
    header = VisHeader(
        metadata=meta,
        spectral_windows=_spectral_windows(meta, coarse_groups, freqs, channel_flagged, freq_factor),
        antenna1=antenna1,
        antenna2=antenna2,
        **times,
        input_int_time_s=meta.int_time_s,
        phase_centre_rad=geometry.phase_centre_rad(meta, options),
        phase_centre_name=_phase_centre_name(meta, options),
        antenna_flagged=static.antennas,
        array_position=position,
        antenna_xyz_m=geometry.antenna_xyz_m(meta, position),
        antenna_itrf_m=geometry.antenna_itrf_m(meta, position),
        dut1_s=dut1_s,
        software=_software(),
        command_line=command_line,
        history=tuple(f"{s.name}: {'' if s.applied else 'not applied, '}{s.reason}" for s in steps),
    )
    return Plan(
        observation=observation,
        options=options,
        header=header,
        steps=steps,
        notes=tuple(notes),
        timesteps=timesteps,
        coarse=coarse,
        time_factor=time_factor,
        freq_factor=freq_factor,
        freqs_hz=freqs,
        factors=factors,
        channel_weight=corrections.channel_weights(meta, coarse, passband),
        channel_flagged=channel_flagged.astype(np.uint8),
        time_flagged=time_flagged,
        coarse_flagged=coarse_flagged,
        rotate=applied["geometric delays"],
        file_rows=file_rows,
        row_flagged=row_flagged.astype(np.uint8),
    )


def check_options(options: Options) -> None:
    """Refuse options that contradict each other or cannot mean anything.

    Raises
    ------
    InputError
    """
    pairs = (
        ("time averaging", "time_res_s", "time_factor"),
        ("frequency averaging", "freq_res_khz", "freq_factor"),
        ("quack flags", "flag_init_s", "flag_init_steps"),
        ("end flags", "flag_end_s", "flag_end_steps"),
        ("edge flags", "flag_edge_width_khz", "flag_edge_chans"),
        ("the phase centre", "phase_centre_deg", "pointing_centre"),
        ("UT1-UTC", "dut1_s", "ignore_dut1"),
    )
    for what, first, second in pairs:
        if getattr(options, first) is not None and getattr(options, second) not in (None, False):
            raise InputError(f"{what}: {first} and {second} were both given; give one of them")
        for name in (first, second):
            value = getattr(options, name)
            if (
                isinstance(value, int | float)
                and name != "dut1_s"
                and (value < 0 or not math.isfinite(value))
            ):
                raise InputError(f"{what}: {name} is {value}, but must not be negative")
    if options.phase_centre_deg is not None:
        ra, dec = options.phase_centre_deg
        if not (-360 <= ra <= 360 and -90 <= dec <= 90):  # also refuses NaN
            raise InputError(
                f"phase centre: RA {ra:g}, Dec {dec:g} deg is out of range; "
                "RA goes from 0 to 360 and Dec from -90 to 90 degrees"
            )
    if options.threads < 0:
        raise InputError(f"threads: {options.threads} is negative; 0 takes all cores")


def _factor(
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


def _select_timesteps(observation: Observation, options: Options) -> range:
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


def _select_coarse(
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


def _select_rows(
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


def _spectral_windows(
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


def _chunk_state(
    observation: Observation,
    timesteps: range,
    coarse: tuple[int, ...],
    time_flagged: npt.NDArray[np.bool_],
    coarse_flagged: npt.NDArray[np.bool_],
) -> npt.NDArray[np.int32]:
    missing = observation.hdu_index[timesteps.start : timesteps.stop][:, list(coarse)] < 0
    state = np.where(time_flagged[:, None] | coarse_flagged, _core.CHUNK_FLAGGED, _core.CHUNK_GOOD)
    return np.where(missing, _core.CHUNK_MISSING, state).astype(np.int32)


def _output_times(
    input_mjd: FloatArray, int_time_s: float, factor: int, state: npt.NDArray[np.int32]
) -> dict[str, FloatArray]:
    """Centre, centroid, length and exposure of the output timesteps, as `VisHeader` wants them.

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
    return {
        "time_mjd": centre,
        "centroid_mjd": np.where(partial, first + shift_s / SECONDS_PER_DAY, centre),
        "interval_s": counts * int_time_s,
        "exposure_s": np.add.reduceat(good > 0, borders, dtype=np.int64) * int_time_s,
    }


def _input_mjd(observation: Observation, steps: range) -> FloatArray:
    start_ms = observation.timestep_unix_ms[steps.start : steps.stop]
    centre_ms = start_ms + observation.metadata.int_time_s * 500
    return np.asarray(UNIX_EPOCH_MJD + centre_ms / (SECONDS_PER_DAY * 1e3), np.float64)


def _weight_step(observation: Observation, options: Options) -> Step:
    name = "MWAX weights"
    if observation.metadata.correlator != "mwax":
        return Step(name, False, "the legacy correlator wrote none")
    if options.ignore_weights:
        return Step(name, False, "skipped: --ignore-weights")
    return Step(name, True, "valid fraction of each baseline and polarisation multiplies the weights")


def _phase_centre_name(meta: Metadata, options: Options) -> str:
    if options.phase_centre_deg is not None:
        return "RA{:.4f}_Dec{:+.4f}".format(*options.phase_centre_deg)
    return meta.name or str(meta.obsid)


def _software() -> str:
    from mwaconvert import __version__

    return f"mwaconvert {__version__}"
