"""Channel frequencies, positions, uvw, delivered delays: golden numbers, cotter, astropy and twins."""

import math
from dataclasses import replace
from pathlib import Path

import erfa
import numpy as np
import pytest
from cotter_csv import FOLDER, TIMES_MJD, read_dump
from reference import astropy_direction, fine_channel_hz, standard_geometry

from mwaconvert.conversion.options import Options
from mwaconvert.conversion.tables import geometry
from mwaconvert.conversion.tables.channels import fine_channel_frequencies_hz
from mwaconvert.conversion.tables.geometry import (
    antenna_itrf_m,
    antenna_uvw_m,
    antenna_xyz_m,
    choose_dut1,
    delivered_w_m,
    earth_orientation,
    phase_centre_rad,
)
from mwaconvert.observation.metafits import read_metadata
from mwaconvert.observation.model import COTTER_POSITION, MWA_POSITION, Metadata

ARCSEC = math.radians(1 / 3600)
#: 2013 to 2026
DATES_MJD = np.linspace(56400.3, 61000.8, 12)


@pytest.fixture
def cotter_obs(mwa_data: Path) -> Metadata:
    return read_metadata(mwa_data / FOLDER / "1254670392.metafits")


@pytest.fixture
def tracked_obs(mwa_data: Path) -> Metadata:
    """MWAX, GEODEL=3, with the correlator's table of directions."""
    return read_metadata(mwa_data / "metafits" / "1447048976_metafits.fits")


def east_north_height_m(metadata: Metadata) -> np.ndarray:
    return np.array([[a.east_m, a.north_m, a.height_m] for a in metadata.antennas])


# --- channel frequencies


@pytest.mark.parametrize(("correlator", "n_fine"), [("legacy", n) for n in (128, 64, 32, 2)])
def test_legacy_frequencies_are_means_of_10_khz_channels(cotter_obs, correlator, n_fine):
    check_frequencies(cotter_obs, correlator, n_fine)


@pytest.mark.parametrize("n_fine", [1, 2, 5, 25, 32, 50, 128, 6400])
def test_mwax_frequencies(cotter_obs, n_fine):
    check_frequencies(cotter_obs, "mwax", n_fine)


def check_frequencies(metadata, correlator, n_fine):
    metadata = replace(metadata, correlator=correlator, n_fine=n_fine, fine_width_hz=1.28e6 / n_fine)
    freqs = fine_channel_frequencies_hz(metadata, 3)
    centre = metadata.coarse_channels[3].centre_hz
    expected = [fine_channel_hz(correlator, centre, n_fine, k) for k in range(n_fine)]
    np.testing.assert_allclose(freqs, expected, rtol=0, atol=1e-6)


def test_golden_frequencies(cotter_obs):
    assert fine_channel_frequencies_hz(cotter_obs, 0)[:2].tolist() == [167.055e6, 167.095e6]


def test_frequencies_equal_mwalib(mwa_data):
    import mwalib

    compared = 0
    for path in sorted((mwa_data / "metafits").iterdir()):
        context = mwalib.MetafitsContext(str(path))
        metadata = read_metadata(path)
        expected = np.array(context.metafits_fine_chan_freqs_hz)
        if len(expected) != metadata.n_fine * len(metadata.coarse_channels):
            continue  # voltages have one "fine" channel
        ours = [fine_channel_frequencies_hz(metadata, k) for k in range(len(metadata.coarse_channels))]
        np.testing.assert_array_equal(np.concatenate(ours), expected)
        compared += 1
    assert compared >= 8


# --- positions


