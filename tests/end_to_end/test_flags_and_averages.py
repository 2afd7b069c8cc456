"""Selections, flags, weights, averages, times and uvw of whole conversions, against the slow twin."""

import functools
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from conversion_twin import Choices, convert_slowly
from conversions import NOTHING, collect, read_uvfits, read_with_mwalib
from reference import standard_geometry

import mwaconvert
from mwaconvert.observation.model import MWA_POSITION

read = functools.cache(read_with_mwalib)
PLAIN = {"flag_edge_width_khz": 0.0, "flag_init_s": 0.0, "flag_dc": False}


def assert_as_defined(metafits, options, choices):
    """Convert with the options, compare everything with what the twin makes of the choices."""
    plan = mwaconvert.open(metafits).plan(**options)
    found = collect(plan)
    header = plan.header
    expected = convert_slowly(read(metafits), metafits, choices)

    np.testing.assert_array_equal(header.antenna1, expected.antenna1)
    np.testing.assert_array_equal(header.antenna2, expected.antenna2)
    freq_hz = np.concatenate([window.freq_hz for window in header.spectral_windows])
    np.testing.assert_allclose(freq_hz, expected.freq_hz, rtol=1e-15)
    assert found.vis.shape == expected.vis.shape
    np.testing.assert_array_equal(found.flags, np.signbit(expected.weight))
    np.testing.assert_allclose(found.weight, expected.weight, rtol=2e-6)
    assert (abs(found.vis - expected.vis) <= 3e-6 * expected.scale).all()

    unix_s = (header.centroid_mjd - 40587) * 86400
    np.testing.assert_allclose((header.time_mjd - 40587) * 86400, expected.middle_s, rtol=0, atol=2e-6)
    np.testing.assert_allclose(unix_s, expected.centroid_s, rtol=0, atol=2e-6)
    np.testing.assert_allclose(header.interval_s, expected.interval_s, rtol=1e-12)
    np.testing.assert_allclose(header.exposure_s, expected.exposure_s, rtol=1e-12)
    enh = np.array([(a.east_m, a.north_m, a.height_m) for a in plan.metadata.antennas])
    place = MWA_POSITION.latitude_rad, MWA_POSITION.longitude_rad
    for t, centroid_s in enumerate(expected.centroid_s):
        mjd = 40587 + (centroid_s + header.dut1_s) / 86400
        uvw = standard_geometry(mjd, *header.phase_centre_rad, enh, *place).uvw_m
        np.testing.assert_allclose(found.uvw_m[t], uvw[header.antenna1] - uvw[header.antenna2], atol=1e-6)
    return plan, found


# MWAX: 6 tiles, the fifth flagged; receiver channels 120, 121 and 123; 7 integrations, of which channel 120
# lacks the first, 121 the third, 123 ends in the last, and all lack the fifth. So the only timestep that all
# have is the second, from which the output starts and the quack time (3 s: two integrations) counts.

GAPPY = Choices(times=range(1, 7), coarse=(0, 1, 2))
DEFAULT = replace(GAPPY, flagged_times=(1, 2), flagged_fine=(0, 15), flagged_antennas=(4,))


@pytest.fixture(scope="session")
def gappy(simulated):
    weights = np.random.default_rng(1).uniform(0.2, 1, (21, 4)).astype(np.float32)
    weights[3, 1] = weights[7] = 0
    sim = simulated(
        like="mwax-128",
        n_tiles=6,
        fine_khz=80.0,
        duration_s=14.0,
        coarse_channels=(120, 121, 123),
        noise_jy=3.0,
        flagged_tiles=(4,),
        quack_s=3.0,
        weights=weights,
        missing=("ch=0,t=0", "ch=1,t=2", "t=4", "last=1,ch=2"),
    )
    assert read(sim.metafits).there.tolist() == [
        [False, True, True],
        [True, True, True],
        [True, False, True],
        [True, True, True],
        [False, False, False],
        [True, True, True],
        [True, True, False],
    ]
    return sim


