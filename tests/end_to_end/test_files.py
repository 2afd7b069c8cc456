"""uvfits and measurement sets, read back by other packages: sky, axes, times and headers."""

import casacore.tables
import numpy as np
import pytest
from conversions import SPEED_OF_LIGHT_M_S, collect, read_uvfits, write
from pyuvdata import UVData
from sky import AWAY, CENTRE, FLUX_JY, NO_EDGES, Visibilities, assert_sky, simulate_source

import mwaconvert

CONTIGUOUS = {
    "legacy-128": {"coarse_channels": (131,)},
    "mwax-128": {"coarse_channels": (131, 132)},
    "mwax-256": {"coarse_channels": (131,)},
}


@pytest.fixture(scope="module", params=CONTIGUOUS)
def files(request, simulated, tmp_path_factory):
    """A source away from the phase centre, converted without averaging into both formats."""
    sim = simulate_source(simulated, request.param, AWAY, **CONTIGUOUS[request.param])
    plan = mwaconvert.open(sim.metafits).plan(geometry="exact", **NO_EDGES)
    folder = tmp_path_factory.mktemp("files")
    write(plan, folder / "a.uvfits", folder / "a.ms")
    return sim, plan, folder


def time_index(sim, unix_s):
    """Integration of each row; its time must be the middle of one to the microsecond, or so."""
    index = np.rint((unix_s - sim.centroid_unix_s[0]) / sim.instrument.int_time_s).astype(int)
    np.testing.assert_allclose(unix_s, sim.centroid_unix_s[index], rtol=0, atol=1e-4)
    return index


def assert_like_an_imager(found, uvw_m, tolerance_arcsec=0.495):
    """V = S exp(2 pi i (u l + v m + w (n - 1)) f / c), with uvw as written and l, m, n of the J2000 positions:
    what a user sees, and right for the small field in which differential aberration does not matter."""
    (ra0, dec0), (ra, dec) = np.radians(CENTRE), np.radians(AWAY)
    lmn = np.array(
        [
            np.cos(dec) * np.sin(ra - ra0),
            np.sin(dec) * np.cos(dec0) - np.cos(dec) * np.sin(dec0) * np.cos(ra - ra0),
            np.sin(dec) * np.sin(dec0) + np.cos(dec) * np.cos(dec0) * np.cos(ra - ra0) - 1,
        ]
    )
    wavenumber = 2 * np.pi * found.freq_hz / SPEED_OF_LIGHT_M_S
    ratio = found.vis[..., 0] / FLUX_JY * np.exp(-1j * (uvw_m @ lmn)[:, None] * wavenumber)
    allowed = 1e-4 + np.linalg.norm(uvw_m, axis=1)[:, None] * wavenumber * np.radians(tolerance_arcsec / 3600)
    assert (abs(np.angle(ratio)) <= allowed).all()


def test_uvfits_as_it_is(files):
    sim, plan, folder = files
    raw = read_uvfits(folder / "a.uvfits")
    assert (raw["antenna1"] <= raw["antenna2"]).all()
    unix_s = (raw["jd"][0] - 2440587.5 + raw["jd"][1]) * 86400
    order = [0, 2, 3, 1]  # the file has XX, YY, XY, YX
    found = Visibilities(
        raw["vis"][..., order], time_index(sim, unix_s), raw["antenna1"], raw["antenna2"], raw["freq_hz"]
    )
    assert_sky(sim, found)
    assert_like_an_imager(found, raw["uvw_m"])
    np.testing.assert_allclose(raw["uvw_m"], collect(plan).uvw_m.reshape(-1, 3), rtol=1e-7)
    np.testing.assert_array_equal(raw["inttim"], sim.instrument.int_time_s)
    assert (raw["header"]["CRVAL5"], raw["header"]["CRVAL6"]) == pytest.approx(CENTRE)
    assert raw["header"]["CTYPE3"] == "STOKES"
    assert (raw["header"]["CRVAL3"], raw["header"]["CDELT3"]) == (-5, -1)