def test_golden_positions(cotter_obs):
    """cotter's uvfits header: STABXYZ of Tile011 and ARRAYX, Y, Z."""
    xyz = antenna_xyz_m(cotter_obs, COTTER_POSITION)
    np.testing.assert_allclose(xyz[0], [456.25004898, -149.78500366, 68.04598993], atol=1e-8)
    centre = replace(cotter_obs.antennas[0], east_m=0.0, north_m=0.0, height_m=0.0)
    itrf = antenna_itrf_m(replace(cotter_obs, antennas=(centre,)), COTTER_POSITION)
    expected = [-2559453.29059553, 5095371.73544116, -2849056.77357178]
    np.testing.assert_allclose(itrf[0], expected, rtol=0, atol=1e-6)


def test_itrf_turns_the_local_frame_by_the_longitude(cotter_obs):
    itrf = antenna_itrf_m(cotter_obs, MWA_POSITION)
    xyz = antenna_xyz_m(cotter_obs, MWA_POSITION)
    s, c = math.sin(MWA_POSITION.longitude_rad), math.cos(MWA_POSITION.longitude_rad)
    turned = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ (xyz - xyz[5]).T
    np.testing.assert_allclose(itrf - itrf[5], turned.T, rtol=0, atol=1e-8)


# --- uvw, standard recipe


def test_golden_standard_geometry():
    """Steps of the recipe for two antennas (observation 1254670392)."""
    enh = np.array([[-149.78500366, 265.81399536, 377.01098633], [-95.36499786, 270.18798828, 377.28500366]])
    mjd, ra, dec = TIMES_MJD[0], 0.0, math.radians(-27)
    position = COTTER_POSITION
    steps = standard_geometry(mjd, ra, dec, enh, position.latitude_rad, position.longitude_rad)
    assert steps.lmst == pytest.approx(0.1373599549688711, abs=1e-9)
    assert steps.lmst2000 == pytest.approx(0.13314860324620, abs=1e-9)
    assert steps.hour_angle == pytest.approx(0.13305056861842, abs=1e-9)
    assert steps.declination == pytest.approx(-0.47121818789955, abs=1e-9)
    expected = [[-87.998752, 274.202686, 390.255068], [-33.765881, 275.307288, 384.064797]]
    np.testing.assert_allclose(steps.uvw_m, expected, rtol=0, atol=1e-5)


def test_standard_uvw_equals_cotter(mwa_data, cotter_obs):
    dump = read_dump(mwa_data / FOLDER / "1254670392.cotter.corrected.ms.csv")
    xyz = antenna_xyz_m(cotter_obs, COTTER_POSITION)
    uvw = antenna_uvw_m(TIMES_MJD[:1], phase_centre_rad(cotter_obs, Options()), xyz, COTTER_POSITION)[0]
    baselines = uvw[dump.antenna1] - uvw[dump.antenna2]
    np.testing.assert_allclose(baselines, dump.uvw_m[0], rtol=0, atol=1e-8)


@pytest.mark.parametrize("dut1_s", [0.0, -0.2, 0.7])
def test_standard_uvw_equals_the_recipe_step_by_step(cotter_obs, dut1_s):
    rng = np.random.default_rng(1)
    xyz, enh = antenna_xyz_m(cotter_obs, MWA_POSITION), east_north_height_m(cotter_obs)
    for mjd in DATES_MJD[::4]:
        ra, dec = rng.uniform(0, 2 * math.pi), rng.uniform(-1.4, 0.9)
        uvw = antenna_uvw_m(np.array([mjd]), (ra, dec), xyz, MWA_POSITION, dut1_s)[0]
        twin = standard_geometry(
            mjd + dut1_s / 86400, ra, dec, enh, MWA_POSITION.latitude_rad, MWA_POSITION.longitude_rad
        )
        np.testing.assert_allclose(uvw, twin.uvw_m, rtol=0, atol=1e-9)


def seen_east_north_up(mjd, ra, dec, dut1_s, recipe):
    """Direction that the w of three unit baselines points to."""
    lat = MWA_POSITION.latitude_rad
    x, y, z = antenna_uvw_m(np.array([mjd]), (ra, dec), np.eye(3), MWA_POSITION, dut1_s, recipe)[0, :, 2]
    return np.array([y, z * math.cos(lat) - x * math.sin(lat), x * math.cos(lat) + z * math.sin(lat)])


