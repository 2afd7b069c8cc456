"""Simulated observations: mwalib must read back exactly what was simulated."""

from pathlib import Path

import erfa
import mwalib
import numpy as np
import pytest
from astropy.io import fits

from mwaconvert.errors import InputError, ResourceError
from mwaconvert.simulate import parse_missing, read_sky, simulate
from mwaconvert.simulate.metafits import read_instrument
from mwaconvert.simulate.passband import passband
from mwaconvert.simulate.rfi import make_rfi
from mwaconvert.simulate.sky import directions

LIGHT_MS = 299792458.0
SOURCES = [(3.0, -25.0, 5.0, -0.8), (356.0, -30.0, 2.0)]
#: small observations of each kind
LEGACY = {"like": "legacy-128", "fine_khz": 320, "duration_s": 4, "coarse_channels": 2}
MWAX = {"like": "mwax-128", "fine_khz": 160, "duration_s": 4, "coarse_channels": 2, "n_tiles": 9}


def context(sim):
    return mwalib.CorrelatorContext(str(sim.metafits), [str(path) for path in sim.raw])


def read(ctx, time, coarse):
    """(n_baselines, n_fine, 4) complex, as mwalib reads it"""
    floats = ctx.read_by_baseline(time, coarse)
    return floats.reshape(len(floats), -1, 4, 2).astype(np.float64).view(np.complex128)[..., 0]


def frequencies_hz(sim, meta):
    """(n_coarse, n_fine) as mwalib has them; it knows no other legacy widths than 10, 20 and 40 kHz"""
    width = sim.instrument.fine_width_hz
    unknown = sim.instrument.correlator == "legacy" and width > 40e3
    freq = np.array(meta.metafits_fine_chan_freqs_hz).reshape(len(sim.instrument.channels), -1)
    return freq + (width - 10e3) / 2 if unknown else freq


def instrument_response(sim, ctx, coarse):
    """(n_baselines, n_fine, 4) cables, gains and passband, by what mwalib says of the inputs"""
    meta = ctx.metafits_context
    freq = frequencies_hz(sim, meta)[coarse]
    inputs = [[antenna.rfinput_x, antenna.rfinput_y] for antenna in meta.antennas]
    length = np.array([[i.electrical_length_m for i in pair] for pair in inputs])
    gain = np.array([[i.digital_gains[coarse] for i in pair] for pair in inputs])
    if sim.instrument.cabledel:
        length[:] = 0
    ant1, ant2 = np.triu_indices(len(inputs))
    band = passband(sim.instrument.correlator, False, len(freq))
    columns = []
    for p in range(2):
        for q in range(2):
            delay = length[ant2, q] - length[ant1, p]
            phase = np.exp(2j * np.pi * delay[:, None] * freq / LIGHT_MS)
            columns.append(phase * (gain[ant1, p] * gain[ant2, q])[:, None] * band)
    return np.stack(columns, axis=-1)


# the model


@pytest.mark.parametrize(
    ("correlator", "oversampled", "n_fine", "golden"),
    [
        ("legacy", False, 32, ".508289 .568699 .676643 .796744 .897511 .963205 .994968 1.003952 1.002838"),
        ("mwax", False, 32, ".503146 .538848 .632758 .752547 .863388 .942913 .986436 1.002399 1.003768"),
        ("mwax", False, 16, ".512294 .636010 .859325 .982958 1.003313 1.000253 1.002515 1.002205 1.000253"),
        ("mwax", True, 32, ".969844 1.044934 1.049811 1.000461 .963905 .967734 .997559 1.020446"),
    ],
)
def test_passband_matches_published_numbers(correlator, oversampled, n_fine, golden):
    numbers = [float(word) for word in golden.split()]
    found = passband(correlator, oversampled, n_fine)
    assert len(found) == n_fine
    np.testing.assert_allclose(found[: len(numbers)], numbers, atol=1.1e-6)


