"""What a user types who has not read the manual."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from mwaconvert.cli.main import _VERBS, main
from mwaconvert.errors import InputError
from mwaconvert.vocabulary import values
from mwaconvert.vocabulary.arguments import prepare
from mwaconvert.vocabulary.request import build


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def invoke(*words, **environment):
        return CliRunner().invoke(main, list(words), env=environment)

    return invoke


@pytest.mark.parametrize("verb", _VERBS)
def test_a_verb_alone_says_what_it_wants(run, verb):
    result = run(verb)
    assert result.exit_code == 2
    assert "unexpected" not in result.output
    assert result.output.strip()


WORDS = ["", "c", "con", "--he", "convert ", "convert --ti", "convert --phase-centre ", "convert --no-such --ti",
         "x.metafits ", "x.metafits --ti", "cnovert --ti", "search --d", "search -dm 3 --d", "jobs ", "archive p",
         "simulate --like ", "info -", "qa --th", "convert -o ", "search ",
         "fil_info --j", "--version ", "-"]  # fmt: skip


@pytest.mark.parametrize("typed", WORDS)
def test_completion(run, typed):
    words = f"mwaconvert {typed}"
    count = str(len(words.split(" ")) - 1)
    result = run(_MWACONVERT_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=count)
    assert result.exit_code in (0, 1), result.output
    assert "mwaconvert:" not in result.output
    if typed in ("c", "con"):
        assert "plain,convert" in result.output.split()
    if typed.endswith("--ti"):
        assert result.output == "" or "plain,--timeres" in result.output.split()
    if typed in ("x.metafits ", "convert -o ", "search "):
        assert result.output.split() == ["file,"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("cnovert", "there is no verb or metafits file 'cnovert'; did you mean convert?"),
        ("serach x.fil", "did you mean search?"),
        ("fil-inof x.fil", "did you mean fil-info?"),
        ("xyzzy", "see mwaconvert --help"),
        ("burst.fil", "burst.fil is a file of spectra, not a metafits: look for pulses with mwaconvert"),
        ("convert burst.sf", "mwaconvert search burst.sf"),
        ("old.ms", "mwaconvert qa old.ms -o look.png"),
        ("fil_info x.fil", "x.fil: no such file"),
        ("x.metafits -j 2000", "2000 is not a number of threads from 0 (all cores) to 1024"),
        ("search x.fil --dm-range 0 10 -j 2000", "2000 is not a number of threads from 0 (all cores) to 1024"),
    ],
)  # fmt: skip
def test_the_sentence_names_what_was_meant(run, words, sentence):
    result = run(*words.split())
    assert result.exit_code == 2
    assert sentence in result.stderr


@pytest.mark.parametrize("words", ["x.metafits --version", "--version", "-V", "x.metafits -o x.ms -V"])
def test_version(run, words):
    result = run(*words.split())
    assert result.exit_code == 0
    assert result.stdout.startswith("mwaconvert, version ")


@pytest.mark.parametrize(
    "words",
    [
        ["--phase-centre", "12h30m", "-27d30m"],
        ["--phase-centre=12h30m", "-27d30m"],
        ["--phase-centre", "12h30m,-27d30m"],
        ["--phase-centre=12h30m,-27d30m"],
        ["--phase-centre", "12h30m00s-27d30m00s"],
        ["--phase-centre", "187.5,-27.5"],
        ["--phase-centre", "187.5 -27.5"],
        ["--phasecentre=12:30:00 -27:30:00"],
        ["--phase-centre", "12 30 00 -27 30 00"],
    ],
)
def test_a_centre_in_one_word_or_two(words):
    from mwaconvert.cli.convert import convert

    context = convert.make_context("convert", ["x.metafits", *words, "--dry-run"])
    assert context.params["words"] == ("x.metafits",)
    (given,) = context.params["phasecentre"]
    assert values.direction(*given) == (187.5, -27.5)
    assert context.params["dryrun"]


def test_angles_in_one_word():
    assert values.two_angles("-27.5") is None
    assert values.two_angles("12h30m00s") is None
    assert values.two_angles("1e-3,5") == ("1e-3", "5")
    assert prepare(["--phase-centre", "1", "2", "x"]) == ["--phase-centre", "1", "2", "x"]
    assert prepare(["--phase-centre"]) == ["--phase-centre"]


def test_units_of_memory():
    assert values.gibibytes("512MB") == pytest.approx(512e6 / 2**30)
    assert values.gibibytes("1TiB") == 1024


def test_suffixes_in_capitals():
    assert values.output("a.MS") == Path("a.MS")
    assert values.ms_output("a.MS") == Path("a.MS")
    assert values.uvfits_output("a.UVFITS") == Path("a.UVFITS")


def test_capitals_are_written(run, small):
    result = run(str(small), "-o", "a.MS", "--no-rfi", "-q")
    assert result.exit_code == 0, result.stderr
    assert Path("a.MS/table.dat").exists()


def test_an_obsid_or_a_folder_names_the_metafits(run, small, tmp_path, monkeypatch):
    for words in (small.with_suffix(""), small.parent):
        result = run(str(words), "--dry-run")
        assert result.exit_code == 0, result.stderr
        result = run("info", str(words))
        assert result.exit_code == 0, result.stderr
    monkeypatch.chdir(small.parent)
    assert CliRunner().invoke(main, [small.stem, "--dry-run", "-q"]).exit_code == 0
    result = run(str(tmp_path), "--dry-run")
    assert result.exit_code == 2
    assert "this folder holds no metafits file; name one" in result.stderr


def test_no_metafits_at_all():
    with pytest.raises(InputError, match="no metafits file given"):
        build({}, [])


@pytest.mark.parametrize("words", [["--help"], ["convert", "--help"], ["info", "OBS"]])
def test_a_reader_that_has_seen_enough(small, words):
    command = [sys.executable, "-m", "mwaconvert", *(str(small) if word == "OBS" else word for word in words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0