def off_astropy_arcsec(mjd, ra, dec, dut1_s, recipe):
    position = MWA_POSITION
    astropy = astropy_direction(
        mjd, ra, dec, position.latitude_rad, position.longitude_rad, position.height_m
    )
    return np.linalg.norm(seen_east_north_up(mjd, ra, dec, dut1_s, recipe) - astropy) / ARCSEC


@pytest.mark.parametrize("mjd", DATES_MJD)
def test_standard_direction_is_off_by_the_equation_of_the_equinoxes(mjd):
    """Mean for apparent sidereal time turns the sky by ee; polar motion, diurnal aberration are the rest."""
    rng = np.random.default_rng(int(mjd))
    dut1_s = float(earth_orientation(np.array([mjd])).dut1_s[0])
    ee_arcsec = abs(erfa.ee06a(2400000.5, mjd)) / ARCSEC
    assert ee_arcsec < 18
    for _ in range(3):
        ra, dec = rng.uniform(0, 2 * math.pi), rng.uniform(-1.5, 0.9)
        off = off_astropy_arcsec(mjd, ra, dec, dut1_s, "standard")
        assert off == pytest.approx(ee_arcsec * math.cos(dec), abs=0.9)


@pytest.mark.parametrize("mjd", DATES_MJD)
def test_exact_direction_equals_astropy(mjd):
    rng = np.random.default_rng(int(mjd))
    for _ in range(3):
        ra, dec = rng.uniform(0, 2 * math.pi), rng.uniform(-1.5, 0.9)
        assert off_astropy_arcsec(mjd, ra, dec, None, "exact") < 1e-4


def test_both_recipes_agree_but_for_a_small_rotation(cotter_obs):
    xyz = antenna_xyz_m(cotter_obs, MWA_POSITION)
    centre = phase_centre_rad(cotter_obs, Options())
    standard, exact = (
        antenna_uvw_m(TIMES_MJD, centre, xyz, MWA_POSITION, 0.0, recipe) for recipe in ("standard", "exact")
    )
    extent = np.linalg.norm(xyz - xyz.mean(axis=0), axis=1).max()
    difference = (exact - exact.mean(axis=1, keepdims=True)) - (
        standard - standard.mean(axis=1, keepdims=True)
    )
    assert np.abs(difference).max() < extent * 18 * ARCSEC


@pytest.mark.parametrize("recipe", ["standard", "exact"])
def test_uvw_do_not_depend_on_how_many_times_are_asked_for(cotter_obs, recipe):
    xyz = antenna_xyz_m(cotter_obs, MWA_POSITION)
    times = TIMES_MJD[0] + np.arange(7) / 86400
    together = antenna_uvw_m(times, (1.0, -0.5), xyz, MWA_POSITION, 0.1, recipe)
    for k, time in enumerate(times):
        alone = antenna_uvw_m(np.array([time]), (1.0, -0.5), xyz, MWA_POSITION, 0.1, recipe)
        np.testing.assert_array_equal(alone[0], together[k])


@pytest.mark.parametrize("recipe", ["standard", "exact"])
@pytest.mark.parametrize("dec_deg", [-90.0, 90.0, -26.7])
def test_uvw_keep_lengths(cotter_obs, recipe, dec_deg):
    """A pole of the sky is a direction like any other."""
    xyz = antenna_xyz_m(cotter_obs, MWA_POSITION)
    uvw = antenna_uvw_m(TIMES_MJD, (0.3, math.radians(dec_deg)), xyz, MWA_POSITION, 0.0, recipe)
    lengths = np.broadcast_to(np.linalg.norm(xyz, axis=1), uvw.shape[:2])
    np.testing.assert_allclose(np.linalg.norm(uvw, axis=2), lengths, rtol=1e-12)