def test_passband_of_odd_channel_numbers_is_centred():
    for n_fine in (1, 5, 25):
        band = passband("mwax", False, n_fine)
        np.testing.assert_allclose(band, band[::-1], atol=1e-12)
    # 256 channels of 5 kHz: 25 table values each, whole weights
    np.testing.assert_allclose(
        passband("mwax", False, 256)[1:], passband("mwax", False, 256)[:0:-1], atol=1e-12
    )


def test_directions_agree_with_sidereal_time_and_apparent_place():
    unix_s = np.array([1570635176.0, 1728572070.0])
    ra, dec = np.array([10.0, 300.0]), np.array([-27.0, 5.0])
    found = directions(ra, dec, unix_s)
    lat, lon = -0.4660608448386394, 2.0362898668561042
    for t, (unix, dut1) in enumerate(zip(unix_s, (-0.1515, 0.0602), strict=True)):
        utc = unix / 86400 + 40587
        ut1, tt = utc + dut1 / 86400, utc + 69.184 / 86400
        (_, barycentric) = erfa.epv00(2400000.5, tt)
        velocity = barycentric["v"] * 0.00577551833
        gamma = np.sqrt(1 - velocity @ velocity)
        sidereal = erfa.gst06a(2400000.5, ut1, 2400000.5, tt) + lon
        for s in range(2):
            n = erfa.s2c(np.radians(ra[s]), np.radians(dec[s]))
            n = gamma * n + (1 + n @ velocity / (1 + gamma)) * velocity
            app_ra, app_dec = erfa.c2s(erfa.pnm06a(2400000.5, tt) @ n)
            az, alt = erfa.hd2ae(sidereal - app_ra, app_dec, lat)
            enu = [np.cos(alt) * np.sin(az), np.cos(alt) * np.cos(az), np.sin(alt)]
            # left out here: polar motion, diurnal aberration, deflection by the Sun
            assert np.linalg.norm(found[t, s] - enu) < np.radians(0.8 / 3600)


# what mwalib reads


@pytest.mark.parametrize("kind", [LEGACY, {**LEGACY, "fine_khz": 40, "duration_s": 2}, MWAX], ids=str)
def test_mwalib_reads_the_sky(tmp_path, kind):
    sim = simulate(tmp_path, **kind, sources=SOURCES)
    ctx = context(sim)
    n_times = len(sim.start_unix_s)
    assert ctx.common_timestep_indices == list(range(n_times))
    np.testing.assert_allclose(
        frequencies_hz(sim, ctx.metafits_context), sim.instrument.fine_freq_hz, rtol=1e-15
    )
    ant1, ant2 = np.triu_indices(sim.instrument.n_antennas)
    for coarse in range(2):
        response = instrument_response(sim, ctx, coarse)
        freq = sim.instrument.fine_freq_hz[coarse]
        for time in range(n_times):
            expected = 0
            for ra, dec, flux, *index in SOURCES:
                w = sim.delay_m(ra, dec)[time]
                phase = np.exp(2j * np.pi * (w[ant1] - w[ant2])[:, None] * freq / LIGHT_MS)
                expected = expected + phase * flux * (freq / 150e6) ** (index[0] if index else 0)
            np.testing.assert_allclose(sim.sky(time, coarse), expected, atol=1e-9)
            expected = expected[..., None] * response * [1, 0, 0, 1]
            np.testing.assert_allclose(read(ctx, time, coarse), expected, atol=1e-5)


def test_many_sources_some_below_the_horizon(tmp_path):
    rng = np.random.default_rng(2)
    sources = [
        (ra, dec, 1.0) for ra, dec in zip(rng.uniform(-40, 40, 60), rng.uniform(-60, 10, 60), strict=True)
    ]
    one = simulate(tmp_path / "one", **MWAX, sources=sources)
    two = simulate(tmp_path / "two", **MWAX, sources=[*sources, (180.0, 30.0, 1000.0)])
    found = read(context(one), 1, 1)
    expected = one.sky(1, 1)[..., None] * instrument_response(one, context(one), 1) * [1, 0, 0, 1]
    np.testing.assert_allclose(found, expected, atol=2e-4)
    np.testing.assert_allclose(read(context(two), 1, 1), found, atol=2e-4)


