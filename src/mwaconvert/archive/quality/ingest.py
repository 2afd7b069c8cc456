"""Ingestion verified item by item, and cleanup that needs its proof."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from mwaconvert.archive.products import (
    ProductTable,
    anonymous,
    calibration_members,
    hashes_within,
    product_files,
    sha256_of,
)
from mwaconvert.archive.times import utc
from mwaconvert.archive.units import ProductFile
from mwaconvert.errors import InputError

#: what a cleanup says that may not run; the wording is the interface
NOT_IN_ARCHIVE = (
    "The data products are not in the archive, please wait and try again. "
    "If failures are repeated, please file an SSA ticket."
)


#: how the name of the tar of a calibration ends, after the run's
CALIBRATION_TAR = ".calibration.tar"


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


def unproven(products: Path, items: Sequence[IngestItem]) -> tuple[Path, ...]:
    """Files of a products folder whose bytes are not proven to be in the archive.

    Proven are verified items and what a verified tar holds. Files are hashed now: one that an analyst changed after
    the ingest is not in the archive.
    """
    proven = {item.file.sha256 for item in items if item.verified_at is not None}
    hashes = {path: sha256_of(path) for path in product_files(products)}
    within = [hashes_within(path) for path, sha in hashes.items() if path.suffix == ".tar" and sha in proven]
    proven = proven.union(*within)
    return tuple(path for path, sha in hashes.items() if sha not in proven)


def check_cleanup(products: Path, items: Sequence[IngestItem]) -> None:
    """Refuse to clean up a run whose products are not all in the archive.

    A products folder that is gone already needs no proof beyond its items.

    Raises
    ------
    InputError
        With the documented sentence, and nothing else.
    """
    complete = bool(items) and all(item.verified_at is not None for item in items)
    if not complete or (products.is_dir() and unproven(products, items)):
        raise InputError(NOT_IN_ARCHIVE)


def pack_calibration(products: Path, target: Path, table: ProductTable) -> Path:
    """Pack the calibration of a run into one tar: all but images and the unpacked weblog, what an analyst added too.

    The same files give the same bytes; the tar is replaced in one step.

    Raises
    ------
    InputError
        Nothing to pack, or a link that leaves the folder.
    """
    members = [path for path in calibration_members(products, table) if path != target]
    if not members:
        raise InputError(f"{products}: has nothing of a calibration to pack")
    part = target.with_name(f".{target.name}.part")
    with tarfile.open(part, "w") as tar:
        for path in members:
            tar.add(path, str(path.relative_to(products)), recursive=False, filter=anonymous)
    return part.replace(target)
