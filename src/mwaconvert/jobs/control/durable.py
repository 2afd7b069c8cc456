"""The engine of several workers: queued jobs go through a DBOS queue on the database of the store.

DBOS spreads the jobs over the workers, keeps the limit of each worker and hands over what a dead worker had
taken from the queue. A thread that has done a job takes the next one from the store at once.

Which steps are done is said by the store alone: a second record in DBOS would be written in
another transaction, and the two could contradict each other. So one run of a job is one DBOS workflow, named
after job and run, and a workflow whose run is over does nothing.
"""

from __future__ import annotations

import logging
import threading
import time

from mwaconvert.errors import ResourceError
from mwaconvert.jobs.control.inline import wait_until_idle
from mwaconvert.jobs.control.states import State
from mwaconvert.jobs.control.store import engine_of
from mwaconvert.jobs.control.work import Job, UnknownError
from mwaconvert.jobs.control.worker import Worker

_log = logging.getLogger(__name__)
_QUEUE = "jobs"
# workflows of an older version of the program are carried on by the next: their only arguments are two numbers
_VERSION = "1"
_MIDDLE_PRIORITY = 2**30
_STUCK_S = 30.0
_AGAIN_S = 0.2


class DurableEngine:
    """Takes jobs from the queue that all workers of a database share. One in a process.

    Parameters
    ----------
    worker
        Carries them out; its fixed id is the executor id of DBOS.
    threads
        How many jobs this worker runs at once.
    poll_s
        How often the queue is looked at.
    """

    def __init__(self, worker: Worker, *, threads: int = 2, poll_s: float = 0.2) -> None:
        self.worker = worker
        self.threads = threads
        self.poll_s = poll_s
        self._enqueued: dict[tuple[int, int], float] = {}
        self._stopping = threading.Event()
        self._dispatcher = threading.Thread(target=self._dispatch, name="dispatch", daemon=True)
        self._running = 0
        self._chosen: set[int] = set()
        self._choosing = threading.Lock()
        self._quiet = threading.Condition()

    def __enter__(self) -> DurableEngine:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to take jobs; what this worker left when it died comes first."""
        from dbos import DBOS

        self.worker.on_reaped = self._resume_workflows_of
        self.worker.start()
        self._engine = engine_of(self.worker.store.url)
        DBOS(
            config={
                "name": "mwaconvert",
                "system_database_url": self.worker.store.url,
                "system_database_engine": self._engine,
                "executor_id": self.worker.id,
                "application_version": _VERSION,
                "log_level": "ERROR",
                "use_listen_notify": False,
                # nothing is told that way, but `stop` waits as long
                "notification_listener_polling_interval_sec": self.poll_s,
            }
        )

        @DBOS.workflow(name="carry_out_job", max_recovery_attempts=None)
        def carry_out(job_id: int, run: int) -> None:
            self._carry_out(job_id, run)

        self._workflow = carry_out
        DBOS.launch()
        DBOS.register_queue(
            _QUEUE,
            worker_concurrency=self.threads,
            polling_interval_sec=self.poll_s,
            on_conflict="always_update",
        )
        self._dispatcher.start()

    def stop(self) -> None:
        """End what runs, give it back to the queue, and return when all is quiet."""
        from dbos import DBOS

        self._stopping.set()
        if not self._dispatcher.is_alive():
            return
        self._dispatcher.join()
        self.worker.stop()
        with self._quiet:
            self._quiet.wait_for(lambda: self._running == 0, timeout=60)
        DBOS.destroy(destroy_registry=True)
        self._engine.dispose()

    def run_until_idle(self, timeout_s: float | None = None) -> None:
        """Return when no job is queued or running any more; jobs that wait at a gate do not count."""
        wait_until_idle(self.worker, timeout_s)

    # -- from the store into the queue

    def _dispatch(self) -> None:
        store = self.worker.store
        while not self._stopping.is_set():
            try:
                # threads that are busy take the next job by themselves; and of the queue its first jobs only,
                # as what comes later with a greater priority must find its place
                if self._running < self.threads:
                    self._fill_queue(store.next_queued(4 * self.threads))
            except Exception:
                # the database is away, most likely: it has been waited for long, and may come back
                _log.exception("worker %s could not fill the queue", self.worker.id)
            self._stopping.wait(self.poll_s)

    def _fill_queue(self, first: list[Job]) -> None:
        for job in first:
            if self._stopping.is_set():
                return
            self._enqueue(job)
        wanted = {(job.id, job.run) for job in first}
        self._enqueued = {run: at for run, at in self._enqueued.items() if run in wanted}

    def _enqueue(self, job: Job) -> None:
        from dbos import DBOS, SetEnqueueOptions, SetWorkflowID

        since = self._enqueued.get((job.id, job.run))
        if since is None:
            priority = min(max(_MIDDLE_PRIORITY - job.priority, 1), 2 * _MIDDLE_PRIORITY - 1)
            with SetWorkflowID(_workflow_id(job.id, job.run)), SetEnqueueOptions(priority=priority):
                DBOS.enqueue_workflow(_QUEUE, self._workflow, job.id, job.run)
            self._enqueued[job.id, job.run] = time.monotonic()
        elif time.monotonic() - since > _STUCK_S:
            self._enqueued[job.id, job.run] = time.monotonic()
            status = DBOS.get_workflow_status(_workflow_id(job.id, job.run))
            if status is None or status.status not in ("ENQUEUED", "PENDING", "DELAYED"):
                self.worker.store.renew_run(job)

    def _resume_workflows_of(self, worker_id: str) -> None:
        """What a dead worker had taken from the queue goes back into it."""
        from dbos import DBOS

        pending = DBOS.list_workflows(
            status="PENDING", executor_id=worker_id, load_input=False, load_output=False, queue_name=_QUEUE
        )
        for workflow in pending:
            DBOS.resume_workflow(workflow.workflow_id, queue_name=_QUEUE)

    # -- from the queue to the worker

    def _carry_out(self, job_id: int, run: int) -> None:
        with self._quiet:
            self._running += 1
        try:
            while not self._stopping.is_set() and not self._try(job_id, run):
                self._stopping.wait(_AGAIN_S)
            while not self._stopping.is_set() and self._carry_on():
                pass
        finally:
            with self._quiet:
                self._running -= 1
                self._quiet.notify_all()

    def _carry_on(self) -> bool:
        """Carry the next queued job out without its workflow, which will find nothing to do: DBOS looks at its
        queue now and then only. False if there is none to be had.
        """
        try:
            with self._choosing:
                job = next(iter(self.worker.store.next_queued(1, skip=self._chosen)), None)
            return job is not None and self._choose(job) and self._carry_out_chosen(job)
        except ResourceError:
            _log.exception("worker %s waits for the database", self.worker.id)
            return False

    def _try(self, job_id: int, run: int) -> bool:
        """Carry a run out; False if it can not begin yet."""
        try:
            job = self.worker.store.job(job_id)
            if job.run != run or job.state is not State.QUEUED:
                return True
            return self._choose(job) and self._carry_out_chosen(job)
        except UnknownError:
            return True
        except ResourceError:
            _log.exception("job %d waits for the database", job_id)
            return False

    def _choose(self, job: Job) -> bool:
        """Set a job and its room aside for this thread; False if another has it, or there is no room."""
        with self._choosing:
            if job.id in self._chosen or not self.worker.room.take(job.id, job.estimate):
                return False
            self._chosen.add(job.id)
            return True

    def _carry_out_chosen(self, job: Job) -> bool:
        try:
            return self.worker.carry_out(job.id, job.run)
        finally:
            self.worker.room.give_back(job.id)
            with self._choosing:
                self._chosen.discard(job.id)


def _workflow_id(job_id: int, run: int) -> str:
    return f"job-{job_id}-{run}"
