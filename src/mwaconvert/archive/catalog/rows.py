"""Rows of the catalogue from what they tell, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mwaconvert.archive.identifiers import (
    EntityUid,
    StatusUid,
    Uid,
    UnitRef,
    parse_execution,
)
from mwaconvert.archive.quality.ingest import IngestItem
from mwaconvert.archive.quality.notes import QaNotes, QaRecord, SrdpStatus
from mwaconvert.archive.reruns import RunInput
from mwaconvert.archive.sources.snapshot import MemberSnapshot
from mwaconvert.archive.times import parse_utc, utc
from mwaconvert.archive.units import (
    Calibrated,
    CalibrationState,
    Delivery,
    ExecBlock,
    Level,
    ProductFile,
    Qa0,
    Role,
    SchedBlock,
    Session,
    UnitSet,
)

Row = Mapping[str, Any]


def iso(time: datetime) -> str:
    """A time as the catalogue keeps it: UTC, always with microseconds, so that text sorts as time does."""
    return utc(time).isoformat(timespec="microseconds").removesuffix("+00:00")


def _iso(time: datetime | None) -> str | None:
    return None if time is None else iso(time)


def _time(text: str | None) -> datetime | None:
    return None if text is None else parse_utc(text)


def _status(text: str | None) -> StatusUid | None:
    return None if text is None else StatusUid(Uid.parse(text))


@dataclass(frozen=True, slots=True)
class Look:
    """A short look at a member set: what changes from day to day."""

    state: str
    qa2: str
    release_date: datetime | None
    calibration: CalibrationState

    @property
    def values(self) -> tuple[Any, ...]:
        """The values of the columns `SHORT` of its row."""
        state = self.calibration
        date = _iso(self.release_date)
        return (self.state, self.qa2, date, state.by.value, state.official, state.complete, state.separate)


def to_look(row: Row) -> Look:
    """A short look from the row of a member set."""
    state = CalibrationState(Calibrated(row["calibrated"]), row["official"], row["complete"], row["separate"])
    return Look(row["state"], row["qa2"], _time(row["release_date"]), state)


#: columns of a short look
SHORT = ("state", "qa2", "release_date", "calibrated", "official", "complete", "separate")
_WORDS = {
    "qa2": "QA2",
    "release_date": "release date",
    "separate": "tables stored apart",
    "official": "official calibration",
    "complete": "calibration files",
}


def differences(old: Sequence[Any], new: Sequence[Any]) -> tuple[str, ...]:
    """What changed between the values of two short looks, in words."""
    return tuple(
        f"{_WORDS.get(name, name)}: {_word(before)} -> {_word(after)}"
        for name, before, after in zip(SHORT, old, new, strict=True)
        if before != after
    )


def _word(value: str | bool | None) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else value or "unset"


def of_unit(project: str, unit: UnitSet, level: Level, at: datetime) -> dict[str, Any]:
    """The row of a unit set of any level, without what only members have."""
    return {
        "status_uid": str(unit.status_uid),
        "project": project,
        "level": level.value,
        "parent": None if unit.parent is None else str(unit.parent),
        "project_uid": None if unit.unit is None else str(unit.unit.project),
        "part_id": None if unit.unit is None else unit.unit.part_id,
        "project_status": None if unit.project_status is None else str(unit.project_status),
        "state": unit.state,
        "qa2": "",
        "release_date": None,
        "calibrated": "",
        "official": False,
        "complete": False,
        "separate": False,
        "block_statuses": [str(uid) for uid in unit.block_statuses],
        "seen_at": iso(at),
    }


def of_member(project: str, look: MemberSnapshot, at: datetime) -> dict[str, Any]:
    """The row of a member set."""
    short = Look(look.unit.state, look.qa2, look.release_date, look.calibration)
    return of_unit(project, look.unit, Level.MEMBER, at) | dict(zip(SHORT, short.values, strict=True))


def of_contents(look: MemberSnapshot) -> dict[str, list[dict[str, Any]]]:
    """Rows of what a member set contains, by table, each table after those it refers to."""
    mous = str(look.unit.status_uid)
    return {
        "sched_block": [
            {
                "uid": str(b.uid),
                "mous": mous,
                "status_uid": None if b.status_uid is None else str(b.status_uid),
                "name": b.name,
            }
            for b in look.sched_blocks
        ],
        "obs_session": [
            {
                "mous": mous,
                "ordinal": s.ordinal,
                "part_id": s.part_id,
                "sb_status": None if s.sb_status is None else str(s.sb_status),
                "start": _iso(s.start),
                "stop": _iso(s.end),
                "end_raw": s.end_raw,
            }
            for s in look.unit.sessions
        ],
        "exec_block": [
            {
                "uid": str(e.uid),
                "mous": mous,
                "sched_block": None if e.sched_block is None else str(e.sched_block),
                "start": _iso(e.start),
                "stop": _iso(e.end),
                "qa0": e.qa0.value,
            }
            for e in look.exec_blocks
        ],
        "session_eb": [
            {"mous": mous, "eb": str(eb), "ordinal": s.ordinal, "position": position}
            for s in look.unit.sessions
            for position, eb in enumerate(s.exec_blocks)
        ],
        "product_file": [
            {
                "name": f.name,
                "owner": mous,
                "file_class": f.file_class,
                "role": f.role.value,
                "size": f.size,
                "sha256": f.sha256,
                "archive_crc": f.archive_crc,
            }
            for f in look.files
        ],
    }


def to_member(
    unit: Row, chain: tuple[StatusUid, ...], contents: Mapping[str, Sequence[Row]]
) -> MemberSnapshot:
    """A member set from its rows."""
    members: dict[int, list[Any]] = {}
    for row in contents["session_eb"]:
        members.setdefault(row["ordinal"], []).append(parse_execution(row["eb"]))
    sessions = tuple(
        Session(
            s["ordinal"],
            tuple(members.get(s["ordinal"], ())),
            s["part_id"],
            _status(s["sb_status"]),
            _time(s["start"]),
            _time(s["stop"]),
            s["end_raw"],
        )
        for s in contents["obs_session"]
    )
    blocks = tuple(
        SchedBlock(EntityUid(Uid.parse(b["uid"])), _status(b["status_uid"]), b["name"])
        for b in contents["sched_block"]
    )
    reference = (
        None
        if unit["part_id"] is None
        else UnitRef(EntityUid(Uid.parse(unit["project_uid"])), unit["part_id"])
    )
    return MemberSnapshot(
        UnitSet(
            StatusUid(Uid.parse(unit["status_uid"])),
            unit["state"],
            _status(unit["parent"]),
            _status(unit["project_status"]),
            reference,
            block_statuses=tuple(StatusUid(Uid.parse(uid)) for uid in unit["block_statuses"]),
            sessions=sessions,
        ),
        chain,
        blocks,
        tuple(_exec_block(row) for row in contents["exec_block"]),
        tuple(
            ProductFile(f["name"], f["file_class"], Role(f["role"]), f["size"], f["sha256"], f["archive_crc"])
            for f in contents["product_file"]
        ),
        _time(unit["release_date"]),
        unit["qa2"],
    )


def _exec_block(row: Row) -> ExecBlock:
    block = row["sched_block"]
    return ExecBlock(
        parse_execution(row["uid"]),
        None if block is None else EntityUid(Uid.parse(block)),
        _time(row["start"]),
        _time(row["stop"]),
        Qa0(row["qa0"]),
    )


def of_delivery(mous: str, delivery: Delivery) -> dict[str, Any]:
    """The row of a delivery."""
    return {
        "mous": mous,
        "observed_at": iso(delivery.observed_at),
        "release_date": _iso(delivery.release_date),
        "cause": delivery.cause,
    }


def to_delivery(row: Row) -> Delivery:
    """A delivery from its row."""
    return Delivery(parse_utc(row["observed_at"]), _time(row["release_date"]), row["cause"])


def of_input(run_id: str, item: RunInput) -> dict[str, Any]:
    """The row of an input of a run."""
    return {
        "run_id": run_id,
        "name": item.path.name,
        "kind": item.kind.value,
        "sha256": item.sha256,
        "from_analyst": item.from_analyst,
    }


def of_record(run_id: str, record: QaRecord) -> dict[str, Any]:
    """The row of a decision."""
    notes = record.notes
    return {
        "run_id": run_id,
        "revision": record.revision,
        "status": notes.status.value,
        "score": notes.score,
        "standard": notes.standard,
        "analyst": notes.analyst,
        "comments": notes.comments,
        "extra": [list(pair) for pair in notes.extra],
        "decided_by": record.decided_by,
        "at": iso(record.at),
    }


def to_record(row: Row) -> QaRecord:
    """A decision from its row."""
    extra = tuple((key, value) for key, value in row["extra"])
    notes = QaNotes(
        SrdpStatus(row["status"]), row["analyst"], row["standard"], row["score"], row["comments"], extra
    )
    return QaRecord(row["revision"], notes, row["decided_by"], parse_utc(row["at"]))


def of_item(run_id: str, attempt: int, item: IngestItem) -> dict[str, Any]:
    """The row of an ingested file."""
    return {
        "run_id": run_id,
        "attempt": attempt,
        "name": item.file.name,
        "role": item.file.role.value,
        "size": item.file.size,
        "sha256": item.file.sha256,
        "archive_id": item.archive_id,
        "archive_version": item.archive_version,
        "verified_at": _iso(item.verified_at),
    }


def to_item(row: Row) -> IngestItem:
    """An ingested file from its row."""
    file = ProductFile(row["name"], role=Role(row["role"]), size=row["size"], sha256=row["sha256"])
    return IngestItem(file, row["archive_id"], row["archive_version"], _time(row["verified_at"]))
