"""Flag files in conversions: read beside the metafits, combined, written; and refused where they do not belong."""

import importlib.metadata
import logging
import shutil
import zipfile

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner
from conversion_twin import Choices, convert_slowly
from conversions import collect as collect_with
from conversions import read_uvfits, read_with_mwalib

import mwaconvert
from mwaconvert.cli.main import main
from mwaconvert.conversion import pipeline
from mwaconvert.conversion.pipeline import find_flags
from mwaconvert.conversion.report.describe import description_text
from mwaconvert.errors import InputError
from mwaconvert.formats.mwaf import FlagFileWriter, read_flag_files
from mwaconvert.progress import Stage

PLAIN = {"rfi": "none", "flag_edge_width_khz": 0.0, "flag_init_s": 0.0, "flag_dc": False}
N_TIMES, N_BASELINES, N_FINE = 6, 15, 16


def collect(plan):
    """With all flags that the plan comes by."""
    return collect_with(plan, find_flags(plan, lambda _: None).mask)


@pytest.fixture
def folder(mwax, link_files, tmp_path):
    return link_files(mwax, tmp_path / "obs").parent


@pytest.fixture
def meta(mwax):
    return mwaconvert.open(mwax.metafits).metadata


def write_flags(path, meta, flags, gpubox, start_gps_s):
    """flags (n_times, n_baselines, n_fine)."""
    writer = FlagFileWriter(
        path, meta, gpubox, len(flags), start_gps_s + meta.int_time_s / 2, software="test", overwrite=True
    )
    for timestep in flags:
        writer.write(timestep)
    writer.close()
    return path


def write_all(folder, meta, flags, start_gps_s):
    """flags (n_coarse, n_times, n_baselines, n_fine)."""
    return [
        write_flags(folder / f"{meta.obsid}_ch{c.gpubox}.mwaf", meta, flags[c.index], c.gpubox, start_gps_s)
        for c in meta.coarse_channels
    ]


def first_gps_s(metafits):
    observation = mwaconvert.open(metafits)
    meta = observation.metadata
    return meta.obsid + observation.timestep_unix_ms[0] / 1e3 - meta.sched_start_unix_s


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("time_factor", "freq_factor"), [(1, 1), (2, 4)])
def test_flags_beside_the_metafits(mwax, folder, meta, packed, time_factor, freq_factor):
    """Of other timesteps than the data: they begin a step later and go on after the end."""
    flags = np.random.default_rng(1).random((2, N_TIMES + 2, N_BASELINES, N_FINE)) < 0.2
    files = write_all(folder, meta, flags, first_gps_s(mwax.metafits) + meta.int_time_s)
    if packed:
        with zipfile.ZipFile(folder / f"{meta.obsid}_flags.zip", "w") as archive:
            for path in files:
                archive.write(path, path.name)
                path.unlink()
    mask = np.zeros((N_TIMES, N_BASELINES, 2 * N_FINE), bool)
    mask[1:] = np.concatenate(flags[:, : N_TIMES - 1], axis=2)
    metafits = folder / mwax.metafits.name
    options = {**PLAIN, "time_factor": time_factor, "freq_factor": freq_factor}
    plan = mwaconvert.open(metafits).plan(**options)
    found = collect(plan)
    choices = Choices(
        times=range(N_TIMES), coarse=(0, 1), time_factor=time_factor, freq_factor=freq_factor, mask=mask
    )
    expected = convert_slowly(read_with_mwalib(mwax.metafits), mwax.metafits, choices)
    np.testing.assert_array_equal(found.flags, np.signbit(expected.weight))
    np.testing.assert_allclose(found.weight, expected.weight, rtol=2e-6)
    assert (abs(found.vis - expected.vis) <= 3e-6 * expected.scale).all()
    (step,) = (step for step in plan.steps if step.name == "flag files")
    assert step.applied
    assert step.reason == "2 of 2 coarse channels, version 2.0 by test"
    assert any("the flag files cover 83.3% of the timesteps and coarse channels" in n for n in plan.notes)

    ignored = mwaconvert.open(metafits).plan(**options, precomputed_flags="ignore")
    plain = collect(mwaconvert.open(mwax.metafits).plan(**options))
    np.testing.assert_array_equal(collect(ignored).weight, plain.weight)
    assert any(s.name == "flag files" and "ignore" in s.reason for s in ignored.steps)