MWAX_CASES = {
    "default": ({}, DEFAULT),
    "averaged": ({"time_res_s": 4, "freq_res_khz": 320}, replace(DEFAULT, time_factor=2, freq_factor=4)),
    "in time only": ({"time_res_s": 4}, replace(DEFAULT, time_factor=2)),
    "in frequency only": ({"freq_factor": 2}, replace(DEFAULT, freq_factor=2)),
    "with remainders": ({"time_factor": 4, "freq_factor": 5}, replace(DEFAULT, time_factor=4, freq_factor=5)),
    "one output timestep": ({"time_factor": 99}, replace(DEFAULT, time_factor=99)),
    "whole coarse channels": ({"freq_res_khz": 1280.0}, replace(DEFAULT, freq_factor=16)),
    "chosen antennas": (
        {"sel_ants": (5, 0, 2, 4), "sel_autos": False},
        replace(DEFAULT, antennas=(0, 2, 4, 5), autos=False),
    ),
    "without flagged antennas": (
        {"sel_flagged_ants": False, "flag_antennas": (1,)},
        replace(DEFAULT, antennas=(0, 2, 3, 5), flagged_antennas=(1, 4)),
    ),
    "all timesteps": (
        {"sel_time": (0, 6), "flag_times": (3,), "flag_init_s": 0.0},
        replace(DEFAULT, times=range(7), flagged_times=(3,)),
    ),
    "a few timesteps": (
        {"sel_time": (3, 5), "time_factor": 2},
        replace(DEFAULT, times=range(3, 6), flagged_times=(), time_factor=2),
    ),
    "quack in steps": ({"flag_init_steps": 1}, replace(DEFAULT, flagged_times=(1,))),
    "quack before the selection": (
        {"sel_time": (0, 3)},
        replace(DEFAULT, times=range(4), flagged_times=(0, 1, 2)),
    ),
    "all that can be flagged": (
        {
            "flag_autos": True,
            "flag_antennas": (1, 5),
            "flag_metafits": False,
            "flag_coarse_chans": (2,),
            "flag_fine_chans": (3, 4),
            "flag_edge_chans": 2,
            "flag_dc": True,
            "freq_factor": 2,
        },
        replace(
            DEFAULT,
            flag_autos=True,
            flagged_antennas=(1, 5),
            flagged_coarse=(2,),
            flagged_fine=(0, 1, 3, 4, 8, 14, 15),
            freq_factor=2,
        ),
    ),
    "nothing flagged": (
        {**PLAIN, "flag_metafits": False, "time_factor": 3},
        replace(GAPPY, time_factor=3),
    ),
    "weights ignored": (
        {"ignore_weights": True, "time_factor": 2},
        replace(DEFAULT, use_weights=False, time_factor=2),
    ),
    "nothing corrected": (
        {
            **NOTHING,
            "time_factor": 2,
            "freq_factor": 4,
        },
        replace(DEFAULT, corrected=False, time_factor=2, freq_factor=4),
    ),
    "another phase centre": (
        {"phase_centre_deg": (359.0, -28.5), "time_factor": 3},
        replace(DEFAULT, centre_deg=(359.0, -28.5), time_factor=3),
    ),
    "ranges": ({"sel_chan_ranges": ((2, 2), (0, 0))}, replace(DEFAULT, coarse=(0, 2))),
    "everything flagged": (
        {"flag_init_s": 1000.0, "time_factor": 2},
        replace(DEFAULT, flagged_times=range(7), time_factor=2),
    ),
}


@pytest.mark.parametrize("case", MWAX_CASES)
def test_mwax(gappy, case):
    options, choices = MWAX_CASES[case]
    assert_as_defined(gappy.metafits, options, choices)


def test_spectral_windows(gappy):
    observation = mwaconvert.open(gappy.metafits)
    windows = observation.plan(freq_factor=4).header.spectral_windows
    assert [window.coarse for window in windows] == [(0, 1), (2,)]
    assert [window.channels for window in windows] == [slice(0, 8), slice(8, 12)]
    # edge flags of 80 kHz leave 3 channels of the outer output channels, centres and widths stay
    np.testing.assert_allclose(windows[1].effective_hz, [240e3, 320e3, 320e3, 240e3])
    np.testing.assert_allclose(windows[1].width_hz, 320e3)
    windows = observation.plan(freq_factor=5).header.spectral_windows
    np.testing.assert_allclose(windows[1].width_hz, [400e3, 400e3, 400e3, 80e3])


def test_missing_coarse_channel_inside_a_range(simulated):
    """It is kept, empty and flagged, if asked for; otherwise it parts the band."""
    sim = simulated(
        like="mwax-128",
        n_tiles=4,
        fine_khz=160.0,
        duration_s=4.0,
        coarse_channels=4,
        noise_jy=1.0,
        missing=("ch=1",),
    )
    choices = Choices(times=range(2), coarse=(0, 1, 2))
    plan, found = assert_as_defined(sim.metafits, {**PLAIN, "sel_chan_ranges": ((0, 2),)}, choices)
    assert len(plan.header.spectral_windows) == 1
    assert found.flags[:, :, 8:16].all()
    assert not found.vis[:, :, 8:16].any()
    plan, _ = assert_as_defined(sim.metafits, PLAIN, replace(choices, coarse=(0, 2, 3)))
    assert [window.coarse for window in plan.header.spectral_windows] == [(0,), (2, 3)]


