"""The control plane on SQLite: empty jobs from submission to done, and lists of many jobs."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from mwaconvert.jobs.control.durable import DurableEngine
from mwaconvert.jobs.control.inline import InlineEngine
from mwaconvert.jobs.control.states import State
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.control.work import Request, Step, Workflow
from mwaconvert.jobs.control.worker import Worker

EMPTY = Workflow("empty", (Step("nothing", lambda _context: None),))
ENGINES = {"inline": InlineEngine, "durable": DurableEngine}
N_JOBS, N_LISTED = 50, 2000


def submit(store: Store, n_jobs: int, first: int = 0) -> None:
    for number in range(first, first + n_jobs):
        store.submit(Request("empty", f"user{number % 10}", {"number": number}, {"Number": str(number)}))


class Engines:
    """N_JOBS empty jobs through an engine: what the engine itself costs."""

    params = (list(ENGINES),)
    param_names = ("engine",)
    timeout = 120
    number, repeat, warmup_time = 1, (2, 4, 60.0), 0.0

    def setup(self, engine: str) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.store = Store(str(self.folder / "jobs.db"))
        worker = Worker(self.store, {"empty": EMPTY}, self.folder / "work", worker_id="w1")
        self.engine = ENGINES[engine](worker, threads=4, poll_s=0.05)
        self.engine.start()
        self.n_submitted = 0

    def teardown(self, engine: str) -> None:
        self.engine.stop()
        self.store.close()
        shutil.rmtree(self.folder)

    def time_empty_jobs(self, engine: str) -> None:
        submit(self.store, N_JOBS, self.n_submitted)  # the same job twice is refused
        self.n_submitted += N_JOBS
        self.engine.run_until_idle(100)
        if self.store.counts()[State.COMPLETED] != self.n_submitted:
            raise RuntimeError("not all jobs are completed")


class Lists:
    """What pages and clients ask of a store of N_LISTED jobs."""

    timeout = 120

    def setup_cache(self) -> str:
        path = Path("listed.db").resolve()
        store = Store(str(path))
        submit(store, N_LISTED)
        store.close()
        return str(path)

    def setup(self, path: str) -> None:
        self.store = Store(path)

    def teardown(self, path: str) -> None:
        self.store.close()

    def time_page_of_100(self, path: str) -> None:
        self.store.jobs(limit=100)

    def time_page_of_one_user(self, path: str) -> None:
        self.store.jobs(owner="user3", before=N_LISTED // 2, limit=100)

    def time_counts(self, path: str) -> None:
        self.store.counts()

    def time_next_of_the_queue(self, path: str) -> None:
        self.store.next_queued(50)

    def time_events(self, path: str) -> None:
        self.store.events(after=N_LISTED // 2)