@pytest.mark.parametrize("name", ["a.uvfits", "a.ms"])
def test_pyuvdata_finds_nothing_missing(files, name):
    """pytest turns warnings into errors."""
    sim, plan, folder = files
    data = UVData()
    data.read(str(folder / name), check_extra=True, run_check=True, run_check_acceptability=True)
    assert data.telescope.name == "MWA"
    assert data.telescope.get_x_orientation_from_feeds() == "east"
    assert data.polarization_array.tolist() == [-5, -6, -7, -8]
    assert len(data.telescope.antenna_names) == sim.instrument.n_antennas

    # its convention: conjugate visibilities, uvw of antenna 2 minus antenna 1
    converted = collect(plan)
    vis = converted.vis.reshape(-1, *converted.vis.shape[2:])
    np.testing.assert_array_equal(data.data_array.conj(), vis[..., [0, 3, 1, 2]])
    np.testing.assert_allclose(-data.uvw_array, converted.uvw_m.reshape(-1, 3), rtol=1e-7, atol=1e-6)
    assert not data.flag_array.any()
    np.testing.assert_array_equal(data.nsample_array, converted.weight.reshape(vis.shape)[..., [0, 3, 1, 2]])
    np.testing.assert_array_equal(data.freq_array, plan.header.spectral_windows[0].freq_hz)
    unix_s = (data.time_array - 2440587.5) * 86400
    found = Visibilities(
        data.data_array[..., [0, 2, 3, 1]].conj(),
        time_index(sim, unix_s),
        data.ant_1_array - data.telescope.antenna_numbers.min(),
        data.ant_2_array - data.telescope.antenna_numbers.min(),
        data.freq_array,
    )
    assert_sky(sim, found)

    # its own geometry, from its own positions and times, moves the phase centre to the source
    data.phase(
        lon=np.radians(AWAY[0]), lat=np.radians(AWAY[1]), cat_name="source", phase_frame="fk5", epoch=2000.0
    )
    length = np.linalg.norm(data.uvw_array, axis=1)[:, None]
    allowed = 1e-4 + 2 * np.pi * length * data.freq_array / SPEED_OF_LIGHT_M_S * 2.4e-6
    assert (abs(np.angle(data.data_array[..., :2])) <= allowed[..., None]).all()


def test_measurement_set_in_casacore(files):
    sim, plan, folder = files
    with casacore.tables.table(str(folder / "a.ms"), ack=False) as table:
        column = {name: table.getcol(name) for name in table.colnames() if table.iscelldefined(name, 0)}
    with casacore.tables.table(f"{folder / 'a.ms'}::SPECTRAL_WINDOW", ack=False) as table:
        freq_hz = table.getcol("CHAN_FREQ")[0]
    index = time_index(sim, column["TIME"] - 40587 * 86400)
    found = Visibilities(column["DATA"], index, column["ANTENNA1"], column["ANTENNA2"], freq_hz)
    assert_sky(sim, found)
    assert_like_an_imager(found, column["UVW"])
    converted = collect(plan)
    np.testing.assert_array_equal(column["UVW"], converted.uvw_m.reshape(-1, 3))
    np.testing.assert_array_equal(column["DATA"], converted.vis.reshape(column["DATA"].shape))
    np.testing.assert_array_equal(column["WEIGHT_SPECTRUM"], converted.weight.reshape(column["DATA"].shape))
    np.testing.assert_array_equal(column["TIME_CENTROID"], column["TIME"])
    np.testing.assert_array_equal(column["EXPOSURE"], sim.instrument.int_time_s)
    np.testing.assert_array_equal(column["INTERVAL"], sim.instrument.int_time_s)
    assert not column["FLAG"].any()


def test_many_antennas_have_one_encoding(files):
    sim, _, folder = files
    raw = read_uvfits(folder / "a.uvfits")
    n = sim.instrument.n_antennas
    a, b = np.triu_indices(n)
    np.testing.assert_array_equal(raw["antenna1"].reshape(-1, len(a)), np.tile(a, (2, 1)))
    np.testing.assert_array_equal(raw["antenna2"].reshape(-1, len(b)), np.tile(b, (2, 1)))
    assert (raw["number"].max() > 65536) == (n > 255)
    assert (raw["number"].min() > 65536) == (n > 255)