def test_end_flags(mwax):
    choices = Choices(times=range(6), coarse=(0, 1), flagged_times=(4, 5), time_factor=4)
    for asked in ({"flag_end_s": 3.0}, {"flag_end_steps": 2}, {"flag_end_s": 4.0}):
        assert_as_defined(mwax.metafits, {**PLAIN, **asked, "time_factor": 4}, choices)


def test_half_second_batches(simulated):
    """Starts between whole seconds are in MILLITIM; files end where they end."""
    sim = simulated(
        like="mwax-128",
        n_tiles=3,
        fine_khz=320.0,
        int_time_s=0.5,
        duration_s=5.0,
        batch_s=2.0,
        noise_jy=1.0,
        missing=("t=3",),
    )
    assert len(sim.raw) == 3
    choices = Choices(times=range(10), coarse=(0,), time_factor=3)
    plan, _ = assert_as_defined(sim.metafits, {**PLAIN, "time_res_s": 1.5}, choices)
    # the second output timestep has lost its first third
    assert plan.header.exposure_s.tolist() == [1.5, 1.0, 1.5, 0.5]
    shift_s = (plan.header.centroid_mjd - plan.header.time_mjd) * 86400
    np.testing.assert_allclose(shift_s, [0, 0.25, 0, 0], atol=2e-6)


# legacy: real channels of 40 kHz, a few antennas of 128

LEGACY_CASES = {
    # edges of 80 kHz, and the channel at the centre
    "default": ({}, {"flagged_fine": (0, 1, 16, 30, 31)}),
    "averaged": (
        {"time_res_s": 4, "freq_res_khz": 160},
        {"flagged_fine": (0, 1, 16, 30, 31), "time_factor": 2, "freq_factor": 4},
    ),
    "with remainders": (
        {**PLAIN, "time_factor": 2, "freq_factor": 7, "flag_fine_chans": (28, 29, 30, 31)},
        {"flagged_fine": (28, 29, 30, 31), "time_factor": 2, "freq_factor": 7},
    ),
    "nothing corrected": (
        {
            **PLAIN,
            **NOTHING,
            "freq_factor": 32,
        },
        {"corrected": False, "freq_factor": 32},
    ),
}


@pytest.mark.parametrize("form", [{}, {"compress": True}], ids=["float32", "Rice"])
@pytest.mark.parametrize("case", LEGACY_CASES)
def test_legacy(simulated, case, form):
    sim = simulated(
        like="legacy-128",
        fine_khz=40.0,
        duration_s=6.0,
        coarse_channels=(128, 130),
        noise_jy=20.0,
        missing=("ch=1,t=1",),
        **form,
    )
    options, choices = LEGACY_CASES[case]
    antennas = (0, 1, 5, 63, 64, 100, 127)
    choices = Choices(times=range(3), coarse=(0, 1), antennas=antennas, **choices)
    assert_as_defined(sim.metafits, {"sel_ants": antennas, **options}, choices)


# NaN and infinity


@pytest.mark.parametrize(("kind", "averaged"), [("mwax", False), ("mwax", True), ("legacy", True)])
def test_values_that_are_no_numbers(request, kind, averaged, link_files, tmp_path):
    """They are flagged, counted in the report, and enter no mean."""
    observation = request.getfixturevalue(kind)
    metafits = link_files(observation, tmp_path)
    legacy = observation.instrument.correlator == "legacy"
    rng = np.random.default_rng(3)
    with fits.open(metafits.parent / observation.raw[0].name, mode="update", memmap=False) as hdus:
        for value in (np.nan, np.inf, -np.inf):
            for hdu in hdus[1:3] if legacy else hdus[1:4:2]:
                hdu.data[tuple(rng.integers(hdu.data.shape))] = value
    factors = {"time_factor": 2, "freq_factor": 2} if averaged else {}
    n_times, n_coarse = len(observation.start_unix_s), len(observation.coarse)
    choices = Choices(range(n_times), range(n_coarse), corrected=False, **factors)
    plan, found = assert_as_defined(metafits, {**NOTHING, **PLAIN, **factors}, choices)
    assert np.isfinite(found.vis).all()

    report = plan.run(tmp_path / "out.uvfits")
    assert np.isfinite(read_uvfits(tmp_path / "out.uvfits")["vis"]).all()
    rule = next(rule for rule in report.flag_counts if rule.name == "NaN or infinity")
    assert rule.cells == convert_slowly(read(metafits), metafits, choices).bad_cells.sum() >= 4
    assert any("NaN or infinite" in note for note in report.notes)
