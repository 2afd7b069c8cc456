"""Who did what and why, the two states of a target, and notes before a decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from mwaconvert.archive.catalog import rows
from mwaconvert.archive.catalog.database import Database
from mwaconvert.archive.identifiers import StatusUid
from mwaconvert.archive.quality.notes import CalibrationStatus, QaState, SrdpStatus
from mwaconvert.archive.times import parse_utc
from mwaconvert.errors import InputError


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


class Reviews(Database):
    """Audit trail, states and drafts."""

    def note(
        self,
        action: Action,
        subject: str,
        actor: str,
        at: datetime,
        *,
        reason: str = "",
        detail: str = "",
        key: str = "",
    ) -> bool:
        """Add an entry to the audit trail.

        Parameters
        ----------
        key : an entry of a key is made once, however often a step is repeated; empty: always

        Returns
        -------
        whether it was made
        """
        table = self._t["audit"]
        row = {
            "key": key or None,
            "at": rows.iso(at),
            "actor": actor,
            "action": action.name,
            "subject": subject,
            "reason": reason,
            "detail": detail,
        }
        with self._writing() as connection:
            if key and connection.execute(self._sql.select(table.c.seq).where(table.c.key == key)).first():
                return False
            connection.execute(table.insert(), row)
        return True

    def note_changes(self, told: Mapping[StatusUid, Sequence[str]], actor: str, at: datetime) -> None:
        """Add what a pass over many sets has told to the audit trail, an entry for each set."""
        entries = [
            {
                "key": None,
                "at": rows.iso(at),
                "actor": actor,
                "action": Action.CHANGED.name,
                "subject": str(uid),
                "reason": "",
                "detail": "; ".join(words),
            }
            for uid, words in told.items()
        ]
        if entries:
            with self._writing() as connection:
                connection.execute(self._t["audit"].insert(), entries)

    def trail(self, subject: str | None = None, limit: int = 200) -> tuple[AuditEntry, ...]:
        """The newest entries, of one subject or of all, the newest first."""
        table = self._t["audit"]
        query = self._sql.select(table).order_by(table.c.seq.desc()).limit(limit)
        if subject is not None:
            query = query.where(table.c.subject == subject)
        with self._reading() as connection:
            found = connection.execute(query).mappings().all()
        return tuple(
            AuditEntry(
                row["seq"],
                parse_utc(row["at"]),
                row["actor"],
                Action[row["action"]],
                row["subject"],
                row["reason"],
                row["detail"],
            )
            for row in found
        )

    def put_draft(self, run_id: str, analyst: str, text: str, at: datetime) -> None:
        """Keep the notes of an analyst on a run, before a decision: of two who decide, those of the first count."""
        row = {"run_id": run_id, "analyst": analyst, "text": text, "at": rows.iso(at)}
        with self._writing() as connection:
            self._put(connection, "qa_draft", row)

    def draft(self, run_id: str, analyst: str) -> str:
        """The notes of an analyst on a run; empty if there are none."""
        with self._reading() as connection:
            found = self._rows(connection, "qa_draft", run_id=run_id, analyst=analyst)
        return str(found[0]["text"]) if found else ""

    def state(self, target: str) -> QaState:
        """The two states of an execution block or member set."""
        with self._reading() as connection:
            found = self._rows(connection, "qa_state", target=target)
        if not found:
            return QaState()
        return QaState(CalibrationStatus(found[0]["calibration"]), SrdpStatus(found[0]["srdp"]))

    def put_state(self, target: str, state: QaState, run_id: str, at: datetime) -> None:
        """Set both states, by a run."""
        row = {
            "target": target,
            "calibration": state.calibration.value,
            "srdp": state.srdp.value,
            "run_id": run_id,
            "changed_at": rows.iso(at),
        }
        with self._writing() as connection:
            self._put(connection, "qa_state", row)

    def assign(self, run_id: str, analyst: str, by: str, at: datetime) -> None:
        """Give a run that waits for a decision to an analyst; empty takes it from all.

        Raises
        ------
        InputError
            There is no such run, or it does not wait.
        """
        table = self._t["pipeline_run"]
        with self._writing() as connection:
            change = table.update().where(table.c.run_id == run_id, table.c.state == "waiting")
            if connection.execute(change.values(assigned_to=analyst)).rowcount == 0:
                raise InputError(f"{run_id} does not wait for quality assurance, so nobody is assigned to it")
        self.note(Action.ASSIGNED, run_id, by, at, detail=analyst or "nobody")
