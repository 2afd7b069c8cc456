"""Ingestion verified item by item, and cleanup that needs its proof."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from mwaconvert.archive.products import SUMS, ProductTable, describe_file
from mwaconvert.archive.times import utc
from mwaconvert.archive.units import ProductFile
from mwaconvert.errors import InputError

#: what a cleanup says that may not run; the wording is the interface
NOT_IN_ARCHIVE = (
    "The data products are not in the archive, please wait and try again. "
    "If failures are repeated, please file an SSA ticket."
)


@dataclass(frozen=True, slots=True)
class IngestItem:
    """A file on its way into the archive; `verified_at` is the time it was read back and had its SHA-256."""

    file: ProductFile
    archive_id: str = ""
    archive_version: int | None = None
    verified_at: datetime | None = None

    def verified(self, archive_id: str, version: int | None, sha256: str, at: datetime) -> IngestItem:
        """This item after it was read back from the archive.

        Raises
        ------
        InputError
            What was read back is not what was put in.
        """
        if sha256 != self.file.sha256:
            raise InputError(
                f"{self.file.name}: the archive gave back other bytes than were put in; put it in again"
            )
        return replace(self, archive_id=archive_id, archive_version=version, verified_at=utc(at))


def items_of(folder: Path, table: ProductTable) -> tuple[IngestItem, ...]:
    """What is to be ingested of a products folder: its files at the top, with roles from the table."""
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.is_symlink() and p.name != SUMS)
    return tuple(IngestItem(describe_file(path, table)) for path in files)


def unproven(files: Iterable[ProductFile], items: Sequence[IngestItem]) -> tuple[str, ...]:
    """Names of files that are not proven to be in the archive with these very bytes."""
    safe = {(item.file.name, item.file.sha256) for item in items if item.verified_at is not None}
    return tuple(file.name for file in files if (file.name, file.sha256) not in safe)


def check_cleanup(products: Path, items: Sequence[IngestItem], table: ProductTable) -> None:
    """Refuse to clean up a run whose products are not all in the archive.

    Files are hashed now: one that an analyst changed after the ingest is not in the archive. A products folder that
    is gone already needs no proof beyond its items.

    Raises
    ------
    InputError
        With the documented sentence, and nothing else.
    """
    files = [item.file for item in (*items, *(items_of(products, table) if products.is_dir() else ()))]
    if not files or unproven(files, items):
        raise InputError(NOT_IN_ARCHIVE)


def remove_run(run: Path, areas: Sequence[Path]) -> bool:
    """Remove the folder of a run from one of the working areas; whether there was one.

    A folder that is gone already is no error, so a removal can be repeated after any interruption: it is moved out
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
    hidden = run.with_name(f".removing-{run.name}")
    was_there = run.exists()
    if hidden.exists():
        shutil.rmtree(hidden)
    if was_there:
        run.rename(hidden)
        shutil.rmtree(hidden)
    return was_there
