"""Completion as somebody types it: bash, zsh and fish in a terminal of tmux."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import mwaconvert

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed"),
]

#: how a shell starts with nothing but what `completion --install` wrote
START = {
    "bash": ("bash --noprofile --norc", "source {home}/.local/share/bash-completion/completions/mwaconvert"),
    "zsh": ("zsh -f", "fpath+=({home}/.local/share/zsh/site-functions); autoload -Uz compinit; compinit -D"),
    "fish": ("fish --private", "true"),
}


class Terminal:
    """A terminal, and what stands in it."""

    def __init__(self, home: Path, program: str) -> None:
        self._tmux = ["tmux", "-f", "/dev/null", "-S", str(home / "tmux")]
        env = {
            "PATH": f"{home / 'bin'}:{os.environ['PATH']}",
            "HOME": str(home),
            "PYTHONPATH": str(Path(mwaconvert.__file__).parents[1]),
            "TERM": "xterm",
            "LANG": "C.UTF-8",
        }
        subprocess.run(
            [*self._tmux, "new-session", "-d", "-x", "120", "-y", "60", "-c", str(home), program],
            env=env,
            check=True,
        )

    def type(self, *keys: str) -> None:
        subprocess.run([*self._tmux, "send-keys", "--", *keys], check=True)

    def text(self) -> str:
        return subprocess.run(
            [*self._tmux, "capture-pane", "-p"], check=True, capture_output=True, text=True
        ).stdout

    def wait_for(self, words: str) -> None:
        end = time.monotonic() + 120
        while words not in self.text():
            assert time.monotonic() < end, f"no {words!r} in:\n{self.text()}"
            time.sleep(0.1)

    def close(self) -> None:
        subprocess.run([*self._tmux, "kill-server"], check=True)


@pytest.fixture
def home(tmp_path) -> Path:
    """A home with the command, an observation's name and nothing else."""
    program = tmp_path / "bin" / "mwaconvert"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m mwaconvert "$@"\n')
    program.chmod(0o755)
    (tmp_path / "1412607288.metafits").touch()
    return tmp_path


@pytest.fixture(params=sorted(START))
def terminal(request, home) -> Iterator[Terminal]:
    shell = request.param
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    env = {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(mwaconvert.__file__).parents[1]),
    }
    subprocess.run([home / "bin" / "mwaconvert", "completion", shell, "--install"], env=env, check=True)
    start, then = START[shell]
    terminal = Terminal(home, start)
    try:
        terminal.type(then.format(home=home) + "; echo is''ready", "Enter")
        terminal.wait_for("isready")
        yield terminal
    finally:
        terminal.close()


def test_verbs_files_and_options(terminal):
    terminal.type("mwaconvert sear", "Tab")
    terminal.wait_for("mwaconvert search")
    terminal.type("C-u", "mwaconvert 14126", "Tab")
    terminal.wait_for("mwaconvert 1412607288.metafits")
    terminal.type("--timer", "Tab")
    terminal.wait_for("1412607288.metafits --timeres")
    terminal.type("C-u", "mwaconvert archive compa", "Tab")
    terminal.wait_for("mwaconvert archive compare")


def test_the_man_page_is_found(home):
    if shutil.which("man") is None:
        pytest.skip("man is not installed")
    env = {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(mwaconvert.__file__).parents[1]),
    }
    subprocess.run([home / "bin" / "mwaconvert", "completion", "bash", "--install"], env=env, check=True)
    env |= {"MANPATH": f"{home}/.local/share/man", "LANG": "C.UTF-8"}
    shown = subprocess.run(
        ["man", "--warnings", "mwaconvert-convert"], env=env, check=True, capture_output=True, text=True
    )
    assert "--freqres" in shown.stdout
    assert shown.stderr == ""