@pytest.mark.parametrize("kind", [LEGACY, MWAX], ids=str)
def test_interference_has_all_polarisations(tmp_path, kind):
    """X and Y differ in gains and cables, so that a swap of XY and YX or a lost conjugate shows."""
    sim = simulate(tmp_path, **{**kind, "duration_s": 2}, sources=[], rfi_fraction=1.0)
    ctx = context(sim)
    ant1, ant2 = np.triu_indices(sim.instrument.n_antennas)
    for coarse in range(2):
        w = sim.enu_m @ sim.rfi.enu
        freq = sim.instrument.fine_freq_hz[coarse]
        expected = np.exp(2j * np.pi * (w[ant1] - w[ant2])[:, None] * freq / LIGHT_MS)
        expected = (expected * sim.rfi.amplitude_jy[0, coarse])[..., None]
        expected = expected * instrument_response(sim, ctx, coarse)
        found = read(ctx, 0, coarse)
        np.testing.assert_allclose(found, expected, atol=2e-6 * abs(expected).max())
        autos = found[ant1 == ant2]
        np.testing.assert_array_equal(autos[..., 2], autos[..., 1].conj())
        assert np.all(autos[..., [0, 3]].imag == 0)


@pytest.mark.parametrize("kind", [LEGACY, MWAX], ids=str)
def test_noise(tmp_path, kind):
    sim = simulate(tmp_path, **kind, sources=[], noise_jy=3.0)
    ctx = context(sim)
    response = instrument_response(sim, ctx, 1)
    vis = read(ctx, 1, 1) / response
    ant1, ant2 = np.triu_indices(sim.instrument.n_antennas)
    cross, autos = vis[ant1 != ant2], vis[ant1 == ant2]
    for pol in range(4):
        part = cross[..., pol]
        sigma = 3.0 / np.sqrt(2 * part.size)
        assert abs(part.mean()) < 6 * sigma
        for numbers in (part.real, part.imag):
            assert numbers.std() == pytest.approx(3.0, abs=5 * sigma)
    power = 3.0 * np.sqrt(2 * sim.instrument.fine_width_hz * sim.instrument.int_time_s)
    for pol in (0, 3):
        assert np.all(autos[..., pol].imag == 0)
        assert autos[..., pol].real.mean() == pytest.approx(power, rel=0.01)
    np.testing.assert_allclose(autos[..., 2], autos[..., 1].conj(), rtol=1e-5)


def test_noise_depends_on_the_seed_only(tmp_path):
    kind = {**MWAX, "noise_jy": 1.0, "rfi_fraction": 0.1, "batch_s": 2}
    first = simulate(tmp_path / "a", **kind, seed=5)
    again = simulate(tmp_path / "b", **kind, seed=5, missing=["ch=0,t=0"])
    other = simulate(tmp_path / "c", **kind, seed=6)
    assert [path.name for path in first.raw[1:]] == [path.name for path in again.raw]
    for a, b in zip(first.raw[1:], again.raw, strict=True):
        assert a.read_bytes() == b.read_bytes()
    for a, c in zip(first.raw, other.raw, strict=True):
        assert a.read_bytes() != c.read_bytes()


def test_mwax_256_tiles(tmp_path):
    sim = simulate(tmp_path, "mwax-256", fine_khz=640, duration_s=2, sources=SOURCES)
    ctx = context(sim)
    assert ctx.metafits_context.num_ants == 256
    expected = sim.sky(0, 0)[..., None] * instrument_response(sim, ctx, 0) * [1, 0, 0, 1]
    np.testing.assert_allclose(read(ctx, 0, 0), expected, atol=1e-5)


def test_weights(tmp_path):
    weights = np.random.default_rng(1).random((45, 4)).astype(np.float32)
    sim = simulate(tmp_path, **MWAX, weights=weights)
    np.testing.assert_array_equal(context(sim).read_weights_by_baseline(1, 1), weights)
    with pytest.raises(InputError, match="weights"):
        simulate(tmp_path / "bad", **MWAX, weights=np.ones((3, 4), np.float32))


# integers