def test_some_rows_and_channels(mwax, folder, meta):
    """Flags follow the baselines that are kept."""
    flags = np.random.default_rng(2).random((2, N_TIMES, N_BASELINES, N_FINE)) < 0.3
    write_all(folder, meta, flags, first_gps_s(mwax.metafits))
    options = {**PLAIN, "sel_autos": False, "sel_ants": (0, 2, 3), "sel_chan_ranges": ((1, 1),)}
    plan = mwaconvert.open(folder / mwax.metafits.name).plan(**options)
    one, two = np.triu_indices(5)
    rows = [k for k in range(N_BASELINES) if one[k] != two[k] and {one[k], two[k]} <= {0, 2, 3}]
    np.testing.assert_array_equal(collect(plan).flags, np.repeat(flags[1][:, rows, :, None], 4, axis=3))


def test_written(mwax, folder, meta, tmp_path, monkeypatch):
    """Rules and flags that were read, as they are before averaging; they come back as they went."""
    monkeypatch.chdir(tmp_path)
    flags = np.random.default_rng(3).random((2, N_TIMES, N_BASELINES, N_FINE)) < 0.1
    write_all(folder, meta, flags, first_gps_s(mwax.metafits))
    words = [str(folder / mwax.metafits.name), "--timeres", "4", "--freqres", "160", "--flag-antennas", "2"]
    words += [
        "--flag-edge-chans",
        "1",
        "--flag-autos",
        "--no-rfi",
        "--flag-times",
        "4",
        "-o",
        "a.uvfits",
        "-o",
        "b_%%%.mwaf",
    ]
    result = CliRunner().invoke(main, words)
    logging.captureWarnings(False)
    assert result.exit_code == 0, result.output
    boxes = [c.gpubox for c in meta.coarse_channels]
    assert sorted(p.name for p in tmp_path.glob("b_*")) == [f"b_{box}.mwaf" for box in boxes]
    one, two = np.triu_indices(5)
    quack = int(np.ceil(meta.quack_s / meta.int_time_s))
    expected = flags | (one == 2)[:, None] | (two == 2)[:, None] | (one == two)[:, None]
    expected[..., [0, -1]] = True
    expected[:, [*range(quack), 4]] = True
    for k, file in enumerate(read_flag_files([tmp_path / f"b_{box}.mwaf" for box in boxes])):
        assert (file.obsid, file.gpubox, file.n_times) == (meta.obsid, boxes[k], N_TIMES)
        assert file.centre_gps_s == first_gps_s(mwax.metafits) + meta.int_time_s / 2
        for time in range(N_TIMES):
            np.testing.assert_array_equal(file.unpacked(time), expected[k, time])
    assert read_uvfits(tmp_path / "a.uvfits")["vis"].shape[1] == N_FINE
    plan = mwaconvert.open(mwax.metafits).plan(
        **PLAIN, flag_files=tmp_path / "b_%%%.mwaf", precomputed_flags="only"
    )
    back = np.concatenate(expected, axis=2)
    np.testing.assert_array_equal(collect(plan).flags, np.repeat(back[..., None], 4, axis=3))


@pytest.mark.parametrize(
    ("options", "version", "strategy"),
    [
        ({}, "", "aoflagger-mwa-2021"),
        ({"rfi_sensitivity": 0.5}, "", "aoflagger-mwa-2021, sensitivity 0.5"),
        ({"rfi": "none"}, "", ""),
        ({"rfi": "aoflagger"}, "AOFlagger's", "mwa-default.lua"),
    ],
)
def test_files_say_what_found_the_flags(mwax, tmp_path, options, version, strategy):
    if version:
        pytest.importorskip("aoflagger", reason="optional: pip install mwaconvert[aoflagger]")
        version = importlib.metadata.version("aoflagger")
    mwaconvert.open(mwax.metafits).plan(**options).run(tmp_path / "b_%%%.mwaf")
    for path in tmp_path.glob("b_*.mwaf"):
        header = fits.getheader(path)
        assert (header["AO_VER"], header["AO_STRAT"]) == (version, strategy)
        assert "COMMENT" not in header


