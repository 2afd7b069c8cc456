"""Small files and states on disk: written whole, read back or refused."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mwaconvert.errors import FormatError, InputError


@contextmanager
def whole(path: Path, *, mode: int = 0o644) -> Iterator[Path]:
    """A name beside a file, which takes its place at the end: after a power cut it is the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.touch(mode)
        yield beside
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_whole(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Replace a file at once."""
    with whole(path, mode=mode) as beside:
        beside.write_text(text, encoding="utf-8")


def write_facts(path: Path, facts: Any) -> None:
    """Keep a state, as JSON, for its owner alone."""
    write_whole(path, json.dumps(facts), mode=0o600)


def read_facts(path: Path) -> Any:
    """A state that was kept; None if there is no such file.

    Raises
    ------
    FormatError
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, UnicodeDecodeError):
        raise FormatError(
            f"{path}: is not a state that was kept; move it away and start again", path=path
        ) from None


def refuse_shared(path: Path) -> None:
    """Raises InputError if others than its owner may read a file of secrets, or it is not there."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", path=path) from None
    if mode & 0o077:
        raise InputError(f"{path}: others than its owner can read the secrets in it; chmod 600", path=path)
