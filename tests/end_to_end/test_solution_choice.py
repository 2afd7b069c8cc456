"""Finding solutions, and refusing those that do not fit: one sentence, exit code 2."""

import logging
import shutil

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner
from conversions import collect
from solution_files import add_calibdata, write_aocal, write_hyperdrive

import mwaconvert
from mwaconvert.cli.main import main
from mwaconvert.conversion.tables.channels import fine_channel_frequencies_hz
from mwaconvert.errors import InputError


@pytest.fixture(scope="module")
def meta(mwax):
    return mwaconvert.open(mwax.metafits).metadata


@pytest.fixture(scope="module")
def freq(meta):
    return np.concatenate([fine_channel_frequencies_hz(meta, c.index) for c in meta.coarse_channels])


@pytest.fixture
def jones(meta, freq):
    return np.broadcast_to(np.array([2, 0, 0, 2j]), (1, meta.n_antennas, len(freq), 4)).copy()


@pytest.fixture
def tiles(meta):
    return [antenna.name for antenna in meta.antennas]


def refuse(mwax, *words):
    result = CliRunner().invoke(main, [str(mwax.metafits), *map(str, words), "--dry-run"])
    logging.captureWarnings(False)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    (line,) = result.stderr.strip().splitlines()
    return line


def truncated(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    return path


def test_another_array(mwax, tmp_path, jones, freq, tiles):
    path = write_aocal(tmp_path / "x.bin", jones[:, :3])
    assert "solutions of 3 tiles, but the observation has 5; choose solutions of the same array" in refuse(
        mwax, "--apply-solutions", path
    )
    path = write_hyperdrive(tmp_path / "x.fits", jones, freq, tiles=[f"LBA{k}" for k in range(5)])
    assert f"solutions of tiles LBA0 to LBA4, but the observation has {tiles[0]} to {tiles[4]}" in refuse(
        mwax, "--apply-solutions", path
    )
    path = write_hyperdrive(tmp_path / "x.fits", jones, freq, tiles=[*tiles, "LBA0"])
    assert "SOLUTIONS has 5 tiles, but TILES has 6 rows" in refuse(mwax, "--apply-solutions", path)


def test_other_channels(mwax, tmp_path, jones, freq, meta):
    path = write_hyperdrive(tmp_path / "x.fits", jones, freq + 20e6)
    line = refuse(mwax, "--apply-solutions", path)
    assert f"solutions of {(freq[0] + 20e6) / 1e6:.2f} to" in line
    assert "no channel in common; choose solutions of the same channels" in line
    path = write_aocal(tmp_path / "x.bin", jones[:, :, :27])
    assert "27 channels do not divide evenly among 2 coarse channels of 16 channels" in refuse(
        mwax, "--apply-solutions", path
    )
    path = write_aocal(tmp_path / f"{meta.obsid}_ch55_solutions.bin", jones[:, :, :16])
    assert "solutions of receiver channels 55 to 55, of which the observation has none" in refuse(
        mwax, "--apply-solutions", path
    )


def test_truncated(mwax, tmp_path, jones, freq):
    whole = write_aocal(tmp_path / "x.bin", jones)
    size = whole.stat().st_size
    for keep, sentence in (
        (
            size - 100,
            f"expected {size} bytes for 1 intervals, 5 antennas and 32 channels, found {size - 100}",
        ),
        (30, "ends within its header of 48 bytes; fetch it again"),
        (5, "not a solution file"),
    ):
        write_aocal(whole, jones)
        assert sentence in refuse(mwax, "--apply-solutions", truncated(whole, keep))
    path = write_hyperdrive(tmp_path / "x.fits", jones, freq)
    for keep, sentence in (
        (9000, "ends after 9000 bytes, within its HDU SOLUTIONS; expected at least"),
        (6000, "; fetch it again"),
        (3000, "fetch it again"),
    ):
        write_hyperdrive(path, jones, freq)
        line = refuse(mwax, "--apply-solutions", truncated(path, keep))
        assert "x.fits: " in line
        assert sentence in line


def test_without_a_single_solution(mwax, tmp_path, jones, freq):
    for path in (
        write_aocal(tmp_path / "x.bin", jones * np.nan),
        write_hyperdrive(tmp_path / "x.fits", jones * np.nan, freq),
    ):
        assert f"{path.name}: holds no solution, all its values are NaN or 0; choose another" in refuse(
            mwax, "--apply-solutions", path
        )
    jones[:, :, :16] = np.nan
    path = write_aocal(tmp_path / "x.bin", jones)
    assert "has no solution for any of the channels of this conversion" in refuse(
        mwax, "--apply-solutions", path, "--sel-chan-ranges", "0"
    )


def test_no_solutions_at_all(mwax, tmp_path, jones, freq):
    assert "no.bin: no such solution file" in refuse(mwax, "--apply-solutions", tmp_path / "no.bin")
    (tmp_path / "text.bin").write_text("hello, these are not solutions")
    assert "text.bin: not a solution file; AOCal (.bin), hyperdrive (.fits)" in refuse(
        mwax, "--apply-solutions", tmp_path / "text.bin"
    )
    assert "holds neither SOLUTIONS (hyperdrive) nor CALIBDATA" in refuse(
        mwax, "--apply-solutions", mwax.metafits
    )
    path = write_aocal(tmp_path / "x.bin", jones)
    data = bytearray(path.read_bytes())
    data[12] = 7
    path.write_bytes(data)
    assert "expected AOCal type 0, structure 0, 4 polarisations, found 0, 7, 4" in refuse(
        mwax, "--apply-solutions", path
    )
    path = write_hyperdrive(tmp_path / "x.fits", jones, freq[::-1])
    assert "the frequencies of CHANBLOCKS do not ascend" in refuse(mwax, "--apply-solutions", path)
    path = write_hyperdrive(tmp_path / "x.fits", jones, freq[:-1])
    assert "SOLUTIONS has 32 along the axis of CHANBLOCKS, which has 31 rows" in refuse(
        mwax, "--apply-solutions", path
    )
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros((2, 3)), name="SOLUTIONS")]).writeto(
        path, overwrite=True
    )
    assert "SOLUTIONS has shape (2, 3)" in refuse(mwax, "--apply-solutions", path)


