"""How long working areas keep what lies in them: a text file that analysts edit, read again for each pass."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mwaconvert.archive.quality.areas import finish_removals, remove_run
from mwaconvert.archive.texts import read_text
from mwaconvert.archive.times import utc
from mwaconvert.errors import FormatError, InputError

#: what waits for a person never ages
KEPT = "qa"


@dataclass(frozen=True)
class Retention:
    """Days each area keeps its runs; None for ever. Nothing younger than `minimum_days` is ever removed."""

    days: Mapping[str, float | None]
    minimum_days: float


def read_retention(path: Path, minimum_days: float = 1.0) -> Retention:
    """Read a file of lines ``area days``; ``never`` keeps for ever.

    Raises
    ------
    FormatError
        A malformed line, an area given twice, fewer days than the minimum, an age for the QA area.
    """
    days: dict[str, float | None] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        where = f"{path}: line {number}"
        try:
            area, value = words
            kept = None if value == "never" else float(value)
        except ValueError:
            raise FormatError(f"{where}: '{line.strip()}'; expected an area and days, or never") from None
        if area in days:
            raise FormatError(f"{where}: {area} is given twice")
        if kept is not None and not minimum_days <= kept < 36500:
            raise FormatError(f"{where}: {value} days; at least {minimum_days:g} are kept")
        if area == KEPT and kept is not None:
            raise FormatError(f"{where}: the area {KEPT} waits for a decision and never ages; write never")
        days[area] = kept
    return Retention(days, minimum_days)


@dataclass(frozen=True, slots=True)
class Aged:
    """A run that is older than its area keeps it."""

    area: str
    path: Path
    last_change: datetime
    days: float


def last_change(run: Path) -> datetime:
    """The latest change of anything in a folder: a run someone works on is young."""
    latest = run.lstat().st_mtime
    for folder, names, files in os.walk(run):
        for name in (*names, *files):
            try:
                latest = max(latest, (Path(folder) / name).lstat().st_mtime)
            except FileNotFoundError:
                continue  # removed while we look
    return datetime.fromtimestamp(latest, UTC)


def aged(
    retention: Retention, areas: Mapping[str, Path], now: datetime, busy: Collection[str] = ()
) -> tuple[Aged, ...]:
    """Runs that a pass would remove at the time `now`, oldest first; a clock that runs back removes nothing.

    Parameters
    ----------
    busy : names of runs that somebody works on; they have no age

    Raises
    ------
    InputError
        An area without a line in the file: its runs would never age, unnoticed.
    """
    now = utc(now)
    found = []
    for area, folder in areas.items():
        if area not in retention.days:
            raise InputError(f"the retention file has no line for the area {area}; add one, or never")
        days = retention.days[area]
        if days is None or area == KEPT or not folder.is_dir():
            continue
        limit = timedelta(days=max(days, retention.minimum_days))
        for run in sorted(folder.iterdir()):
            if run.is_symlink() or not run.is_dir() or run.name.startswith(".") or run.name in busy:
                continue
            changed = last_change(run)
            if now - changed > limit:
                found.append(Aged(area, run, changed, days))
    return tuple(sorted(found, key=lambda item: item.last_change))


def expire(
    path: Path,
    areas: Mapping[str, Path],
    now: datetime,
    *,
    dry_run: bool = False,
    busy: Collection[str] = (),
    telling: Callable[[Aged], None] = lambda _item: None,
) -> tuple[Aged, ...]:
    """One pass: read the retention file again, remove what is older; give what was, or in a dry run would be, removed.

    `telling` is called before each removal. A faulty file removes nothing. A run that changed since its age was taken
    stays. What an interrupted pass left out of sight is removed first.
    """
    found = aged(read_retention(path), areas, now, busy)
    if dry_run:
        return found
    for area in areas.values():
        finish_removals(area)
    removed = []
    for item in found:
        if last_change(item.path) == item.last_change:
            telling(item)
            remove_run(item.path, [areas[item.area]])
            removed.append(item)
    return tuple(removed)
