"""Passes over all that an archive tells: sets that are new, and what changed of those that are known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from typing import TypeVar

from mwaconvert.archive.catalog import Action, Catalog, Look
from mwaconvert.archive.identifiers import StatusUid
from mwaconvert.archive.sources.metadata import MetadataDatabase
from mwaconvert.archive.sources.obscore import ObscoreMember, read_obscore
from mwaconvert.archive.sources.snapshot import LeftOut, MemberSnapshot, NewMember
from mwaconvert.archive.units import ExecBlock, Level, UnitSet
from mwaconvert.errors import Error, InputError
from mwaconvert.jobs.workflows.archives.site import ArchiveSite, now
from mwaconvert.text import plural

_Seen = TypeVar("_Seen", NewMember, Look)
#: sets of one transaction
_AT_ONCE = 2000
#: of entries of the audit trail that tell of a whole pass
SUBJECT = "archive"


@dataclass
class Pass:
    """What a pass found.

    Attributes
    ----------
    told : of each set that is new or changed, what; with those that cannot be taken in
    left_out : why sets that were seen were not taken in, by uid or name of a delivery
    n_known : sets in the catalogue after it
    """

    told: dict[StatusUid, tuple[str, ...]] = field(default_factory=dict)
    left_out: dict[str, LeftOut] = field(default_factory=dict)
    n_known: int = 0

    def refuse(self, uid: StatusUid, reason: LeftOut, error: Error) -> None:
        """Leave a set as the catalogue has it, or has it not: what is wrong with it is told at each pass."""
        self.left_out[str(uid)] = reason
        self.told[uid] = (f"{reason.words}: {error}",)

    def enter(self, member: NewMember) -> None:
        """Tell a set that is new: of another source perhaps than one that could not be read."""
        self.left_out.pop(str(member.uid), None)
        self.told[member.uid] = (member.words,)

    @property
    def counts(self) -> dict[LeftOut, int]:
        """How many were left out, by reason."""
        found = Counter(self.left_out.values())
        return {reason: found[reason] for reason in LeftOut if found[reason]}

    @property
    def words(self) -> str:
        """The pass in a line."""
        told = sum(str(uid) not in self.left_out for uid in self.told)
        why = ", ".join(f"{n} {reason.words}" for reason, n in self.counts.items())
        return f"{plural(self.n_known, 'member set')}, {told} new or changed; left out: {why or 'none'}"


def update_pass(site: ArchiveSite, catalog: Catalog, actor: str) -> Pass:
    """One pass over the archive's metadata: what is new and what changed, in words, and what was left out.

    Delivered sets that the catalogue does not know enter it; one that cannot be read, known or not, is told each time,
    and changes nothing. A calibration that was split out, a release date that moved, another QA2: all of it goes into
    the audit trail, with the sets it is of. A pass that was killed leaves what it has entered; the next goes on. A
    table of the public archive adds the sets that no metadata database tells, and their dates.

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
    found = Pass()
    if site.metadata is not None:
        with MetadataDatabase(site.metadata) as database:
            known = catalog.members()
            delivered, found.left_out = database.seen()
            new = {uid: project for uid, project in delivered.items() if uid not in known}
            members = (member for _, member in _readable(database.members(new), found))
            _enter(catalog, members, found, actor, at)
            looks = dict(_readable(database.looks(known).items(), found))
            found.told |= catalog.update(looks, actor, at)
    if site.obscore is not None:
        _follow_table(site, catalog, found, actor, at)
    known = catalog.members()
    names = {str(uid) for uid in known}
    found.n_known = len(known)
    found.left_out = {
        name: reason
        for name, reason in found.left_out.items()
        if name not in names or reason is LeftOut.UNREADABLE
    }
    if [entry.detail for entry in catalog.trail(SUBJECT, limit=1)] != [found.words]:
        catalog.note(Action.LOOKED, SUBJECT, actor, at, detail=found.words)
    return found


def _readable(
    seen: Iterable[tuple[StatusUid, _Seen | Error]], found: Pass
) -> Iterator[tuple[StatusUid, _Seen]]:
    for uid, told in seen:
        if isinstance(told, Error):
            found.refuse(uid, LeftOut.UNREADABLE, told)
        else:
            yield uid, told


def _follow_table(site: ArchiveSite, catalog: Catalog, found: Pass, actor: str, at: datetime) -> None:
    """Put in sets of the public table; where it is the only source, dates and QA2 of known ones follow it."""
    assert site.obscore is not None
    known = catalog.looks()
    rows = read_obscore(site.obscore)
    _enter(catalog, (_of_row(row) for row in rows if row.mous not in known), found, actor, at)
    if site.metadata is None:
        short: dict[StatusUid, Look] = {
            row.mous: replace(known[row.mous], release_date=row.release_date, qa2=_qa2(row))
            for row in rows
            if row.mous in known
        }
        found.told |= catalog.update(short, actor, at)


def _of_row(row: ObscoreMember) -> NewMember:
    unit = UnitSet(row.mous, parent=row.group)
    blocks = tuple(ExecBlock(uid) for uid in row.exec_blocks)
    above = () if row.group is None else ((UnitSet(row.group), Level.GROUP),)
    chain = () if row.group is None else (row.group,)
    look = MemberSnapshot(unit, chain, exec_blocks=blocks, release_date=row.release_date, qa2=_qa2(row))
    return NewMember(row.project, look, above)


def _qa2(row: ObscoreMember) -> str:
    return "Pass" if row.qa2_passed else ""


def _enter(catalog: Catalog, new: Iterable[NewMember], found: Pass, actor: str, at: datetime) -> None:
    """Put in many sets, as they are read; those that are not taken keep no others back."""
    rest = iter(new)
    while sets := list(islice(rest, _AT_ONCE)):
        for member in _entered(catalog, sets, found, actor, at):
            found.enter(member)


def _entered(
    catalog: Catalog, sets: Sequence[NewMember], found: Pass, actor: str, at: datetime
) -> list[NewMember]:
    """Put sets in together, or halves of them where that is refused, down to the set that is at fault."""
    try:
        return catalog.enter(sets, actor, at)
    except Error as error:
        if len(sets) == 1:
            found.refuse(sets[0].uid, LeftOut.CLASHES, error)
            return []
        half = len(sets) // 2
        parts = (sets[:half], sets[half:])
        return [member for part in parts for member in _entered(catalog, part, found, actor, at)]
