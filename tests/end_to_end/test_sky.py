"""A point source, simulated without any of the converter's geometry, must come out where astropy sees it."""

import erfa
import numpy as np
import pytest
from astropy.io import fits
from conversions import SPEED_OF_LIGHT_M_S
from sky import (
    ARRAYS,
    AWAY,
    CENTRE,
    FLUX_JY,
    NO_EDGES,
    assert_sky,
    of_blocks,
    path_difference_m,
    simulate_source,
)

import mwaconvert
from mwaconvert.conversion.tables.geometry import earth_orientation
from mwaconvert.simulate import simulate


@pytest.mark.parametrize("source", [CENTRE, AWAY], ids=["centre", "away"])
@pytest.mark.parametrize("array", ARRAYS)
def test_exact_geometry(simulated, array, source):
    sim = simulate_source(simulated, array, source)
    found = of_blocks(mwaconvert.open(sim.metafits).plan(geometry="exact", **NO_EDGES))
    # far better than the bar: 0.01 arcsec
    assert_sky(sim, found, arcsec=0.01)
    if source == CENTRE:
        # the error of a phase in float32
        np.testing.assert_allclose(np.angle(found.vis[..., [0, 3]]), 0, atol=1e-5)


@pytest.mark.parametrize("array", ARRAYS)
def test_standard_geometry(simulated, array):
    """The peers' recipe takes mean for apparent sidereal time: the sky turns about the pole by the equation of
    the equinoxes. A source at RA comes out where one at RA - ee would be expected, or, which is the same, the
    phase centre was taken at RA + ee."""
    sim = simulate_source(simulated, array, AWAY)
    found = of_blocks(mwaconvert.open(sim.metafits).plan(**NO_EDGES))
    mjd_utc = sim.centroid_unix_s.mean() / 86400 + 40587
    ee_deg = np.degrees(erfa.ee06a(2400000.5, mjd_utc + 69.184 / 86400))

    # what is left of the recipe's error: polar motion, and diurnal aberration at the latitude of the array
    pole = earth_orientation(np.array([mjd_utc]))
    pole_arcsec = np.degrees(np.hypot(pole.pole_x_rad[0], pole.pole_y_rad[0])) * 3600
    rest_arcsec = pole_arcsec + 0.3192 * np.cos(np.radians(26.7))
    assert_sky(sim, found, (CENTRE[0] + ee_deg, CENTRE[1]), arcsec=rest_arcsec)

    # the error itself, fitted to the phases: towards the east and the north
    phase = np.angle(
        found.vis[..., 0]
        * np.exp(
            -2j * np.pi / SPEED_OF_LIGHT_M_S * path_difference_m(sim, found, CENTRE)[:, None] * found.freq_hz
        )
    )
    baseline = sim.enu_m[found.antenna1] - sim.enu_m[found.antenna2]
    # near the zenith, u is east and v is north
    design = (2 * np.pi / SPEED_OF_LIGHT_M_S * baseline[:, None, :2] * found.freq_hz[:, None]).reshape(-1, 2)
    short = abs(phase.ravel()) < 1
    shift = np.linalg.lstsq(design[short], phase.ravel()[short], rcond=None)[0]
    east_arcsec, north_arcsec = np.degrees(shift) * 3600
    assert east_arcsec == pytest.approx(-ee_deg * 3600 * np.cos(np.radians(27.0)), abs=rest_arcsec)
    assert north_arcsec == pytest.approx(0, abs=rest_arcsec)
    assert abs(ee_deg * 3600) > 2


# what the correlator may have done already


def exactly(sim, **options):
    return mwaconvert.open(sim.metafits).plan(**{"geometry": "exact", **NO_EDGES, **options})


def step(plan, name):
    return next(s for s in plan.steps if s.name == name)


@pytest.mark.parametrize("geodel", [1, 2, 3])
def test_data_tracked_elsewhere_are_rotated_by_the_difference(simulated, geodel):
    sim = simulate_source(simulated, "mwax-128", AWAY, geodel=geodel)
    plan = exactly(sim, phase_centre_deg=(0.3, -26.8))
    assert_sky(sim, of_blocks(plan), (0.3, -26.8))
    assert step(plan, "geometric delays").applied


