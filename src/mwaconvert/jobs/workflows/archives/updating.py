"""Passes over all that an archive tells: sets that are new, and what changed of those that are known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from itertools import groupby

from mwaconvert.archive.catalog import Catalog, Look
from mwaconvert.archive.identifiers import StatusUid
from mwaconvert.archive.sources.metadata import MetadataDatabase
from mwaconvert.archive.sources.obscore import ObscoreMember, read_obscore
from mwaconvert.archive.sources.snapshot import MemberSnapshot
from mwaconvert.archive.units import ExecBlock, Level, UnitSet
from mwaconvert.errors import Error, InputError
from mwaconvert.jobs.workflows.archives.site import ArchiveSite, now

#: a set to put in: project, what is known of it, and the sets that contain it, the uppermost first
_New = tuple[str, MemberSnapshot, tuple[tuple[UnitSet, Level], ...]]
_Told = dict[StatusUid, tuple[str, ...]]
#: sets of one transaction
_AT_ONCE = 2000


def update_pass(site: ArchiveSite, catalog: Catalog, actor: str) -> _Told:
    """One pass over the archive's metadata: what is new and what changed, in words.

    Delivered sets that the catalogue does not know enter it; one that cannot be read is told each time, and changes
    nothing. A calibration that was split out, a release date that
    moved, another QA2: all of it goes into the audit trail. A table of the public archive adds the sets that no
    metadata database tells, and their dates.

    Raises
    ------
    InputError, FormatError
        The site has neither a metadata database nor such a table, or it cannot be read.
    """
    if site.metadata is None and site.obscore is None:
        raise InputError(
            "the site has no metadata database; name its URL as metadata, or a public table as files.obscore"
        )
    at = now()
    told: _Told = {}
    refused: _Told = {}
    if site.metadata is not None:
        with MetadataDatabase(site.metadata) as database:
            known = catalog.members()
            new = {uid: project for uid, project in database.delivered().items() if uid not in known}
            told |= _enter(catalog, _readable(database, new, refused), refused, at)
            told |= catalog.update(database.looks(known), at)
    if site.obscore is not None:
        told |= _follow_table(site, catalog, refused, at)
    catalog.note_changes(told, actor, at)
    return told | refused


def _readable(database: MetadataDatabase, new: Mapping[StatusUid, str], refused: _Told) -> Iterator[_New]:
    for uid, look, above in database.members(new):
        if isinstance(look, Error):
            refused[uid] = (f"new, and cannot be read: {look}",)
        else:
            yield new[uid], look, above


def _follow_table(site: ArchiveSite, catalog: Catalog, refused: _Told, at: datetime) -> _Told:
    """Put in sets of the public table; where it is the only source, dates and QA2 of known ones follow it."""
    assert site.obscore is not None
    known = catalog.looks()
    rows = read_obscore(site.obscore)
    told = _enter(catalog, (_of_row(row) for row in rows if row.mous not in known), refused, at)
    if site.metadata is None:
        short: dict[StatusUid, Look] = {
            row.mous: replace(known[row.mous], release_date=row.release_date, qa2=_qa2(row))
            for row in rows
            if row.mous in known
        }
        told |= catalog.update(short, at)
    return told


def _of_row(row: ObscoreMember) -> _New:
    unit = UnitSet(row.mous, parent=row.group)
    blocks = tuple(ExecBlock(uid) for uid in row.exec_blocks)
    above = () if row.group is None else ((UnitSet(row.group), Level.GROUP),)
    chain = () if row.group is None else (row.group,)
    look = MemberSnapshot(unit, chain, exec_blocks=blocks, release_date=row.release_date, qa2=_qa2(row))
    return row.project, look, above


def _qa2(row: ObscoreMember) -> str:
    return "Pass" if row.qa2_passed else ""


def _enter(catalog: Catalog, new: Iterator[_New], refused: _Told, at: datetime) -> _Told:
    """Put in many sets, by project; those that are not taken keep no others back."""
    told: _Told = {}
    for project, found in groupby(sorted(new, key=lambda item: item[0]), key=lambda item: item[0]):
        sets = list(found)
        for start in range(0, len(sets), _AT_ONCE):
            entered = _put_or_split(catalog, project, sets[start : start + _AT_ONCE], refused, at)
            told |= {look.unit.status_uid: (f"new, of {project}",) for _, look, _ in entered}
    return told


def _put_or_split(
    catalog: Catalog, project: str, sets: list[_New], refused: _Told, at: datetime
) -> list[_New]:
    """Put sets in together, or halves of them where that is refused, down to the set that is at fault."""
    try:
        _put(catalog, project, sets, at)
    except Error as error:
        if len(sets) == 1:
            refused[sets[0][1].unit.status_uid] = (f"new, and cannot be put in: {error}",)
            return []
        half = len(sets) // 2
        parts = (sets[:half], sets[half:])
        return [item for part in parts for item in _put_or_split(catalog, project, part, refused, at)]
    return sets


def _put(catalog: Catalog, project: str, sets: list[_New], at: datetime) -> None:
    known = {uid for uid, *_ in catalog.tree(project)}
    above = {
        unit.status_uid: (unit, level)
        for _, _, units in sets
        for unit, level in units
        if unit.status_uid not in known
    }
    catalog.put_units(project, sorted(above.values(), key=lambda item: _DEPTH[item[1]]), at)
    catalog.put_members(project, [look for _, look, _ in sets], at)


_DEPTH = {Level.PROGRAM: 0, Level.SCIENCE_GOAL: 1, Level.GROUP: 2}
