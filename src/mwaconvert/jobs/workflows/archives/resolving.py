"""What a restore or run needs to know of its target, from catalogue, metadata and stores."""

from __future__ import annotations

import shutil
from pathlib import Path

from mwaconvert.archive.casa.versions import CasaVersion, VersionTable, choose_casa
from mwaconvert.archive.catalog import Action, Catalog
from mwaconvert.archive.identifiers import StatusUid, Uid, disk_name
from mwaconvert.archive.manifests import Manifest, choose_manifest, read_manifest
from mwaconvert.archive.packages import check_package, room_needed
from mwaconvert.archive.products import Kind, ProductTable
from mwaconvert.archive.requests.model import Telescope
from mwaconvert.archive.restores import decide_restore
from mwaconvert.archive.sources.metadata import MetadataDatabase
from mwaconvert.archive.sources.snapshot import MemberSnapshot, disagreements
from mwaconvert.archive.units import Calibrated
from mwaconvert.errors import InputError, ResourceError
from mwaconvert.jobs.control.work import Json
from mwaconvert.jobs.workflows.archives.packed import Calibration, find_calibration
from mwaconvert.jobs.workflows.archives.site import ArchiveSite, now
from mwaconvert.jobs.workflows.archives.staging import file_into, find_raw
from mwaconvert.machine import tree_bytes


def member(scratch: Path, site: ArchiveSite, catalog: Catalog, wanted: Json) -> Json:
    """All that a restore of a member set needs, or why it may not be.

    Raises
    ------
    InputError, ResourceError
        As `decide_restore`; an archive that lacks a file; a set whose containers nobody knows.
    """
    mous = StatusUid(Uid.parse(wanted["mous"]))
    refresh(site, catalog, mous)
    found = catalog.member(mous)
    at = now()
    catalog.deliveries(mous).check_public(mous, at)  # before anything of it is fetched
    if len(found.chain) < 2:
        raise InputError(f"{mous}: its group and science goal are not in the catalogue; put them in first")
    source = find_calibration(scratch, site, catalog, found)
    calibration, files = source.state, source.files
    if calibration.missing:
        raise InputError(f"{mous} cannot be restored: {'; '.join(calibration.missing)}")
    manifest = _manifest(scratch, site.table(), source)
    executions = _executions(found, manifest)
    versions = site.version_table()
    raw = {name: find_raw(site.stores, name) for name in executions}
    decision = decide_restore(
        mous,
        deliveries=catalog.deliveries(mous),
        calibration=calibration,
        calibrated_with=_calibrated_with(wanted, manifest, str(mous), versions),
        installed=list(site.casas),
        raw_bytes=sum(kept.n_bytes or 0 for _, kept in raw.values()),
        free_bytes=shutil.disk_usage(_existing(site.areas["processing"])).free,
        at=at,
        mpi_servers=0 if manifest is None else manifest.mpi_servers,
        parallel=int(wanted["mpi_servers"]) > 0,
    )
    return {
        "mous": str(mous),
        "project": catalog.project_of(mous),
        "chain": [str(uid) for uid in found.chain],
        "at": at.isoformat(),
        "files": [{"name": f.name, "size": f.size, "sha256": f.sha256} for f in files],
        "tar": source.tar,
        "raw": {name: stored for name, (stored, _) in raw.items()},
        "casa": str(decision.casa.version),
        "casa_path": str(site.casas[decision.casa.version]),
        "calibrated": calibration.by.value,
        "warnings": [*decision.warnings, *_doubts(manifest, versions)],
        "notes": [
            *([f"the calibration is from {source.tar['name']}"] if source.tar else []),
            *_notes(found, manifest),
        ],
    }