def test_baselines_that_are_not_selected(mwax, folder, meta, tmp_path):
    """They have the flags of rules alone; report, dry run and files say so."""
    write_all(folder, meta, np.ones((2, N_TIMES, N_BASELINES, N_FINE), bool), first_gps_s(mwax.metafits))
    plan = mwaconvert.open(folder / mwax.metafits.name).plan(
        **PLAIN, sel_ants=(0, 2, 3), flag_antennas=(4,), flag_fine_chans=(3,)
    )
    out = tmp_path / "b_%%%.mwaf"
    note = "flag files are of all 15 baselines; 9 are not selected: of these they hold what rules flag"
    told = " ".join(description_text(plan, [out]).split())
    assert note in told
    assert "flag files are of" not in description_text(plan, [tmp_path / "a.uvfits"])
    report = plan.run(out)
    assert any(note in text for text in report.notes)
    one, two = np.triu_indices(5)
    selected = np.isin(one, (0, 2, 3)) & np.isin(two, (0, 2, 3))
    expected = (selected | (two == 4))[:, None] | (np.arange(N_FINE) == 3)
    for path in tmp_path.glob("b_*.mwaf"):
        (file,) = read_flag_files([path])
        np.testing.assert_array_equal(file.unpacked(0), expected)
        assert note in "".join(f"{line} " for line in fits.getheader(path)["COMMENT"])


def test_size_is_told_beforehand(mwax, tmp_path):
    plan = mwaconvert.open(mwax.metafits).plan(rfi="none")
    told = {
        file["path"]: file["bytes"] for file in plan.describe([tmp_path / "b_%%%.mwaf"])["output"]["files"]
    }
    plan.run(tmp_path / "b_%%%.mwaf")
    assert told == {str(path): path.stat().st_size for path in tmp_path.glob("b_*.mwaf")}


@pytest.mark.parametrize("kind", ["mwax", "legacy"])
def test_nothing_is_converted_for_flag_files_alone(kind, request, tmp_path, monkeypatch):
    """Same files as beside visibilities, in one pass over the data; the report says what was left out."""
    sim = request.getfixturevalue(kind)
    plan = mwaconvert.open(sim.metafits).plan(
        time_factor=3, freq_factor=2, flag_autos=True, van_vleck=kind == "legacy"
    )
    plan.run([tmp_path / "a.uvfits", tmp_path / "a_%%%.mwaf"])
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "Converter", None)
        seen = []
        report = plan.run([tmp_path / "b_%%%.mwaf"], progress=lambda *at: seen.append(at))
    flagging = [at for at in seen if at[0] is Stage.FLAGGING]
    assert flagging[-1] == (Stage.FLAGGING, plan.input_bytes(), plan.input_bytes())
    assert {at[0] for at in seen} == {Stage.FLAGGING, Stage.FINISHING}
    flagged = []
    for path in sorted(tmp_path.glob("a_*.mwaf")):
        (one,), (other,) = (read_flag_files([tmp_path / (k + path.name[1:])]) for k in "ab")
        np.testing.assert_array_equal(one.flags, other.flags)
        flagged.append([other.unpacked(t).mean() for t in range(other.n_times)])
    assert report.occupancy.total == pytest.approx(np.mean(flagged))
    np.testing.assert_allclose(report.occupancy.timestep, np.mean(flagged, axis=0))
    assert len(report.occupancy.channel) == len(plan.selection.freqs_hz)
    assert report.quality is None
    steps = {step.name: step for step in report.steps}
    for name in ("cable delays", "geometric delays", "averaging"):
        assert not steps[name].applied
        assert steps[name].reason == "skipped: only flag files are written"
    assert steps["digital gains"].applied
    assert steps["digital gains"].reason.startswith("for the detection of RFI: ")
    text = report.to_text()
    assert "% of the input" in text
    assert "smearing" not in text
    told = description_text(plan, [tmp_path / "b_%%%.mwaf"])
    assert "only flag files are written" in told
    assert "polarisations" not in told
    drawn = description_text(plan, [tmp_path / "b_%%%.mwaf"], qa=tmp_path / "a.png")
    assert "only flag files are written" not in drawn  # the picture wants the visibilities


def test_flags_of_rules_alone_read_nothing(mwax, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "Converter", None)
    plan = mwaconvert.open(mwax.metafits).plan(rfi="none")
    report = plan.run(tmp_path / "b_%%%.mwaf")
    assert report.performance.bytes_read == 0
    assert "none of the raw data: the flags need none" in report.to_text()
    assert not any(s.applied for s in report.steps if s.name in ("digital gains", "coarse passband"))


def refuse(metafits, *words):
    result = CliRunner().invoke(main, [str(metafits), *map(str, words), "--dry-run"])
    logging.captureWarnings(False)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    (line,) = result.stderr.strip().splitlines()
    return line