@pytest.mark.parametrize("bscale", [0.5, 0.001])
def test_legacy_integers(tmp_path, bscale):
    sim = simulate(tmp_path, **LEGACY, sources=SOURCES, bscale=bscale)
    ctx = context(sim)
    expected = sim.sky(1, 1)[..., None] * instrument_response(sim, ctx, 1) * [1, 0, 0, 1]
    difference = read(ctx, 1, 1) - expected
    worst = max(abs(difference.real).max(), abs(difference.imag).max())
    assert 0.4 * bscale < worst < 0.5 * bscale + 1e-5
    with fits.open(sim.raw[0], do_not_scale_image_data=True) as hdus:
        assert hdus[1].header["BITPIX"] == 32
        assert hdus[1].header["BSCALE"] == bscale


def test_rice_files_hold_the_same_integers(tmp_path):
    kind = {**LEGACY, "sources": SOURCES, "noise_jy": 4.0, "rfi_fraction": 0.02}
    plain = simulate(tmp_path / "plain", **kind, bscale=0.25)
    rice = simulate(tmp_path / "rice", **kind, compress=True)
    assert sum(p.stat().st_size for p in rice.raw) < 0.5 * sum(p.stat().st_size for p in plain.raw)
    for a, b in zip(plain.raw, rice.raw, strict=True):
        assert a.name == b.name
        with fits.open(a) as one, fits.open(b) as two, fits.open(b, disable_image_compression=True) as table:
            assert len(one) == len(two) == 3
            for k in (1, 2):
                header = table[k].header
                assert header["ZCMPTYPE"] == "RICE_1"
                assert header["ZTILE1"] == header["ZNAXIS1"] == 66048
                assert header["NAXIS2"] == header["ZNAXIS2"] == 4
                assert header["EXTNAME"] == "COMPRESSED_IMAGE"
                np.testing.assert_array_equal(one[k].data, two[k].data)
    one, two = context(plain), context(rice)
    np.testing.assert_array_equal(read(one, 1, 1), read(two, 1, 1))


def test_rice_step_resolves_a_sky_without_noise(tmp_path):
    sim = simulate(tmp_path, **LEGACY, sources=SOURCES, compress=True)
    ctx = context(sim)
    expected = sim.sky(0, 0)[..., None] * instrument_response(sim, ctx, 0) * [1, 0, 0, 1]
    np.testing.assert_allclose(read(ctx, 0, 0), expected, atol=2e-4)


# times, channels, gaps


def test_half_second_batches(tmp_path):
    sim = simulate(tmp_path, **{**MWAX, "duration_s": 3, "int_time_s": 0.5, "batch_s": 1}, noise_jy=1.0)
    assert len(sim.raw) == 6
    assert sim.raw[1].name == f"{sim.instrument.obsid}_20241010145431_ch131_001.fits"
    ctx = context(sim)
    times = [step.unix_time_ms for step in ctx.timesteps]
    assert times == [round(1000 * t) for t in sim.start_unix_s]
    assert times[1] - times[0] == 500
    assert ctx.common_timestep_indices == list(range(6))
    assert ctx.metafits_context.corr_int_time_ms == 500
    with fits.open(sim.raw[1]) as hdus:
        assert [hdu.header["MILLITIM"] for hdu in hdus] == [0, 0, 0, 500, 500]
        assert [hdu.header["MARKER"] for hdu in hdus] == [2, 2, 2, 3, 3]


def test_legacy_half_second_batches(tmp_path):
    kind = {**LEGACY, "fine_khz": 640, "duration_s": 2, "int_time_s": 0.5, "batch_s": 1, "coarse_channels": 1}
    sim = simulate(tmp_path, **kind)
    ctx = context(sim)
    assert [path.name[-17:] for path in sim.raw] == ["_gpubox01_00.fits", "_gpubox01_01.fits"]
    assert [step.unix_time_ms for step in ctx.timesteps] == [round(1000 * t) for t in sim.start_unix_s]


