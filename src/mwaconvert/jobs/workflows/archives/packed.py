"""The calibration of a member set, from files that lie in the archive one by one, or from the tar of an ingest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mwaconvert.archive.catalog import Catalog
from mwaconvert.archive.products import Kind, ProductTable, describe_file
from mwaconvert.archive.quality.ingest import CALIBRATION_TAR, IngestItem
from mwaconvert.archive.quality.notes import CalibrationStatus
from mwaconvert.archive.sources.snapshot import MemberSnapshot
from mwaconvert.archive.units import CalibrationState, ProductFile, calibration_state
from mwaconvert.errors import InputError
from mwaconvert.jobs.control.work import Json
from mwaconvert.jobs.delivery.places import Folder
from mwaconvert.jobs.workflows.archives.asking import Purpose
from mwaconvert.jobs.workflows.archives.site import ArchiveSite
from mwaconvert.jobs.workflows.archives.stores.store import PlaceStore, Store, archive_name, fetch
from mwaconvert.unpacking import unpack


@dataclass(frozen=True)
class Calibration:
    """Files of a calibration, what they say of it, and stores that have them.

    `tar` is what `stores_with` needs to find them again; empty where each lies in the archive by itself.
    """

    files: tuple[ProductFile, ...]
    state: CalibrationState
    stores: tuple[Store, ...]
    tar: Json


def find_calibration(scratch: Path, site: ArchiveSite, catalog: Catalog, look: MemberSnapshot) -> Calibration:
    """The calibration of a set: as the archive lists it, else that of the last run here which passed.

    What passed quality assurance was ingested as one tar. It serves for a set whose list does not allow a restore, and
    for listed files that no store has by themselves.

    Raises
    ------
    InputError, FormatError
        No store has the tar that was ingested, or it has other bytes, or cannot be unpacked safely.
    """
    listed = tuple(file for file in look.files if file.file_class.lower() != "science")
    state = look.calibration
    item = ingested_tar(catalog, str(look.unit.status_uid))
    # stores are asked for each file only where there is something to choose from
    if item is None or (not state.missing and _are_stored(listed, site.stores)):
        return Calibration(listed, state, site.stores, {})
    tar = {"name": archive_name(item.file.name, str(item.file.sha256)), "sha256": item.file.sha256}
    stores = stores_with(site, tar, scratch)
    if state.missing:
        listed = _members(scratch / str(tar["name"]), site.table())
        # it passed here, so it is official without the images that the list of an archive would have
        state = replace(calibration_state(listed), official=True)
    return Calibration(listed, state, stores, tar)


def _are_stored(files: Sequence[ProductFile], stores: Sequence[Store]) -> bool:
    """Whether each file lies in some store by itself."""
    return all(any(store.find(file.name, file.sha256) for store in stores) for file in files)


def ingested_tar(catalog: Catalog, target: str) -> IngestItem | None:
    """The tar of the last calibration of a target that passed and was proven to be in the archive; None without."""
    if catalog.state(target).calibration is not CalibrationStatus.CALIBRATED:
        return None
    runs = [run for run in catalog.runs(target) if run.kind == Purpose.CALIBRATE.kind]
    for run in sorted(runs, key=lambda run: run.attempt, reverse=True):
        items = catalog.ingested(run.run_id)
        if items and all(item.verified_at is not None for item in items):
            return next((item for item in items if item.file.name.endswith(CALIBRATION_TAR)), None)
    return None


def stores_with(site: ArchiveSite, tar: Json, scratch: Path) -> tuple[Store, ...]:
    """The stores of a site, and as the last one the members of a tar, unpacked below `scratch`.

    Raises
    ------
    InputError, FormatError
        As `stores.fetch` and `unpacking.unpack`.
    """
    if not tar:
        return site.stores
    folder, packed = scratch / str(tar["name"]), scratch / "packed.tar"
    if not folder.is_dir():
        kept = (*(() if site.ingest is None else (site.ingest,)), *site.stores)
        fetch(kept, str(tar["name"]), packed, str(tar["sha256"]))
        part = scratch / "unpacked"
        part.mkdir(exist_ok=True)
        unpack(packed, part, overwrite=True)
        packed.unlink()
        part.rename(folder)
    return (*site.stores, PlaceStore(Folder(folder)))


def _members(folder: Path, table: ProductTable) -> tuple[ProductFile, ...]:
    """Files at the top of an unpacked tar with size and SHA-256, and the class that an archive would give them."""
    found = [describe_file(path, table) for path in sorted(folder.iterdir()) if path.is_file()]
    if not found:
        raise InputError(f"{folder.name}: has no files of a calibration")
    return tuple(replace(file, file_class=_CLASSES.get(table.kind(file.name), "auxiliary")) for file in found)


_CLASSES = {
    **dict.fromkeys((Kind.CALTABLES, Kind.AUXCALTABLES, Kind.FLAGVERSIONS, Kind.CALAPPLY), "calibration"),
    **dict.fromkeys(
        (
            Kind.RESTORE_SCRIPT,
            Kind.PIPELINE_SCRIPT,
            Kind.CALIBRATION_SCRIPT,
            Kind.SCRIPT_FOR_PI,
            Kind.MANIFEST,
            Kind.REQUEST,
        ),
        "script",
    ),
}