def test_of_another_observation(mwax, folder, meta, tmp_path):
    flags = np.zeros((2, N_TIMES, N_BASELINES, N_FINE), bool)
    files = write_all(folder, meta, flags, first_gps_s(mwax.metafits))
    metafits = folder / mwax.metafits.name
    with fits.open(files[0], mode="update") as hdus:
        hdus[0].header["OBSID"] = 1234567890
    assert f"{files[0].name}: flags of obsid 1234567890, but the metafits" in refuse(metafits)
    with fits.open(files[0], mode="update") as hdus:
        hdus[0].header["OBSID"] = meta.obsid
        hdus[0].header["GPUBOXNO"] = 7
    assert "flags of gpubox 7, but the observation has no such gpubox" in refuse(metafits)
    with fits.open(files[0], mode="update") as hdus:
        hdus[0].header["GPUBOXNO"] = meta.coarse_channels[1].gpubox
    assert f"are both of gpubox {meta.coarse_channels[1].gpubox}: give one" in refuse(metafits)
    files[0].write_bytes(files[0].read_bytes()[:5800])
    assert f"{files[0].name}: ends early" in refuse(metafits)


def test_of_other_timesteps(mwax, folder, meta):
    """They do not stop a run that nobody told of them."""
    files = write_all(folder, meta, np.ones((2, 3, N_BASELINES, N_FINE), bool), first_gps_s(mwax.metafits))
    metafits = folder / mwax.metafits.name
    named = folder / f"{meta.obsid}_ch%%%.mwaf"
    for words in (("--precomputed-flags", "only"), ("--flagfiles", named)):
        line = refuse(metafits, *words, "--sel-time", "3", "5")
        assert f"{files[0].name}: flags of other timesteps or channels than this conversion's" in line
    plan = mwaconvert.open(metafits).plan(sel_time=(3, 5))
    assert plan.flag_files == ()
    assert any("than this conversion's; flag files are not used" in note for note in plan.notes)
    (step,) = (step for step in plan.steps if step.name == "flag files")
    assert (step.applied, step.reason) == (False, "none of these timesteps and coarse channels")


def as_version_1(path, n_scans):
    """What cotter would have written."""
    with fits.open(path, mode="update") as hdus:
        header = hdus[0].header
        header["VERSION"], header["NSCANS"] = "1.0", n_scans
        header["GPSTIME"], header["COTVER"] = header["OBSID"], "4.5"
        for key in ("OBSID", "GPSSTART", "SOFTWARE"):
            del header[key]


def test_version_1_counts_from_the_raw_files(mwa_data, tmp_path):
    """Cotter's flags of just these data, which begin 2 s after the schedule."""
    source = mwa_data / "1196175296_legacy_synthetic"
    for path in [*source.glob("*gpubox*.fits"), source / "1196175296.metafits"]:
        (tmp_path / path.name).symlink_to(path)
    for box in ("01", "02"):
        (tmp_path / f"1196175296_{box}.mwaf").symlink_to(source / f"FlagfileCotterMWA{box}.mwaf")
    plan = mwaconvert.open(tmp_path / "1196175296.metafits").plan(rfi="none", flag_init_s=0.0)
    assert [(each.file_times, each.plan_times) for each in plan.flag_files] == [
        (slice(0, 4), slice(0, 4))
    ] * 2
    (step,) = (step for step in plan.steps if step.name == "flag files")
    assert "version 1.0 counts from where the raw files begin, 2 s after the schedule" in step.reason
    rules = mwaconvert.open(source / "1196175296.metafits").plan(rfi="none", flag_init_s=0.0)
    np.testing.assert_array_equal(collect(plan).flags, collect(rules).flags)  # cotter found nothing else


