"""Barycentric times and fluences of candidates."""

import doctest
import importlib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from filterbanks import pulse

from mwaconvert.cli.main import main
from mwaconvert.errors import InputError
from mwaconvert.formats.spectra.sigproc_writer import FilterbankWriter
from mwaconvert.spectra.candidate import Candidate
from mwaconvert.spectra.recording import Frame, Recording
from mwaconvert.transients import products
from mwaconvert.transients.barycentre import _SITES, barycentric_mjd
from mwaconvert.transients.flux import Receiver
from mwaconvert.transients.products import SearchRequest

FREQ_MHZ, DT_S, DM = 1200.0 + 4 * np.arange(64), 1e-3, 100.0


def sun_direction(mjd: float) -> np.ndarray:
    """Unit vector to the Sun, to 0.01 degrees (Astronomical Almanac, low precision), and its distance in au."""
    n = mjd - 51544.5
    g = np.radians(357.528 + 0.9856003 * n)
    longitude = (
        np.radians(280.46 + 0.9856474 * n) + np.radians(1.915) * np.sin(g) + np.radians(0.02) * np.sin(2 * g)
    )
    tilt = np.radians(23.439 - 4e-7 * n)
    distance = 1.00014 - 0.01671 * np.cos(g) - 0.00014 * np.cos(2 * g)
    x, y = np.cos(longitude), np.sin(longitude)
    return distance * np.array([x, y * np.cos(tilt), y * np.sin(tilt)])