def package(site: ArchiveSite, folder: Path, wanted: Json) -> Json:
    """The same for a delivered package, whose release date is known only where its set is in the catalogue.

    Raises
    ------
    FormatError
        The package cannot be restored as it is; says why.
    InputError, ResourceError
        No CASA fits, or the disk is too small.
    """
    report = check_package(folder, (), site.table())
    report.check()
    manifest, versions = report.manifest, site.version_table()
    choice = choose_casa(
        _calibrated_with(wanted, manifest, str(folder), versions),
        report.calibrated,
        list(site.casas),
        mpi_servers=0 if manifest is None else manifest.mpi_servers,
        parallel=int(wanted["mpi_servers"]) > 0,
    )
    room, free = room_needed(tree_bytes(report.layout.raw), report.calibrated), shutil.disk_usage(folder).free
    if room > free:
        raise ResourceError(
            f"{folder}: a restore may need {room / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; make room first"
        )
    return {
        "package": str(folder),
        "casa": str(choice.version),
        "casa_path": str(site.casas[choice.version]),
        "calibrated": report.calibrated.value,
        "warnings": [*choice.warnings, *_doubts(manifest, versions)],
        "notes": ["a package: its release date was not asked", *report.notes],
    }


def refresh(site: ArchiveSite, catalog: Catalog, mous: StatusUid) -> None:
    """Look at the archive's metadata again, where the site has them; what changed goes into the audit trail."""
    if site.metadata is None:
        return
    with MetadataDatabase(site.metadata) as database:
        project = database.project_of(mous)
        look = database.member(project, mous)
        catalog.put_units(project, database.above(look.chain), now())
        for change in catalog.put_member(project, look, now()):
            catalog.note(
                Action.CHANGED, str(mous), "metadata", now(), detail=f"{change.kind.value}: {change.words}"
            )


def _manifest(scratch: Path, table: ProductTable, source: Calibration) -> Manifest | None:
    """The manifest of the calibration, which tells sessions and CASA; a hand calibration may have none."""
    named = {file.name: file for file in source.files if table.kind(file.name) is Kind.MANIFEST}
    if not named and source.state.by is Calibrated.HAND:
        return None
    chosen = named[choose_manifest([Path(name) for name in named]).name]
    target = scratch / chosen.name
    file_into(source.stores, chosen, target)
    return read_manifest(target)


def _executions(found: MemberSnapshot, manifest: Manifest | None) -> list[str]:
    """Names on disk of the execution blocks to restore: those that were processed."""
    if manifest is not None and manifest.executions:
        return list(manifest.executions)
    blocks = found.unit.exec_blocks or tuple(block.uid for block in found.exec_blocks)
    if not blocks:
        raise InputError(f"{found.unit.status_uid}: no source names an execution block of it")
    return [disk_name(uid) for uid in blocks]


def _notes(found: MemberSnapshot, manifest: Manifest | None) -> list[str]:
    """Where sources of a set do not agree: no table is complete."""
    sources = {
        "the status document": frozenset(found.unit.exec_blocks),
        "the list of execution blocks": frozenset(block.uid for block in found.exec_blocks),
    }
    told = list(disagreements({name: blocks for name, blocks in sources.items() if blocks}))
    of_status = {disk_name(uid): s.name for s in found.unit.sessions for uid in s.exec_blocks}
    for name, session in (manifest.executions if manifest else {}).items():
        if of_status.get(name, session) != session:
            told.append(
                f"{name} is in {of_status[name]} of the status document and {session} of the manifest"
            )
    return told


def _calibrated_with(
    wanted: Json, manifest: Manifest | None, what: str, versions: VersionTable
) -> CasaVersion:
    """The CASA of the calibration: as it is given, as the manifest names it, or that of its pipeline by the table."""
    given = wanted.get("calibrated_with") or (manifest.casa_version if manifest else "")
    if given:
        return CasaVersion.parse(str(given))
    if manifest is None or not manifest.pipeline_version:
        raise InputError(
            f"{what}: no manifest tells the CASA that calibrated it; give it with --calibrated-with"
        )
    return versions.casa_of(Telescope.ALMA, manifest.pipeline_version)


def _doubts(manifest: Manifest | None, versions: VersionTable) -> list[str]:
    if manifest is None or not manifest.casa_version:
        return []
    told = versions.doubt(CasaVersion.parse(manifest.casa_version), manifest.pipeline_version)
    return [told] if told else []


def _existing(folder: Path) -> Path:
    """A folder, or the one above it that is there."""
    while not folder.exists():
        folder = folder.parent
    return folder
