"""Voltages of CHIME/FRB: files written to their description, and what is made of them."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from mwaconvert.cli.main import main
from mwaconvert.errors import FormatError, InputError
from mwaconvert.formats.spectra.chime_baseband import TIME0, ArrayBaseband, Of, open_baseband, write_baseband
from mwaconvert.formats.spectra.fitburst import read_parameters
from mwaconvert.frb.baseband import Making, Stokes, dedisperse, dedisperse_channel, waterfall
from mwaconvert.transients import open as open_spectra

K_DM, FRAME_S = 1 / 2.41e-4, 2.56e-6
RNG = np.random.default_rng(8)
IDS = np.array([200, 201, 203, 204, 300])  # gaps


def run(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


def dispersed(values, f0, dm):
    """What the correlator records of voltages of the sky: dispersed, and conjugated (second Nyquist zone)."""
    f = np.fft.fftfreq(values.shape[-1], FRAME_S) * 1e-6
    spectrum = np.fft.fft(values.astype(np.complex128), axis=-1)
    phase = 2e6 * np.pi * K_DM * dm * f**2 / ((f0 + f) * f0**2)
    return np.fft.ifft(spectrum * np.exp(1j * phase), axis=-1).conj()


def starts(ids, dm, n_before):
    """Frames at which recording begins: a pulse of this DM is n_before frames later; in two parts."""
    f = 800 - 0.390625 * ids
    frames = 10**9 + np.rint(K_DM * dm * (f**-2.0 - f[0] ** -2.0) / FRAME_S).astype(np.int64) - n_before
    time0 = np.zeros(len(ids), TIME0)
    exact = frames * 256  # hundredths of a microsecond
    seconds = 1_532_541_583 + exact / 1e8
    time0["fpga_count"], time0["ctime"] = frames, np.rint(seconds * 4) / 4
    time0["ctime_offset"] = [
        (int(e) - round((c - 1_532_541_583) * 1e8)) / 1e8 for e, c in zip(exact, time0["ctime"], strict=True)
    ]
    return time0


def event(dm, *, n=20000, at=9000, amplitude=40.0, ids=IDS):
    """Two polarisations of noise with a pulse, the second a quarter turn ahead; channels end at different times."""
    sky = (RNG.standard_normal((len(ids), 2, n, 2)) @ [1, 1j]).astype(np.complex64)
    sky[:, 0, at] += amplitude
    sky[:, 1, at] += 1j * amplitude
    data = np.stack([dispersed(sky[k], 800 - 0.390625 * i, dm) for k, i in enumerate(ids)]).astype(
        np.complex64
    )
    for k in range(len(ids)):
        data[k, :, n - 100 * k :] = np.nan
    return data, starts(ids, dm, at)


def baseband(data, time0, *, dm=0.0, ids=IDS, of=Of.BEAMS):
    return ArrayBaseband(data, of=of, freq_id=ids, time0=time0, dm=dm, event=9386707)


def write_h5(path, data, time0, *, name="tiedbeam_baseband", order=slice(None), ids=IDS, **attributes):
    """As the description has it, by h5py alone."""
    with h5py.File(path, "w") as file:
        file[name] = data[order]
        file[name].attrs["axis"] = ["freq", "beam", "time"]
        file[name].attrs.update(attributes)
        file["time0"] = time0[order]
        kind = [("centre", "f8"), ("id", "u4")]
        file["index_map/freq"] = np.array([(800 - 0.390625 * i, i) for i in ids[order]], kind)
        file.attrs["event_id"] = 9386707
    return path


def test_a_file_is_read(tmp_path):
    data, time0 = event(50.0, n=500, at=200)
    path = write_h5(tmp_path / "a.h5", data, time0, DM=3.5, conjugate_beamform=1, order=slice(None, None, -1))
    with open_baseband(path) as held:
        assert (held.of, held.dm, held.event, held.n_input, held.n_times) == (Of.BEAMS, 3.5, 9386707, 2, 500)
        np.testing.assert_array_equal(held.freq_id, IDS)
        np.testing.assert_array_equal(held.read(2), data[2])
        # to a nanosecond, where float64 alone has a quarter of a microsecond
        frames = (time0["fpga_count"] - time0["fpga_count"][0]).astype(float)
        np.testing.assert_allclose(held.starts_s(), frames * FRAME_S, atol=1e-9)
        assert repr(held) == f"<_Singlefile {path}: 5 of 1024 channels, 2 beams, 500 samples, DM 3.5>"
    with open_baseband(write_h5(tmp_path / "b.h5", data, time0)) as held:
        np.testing.assert_array_equal(held.read(0), data[0].conj())
        assert held.dm == 0


def test_round_trip(tmp_path):
    data, time0 = event(50.0, n=300, at=100)
    held = baseband(data, time0, dm=12.5)
    held.locations = np.zeros(2, [("ra", "f8"), ("dec", "f8"), ("pol", "S1")])
    write_baseband(tmp_path / "a.h5", held)
    with open_baseband(tmp_path / "a.h5") as read:
        np.testing.assert_array_equal(np.stack([read.read(k) for k in range(5)]), data)
        np.testing.assert_array_equal(read.time0, time0)
        assert (read.dm, read.event, len(read.locations)) == (12.5, 9386707, 2)
        write_baseband(tmp_path / "b.h5", read)
    with h5py.File(tmp_path / "b.h5") as file:
        assert file["tiedbeam_baseband"].attrs["conjugate_beamform"] == 1
        assert file["index_map/freq"]["id"].tolist() == IDS.tolist()
        np.testing.assert_array_equal(file["tiedbeam_baseband"][...], data)
    with pytest.raises(InputError, match="exists"):
        write_baseband(tmp_path / "b.h5", held)


def write_raw(folder, k, raw, time0, **changed):
    folder.mkdir(exist_ok=True, parents=True)
    facts = {
        "freq": 800 - 0.390625 * k,
        "freq_id": k,
        "delta_time": FRAME_S,
        "time0_fpga_count": time0["fpga_count"],
        "time0_ctime": time0["ctime"],
        "time0_ctime_offset": time0["ctime_offset"],
        "event_id": 9386707,
    }
    path = folder / f"baseband_9386707_{k}.h5"
    with h5py.File(path, "w") as file:
        file["baseband"] = raw
        file.attrs.update(facts | changed)
    return path


def test_files_of_the_correlator(tmp_path):
    time0 = starts(IDS, 30.0, 0)
    raws = RNG.integers(0, 256, (5, 400, 6), dtype=np.uint8)
    for k in (4, 0, 1, 3, 2):
        write_raw(tmp_path / "raw", IDS[k], raws[k, : 400 - k], time0[k])
    held = open_baseband(tmp_path / "raw")
    assert (held.of, held.n_input, held.n_times, held.event) == (Of.INPUTS, 6, 400, 9386707)
    np.testing.assert_array_equal(held.freq_id, IDS)
    high, low = raws[1, :399].T >> 4, raws[1, :399].T & 15
    want = np.where(raws[1, :399].T == 0, np.nan, (high - 8.0) + 1j * (low - 8.0))
    np.testing.assert_array_equal(held.read(1), want)
    power = waterfall(held, 0.0)
    assert power.n_chan == 101  # from 200 to 300
    write_raw(tmp_path / "raw", 5, raws[0, :, :3], time0[0])
    with pytest.raises(FormatError, match="files of 3, 6 inputs"):
        open_baseband(tmp_path / "raw")
    write_raw(tmp_path / "raw", 5, raws[0], time0[0], event_id=1)
    with pytest.raises(FormatError, match="of the events 1, 9386707"):
        open_baseband(tmp_path / "raw")


@pytest.mark.parametrize(
    ("f0", "dm", "published"),
    [(400.39, 57, 0.90), (400.39, 349, 0.52), (600.0, 349, 0.857), (799.6, 1000, 0.88)],
)
def test_impulses_of_the_right_sideband(f0, dm, published):
    """Peak power that is kept: all of it, and what the published denominator leaves (measured for the facts)."""
    sky = np.zeros((1, 1 << 16), np.complex64)
    sky[0, 30000] = 1
    received = dispersed(sky, f0, dm).astype(np.complex64)
    assert np.abs(received).max() < 0.3
    exact = dedisperse_channel(received, f0, dm)
    assert np.nanargmax(np.abs(exact[0])) == 30000
    assert np.nanmax(np.abs(exact)) ** 2 > 0.999
    other = dedisperse_channel(received, f0, dm, published=True)
    assert np.nanmax(np.abs(other)) ** 2 == pytest.approx(published, abs=0.015)
    # the ends, whose pulse is not whole, are not there
    half_s = K_DM * dm * ((f0 - 0.1953125) ** -2 - f0**-2)
    lost = np.isnan(exact[0])
    assert lost[0]
    assert lost[-1]
    assert lost.sum() * FRAME_S == pytest.approx(2 * half_s, rel=0.01, abs=150 * FRAME_S)


def test_dm_of_the_data_counts(tmp_path):
    """Only what is missing of the DM is removed, the sum is kept, NaN at the ends stay, the given stay as they are."""
    data, time0 = event(50.0)
    held = baseband(data, time0)
    once = dedisperse(held, 50.0)
    twice = dedisperse(dedisperse(held, 20.0), 50.0)
    assert (held.dm, once.dm, twice.dm) == (0, 50, 50)
    np.testing.assert_array_equal(held.read(0), data[0])
    a, b = once.read(1), twice.read(1)
    both = np.isfinite(a) & np.isfinite(b)
    assert both.sum() > 2 * 18000
    # but for the tails of sharp edges of channels, which end with the samples
    assert np.abs(a[both] - b[both]).std() < 0.01 * np.abs(a[both]).std()
    assert np.isnan(once.read(4)[:, 19600:]).all()
    same = dedisperse(once, 50.0)
    np.testing.assert_array_equal(same.read(3), once.read(3))
    gone = data.copy()
    gone[0] = np.nan
    gone[1, 0, 5000] = np.nan
    cut = dedisperse(baseband(gone, time0), 50.0)
    assert np.isnan(cut.read(0)).all()
    assert np.isfinite(cut.read(1)[:, 500:4500]).all()
    assert np.isnan(cut.read(1)[:, 5000:]).all()
    short = data[:, :, :100]
    assert np.isnan(dedisperse(baseband(short, time0), 5000.0).read(0)).all()


@pytest.mark.parametrize("upchannels", [1, 16])
def test_a_pulse_stands_in_all_channels_at_once(upchannels):
    data, time0 = event(50.0, amplitude=60.0)
    made = waterfall(
        baseband(data, time0), 50.0, Making(upchannels=upchannels, average=4 if upchannels == 1 else 1)
    )
    assert (made.n_chan, made.dm) == (101 * upchannels, 50.0)
    assert made.freq_mhz[0] == pytest.approx(800 - 0.390625 * 300, abs=0.2)
    assert np.diff(made.freq_mhz) == pytest.approx(0.390625 / upchannels)
    there = np.repeat(np.isin(np.arange(300, 199, -1), IDS), upchannels)
    assert (made.weights[~there] == 0).all()
    peaks = made.data[there].argmax(1)
    assert np.ptp(peaks) <= 1
    assert made.data[there].max(1).min() > (400 if upchannels == 1 else 100)
    # 9000 frames after the recording of the highest channel began
    after_s = (made.start_mjd - baseband(data, time0).start_mjd) * 86400
    arrival_s = (np.median(peaks) + 0.5) * made.dt_s + after_s
    assert arrival_s == pytest.approx(9000 * FRAME_S, abs=2 * made.dt_s + 3e-6)
    # an average of noise of two polarisations, each of variance 2
    quiet = made.data[there][:, 5 : peaks.min() - 5]
    assert np.median(quiet) == pytest.approx(4 * (1 if upchannels == 1 else 32), rel=0.1)


def test_stokes():
    """A pulse whose second polarisation is a quarter turn ahead on the sky, so a quarter behind as recorded."""
    data, time0 = event(50.0, amplitude=100.0)
    peaks = {}
    for stokes in Stokes:
        made = waterfall(baseband(data, time0), 50.0, Making(stokes=stokes))
        there = made.weights.any(1)
        k = np.abs(made.data[there]).argmax(1) if stokes is Stokes.I else k  # noqa: F821
        peaks[stokes] = np.take_along_axis(made.data[there], k[:, None], 1).mean()
    assert peaks[Stokes.I] == pytest.approx(2e4, rel=0.1)
    # V = -2 Im(X Y*) of the recorded voltages, X real, Y = conj(i)
    assert peaks[Stokes.V] == pytest.approx(-peaks[Stokes.I], rel=0.05)
    for stokes in (Stokes.Q, Stokes.U):
        assert abs(peaks[stokes]) < 0.1 * peaks[Stokes.I]


def test_tones_are_at_their_frequency():
    """A tone above the centre of its channel on the sky is below it as recorded."""
    n, f_up = 6400, 0.390625 * 5.2 / 16
    tone = np.exp(2j * np.pi * f_up * 1e6 * FRAME_S * np.arange(n)).conj().astype(np.complex64)
    data = np.broadcast_to(tone, (1, 2, n)).copy()
    made = waterfall(baseband(data, starts(IDS[:1], 0, 0), ids=IDS[:1]), 0.0, Making(upchannels=16))
    loudest = made.freq_mhz[made.data.sum(1).argmax()]
    assert loudest == pytest.approx(800 - 0.390625 * 200 + f_up, abs=0.390625 / 32)


@pytest.mark.parametrize(
    ("suffix", "form"), [(".fil", None), (".sf", None), (".h5", None), (".npz", None), (".npz", "fitburst")]
)
def test_exports(tmp_path, suffix, form):
    data, time0 = event(50.0)
    path = write_h5(tmp_path / "beam.h5", data, time0, conjugate_beamform=1)
    out = tmp_path / f"out{suffix}"
    words = (
        "frb",
        "export",
        path,
        "--dm",
        50,
        "--average",
        8,
        "-o",
        out,
        *(("--format", form) if form else ()),
    )
    done = run(*words)
    assert done.exit_code == 0, done.output
    assert "101 channels" in done.stdout
    want = waterfall(baseband(data, time0), 50.0, Making(average=8))
    read = open_spectra(out)
    assert (read.n_chan, read.dm) == (101, 50.0)
    assert read.dt_s == pytest.approx(8 * FRAME_S)
    np.testing.assert_allclose(read.freq_mhz, want.freq_mhz)
    there = want.weights > 0
    np.testing.assert_allclose(read.data[:, : want.n_times][there], want.data[there], rtol=1e-6)
    assert read.start_mjd == pytest.approx(want.start_mjd, abs=1e-10)
    if form == "fitburst":
        peak = want.data.sum(0).argmax()
        assert read_parameters(out)["arrival_time"][0] == pytest.approx((peak + 0.5) * 8 * FRAME_S)
    assert "exists" in run(*words).stderr


def test_exports_of_intensity(tmp_path):
    from chime_files import noisy_event, write_event

    folder = write_event(tmp_path, noisy_event(1, 5.0, nt=256, t0_s=0.1), nt=256)
    time0 = starts(IDS, 1.0, 0)
    raw = tmp_path / "data/chime/baseband/raw/2018/07/25/astro_9386707"
    for k, i in enumerate(IDS):
        write_raw(raw, i, RNG.integers(1, 256, (200, 4), dtype=np.uint8), time0[k])
    for k, source in enumerate(("9386707", folder, sorted(folder.iterdir())[0])):
        done = run(
            "frb",
            "export",
            source,
            "--root",
            tmp_path,
            "--nsub",
            1024,
            "--average",
            2,
            "-o",
            tmp_path / f"{k}.fil",
        )
        assert done.exit_code == 0, done.output
        assert "1024 channels, 128 samples" in done.stdout
    assert open_spectra(tmp_path / "0.fil").freq_mhz[0] == pytest.approx(400.390625)
    done = run("frb", "export", "9386707", "--baseband", "--root", tmp_path, "-o", tmp_path / "b.sf")
    assert "101 channels" in done.stdout, done.output
    for words, problem in (
        (("5",), "no raw intensity"),
        (("9386707", "--baseband", "--average", 0), "--average 0: expected 1 to"),
        (("5", "--baseband"), "no raw baseband"),
        ((tmp_path / "none.h5",), "no such file"),
        ((tmp_path,), "there are no files baseband"),
    ):
        refused = run("frb", "export", *words, "--root", tmp_path, "-o", tmp_path / "x.fil")
        assert (refused.exit_code, problem in refused.stderr) == (2, True), refused.output
    for name, more, problem in (
        ("x.txt", (), "ends in"),
        ("x.fil", ("--format", "fitburst"), "is not written to"),
    ):
        refused = run("frb", "export", "9386707", "--root", tmp_path, "-o", tmp_path / name, *more)
        assert (refused.exit_code, problem in refused.stderr) == (2, True), refused.output


@pytest.mark.parametrize(
    ("making", "dm", "problem"),
    [
        (Making(average=0), 1, "average"),
        (Making(average=10**6), 1, "average"),
        (Making(upchannels=0), 1, "upchannels"),
        (Making(upchannels=10**6), 1, "upchannels"),
        (Making(pointing=1), 1, "there are 1, counted from 0"),
        (Making(), np.nan, "finite"),
    ],
)
def test_numbers_that_make_no_sense(making, dm, problem):
    data, time0 = event(1.0, n=200, at=50)
    with pytest.raises(InputError, match=problem):
        waterfall(baseband(data, time0), dm, making)
    inputs = baseband(data, time0, of=Of.INPUTS)
    with pytest.raises(InputError, match="only the sum of their power"):
        waterfall(inputs, 1.0, Making(stokes=Stokes.Q))


def spoil(file, what, outside):
    """Ways in which an HDF5 file is not what it should be."""
    data = file["tiedbeam_baseband"]
    values, attributes = data[...], dict(data.attrs)
    if what == "centres":
        index = file["index_map/freq"][...]
        index["centre"] += 1
        del file["index_map/freq"]
        file["index_map/freq"] = index
        return
    if what == "same ids":
        index = file["index_map/freq"][...]
        index["id"][1], index["centre"][1] = index["id"][0], index["centre"][0]
        del file["index_map/freq"]
        file["index_map/freq"] = index
        return
    if what in ("no times", "times", "far"):
        time0 = file["time0"][...]
        del file["time0"]
        time0["ctime"][2] = np.nan if what == "times" else 1
        file["time0"] = np.zeros(5) if what == "no times" else time0
        return
    if what == "dm":
        data.attrs["DM"] = "much"
        return
    del file["tiedbeam_baseband"]
    if what == "real":
        file["tiedbeam_baseband"] = values.real
    elif what == "flat":
        file["tiedbeam_baseband"] = values[0]
    elif what == "odd":
        file["tiedbeam_baseband"] = np.concatenate([values, values[:, :1]], 1)
    elif what == "group":
        file.create_group("tiedbeam_baseband")
    elif what == "soft":
        file["elsewhere"] = values
        file["tiedbeam_baseband"] = h5py.SoftLink("/elsewhere")
    elif what == "link":
        file["tiedbeam_baseband"] = h5py.ExternalLink(str(outside), "data")
    elif what == "external":
        place = [(str(outside), 0, values.nbytes)]
        file.create_dataset("tiedbeam_baseband", values.shape, values.dtype, external=place)
    elif what == "virtual":
        layout = h5py.VirtualLayout(values.shape, values.dtype)
        layout[...] = h5py.VirtualSource(str(outside), "data", values.shape)
        file.create_virtual_dataset("tiedbeam_baseband", layout)
    elif what == "bomb":
        file.create_dataset("tiedbeam_baseband", (5, 2, 1 << 34), np.complex64, chunks=(1, 1, 1 << 16))
    elif what == "pieces":
        file.create_dataset("tiedbeam_baseband", (5, 2, 1 << 28), np.complex64, chunks=(1, 1, 1 << 28))
    file["tiedbeam_baseband"].attrs.update(attributes) if what != "link" else None


@pytest.mark.parametrize(
    ("what", "problem"),
    [
        ("centres", "not those of their numbers"),
        ("same ids", "each once"),
        ("no times", "time0: expected a table"),
        ("times", "expected a start time"),
        ("far", "not one event"),
        ("dm", "could not convert"),
        ("real", "expected complex64"),
        ("flat", "expected complex64"),
        ("odd", "3 beams"),
        ("group", "is not a dataset"),
        ("soft", "is a link to somewhere else"),
        ("link", "is a link to somewhere else"),
        ("external", "refers to other files"),
        ("virtual", "refers to other files"),
        ("bomb", "promises"),
        ("pieces", "nobody writes so large ones"),
    ],
)
def test_spoiled_files(tmp_path, what, problem):
    data, time0 = event(1.0, n=200, at=50)
    outside = tmp_path / "outside.h5"
    with h5py.File(outside, "w") as file:
        file["data"] = data
    path = write_h5(tmp_path / "a.h5", data, time0, conjugate_beamform=1)
    with h5py.File(path, "a") as file:
        spoil(file, what, outside)
    with pytest.raises(FormatError, match=problem) as caught:
        open_baseband(path)
    assert str(path) in str(caught.value)
    refused = run("frb", "export", path, "-o", tmp_path / "x.fil")
    assert (refused.exit_code, "Traceback" in refused.output) == (2, False)
    assert not (tmp_path / "x.fil").exists()


def test_files_that_are_none(tmp_path):
    path = tmp_path / "a.h5"
    data, time0 = event(1.0, n=200, at=50)
    whole = write_h5(path, data, time0).read_bytes()
    for content in (b"", b"nothing", whole[:100], whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(FormatError, match="not a sound HDF5 file"):
            open_baseband(path)
    with h5py.File(path, "w") as file:
        file["intensity"] = [1]
    with pytest.raises(FormatError, match="expected tiedbeam_baseband or baseband, found intensity"):
        open_baseband(path)
    for changed, problem in (
        ({"delta_time": 1.0}, "samples of 1.0 s"),
        ({"freq_id": 5000}, "0 to 1023"),
        ({"time0_ctime": "now"}, "could not convert"),
    ):
        raw = write_raw(tmp_path, 3, np.ones((10, 2), np.uint8), time0[0], **changed)
        with pytest.raises(FormatError, match=problem):
            open_baseband(raw)
    raw = write_raw(tmp_path, 3, np.ones((10, 2), np.float32), time0[0])
    with pytest.raises(FormatError, match="expected uint8"):
        open_baseband(raw)


def test_damaged_bytes_are_refused_or_read(tmp_path):
    """Whatever bytes change, there is a refusal in words, or values."""
    data, time0 = event(1.0, n=200, at=50)
    path = write_h5(tmp_path / "a.h5", data, time0)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    rng = np.random.default_rng(4)
    refused = 0
    for _ in range(150):
        bad = whole.copy()
        bad[rng.integers(0, 4096, 4)] = rng.integers(0, 256, 4)
        path.write_bytes(bad.tobytes())
        try:
            with open_baseband(Path(path)) as held:
                held.read(0)
        except (FormatError, InputError):
            refused += 1
    assert refused > 20