def test_picket_fence_and_reversed_boxes(tmp_path):
    channels = (62, 63, 127, 130, 140)
    sim = simulate(tmp_path, **{**LEGACY, "fine_khz": 640, "duration_s": 2, "coarse_channels": channels})
    ctx = context(sim)
    found = [(channel.rec_chan_number, channel.gpubox_number) for channel in ctx.coarse_chans]
    assert found == [(62, 1), (63, 2), (127, 3), (130, 5), (140, 4)]
    assert [path.name.split("_")[2] for path in sim.raw] == [f"gpubox{box:02d}" for box in (1, 2, 3, 5, 4)]
    for coarse in range(5):
        expected = sim.sky(0, coarse)[..., None] * instrument_response(sim, ctx, coarse) * [1, 0, 0, 1]
        np.testing.assert_allclose(read(ctx, 0, coarse), expected, atol=2e-5)


@pytest.mark.parametrize("kind", [LEGACY, MWAX], ids=str)
def test_missing_and_late_files(tmp_path, kind):
    kind = {**kind, "fine_khz": 640, "duration_s": 10, "coarse_channels": 3, "batch_s": 6}
    sim = simulate(tmp_path, **kind, missing=["ch=0,t=0-1", "ch=1,t=3"])
    ctx = context(sim)
    assert ctx.provided_timestep_indices == [0, 1, 2, 3, 4]
    assert ctx.common_timestep_indices == [2]
    expected = np.ones((5, 3), bool)
    expected[:2, 0] = expected[3, 1] = False
    np.testing.assert_array_equal(sim.present.hdus, expected)
    for time in range(5):
        for coarse in range(3):
            if expected[time, coarse]:
                ctx.read_by_baseline(time, coarse)
            else:
                with pytest.raises(Exception, match="No data"):
                    ctx.read_by_baseline(time, coarse)
    # a late file says so in its name and primary header
    with fits.open(sim.raw[0]) as hdus:
        assert hdus[0].header["TIME"] == hdus[1].header["TIME"] == int(sim.start_unix_s[2])
    assert sim.raw[0].name.split("_")[1].endswith("34" if kind["like"] == "mwax-128" else "38")


def test_missing_channel_and_truncated_file(tmp_path):
    kind = {**MWAX, "coarse_channels": 3, "duration_s": 6}
    whole = simulate(tmp_path / "whole", **kind)
    sim = simulate(tmp_path / "cut", **kind, missing=["ch=0", "ch=2,last=1"])
    assert [path.name for path in sim.raw] == [path.name for path in whole.raw[1:]]
    assert sim.raw[0].read_bytes() == whole.raw[1].read_bytes()
    cut, full = sim.raw[1].read_bytes(), whole.raw[2].read_bytes()
    assert full.startswith(cut)
    assert len(full) * 2 / 3 < len(cut) < len(full)
    assert context(sim).provided_coarse_chan_indices == [1, 2]
    both = simulate(tmp_path / "both", **kind, missing=["last=2"])
    assert all(path.stat().st_size < len(full) / 1.5 for path in both.raw)


def test_missing_grammar():
    present = parse_missing(["ch=1-2, t=3", "t=0", "last=2,ch=0"], 4, 3)
    np.testing.assert_array_equal(present.hdus, [[False] * 3, [True] * 3, [True] * 3, [True, False, False]])
    assert present.cut == (2, 0, 0)
    for bad in (
        "",
        "x=1",
        "ch",
        "ch=",
        "ch=3",
        "t=2-1",
        "t=-1",
        "ch=1,ch=2",
        "t=1,last=1",
        "last=5",
        "ch=1.5",
    ):
        with pytest.raises(InputError, match="missing data"):
            parse_missing([bad], 4, 3)
    with pytest.raises(InputError, match="nothing is left"):
        parse_missing(["ch=0-2"], 4, 3)


# metafits


