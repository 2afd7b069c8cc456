"""What every room of the store that changes a job stands on: its row, its next state, and the event that tells."""

from __future__ import annotations

from enum import Enum
from typing import Any

import sqlalchemy as sa

from mwaconvert.errors import InputError
from mwaconvert.jobs.control.schema import attempts, events, jobs, outbox, products
from mwaconvert.jobs.control.states import Fault, Happening, Outcome, Sending, State
from mwaconvert.jobs.control.store.database import Database
from mwaconvert.jobs.control.store.rows import Row, all_rows, event_of
from mwaconvert.jobs.control.work import Event, Json, UnknownError

# statements of the hot path, built once: to build one takes longer than to run it
_JOB = sa.select(jobs).where(jobs.c.id == sa.bindparam("job_id"))
_JOB_TO_CHANGE = _JOB.with_for_update(key_share=True)
_CHANGE_JOB = jobs.update().where(jobs.c.id == sa.bindparam("job_id"))
BEFORE = sa.select(attempts.c.id, attempts.c.step, attempts.c.number, attempts.c.outcome).where(
    attempts.c.job_id == sa.bindparam("job_id")
)
END_ATTEMPT = attempts.update().where(
    attempts.c.id == sa.bindparam("attempt_id"), attempts.c.outcome == Outcome.RUNNING.value
)
_SOONEST = sa.select(sa.func.min(products.c.expires)).where(
    products.c.job_id == sa.bindparam("job_id"), products.c.removed.is_(None)
)


class Journal(Database):
    """Events, and the changes of a job that they tell."""

    def _event(
        self,
        c: sa.Connection,
        happening: Happening,
        job: Row | None = None,
        step: str | None = None,
        **data: Any,
    ) -> None:
        """Tell what happens; it is written together with the end of the transaction."""
        row = {
            "at": self.now(),
            "happening": happening.value,
            "job_id": job["id"] if job else None,
            "owner": job["owner"] if job else None,
            "state": job["state"] if job else None,
            "step": step if step is not None or job is None else job["step"],
            "data": data,
        }
        c.info["events"].append(row)

    def events(
        self,
        after: int = 0,
        *,
        limit: int = 1000,
        job_id: int | None = None,
        owner: str | None = None,
        leave_out: Happening | None = None,
    ) -> list[Event]:
        """Events with `seq` greater than `after`, oldest first: of all, of a job or of an owner."""
        query = sa.select(events).where(events.c.seq > after).order_by(events.c.seq).limit(limit)
        if leave_out is not None:
            query = query.where(events.c.happening != leave_out.value)
        if job_id is not None:
            query = query.where(events.c.job_id == job_id)
        if owner is not None:
            query = query.where(events.c.owner == owner)
        return [event_of(row) for row in self._read(lambda c: all_rows(c, query))]

    def changed_since(self, after: int, owner: str) -> set[int]:
        """Ids of the jobs of an owner that have events with `seq` greater than `after`."""
        query = sa.select(events.c.job_id).where(events.c.seq > after, events.c.owner == owner).distinct()
        return {row.job_id for row in self._read(lambda c: c.execute(query).all())}

    def last_seq(self) -> int:
        """The number of the newest event, 0 if there is none."""
        return self._read(lambda c: c.execute(sa.select(sa.func.max(events.c.seq))).scalar()) or 0

    def _end(
        self, c: sa.Connection, row: Row, state: State, fault: Fault | None = None, text: str | None = None
    ) -> Row:
        values: dict[str, Any] = {"state": state, "finished": self.now(), "fault": fault, "error_text": text}
        if state is State.COMPLETED:
            values |= {"progress": 1.0, "expires": c.execute(_SOONEST, {"job_id": row["id"]}).scalar()}
        ended = change_job(c, row, **values, worker=None, cancel_requested=False)
        self._event(c, Happening(state.value), ended, fault=fault, text=text)
        return ended

    def _requeue(self, c: sa.Connection, row: Row) -> Row:
        return change_job(
            c,
            row,
            state=State.QUEUED,
            run=row["run"] + 1,
            worker=None,
            fault=None,
            error_text=None,
            finished=None,
            cancel_requested=False,
            progress=0.0,
            progress_text="",
        )

    def _take_back(self, c: sa.Connection, row: Row) -> None:
        self._lose_attempts(c, row, all_rows(c, BEFORE, job_id=row["id"]))
        if row["cancel_requested"]:
            self._end(c, row, State.CANCELLED)
        else:
            self._event(c, Happening.REQUEUED, self._requeue(c, row))

    def _lose_attempts(self, c: sa.Connection, job: Row, before: list[Row]) -> None:
        for row in before:
            if row["outcome"] != Outcome.RUNNING.value:
                continue
            lost = {"outcome": Outcome.LOST.value, "ended": self.now(), "fault": Fault.LOST.value}
            c.execute(END_ATTEMPT, {"attempt_id": row["id"], **lost})
            told = {"outcome": Outcome.LOST.value, "attempt": row["number"]}
            self._event(c, Happening.STEP_ENDED, job, row["step"], **told)

    def _enqueue(self, c: sa.Connection, key: str, kind: str, payload: Json, job_id: int | None) -> bool:
        self._alone(c)
        if c.execute(sa.select(outbox.c.key).where(outbox.c.key == key)).first() is not None:
            return False
        row = {"key": key, "kind": kind, "payload": dict(payload), "job_id": job_id, "created": self.now()}
        c.execute(outbox.insert().values(**row, state=Sending.PENDING.value))
        return True


def job_row_or_none(c: sa.Connection, job_id: int | None) -> Row | None:
    """The row of a job; it stays as it is until the transaction ends, if that writes."""
    query = _JOB_TO_CHANGE if c.get_execution_options().get("write") else _JOB
    return next(iter(all_rows(c, query, job_id=job_id)), None)


def job_row(c: sa.Connection, job_id: int) -> Row:
    row = job_row_or_none(c, job_id)
    if row is None:
        raise UnknownError(f"there is no job {job_id}")
    return row


def held_row(c: sa.Connection, job_id: int, run: int) -> Row | None:
    """The row of a job that this run still holds."""
    row = job_row_or_none(c, job_id)
    return row if row is not None and row["run"] == run and row["state"] == State.RUNNING.value else None


def change_job(c: sa.Connection, row: Row, **values: Any) -> Row:
    """Change a job as this transaction has read it; returns it as it is then."""
    state = values.get("state")
    if state is not None and not State(row["state"]).may_become(state):
        raise InputError(f"job {row['id']} is {row['state']} and cannot become {state}")
    # drivers do not agree on how to write an enum
    values = {key: value.value if isinstance(value, Enum) else value for key, value in values.items()}
    c.execute(_CHANGE_JOB, {"job_id": row["id"], **values})
    return {**row, **values}
