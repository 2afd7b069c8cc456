"""Whether mwalib can read a metafits: many damaged ones make it abort the process, so one of its own tries it.

Takes 0.05 s, so that who has other things to do begins the trial before; this module loads nothing heavy.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

#: reads a metafits and exits; a core dump would stay behind, and a damaged header may promise any size
_TRIAL = """
import resource, sys
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
sys.path.append(sys.argv[1])
import mwalib
mwalib.MetafitsContext(sys.argv[2], None)
"""


def begin_trial(path: Path) -> None:
    """Start what `fatal_failure` will wait for."""
    if path.is_file():
        _trial(*_content(path))


def fatal_failure(path: Path) -> str | None:
    """What mwalib says when a file makes it abort the process; None if it does not."""
    trial = _trial(*_content(path))
    trial.join()
    return trial.failure


def _content(path: Path) -> tuple[str, int, int]:
    """A file name, and what changes with the content."""
    info = path.stat()
    return str(path.absolute()), info.st_mtime_ns, info.st_size


class _Trial(threading.Thread):
    """Waits for the process, so that none is left behind where nobody asks for the result."""

    def __init__(self, path: str) -> None:
        super().__init__(name="metafits trial")
        self.failure: str | None = None
        self._path = path

    def run(self) -> None:
        mwalib = find_spec("mwalib")
        if not sys.executable or mwalib is None or mwalib.origin is None:
            return
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-S", "-c", _TRIAL, str(Path(mwalib.origin).parents[1]), self._path],
                env=os.environ | {"RUST_BACKTRACE": "0"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
            )
        except OSError:
            return  # no process to be had: mwalib reads the file untried
        if done.returncode >= 0:
            return  # good, or a failure that can be caught
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        said = [line for line in lines if line and "panicked at" not in line and not line.startswith("note:")]
        self.failure = said[0] if said else f"mwalib ends with signal {-done.returncode}"


@functools.lru_cache(maxsize=64)
def _trial(path: str, mtime_ns: int, size: int) -> _Trial:  # noqa: ARG001 (part of the key)
    trial = _Trial(path)
    trial.start()
    return trial
