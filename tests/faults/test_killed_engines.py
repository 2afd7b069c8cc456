"""An engine is killed at every event, and at random; what it ends with is what it would have ended with."""

from __future__ import annotations

import multiprocessing
import random
import shutil
import time
from pathlib import Path

import pytest

from faults.engine_process import TIMEOUT_S, run_engine, submit, summary
from mwaconvert import machine
from mwaconvert.jobs.control.states import Outcome
from mwaconvert.jobs.control.store import Store

SIGKILLED = -9


@pytest.fixture(scope="module")
def processes():
    """Processes that are forked from one that has imported all there is to import."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["faults.engine_process", "alembic.command", "dbos"])
    return context


class Stage:
    """A folder with a store in it, and processes that run an engine there."""

    def __init__(
        self, processes, engine: str, folder: Path, n_jobs: int, template: Path | None = None
    ) -> None:
        self.processes, self.engine, self.folder = processes, engine, folder
        folder.mkdir()
        self.database = str(folder / "jobs.db")
        if template is not None:
            shutil.copy(template, self.database)
        with_store = Store(self.database)
        submit(with_store, folder, n_jobs)
        with_store.close()

    def start(self, kill_at: int | None = None, worker_id: str = "w1"):
        arguments = (self.engine, self.database, self.folder, kill_at, worker_id)
        process = self.processes.Process(target=run_engine, args=arguments)
        process.start()
        return process

    def run(self, kill_at: int | None = None) -> int:
        process = self.start(kill_at)
        process.join(TIMEOUT_S)
        assert process.exitcode is not None, "the engine does not come to an end"
        return process.exitcode

    def places(self) -> int:
        return int((self.folder / "count").read_text())

    def check(self, expected: dict) -> None:
        store = Store(self.database)
        assert summary(store, self.folder) == expected
        for job in store.jobs(limit=None):
            for attempt in store.attempts(job.id):
                assert attempt.outcome is not Outcome.RUNNING
                assert attempt.pid is None or not machine.group_members(attempt.pid)
        store.close()


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    """An empty store: to make one takes longer than to run a job."""
    path = tmp_path_factory.mktemp("template") / "jobs.db"
    Store(path).close()
    return path


def undisturbed(processes, engine: str, folder: Path, n_jobs: int, template: Path) -> tuple[dict, int]:
    stage = Stage(processes, engine, folder, n_jobs, template)
    assert stage.run() == 0
    store = Store(stage.database)
    expected = summary(store, stage.folder)
    store.close()
    return expected, stage.places()


def kill_at_each(processes, engine: str, folder: Path, n_jobs: int, template: Path, every: int = 1) -> None:
    expected, places = undisturbed(processes, engine, folder / "undisturbed", n_jobs, template)
    assert places > 20 * n_jobs
    for kill_at in range(1, places + 1, every):
        stage = Stage(processes, engine, folder / str(kill_at), n_jobs, template)
        first = stage.run(kill_at)
        # two threads do not always pass the same number of places
        assert first == SIGKILLED or kill_at > places - 5 * n_jobs
        assert stage.run() == 0
        stage.check(expected)
        shutil.rmtree(stage.folder)


def test_one_job_killed_at_every_seventh_place(processes, tmp_path, template):
    kill_at_each(processes, "inline", tmp_path, 1, template, every=7)


@pytest.mark.services
@pytest.mark.parametrize("engine", ["inline", "durable"])
def test_one_job_killed_at_every_place(processes, tmp_path, template, engine):
    kill_at_each(processes, engine, tmp_path, 1, template)


@pytest.mark.services
@pytest.mark.parametrize("engine", ["inline", "durable"])
def test_three_jobs_killed_at_every_ninth_place(processes, tmp_path, template, engine):
    kill_at_each(processes, engine, tmp_path, 3, template, every=9)


def kill_at_random(stage: Stage, kills: int, seed: int) -> int:
    """Kill and resume; returns how often there was still something to kill."""
    rng = random.Random(seed)
    killed = 0
    for _ in range(kills):
        process = stage.start()
        time.sleep(rng.uniform(0.0, 1.0))
        process.kill()
        process.join()
        killed += process.exitcode == SIGKILLED
        if process.exitcode == 0:
            break
    return killed


@pytest.mark.parametrize("engine", ["inline", "durable"])
def test_killed_at_random(processes, tmp_path, template, engine):
    expected, _ = undisturbed(processes, engine, tmp_path / "undisturbed", 4, template)
    stage = Stage(processes, engine, tmp_path / "killed", 4, template)
    assert kill_at_random(stage, 6, 1) > 0
    assert stage.run() == 0
    stage.check(expected)


@pytest.mark.services
@pytest.mark.parametrize("engine", ["inline", "durable"])
def test_killed_a_hundred_times_at_random(processes, tmp_path, template, engine):
    expected, _ = undisturbed(processes, engine, tmp_path / "undisturbed", 10, template)
    killed = round_ = 0
    while killed < 100:
        stage = Stage(processes, engine, tmp_path / str(round_), 10, template)
        killed += kill_at_random(stage, 15, round_)
        assert stage.run() == 0
        stage.check(expected)
        round_ += 1


@pytest.mark.parametrize("engine", ["inline", "durable"])
def test_a_worker_is_killed_while_another_lives(processes, tmp_path, template, engine):
    expected, _ = undisturbed(processes, engine, tmp_path / "undisturbed", 6, template)
    stage = Stage(processes, engine, tmp_path / "killed", 6, template)
    first, second = stage.start(kill_at=40, worker_id="w1"), stage.start(worker_id="w2")
    first.join(TIMEOUT_S)
    second.join(TIMEOUT_S)
    assert (first.exitcode, second.exitcode) in ((SIGKILLED, 0), (0, 0))
    stage.check(expected)