def test_metafits_is_consistent(tmp_path):
    sim = simulate(tmp_path, **MWAX, quack_s=1, flagged_tiles=[2, 5], phase_centre=(2.5, -28.0))
    meta = mwalib.MetafitsContext(str(sim.metafits), None)
    assert meta.obs_id == sim.instrument.obsid == 1412607288
    assert meta.sched_start_unix_time_ms == round(1000 * sim.start_unix_s[0])
    assert meta.sched_start_utc.isoformat().startswith(fits.getheader(sim.metafits)["DATE-OBS"])
    assert meta.sched_start_mjd == pytest.approx(sim.start_unix_s[0] / 86400 + 40587, abs=1e-9)
    assert meta.good_time_unix_ms - meta.sched_start_unix_time_ms == meta.quack_time_duration_ms == 1000
    assert meta.sched_duration_ms == 4000
    assert (meta.ra_phase_center_degrees, meta.dec_phase_center_degrees) == sim.phase_centre_deg == (2.5, -28)
    assert [a.ant for a in meta.antennas if a.rfinput_x.flagged] == [2, 5]
    np.testing.assert_allclose([[a.east_m, a.north_m] for a in meta.antennas], sim.enu_m[:, :2], rtol=1e-6)
    # the pointing is the zenith
    pointing = directions(
        np.array([meta.ra_tile_pointing_degrees]),
        np.array([meta.dec_tile_pointing_degrees]),
        sim.start_unix_s[:1],
    )
    np.testing.assert_allclose(pointing[0, 0], [0, 0, 1], atol=1e-6)
    # LST and DUT1 are those of the start
    mjd = sim.start_unix_s[0] / 86400 + 40587
    sidereal = erfa.gst06a(2400000.5, mjd + meta.dut1 / 86400, 2400000.5, mjd + 69.184 / 86400)
    assert np.degrees(sidereal + 2.0362898668561042) % 360 == pytest.approx(meta.lst_deg, abs=1e-6)
    assert abs(meta.dut1) < 0.9


@pytest.mark.parametrize("name", ["legacy-128", "mwax-128", "mwax-256"])
def test_built_in_arrays(tmp_path, name):
    sim = simulate(tmp_path, name, fine_khz=1280, int_time_s=1, duration_s=1, missing=[])
    instrument = sim.instrument
    enu = sim.enu_m
    distance = np.linalg.norm(enu[:, None, :2] - enu[None, :, :2], axis=2) + np.diag(np.full(len(enu), 99))
    assert distance.min() > 5
    assert 1400 < np.hypot(enu[:, 0], enu[:, 1]).max() < 3000
    assert len(set(instrument.inputs.ravel())) == 2 * instrument.n_antennas
    assert np.any(instrument.inputs[:, 0] != 2 * np.arange(instrument.n_antennas) + 1)
    assert np.any(instrument.cable_m[:, 0] != instrument.cable_m[:, 1])


def test_like_real_metafits(tmp_path, mwa_data):
    """Every vintage at hand: mwalib and the simulation agree on cables, gains, frequencies."""
    paths = [
        p for p in sorted(mwa_data.glob("*/*metafits*")) if not p.name.endswith((".txt", "cotter.metafits"))
    ]
    assert len(paths) > 10
    for k, path in enumerate(paths):
        sim = simulate(
            tmp_path / str(k),
            path,
            duration_s=1,
            int_time_s=1,
            fine_khz=640,
            coarse_channels=1,
            overwrite=True,
        )
        ctx = context(sim)
        meta = ctx.metafits_context
        assert ctx.common_timestep_indices == [0]
        inputs = [[a.rfinput_x, a.rfinput_y] for a in meta.antennas]
        lengths = [[i.electrical_length_m for i in pair] for pair in inputs]
        np.testing.assert_allclose(sim.instrument.cable_m, lengths, rtol=1e-6)
        gains = [[i.digital_gains for i in pair] for pair in inputs]
        np.testing.assert_allclose(sim.instrument.gains, gains)
        np.testing.assert_allclose(frequencies_hz(sim, meta), sim.instrument.fine_freq_hz)
        assert meta.deripple_applied == sim.instrument.deripple
        assert meta.oversampled == sim.instrument.oversampled
        original = fits.getheader(path)
        assert meta.obs_id == original["GPSTIME"]
        assert meta.ra_tile_pointing_degrees == original["RA"]
        assert meta.dut1 is not None
        for file in sim.raw:
            file.unlink()


