"""What users do to a job that is there."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from mwaconvert.errors import InputError
from mwaconvert.jobs.control.schema import attempts, gates, jobs
from mwaconvert.jobs.control.states import ACTIVE, Fault, Happening, Outcome, State
from mwaconvert.jobs.control.store.journal import Journal, change_job, job_row
from mwaconvert.jobs.control.store.rows import Row, first_row, job_of
from mwaconvert.jobs.control.work import DecidedError, DuplicateError, Job, UnknownError


class Orders(Journal):
    """Cancel, retry, decide, hide."""

    def cancel(self, job_id: int, by: str, why: str = "") -> Job:
        """Cancel a job: at once if it waits, else its worker is asked to end it. May be repeated.

        Raises
        ------
        InputError
            The job is completed, failed or expired.
        """

        def work(c: sa.Connection) -> Job:
            row = job_row(c, job_id)
            state = State(row["state"])
            if state is State.CANCELLED or row["cancel_requested"]:
                return job_of(row)
            if state.is_terminal:
                raise InputError(f"job {job_id} is {state} already and cannot be cancelled")
            if state is State.RUNNING:
                row = change_job(c, row, cancel_requested=True)
                self._event(c, Happening.CANCEL_REQUESTED, row, by=by, why=why)
                return job_of(row)
            row = change_job(c, row, state=State.CANCELLED, finished=self.now(), run=row["run"] + 1)
            self._event(c, Happening.CANCELLED, row, by=by, why=why)
            return job_of(row)

        return self._write(work)

    def retry(self, job_id: int, by: str, redo: Sequence[str] = ()) -> Job:
        """Queue a job that has ended once more. Finished steps are kept.

        Parameters
        ----------
        redo
            Steps and gates that are done anew although they are done (`Workflow.names_from`).

        Raises
        ------
        InputError
            The job has not ended.
        DuplicateError
            The same job was submitted again meanwhile.
        """

        def work(c: sa.Connection) -> Job:
            row = job_row(c, job_id)
            state = State(row["state"])
            if not state.is_terminal:
                raise InputError(f"job {job_id} is {state}: only a job that has ended can be tried again")
            if state in (State.COMPLETED, State.EXPIRED) and not redo:
                raise InputError(f"job {job_id} is {state}: name the step from which it shall run again")
            self._alone(c)
            _refuse_active_twin(c, row)
            again = sa.or_(attempts.c.step.in_(redo), attempts.c.outcome == Outcome.LOST.value)
            c.execute(attempts.update().where(attempts.c.job_id == job_id, again).values(superseded=True))
            # a gate that stopped the job is asked again, and so is one that nobody answered
            asked = sa.or_(gates.c.gate.in_(redo), gates.c.answer.is_(None))
            if row["fault"] == Fault.GATE.value:
                asked = sa.or_(asked, gates.c.gate == row["step"])
            c.execute(gates.update().where(gates.c.job_id == job_id, asked).values(superseded=True))
            row = self._requeue(c, row)
            self._event(c, Happening.RETRIED, row, by=by, redo=list(redo))
            return job_of(row)

        return self._write(work)

    def decide(self, job_id: int, gate: str, answer: str, by: str, why: str = "") -> Job:
        """Answer a gate. Of two who answer at once one wins, and the other is told.

        Raises
        ------
        DecidedError
            Somebody answered before, or the job does not wait there any more.
        InputError
            An answer that the gate does not know.
        """

        def work(c: sa.Connection) -> Job:
            row = job_row(c, job_id)
            at_gate = sa.and_(gates.c.job_id == job_id, gates.c.gate == gate, ~gates.c.superseded)
            found = first_row(c, sa.select(gates).where(at_gate))
            if found is None:
                raise UnknownError(f"job {job_id} waits at no gate {gate!r}")
            if found["answer"] is not None:
                raise DecidedError(
                    f"{found['decided_by']} has answered gate {gate} of job {job_id} before: {found['answer']}"
                )
            if row["state"] != State.WAITING.value:
                raise DecidedError(
                    f"job {job_id} is {row['state']} and does not wait at gate {gate} any more"
                )
            if answer not in found["answers"]:
                raise InputError(f"gate {gate} takes {', '.join(found['answers'])}, not {answer!r}")
            c.execute(
                gates.update()
                .where(gates.c.id == found["id"])
                .values(answer=answer, decided_by=by, decided=self.now(), why=why)
            )
            self._event(c, Happening.GATE_DECIDED, row, gate, answer=answer, by=by, why=why)
            if answer in found["stops"]:
                text = f"{by} answered gate {gate} with {answer}" + (f": {why}" if why else "")
                return job_of(self._end(c, row, State.FAILED, Fault.GATE, text))
            return job_of(self._requeue(c, row))

        return self._write(work)

    def hide(self, job_id: int, by: str) -> None:
        """Take a job that has ended out of the lists and free its name. May be repeated."""

        def work(c: sa.Connection) -> None:
            row = job_row(c, job_id)
            if not State(row["state"]).is_terminal:
                raise InputError(f"job {job_id} is {row['state']}: cancel it first")
            if not row["hidden"]:
                self._event(
                    c, Happening.HIDDEN, change_job(c, row, hidden=True, name=None), by=by, name=row["name"]
                )

        self._write(work)


def _refuse_active_twin(c: sa.Connection, row: Row) -> None:
    active = [state.value for state in ACTIVE]
    twin = sa.select(jobs.c.id).where(jobs.c.digest == row["digest"], jobs.c.state.in_(active))
    found = c.execute(twin).scalar()
    if found is not None:
        raise DuplicateError(f"the same job is queued or runs already: job {found}", found)
