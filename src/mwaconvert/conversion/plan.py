"""The plan: all decisions of a conversion, made once (planner.py), before the data are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.arrays import FloatArray, IntArray
from mwaconvert.conversion.options import Options
from mwaconvert.conversion.rfi.strategy import RfiStrategy
from mwaconvert.conversion.steps import Step
from mwaconvert.conversion.tables import axes, geometry
from mwaconvert.conversion.tables.calibration import Calibration
from mwaconvert.formats.mwaf import FlagFile
from mwaconvert.observation.model import Metadata
from mwaconvert.observation.observation import Observation
from mwaconvert.progress import Progress
from mwaconvert.text import html_facts, plural
from mwaconvert.visibilities.model import Block, VisHeader

if TYPE_CHECKING:
    from mwaconvert.conversion.report.report import Report


@dataclass(frozen=True)
class Selection:
    """What of an observation is read, and how much of it becomes one output cell.

    Attributes
    ----------
    timesteps : range of observation timesteps that enter, in input order
    coarse : (n_coarse,) indices into `Metadata.coarse_channels`, ascending frequency
    bands : the same in contiguous groups
    freqs_hz : (n_coarse * n_fine,) input channels
    time_factor, freq_factor : input integrations, channels of an output one
    """

    observation: Observation
    timesteps: range
    coarse: tuple[int, ...]
    bands: tuple[tuple[int, ...], ...]
    freqs_hz: FloatArray
    time_factor: int
    freq_factor: int

    @property
    def metadata(self) -> Metadata:
        return self.observation.metadata

    @property
    def averaged(self) -> bool:
        return self.time_factor > 1 or self.freq_factor > 1

    @property
    def missing(self) -> npt.NDArray[np.bool_]:
        """(n_times, n_coarse) of which no raw file holds data."""
        steps = self.timesteps
        index = self.observation.hdu_index[steps.start : steps.stop][:, list(self.coarse)]
        missing: npt.NDArray[np.bool_] = index < 0
        return missing

    def shift_s(self, steps: range) -> FloatArray:
        """(n_times, n_coarse) by how much integrations start after their timestep: files with a clock of their own."""
        seen = self.observation
        index = seen.hdu_index[steps.start : steps.stop][:, list(self.coarse)]
        start = seen.timestep_unix_ms[steps.start : steps.stop, None]
        shift: FloatArray = np.where(index < 0, 0, seen.hdus["unix_ms"][index] - start) / 1e3
        return shift

    @property
    def input_bytes(self) -> int:
        """Size of the visibilities that will be read, uncompressed."""
        meta = self.metadata
        n_bl = meta.n_antennas * (meta.n_antennas + 1) // 2
        return int((~self.missing).sum()) * n_bl * meta.n_fine * 32

    def input_mjd(self, steps: range | None = None) -> FloatArray:
        """Centroids of input integrations (default: all that enter), UTC as MJD."""
        return axes.input_mjd(self.observation, self.timesteps if steps is None else steps)


@dataclass(frozen=True)
class Corrections:
    """What is done to values.

    Attributes
    ----------
    factors : (n_antenna, n_coarse * n_fine, 2) complex64, cable, gain and passband corrections; None: nothing
        to correct
    calibration : solutions to apply after them, if any
    van_vleck_samples : number of samples in a visibility, for the Van Vleck correction; 0: none
    channel_weight : (n_coarse * n_fine,)
    rotate : whether visibilities are rotated to the phase centre
    """

    factors: npt.NDArray[np.complex64] | None
    calibration: Calibration | None
    van_vleck_samples: float
    channel_weight: npt.NDArray[np.float32]
    rotate: bool


@dataclass(frozen=True)
class PlacedFlags:
    """A flag file and where it belongs in a plan.

    Attributes
    ----------
    coarse : position in `Selection.coarse`
    file_times, plan_times : the timesteps of both that are the same, counted from the first of each
    """

    file: FlagFile
    coarse: int
    file_times: slice
    plan_times: slice


@dataclass(frozen=True)
class Flags:
    """What is flagged before the data are looked at.

    Attributes
    ----------
    antennas : (n_antenna,)
    channels : (n_coarse * n_fine,) uint8
    times : (n_times,) by a rule
    chunks : (n_times, n_coarse) good, flagged or missing (`_core.CHUNK_*`)
    autos : whether autocorrelations are flagged
    """

    antennas: npt.NDArray[np.bool_]
    channels: npt.NDArray[np.uint8]
    times: npt.NDArray[np.bool_]
    chunks: npt.NDArray[np.int32]
    autos: bool

    @property
    def nothing_left(self) -> bool:
        """Whether rules and gaps leave no channel or no integration."""
        return bool(self.channels.all()) or not (self.chunks == _core.CHUNK_GOOD).any()


@dataclass(frozen=True)
class Rows:
    """Rows of an output timestep.

    Attributes
    ----------
    antenna1, antenna2 : (n_bl,) antenna indices, antenna1 <= antenna2
    in_file : (n_bl,) baseline number in the raw files
    flagged : (n_bl,) uint8
    """

    antenna1: IntArray
    antenna2: IntArray
    in_file: IntArray
    flagged: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.antenna1)

    @property
    def cross(self) -> npt.NDArray[np.bool_]:
        """(n_bl,) which are not autocorrelations."""
        cross: npt.NDArray[np.bool_] = self.antenna1 != self.antenna2
        return cross


@dataclass(frozen=True)
class Resources:
    """What of the machine a conversion takes, decided when the plan is made.

    Attributes
    ----------
    threads : of the kernels
    free_bytes : memory that was free
    room_bytes : memory for data: what `Options.max_memory_gib` leaves, else half of what was free
    mask_in_file : whether flags of single cells are kept in a temporary file
    """

    threads: int
    free_bytes: int
    room_bytes: int
    mask_in_file: bool


@dataclass(frozen=True)
class DetectionPlan:
    """How the detection of RFI goes about it.

    Attributes
    ----------
    strategy : of the built-in detection; None: AOFlagger
    rows : rows of the plan that are looked at, in the order of the blocks, ascending within each
    blocks : which of these are read together
    bands : contiguous ranges of coarse channels, each an image of its own; indices into `Selection.coarse`
    planes : images of a baseline: 4 amplitudes, or 8 real and imaginary parts
    spill_bytes : images that have to be kept until all is read (of legacy files that cannot be read in parts)
    spill_in_file : whether they are kept in a temporary file
    room_bytes : memory for images
    peak_bytes : memory at most, flags included
    """

    strategy: RfiStrategy | None
    rows: IntArray
    blocks: tuple[slice, ...]
    bands: tuple[slice, ...]
    planes: int
    spill_bytes: int
    spill_in_file: bool
    room_bytes: int
    peak_bytes: int

    @property
    def rows_at_once(self) -> int:
        """Rows of the largest block."""
        return max(len(self.rows[block]) for block in self.blocks)

    def describe(self) -> dict[str, Any]:
        """The facts that matter to users (layout: docs/report.md)."""
        return {
            "baselines": len(self.rows),
            "baselines_at_once": self.rows_at_once,
            "spill_bytes": self.spill_bytes,
            "spill_in_file": self.spill_in_file,
        }


@dataclass(frozen=True)
class Plan:
    """All decisions of one conversion. `describe` says them in words, `run` carries them out.

    Attributes
    ----------
    options : as they were given
    header : of the outputs: their axes, phase centre and history
    steps : what is applied and what is not, and why
    notes : what the user should know
    selection, corrections, flags, rows, resources : what was decided, part by part
    flag_files : flags made earlier, to be added to those of the rules
    detection : how RFI is looked for; None where it is not
    array_rfi : whether interference that all baselines share is looked for
    """

    options: Options
    header: VisHeader
    steps: tuple[Step, ...]
    notes: tuple[str, ...]
    selection: Selection
    corrections: Corrections
    flags: Flags
    rows: Rows
    flag_files: tuple[PlacedFlags, ...]
    resources: Resources
    detection: DetectionPlan | None
    array_rfi: bool

    def __repr__(self) -> str:
        return (
            f"Plan({self.metadata.obsid}, {plural(self.n_times, 'time')} x {plural(self.n_rows, 'baseline')} x"
            f" {plural(self.n_channels, 'channel')}, {plural(sum(step.applied for step in self.steps), 'step')})"
        )

    def _repr_html_(self) -> str:
        facts = {
            step.name: f"{'applied' if step.applied else 'not applied'}: {step.reason}" for step in self.steps
        }
        return html_facts({"plan": repr(self)} | facts)

    @property
    def observation(self) -> Observation:
        return self.selection.observation

    @property
    def metadata(self) -> Metadata:
        return self.selection.observation.metadata

    @property
    def timesteps(self) -> range:
        """Observation timesteps that enter."""
        return self.selection.timesteps

    @property
    def coarse(self) -> tuple[int, ...]:
        """Indices of the coarse channels that enter."""
        return self.selection.coarse

    @property
    def n_times(self) -> int:
        """Output timesteps."""
        return len(self.header.time_mjd)

    @property
    def n_rows(self) -> int:
        """Rows of an output timestep."""
        return len(self.rows)

    @property
    def n_channels(self) -> int:
        """Output channels, all spectral windows together."""
        return sum(window.n_chan for window in self.header.spectral_windows)

    def input_steps(self, time_index: int) -> range:
        """Observation timesteps of one output timestep."""
        factor = self.selection.time_factor
        return self.timesteps[time_index * factor : (time_index + 1) * factor]

    def input_bytes(self) -> int:
        """Size of the visibilities that will be read, uncompressed."""
        return self.selection.input_bytes

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
        return float(axes.gps_s(self.metadata, self.header.centroid_mjd[time_index]))

    @property
    def first_centre_gps_s(self) -> float:
        """Centre of the first input timestep, GPS seconds."""
        return float(axes.gps_s(self.metadata, self.input_mjd(self.timesteps[:1])[0]))

    def input_mjd(self, steps: range) -> FloatArray:
        """Centroids of input integrations, UTC as MJD."""
        return self.selection.input_mjd(steps)

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
        outputs : files to write; the suffix decides: .uvfits, .ms, .uvh5 or .mwaf
        qa : quality picture to write, .png or .html
        progress : told input bytes, of all passes over them

        Raises
        ------
        InputError, FormatError, ResourceError : nothing stays under the final names
        """
        from mwaconvert.conversion.pipeline import run

        paths = [Path(p) for p in ([outputs] if isinstance(outputs, str | Path) else outputs)]
        if qa is None:
            return run(self, paths, progress=progress)
        from mwaconvert.qa.collector import QaCollector
        from mwaconvert.qa.page import write_picture

        picture = QaCollector(self.header, Path(qa), overwrite=self.options.overwrite)
        report = run(self, paths, picture=picture, progress=progress)
        write_picture(picture, report)
        return replace(report, picture=picture.path)

    def to_uvdata(self) -> Any:
        """Convert into a `pyuvdata.UVData` object, in memory (extra `pyuvdata`)."""
        from mwaconvert.conversion.to_uvdata import to_uvdata

        return to_uvdata(self)

    def to_xarray(self) -> Any:
        """Convert into an `xarray.Dataset`, in memory (extra `xarray`).

        Returns
        -------
        Dataset
            VISIBILITY (complex64), WEIGHT (float32) and FLAG of (time, baseline_id, frequency, polarization), UVW of
            (time, baseline_id, uvw_label) in metres; names and coordinates as in the Measurement Set v4

        Raises
        ------
        InputError : xarray is not installed
        ResourceError : it is more than the machine has free

        Examples
        --------
        >>> data = mwaconvert.open("obs.metafits").plan(freq_res_khz=80).to_xarray()
        >>> float(data.VISIBILITY.where(~data.FLAG).sel(polarization="XX").real.mean()) > 0
        True
        """
        from mwaconvert.conversion.to_xarray import to_xarray

        return to_xarray(self)
