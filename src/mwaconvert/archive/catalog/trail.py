"""The audit trail: who did what, when and why; entries are added, never changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from mwaconvert.archive.catalog.rows import Row, iso
from mwaconvert.archive.times import parse_utc


class Action(Enum):
    """What the audit trail tells of."""

    ASKED = "asked for"
    BEGAN = "began"
    RUN_ENDED = "run of the pipeline ended"
    RUN_FAILED = "run of the pipeline failed"
    WAITS = "waits for quality assurance"
    ASSIGNED = "assigned"
    DECIDED = "decided"
    NOTES = "notes put into the weblog"
    INGESTED = "ingested"
    INGEST_FAILED = "ingest failed"
    MARKED = "marked"
    MOVED = "moved"
    CLEANED = "cleaned up"
    NOT_CLEANED = "cleanup refused"
    EXPIRED = "removed by age"
    RESTORED = "restored"
    HANDED_OUT = "handed out"
    CHANGED = "changed in the archive"
    LOOKED = "metadata of the archive looked at"

    @property
    def words(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """An entry of the audit trail. `subject` is a run, else a member set or an execution block."""

    seq: int
    at: datetime
    actor: str
    action: Action
    subject: str
    reason: str
    detail: str


def of_entry(
    action: Action, subject: str, actor: str, at: datetime, reason: str = "", detail: str = "", key: str = ""
) -> dict[str, Any]:
    """The row of an entry; of a `key` that is not empty there is one."""
    return {
        "key": key or None,
        "at": iso(at),
        "actor": actor,
        "action": action.name,
        "subject": subject,
        "reason": reason,
        "detail": detail,
    }


def to_entry(row: Row) -> AuditEntry:
    """An entry from its row."""
    return AuditEntry(
        row["seq"],
        parse_utc(row["at"]),
        row["actor"],
        Action[row["action"]],
        row["subject"],
        row["reason"],
        row["detail"],
    )
