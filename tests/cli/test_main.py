"""The command as a user meets it: verbs, exit codes, what is printed, what is left behind."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from mwaconvert.cli.main import _VERBS, _stoppable, main
from mwaconvert.cli.progress import Progress
from mwaconvert.progress import Stage
from mwaconvert.simulate import simulate

# main() asks for warnings to be logged; that must not outlive a test
pytestmark = pytest.mark.usefixtures("_plain_logging")


@pytest.fixture
def _plain_logging():
    yield
    import logging

    logging.captureWarnings(False)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a command line in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def invoke(*words: object) -> Result:
        return CliRunner().invoke(main, [str(word) for word in words])

    return invoke


def files() -> list[str]:
    """What lies in the working folder."""
    return sorted(path.name for path in Path().iterdir())


def refused(result: Result) -> str:
    """The sentence of a command that was refused."""
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert result.stdout == ""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("mwaconvert: ")
    return lines[0]


def test_help_is_quick_and_shows_examples():
    """Nothing heavy is imported for it."""
    code = (
        "import sys; from mwaconvert.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as stop: assert not stop.code\n"
        "heavy = {'numpy', 'astropy', 'mwalib', 'rich', 'mwaconvert._core'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "mwaconvert 1234567890.metafits --timeres 8 --freqres 40" in done.stdout
    assert all(verb in done.stdout for verb in ("convert", "simulate", "info"))


@pytest.mark.parametrize("verb", [(), ("convert",), ("simulate",), ("info",)])
def test_help_of_every_verb(run, verb):
    result = run(*verb, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: mwaconvert")
    assert max(map(len, result.stdout.splitlines())) <= 100


def test_no_arguments_show_the_help(run):
    assert run().stdout == run("--help").stdout


def test_version(run):
    # 0+checkout where it is not installed
    assert re.fullmatch(r"mwaconvert, version \d+[.+]\w\S*\n", run("--version").stdout)


def test_convert_is_the_default_verb(run, small, tmp_path):
    result = run(small, "--timeres", "4", "--freqres", "80", "--norfi")
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "1412607288.uvfits").stat().st_size > 0
    assert files() == ["1412607288.uvfits"]
    text = result.stdout
    assert "2 files" in text
    assert "1 integration missing and flagged: 1 of channel 132" in text
    assert re.search(r"applied +cable delays", text)
    assert re.search(r"RFI detection +--no-rfi", text)
    assert "1412607288.uvfits (" in text


def test_convert_can_be_said(run, small):
    assert run("convert", small, "-q").exit_code == 0
    assert files() == ["1412607288.uvfits"]


def test_report_says_what_was_asked(run, small):
    result = run(
        small, "--report", "r.json", "-o", "a.uvfits", "--flag-antennas", "Tile012", "-q", "--nogeom"
    )
    assert (result.exit_code, result.output) == (0, "")
    report = json.loads(Path("r.json").read_text())
    assert report["options"]["flag_antennas"] == [1]
    assert report["command_line"]
    steps = {step["name"]: step for step in report["steps"]}
    assert not steps["geometric delays"]["applied"]
    assert "`geometric_delay=False`" in steps["geometric delays"]["reason"]
    assert report["input"]["missing_hdus"] == [{"receiver_channel": 132, "timestep": 2}]
    assert report["outputs"][0]["bytes"] == Path("a.uvfits").stat().st_size


def test_dry_run_writes_nothing(run, small, tmp_path):
    result = run(small, "--dry-run", "--timeres", "8s", "-o", "a.uvfits", "--no-rfi")
    assert result.exit_code == 0, result.stderr
    assert files() == []
    for word in (
        "would read",
        "would apply",
        "would write",
        "a.uvfits",
        "smearing",
        "memory",
        "RFI detection",
    ):
        assert word in result.stdout


def test_dry_run_refuses_what_a_run_would(run, small, tmp_path):
    (tmp_path / "a.uvfits").write_text("")
    result = run(small, "--dry-run", "-o", "a.uvfits", "--no-rfi")
    assert result.exit_code == 2
    assert "a.uvfits: exists already" in result.stderr
    assert run(small, "--dry-run", "-o", "a.uvfits", "--no-rfi", "--overwrite").exit_code == 0


def test_dry_run_as_json(run, small):
    assert run(small, "--dry-run", "-q", "--report", "plan.json").exit_code == 0
    plan = json.loads(Path("plan.json").read_text())
    assert plan["format"] == "mwaconvert plan"
    assert plan["output"]["times"] == 4
    assert plan["output"]["baselines"] == 36
    assert plan["output"]["files"][0]["path"] == "1412607288.uvfits"


def test_presets_reach_the_plan(run, small):
    result = run(small, "--dry-run", "--like", "cotter", "-o", "a.uvfits", "-edgewidth", "40")
    assert result.exit_code == 0, result.stderr
    assert "40 kHz at each end: 1 channel of " in result.stdout
    assert "first 4 s" in result.stdout
    assert "cotter response" in result.stdout


@pytest.mark.parametrize(("fine_khz", "n_fine"), [(640.0, "2 channels"), (1280.0, "1 channel")])
def test_edges_of_few_channels(run, fine_khz, n_fine):
    """The usual width flags what it can, whichever preset it comes from; one that was asked for must fit."""
    simulate("wide", like="mwax-128", n_tiles=3, duration_s=4.0, coarse_channels=(109,), fine_khz=fine_khz)
    (metafits,) = Path("wide").glob("*.metafits")
    for preset in ((), ("--like", "cotter")):
        result = run(metafits, "--dry-run", *preset)
        assert result.exit_code == 0, result.stderr
        assert f"none: 80 kHz at each end would leave nothing of {n_fine}" in " ".join(result.stdout.split())
    result = run(metafits, "--dry-run", "--flag-edge-width", "80")
    assert result.exit_code == 2
    assert "edge flags: 1 channel at each end would leave nothing of the" in result.stderr


def test_channels_without_files(run):
    """Ours: only channels that have files. Birli's and cotter's: those between them too, flagged."""
    words = [
        "--coarse-channels",
        "3",
        "--missing",
        "ch=1",
        "--tiles",
        "4",
        "--duration",
        "4",
        "-o",
        "sim",
        "-q",
    ]
    assert run("simulate", *words).exit_code == 0
    metafits = "sim/1412607288.metafits"
    for words, channels in (([], [32, 32]), (["--like", "birli"], [96]), (["--like", "cotter"], [96])):
        assert run(metafits, "--dry-run", "-q", "--report", "p.json", "--overwrite", *words).exit_code == 0
        plan = json.loads(Path("p.json").read_text())
        assert (plan["output"]["channels"], plan["output"]["spectral_windows"]) == (
            sum(channels),
            len(channels),
        )
    assert run(metafits, "--sel-chan-ranges", "1-2", "-o", "b.uvfits").exit_code == 0


def test_a_reader_that_stops_is_no_error_to_speak_of():
    code = "import sys; sys.argv[1:] = ['convert', '--help']; from mwaconvert.cli.main import main; main()"
    done = subprocess.run(
        f'{sys.executable} -c "{code}" | head -c 10; exit 0',
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "Usage: mwa"
    assert "Traceback" not in done.stderr


def test_info(run, small):
    result = run("info", small, "-v")
    assert result.exit_code == 0, result.stderr
    for word in ("1412607288", "8, flagged 1", "Tile016", "131", "4/4", "3/4", "GEODEL=0", "would write"):
        assert word in result.stdout


def test_info_without_raw_files(run, small, tmp_path):
    lonely = tmp_path / "lonely.metafits"
    lonely.write_bytes(small.read_bytes())
    result = run("info", lonely)
    assert result.exit_code == 0, result.stderr
    assert "no raw files of 1412607288" in result.stdout
    assert "electrical lengths of the metafits" in result.stdout


def test_info_as_json(run, small):
    facts = json.loads(run("info", small, "--json").stdout)
    assert facts["observation"]["antennas_flagged"] == ["Tile016"]
    assert facts["present"] == [[1, 1], [1, 1], [1, 0], [1, 1]]
    assert facts["common"] == [0, 1]
    assert facts["default_plan"]["output"]["channels"] == 64


def test_simulate(run, tmp_path):
    words = ["--duration", "4", "--coarse-channels", "100,105", "--tiles", "4", "--point", "0x", "-27", "10"]
    result = run("simulate", *words[:6], "--point", "0", "-27d0m", "10", "-o", "sim")
    assert result.exit_code == 0, result.stderr
    raw = sorted(path.name for path in (tmp_path / "sim").iterdir())
    assert len(raw) == 3
    assert raw == sorted(Path(line).name for line in result.stdout.splitlines())
    assert "'0x' is not an angle" in refused(run("simulate", *words, "-o", "sim2"))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nope.metafits"], "nope.metafits"),
        (["inof", "x.metafits"], "no verb or metafits file 'inof'"),
        (["--timeres", "8"], "no metafits file given"),
        (["OBS", "--timres", "8"], "there is no option --timres; did you mean --timeres?"),
        (["OBS", "--van-vleck"], "these are MWAX data"),
        (["OBS", "-x"], "-x"),
        (["OBS", "--timeres"], "--timeres"),
        (["OBS", "--timeres", "3"], "not a multiple of the 2 s"),
        (["OBS", "--phase-centre", "0", "-100"], "outside -90 to 90"),
        (["OBS", "-o", "nowhere/a.uvfits"], "directory nowhere does not exist"),
        (["OBS", "-o", "a.uvfits", "-o", "a.uvfits", "--flag-antennas", "8"], "antenna 8 does not exist"),
        (["OBS", "--flag-antennas", "Tile999,"], "antenna 'Tile999' does not exist"),
        (["OBS", "--sbcount", "4"], "an MWAX observation has none"),
        (["OBS", "--report", "nowhere/r.json"], "directory nowhere does not exist"),
        (["info"], "OBS.METAFITS"),
        (["simulate"], "--output"),
        (["simulate", "--like", "x", "-o", "sim"], "like x"),
        (["simulate", "--duration", "eight", "-o", "sim"], "'eight' is not a number"),
    ],
)
def test_refusals_are_one_sentence(run, small, tmp_path, words, sentence):
    words = [small if word == "OBS" else word for word in words]
    assert sentence.lower() in refused(run(*words)).lower()
    assert files() == []


def test_existing_output_stays(run, small):
    Path("1412607288.uvfits").write_text("precious")
    assert "exists already" in refused(run(small))
    assert "is never replaced: it is not a uvfits file" in refused(run(small, "--overwrite"))
    assert Path("1412607288.uvfits").read_text() == "precious"
    Path("r.json").write_text("precious")
    assert "r.json: exists already" in refused(run(small, "-o", "b.uvfits", "--report", "r.json"))
    assert files() == ["1412607288.uvfits", "r.json"]


def at_progress(monkeypatch, error: BaseException) -> None:
    """Raise in the middle of a run."""

    def fail(self: Progress, stage: str, done: int, total: int) -> None:
        raise error

    monkeypatch.setattr(Progress, "__call__", fail)


def test_interrupt(run, small, monkeypatch):
    at_progress(monkeypatch, KeyboardInterrupt())
    result = run(small)
    assert result.exit_code == 130
    assert result.stderr.strip().endswith("interrupted; no output was left half-written")
    assert files() == []


def test_full_disk(run, small, monkeypatch):
    at_progress(monkeypatch, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "1412607288.uvfits"))
    assert "No space left on device" in refused(run(small))
    assert files() == []


def test_out_of_memory(run, small, monkeypatch):
    at_progress(monkeypatch, MemoryError())
    assert "out of memory" in refused(run(small))


def test_unexpected_errors_ask_for_a_report(run, small, monkeypatch):
    at_progress(monkeypatch, ZeroDivisionError("division by zero"))
    result = run(small)
    assert result.exit_code == 1
    assert "unexpected ZeroDivisionError: division by zero; please report this" in result.stderr
    assert "Traceback" not in result.stderr
    result = run(small, "-v")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr


@pytest.mark.parametrize(("stop", "code"), [(signal.SIGTERM, "143"), (signal.SIGHUP, "129")])
def test_signals_unwind(stop, code):
    before = signal.getsignal(stop)
    with pytest.raises(SystemExit, match=code), _stoppable():
        signal.raise_signal(stop)
    assert signal.getsignal(stop) is before


def test_nohup_stays(monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with _stoppable():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_progress_lines_are_rare(capsys, monkeypatch):
    clock = iter(range(0, 10000, 2))
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    with Progress(terminal=False) as progress:
        for done in range(0, 1001, 5):
            progress(Stage.CONVERTING, done * 10**6, 10**9)
    lines = capsys.readouterr().err.splitlines()
    assert 5 <= len(lines) <= 10
    assert re.fullmatch(r"mwaconvert: converting, 10 % of 1 GB done, about \d+ s left", lines[0])


def test_progress_can_be_silent(capsys):
    with Progress(enabled=False, terminal=True) as progress:
        progress(Stage.CONVERTING, 1, 2)
    assert capsys.readouterr() == ("", "")


def test_progress_bar_on_a_terminal(capsys):
    with Progress(terminal=True) as progress:
        progress(Stage.CONVERTING, 1, 2)
        progress(Stage.CONVERTING, 2, 2)
    assert "converting" in capsys.readouterr().err


def test_the_list_of_verbs_says_what_they_say():
    context = click.Context(main)
    shown = CliRunner().invoke(main, ["--help"]).output
    for verb, what in _VERBS.items():
        assert main.get_command(context, verb).get_short_help_str(200) == what
        assert what in shown
