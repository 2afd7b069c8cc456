"""Working areas of runs: moved between them under the same name, removed from them, and both again after a crash."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Sequence
from pathlib import Path

from mwaconvert.archive.identifiers import safe_name
from mwaconvert.errors import InputError

_REMOVING = ".removing-"  # before the name of what is out of sight and being removed


def move_run(run: Path, area: Path) -> Path:
    """Move the folder of a run into another area, under its name; give its new place.

    A run that was moved before stays where it is. Between file systems it is copied beside its place first, so nobody
    sees half of it.

    Raises
    ------
    InputError
        The folder is a link or not there, or the area has another of that name.
    """
    target = area / safe_name(run.name)
    if run.is_symlink() or target.is_symlink():
        raise InputError(f"{run}: is a link; nothing was moved")
    if not run.exists() and target.is_dir():
        return target
    if not run.is_dir():
        raise InputError(f"{run}: is not there, and neither is {target}")
    if target.exists():
        raise InputError(f"{target}: exists already; nothing was moved")
    area.mkdir(parents=True, exist_ok=True)
    try:
        return run.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    hidden = area / f".moving-{run.name}"
    if hidden.exists():
        shutil.rmtree(hidden)
    shutil.copytree(run, hidden, symlinks=True)
    hidden.rename(target)
    shutil.rmtree(run)
    return target


def remove_run(run: Path, areas: Sequence[Path]) -> bool:
    """Remove the folder of a run from one of the working areas; whether there was one.

    A folder that is gone already is not an error, so a removal can be repeated after any interruption: it is moved out
    of sight in one step first.

    Raises
    ------
    InputError
        The folder is a link, or lies directly in none of the areas.
    """
    if run.parent.resolve() not in [area.resolve() for area in areas]:
        names = ", ".join(str(area) for area in areas)
        raise InputError(f"{run}: lies in none of the areas {names}; nothing was removed")
    if run.is_symlink():
        raise InputError(f"{run}: is a link; nothing was removed")
    hidden = run.with_name(_REMOVING + run.name)
    was_there = run.exists()
    if hidden.exists():
        shutil.rmtree(hidden)
    if was_there:
        run.rename(hidden)
        shutil.rmtree(hidden)
    return was_there


def finish_removals(area: Path) -> None:
    """Remove what interrupted removals left in an area, out of sight."""
    for hidden in area.glob(f"{_REMOVING}*"):
        if not hidden.is_symlink():
            shutil.rmtree(hidden)
