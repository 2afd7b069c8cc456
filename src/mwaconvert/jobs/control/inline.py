"""The engine of one process: no service, nothing to install but SQLAlchemy. For `mwaconvert jobs run`."""

from __future__ import annotations

import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Protocol

from mwaconvert.errors import ResourceError
from mwaconvert.jobs.control.states import State
from mwaconvert.jobs.control.worker import Worker


class Engine(Protocol):
    """What carries out the queued jobs of a store. `inline` and `durable` pass the same tests."""

    worker: Worker

    def start(self) -> None:
        """Begin to take jobs."""

    def stop(self) -> None:
        """End what runs, give it back to the queue, and return when all is quiet."""

    def run_until_idle(self, timeout_s: float | None = None) -> None:
        """Return when no job is queued or running any more; jobs that wait at a gate do not count."""


def wait_until_idle(worker: Worker, timeout_s: float | None) -> None:
    """Wait until the store of a worker has neither queued nor running jobs."""
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        counts = worker.store.counts()
        if counts[State.QUEUED] + counts[State.RUNNING] == 0:
            return
        if deadline is not None and time.monotonic() > deadline:
            raise ResourceError(f"jobs still queued or running after {timeout_s:g} s")
        time.sleep(0.05)


class InlineEngine:
    """Takes queued jobs from the store, several at a time, each in a thread.

    Parameters
    ----------
    worker
        Carries them out. Several processes with workers of different ids may share one store.
    threads
        How many jobs run at once.
    poll_s
        How soon a job is noticed that another process submitted.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from mwaconvert.jobs.control.store import Store
    >>> from mwaconvert.jobs.control.work import Request, Step, Workflow
    >>> folder = Path(tempfile.mkdtemp())
    >>> store = Store(folder / "jobs.db")
    >>> hello = Workflow("hello", (Step("greet", lambda context: {"said": context.job.canonical["text"]}),))
    >>> job = store.submit(Request("hello", "ann", {"text": "good morning"}))
    >>> with InlineEngine(Worker(store, {"hello": hello}, folder)) as engine:
    ...     engine.run_until_idle(timeout_s=60)
    >>> store.job(job.id).state.words, store.attempts(job.id)[0].result
    ('done, products are there', {'said': 'good morning'})
    >>> store.close()
    """

    def __init__(self, worker: Worker, *, threads: int = 2, poll_s: float = 0.5) -> None:
        self.worker = worker
        self.threads = threads
        self.poll_s = poll_s
        self._busy: dict[int, Future[bool]] = {}
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="job")
        self._dispatcher = threading.Thread(target=self._dispatch, name="dispatch", daemon=True)

    def __enter__(self) -> InlineEngine:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to take jobs; what this worker left when it died comes first."""
        self.worker.start()
        self._dispatcher.start()

    def stop(self) -> None:
        """End what runs, give it back to the queue, and return when all is quiet."""
        self._stopping.set()
        if self._dispatcher.is_alive():
            self._dispatcher.join()
            self.worker.stop()
        self._pool.shutdown()

    def run_until_idle(self, timeout_s: float | None = None) -> None:
        """Return when no job is queued or running any more; jobs that wait at a gate do not count."""
        wait_until_idle(self.worker, timeout_s)

    def _dispatch(self) -> None:
        store = self.worker.store
        while not self._stopping.is_set():
            try:
                self._busy = {job_id: future for job_id, future in self._busy.items() if not future.done()}
                free = self.threads - len(self._busy)
                for job in store.next_queued(free, skip=self._busy) if free else ():
                    if not self.worker.room.take(job.id, job.estimate):
                        continue
                    self._busy[job.id] = self._pool.submit(self._carry_out, job.id, job.run)
                if len(self._busy) < self.threads:
                    store.wait_for_change(self.poll_s)
                else:
                    wait(self._busy.values(), self.poll_s, return_when=FIRST_COMPLETED)
            except ResourceError:
                # the database is away: the store has waited long already, and it may come back
                self._stopping.wait(self.poll_s)

    def _carry_out(self, job_id: int, run: int) -> bool:
        try:
            return self.worker.carry_out(job_id, run)
        finally:
            self.worker.room.give_back(job_id)