def test_like_metafits_at_another_time_and_with_fewer_tiles(tmp_path, mwa_data):
    path = mwa_data / "metafits" / "1384808344_metafits.fits"
    sim = simulate(
        tmp_path, path, obsid=1412607288, n_tiles=6, duration_s=2, int_time_s=2, coarse_channels=[160, 158]
    )
    header = fits.getheader(sim.metafits)
    assert header["GPSTIME"] == 1412607288
    assert header["DATE-OBS"] == "2024-10-10T14:54:30"
    assert header["GEODEL"] == 3
    assert header["ALTITUDE"] == 74.6271
    ctx = context(sim)
    assert ctx.provided_coarse_chan_indices == [1, 3]
    assert ctx.metafits_context.num_ants == 6
    read(ctx, 0, 1)
    with pytest.raises(InputError, match=r"\[100\]"):
        simulate(tmp_path / "b", path, coarse_channels=[100])


@pytest.mark.parametrize("geodel", [0, 1, 2, 3])
def test_tracking_by_the_correlator(tmp_path, geodel):
    sim = simulate(tmp_path, **MWAX, sources=[(0.3, -26.0, 1.0)], geodel=geodel, cabledel=1)
    ctx = context(sim)
    ant1, ant2 = np.triu_indices(sim.instrument.n_antennas)
    freq = sim.instrument.fine_freq_hz[0]
    # the built-in arrays point at the zenith
    tracked = [0, sim.enu_m[:, 2], sim.enu_m[:, 2], sim.delay_m(*sim.phase_centre_deg)[1]]
    w = sim.delay_m(0.3, -26.0)[1] - tracked[geodel]
    phase = np.exp(2j * np.pi * (w[ant1] - w[ant2])[:, None] * freq / LIGHT_MS)
    expected = phase[..., None] * instrument_response(sim, ctx, 0) * [1, 0, 0, 1]
    np.testing.assert_allclose(read(ctx, 1, 0), expected, atol=1e-5)
    assert fits.getheader(sim.metafits)["GEODEL"] == geodel


# interference


@pytest.mark.parametrize("fraction", [0.003, 0.1, 1.0])
def test_interference_fills_the_fraction(fraction):
    rfi = make_rfi((50, 2, 32), fraction, 2.0, np.random.default_rng(3))
    assert rfi.mask.sum() == round(fraction * 50 * 2 * 32)
    assert rfi.amplitude_jy[rfi.mask].min() >= 20


def test_interference_mask_is_saved(tmp_path):
    sim = simulate(tmp_path, **MWAX, rfi_fraction=0.2, sources=[])
    with np.load(sim.rfi_mask) as saved:
        np.testing.assert_array_equal(saved["mask"], sim.rfi.mask)
        assert saved["mask"].shape == (2, 2, 8)
    vis = read(context(sim), 1, 0)
    np.testing.assert_array_equal(np.any(vis != 0, axis=(0, 2)), sim.rfi.mask[1, 0])
    assert simulate(tmp_path / "none", **MWAX).rfi_mask is None


# input and errors


