"""Restores and runs whose runner is killed in every step: they end as if it had not been."""

from __future__ import annotations

import multiprocessing
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from archive_samples import reviewing, site_file

from faults.archive_process import SECOND, TIMEOUT_S, run_archive
from mwaconvert.jobs.control.states import Outcome, State
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.workflows.archives.site import read_site

SIGKILLED = -9
_HASH = re.compile(r"[0-9a-f]{12,64}")


@pytest.fixture(scope="module")
def processes():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["faults.archive_process", "alembic.command", "lxml.etree", "nh3"])
    return context


def start(folder: Path) -> Path:
    folder.mkdir()
    site_file(folder, reviewing(folder))
    for name in ("casa", "casa-6.5.4"):
        (folder / name / {"casa": "slow-casa", "casa-6.5.4": "slow"}[name]).touch()
    (folder / "edited").mkdir()
    (folder / "edited" / "flagtemplate.txt").write_text("mode='manual' antenna='ea03'\n")
    return folder


def work(processes, folder: Path, kills: bool) -> int:
    process = processes.Process(target=run_archive, args=(folder, kills))
    process.start()
    process.join(TIMEOUT_S)
    assert process.exitcode is not None, "the runner does not come to an end"
    return process.exitcode


def tree(top: Path) -> dict[str, int]:
    """Names and sizes of files; what depends on the time of the run, and hashes in names, left out."""
    return {
        _HASH.sub("#", str(path.relative_to(top))): path.stat().st_size
        for path in sorted(top.rglob("*"))
        if path.is_file() and path.name != "restore.json"
    }


def end_of(folder: Path) -> dict[str, Any]:
    """All that must not depend on how often the runner died."""
    site = read_site(folder / "archive.toml")
    store = Store(site.database)
    found: dict[str, Any] = {"messages": sorted(message.key for message in store.messages())}
    for job in store.jobs(limit=None):
        assert job.state is State.COMPLETED, (job.kind, job.error_text)
        done = [attempt.step for attempt in store.attempts(job.id) if attempt.outcome is Outcome.DONE]
        decisions = [(d.gate, d.answer, d.decided_by, d.why) for d in store.decisions(job.id)]
        found[f"job {job.id}"] = (job.kind, job.name, done, decisions)
    store.close()
    with site.catalog() as catalog:
        for run in catalog.runs():
            anywhere = replace(run, folder=run.folder.replace(str(folder), ""))
            found[run.run_id] = (anywhere, sorted(catalog.inputs(run.run_id)))
            records = catalog.decisions(run.run_id).rows
            found[f"{run.run_id} decisions"] = [(r.revision, r.notes, r.decided_by) for r in records]
            items = catalog.ingested(run.run_id)
            found[f"{run.run_id} items"] = [
                (i.file.name, i.file.size, i.verified_at is not None) for i in items
            ]
        found["state"] = catalog.state(SECOND.removesuffix(".calibrate.2"))
        trail = catalog.trail(limit=10_000)
        told = [(e.actor, e.action, e.subject, e.reason, e.detail.replace(str(folder), "")) for e in trail]
        found["audit"] = sorted(told, key=str)
    for name in ("processing", "qa", "cache", "delivered"):
        found[name] = tree(site.areas[name])
    found["ingested"] = tree(folder / "ingested")
    return found


@pytest.mark.services  # some sixty kills take minutes
@pytest.mark.timeout(1200)
def test_killed_in_every_step(processes, tmp_path: Path) -> None:
    undisturbed = start(tmp_path / "undisturbed")
    assert work(processes, undisturbed, kills=False) == 0
    killed = start(tmp_path / "killed")
    kills = 0
    while (code := work(processes, killed, kills=True)) == SIGKILLED:
        kills += 1
        assert kills < 120
    assert code == 0
    marks = {path.name for path in (killed / "marks").iterdir()}
    ended = {mark.removesuffix(", before its end") for mark in marks if mark.endswith("before its end")}
    first = end_of(undisturbed)
    steps = {
        f"{facts[0]} {step}" for name, facts in first.items() if name.startswith("job") for step in facts[2]
    }
    assert ended == steps
    assert kills == len(marks) > 45, sorted(marks)
    assert end_of(killed) == first