def test_uvw_are_east_north_and_towards_the_source():
    """A source at the zenith: u is east, v is north."""
    ra, dec = 2.0, MWA_POSITION.latitude_rad
    mjd = 58765.0
    # sidereal time advances 1.0027 turns a day: find when the source culminates
    for _ in range(4):
        lmst = erfa.gmst06(2400000.5, mjd, 2400000.5, mjd) + MWA_POSITION.longitude_rad
        mjd += math.remainder(ra - lmst, 2 * math.pi) / (2 * math.pi * 1.00273781)
    lat = MWA_POSITION.latitude_rad
    east, north = [0.0, 1.0, 0.0], [-math.sin(lat), 0.0, math.cos(lat)]
    u_and_v = antenna_uvw_m(np.array([mjd]), (ra, dec), np.array([east, north]), MWA_POSITION)[0]
    np.testing.assert_allclose(u_and_v, [[1, 0, 0], [0, 1, 0]], atol=1e-2)  # precession since 2000


# --- time scales and tables


def test_earth_orientation_equals_the_final_series():
    """Bulletin A's table against the series EOP C04, both of astropy."""
    from astropy.utils import iers

    final = iers.IERS_B.open()
    mjd = DATES_MJD[:-1]
    orientation = earth_orientation(mjd)
    assert orientation.known
    np.testing.assert_allclose(orientation.dut1_s, final.ut1_utc(2400000.5, mjd).value, atol=1e-3)
    pole_arcsec = np.array([orientation.pole_x_rad, orientation.pole_y_rad]) / ARCSEC
    expected = [angle.to_value("arcsec") for angle in final.pm_xy(2400000.5, mjd)]
    np.testing.assert_allclose(pole_arcsec, expected, atol=1e-3)


@pytest.mark.parametrize(
    "stem", ["1096952256_metafits.fits", "1119683928.metafits", "1244973688.metafits.fits"]
)
def test_dut1_equals_the_metafits(mwa_data, stem):
    obs = read_metadata(mwa_data / "metafits" / stem)
    mjd = np.array([obs.sched_start_unix_s / 86400 + 40587])
    assert earth_orientation(mjd).dut1_s[0] == pytest.approx(obs.dut1_s, abs=2e-3)


def test_tables_are_read_without_the_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("network used")

    monkeypatch.setattr("socket.socket", refuse)
    geometry._iers_table.cache_clear()
    assert earth_orientation(np.array([58765.0])).known


def test_far_future_falls_back_quietly(cotter_obs):
    mjd = np.array([90000.0])
    assert not earth_orientation(mjd).known
    uvw = antenna_uvw_m(
        mjd, (0.0, -0.5), antenna_xyz_m(cotter_obs, MWA_POSITION), MWA_POSITION, None, "exact"
    )
    assert np.isfinite(uvw).all()


@pytest.mark.parametrize(
    ("options", "metafits", "mjd", "value", "words"),
    [
        (Options(), -0.3, 58765.0, -0.3, "metafits"),
        (Options(), None, 58765.0, -0.1517, "IERS table of astropy, as the metafits has no DUT1"),
        (
            Options(),
            None,
            90000.0,
            0.0,
            "metafits has no DUT1; the IERS table of astropy does not cover the date",
        ),
        (Options(dut1_s=0.1), -0.3, 58765.0, 0.1, "`dut1_s`"),
        (Options(ignore_dut1=True), -0.3, 58765.0, 0.0, "`ignore_dut1`"),
        (Options(geometry="exact"), -0.3, 58765.0, -0.1517, "IERS"),
        (Options(geometry="exact", dut1_s=0.1), -0.3, 58765.0, 0.1, "`dut1_s`"),
        (Options(geometry="exact"), -0.3, 90000.0, -0.3, "does not cover the date"),
    ],
)
def test_choice_of_dut1(cotter_obs, options, metafits, mjd, value, words):
    dut1_s, reason = choose_dut1(replace(cotter_obs, dut1_s=metafits), options, mjd)
    assert dut1_s == pytest.approx(value, abs=2e-3)
    assert words in reason


