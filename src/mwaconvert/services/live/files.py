"""Small states on disk: written whole, read back or refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from mwaconvert.errors import FormatError


def write_whole(path: Path, data: str, *, mode: int = 0o600) -> None:
    """Replace a file at once; after a power cut it is the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.touch(mode)
        with beside.open("w", encoding="utf-8") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_facts(path: Path, facts: Any) -> None:
    write_whole(path, json.dumps(facts))


def read_facts(path: Path) -> Any:
    """None if there is no such file.

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
            f"{path}: is no state that was kept; move it away and start again", path=path
        ) from None
