"""What was observed: frozen facts from the metafits and the raw files, no decisions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from mwaconvert.arrays import FloatArray

#: Correlator that wrote the raw files.
Correlator = Literal["legacy", "mwax"]


@dataclass(frozen=True)
class Antenna:
    """One tile, in the order of the metafits column Antenna."""

    index: int
    tile_id: int
    name: str
    #: local frame of the array centre, metres; height above sea level
    east_m: float
    north_m: float
    height_m: float
    #: of the two polarisations X, Y
    input: tuple[int, int]
    electrical_length_m: tuple[float, float]
    flagged: bool
    receiver: int
    slot: tuple[int, int]
    #: [pol][dipole] beamformer delays, 32 = dead dipole
    dipole_delays: tuple[tuple[int, ...], tuple[int, ...]]
    receiver_type: str


@dataclass(frozen=True)
class CoarseChannel:
    """One receiver channel of 1.28 MHz."""

    #: position in the metafits list, ascending sky frequency
    index: int
    #: receiver channel number; the centre is number * 1.28 MHz
    number: int
    #: legacy correlator box (1..24), or the receiver channel number for MWAX: what file names carry
    gpubox: int
    centre_hz: float
    width_hz: float


@dataclass(frozen=True)
class Metadata:
    """The metafits of one observation.

    Angles in degrees (J2000 for RA/Dec), times in seconds, lengths in metres.
    """

    path: Path
    obsid: int
    correlator: Correlator
    antennas: tuple[Antenna, ...]
    coarse_channels: tuple[CoarseChannel, ...]
    #: (n_antenna, 2 pol, n_coarse) linear digital gains (metafits value / 64)
    digital_gains: FloatArray
    fine_width_hz: float
    n_fine: int
    int_time_s: float
    sched_start_unix_s: float
    sched_duration_s: float
    good_time_unix_s: float
    quack_s: float
    #: UT1 - UTC, seconds; None if the metafits has none
    dut1_s: float | None
    pointing_deg: tuple[float, float]
    #: None if the metafits has no RAPHASE/DECPHASE
    phase_centre_deg: tuple[float, float] | None
    az_alt_deg: tuple[float, float]
    #: beamformer delays of the observation, 16
    delays: tuple[int, ...]
    #: GEODEL: 0 none, 1 zenith, 2 tile pointing, 3 tracked
    geodel: int
    #: CABLEDEL: 0 none, 1 cable and receiver clock, 2 plus beamformer
    cabledel: int
    #: digital gains were already taken out by the correlator
    digital_gains_applied: bool
    #: CHANGAIN: gains of the coarse channels for all inputs alike, which `digital_gains` know better
    has_global_gains: bool
    #: CALIBDEL: the correlator applied the delays and gains of CALIBDATA
    calibration_applied: bool
    #: SIGCHDEL: the correlator took out the phases of the signal chains
    signal_chain_applied: bool
    oversampled: bool
    deripple: bool
    mode: str
    creator: str
    #: of the metafits file, empty if it does not say
    metafits_version: str
    project: str
    #: FILENAME key: the name the observer gave
    name: str
    calibrator: bool
    calibrator_source: str
    receivers: tuple[int, ...]
    attenuation_db: float
    #: sentences on what the file has wrong and was read all the same
    notes: tuple[str, ...] = ()

    @property
    def n_antennas(self) -> int:
        return len(self.antennas)


@dataclass(frozen=True)
class RawFile:
    """One raw file: its coarse channel, batch and HDUs."""

    path: Path
    #: index into Metadata.coarse_channels
    coarse: int
    batch: int


@dataclass(frozen=True)
class ArrayPosition:
    """Geodetic (WGS84) position of the array centre: radians and metres above the ellipsoid."""

    latitude_rad: float
    longitude_rad: float
    height_m: float


#: the position the MWA's own software uses (mwalib)
MWA_POSITION = ArrayPosition(-0.4660608448386394, 2.0362898668561042, 377.827)
#: the position cotter uses: -26.703319, 116.67081 degrees, 377 m
COTTER_POSITION = ArrayPosition(float(np.radians(-26.703319)), float(np.radians(116.67081)), 377.0)
