"""Whether mwalib can read a metafits: many damaged ones make it abort the process, so one of its own tries it.

Takes 0.05 s, so that who has other things to do begins the trial before; this module loads nothing heavy.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

#: reads a metafits and exits; a core dump would stay behind
_TRIAL = """
import resource, sys
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
sys.path.append(sys.argv[1])
import mwalib
mwalib.MetafitsContext(sys.argv[2], None)
"""


def begin_trial(path: Path) -> None:
    """Start what `fatal_failure` will wait for."""
    if path.is_file():
        _process(*_content(path))


def fatal_failure(path: Path) -> str | None:
    """What mwalib says when a file makes it abort the process; None if it does not."""
    return _outcome(*_content(path))


def _content(path: Path) -> tuple[str, int, int]:
    """A file name, and what changes with the content."""
    info = path.stat()
    return str(path.absolute()), info.st_mtime_ns, info.st_size


@functools.lru_cache(maxsize=64)
def _process(path: str, mtime_ns: int, size: int) -> subprocess.Popen[bytes] | None:  # noqa: ARG001 (the key)
    mwalib = find_spec("mwalib")
    if not sys.executable or mwalib is None or mwalib.origin is None:
        return None
    folder = str(Path(mwalib.origin).parents[1])
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _TRIAL, folder, path],
        env=os.environ | {"RUST_BACKTRACE": "0"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


@functools.lru_cache(maxsize=64)
def _outcome(path: str, mtime_ns: int, size: int) -> str | None:
    process = _process(path, mtime_ns, size)
    if process is None:
        return None
    _, said = process.communicate()
    if process.returncode >= 0:
        return None  # good, or a failure that can be caught
    lines = said.decode(errors="replace").strip().splitlines()
    lines = [line for line in lines if line and "panicked at" not in line and not line.startswith("note:")]
    return f"mwalib failed: {lines[0] if lines else f'signal {-process.returncode}'}"
