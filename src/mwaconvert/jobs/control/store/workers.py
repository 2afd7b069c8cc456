"""Workers, their heartbeats, and what becomes of their jobs when they die."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from mwaconvert.jobs.control.schema import attempts, jobs, workers
from mwaconvert.jobs.control.states import Happening, Outcome, State
from mwaconvert.jobs.control.store.journal import Journal, change_job, held_row, job_row_or_none
from mwaconvert.jobs.control.store.rows import all_rows, attempt_of, first_row
from mwaconvert.jobs.control.work import Attempt, Job, WorkerRecord


class Workers(Journal):
    """Workers that live, and those that do not."""

    def register_worker(self, worker: str, host: str, pid: int, pid_started: str) -> None:
        """A worker begins. What ran under its id before must have been taken from it by `reap` first."""

        def work(c: sa.Connection) -> None:
            now = self.now()
            first_row(c, sa.select(workers).where(workers.c.id == worker).with_for_update())
            self._alone(c)
            c.execute(workers.delete().where(workers.c.id == worker))
            row = {"id": worker, "host": host, "pid": pid, "pid_started": pid_started, "beats": 0}
            c.execute(workers.insert().values(**row, started=now, seen=now, alive=True))
            self._event(c, Happening.WORKER_STARTED, None, worker=worker, host=host)

        self._write(work)

    def beat(self, worker: str, pid: int, pid_started: str) -> bool:
        """The heartbeat of a worker; False if another has declared it dead, or has taken its id."""
        mine = sa.and_(
            workers.c.id == worker,
            workers.c.pid == pid,
            workers.c.pid_started == pid_started,
            workers.c.alive,
        )
        beat = workers.update().where(mine).values(beats=workers.c.beats + 1, seen=self.now())
        return self._write_lazily(lambda c: c.execute(beat).rowcount) > 0

    def workers(self) -> list[WorkerRecord]:
        """All workers that ever were."""
        query = sa.select(workers).order_by(workers.c.id)
        return [WorkerRecord(**row) for row in self._read(lambda c: all_rows(c, query))]

    def reap(self, worker: str, beats: int | None = None) -> list[int] | None:
        """Declare a worker dead: its jobs go back to the queue.

        Parameters
        ----------
        beats
            The heartbeat at which it was believed dead: nothing happens if it has beaten since.

        Returns
        -------
        list of int or None
            Ids of the jobs that were taken from it; None if it is alive, or another was faster.
        """

        def work(c: sa.Connection) -> list[int] | None:
            known = first_row(c, sa.select(workers).where(workers.c.id == worker).with_for_update())
            if known is not None and beats is not None and (known["beats"] != beats or not known["alive"]):
                return None
            if known is not None and known["alive"]:
                c.execute(workers.update().where(workers.c.id == worker).values(alive=False))
                self._event(c, Happening.WORKER_LOST, None, worker=worker)
            theirs = sa.and_(jobs.c.worker == worker, jobs.c.state == State.RUNNING.value)
            rows = all_rows(
                c, sa.select(jobs).where(theirs).order_by(jobs.c.id).with_for_update(key_share=True)
            )
            for row in rows:
                self._take_back(c, row)
            return [row["id"] for row in rows]

        return self._write(work)

    def renew_run(self, job: Job) -> None:
        """Give a queued job a new run: the engine has lost the one that it had."""

        def work(c: sa.Connection) -> None:
            row = job_row_or_none(c, job.id)
            if row is not None and row["run"] == job.run and row["state"] == State.QUEUED.value:
                self._event(c, Happening.REQUEUED, change_job(c, row, run=job.run + 1))

        self._write(work)

    def take_back(self, job: Job) -> None:
        """A worker gives a job of its own back to the queue: it stops before the job has ended."""

        def work(c: sa.Connection) -> None:
            row = held_row(c, job.id, job.run)
            if row is not None:
                self._take_back(c, row)

        self._write(work)

    def stop_worker(self, worker: str) -> None:
        """A worker ends in good order."""

        def work(c: sa.Connection) -> None:
            c.execute(workers.update().where(workers.c.id == worker).values(alive=False))
            self._event(c, Happening.WORKER_STOPPED, None, worker=worker)

        self._write(work)

    def running_attempts(self, worker: str) -> list[Attempt]:
        """Attempts that run under a worker, as far as the store knows."""
        query = sa.select(attempts).where(
            attempts.c.worker == worker, attempts.c.outcome == Outcome.RUNNING.value
        )
        return [attempt_of(row) for row in self._read(lambda c: all_rows(c, query))]

    def stray_batches(self) -> list[Attempt]:
        """Attempts whose batch job may still run though their job was cancelled while nobody watched it."""
        query = (
            sa.select(attempts)
            .join(jobs, jobs.c.id == attempts.c.job_id)
            .where(jobs.c.state == State.CANCELLED.value, attempts.c.batch_id.is_not(None))
            .where(attempts.c.outcome == Outcome.LOST.value)
        )
        return [attempt_of(row) for row in self._read(lambda c: all_rows(c, query))]

    def stray_batch_ended(self, attempt_id: int) -> None:
        """The batch job of an attempt was ended after its job was cancelled."""
        ended = attempts.update().where(attempts.c.id == attempt_id).values(outcome=Outcome.CANCELLED.value)
        self._write(lambda c: c.execute(ended))

    def to_be_ended(self, runs: Mapping[int, int]) -> dict[int, bool]:
        """Of the runs (job id -> run) of a worker: those to end, and whether by a cancel (else: taken away)."""
        query = sa.select(jobs.c.id, jobs.c.run, jobs.c.state, jobs.c.cancel_requested).where(
            jobs.c.id.in_(runs)
        )
        rows = {row["id"]: row for row in self._read(lambda c: all_rows(c, query))}
        ending = {}
        for job_id, run in runs.items():
            row = rows.get(job_id)
            is_held = row is not None and row["run"] == run and row["state"] == State.RUNNING.value
            if row is None or not is_held:
                ending[job_id] = False
            elif row["cancel_requested"]:
                ending[job_id] = True
        return ending
