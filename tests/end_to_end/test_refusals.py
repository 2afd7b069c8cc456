"""Input that cannot be converted, as the command line meets it: one sentence, exit code 2, nothing left behind."""

import logging
import shutil

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner

from mwaconvert.cli.main import main


@pytest.fixture
def folder(mwax, link_files, tmp_path, monkeypatch):
    """Working folder with a good observation in it."""
    monkeypatch.chdir(tmp_path)
    link_files(mwax, tmp_path)
    yield tmp_path
    logging.captureWarnings(False)  # main() turned it on


@pytest.fixture
def raw(mwax, folder):
    return folder / mwax.raw[0].name


def refuse(folder, mwax, *words):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    result = CliRunner().invoke(main, [mwax.metafits.name, *map(str, words), "-o", "a.uvfits", "-o", "a.ms"])
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    (line,) = result.stderr.strip().splitlines()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    return line


def change(path, old, new):
    """Exchange bytes of a header for as many others."""
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new.ljust(len(old)), 1))


def test_not_fits(folder, mwax, raw):
    raw.write_text("a text")
    assert refuse(folder, mwax).endswith(f"{raw.name}: not a FITS file")


def test_metafits_is_not_fits(folder, mwax):
    (folder / mwax.metafits.name).write_text("a text")
    assert f"{mwax.metafits.name}: not a FITS file" in refuse(folder, mwax)


def test_metafits_cut(folder, mwax):
    path = folder / mwax.metafits.name
    path.write_bytes(path.read_bytes()[:4000])
    assert f"{mwax.metafits.name}: not a usable metafits file" in refuse(folder, mwax)


def test_wrong_obsid(folder, mwax, raw):
    change(raw, b"OBSID   =           1412607288", b"OBSID   =           1412607289")
    line = refuse(folder, mwax)
    assert f"{raw.name}: belongs to obsid 1412607289" in line
    assert "give the metafits of the same observation" in line


def test_mixed_correlators(folder, mwax, legacy, raw):
    line = refuse(folder, mwax, raw, legacy.raw[0])
    assert "is of the legacy correlator and" in line
    assert "give the files of one correlator" in line


def test_no_raw_files(folder, mwax):
    for path in mwax.raw:
        (folder / path.name).unlink()
    assert "no raw files of obsid 1412607288 beside it" in refuse(folder, mwax)


def test_files_cut_before_their_first_integration(folder, mwax):
    for path in mwax.raw:
        here = folder / path.name
        here.write_bytes(here.read_bytes()[:9000])
    assert "none of the 2 raw files holds a whole integration" in refuse(folder, mwax)


def test_file_cut_in_the_middle_converts(folder, mwax, raw):
    """What is whole is used, and said."""
    raw.write_bytes(raw.read_bytes()[: raw.stat().st_size // 2 - 6000])
    result = CliRunner().invoke(main, [mwax.metafits.name])
    assert result.exit_code == 0, result.output
    assert "the file ends inside HDU" in " ".join(result.output.split())
    assert (folder / "1412607288.uvfits").exists()


def test_wrong_dimensions(folder, mwax, raw):
    change(raw, b"NAXIS2  =                   15", b"NAXIS2  =                   14")
    assert "expected 128 x 15 numbers for 5 tiles and 16 fine channels, found 128 x 14" in refuse(
        folder, mwax
    )


@pytest.mark.parametrize("letters", ["RL", "XX"])
def test_unknown_polarisations(folder, mwax, letters):
    path = folder / mwax.metafits.name
    with fits.open(path, mode="update") as hdus:
        table = hdus["TILEDATA"].data
        table["Pol"] = np.where(table["Pol"] == "X", letters[0], letters[1])
    line = refuse(folder, mwax)
    assert mwax.metafits.name in line
    assert "pol" in line.lower()


@pytest.mark.parametrize("key", ["GPSTIME", "CHANNELS", "FINECHAN", "NINPUTS"])
def test_metafits_without_a_key(folder, mwax, key):
    path = folder / mwax.metafits.name
    with fits.open(path, mode="update") as hdus:
        del hdus[0].header[key]
    line = refuse(folder, mwax)
    assert mwax.metafits.name in line
    assert key in line


def test_damaged_tiles(legacy, simulated, link_files, tmp_path, monkeypatch):
    """A Rice tile that ends too early is found while data are read."""
    monkeypatch.chdir(tmp_path)
    sim = simulated(like="legacy-128", fine_khz=320.0, duration_s=4.0, noise_jy=100.0, compress=True)
    link_files(sim, tmp_path)
    path = tmp_path / sim.raw[0].name
    with fits.open(path, disable_image_compression=True) as hdus:
        start, width = hdus[1].fileinfo()["datLoc"], hdus[1].header["NAXIS1"]
    data = bytearray(path.read_bytes())
    row = start + 2 * width
    data[row : row + 4] = (40).to_bytes(4, "big")  # length of the third row of the first integration
    path.write_bytes(data)
    line = refuse(tmp_path, sim)
    assert path.name in line
    assert "corrupt Rice-compressed data" in line
    logging.captureWarnings(False)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--timeres", "3"], "not a multiple of the 2 s of the raw data; choose 2 or 4 s"),
        (["--freqres", "100"], "not a multiple of the 80 kHz of the raw data; choose 80 or 160 kHz"),
        (["--freqres", "240"], "evenly spaced"),
        (["--freqres", "2560"], "wider than a coarse channel"),
        (["--phase-centre", "0", "-91"], "-90 to 90"),
        (["--sel-time", "3", "9"], "timesteps 3 to 9 do not exist"),
        (["--sel-ants", "5"], "antenna 5 does not exist"),
        (["--max-memory", "0.01"], "--max-memory 0.01 GiB is too little"),
        (["--mem", "0.01"], "--max-memory follows from --mem 0.01, percent of"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_options_that_do_not_suit(folder, mwax, words, sentence):
    assert sentence in refuse(folder, mwax, *words)


def test_names_with_blanks_and_signs(folder, mwax):
    """Folders may be called anything."""
    odd = folder / "a b ä'%d{}"
    odd.mkdir()
    for path in (mwax.metafits, *mwax.raw):
        shutil.move(folder / path.name, odd)
    result = CliRunner().invoke(
        main, [str(odd / mwax.metafits.name), "-o", str(odd / "o p.uvfits"), "-o", str(odd / "o p.ms")]
    )
    assert result.exit_code == 0, result.output
    assert (odd / "o p.uvfits").exists()
    assert (odd / "o p.ms").is_dir()
