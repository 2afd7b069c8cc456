"""A simulated point source and what a conversion must make of it.

The bar: phases of every baseline, channel and time within 1e-4 rad + 2 pi |b| / lambda * 2.4e-6 (half an
arcsecond), amplitudes within 1e-5, XY and YX empty.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from conversions import SPEED_OF_LIGHT_M_S, collect

NO_EDGES = {"flag_edge_width_khz": 0.0, "flag_dc": False}
FLUX_JY = 10.0
#: narrow channels are those of real legacy data: at other widths mwalib and this package place them differently
ARRAYS = {
    "legacy-128": {"like": "legacy-128", "fine_khz": 40.0},
    "mwax-128": {"like": "mwax-128", "fine_khz": 160.0},
    "mwax-256": {"like": "mwax-256", "fine_khz": 320.0},
}
#: zenith in whole degrees at the start of the simulations: their phase centre
CENTRE = (0.0, -27.0)
AWAY = (0.8, -26.4)


@dataclass
class Visibilities:
    """XX, XY, YX, YY of some rows: vis (n_rows, n_chan, 4); time_index, antenna1, antenna2 (n_rows,)."""

    vis: npt.NDArray[np.complexfloating[Any, Any]]
    time_index: npt.NDArray[np.int64]
    antenna1: npt.NDArray[np.int64]
    antenna2: npt.NDArray[np.int64]
    freq_hz: npt.NDArray[np.float64]


def of_blocks(plan):
    converted = collect(plan)
    assert not converted.flags.any()
    n_times, n_rows = converted.vis.shape[:2]
    return Visibilities(
        converted.vis.reshape(-1, *converted.vis.shape[2:]),
        np.repeat(np.arange(n_times), n_rows),
        np.tile(plan.header.antenna1, n_times),
        np.tile(plan.header.antenna2, n_times),
        np.concatenate([window.freq_hz for window in plan.header.spectral_windows]),
    )


def path_difference_m(sim, found, centre_deg):
    """(n_rows,) by how much the source's path to antenna 1 and 2 differs, less that of the phase centre: by
    astropy's apparent directions at the middle of each integration."""
    source = sim.sources[0]
    w = sim.delay_m(source.ra_deg, source.dec_deg) - sim.delay_m(*centre_deg)
    return w[found.time_index, found.antenna1] - w[found.time_index, found.antenna2]


def assert_sky(sim, found, centre_deg=CENTRE, arcsec=0.495):
    """Compare with the apparent sky; returns the largest phase error as a part of what is allowed."""
    expected = np.exp(
        2j * np.pi / SPEED_OF_LIGHT_M_S * path_difference_m(sim, found, centre_deg)[:, None] * found.freq_hz
    )
    ratio = found.vis[..., [0, 3]] / (FLUX_JY * expected[..., None])
    np.testing.assert_allclose(abs(ratio), 1, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.vis[..., 1:3], 0, atol=1e-5 * FLUX_JY)
    length = np.linalg.norm(sim.enu_m[found.antenna1] - sim.enu_m[found.antenna2], axis=1)
    allowed = 1e-4 + 2 * np.pi * length[:, None] * found.freq_hz / SPEED_OF_LIGHT_M_S * np.radians(
        arcsec / 3600
    )
    excess = (abs(np.angle(ratio)) / allowed[..., None]).max()
    assert excess <= 1
    return excess


def simulate_source(simulated, array, source, **more):
    kind = {"duration_s": 4.0, "coarse_channels": (69, 180), **ARRAYS[array], **more}
    return simulated(**kind, sources=((*source, FLUX_JY),))
