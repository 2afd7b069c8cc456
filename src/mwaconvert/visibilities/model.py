"""What passes from a pipeline or a reader to whoever takes visibilities: one header, then blocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mwaconvert.arrays import FloatArray, IntArray
from mwaconvert.observation.model import ArrayPosition, Metadata


@dataclass(frozen=True)
class SpectralWindow:
    """A contiguous run of output channels.

    Attributes
    ----------
    channels : where they stand on the channel axis of a block
    freq_hz, width_hz : (n_chan,) centre and total width of each channel; the width of a leftover channel
        is its own
    effective_hz : (n_chan,) width that was not flagged before averaging; `width_hz` where all was flagged
    coarse : indices into `Metadata.coarse_channels`
    """

    channels: slice
    freq_hz: FloatArray
    width_hz: FloatArray
    effective_hz: FloatArray
    coarse: tuple[int, ...]

    @property
    def n_chan(self) -> int:
        return len(self.freq_hz)


@dataclass(frozen=True)
class VisHeader:
    """All that a writer must know besides the blocks.

    Polarisations are XX, XY, YX, YY. Rows run through baselines fastest, then times. uvw is antenna1 minus
    antenna2; a source at the phase centre has phase 0.
    """

    metadata: Metadata
    spectral_windows: tuple[SpectralWindow, ...]
    #: (n_bl,) antenna indices of the rows of one timestep, antenna1 <= antenna2
    antenna1: IntArray
    antenna2: IntArray
    #: (n_times,) UTC as MJD in days, centre of each output timestep
    time_mjd: FloatArray
    #: (n_times,) true centroid of the data that went into it (equal to time_mjd where nothing was flagged)
    centroid_mjd: FloatArray
    #: (n_times,) nominal length of each output timestep, seconds; the last may be shorter
    interval_s: FloatArray
    #: (n_times,) part of it that is not flagged or missing, seconds
    exposure_s: FloatArray
    #: length of an input integration, seconds
    input_int_time_s: float
    phase_centre_rad: tuple[float, float]
    phase_centre_name: str
    #: (n_antenna,) antennas whose data are flagged throughout
    antenna_flagged: npt.NDArray[np.bool_]
    array_position: ArrayPosition
    #: (n_antenna, 3) local XYZ (x towards the local meridian at the equator, z to the pole), metres
    antenna_xyz_m: FloatArray
    #: (n_antenna, 3) geocentric ITRF, metres
    antenna_itrf_m: FloatArray
    dut1_s: float
    #: `mwaconvert` and its version
    software: str
    command_line: str
    #: one line for each correction and flag rule applied, for HISTORY
    history: tuple[str, ...]


@dataclass(frozen=True)
class FileAntenna:
    """An antenna of a visibility file."""

    name: str


@dataclass(frozen=True)
class FileMetadata:
    """What a visibility file says about itself.

    Attributes
    ----------
    obsid : the observation, or the name of the file
    name : of the field
    correlator : empty, as files do not tell
    """

    obsid: str
    name: str
    antennas: tuple[FileAntenna, ...]
    correlator: str = ""

    @property
    def n_antennas(self) -> int:
        return len(self.antennas)


@dataclass(frozen=True)
class FileHeader:
    """What `VisHeader` holds, as far as pictures and statistics need it and files tell it."""

    metadata: FileMetadata
    spectral_windows: tuple[SpectralWindow, ...]
    antenna1: IntArray
    antenna2: IntArray
    time_mjd: FloatArray
    interval_s: FloatArray
    antenna_flagged: npt.NDArray[np.bool_]
    software: str


@dataclass
class Block:
    """Visibilities of one output timestep for a contiguous range of baselines and all channels.

    The arrays are views of buffers that the next block reuses: copy what must stay.

    Attributes
    ----------
    time_index : output timestep
    rows : range of baselines, indices into `VisHeader.antenna1`
    vis : (n_rows, n_chan, 4) complex64
    weight : (n_rows, n_chan, 4) float32; a set sign bit (also of -0.0) marks a flagged value
    uvw_m : (n_rows, 3) float64, at the centroid
    """

    time_index: int
    rows: slice
    vis: npt.NDArray[np.complex64]
    weight: npt.NDArray[np.float32]
    uvw_m: FloatArray

    @property
    def flags(self) -> npt.NDArray[np.bool_]:
        """(n_rows, n_chan, 4) True where flagged."""
        return np.signbit(self.weight)
