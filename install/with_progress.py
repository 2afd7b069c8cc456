"""`pip install`, with the build tools that are there, and a line that says how far it is; what pip said is shown if it
fails.

    python install/with_progress.py '.[plot]'

On a terminal the line is written over; elsewhere there is one for each part of the work, and one each 15 s.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections import deque

#: what pip and the build say -> what a person reads, and whether this begins a part of the work
LINES = (
    (re.compile(r"\s*Processing (\S+)"), "reads the project", True),
    (re.compile(r"\s*Collecting ([\w.-]+)"), "finds packages: {0}", False),
    (re.compile(r"\s*Downloading (?:\S*/)?([\w.-]+?)-\d\S* \((.*?)\)"), "downloads {0}, {1}", False),
    (re.compile(r"\s*\*\*\* Configuring CMake"), "looks at the compiler", True),
    (re.compile(r"\s*\[(\d+)/(\d+)\] "), "compiles the kernels: {0} of {1}", False),
    (re.compile(r"\s*\[ *(\d+)%\] "), "compiles the kernels: {0} %", False),
    (re.compile(r"Installing collected packages: (.*)"), "puts packages in place", True),
)
EVERY_S = 15.0


def said(line: str) -> tuple[str, bool] | None:
    """What a line of pip means to a person, and whether a part begins; None: nothing."""
    for pattern, words, begins in LINES:
        if found := pattern.match(line):
            return words.format(*found.groups()), begins
    return None


class Line:
    """One line on a terminal, or a few in a log."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.shown = -EVERY_S
        self.terminal = sys.stdout.isatty()

    def show(self, words: str, begins: bool) -> None:
        now = time.monotonic() - self.begun
        text = f"{now:4.0f} s  {words}"
        if self.terminal:
            print(f"\r{text[:78]}\x1b[K", end="", flush=True)
        elif begins or now - self.shown >= EVERY_S:
            self.shown = now
            print(text, flush=True)

    def end(self, words: str) -> None:
        now = time.monotonic() - self.begun
        print(
            ("\r" if self.terminal else "") + f"{now:4.0f} s  {words}" + "\x1b[K" * self.terminal, flush=True
        )


def main(words: list[str]) -> int:
    """Install; pip's exit code."""
    line = Line()
    line.show("sets up; the first time takes minutes, most of them in the compiler", True)
    command = [sys.executable, "-m", "pip", "install", "-v", "--no-build-isolation"]
    command += ["--disable-pip-version-check", *words]
    kept: deque[str] = deque(maxlen=60)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip:
        assert pip.stdout is not None
        for told in pip.stdout:
            kept.append(told)
            if meant := said(told):
                line.show(*meant)
    if pip.returncode:
        line.end(f"pip failed (exit code {pip.returncode}); its last words:")
        sys.stdout.writelines(kept)
    else:
        line.end("installed")
    return pip.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