def test_sky_file(tmp_path):
    path = tmp_path / "sky.csv"
    path.write_text(
        "ra_deg,dec_deg,flux_jy,index\n# comment\n0.5, -27.0, 1.5\n\n359.0 -26.0 2 -0.7  # second\n"
    )
    sources = read_sky(path)
    assert [(s.ra_deg, s.dec_deg, s.flux_jy, s.spectral_index) for s in sources] == [
        (0.5, -27.0, 1.5, 0.0),
        (359.0, -26.0, 2.0, -0.7),
    ]
    assert simulate(tmp_path / "o", **MWAX, sky=path).sources == sources
    for text in ("1 2\n", "1 2 3 4 5\n", "1 2 x\n", "a b c\nd e f\n", "", "1 95 3\n", "nan 0 1\n"):
        path.write_text(text)
        with pytest.raises(InputError, match=r"sky\.csv|source"):
            read_sky(path)
    with pytest.raises(InputError, match=r"gone\.txt"):
        read_sky(tmp_path / "gone.txt")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"like": "legacy-256"}, "like legacy-256"),
        ({"duration_s": 0}, "duration_s"),
        ({"duration_s": float("nan")}, "duration_s"),
        ({"int_time_s": 0.0003}, "int_time_s"),
        ({"fine_khz": 30}, "fine_khz"),
        ({"fine_khz": 0}, "fine_khz"),
        ({"coarse_channels": 0}, "coarse_channels"),
        ({"coarse_channels": [5, 5]}, "coarse_channels"),
        ({"coarse_channels": [300]}, "coarse_channels"),
        ({"noise_jy": -1}, "noise_jy"),
        ({"rfi_fraction": 1.5}, "rfi_fraction"),
        ({"seed": -1}, "seed"),
        ({"n_tiles": 0}, "n_tiles"),
        ({"like": "legacy-128"}, "n_tiles"),
        ({"compress": True}, "compress"),
        ({"like": "legacy-128", "n_tiles": None, "bscale": 0}, "bscale"),
        ({"like": "legacy-128", "n_tiles": None, "bscale": 1e-12, "fine_khz": 640}, "bscale"),
        ({"geodel": 4}, "geodel"),
        ({"quack_s": -1}, "quack_s"),
        ({"batch_s": 3}, "batch_s"),
        ({"flagged_tiles": [9]}, "flagged_tiles"),
        ({"sources": [(180.0, 30.0, 1.0)]}, "above the horizon"),
        ({"sources": [(1.0, 2.0)]}, "source"),
        ({"phase_centre": (0.0, 91.0)}, "phase_centre"),
        ({"obsid": 12}, "obsid"),
        ({"obsid": 2_000_000_000}, "orientation"),
        ({"missing": ["last=3"]}, "last=3"),
    ],
)
def test_bad_arguments(tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        simulate(tmp_path / "out", **{**MWAX, **arguments})
    assert not list(tmp_path.rglob("*.*"))


def test_not_a_metafits(tmp_path):
    path = tmp_path / "x.metafits"
    path.write_text("hello")
    with pytest.raises(InputError, match=r"x\.metafits"):
        simulate(tmp_path / "out", path)
    fits.PrimaryHDU().writeto(path, overwrite=True)
    with pytest.raises(InputError, match=r"x\.metafits"):
        simulate(tmp_path / "out", path)


def test_existing_files_stay(tmp_path):
    first = simulate(tmp_path, **MWAX)
    before = first.raw[0].read_bytes()
    with pytest.raises(InputError, match="exists already"):
        simulate(tmp_path, **MWAX, noise_jy=1.0)
    assert first.raw[0].read_bytes() == before
    simulate(tmp_path, **MWAX, noise_jy=1.0, overwrite=True)
    assert first.raw[0].read_bytes() != before


def test_interrupt_leaves_nothing(tmp_path):
    def stop(stage, done, total):
        assert total == 4
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(tmp_path, **MWAX, progress=stop)
    assert not list(tmp_path.iterdir())


def test_unwritable_directory(tmp_path):
    blocked = tmp_path / "file"
    blocked.touch()
    with pytest.raises(ResourceError, match="file"):
        simulate(blocked / "out", **MWAX)


def test_no_space(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(ResourceError, match="GB"):
        simulate(tmp_path, **MWAX)


def test_instrument_is_read_from_the_file(tmp_path):
    sim = simulate(tmp_path, **MWAX)
    with fits.open(sim.metafits) as hdus:
        again = read_instrument(hdus)
    assert again.channels == sim.instrument.channels == (131, 132)
    np.testing.assert_array_equal(again.position_m, sim.instrument.position_m)
    assert isinstance(sim.metafits, Path)


@pytest.mark.parametrize("n_coarse", [16, 24])
def test_long_lists_in_the_metafits(tmp_path, n_coarse):
    """Lists that just fit into a FITS card leave no room for its comment, longer ones need several."""
    made = simulate(
        tmp_path, "mwax-128", n_tiles=2, duration_s=2, fine_khz=1280, coarse_channels=n_coarse,
        missing=[f"ch=1-{n_coarse - 1}"],
    )  # fmt: skip
    header = fits.getheader(made.metafits)
    assert len(header["CHANNELS"].split(",")) == len(header["CHANSEL"].split(",")) == n_coarse