# --- what the correlator already did


def test_nothing_delivered_without_geodel(cotter_obs):
    assert delivered_w_m(cotter_obs, TIMES_MJD, MWA_POSITION) is None


def test_zenith_and_tile_pointing_are_fixed_directions(cotter_obs):
    zenith = delivered_w_m(replace(cotter_obs, geodel=1), TIMES_MJD, MWA_POSITION)
    enh = east_north_height_m(cotter_obs)
    np.testing.assert_array_equal(zenith, [enh[:, 2]] * 2)

    azimuth, altitude = np.radians(cotter_obs.az_alt_deg)
    towards = [
        math.sin(azimuth) * math.cos(altitude),
        math.cos(azimuth) * math.cos(altitude),
        math.sin(altitude),
    ]
    pointing = delivered_w_m(replace(cotter_obs, geodel=2), TIMES_MJD, MWA_POSITION)
    np.testing.assert_allclose(pointing, [enh @ towards] * 2, atol=1e-9)
    # the sky turns by less than the observer knows the pointing in these 4 s
    centre = np.radians(cotter_obs.pointing_deg)
    uvw = antenna_uvw_m(TIMES_MJD, tuple(centre), antenna_xyz_m(cotter_obs, MWA_POSITION), MWA_POSITION)
    np.testing.assert_allclose(pointing, uvw[..., 2], atol=np.linalg.norm(enh, axis=1).max() * 1e-3)


@pytest.mark.parametrize("recipe", ["standard", "exact"])
def test_same_centre_as_tracked_leaves_exactly_nothing(tracked_obs, recipe):
    times = 60992.25 + np.arange(5) / 86400
    xyz = antenna_xyz_m(tracked_obs, MWA_POSITION)
    centre = phase_centre_rad(tracked_obs, Options())
    wanted = antenna_uvw_m(times, centre, xyz, MWA_POSITION, 0.1, recipe)[..., 2]
    delivered = delivered_w_m(tracked_obs, times, MWA_POSITION, 0.1, recipe)
    assert (wanted - delivered == 0).all()
    elsewhere = phase_centre_rad(tracked_obs, Options(phase_centre_deg=(230.0, -18.0)))
    assert elsewhere == (math.radians(230), math.radians(-18))
    assert np.abs(antenna_uvw_m(times, elsewhere, xyz, MWA_POSITION)[..., 2] - delivered).max() > 1


def test_delivered_w_equals_the_correlators_table(tracked_obs):
    """The ALTAZ table that the correlator tracked by ignores DUT1; its angles are float32."""
    from astropy.io import fits

    table = fits.getdata(tracked_obs.path, "ALTAZ")
    times = tracked_obs.sched_start_unix_s + (table["gpstime"] - tracked_obs.obsid)
    altitude, azimuth = np.radians(table["Alt"].astype(float)), np.radians(table["Az"].astype(float))
    towards = np.stack(
        [np.sin(azimuth) * np.cos(altitude), np.cos(azimuth) * np.cos(altitude), np.sin(altitude)], axis=-1
    )
    enh = east_north_height_m(tracked_obs)
    expected = towards @ enh.T
    ours = delivered_w_m(tracked_obs, times / 86400 + 40587, MWA_POSITION, 0.0, "exact")
    off_rad = np.abs(ours - expected) / np.linalg.norm(enh, axis=1)
    assert off_rad.max() / ARCSEC < 0.1


def test_phase_centre_choices(cotter_obs):
    plain = phase_centre_rad(cotter_obs, Options())
    assert plain == (0.0, math.radians(-27))
    pointing = phase_centre_rad(cotter_obs, Options(pointing_centre=True))
    assert pointing == tuple(np.radians(cotter_obs.pointing_deg))
    assert phase_centre_rad(replace(cotter_obs, phase_centre_deg=None), Options()) == pointing
