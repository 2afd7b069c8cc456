"""How much signal averaging costs, for a source at the edge of the tile beam on the longest baseline."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mwaconvert.arrays import FloatArray
from mwaconvert.constants import SPEED_OF_LIGHT_M_S
from mwaconvert.text import percent

EARTH_ROTATION_RAD_S = 7.2921150e-5
#: side of an MWA tile; the half-power beam is about wavelength / side wide
TILE_SIDE_M = 4.4


@dataclass(frozen=True)
class Smearing:
    """Fraction of the amplitude lost, worst case over position angles.

    Attributes
    ----------
    baseline_m : longest baseline
    freq_hz : highest frequency
    offset_deg : distance of the source from the phase centre
    time_loss, bandwidth_loss : 0 to 1
    """

    baseline_m: float
    freq_hz: float
    offset_deg: float
    time_loss: float
    bandwidth_loss: float

    def __str__(self) -> str:
        return (
            f"{percent(self.time_loss)} lost to time averaging and {percent(self.bandwidth_loss)} to"
            f" channel width, {self.offset_deg:.0f} deg from the phase centre on the longest baseline"
            f" ({self.baseline_m:.0f} m, {self.freq_hz / 1e6:.1f} MHz)"
        )


def estimate_smearing(
    antenna_xyz_m: FloatArray,
    freq_hz: float,
    width_hz: float,
    interval_s: float,
    offset_deg: float | None = None,
) -> Smearing:
    """Estimate the loss.

    A source at angle theta from the phase centre turns by x = pi dt w_e (B / lambda) sin(theta) in half an
    interval dt at most, and by x = pi dnu (B / c) sin(theta) in half a channel dnu; averaging leaves
    sin(x) / x of it (Thompson, Moran & Swenson, chapter 6).

    Parameters
    ----------
    antenna_xyz_m : (n_antenna, 3) positions in any Cartesian frame; of unflagged antennas
    freq_hz, width_hz, interval_s : highest frequency, widest channel and longest interval of the output
    offset_deg : default: half the width of the tile beam, at most 45 degrees
    """
    baseline_m = 0.0
    for i in range(len(antenna_xyz_m) - 1):
        lengths = np.linalg.norm(antenna_xyz_m[i + 1 :] - antenna_xyz_m[i], axis=1)
        baseline_m = max(baseline_m, float(lengths.max()))
    wavelength_m = SPEED_OF_LIGHT_M_S / freq_hz
    if offset_deg is None:
        offset_deg = min(45.0, math.degrees(wavelength_m / TILE_SIDE_M / 2))
    reach_m = baseline_m * math.sin(math.radians(offset_deg))
    turn_time = math.pi * interval_s * EARTH_ROTATION_RAD_S * reach_m / wavelength_m
    turn_band = math.pi * width_hz * reach_m / SPEED_OF_LIGHT_M_S
    return Smearing(baseline_m, freq_hz, offset_deg, _loss(turn_time), _loss(turn_band))


def _loss(x: float) -> float:
    """1 - |sin(x) / x|."""
    return 1.0 - abs(math.sin(x) / x) if x > 1e-9 else 0.0