def test_data_tracked_here_are_left_alone(simulated):
    sim = simulate_source(simulated, "mwax-128", AWAY, geodel=3)
    for geometry in ("exact", "standard"):
        plan = exactly(sim, geometry=geometry)
        assert not step(plan, "geometric delays").applied
        assert_sky(sim, of_blocks(plan))


def test_standard_geometry_moves_tracked_data_true(simulated):
    """Only the difference of two delays of the same recipe is applied: its error all but cancels."""
    sim = simulate_source(simulated, "mwax-128", AWAY, geodel=3)
    plan = exactly(sim, geometry="standard", phase_centre_deg=AWAY)
    assert_sky(sim, of_blocks(plan), AWAY)


def test_without_geometry(simulated):
    sim = simulate_source(simulated, "mwax-128", AWAY)
    plan = exactly(sim, geometric_delay=False)
    found = of_blocks(plan)
    source = sim.delay_m(*AWAY)
    w = source[found.time_index, found.antenna1] - source[found.time_index, found.antenna2]
    expected = FLUX_JY * np.exp(2j * np.pi / SPEED_OF_LIGHT_M_S * w[:, None] * found.freq_hz)
    np.testing.assert_allclose(found.vis[..., 3], expected, rtol=2e-5)


@pytest.mark.parametrize("cabledel", [1, 2])
def test_cable_delays_are_not_taken_out_twice(simulated, cabledel):
    sim = simulate_source(simulated, "mwax-128", AWAY, cabledel=cabledel)
    plan = exactly(sim)
    assert_sky(sim, of_blocks(plan))
    assert not step(plan, "cable delays").applied


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"OVERSAMP": 1, "DERIPPLE": 0, "DR_FLAG": 0}, "jake_oversampled"),
        ({"OVERSAMP": 0, "DERIPPLE": 1, "DR_FLAG": 1}, "took it out"),
        ({"OVERSAMP": 1, "DERIPPLE": 1, "DR_FLAG": 1}, "took it out"),
    ],
)
def test_passband_of_the_metafits(simulated, tmp_path, keys, reason):
    plain = simulated(like="mwax-128", n_tiles=6, fine_khz=40.0, duration_s=2.0)
    with fits.open(plain.metafits) as hdus:
        hdus[0].header.update(keys)
        hdus.writeto(tmp_path / "like.metafits")
    sim = simulated(like=str(tmp_path / "like.metafits"), duration_s=2.0, sources=((*AWAY, FLUX_JY),))
    plan = exactly(sim)
    assert_sky(sim, of_blocks(plan))
    assert reason in step(plan, "coarse passband").reason


def test_like_real_observations(mwa_data, tmp_path):
    """Real metafits of all vintages: 128 to 256 tiles, one or several receiver types, picket fences, tracked or
    not, cables taken out or not, oversampled, rippled out, of voltage modes."""
    paths = sorted((mwa_data / "metafits").iterdir())
    assert len(paths) > 10
    for path in paths:
        with fits.open(path) as hdus:
            header = hdus[0].header
            centre = header.get("RAPHASE", header["RA"]), header.get("DECPHASE", header["DEC"])
            channels = [int(c) for c in header["CHANNELS"].split(",")]
            legacy = header["MODE"].startswith("HW") and header["NINPUTS"] == 256
        source = (centre[0] + 0.6, centre[1] - 0.4)
        sim = simulate(
            tmp_path / path.stem,
            like=path,
            fine_khz=40.0 if legacy else 320.0,
            duration_s=0.5,
            coarse_channels=[channels[0]] if legacy else channels[:: len(channels) - 1],
            sources=[(*source, FLUX_JY)],
        )
        elsewhere = (centre[0] + 0.2, centre[1] + 0.2)
        options = {"phase_centre_deg": elsewhere, "flag_metafits": False, "flag_init_s": 0.0}
        assert_sky(sim, of_blocks(exactly(sim, **options)), elsewhere, arcsec=0.01)
