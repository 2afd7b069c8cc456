"""Several observations in one call."""

import doctest
from pathlib import Path

import pytest
from click.testing import CliRunner

from mwaconvert.cli.main import main
from mwaconvert.errors import InputError
from mwaconvert.simulate import simulate
from mwaconvert.vocabulary import several
from mwaconvert.vocabulary.several import by_observation


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two observations in one folder."""
    folder = tmp_path_factory.mktemp("two")
    same = {"n_tiles": 4, "fine_khz": 640.0, "duration_s": 4.0, "coarse_channels": 1}
    return [simulate(folder, "mwax-128", obsid=1412607288 + 3600 * k, **same).metafits for k in (0, 1)]


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(main, [*map(str, words), "--no-rfi", "--no-progress"])


def made():
    return sorted(path.name for path in Path().iterdir())


def test_examples():
    assert doctest.testmod(several).failed == 0


def test_one_output_for_each(run, two):
    names = [f"{path.stem}.ms" for path in two]
    result = run(*two, "-o", "{obsid}.ms", "--report", "{obsid}.json")
    assert result.exit_code == 0, result.stderr
    assert made() == sorted([*names, *(f"{path.stem}.json" for path in two)])
    assert result.stdout.count("observation") >= 2
    # raw files are sorted by the obsid in their names
    raw = sorted(two[0].parent.glob("*.fits"))
    result = run(*raw, *two, "-o", "{obsid}.uvfits", "-q")
    assert result.exit_code == 0, result.stderr
    assert {f"{path.stem}.uvfits" for path in two} <= set(made())


def test_default_names_and_a_list(run, two):
    Path("list.txt").write_text(f"# mine\n{two[0].with_suffix('')}\n\n{two[1]}  # the second\n")
    result = run("@list.txt", "-q")
    assert result.exit_code == 0, result.stderr
    assert {f"{path.stem}.uvfits" for path in two} <= set(made())


def test_skip_existing(run, two):
    assert run(two[0], "-o", "{obsid}.uvfits").exit_code == 0
    before = Path(f"{two[0].stem}.uvfits").stat()
    result = run(*two, "-o", "{obsid}.uvfits", "--skip-existing")
    assert result.exit_code == 0, result.stderr
    assert f"{two[0].stem}: skipped, {two[0].stem}.uvfits exists" in result.stdout
    assert Path(f"{two[0].stem}.uvfits").stat() == before
    assert Path(f"{two[1].stem}.uvfits").exists()
    assert run(two[0], "--skip-existing", "--overwrite").exit_code == 2


def test_one_that_fails_does_not_stop_the_others(run, two, tmp_path):
    bad = tmp_path / "1000000000.metafits"
    bad.write_text("no")
    result = run(bad, two[1], "-q")
    assert result.exit_code == 2
    assert "1000000000.metafits: not a FITS file" in result.stderr
    assert result.stderr.strip().endswith("1 of 2 observations could not be converted")
    assert Path(f"{two[1].stem}.uvfits").exists()


def test_names_that_would_be_shared(run, two):
    for words in (["-o", "x.ms"], ["--qa", "x.png"], ["--report", "x.json"]):
        result = run(*two, *words)
        assert result.exit_code == 2
        assert "several observations would write it; put {obsid} where the obsid goes" in result.stderr
    assert made() == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["1000000000.metafits", "1000000000_metafits.fits"], "are both of observation 1000000000: give one"),
        (
            ["1000000000.metafits", "1000000008.metafits", "1000000016_x.fits"],
            "belongs to none of the 2 observations",
        ),
        (["@no.txt"], "no.txt: the list of observations cannot be read: No such file"),
    ],
)
def test_words_that_do_not_fit(words, sentence):
    with pytest.raises(InputError, match=sentence):
        by_observation(words)


def test_a_list_that_is_none(tmp_path):
    path = tmp_path / "list"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="bytes that are not text"):
        by_observation([f"@{path}"])
    path.write_text("# nothing\n")
    with pytest.raises(InputError, match="is empty"):
        by_observation([f"@{path}"])
