"""Jobs of the ASVO whose runner is killed in every step: they end as if it had not been."""

from __future__ import annotations

import multiprocessing
import shutil
import tarfile
from pathlib import Path

import pytest

from faults.workflow_process import TIMEOUT_S, run_workflows
from mwaconvert import machine
from mwaconvert.jobs.control.states import Outcome, State
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.delivery.places import file_sha256
from mwaconvert.jobs.workflows.submission import submit
from mwaconvert.vocabulary.job_file import read_job
from mwaconvert.vocabulary.job_rows import JobKind

OBSID = "1412607288"
CONVERSION = JobKind.CONVERSION, {"obs_id": OBSID, "output": "uvfits", "avg_time_res": "4"}
DOWNLOAD = JobKind.DOWNLOAD, {"obs_id": OBSID, "download_type": "vis"}
SIGKILLED = -9


@pytest.fixture(scope="module")
def processes():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["faults.workflow_process", "alembic.command", "mwaconvert.conversion.planner"]
    )
    return context


def start(folder: Path, small: Path, job) -> Path:
    shutil.copytree(small.parent, folder / "raw" / OBSID)
    (folder / "products").mkdir()
    store = Store(folder / "jobs.db")
    submit(store, read_job(*job), "ann")
    store.close()
    return folder


def work(processes, folder: Path, kills: bool) -> int:
    process = processes.Process(target=run_workflows, args=(folder, kills))
    process.start()
    process.join(TIMEOUT_S)
    assert process.exitcode is not None, "the runner does not come to an end"
    return process.exitcode


def product_of(folder: Path) -> tuple[str, dict[str, str], list[str]]:
    """Name and SHA-256 of the members of the one product, and steps that are done."""
    store = Store(folder / "jobs.db")
    (job,) = store.jobs(limit=None)
    assert job.state is State.COMPLETED, job.error_text
    attempts = store.attempts(job.id)
    assert all(attempt.outcome is not Outcome.RUNNING for attempt in attempts)
    assert all(attempt.pid is None or not machine.group_members(attempt.pid) for attempt in attempts)
    (product,) = store.products(job.id)
    events = [event.happening for event in store.events(job_id=job.id, limit=1000)]
    assert events.count("completed") == 1
    store.close()
    (delivered,) = (folder / "products").iterdir()  # and nothing half-written beside it
    assert str(delivered) == product.path
    assert file_sha256(delivered) == product.sha256
    with tarfile.open(delivered) as tar:
        listing = tar.extractfile("SHA256SUMS").read().decode()
    sums = {name: digest for digest, name in (line.split(maxsplit=1) for line in listing.splitlines())}
    del sums["job.json"]  # it has times, and the folder of the attempt
    done = [attempt.step for attempt in attempts if attempt.outcome is Outcome.DONE]
    return delivered.name, sums, done


@pytest.mark.parametrize(("job", "places"), [(CONVERSION, 10), (DOWNLOAD, 6)], ids=["conversion", "download"])
def test_killed_in_every_step(processes, small, tmp_path, job, places) -> None:
    for name in ("undisturbed", "killed"):
        (tmp_path / name).mkdir()
    undisturbed = start(tmp_path / "undisturbed", small, job)
    assert work(processes, undisturbed, kills=False) == 0
    killed = start(tmp_path / "killed", small, job)
    kills = 0
    while (code := work(processes, killed, kills=True)) == SIGKILLED:
        kills += 1
        assert kills < 20
    assert code == 0
    marks = {path.name for path in (killed / "marks").iterdir()}
    steps = product_of(undisturbed)[2]
    assert {mark.split(",")[0] for mark in marks} == set(steps)
    assert kills == len(marks) >= places, sorted(marks)
    assert product_of(killed) == product_of(undisturbed)
