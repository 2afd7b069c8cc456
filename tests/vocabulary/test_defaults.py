"""Files of defaults: which counts, and that what is said in them is as on the command line."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from mwaconvert.cli.main import main


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """The folder of a user's settings; the working folder is another."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config" / "mwaconvert").mkdir(parents=True)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "config" / "mwaconvert"


def dry_run(small, *words: str) -> str:
    done = CliRunner().invoke(main, [str(small), "--dry-run", *words])
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


def test_the_nearer_goes_first_and_it_is_said(home, small):
    (home / "mwaconvert.toml").write_text('[convert]\ntime_res_s = 8\nfreq_res_khz = 80\nrfi = "none"\n')
    Path("mwaconvert.toml").write_text("[service]\nx = 1\n[convert]\ntime_res_s = 4\n")
    text = dry_run(small)
    assert "2 times of 4 s" in text
    assert "x 32 channels of 80 kHz" in text
    assert "defaults of mwaconvert.toml: --timeres 4" in text
    assert f"defaults of {home}/mwaconvert.toml: --freqres 80, --no-rfi" in text.replace(
        "mwaconvert/ ", "mwaconvert/"
    )
    assert "give way to what was said before them: --timeres 8" in text
    text = dry_run(small, "--timeres", "2", "--avg-freq-factor", "4", "--rfi", "builtin")
    assert "4 times of 2 s" in text
    assert "x 16 channels of 160 kHz" in text
    text = dry_run(small, "--no-defaults")
    assert "defaults of" not in text
    assert "x 64 channels of 40 kHz" in text


def test_they_go_before_presets(home, small):
    Path("mwaconvert.toml").write_text("[convert]\nflag_edge_width_khz = 40\n")
    assert "40 kHz at each end" in dry_run(small, "--like", "cotter")


def test_the_report_has_them_too(home, small):
    Path("mwaconvert.toml").write_text("[convert]\ntime_res_s = 4\n")
    assert CliRunner().invoke(main, [str(small), "--report", "done.json", "-q"]).exit_code == 0
    assert "defaults of mwaconvert.toml: " in Path("done.json").read_text()
    assert (
        CliRunner()
        .invoke(main, [str(small), "--dry-run", "--report", "plan.json", "-q", "-o", "b.ms"])
        .exit_code
        == 0
    )
    assert "defaults of mwaconvert.toml: " in Path("plan.json").read_text()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[convert]\ntimeres = 8", "there is no setting timeres"),
        ("[convert]\ntime_res_s = -1", "--timeres: "),
        ("[convert]\ntime_res_s = 8\ntime_factor = 2", "cannot be combined"),
        ("[convert]\nmetafits = 'a.metafits'", "metafits cannot be a default"),
        ("convert = 3", "convert is 3; expected a table"),
        ("[convert", "not valid TOML"),
        ("# \udcff", "not valid TOML"),
    ],
)
def test_what_is_wrong_is_refused(home, small, text, sentence):
    Path("mwaconvert.toml").write_text(text, errors="surrogateescape")
    done = CliRunner().invoke(main, [str(small), "--dry-run"])
    assert done.exit_code == 2
    assert sentence in done.output
    assert "mwaconvert.toml: " in done.output
