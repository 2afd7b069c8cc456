"""Outputs grow under a temporary name beside the target and get their own name when they are whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mwaconvert.errors import InputError, ResourceError
from mwaconvert.text import json_text


class StagedPath:
    """A file or directory being written.

    Parameters
    ----------
    target : the final name
    overwrite : whether an existing target may be replaced (it stays in place until the new one is whole)

    Raises
    ------
    InputError : the target exists and `overwrite` is False
    ResourceError : its directory cannot be written
    """

    def __init__(self, target: Path, overwrite: bool) -> None:
        self.target = target
        self.temporary = target.with_name(f".{target.name}.part{os.getpid()}")
        if (target.exists() or target.is_symlink()) and not overwrite:
            raise InputError(f"{target}: exists already; choose another name or pass --overwrite")
        folder = target.parent
        if not folder.is_dir():
            raise ResourceError(f"{target}: its directory {folder} does not exist; create it first")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise ResourceError(f"{target}: no permission to write in {folder}")
        remove(self.temporary)

    def commit(self) -> None:
        """Sync the temporary file and rename it to the target."""
        if self.temporary.is_dir():
            for path in [*self.temporary.rglob("*"), self.temporary]:
                _sync(path)
            remove(self.target)  # a directory cannot replace another in one step
        else:
            _sync(self.temporary)
            if self.target.is_dir() and not self.target.is_symlink():
                remove(self.target)
        self.temporary.replace(self.target)
        _sync(self.target.parent)

    def discard(self) -> None:
        """Remove the temporary file."""
        remove(self.temporary)


def remove(path: Path) -> None:
    """Remove a file or a directory tree, if there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_json(path: Path, facts: Mapping[str, Any], *, overwrite: bool) -> None:
    """Write `json_text` under a temporary name, then give it its own.

    Raises
    ------
    InputError, ResourceError : the file cannot be written
    """
    staged = StagedPath(path, overwrite)
    try:
        staged.temporary.write_text(json_text(facts) + "\n", encoding="utf-8")
        staged.commit()
    except OSError as error:
        staged.discard()
        raise ResourceError(f"{path}: the report could not be written: {error.strerror}") from error
    except BaseException:
        staged.discard()
        raise
