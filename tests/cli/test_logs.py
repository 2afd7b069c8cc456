"""What -v shows and what log files keep."""

import json
import logging
import re
from pathlib import Path

import numpy as np
import published
import pytest
from click.testing import CliRunner

from mwaconvert.cli.main import main
from mwaconvert.cli.progress import Progress
from mwaconvert.formats.spectra.sigproc_writer import FilterbankWriter
from mwaconvert.progress import Stage

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (INFO|WARNING|ERROR) mwaconvert[.\w]*: .+")


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(main, [str(word) for word in words])


def test_verbose_tells_what_was_decided_and_why(run, small):
    result = run(small, "-v", "-o", "x.uvfits", "--no-digital-gains")
    assert result.exit_code == 0, result.stderr
    for words in (
        "observation 1412607288 of mwax, 2 raw files of 2 coarse channels",
        "digital gains: not applied, --no-digital-gains",
        "note: Timesteps missing for receiver channel",
        "resources: ",
        "written: x.uvfits",
        "done in ",
    ):
        assert re.search(rf"^mwaconvert: \d\d:\d\d:\d\d .*{re.escape(words)}", result.stderr, re.MULTILINE), (
            words
        )
    assert not logging.getLogger("mwaconvert").handlers
    assert run(small, "-o", "y.uvfits", "--no-progress").stderr == ""


def test_files_keep_lines_of_all_runs(run, small):
    words = (small, "-q", "--log-file", "x.log", "--log-json", "x.jsonl")
    assert run(*words, "-o", "x.uvfits").exit_code == 0
    first = Path("x.log").read_text().splitlines()
    assert all(LINE.fullmatch(line) for line in first)
    assert run(*words, "-o", "x.uvfits").exit_code == 2  # it exists
    lines = Path("x.log").read_text().splitlines()
    assert lines[: len(first)] == first
    assert "ERROR mwaconvert: x.uvfits" in lines[-1].replace(str(Path.cwd()) + "/", "")
    facts = [json.loads(line) for line in Path("x.jsonl").read_text().splitlines()]
    assert [fact["message"] for fact in facts] == [line.split(": ", 1)[1] for line in lines]
    for fact in facts:
        published.check(fact, "log-line")


@pytest.mark.parametrize("option", ["--log-file", "--log-json"])
def test_a_log_never_writes_into_another_file(run, small, option):
    for other in (small, next(small.parent.glob("*_ch*.fits"))):
        before = other.read_bytes()
        result = run(small, option, other, "-o", "x.uvfits")
        assert result.exit_code == 2
        assert other.read_bytes() == before
    result = run(small, option, "no/such/folder/x", "-o", "x.uvfits")
    assert result.exit_code == 2
    assert not Path("x.uvfits").exists()


def test_the_library_sets_no_handler(small):
    import mwaconvert

    mwaconvert.open(small).plan()
    assert not logging.getLogger("mwaconvert").handlers
    assert not logging.getLogger("mwaconvert.conversion.planner").handlers


def test_a_bar_knows_its_total_from_the_start(capsys):
    with Progress(terminal=True) as progress:
        progress(Stage.CONVERTING, 0, 10**9)
        progress(Stage.FINISHING, 0, 0)
    shown = capsys.readouterr().err
    assert "/?" not in shown
    assert "0.0/1.0 GB" in shown
    assert "finishing the outputs" in shown


@pytest.fixture
def spectra(tmp_path):
    values = np.random.default_rng(1).normal(100, 10, (16, 2048)).astype(np.float32)
    with FilterbankWriter(tmp_path / "in.fil", np.linspace(1200.0, 1500.0, 16), 1e-3, 32) as writer:
        writer.write(values)


VERBS = {
    "search": "search in.fil --dm-range 0 30 -o a.csv",
    "dedisperse": "dedisperse in.fil --dm 20 -o a.dat",
    "waterfall": "waterfall in.fil --dm 20 -o a.png",
    "period": "period in.fil --dm-range 0 10 --period-max 0.5 -o a.csv",
    "fold": "fold in.fil --period 0.1 --dm 20 -o a.png",
    "inject": "inject in.fil --dm-range 10 20 --pulses 1 -o a.fil",
    "simulate": "simulate --tiles 2 --coarse-channels 1 --duration 2 -o .",
}


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_that_works_long_keeps_lines(run, spectra, verb):
    done = run(*VERBS[verb].split(), "-q", "--log-file", "x.log", "--log-json=x.jsonl")
    assert done.exit_code == 0, done.stderr
    assert done.output == ""
    lines = Path("x.log").read_text().splitlines()
    assert all(LINE.fullmatch(line) for line in lines)
    assert any(": written: " in line for line in lines)
    assert len(Path("x.jsonl").read_text().splitlines()) == len(lines)
    if verb != "simulate":
        assert any("read in.fil: " in line for line in lines)
        shown = run(*VERBS[verb].split(), "-v", "--overwrite")
        assert re.search(r"^mwaconvert: \d\d:\d\d:\d\d read in.fil", shown.stderr, re.MULTILINE)


def test_qa_keeps_lines(run, small):
    assert run(small, "-q", "-o", "x.uvfits").exit_code == 0
    assert run("qa", "x.uvfits", "-q", "--log-file", "x.log").exit_code == 0
    assert "written: x.uvfits.png" in Path("x.log").read_text()
    refused = run("qa", "x.uvfits", "-q", "--log-file", "x.log")
    assert refused.exit_code == 2
    assert "ERROR mwaconvert: x.uvfits.png: exists already" in Path("x.log").read_text()
