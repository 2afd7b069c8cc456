"""Workers that die, sleep, lie about the time or run out of disk."""

import os
import shutil
import threading
import time

import pytest
import sqlalchemy as sa

from mwaconvert.errors import ResourceError
from mwaconvert.jobs.control import limits
from mwaconvert.jobs.control.inline import InlineEngine
from mwaconvert.jobs.control.schema import attempts
from mwaconvert.jobs.control.states import Fault, Outcome, State
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.control.work import Request, Step, Workflow
from mwaconvert.jobs.control.worker import Worker

TIMEOUT_S = 60


def try_(function) -> dict[str, Workflow]:
    return {"try": Workflow("try", (Step("only", function),))}


def ask(number: int = 0) -> Request:
    return Request("try", "ann", {"number": number})


def until(true) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def run_by_a_dead_worker(store, request: Request, host: str, pid: int = 1, pid_started: str = "x"):
    store.register_worker("dead", host, pid, pid_started)
    job = store.submit(request)
    return store.start_run(job.id, job.run, "dead")


def test_the_work_of_a_worker_elsewhere_is_taken_over_when_its_heart_stands_still(store, worker_of):
    job = run_by_a_dead_worker(store, ask(), "elsewhere")
    with InlineEngine(worker_of(store, try_(lambda context: None), lease_s=0.5)) as engine:
        time.sleep(0.2)
        assert store.job(job.id).worker == "dead"
        engine.run_until_idle(TIMEOUT_S)
    assert store.job(job.id).state is State.COMPLETED
    assert [worker.id for worker in store.workers() if worker.alive] == []


def test_a_worker_elsewhere_that_beats_keeps_its_work(store, worker_of):
    job = run_by_a_dead_worker(store, ask(), "elsewhere")
    with InlineEngine(worker_of(store, try_(lambda context: None), lease_s=2)):
        for _ in range(9):
            time.sleep(0.3)
            store.beat("dead", 1, "x")
        assert store.job(job.id).worker == "dead"


def test_a_dead_process_of_this_machine_is_seen_at_once(store, worker_of):
    worker = worker_of(store, try_(lambda context: None), lease_s=1000)
    job = run_by_a_dead_worker(store, ask(), worker.host)
    with InlineEngine(worker) as engine:
        engine.run_until_idle(10)
    assert store.job(job.id).state is State.COMPLETED


def test_clocks_that_jump_take_no_work_away(store, worker_of, database):
    clock = [time.time()]
    other = Store(database, now=lambda: clock[0])
    go_on = threading.Event()
    registry = try_(lambda context: go_on.wait(TIMEOUT_S) and None)
    first = InlineEngine(worker_of(store, registry, worker_id="w1"))
    second = InlineEngine(worker_of(other, registry, worker_id="w2", lease_s=1))
    second.worker.host = "elsewhere"
    with first:
        job = store.submit(ask())
        until(lambda: store.job(job.id).worker == "w1")
        with second:
            for jump_s in (86_400, -2 * 86_400, 86_400):
                clock[0] += jump_s
                time.sleep(0.3)
                assert store.job(job.id).worker == "w1"
            go_on.set()
            first.run_until_idle(TIMEOUT_S)
    assert [attempt.outcome for attempt in store.attempts(job.id)] == [Outcome.DONE]
    other.close()


def test_a_worker_that_slept_through_its_lease_lets_go_and_goes_on(store, worker_of):
    begun, ended = threading.Event(), []

    def step(context):
        if context.attempt.number == 1:
            begun.set()
            context.cancelled.wait(TIMEOUT_S)
            ended.append(context.by_cancel())
            context.check()

    engine = InlineEngine(worker_of(store, try_(step)), poll_s=0.05)
    with engine:
        job = store.submit(ask())
        assert begun.wait(TIMEOUT_S)
        # another worker has held it for dead
        assert store.reap("w1") == [job.id]
        engine.run_until_idle(TIMEOUT_S)
        until(lambda: any(worker.alive for worker in store.workers()))
    assert ended == [False]
    assert store.job(job.id).state is State.COMPLETED
    assert [attempt.outcome for attempt in store.attempts(job.id)] == [Outcome.LOST, Outcome.DONE]


def test_a_job_that_kills_its_workers_again_and_again_fails(store, worker_of):
    job = store.submit(ask())
    for _ in range(limits.MAX_LOST):
        held = store.start_run(job.id, store.job(job.id).run, "w1")
        assert store.begin_attempt(held, "only", "here", worker_of(store, {}).work_dir) is not None
        store.reap("w1")
    with InlineEngine(worker_of(store, try_(lambda context: None))) as engine:
        engine.run_until_idle(TIMEOUT_S)
        assert store.job(job.id).fault is Fault.LOST
        assert "took its worker down again and again, 20 times" in store.job(job.id).error_text
        store.retry(job.id, "ann")
        engine.run_until_idle(TIMEOUT_S)
    assert store.job(job.id).state is State.COMPLETED


def test_a_beginning_that_the_database_forgot_is_begun_again_in_a_clean_folder(store, worker_of):
    """As after a power loss of PostgreSQL, which may forget beginnings: the number is given once more."""
    forgets = [True]

    def step(context):
        assert list(context.directory.iterdir()) == []
        (context.directory / "half").touch()
        if forgets.pop():
            with store.engine.begin() as connection:
                connection.execute(sa.delete(attempts))
            forgets.append(False)

    with InlineEngine(worker_of(store, try_(step))) as engine:
        job = store.submit(ask())
        engine.run_until_idle(TIMEOUT_S)
    assert store.job(job.id).state is State.COMPLETED
    assert [(attempt.number, attempt.outcome) for attempt in store.attempts(job.id)] == [(1, Outcome.DONE)]


def test_a_full_disk_fails_the_job_and_a_retry_ends_it(store, worker_of, small_disk, tmp_path):
    def fill(context):
        with (context.directory / "product").open("wb") as file:
            for _ in range(30):
                file.write(os.urandom(1_000_000))

    worker = Worker(store, try_(fill), small_disk / "work", worker_id="w1", watch_s=0.05)
    with InlineEngine(worker) as engine:
        job = store.submit(ask())
        engine.run_until_idle(TIMEOUT_S)
        failed = store.job(job.id)
        assert (failed.state, failed.fault) == (State.FAILED, Fault.RESOURCE)
        assert "No space left on device" in failed.error_text
    worker = Worker(store, try_(fill), tmp_path / "work", worker_id="w1", watch_s=0.05)
    with InlineEngine(worker) as engine:
        store.retry(job.id, "ann")
        engine.run_until_idle(TIMEOUT_S)
    assert store.job(job.id).state is State.COMPLETED


def test_a_store_on_a_full_disk_says_so_and_goes_on_when_there_is_room(small_disk):
    store = Store(small_disk / "jobs.db", patience_s=0.3)
    ballast = small_disk / "ballast"
    free = shutil.disk_usage(small_disk).free
    ballast.write_bytes(bytes(free - 100_000))

    def submit_many() -> None:
        for number in range(2000):
            store.submit(Request("try", "ann", {"number": number, "text": "x" * 1000}))

    with pytest.raises(ResourceError, match="disk is full"):
        submit_many()
    n_before = len(store.jobs(limit=None))
    ballast.unlink()
    assert store.submit(Request("try", "ann", {"number": -1})).id > n_before
    store.close()
