"""Data of the field: what real files do to a conversion, and the right values."""

import doctest
import json
import os
import shutil
import subprocess

import numpy as np
import pytest
from astropy.io import fits
from conversions import NOTHING, UNFLAGGED, collect, read_uvfits

import mwaconvert
from mwaconvert.formats.visibilities import uvfits
from mwaconvert.formats.visibilities.existing_uvfits import open_uvfits

SPEED_OF_LIGHT_M_S = 299792458.0


def edit_headers(path, **changed):
    """Change or (None) remove cards of all HDUs; a function is given the old value."""
    with fits.open(path, mode="update", disable_image_compression=True) as hdus:
        for hdu in hdus:
            for key, value in changed.items():
                if value is None:
                    hdu.header.remove(key, ignore_missing=True)
                elif key in hdu.header:
                    hdu.header[key] = value(hdu.header[key])


def copied(folder, to):
    for path in folder.iterdir():
        shutil.copy(path, to)
    return next(to.glob("*.metafits"))


# times


def assert_half_seconds_restored(metafits, tmp_path):
    observation = mwaconvert.open(metafits)
    first = observation.timestep_unix_ms[0]
    assert observation.timestep_unix_ms.tolist() == [first, first + 500, first + 1000, first + 1500]
    assert any("TIME of the raw files repeats and MILLITIM is 0" in note for note in observation.notes)
    np.testing.assert_allclose(
        (observation.plan().header.time_mjd - 40587) * 86400 - first / 1e3,
        [0.25, 0.75, 1.25, 1.75],
        atol=2e-6,
    )
    with_millitim = tmp_path / "good"
    with_millitim.mkdir()
    good = copied(metafits.parent, with_millitim)
    for path in with_millitim.glob("*gpubox*"):
        with fits.open(path, mode="update", disable_image_compression=True) as hdus:
            for k, hdu in enumerate(hdus[1:]):
                hdu.header["MILLITIM"] = 500 * (k % 2)
    assert_same(collect(mwaconvert.open(good).plan()), collect(observation.plan()))


def assert_same(one, other):
    for name in ("vis", "weight", "uvw_m"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)


