"""What engines do to a job: they take it from the queue, try its steps and end it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import sqlalchemy as sa

from mwaconvert.jobs.control.schema import attempts, gates, jobs, products, users
from mwaconvert.jobs.control.states import Fault, Happening, Outcome, State
from mwaconvert.jobs.control.store.journal import BEFORE, END_ATTEMPT, Journal, change_job, held_row, job_row
from mwaconvert.jobs.control.store.rows import all_rows, attempt_of, job_of, product_row
from mwaconvert.jobs.control.store.usage import quotas_of, running_of
from mwaconvert.jobs.control.work import Attempt, Gate, Job, Json, Product

_NEW_ATTEMPT_ROW = {
    column.name: False if column.name == "superseded" else None for column in attempts.columns
}
_NEW_ATTEMPT = attempts.insert().returning(attempts.c.id)
_ATTEMPT = sa.select(attempts).where(attempts.c.id == sa.bindparam("attempt_id"))


class Runs(Journal):
    """Queue, runs, attempts and gates."""

    def next_queued(self, limit: int, skip: Iterable[int] = ()) -> list[Job]:
        """The jobs that should start next: priority, then age; none above its owner's running quota."""

        def work(c: sa.Connection) -> list[Job]:
            allowed = dict(
                tuple(row)
                for row in c.execute(
                    sa.select(users.c.name, users.c.quota_running).where(users.c.quota_running.is_not(None))
                )
            )
            left = {owner: quota - running_of(c, owner) for owner, quota in allowed.items()}
            picked: list[Job] = []
            unwanted = set(skip)
            while len(picked) < limit:
                full = [owner for owner, free in left.items() if free <= 0]
                query = (
                    sa.select(jobs)
                    .where(jobs.c.state == State.QUEUED.value)
                    .where(jobs.c.id.not_in(unwanted), jobs.c.owner.not_in(full))
                    .order_by(jobs.c.priority.desc(), jobs.c.id)
                    .limit(limit - len(picked))
                )
                found = [job_of(row) for row in all_rows(c, query)]
                if not found:
                    break
                for job in found:
                    unwanted.add(job.id)
                    if left.get(job.owner, 1) > 0:
                        left[job.owner] = left.get(job.owner, limit + 1) - 1
                        picked.append(job)
            return picked

        return self._read(work)

    def start_run(self, job_id: int, run: int, worker: str) -> Job | None:
        """Give a queued job to a worker; None if it is not to be had (any more, or yet: see its state).

        A worker that asks for its own running job again gets it: it was restarted.
        """

        def work(c: sa.Connection) -> Job | None:
            row = job_row(c, job_id)
            if row["run"] != run:
                return None
            if row["state"] == State.RUNNING.value and row["worker"] == worker:
                return job_of(row)
            if row["state"] != State.QUEUED.value:
                return None
            quota = quotas_of(c, row["owner"]).running
            if quota is not None:
                self._alone(c)
                if running_of(c, row["owner"]) >= quota:
                    return None
            started = row["started"] or self.now()
            row = change_job(c, row, state=State.RUNNING, worker=worker, started=started)
            self._event(c, Happening.STARTED, row, worker=worker, run=run)
            return job_of(row)

        return self._write_lazily(work)

    def begin_attempt(self, job: Job, step: str, host: str, work_dir: Path) -> Attempt | None:
        """Begin an attempt of a step; None if the job was taken away from this run."""

        def work(c: sa.Connection) -> Attempt | None:
            held = held_row(c, job.id, job.run)
            if held is None:
                return None
            before = all_rows(c, BEFORE, job_id=job.id)
            self._lose_attempts(c, held, before)
            number = max((row["number"] for row in before if row["step"] == step), default=0) + 1
            directory = work_dir / str(job.id) / f"{step}.{number}"
            row = {
                "job_id": job.id,
                "step": step,
                "number": number,
                "run": job.run,
                "outcome": Outcome.RUNNING.value,
                "worker": job.worker or "",
                "host": host,
                "started": self.now(),
                "directory": str(directory),
                "log_path": str(directory.with_name(f"{step}.{number}.log")),
            }
            attempt_id = c.execute(_NEW_ATTEMPT, row).scalar_one()
            held = change_job(c, held, step=step, progress=0.0, progress_text="")
            self._event(c, Happening.STEP_STARTED, held, step, attempt=number)
            return attempt_of({**_NEW_ATTEMPT_ROW, **row, "id": attempt_id})

        return self._write_lazily(work)

    def note_attempt(
        self,
        attempt: Attempt,
        *,
        pid: int | None = None,
        pid_started: str | None = None,
        batch_id: str | None = None,
    ) -> None:
        """Keep the process group or the batch id of an attempt."""
        noted = {"pid": pid, "pid_started": pid_started, "batch_id": batch_id}
        values = {key: value for key, value in noted.items() if value is not None}
        self._write(lambda c: c.execute(attempts.update().where(attempts.c.id == attempt.id).values(values)))

    def progress(self, attempt: Attempt, fraction: float, text: str) -> None:
        """How far a job is."""

        def work(c: sa.Connection) -> None:
            held = held_row(c, attempt.job_id, attempt.run)
            if held is not None:
                row = change_job(c, held, progress=fraction, progress_text=text)
                self._event(c, Happening.PROGRESS, row, attempt.step, fraction=fraction, text=text)

        self._write_lazily(work)

    def finish_attempt(
        self,
        attempt: Attempt,
        result: Json,
        made: Sequence[Product] = (),
        messages: Sequence[tuple[str, str, Json]] = (),
        *,
        is_last: bool = False,
    ) -> bool:
        """A step is done: its result, products and messages count from now on, all or none.

        Parameters
        ----------
        messages
            (key, kind, payload) for the outbox; one whose key is there is left out.
        is_last
            The job is completed with it.

        Returns
        -------
        bool
            False if the job was taken away from this run: nothing was recorded.
        """

        def work(c: sa.Connection) -> bool:
            now = self.now()
            row = held_row(c, attempt.job_id, attempt.run)
            done = {"outcome": Outcome.DONE.value, "ended": now, "result": dict(result)}
            if row is None or c.execute(END_ATTEMPT, {"attempt_id": attempt.id, **done}).rowcount == 0:
                kept = all_rows(c, _ATTEMPT, attempt_id=attempt.id)
                return any(found["outcome"] == Outcome.DONE.value for found in kept)
            for product in made:
                c.execute(products.insert().values(product_row(product, attempt.job_id)))
            for key, kind, payload in messages:
                self._enqueue(c, key, kind, payload, attempt.job_id)
            self._event(
                c, Happening.STEP_ENDED, row, attempt.step, outcome=Outcome.DONE.value, attempt=attempt.number
            )
            if is_last:
                self._end(c, row, State.COMPLETED)
            return True

        return self._write(work)

    def fail_attempt(
        self, attempt: Attempt, outcome: Outcome, fault: Fault | None = None, text: str = ""
    ) -> None:
        """An attempt ended without success. What becomes of the job is said by `end_run`."""

        def work(c: sa.Connection) -> None:
            row = job_row(c, attempt.job_id)
            ended = {
                "outcome": outcome.value,
                "ended": self.now(),
                "fault": fault.value if fault else None,
                "error_text": text or None,
            }
            if c.execute(END_ATTEMPT, {"attempt_id": attempt.id, **ended}).rowcount:
                self._event(
                    c,
                    Happening.STEP_ENDED,
                    row,
                    attempt.step,
                    outcome=outcome.value,
                    attempt=attempt.number,
                    text=text,
                )

        self._write(work)

    def end_run(self, job: Job, state: State, fault: Fault | None = None, text: str | None = None) -> None:
        """The job of this run is completed, failed or cancelled; nothing happens if it was taken away."""

        def work(c: sa.Connection) -> None:
            row = held_row(c, job.id, job.run)
            if row is not None:
                self._end(c, row, state, fault, text)

        self._write(work)

    def open_gate(self, job: Job, gate: Gate) -> None:
        """Let the job wait at a gate. No worker holds it while it waits."""

        def work(c: sa.Connection) -> None:
            row = held_row(c, job.id, job.run)
            if row is None:
                return
            c.execute(
                gates.insert().values(
                    job_id=job.id,
                    gate=gate.name,
                    answers=list(gate.answers),
                    stops=list(gate.stops),
                    role=gate.role.value,
                    opened=self.now(),
                )
            )
            row = change_job(
                c, row, state=State.WAITING, step=gate.name, worker=None, progress=0.0, progress_text=""
            )
            self._event(c, Happening.GATE_OPENED, row, gate.name, answers=list(gate.answers))
            if row["cancel_requested"]:
                self._end(c, row, State.CANCELLED)

        self._write(work)
