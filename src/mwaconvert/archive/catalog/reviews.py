"""Who did what and why, the two states of a target, and notes before a decision."""

from __future__ import annotations

from datetime import datetime

from mwaconvert.archive.catalog import rows
from mwaconvert.archive.catalog.database import Database
from mwaconvert.archive.catalog.trail import Action, AuditEntry, of_entry, to_entry
from mwaconvert.archive.quality.notes import CalibrationStatus, QaState, SrdpStatus
from mwaconvert.errors import InputError


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
        row = of_entry(action, subject, actor, at, reason, detail, key)
        with self._writing() as connection:
            if key and connection.execute(self._sql.select(table.c.seq).where(table.c.key == key)).first():
                return False
            connection.execute(table.insert(), row)
        return True

    def trail(self, subject: str | None = None, limit: int = 200) -> tuple[AuditEntry, ...]:
        """The newest entries, of one subject or of all, the newest first."""
        table = self._t["audit"]
        query = self._sql.select(table).order_by(table.c.seq.desc()).limit(limit)
        if subject is not None:
            query = query.where(table.c.subject == subject)
        with self._reading() as connection:
            found = connection.execute(query).mappings().all()
        return tuple(to_entry(row) for row in found)

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