def test_version_1_where_raw_files_begin_apart(simulated, link_files, tmp_path):
    """The second raw file begins two timesteps later: cotter's first scan, and the flags of the first file, which has
    no flags of its first two scans, begin two later still. That also holds where the second is not at hand."""
    sim = simulated(like="mwax-128", n_tiles=5, fine_khz=80.0, duration_s=12.0, coarse_channels=(120, 121),
                    missing=("ch=1,t=0", "ch=1,t=1"))  # fmt: skip
    metafits = link_files(sim, tmp_path / "obs")
    meta = mwaconvert.open(metafits).metadata
    n = mwaconvert.open(metafits).n_timesteps
    flags = np.random.default_rng(4).random((2, n, N_BASELINES, N_FINE)) < 0.3
    for k, n_rows in ((0, n - 4), (1, n - 2)):
        box = meta.coarse_channels[k].gpubox
        path = metafits.parent / f"{meta.obsid}_ch{box}.mwaf"
        as_version_1(write_flags(path, meta, flags[k, :n_rows], box, 0.0), n - 2)
    plan = mwaconvert.open(metafits).plan(**PLAIN, sel_time=(0, n - 1))
    first, second = plan.flag_files
    assert (first.file_times, first.plan_times) == (slice(0, n - 4), slice(4, n))
    assert (second.file_times, second.plan_times) == (slice(0, n - 2), slice(2, n))
    found = find_flags(plan, lambda _: None).mask
    np.testing.assert_array_equal(found.unpacked(slice(4, n), 0), flags[0, : n - 4])

    later = sorted(metafits.parent.glob("*_ch121_*.fits"))[0]
    later.unlink()
    (alone,) = mwaconvert.open(metafits).plan(**PLAIN).flag_files
    assert (alone.file_times, alone.plan_times) == (slice(0, n - 4), slice(4, n))

    (early,) = metafits.parent.glob("*_ch120_*.fits")
    early.rename(early.with_name(early.name.replace("_000.fits", "_001.fits")))
    plan = mwaconvert.open(metafits).plan(**PLAIN)
    assert plan.flag_files == ()
    assert any("does not say when they begin" in note for note in plan.notes)


def test_wrong_sizes(mwax, folder, meta):
    import dataclasses

    small = dataclasses.replace(meta, n_fine=8)
    write_flags(
        folder / f"{meta.obsid}_ch{meta.coarse_channels[0].gpubox}.mwaf",
        small, np.zeros((2, N_BASELINES, 8), bool), meta.coarse_channels[0].gpubox, meta.obsid,
    )  # fmt: skip
    assert "flags of 5 antennas and 8 channels, the data have 5 and 16" in refuse(folder / mwax.metafits.name)


def test_words(mwax, folder, meta, tmp_path):
    metafits = folder / mwax.metafits.name
    assert "--precomputed-flags only: no flag files of" in refuse(metafits, "--precomputed-flags", "only")
    assert "no such flag files; %% stands for the number" in refuse(metafits, "--flagfiles", "no%%.mwaf")
    assert "but --no-precomputed-flags leaves them out" in refuse(
        metafits, "--flagfiles", "no%%.mwaf", "--no-precomputed-flags"
    )
    assert "choose from auto, only, ignore" in refuse(metafits, "--precomputed-flags", "never")
    assert "put %% into the name" in refuse(metafits, "-o", tmp_path / "x.mwaf")
    (folder / f"{meta.obsid}_flags.zip").write_bytes(b"PK nothing")
    assert "damaged or no zip archive" in refuse(metafits)
    with pytest.raises(InputError, match=r"end the name in .uvfits, .ms, .uvh5 or .mwaf"):
        mwaconvert.open(mwax.metafits).plan().describe(["x.txt"])


def test_a_failed_run_leaves_no_flag_files(mwax, folder, meta, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    metafits = folder / mwax.metafits.name
    raw = folder / mwax.raw[1].name
    observation = mwaconvert.open(metafits)
    shutil.copy(raw, tmp_path / "whole")
    raw.write_bytes(b"")
    with pytest.raises(mwaconvert.Error):
        observation.plan().run([tmp_path / "a.uvfits", tmp_path / "b%%%.mwaf"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["obs", "whole"]


@pytest.mark.parametrize("rfi", ["builtin", "aoflagger"])
def test_flags_of_our_own_change_nothing(simulated, link_files, tmp_path, rfi):
    """The detection looks at the same data as without flag files, so it finds what they hold."""
    if rfi == "aoflagger":
        pytest.importorskip("aoflagger", reason="optional: pip install mwaconvert[aoflagger]")
    sim = simulated(like="mwax-128", n_tiles=4, fine_khz=80.0, duration_s=60.0, coarse_channels=(120, 121),
                    rfi_fraction=0.03, noise_jy=3.0, quack_s=4.0)  # fmt: skip
    plain = mwaconvert.open(sim.metafits).plan(rfi=rfi)
    first = find_flags(plain, lambda _: None)
    metafits = link_files(sim, tmp_path / "obs")
    plain.run(metafits.parent / f"{plain.metadata.obsid}_ch%%%.mwaf")
    plan = mwaconvert.open(metafits).plan(rfi=rfi)
    again = find_flags(plan, lambda _: None)
    assert again.rfi_cells == first.rfi_cells > 0
    assert again.file_cells > again.rfi_cells  # of rules too
    np.testing.assert_array_equal(collect(plan).flags, collect(plain).flags)
