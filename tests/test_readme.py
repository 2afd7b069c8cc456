"""Every command and every example of the README runs."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from filterbanks import pulse, write_fil
from solution_files import write_aocal

import mwaconvert
from mwaconvert.cli.main import main

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)


def commands() -> list[str]:
    lines = [
        line.removeprefix("$ ").split("  #")[0].strip() for _, text in BLOCKS for line in text.splitlines()
    ]
    return [line for line in lines if line.startswith("mwaconvert ")]


@pytest.fixture
def folder(small, tmp_path, monkeypatch) -> Path:
    """A directory with an observation under the names that the README uses."""
    for path in small.parent.iterdir():
        shutil.copy(path, tmp_path)
    shutil.copytree(small.parent, tmp_path / "raw" / small.stem[:10])
    (tmp_path / "products").mkdir()
    (tmp_path / "jobs.csv").write_text(f"obs_id={small.stem[:10]}, job_type=c, output=uvfits\n")
    shutil.copy(small, tmp_path / "obs.metafits")
    shutil.copy(small, tmp_path / "1412607288.metafits")
    metadata = mwaconvert.open(small).metadata
    n_channels = len(metadata.coarse_channels) * metadata.n_fine
    identity = np.broadcast_to([1, 0, 0, 1], (1, metadata.n_antennas, n_channels, 4))
    write_aocal(tmp_path / "cal.bin", identity.astype(np.complex128))
    freqs_mhz = 1500 - np.arange(64.0) * 4
    data = pulse(freqs_mhz, 4096, 1e-3, dm=200, t0=1.0, fwhm=3e-3, snr=30)
    write_fil(tmp_path / "burst.fil", data, freqs_mhz, 1e-3)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_commands_are_found():
    assert len(commands()) >= 8


@pytest.mark.parametrize("command", commands())
def test_command(command, folder):
    words = shlex.split(command)[1:]
    if "simulate" in words:  # as written, but small
        words += ["--like", "mwax-128", "--tiles", "8", "--duration", "2"]
    if words[:2] == ["jobs", "list"]:
        run = ["jobs", "run", "jobs.csv", "--root", "raw", "-d", "products", "-q"]
        assert CliRunner().invoke(main, run).exit_code == 0
    if "qa" in words:
        assert CliRunner().invoke(main, ["obs.metafits", "-o", "obs.ms", "-q"]).exit_code == 0
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output


def test_library_example(folder, capsys):
    (code,) = [text for language, text in BLOCKS if language == "python"]
    exec(compile(code, "README.md", "exec"), {})
    assert "obs.ms" in capsys.readouterr().out
    assert (folder / "obs2.uvfits").exists()


def test_make_targets():
    """`make demo` and `make test` exist, and the demo's own commands run."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    for target in ("demo", "test"):
        subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True)


def test_demo_commands(tmp_path, monkeypatch):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    simulate, convert = re.findall(r"mwaconvert (.*)", makefile.split("\ntest:")[0].split("demo:")[1])
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    assert runner.invoke(main, [*shlex.split(simulate), "--tiles", "8"]).exit_code == 0
    metafits = next((tmp_path / "demo").glob("*.metafits"))
    words = [str(metafits) if word == "*.metafits" else word for word in shlex.split(convert)]
    assert runner.invoke(main, words).exit_code == 0
    assert (tmp_path / f"{metafits.stem}.uvfits").exists()
