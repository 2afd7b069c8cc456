"""The plan: what will be read, corrected, flagged, averaged and written. Made once, before the data are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.arrays import FloatArray, IntArray
from mwaconvert.conversion.flag_files import PlacedFlags, load_flag_files
from mwaconvert.conversion.options import Options, check_options
from mwaconvert.conversion.rfi.array import array_rfi_step
from mwaconvert.conversion.rfi.bad_tiles import bad_tile_step, find_bad_tiles, nothing_unflagged
from mwaconvert.conversion.rfi.detection import DetectionPlan, plan_detection, rfi_step
from mwaconvert.conversion.steps import Step
from mwaconvert.conversion.tables import axes, channels, corrections, geometry, selection, solution_choice
from mwaconvert.conversion.tables import static_flags as flags
from mwaconvert.conversion.tables.calibration import Calibration
from mwaconvert.conversion.tables.passband import choose_passband
from mwaconvert.conversion.tables.van_vleck import decide_van_vleck
from mwaconvert.observation.model import COTTER_POSITION, MWA_POSITION, Metadata
from mwaconvert.visibilities.model import Block, VisHeader

if TYPE_CHECKING:
    from mwaconvert.conversion.pipeline import Progress
    from mwaconvert.conversion.report.report import Report
    from mwaconvert.observation.observation import Observation


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
    calibration : solutions to apply after them, if any
    van_vleck_samples : number of samples in a visibility, for the Van Vleck correction; 0: none
    flag_files : flags made earlier, to be added to those of the rules
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
    calibration: Calibration | None
    van_vleck_samples: float
    flag_files: tuple[PlacedFlags, ...]
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
        return sum(window.n_chan for window in self.header.spectral_windows)

    @cached_property
    def detection(self) -> DetectionPlan | None:
        """How RFI is looked for; None where it is not."""
        return plan_detection(self)

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
        return axes.chunk_state(
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

    def gps_s(self, time_index: int) -> float:
        """Centroid of an output timestep, GPS seconds."""
        return float(_gps_s(self.metadata, self.header.centroid_mjd[time_index]))

    @property
    def first_centre_gps_s(self) -> float:
        """Centre of the first input timestep, GPS seconds."""
        return float(_gps_s(self.metadata, self.input_mjd(self.timesteps[:1])[0]))

    def input_mjd(self, steps: range) -> FloatArray:
        """Centroids of input integrations, UTC as MJD."""
        return axes.input_mjd(self.observation, steps)

    def describe(self, outputs: Sequence[str | Path] = (), qa: str | Path | None = None) -> dict[str, Any]:
        """What would be done, as plain data (layout: docs/report.md).

        Parameters
        ----------
        outputs : files that would be written
        qa : picture that would be drawn
        """
        from mwaconvert.conversion.report.describe import describe

        return describe(self, [Path(p) for p in outputs], None if qa is None else Path(qa))

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

    Reads no data, but for `flag_bad_tiles`: then the autocorrelations of a few integrations.

    Raises
    ------
    InputError : options that contradict each other or the observation
    FormatError, ResourceError : from reading, with `flag_bad_tiles`
    """
    plan = _make_plan(observation, options, command_line, None)
    if options.flag_bad_tiles:
        plan = _make_plan(observation, options, command_line, find_bad_tiles(plan))
    return plan