def test_words(mwax, tmp_path):
    assert "--apply-solutions and --calibrate cannot be combined" in refuse(
        mwax, "--apply-solutions", "x.bin", "--calibrate", tmp_path
    )
    assert "'cubic' is not a way to interpolate; choose from nearest, linear" in refuse(
        mwax, "--solutions-freq", "cubic"
    )
    with pytest.raises(InputError, match="give one of them"):
        mwaconvert.open(mwax.metafits).plan(apply_solutions=tmp_path, calibrate=tmp_path)


# --calibrate


def chosen(mwax, folder):
    plan = mwaconvert.open(mwax.metafits).plan(calibrate=folder)
    (step,) = (step for step in plan.steps if step.name == "calibration solutions")
    return step.reason


def test_the_nearest_in_time_that_fits(mwax, tmp_path, jones, freq, tiles, meta):
    """Of its own obsid first; then by distance, passing over other channels, other arrays and damaged files."""
    obsid = meta.obsid
    (tmp_path / "readme.txt").write_text("hello")
    (tmp_path / f"{obsid}_solutions.png").write_text("hello")
    shutil.copy(mwax.raw[0], tmp_path)  # a raw file is not a candidate
    assert "no solutions suit observation" in refuse(mwax, "--calibrate", tmp_path)
    write_hyperdrive(tmp_path / f"{obsid + 7200}_hyp_sols.fits", jones, freq, tiles=tiles)
    write_hyperdrive(tmp_path / f"{obsid - 3600}_solutions.fits", jones, freq + 1.28e6 * 30, tiles=tiles)
    write_hyperdrive(
        tmp_path / f"{obsid + 1000}_solutions.fits", jones, freq, tiles=[f"L{k}" for k in range(5)]
    )
    truncated(write_aocal(tmp_path / f"{obsid + 10}.bin", jones), 1000)
    reason = chosen(mwax, tmp_path)
    assert reason.startswith(f"{obsid + 7200}_hyp_sols.fits (hyperdrive, found in {tmp_path}, 2.0 h after)")
    (note,) = (n for n in mwaconvert.open(mwax.metafits).plan(calibrate=tmp_path).notes if "`calibrate`" in n)
    assert note.startswith(
        f"`calibrate` passed over nearer solutions for {obsid + 7200}_hyp_sols.fits: {obsid + 10}.bin: "
    )
    assert f"; {obsid + 1000}_solutions.fits: solutions of tiles L0 to L4" in note
    write_aocal(tmp_path / f"{obsid}.bin", jones)
    assert not any("`calibrate`" in n for n in mwaconvert.open(mwax.metafits).plan(calibrate=tmp_path).notes)
    assert chosen(mwax, tmp_path).startswith(f"{obsid}.bin (AOCal, found in {tmp_path}, of this observation)")