@pytest.mark.parametrize("mjd", [57000.0, 58100.3, 59000.6, 59200.9])
@pytest.mark.parametrize(("ra_deg", "dec_deg"), [(83.6331, 22.0145), (243.9, -0.2), (0.0, 66.56)])
def test_roemer_delay_is_the_way_around_the_sun(mjd, ra_deg, dec_deg):
    recording = Recording(telescope="Parkes", ra_deg=ra_deg, dec_deg=dec_deg)
    ra, dec = np.radians([ra_deg, dec_deg])
    towards = np.array([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
    heliocentric_s = -499.004784 * sun_direction(mjd) @ towards
    leap_s = 32.184 + (37 if mjd > 57754 else 36 if mjd > 57204 else 35)
    seconds = 86400 * (barycentric_mjd(mjd, recording) - mjd)
    assert seconds == pytest.approx(heliocentric_s + leap_s, abs=5.5)  # the Sun is as far from the barycentre


@pytest.mark.parametrize(
    ("site", "longitude", "latitude"),
    [("parkes", 148.2635, -32.9984), ("gbt", -79.8398, 38.4331), ("mwa", 116.6708, -26.7031),
     ("chime", -119.6237, 49.3207), ("meerkat", 21.4439, -30.7111), ("fast", 106.8566, 25.6530),
     ("arecibo", -66.7528, 18.3442), ("gmrt", 74.0497, 19.0965), ("effelsberg", 6.8828, 50.5247),
     ("wsrt", 6.6333, 52.9153), ("lofar", 6.8698, 52.9151), ("srt", 9.2451, 39.4928),
     ("vla", -107.6184, 34.0790), ("nancay", 2.1975, 47.3801), ("jodrell", -2.3085, 53.2365)],
)  # fmt: skip
def test_telescopes_are_where_they_are(site, longitude, latitude):
    from astropy import units
    from astropy.coordinates import EarthLocation

    place = EarthLocation.from_geocentric(*_SITES[site], unit=units.m)
    assert place.lon.deg == pytest.approx(longitude, abs=0.02)
    assert place.lat.deg == pytest.approx(latitude, abs=0.02)
    assert len(_SITES) == 15


def test_times_that_are_barycentric_already_are_only_dedispersed():
    recording = Recording(frame=Frame.BARYCENTRIC)
    seconds = 86400 * (barycentric_mjd(59000.0, recording, dms=DM, freq_mhz=1400.0) - 59000.0)
    assert seconds == pytest.approx(-DM / 2.41e-4 / 1400**2, abs=2e-6)


def test_what_is_not_known_is_told():
    with pytest.raises(InputError, match=r"telescope \(not named\) is not known: expected arecibo"):
        barycentric_mjd(59000.0, Recording())
    with pytest.raises(InputError, match="direction of the source is not in the file"):
        barycentric_mjd(59000.0, Recording(telescope="GBT"))


def test_fluence_of_an_ideal_pulse():
    """A flux density of one sigma of the noise, S/N times."""
    receiver = Receiver(gain_k_jy=2.0, tsys_k=20.0, bandwidth_mhz=100.0)
    pulse_ = Candidate(time_s=0.0, dm=0.0, snr=10.0, width_s=5e-3)
    sigma_jy = (20.0 / 2.0) / np.sqrt(2 * 100e6 * 5e-3)
    assert receiver.flux_density_jy(pulse_) == pytest.approx(10 * sigma_jy)
    assert receiver.fluence_jy_ms(pulse_) == pytest.approx(50 * sigma_jy)
    with pytest.raises(InputError, match="`tsys_k=0`"):
        Receiver(gain_k_jy=1, tsys_k=0, bandwidth_mhz=1)


@pytest.fixture
def burst(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    data = pulse(FREQ_MHZ, 2000, DT_S, DM, 0.5, 3e-3, 100.0)
    where = Recording(telescope="Parkes", ra_deg=243.90925, dec_deg=-0.25).to_sigproc()
    with FilterbankWriter(Path("a.fil"), FREQ_MHZ, DT_S, 8, start_mjd=59000.0, header=where) as writer:
        writer.write(data)
    return Path("a.fil")


def test_a_search_reports_them(burst):
    request = SearchRequest(
        path=burst,
        dm_min=50,
        dm_max=150,
        barycentric=True,
        gain_k_jy=0.7,
        tsys_k=28,
        mask=((0, 15),),
        scale=True,
    )
    report = products.run(request)
    best = report.candidates[0]
    table = report.to_table()
    want = barycentric_mjd(
        best.mjd,
        Recording(telescope="Parkes", ra_deg=243.90925, dec_deg=-0.25),
        dms=best.dm,
        freq_mhz=FREQ_MHZ[-1],
    )
    assert table["mjd_barycentric"][0] == pytest.approx(want, abs=1e-10)
    receiver = Receiver(gain_k_jy=0.7, tsys_k=28, bandwidth_mhz=48 * 4.0)
    assert table["fluence_jy_ms"][0] == pytest.approx(receiver.fluence_jy_ms(best))
    words = ["search", "a.fil", "--dm-range", "50", "150", "--barycentric", "--gain", "0.7", "--tsys", "28"]
    printed = CliRunner().invoke(main, words)
    assert printed.exit_code == 0, printed.output
    assert f"barycentric MJD (TDB), at infinite frequency: {want:.7f}"[:-1] in printed.output
    assert "fluences (Jy ms): " in printed.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--gain 1", "--gain alone does not make a flux density: give --tsys too"),
        ("--gain 0 --tsys 3", "--gain 0: expected a positive number"),
        ("--barycentric", "a.fil: the place of the telescope (not named) is not known"),
    ],
)
def test_what_is_refused(burst, words, message):
    data = np.zeros((64, 2000), np.uint8)
    with FilterbankWriter(burst, FREQ_MHZ, DT_S, 8, start_mjd=59000.0, overwrite=True) as writer:
        writer.write(data)
    done = CliRunner().invoke(main, ["search", "a.fil", "--dm-range", "50", "150", *words.split()])
    assert done.exit_code != 0
    assert message in (done.output + str(done.exception))


@pytest.mark.parametrize("name", ["barycentre", "flux"])
def test_examples(name):
    found = doctest.testmod(importlib.import_module(f"mwaconvert.transients.{name}"))
    assert (found.failed, found.attempted > 0) == (0, True)
