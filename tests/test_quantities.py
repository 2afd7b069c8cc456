"""Quantities, directions and times of astropy stand for the numbers that names with a unit hold."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.time import Time

import mwaconvert
from mwaconvert.errors import InputError
from mwaconvert.quantities import bare
from mwaconvert.simulate import simulate
from mwaconvert.spectra.spectra import Spectra
from mwaconvert.transients.products import SearchRequest


def test_options_of_a_plan(small):
    observation = mwaconvert.open(small)
    with_units = observation.plan(
        time_res_s=4000 * u.ms,
        freq_res_khz=0.08 * u.MHz,
        phase_centre_deg=SkyCoord("00h02m00s -26d30m00s"),
        flag_edge_width_khz=80_000 * u.Hz,
        max_memory_gib=2 * u.Gibyte,
        rfi="none",
    )
    bare_numbers = observation.plan(
        time_res_s=4,
        freq_res_khz=80,
        phase_centre_deg=(0.5, -26.5),
        flag_edge_width_khz=80,
        max_memory_gib=2,
        rfi="none",
    )
    assert with_units.options.phase_centre_deg == pytest.approx((0.5, -26.5), abs=1e-12)
    assert with_units.n_times == bare_numbers.n_times
    np.testing.assert_array_equal(with_units.header.interval_s, bare_numbers.header.interval_s)
    assert with_units.options.freq_res_khz == 80
    assert with_units.options.max_memory_gib == 2


def test_galactic_directions_are_turned():
    ra, dec = bare("phase_centre_deg", SkyCoord(l=0 * u.deg, b=0 * u.deg, frame="galactic"))
    assert (ra, dec) == pytest.approx((266.405, -28.936), abs=1e-3)
    assert bare("phase_centre_deg", (10 * u.deg, -30 * u.arcmin)) == (10, -0.5)


def test_spectra_and_their_methods():
    rng = np.random.default_rng(1)
    data = rng.normal(100, 10, (16, 3000))
    plain = Spectra(data, 1200 + 10.0 * np.arange(16), 1e-3, start_mjd=60000.5)
    made = Spectra(
        data,
        (1.2 + 0.01 * np.arange(16)) * u.GHz,
        1 * u.ms,
        start_mjd=Time("2023-02-25T12:00:00", scale="utc"),
    )
    np.testing.assert_allclose(made.freq_mhz, plain.freq_mhz, rtol=1e-12)
    assert type(made.freq_mhz) is np.ndarray
    assert (made.dt_s, made.start_mjd) == (plain.dt_s, plain.start_mjd)
    dm = u.pc / u.cm**3
    np.testing.assert_array_equal(made.dedisperse(50 * dm).data, plain.dedisperse(50).data)
    np.testing.assert_array_equal(made.series([10, 20] * dm), plain.series([10, 20]))
    np.testing.assert_array_equal(made.search(0 * dm, dm_max=50 * dm).snr, plain.search(0, 50).snr)


def test_requests(tmp_path):
    dm = u.pc / u.cm**3
    request = SearchRequest(path=tmp_path / "a.fil", dm_min=10 * dm, dm_max=50 * dm, start_s=1 * u.min)
    assert (request.start_s, request.dm_min, request.dm_max) == (60, 10, 50)


def test_a_simulation_begins_at_a_time(tmp_path):
    made = simulate(tmp_path, obsid=Time(1412607288, format="gps"), duration_s=4 * u.s, n_tiles=2)
    assert made.metafits.name == "1412607288.metafits"


@pytest.mark.parametrize(
    ("name", "value", "number"),
    [
        ("k_dm", 4.149 * u.GHz**2 * u.ms * u.cm**3 / u.pc, 4149),
        ("gain_k_jy", 0.01 * u.K / u.mJy, 10),
        ("tsys_k", 25_000 * u.mK, 25),
        ("phase_centre", (1 * u.rad, 1 * u.rad), (np.degrees(1), np.degrees(1))),
    ],
)
def test_units_of_names(name, value, number):
    assert bare(name, value) == pytest.approx(number)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("time_res_s", 3 * u.MHz, "`time_res_s` is 3.0 MHz; expected s"),
        ("threads", 3 * u.s, "`threads` is 3.0 s; expected a number without unit"),
        ("time_res_s", Time(60000, format="mjd"), "expected no time"),
        ("time_res_s", SkyCoord(0 * u.deg, 0 * u.deg), "expected no direction"),
        ("start_mjd", Time([60000, 60001], format="mjd"), "`start_mjd` has 2 values; expected one"),
        ("phase_centre", SkyCoord([0, 1, 2] * u.deg, 0 * u.deg), "`phase_centre` has 3 values; expected one"),
        ("k_dm", 4149 * u.pc / u.cm**3, "expected MHz2 s cm3 / pc"),
        ("gain_k_jy", 10 * u.Jy, "expected K / Jy"),
    ],
)
def test_another_kind_is_refused(name, value, sentence):
    with pytest.raises(InputError, match=sentence.replace("(", r"\(")):
        bare(name, value)