def test_aocal_of_another_obsid_needs_its_metafits(mwax, tmp_path, jones, meta):
    other = meta.obsid - 1800
    write_aocal(tmp_path / f"{other}.bin", jones)
    line = refuse(mwax, "--calibrate", tmp_path)
    assert "it does not say which channels it covers; put the metafits of its obsid beside it" in line
    shutil.copy(mwax.metafits, tmp_path / f"{other}.metafits")
    assert "0.5 h before" in chosen(mwax, tmp_path)
    with fits.open(tmp_path / f"{other}.metafits", mode="update") as hdus:
        numbers = hdus[0].header["CHANNELS"].split(",")
        hdus[0].header["CHANNELS"] = ",".join(str(int(n) + 1) for n in numbers)
    assert "is of receiver channels" in refuse(mwax, "--calibrate", tmp_path)


def test_no_folder(mwax, tmp_path):
    assert "no such folder; it must hold solutions such as" in refuse(
        mwax, "--calibrate", tmp_path / "nowhere"
    )
    line = refuse(mwax, "--calibrate", tmp_path)
    assert "there are no files such as <obsid>_solutions.fits or .bin" in line


def test_dry_run_says_what_would_be_applied(mwax, tmp_path, jones):
    path = write_aocal(tmp_path / "x.bin", jones)
    result = CliRunner().invoke(main, [str(mwax.metafits), "--apply-di-cal", str(path), "--dry-run"])
    logging.captureWarnings(False)
    assert result.exit_code == 0, result.output
    assert "x.bin (AOCal, as asked): 32 channels, nearest, one time" in " ".join(result.output.split())


def test_passband_that_solutions_assume(mwax, tmp_path, jones, freq):
    observation = mwaconvert.open(mwax.metafits)
    for flavour, options, said in (
        ("none", {}, "without passband taken out, this conversion takes them out"),
        ("jake", {"passband_gains": "none"}, "with passband taken out, this conversion leaves them in"),
        ("jake", {}, None),
        ("none", {"passband_gains": "none"}, None),
    ):
        path = write_hyperdrive(tmp_path / "x.fits", jones, freq, PFB=flavour)
        notes = " ".join(observation.plan(apply_solutions=path, **options).notes)
        assert (said is None and "may not fit" not in notes) or said in notes.replace(
            "coarse passband", "passband"
        )


def test_matrices_of_zeros_flag(mwax, tmp_path, jones):
    jones[:, 2] = 0
    jones[:, 3, :16] = 0
    jones[:, 1, :, 3] = 0  # one receptor alone is a solution of the other
    observation = mwaconvert.open(mwax.metafits)
    plan = observation.plan(apply_solutions=write_aocal(tmp_path / "x.bin", jones), flag_edge_width_khz=0)
    assert np.flatnonzero(plan.flags.antennas).tolist() == [2]
    flagged = collect(plan).flags
    rows = (plan.header.antenna1 == 3) | (plan.header.antenna2 == 3)
    assert flagged[:, rows, :16].all()
    others = ~rows & (plan.header.antenna1 != 2) & (plan.header.antenna2 != 2)
    np.testing.assert_array_equal(flagged[:, others].all(axis=(1, 2, 3)), plan.flags.times != 0)


def test_zeros_of_the_field(field, tmp_path):
    for path in (*(field / "raw_for_metafits").iterdir(), field / "metafits" / "base.metafits"):
        shutil.copy(path, tmp_path / path.name.replace("base", "1412607288"))
    observation = mwaconvert.open(tmp_path / "1412607288.metafits")
    for name, flagged in (("identity", []), ("zero_tile3", [3])):
        plan = observation.plan(apply_solutions=field / "solutions" / f"{name}.bin")
        assert np.flatnonzero(plan.flags.antennas).tolist() == flagged


def test_calibdata_in_a_folder(mwax, tmp_path, meta, link_files):
    ones = np.ones((meta.n_antennas, 2))
    gains = np.full((meta.n_antennas, 2, 2), 2.0)
    folder = tmp_path / "solutions"
    folder.mkdir()
    with pytest.raises(InputError, match="no solutions suit"):
        mwaconvert.open(mwax.metafits).plan(calibrate=folder)
    near = add_calibdata(
        mwax.metafits, folder / f"{meta.obsid + 3600}.metafits", 0 * ones, 0 * ones, gains, in_order=True
    )
    plan = mwaconvert.open(mwax.metafits).plan(calibrate=folder)
    step = next(step for step in plan.steps if step.name == "calibration solutions")
    assert f"`apply_solutions={near}`, 1.0 h after" in step.reason
    # that of the observation itself is nearer, wherever it is
    own = add_calibdata(mwax.metafits, tmp_path / "with.metafits", 0 * ones, 0 * ones, gains, in_order=True)
    metafits = link_files(mwax, tmp_path / "raw")
    shutil.copy(own, metafits)
    plan = mwaconvert.open(metafits).plan(calibrate=folder)
    assert any(f"`apply_solutions={metafits}`, of this observation" in step.reason for step in plan.steps)
