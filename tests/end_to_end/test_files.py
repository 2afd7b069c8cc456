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


def test_times_of_partly_flagged_timesteps(simulated, tmp_path):
    """By hand: 7 integrations of 2 s in 2 channels, averaged by 3; the first is quack, the second lacks the second
    channel, the sixth has a flag of its own, and the last stands alone."""
    sim = simulated(
        like="mwax-128",
        n_tiles=4,
        fine_khz=320.0,
        duration_s=14.0,
        coarse_channels=2,
        noise_jy=1.0,
        missing=("ch=1,t=1",),
    )
    options = {"flag_edge_width_khz": 0.0, "flag_init_s": 2.0, "flag_times": (5,), "sel_time": (0, 6)}
    plan = mwaconvert.open(sim.metafits).plan(time_factor=3, **options)
    plan.run([tmp_path / "a.uvfits", tmp_path / "a.ms"])

    start_s = sim.start_unix_s[0]
    middle_s = start_s + np.array([3, 9, 13])
    # centres at 3 s (one channel) and 5 s (both); at 7 and 9 s
    centroid_s = start_s + np.array([(3 + 2 * 5) / 3, 8, 13])
    exposure_s, interval_s = [4, 4, 2], [6, 6, 2]

    raw = read_uvfits(tmp_path / "a.uvfits")
    unix_s = (raw["jd"][0] - 2440587.5 + raw["jd"][1]) * 86400
    np.testing.assert_allclose(unix_s, np.repeat(centroid_s, 10), rtol=0, atol=1e-4)
    np.testing.assert_array_equal(raw["inttim"], np.repeat(exposure_s, 10))
    # the first DATE alone is good to a few milliseconds
    coarse_s = (raw["jd"][0] - 2440587.5) * 86400
    np.testing.assert_allclose(coarse_s, np.repeat(centroid_s, 10), rtol=0, atol=5e-3)
    assert raw["jd"][1].any()

    with casacore.tables.table(str(tmp_path / "a.ms"), ack=False) as table:
        column = {name: table.getcol(name) for name in table.colnames() if table.iscelldefined(name, 0)}
    mjd_s = 40587 * 86400
    np.testing.assert_allclose(column["TIME"] - mjd_s, np.repeat(middle_s, 10), rtol=0, atol=2e-6)
    np.testing.assert_allclose(column["TIME_CENTROID"] - mjd_s, np.repeat(centroid_s, 10), rtol=0, atol=2e-6)
    np.testing.assert_array_equal(column["INTERVAL"], np.repeat(interval_s, 10))
    np.testing.assert_array_equal(column["EXPOSURE"], np.repeat(exposure_s, 10))

    # uvw are those of the centroid, not of the middle
    uvw = {}
    for name, at_s in (("centroid", centroid_s), ("middle", middle_s)):
        antennas = plan.antenna_uvw_m(at_s / 86400 + 40587)
        uvw[name] = (antennas[:, plan.header.antenna1] - antennas[:, plan.header.antenna2]).reshape(-1, 3)
    np.testing.assert_allclose(column["UVW"], uvw["centroid"], atol=1e-6)
    np.testing.assert_allclose(raw["uvw_m"], uvw["centroid"], rtol=1e-6, atol=1e-6)
    assert abs(uvw["middle"] - uvw["centroid"]).max() > 1e-3


