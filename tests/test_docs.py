"""Every command and every Python example of the documentation runs, page by page and in order."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from filterbanks import pulse, write_fil
from solution_files import write_aocal

import mwaconvert
from mwaconvert.cli.main import main

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
#: languages of blocks that nobody runs: output, files, what only a shell can do
NOT_RUN = {"text", "json", "toml", "xml", "ini", "{toctree}", "{include}", "{eval-rst}"}
#: cells of notebooks are Python too
_BLOCK = re.compile(r"^```(?:\{code-cell\} )?(\S*)\n(.*?)^```", re.M | re.S)


def _blocks(page: Path) -> list[tuple[str, str]]:
    return _BLOCK.findall(page.read_text(encoding="utf-8"))


@pytest.fixture
def folder(small, tmp_path, monkeypatch) -> Path:
    """A directory with an observation, solutions and a burst under the names that the pages use."""
    for path in small.parent.iterdir():
        shutil.copy(path, tmp_path)
    for name in ("obs", "1412607288"):
        shutil.copy(small, tmp_path / f"{name}.metafits")
    metadata = mwaconvert.open(small).metadata
    n_channels = len(metadata.coarse_channels) * metadata.n_fine
    identity = np.broadcast_to([1, 0, 0, 1], (1, metadata.n_antennas, n_channels, 4))
    write_aocal(tmp_path / "cal.bin", identity.astype(np.complex128))
    freqs_mhz = 1500 - np.arange(64.0) * 4
    data = pulse(freqs_mhz, 4096, 1e-3, dm=200, t0=1.0, fwhm=3e-3, snr=30)
    write_fil(tmp_path / "burst.fil", data, freqs_mhz, 1e-3)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _run_commands(text: str) -> None:
    for line in text.replace("\\\n", " ").splitlines():
        if not line.startswith("$ "):
            continue  # what the command prints
        program, *words = shlex.split(line.removeprefix("$ "), comments=True)
        assert program == "mwaconvert", line
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0, f"{line}\n{result.output}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_page(page: Path, request: pytest.FixtureRequest) -> None:
    blocks = _blocks(page)
    unknown = {language for language, _ in blocks} - NOT_RUN - {"console", "python"}
    assert not unknown, f"{page.name}: name the language of each block; {unknown} is none that is known"
    runnable = [block for block in blocks if block[0] not in NOT_RUN]
    if not runnable:
        return
    request.getfixturevalue("folder")
    names: dict[str, Any] = {}
    for language, text in runnable:
        if language == "console":
            _run_commands(text)
        else:
            exec(compile(text, page.name, "exec"), names)


def test_what_new_users_typed_is_answered_as_the_page_says() -> None:
    done = subprocess.run(
        [sys.executable, DOCS / "make_first_words.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_pages_have_examples() -> None:
    assert sum(language in ("console", "python") for page in PAGES for language, _ in _blocks(page)) > 20
