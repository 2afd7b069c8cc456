"""Empty jobs from submission to done, and lists of many jobs, on SQLite and on a PostgreSQL of its own.

    python benchmarks/jobs.py [--jobs 1000] [--listed 10000] [sqlite] [postgres]

The bars of the project: 50 jobs a second, a page of the list in 100 ms.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from mwaconvert.jobs.control.durable import DurableEngine
from mwaconvert.jobs.control.inline import InlineEngine
from mwaconvert.jobs.control.states import State
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.control.work import Request, Step, Workflow
from mwaconvert.jobs.control.worker import Worker

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from services.postgres import Postgres

EMPTY = Workflow("empty", (Step("nothing", lambda _context: None),))


def submit(store: Store, n_jobs: int) -> float:
    begun = time.perf_counter()
    for number in range(n_jobs):
        store.submit(Request("empty", f"user{number % 10}", {"number": number}, {"Number": str(number)}))
    return time.perf_counter() - begun


def from_submission_to_done(
    engine_class: type, database: str, folder: Path, n_jobs: int
) -> tuple[float, float, float]:
    """Seconds for the submission alone, until all are done, and of CPU of this process."""
    store = Store(database)
    engine = engine_class(
        Worker(store, {"empty": EMPTY}, folder / "work", worker_id="w1"), threads=8, poll_s=0.05
    )
    engine.start()
    begun, begun_cpu = time.perf_counter(), time.process_time()
    submitted_s = submit(store, n_jobs)
    engine.run_until_idle(600)
    done_s, cpu_s = time.perf_counter() - begun, time.process_time() - begun_cpu
    engine.stop()
    if store.counts()[State.COMPLETED] != n_jobs:
        raise SystemExit("not all jobs are completed")
    store.close()
    return submitted_s, done_s, cpu_s


def best(function, repetitions: int = 20) -> float:
    times = []
    for _ in range(repetitions):
        begun = time.perf_counter()
        function()
        times.append(time.perf_counter() - begun)
    return min(times)


def lists(database: str, n_jobs: int) -> dict[str, float]:
    store = Store(database)
    submit(store, n_jobs)
    middle = n_jobs // 2
    found = {
        "a page of 100": best(lambda: store.jobs(limit=100)),
        "a page of 100 of one user, from the middle": best(lambda: store.jobs(owner="user3", before=middle)),
        "1000 jobs": best(lambda: store.jobs(limit=1000)),
        "counts by state": best(store.counts),
        "the next 50 of the queue": best(lambda: store.next_queued(50)),
        "1000 events from the middle": best(lambda: store.events(after=middle)),
    }
    store.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("databases", nargs="*", default=["sqlite", "postgres"])
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--listed", type=int, default=10_000)
    options = parser.parse_args()
    with ExitStack() as stack:
        postgres = stack.enter_context(Postgres(fsync=True)) if "postgres" in options.databases else None
        for kind in options.databases:

            def new_database(folder: Path, kind: str = kind) -> str:
                return postgres.new_database() if kind == "postgres" else str(folder / "jobs.db")

            for engine_class in (InlineEngine, DurableEngine):
                with tempfile.TemporaryDirectory() as folder:
                    database = new_database(Path(folder))
                    submitted_s, done_s, cpu_s = from_submission_to_done(
                        engine_class, database, Path(folder), options.jobs
                    )
                print(
                    f"{kind}, {engine_class.__name__}: {options.jobs} empty jobs, "
                    f"{options.jobs / submitted_s:.0f}/s submitted, {options.jobs / done_s:.0f}/s done, "
                    f"{1e3 * cpu_s / options.jobs:.1f} ms of CPU each",
                    flush=True,
                )
            with tempfile.TemporaryDirectory() as folder:
                for what, took_s in lists(new_database(Path(folder)), options.listed).items():
                    print(f"{kind}, {options.listed} jobs: {what}: {1e3 * took_s:.1f} ms", flush=True)


if __name__ == "__main__":
    main()