def test_flags_and_weights_in_files(simulated, tmp_path):
    """A negative or zero weight in uvfits, FLAG in measurement sets; both hold the same."""
    sim = simulated(
        like="mwax-128",
        n_tiles=4,
        fine_khz=160.0,
        duration_s=6.0,
        coarse_channels=2,
        noise_jy=1.0,
        flagged_tiles=(2,),
    )
    for average in ({}, {"time_factor": 2, "freq_factor": 2}):
        plan = mwaconvert.open(sim.metafits).plan(flag_fine_chans=(0, 1), overwrite=True, **average)
        report = plan.run([tmp_path / "a.uvfits", tmp_path / "a.ms"])
        converted = collect(plan)
        flags = converted.flags.reshape(-1, *converted.flags.shape[2:])
        weight = converted.weight.reshape(flags.shape)
        raw = read_uvfits(tmp_path / "a.uvfits")
        np.testing.assert_array_equal(raw["weight"][..., [0, 2, 3, 1]], weight)
        np.testing.assert_array_equal((raw["weight"] <= 0)[..., [0, 2, 3, 1]], flags)
        with casacore.tables.table(str(tmp_path / "a.ms"), ack=False) as table:
            np.testing.assert_array_equal(table.getcol("FLAG"), flags)
            np.testing.assert_array_equal(table.getcol("WEIGHT_SPECTRUM"), abs(weight))
            np.testing.assert_array_equal(table.getcol("FLAG_ROW"), flags.all(axis=(1, 2)))
        with casacore.tables.table(f"{tmp_path / 'a.ms'}::ANTENNA", ack=False) as table:
            assert table.getcol("FLAG_ROW").tolist() == [False, False, True, False]
        assert report.occupancy.total == pytest.approx(flags.mean())
        np.testing.assert_allclose(report.occupancy.channel, flags.mean(axis=(0, 2)))
        np.testing.assert_allclose(report.occupancy.timestep, converted.flags.mean(axis=(1, 2, 3)))
        assert report.occupancy.antenna[2] == 1


def test_picket_fence(simulated, tmp_path):
    """One uvfits for each contiguous range; one measurement set with spectral windows, or one for each."""
    sim = simulated(
        like="mwax-128",
        n_tiles=3,
        fine_khz=320.0,
        duration_s=4.0,
        coarse_channels=(62, 63, 69, 125),
        noise_jy=1.0,
    )
    observation = mwaconvert.open(sim.metafits)
    plan = observation.plan(flag_edge_width_khz=0.0)
    report = plan.run([tmp_path / "a.b.uvfits", tmp_path / "a.ms"])
    observation.plan(split=True).run(tmp_path / "s.ms")
    names = ["a.b_ch62-63.uvfits", "a.b_ch69.uvfits", "a.b_ch125.uvfits"]
    assert [output.path.name for output in report.outputs] == [*names, "a.ms"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [*names, "a.ms", "s_ch62-63.ms", "s_ch69.ms", "s_ch125.ms"]
    )

    vis = collect(plan).vis
    vis = vis.reshape(-1, *vis.shape[2:])
    with casacore.tables.table(str(tmp_path / "a.ms"), ack=False) as table:
        assert table.nrows() == 2 * 3 * 6
        for k, (name, number) in enumerate(zip(names, (62, 69, 125), strict=True)):
            raw = read_uvfits(tmp_path / name)
            window = plan.header.spectral_windows[k]
            np.testing.assert_allclose(raw["freq_hz"], window.freq_hz, rtol=1e-15)
            assert raw["freq_hz"][0] == (number - 0.5) * 1.28e6
            np.testing.assert_array_equal(raw["vis"][..., [0, 2, 3, 1]], vis[:, window.channels])
            with table.query(f"DATA_DESC_ID == {k}") as part:
                np.testing.assert_array_equal(part.getcol("DATA"), vis[:, window.channels])
            data = UVData()
            data.read(str(tmp_path / name))
            np.testing.assert_allclose(data.freq_array, window.freq_hz, rtol=1e-15)
    with casacore.tables.table(f"{tmp_path / 'a.ms'}::SPECTRAL_WINDOW", ack=False) as table:
        assert table.getcol("NUM_CHAN").tolist() == [8, 4, 4]


def test_in_memory(mwax, simulated):
    """`to_uvdata` holds what the file would."""
    plan = mwaconvert.open(mwax.metafits).plan(time_factor=2, rfi="none")
    data = plan.to_uvdata()
    converted = collect(plan)
    np.testing.assert_array_equal(
        data.data_array.reshape(plan.n_times, plan.n_rows, -1, 4).conj(), converted.vis[..., [0, 3, 1, 2]]
    )
    np.testing.assert_array_equal(
        data.flag_array.reshape(plan.n_times, plan.n_rows, -1, 4), converted.flags[..., [0, 3, 1, 2]]
    )
    gappy = simulated(like="mwax-128", n_tiles=2, fine_khz=640.0, duration_s=2.0, coarse_channels=(100, 102))
    with pytest.raises(
        mwaconvert.InputError, match="2 separate frequency ranges; choose one with sel_chan_ranges"
    ):
        mwaconvert.open(gappy.metafits).plan().to_uvdata()
