"""What is known of a member set at one time, and what changed since the last look."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import TypeAlias

from mwaconvert.archive.identifiers import ExecBlockUid, SdmName, StatusUid
from mwaconvert.archive.units import (
    CalibrationState,
    ExecBlock,
    Level,
    ProductFile,
    SchedBlock,
    UnitSet,
    calibration_state,
)
from mwaconvert.errors import MetadataError


@dataclass(frozen=True)
class MemberSnapshot:
    """A member set as its sources tell it.

    `chain` are the sets that contain it, from its group up; `qa2` is the word of the archive.
    """

    unit: UnitSet
    chain: tuple[StatusUid, ...] = ()
    sched_blocks: tuple[SchedBlock, ...] = ()
    exec_blocks: tuple[ExecBlock, ...] = ()
    files: tuple[ProductFile, ...] = ()
    release_date: datetime | None = None
    qa2: str = ""

    @property
    def calibration(self) -> CalibrationState:
        """Judged from its files."""
        return calibration_state(self.files)


@dataclass(frozen=True)
class NewMember:
    """A member set that a catalogue does not have yet.

    Attributes
    ----------
    project : its code
    above : sets that contain it with their levels, the uppermost first
    """

    project: str
    look: MemberSnapshot
    above: tuple[tuple[UnitSet, Level], ...] = ()

    @property
    def uid(self) -> StatusUid:
        return self.look.unit.status_uid

    @property
    def words(self) -> str:
        """What a pass tells of it."""
        return f"new, of {self.project}"


class LeftOut(Enum):
    """Why a pass saw a member set and did not take it in."""

    UNDELIVERED = "not delivered"
    NO_SET = "delivered under a name that is no project and member set"
    TWO_PROJECTS = "delivered for two projects"
    UNREADABLE = "cannot be read"
    CLASHES = "cannot be put in"

    @property
    def words(self) -> str:
        return self.value


class ChangeKind(Enum):
    """What can change between two looks."""

    STATE = "state"
    CALIBRATION = "calibration"
    RELEASE = "release date"
    CLAW_BACK = "claw-back"
    QA2 = "QA2"
    EXECUTIONS = "execution blocks"
    SESSIONS = "sessions"
    FILES = "files"


@dataclass(frozen=True, slots=True)
class Change:
    """One change, in words."""

    kind: ChangeKind
    words: str


_Told: TypeAlias = Callable[[ChangeKind, str], None]


def changes_since(old: MemberSnapshot, new: MemberSnapshot, at: datetime) -> tuple[Change, ...]:
    """What changed from one look to the next, at the time `at` of the latter.

    Raises
    ------
    MetadataError
        Looks at two different sets.
    """
    if old.unit.status_uid != new.unit.status_uid:
        raise MetadataError(f"{old.unit.status_uid} and {new.unit.status_uid} are two sets")
    found: list[Change] = []

    def told(kind: ChangeKind, words: str) -> None:
        found.append(Change(kind, words))

    if old.unit.state != new.unit.state:
        told(ChangeKind.STATE, f"from {old.unit.state} to {new.unit.state}")
    if old.qa2 != new.qa2:
        told(ChangeKind.QA2, f"from {old.qa2 or 'unset'} to {new.qa2 or 'unset'}")
    _release(old, new, at, told)
    before, after = old.calibration, new.calibration
    if not before.separate and after.separate:
        told(ChangeKind.CALIBRATION, "its tables are now stored apart from the images: it can be restored")
    elif before != after:
        told(ChangeKind.CALIBRATION, f"{after.by.value}; {'; '.join(after.missing) or 'it can be restored'}")
    _members(
        ChangeKind.EXECUTIONS,
        {str(e.uid) for e in old.exec_blocks},
        {str(e.uid) for e in new.exec_blocks},
        told,
    )
    _members(ChangeKind.FILES, {f.name for f in old.files}, {f.name for f in new.files}, told)
    homes = [{str(b): s.name for s in look.unit.sessions for b in s.exec_blocks} for look in (old, new)]
    for block in sorted(homes[0].keys() & homes[1].keys()):
        if homes[0][block] != homes[1][block]:
            told(ChangeKind.SESSIONS, f"{block} moved from {homes[0][block]} to {homes[1][block]}")
    return tuple(found)


def _release(old: MemberSnapshot, new: MemberSnapshot, at: datetime, told: _Told) -> None:
    before, after = old.release_date, new.release_date
    if before == after:
        return
    words = f"from {before or 'none'} to {after or 'none'}"
    was_public = before is not None and before <= at
    is_public = after is not None and after <= at
    told(ChangeKind.CLAW_BACK if was_public and not is_public else ChangeKind.RELEASE, words)


def _members(kind: ChangeKind, old: set[str], new: set[str], told: _Told) -> None:
    if old - new:
        told(kind, f"gone: {', '.join(sorted(old - new))}")
    if new - old:
        told(kind, f"new: {', '.join(sorted(new - old))}")


def disagreements(sources: Mapping[str, frozenset[ExecBlockUid | SdmName]]) -> tuple[str, ...]:
    """Execution blocks that some sources of a set list and others do not, in words.

    No table is complete: that of the science archive misses blocks and lists some under several sets, so a restore is
    built on what the status document, the exec block view and the manifest agree on.
    """
    known = sorted(frozenset().union(*sources.values()), key=str)
    found = []
    for block in known:
        missing = [name for name, blocks in sources.items() if block not in blocks]
        if missing:
            having = [name for name in sources if name not in missing]
            found.append(f"{block} is in {', '.join(having)} and not in {', '.join(missing)}")
    return tuple(found)