def test_half_seconds_without_millitim(field, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    metafits = copied(field / "legacy_halfsec_millitim0", data)
    assert_half_seconds_restored(metafits, tmp_path)


def test_half_seconds_without_millitim_simulated(simulated, link_files, tmp_path):
    sim = simulated(like="legacy-128", fine_khz=640.0, duration_s=2.0, int_time_s=0.5, noise_jy=1.0)
    metafits = link_files(sim, tmp_path / "cut")
    for path in metafits.parent.glob("*gpubox*"):
        edit_headers(path, MILLITIM=lambda _: 0)
    assert_half_seconds_restored(metafits, tmp_path)


def test_one_time_of_zero(field, tmp_path):
    observation = mwaconvert.open(copied(field / "one_hdu_time_zero", tmp_path))
    assert (observation.hdu_index[:, list(observation.provided_coarse)] >= 0).all()
    assert (observation.hdus["weight_offset"] > 0).all()
    assert any("TIME of HDU 9 cannot be true" in note for note in observation.notes)
    good = tmp_path / "good"
    good.mkdir()
    metafits = copied(field / "one_hdu_time_zero", good)
    with fits.open(sorted(good.glob("*ch132*"))[0], mode="update") as hdus:
        for k in (9, 10):
            hdus[k].header["TIME"] = hdus[7].header["TIME"] + 2
    assert_same(collect(mwaconvert.open(metafits).plan()), collect(observation.plan()))


def assert_in_step(metafits, tmp_path):
    """The second of three channels is late by a second; MARKER says that it is not."""
    observation = mwaconvert.open(metafits)
    assert (observation.hdu_index[:, list(observation.provided_coarse)] >= 0).all()
    assert any("TIME is 1000 ms after that of the other files" in note for note in observation.notes)
    good = tmp_path / "good"
    good.mkdir()
    in_step = copied(metafits.parent, good)
    edit_headers(sorted(good.glob("*_ch*"))[1], TIME=lambda t: t - 1)
    assert_same(collect(mwaconvert.open(in_step).plan()), collect(observation.plan()))


def test_one_box_a_second_late(field, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    assert_in_step(copied(field / "one_box_1s_late", data), tmp_path)


def test_one_box_a_second_late_simulated(simulated, link_files, tmp_path):
    sim = simulated(
        like="mwax-128", n_tiles=5, fine_khz=80.0, duration_s=12.0, coarse_channels=3, noise_jy=1.0
    )
    metafits = link_files(sim, tmp_path / "late")
    edit_headers(sorted(metafits.parent.glob("*_ch*"))[1], TIME=lambda t: t + 1)
    assert_in_step(metafits, tmp_path)


@pytest.mark.parametrize("like", ["mwax-128", "legacy-128"])
def test_phases_belong_to_the_time_of_the_data(simulated, link_files, tmp_path, like):
    """Without MARKER the late clock is believed: its phases are those of a second later."""
    tiles = {} if like == "legacy-128" else {"n_tiles": 5}
    sim = simulated(like=like, fine_khz=160.0, duration_s=12.0, coarse_channels=3, noise_jy=1.0, **tiles)
    metafits = link_files(sim, tmp_path / "late")
    files = sorted(path for path in metafits.parent.iterdir() if path != metafits)
    edit_headers(files[1], TIME=lambda t: t + 1, MARKER=None)
    observation = mwaconvert.open(metafits)
    assert observation.notes[-2].endswith("with the phases of its own time.")
    late = observation.files[1].coarse
    assert (observation.hdu_index[1:, late] >= 0).all()
    options = UNFLAGGED | NOTHING | {"geometric_delay": True}
    plan = observation.plan(**options, time_factor=2)
    raw = collect(mwaconvert.open(sim.metafits).plan(**options | {"geometric_delay": False})).vis
    found = collect(plan).vis
    fine = observation.metadata.n_fine
    for place, coarse in enumerate(plan.coarse):
        channels = slice(place * fine, (place + 1) * fine)
        behind = int(coarse == late)  # halfway between two timesteps: the later one, a second early
        mjd = plan.input_mjd(plan.timesteps) - behind / 86400
        w = plan.antenna_rotation_m(mjd)
        w = w[:, plan.header.antenna1] - w[:, plan.header.antenna2]
        turn = np.exp(-2j * np.pi * w[..., None] * plan.selection.freqs_hz[channels] / SPEED_OF_LIGHT_M_S)
        for k, step in enumerate(plan.timesteps[:4:2]):
            pair = raw[[step - behind, step + 1 - behind], :, channels] * turn[2 * k : 2 * k + 2, ..., None]
            np.testing.assert_allclose(found[k, :, channels], pair.mean(axis=0), rtol=1e-4, atol=1e-3)


# metafits


def test_an_input_without_gain(field, tmp_path):
    for path in (field / "raw_for_metafits").iterdir():
        shutil.copy(path, tmp_path)
    metafits = tmp_path / "1412607288.metafits"
    shutil.copy(field / "metafits" / "gain_zero.metafits", metafits)
    with fits.open(metafits) as hdus:
        table = hdus["TILEDATA"].data
        silent = {int(row["Antenna"]) for row in table if not row["Gains"].any()}
    assert len(silent) == 1
    observation = mwaconvert.open(metafits)
    plan = observation.plan()
    assert set(np.flatnonzero(plan.flags.antennas).tolist()) == silent
    assert any("1 by a digital gain of 0: Tile" in step.reason for step in plan.steps)
    assert not observation.plan(digital_gains=False).flags.antennas.any()


# uvfits


def assert_256_tiles(metafits, tmp_path):
    from pyuvdata import UVData

    plan = mwaconvert.open(metafits).plan(flag_edge_width_khz=0)
    seen = {}
    for baseline in (False, True):
        path = tmp_path / f"{baseline}.uvfits"
        mwaconvert.convert(metafits, path, flag_edge_width_khz=0, rfi="none", uvfits_baseline=baseline)
        with fits.open(path) as hdus:
            names = hdus[0].data.parnames
            assert ("BASELINE" in names) == baseline
            assert ({"ANTENNA1", "ANTENNA2", "SUBARRAY"} <= set(names)) == (not baseline)
            assert (hdus["AIPS AN"].data["MNTSTA"] == 6).all()
        found = seen[baseline] = read_uvfits(path)
        np.testing.assert_array_equal(found["antenna1"], np.tile(plan.header.antenna1, plan.n_times))
        np.testing.assert_array_equal(found["antenna2"], np.tile(plan.header.antenna2, plan.n_times))
        np.testing.assert_allclose(sum(found["jd"]) % 1, (plan.header.centroid_mjd[0] + 0.5) % 1, atol=1e-6)
    for name in ("vis", "weight", "uvw_m"):
        np.testing.assert_array_equal(seen[False][name], seen[True][name])
    uvd = UVData.from_file(str(tmp_path / "False.uvfits"), run_check=False)
    assert uvd.Nants_data == 256
    assert open_uvfits(tmp_path / "False.uvfits").header.antenna2.max() == 255


def test_256_tiles_in_uvfits(field, tmp_path):
    assert_256_tiles(copied(field / "t256_one_channel", tmp_path), tmp_path)


def test_256_tiles_in_uvfits_simulated(simulated, tmp_path):
    sim = simulated(like="mwax-256", duration_s=2.0, int_time_s=2.0, fine_khz=1280.0, coarse_channels=1)
    assert_256_tiles(sim.metafits, tmp_path)


@pytest.mark.external
def test_casa_reads_256_tiles(simulated, tmp_path):
    from casacore.tables import table

    python = os.environ.get("MWACONVERT_CASA_PYTHON")
    if python is None:
        pytest.skip("MWACONVERT_CASA_PYTHON names no Python with casatasks")
    sim = simulated(like="mwax-256", duration_s=2.0, int_time_s=2.0, fine_khz=1280.0, coarse_channels=1)
    path = tmp_path / "x.uvfits"
    mwaconvert.convert(sim.metafits, path, flag_edge_width_khz=0, rfi="none")
    (tmp_path / ".casa").mkdir()
    (tmp_path / ".casa" / "config.py").write_text(
        "import casadata\nmeasurespath = casadata.datapath\ndatapath = [casadata.datapath]\n"
        "measures_auto_update = data_auto_update = False\nnologger = True\n"
    )
    script = "import casatasks, sys; casatasks.importuvfits(sys.argv[1], sys.argv[2])"
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    command = [python, "-c", script, str(path), str(tmp_path / "x.ms")]
    subprocess.run(command, check=True, cwd=tmp_path, env=environment, timeout=300)
    with table(str(tmp_path / "x.ms::ANTENNA"), ack=False) as antennas:
        assert antennas.nrows() == 256
    with table(str(tmp_path / "x.ms"), ack=False) as main:
        assert main.nrows() == 256 * 257 // 2
        assert set(main.getcol("ANTENNA2")) == set(range(256))


def test_long_names_stay_distinct(field, tmp_path):
    for path in (field / "raw_for_metafits").iterdir():
        shutil.copy(path, tmp_path)
    metafits = tmp_path / "1412607288.metafits"
    shutil.copy(field / "metafits" / "long_tilenames.metafits", metafits)
    mwaconvert.convert(metafits, tmp_path / "x.uvfits", rfi="none")
    names = read_uvfits(tmp_path / "x.uvfits")["antennas"].data["ANNAME"]
    assert len(set(names)) == len(names) == 8
    assert doctest.testmod(uvfits).failed == 0


# asked for


@pytest.mark.parametrize("like", ["mwax-128", "legacy-128"])
def test_a_plan_of_a_metafits_alone(simulated, tmp_path, like):
    from click.testing import CliRunner

    from mwaconvert.cli.main import main

    tiles = {} if like == "legacy-128" else {"n_tiles": 5}
    sim = simulated(like=like, fine_khz=160.0, duration_s=12.0, coarse_channels=3, noise_jy=1.0, **tiles)
    metafits = tmp_path / sim.metafits.name
    shutil.copy(sim.metafits, metafits)
    words = ["--dry-run", "-o", str(tmp_path / "x.uvfits"), "--report"]
    result = CliRunner().invoke(main, [str(metafits), *words, str(tmp_path / "alone.json")])
    assert result.exit_code == 0, result.stderr
    assert (
        "There are no raw files: all 3 coarse channels and 6 timesteps of the schedule are assumed."
        in " ".join(result.stdout.split())
    )
    assert CliRunner().invoke(main, [str(sim.metafits), *words, str(tmp_path / "with.json")]).exit_code == 0
    alone, whole = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("alone", "with"))
    assert alone["output"] == whole["output"]
    result = CliRunner().invoke(main, [str(metafits), "-q"])
    assert result.exit_code == 2
    assert "no raw files of obsid" in result.stderr


def test_partial_timesteps(small):
    observation = mwaconvert.open(small)
    options = {"flag_edge_width_khz": 0.0, "flag_init_s": 0.0}
    usual, whole = (
        collect(observation.plan(**options, flag_partial_timesteps=flag)) for flag in (False, True)
    )
    lost = observation.hdu_index[:, list(observation.provided_coarse)] < 0
    assert lost.any(axis=1).tolist() == [False, False, True, False]
    assert whole.flags[2].all()
    assert not usual.flags[2].all()
    for k in (0, 1, 3):
        np.testing.assert_array_equal(whole.flags[k], usual.flags[k])
    step = next(
        s for s in observation.plan(flag_partial_timesteps=True).steps if s.name == "partial timestep flags"
    )
    assert step.why == "1 timestep that some coarse channels lack"