def _make_plan(
    observation: Observation, options: Options, command_line: str, bad_tiles: Mapping[int, str] | None
) -> Plan:
    meta = observation.metadata
    check_options(options)
    timesteps = selection.select_timesteps(observation, options)
    coarse, coarse_groups = selection.select_coarse(observation, options)
    notes = list(observation.notes)

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

    start_s = observation.timestep_unix_ms / 1e3
    common = observation.common or timesteps
    common_s = (float(start_s[common[0]]), float(start_s[common[-1]]) + meta.int_time_s)
    static = flags.static_flags(meta, options, start_s, common_s)
    time_flagged = static.times[timesteps.start : timesteps.stop]
    if time_flagged.all():
        notes.append("all selected timesteps are flagged by the quack, end or timestep flags")
    coarse_flagged = static.coarse[list(coarse)]
    antennas_flagged = static.antennas.copy()
    antennas_flagged[list(bad_tiles or ())] = True
    channel_flagged = np.tile(static.fine, len(coarse)) | np.repeat(coarse_flagged, meta.n_fine)
    input_mjd = axes.input_mjd(observation, timesteps)

    flag_files, flag_file_step = load_flag_files(observation, options, timesteps, coarse, notes)
    solutions, solution_step = solution_choice.load_calibration(observation, options, coarse, notes)
    if solutions is not None:
        no_solution = solutions.gaps(_gps_s(meta, input_mjd), antennas_flagged, channel_flagged)
        solution_step = solution_choice.say_gaps(solution_step, meta, *no_solution)
        antennas_flagged |= no_solution[0]
        channel_flagged |= no_solution[1]

    antenna1, antenna2, file_rows = selection.select_rows(meta, options, antennas_flagged)
    row_flagged = antennas_flagged[antenna1] | antennas_flagged[antenna2]
    if options.flag_autos:
        row_flagged |= antenna1 == antenna2

    steps = corrections.decide_corrections(meta, options)
    applied = {step.name: step.applied for step in steps}
    if solutions is not None:
        notes += solution_choice.mismatches(solutions.solutions, meta, applied)
    van_vleck_samples, van_vleck_step = decide_van_vleck(observation, options)
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

    dut1_s, dut1_reason = geometry.choose_dut1(meta, options, float(input_mjd[len(input_mjd) // 2]))
    position = COTTER_POSITION if options.emulate_cotter else MWA_POSITION
    weight_step = _weight_step(observation, options)
    averaging = _averaging_step(meta, time_factor, freq_factor)
    state = axes.chunk_state(observation, timesteps, coarse, time_flagged, coarse_flagged)
    steps = (
        van_vleck_step,
        *steps,
        solution_step,
        Step("UT1-UTC", dut1_s != 0, f"{dut1_s:g} s: {dut1_reason}"),
        *static.steps,
        bad_tile_step(
            meta,
            static.antennas,
            bad_tiles,
            nothing=nothing_unflagged(channel_flagged, state),
        ),
        flag_file_step,
        rfi_step(options),
        weight_step,
        array_rfi_step(options, len(timesteps), len(freqs)),
        averaging,
    )

    times = axes.output_times(input_mjd, meta.int_time_s, time_factor, state)
    header = VisHeader(
        metadata=meta,
        spectral_windows=axes.spectral_windows(meta, coarse_groups, freqs, channel_flagged, freq_factor),
        antenna1=antenna1,
        antenna2=antenna2,
        **times,
        input_int_time_s=meta.int_time_s,
        phase_centre_rad=geometry.phase_centre_rad(meta, options),
        phase_centre_name=_phase_centre_name(meta, options),
        antenna_flagged=antennas_flagged,
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
        calibration=solutions,
        van_vleck_samples=van_vleck_samples,
        flag_files=flag_files,
        channel_weight=corrections.channel_weights(meta, coarse, passband),
        channel_flagged=channel_flagged.astype(np.uint8),
        time_flagged=time_flagged,
        coarse_flagged=coarse_flagged,
        rotate=applied["geometric delays"],
        file_rows=file_rows,
        row_flagged=row_flagged.astype(np.uint8),
    )


def _gps_s(meta: Metadata, mjd: FloatArray) -> FloatArray:
    """GPS seconds of UTC: counted from the start of the schedule, so leap seconds do not matter."""
    gps: FloatArray = meta.obsid + ((mjd - 40587) * axes.SECONDS_PER_DAY - meta.sched_start_unix_s)
    return gps


def _averaging_step(meta: Metadata, time_factor: int, freq_factor: int) -> Step:
    width_khz = meta.fine_width_hz / 1e3
    if time_factor == freq_factor == 1:
        return Step(
            "averaging", False, f"not asked for: {meta.int_time_s:g} s and {width_khz:g} kHz as recorded"
        )
    return Step(
        "averaging",
        True,
        f"{time_factor * meta.int_time_s:g} s from {meta.int_time_s:g} s, "
        f"{freq_factor * width_khz:g} kHz from {width_khz:g} kHz",
    )


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
