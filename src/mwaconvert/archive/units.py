"""What an archive holds: unit sets in a tree, scheduling blocks, sessions, execution blocks, deliveries, files.

Plain data with the rules that hold for each. The tree is walked, never counted: above the science goal of the
notes there is a program, and a status document names its parent, not its depth.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from itertools import pairwise

from mwaconvert.archive.identifiers import (
    EntityUid,
    ExecBlockUid,
    SdmName,
    StatusUid,
    UnitRef,
    disk_name,
    safe_name,
)
from mwaconvert.archive.times import utc
from mwaconvert.errors import InputError, MetadataError

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Level(Enum):
    """Levels of the tree, from the top."""

    PROGRAM = "program"
    SCIENCE_GOAL = "science goal"
    GROUP = "group"
    MEMBER = "member"


class Qa0(Enum):
    """What the observatory said of an execution block right after it was observed."""

    UNSET = "Unset"
    PASS = "Pass"
    SEMIPASS = "SemiPass"
    FAIL = "Fail"


@dataclass(frozen=True, slots=True)
class SchedBlock:
    """A scheduling block: about two hours of observing instructions."""

    uid: EntityUid
    status_uid: StatusUid | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class ExecBlock:
    """One run of a scheduling block: the unit of raw data. `uid` is an SDM name for the VLA."""

    uid: ExecBlockUid | SdmName
    sched_block: EntityUid | None = None
    start: datetime | None = None
    end: datetime | None = None
    qa0: Qa0 = Qa0.UNSET

    @property
    def disk_name(self) -> str:
        """Name of its folder on disk."""
        return disk_name(self.uid)


@dataclass(frozen=True, slots=True)
class Session:
    """Runs of one scheduling block back to back. A session without execution blocks is a session.

    Parameters
    ----------
    ordinal : int
        From 1. Archives of calibration tables are named after it, so it stays when a session is empty.
    end_raw : str
        The end as it is written; a sentence while the session is open or after a crash.
    """

    ordinal: int
    exec_blocks: tuple[ExecBlockUid | SdmName, ...] = ()
    part_id: str | None = None
    sb_status: StatusUid | None = None
    start: datetime | None = None
    end: datetime | None = None
    end_raw: str = ""

    def __post_init__(self) -> None:
        if self.ordinal < 1:
            raise InputError(f"a session has the number {self.ordinal}; they count from 1")
        if len(set(self.exec_blocks)) < len(self.exec_blocks):
            raise MetadataError(f"{self.name} lists an execution block twice")

    @property
    def name(self) -> str:
        """The name a pipeline gives it, as session_1."""
        return f"session_{self.ordinal}"


def order_of(session: Session) -> tuple[bool, datetime | int, str]:
    """Sort key of sessions: by start, unknown starts last, then by part id; never by the end, which may be none."""
    return (session.start is None, session.start or 0, session.part_id or "")


def check_sessions(sessions: Iterable[Session]) -> None:
    """Refuse sessions whose numbers have gaps or which share an execution block."""
    seen: dict[ExecBlockUid | SdmName, Session] = {}
    for expected, session in enumerate(sessions, start=1):
        if session.ordinal != expected:
            raise MetadataError(
                f"session_{expected} is missing before {session.name}; a pipeline stops at the gap"
            )
        for block in session.exec_blocks:
            if block in seen:
                raise MetadataError(f"{block} is in {seen[block].name} and in {session.name}")
            seen[block] = session


@dataclass(frozen=True, slots=True)
class UnitSet:
    """A set of observing units (OUS), known by the uid of its status document."""

    status_uid: StatusUid
    state: str = ""
    parent: StatusUid | None = None
    project_status: StatusUid | None = None
    unit: UnitRef | None = None
    children: tuple[StatusUid, ...] = ()
    block_statuses: tuple[StatusUid, ...] = ()
    sessions: tuple[Session, ...] = ()

    def __post_init__(self) -> None:
        if self.children and self.block_statuses:
            raise MetadataError(
                f"{self.status_uid} holds both unit sets and scheduling blocks; one kind is allowed"
            )
        if self.parent == self.status_uid or self.status_uid in self.children:
            raise MetadataError(f"{self.status_uid} contains itself")

    @property
    def exec_blocks(self) -> tuple[ExecBlockUid | SdmName, ...]:
        """Execution blocks of all its sessions, in their order."""
        return tuple(block for session in self.sessions for block in session.exec_blocks)


@dataclass(frozen=True)
class UnitTree:
    """Unit sets of one project, of any depth.

    Raises
    ------
    MetadataError
        A set with two parents, a parent that does not list it, a circle, or more than one top.
    """

    units: Mapping[StatusUid, UnitSet]
    root: StatusUid = field(init=False)

    def __post_init__(self) -> None:
        tops = [unit.status_uid for unit in self.units.values() if unit.parent not in self.units]
        if len(tops) != 1:
            raise MetadataError(
                f"{len(tops)} unit sets have no parent here; expected one: the top of the project"
            )
        object.__setattr__(self, "root", tops[0])
        for unit in self.units.values():
            for child in unit.children:
                found = self.units.get(child)
                if found is not None and found.parent != unit.status_uid:
                    raise MetadataError(
                        f"{unit.status_uid} lists {child}, whose parent is {found.parent}; fetch both documents again"
                    )
            parent = None if unit.parent is None else self.units.get(unit.parent)
            if parent is not None and unit.status_uid not in parent.children:
                raise MetadataError(f"{unit.status_uid} names a parent, {unit.parent}, that does not list it")
        if sum(1 for _ in self.walk()) != len(self.units):
            raise MetadataError("some unit sets contain each other in a circle")

    @classmethod
    def of(cls, units: Iterable[UnitSet]) -> UnitTree:
        """Build the tree of `units`, in any order."""
        by_uid: dict[StatusUid, UnitSet] = {}
        for unit in units:
            if unit.status_uid in by_uid:
                raise MetadataError(f"{unit.status_uid} is given twice")
            by_uid[unit.status_uid] = unit
        return cls(by_uid)

    def walk(self) -> Iterator[UnitSet]:
        """All sets, each before what it contains, in the order of their documents."""
        waiting = [self.root]
        while waiting:
            unit = self.units[waiting.pop()]
            yield unit
            waiting += [child for child in reversed(unit.children) if child in self.units]

    def up(self, uid: StatusUid) -> tuple[UnitSet, ...]:
        """The set `uid` and what contains it, up to the top."""
        chain: list[UnitSet] = []
        at: StatusUid | None = uid
        while at is not None and at in self.units:
            chain.append(self.units[at])
            at = chain[-1].parent
        if not chain:
            raise InputError(f"{uid} is not in this project")
        return tuple(chain)

    def level(self, uid: StatusUid) -> Level:
        """The level of a set: a leaf of scheduling blocks is a member; others count from the top."""
        chain = self.up(uid)
        if chain[0].block_statuses or len(chain) > 3:
            return Level.MEMBER
        return (Level.PROGRAM, Level.SCIENCE_GOAL, Level.GROUP)[len(chain) - 1]

    def members(self) -> tuple[UnitSet, ...]:
        """The member sets: what is calibrated and imaged."""
        return tuple(unit for unit in self.walk() if self.level(unit.status_uid) is Level.MEMBER)


@dataclass(frozen=True, slots=True)
class Delivery:
    """What was known of a release at one time. A claw-back is a later row."""

    observed_at: datetime
    release_date: datetime | None
    cause: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "observed_at", utc(self.observed_at))
        if self.release_date is not None:
            object.__setattr__(self, "release_date", utc(self.release_date))


@dataclass(frozen=True)
class Deliveries:
    """The release dates of a member set as they were seen, oldest first. Rows are added, never changed.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> rows = Deliveries().seen(Delivery(datetime(2018, 1, 1, tzinfo=UTC), datetime(2018, 6, 1, tzinfo=UTC)))
    >>> rows.is_public(datetime(2018, 7, 1, tzinfo=UTC))
    True
    """

    rows: tuple[Delivery, ...] = ()

    def __post_init__(self) -> None:
        times = [row.observed_at for row in self.rows]
        if any(later <= earlier for earlier, later in pairwise(times)):
            raise MetadataError(
                "a delivery was seen before the one that precedes it; rows are added in order of time"
            )

    def seen(self, row: Delivery) -> Deliveries:
        """These rows and one more."""
        return Deliveries((*self.rows, row))

    def is_public(self, at: datetime) -> bool:
        """Whether anyone may have the data at the time `at`: the last release date known by then has come.

        What was never delivered, or has no release date, is not public.
        """
        at = utc(at)
        known = [row for row in self.rows if row.observed_at <= at]
        return bool(known) and known[-1].release_date is not None and known[-1].release_date <= at

    def check_public(self, mous: StatusUid, at: datetime) -> None:
        """Refuse what is not public at the time `at`; asked when work starts and again when products leave."""
        if not self.is_public(at):
            date = self.rows[-1].release_date if self.rows else None
            when = (
                "has no release date" if date is None else f"is proprietary until {date:%Y-%m-%d %H:%M} UTC"
            )
            raise InputError(f"{mous} {when}; nothing of it may be handed out")


class Role(Enum):
    """What a product is to science: told by a table, not by code."""

    PRIMARY = "primary"
    ANCILLARY = "ancillary"


@dataclass(frozen=True, slots=True)
class ProductFile:
    """A file of a set or a run: name, class as the archive calls it, role, size (bytes), checksums."""

    name: str
    file_class: str = ""
    role: Role = Role.ANCILLARY
    size: int | None = None
    sha256: str | None = None
    archive_crc: str | None = None

    def __post_init__(self) -> None:
        safe_name(self.name)
        if self.size is not None and self.size < 0:
            raise InputError(f"{self.name} has a size of {self.size} bytes")
        if self.sha256 is not None and _SHA256.fullmatch(self.sha256) is None:
            raise InputError(f"{self.name}: '{self.sha256}' is no SHA-256; expected 64 hexadecimal digits")


class Calibrated(Enum):
    """Who calibrated a set: nobody yet, the pipeline, or a person."""

    NOT_YET = "not calibrated"
    PIPELINE = "pipeline-calibrated"
    HAND = "hand-calibrated"


@dataclass(frozen=True, slots=True)
class CalibrationState:
    """What the file list of a set says of its calibration.

    `official`: images were delivered, so the calibration is not work in progress. `complete`: there are files of
    class calibration. `separate`: tables are stored apart from images, so a restore can fetch them alone.
    """

    by: Calibrated
    official: bool
    complete: bool
    separate: bool

    @property
    def missing(self) -> tuple[str, ...]:
        """What keeps it from being restored, in words; empty if nothing does."""
        words = []
        if not self.official:
            words.append("no science products were delivered: the calibration may be work in progress")
        if not self.complete:
            words.append("no calibration files were delivered")
        if not self.separate and self.by is not Calibrated.HAND:
            words.append(
                "the calibration tables are not stored apart from the images; they may be split out later"
            )
        return tuple(words)


_HAND_SCRIPT = re.compile(r"scriptFor.*Cal")
_CALTABLES = re.compile(r"[._](?:aux)?caltables\.t(?:gz|ar\.gz)$")


def calibration_state(files: Iterable[ProductFile]) -> CalibrationState:
    """Judge the calibration of a set from its list of product files.

    Hand-calibrated sets have a file of class script named ``*scriptFor*Cal*``; official ones have files of class
    science; restorable ones have files of class calibration, among them ``*caltables.tgz``.
    """
    classes: dict[str, list[str]] = {}
    for file in files:
        classes.setdefault(file.file_class.lower(), []).append(file.name)
    complete = bool(classes.get("calibration"))
    by_hand = any(_HAND_SCRIPT.search(name) for name in classes.get("script", ()))
    by = Calibrated.HAND if by_hand else Calibrated.PIPELINE if complete else Calibrated.NOT_YET
    separate = any(_CALTABLES.search(name) for names in classes.values() for name in names)
    return CalibrationState(by, bool(classes.get("science")), complete, separate)
