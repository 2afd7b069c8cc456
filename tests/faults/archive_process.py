"""A process that restores, runs, reviews and cleans up, and is killed in the middle of each step and before its end.

Nothing of this is in the product: the kills are put around it from outside. Each place kills once.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import request_samples as samples

from mwaconvert.archive.catalog import Catalog
from mwaconvert.archive.reruns import Edits
from mwaconvert.jobs.control.inline import InlineEngine
from mwaconvert.jobs.control.states import State
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.control.work import Context, Gate, Json, Step, Workflow
from mwaconvert.jobs.control.worker import Worker
from mwaconvert.jobs.workflows.archives import asking, ingesting, restore, review, staging
from mwaconvert.jobs.workflows.archives.asking import Answer, Purpose
from mwaconvert.jobs.workflows.archives.cleaning import cleanup_request
from mwaconvert.jobs.workflows.archives.restore import restore_request
from mwaconvert.jobs.workflows.archives.running import kinds
from mwaconvert.jobs.workflows.archives.site import ArchiveSite, read_site
from mwaconvert.jobs.workflows.archives.stores import store as stores

TIMEOUT_S = 200
SDM = str(samples.SDM)
FIRST, SECOND = (f"{SDM}.calibrate.{n}" for n in (1, 2))


class Killer:
    """Kills this process at the places that it has not killed it at before."""

    def __init__(self, marks: Path) -> None:
        self.marks = marks

    def __call__(self, place: str) -> None:
        mark = self.marks / place.replace("/", " ")
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)


class KilledWorker(Worker):
    """Killed a moment after a program has begun."""

    kill: Killer

    def run(self, context: Context, argv: list[str], options: Json) -> Any:
        threading.Timer(
            0.4, self.kill, (f"{context.job.kind} {context.attempt.step}, its program runs",)
        ).start()
        return super().run(context, argv, options)


def killing(workflow: Workflow, kill: Killer) -> Workflow:
    """The same kind of job, killed after each step, before the store learns of its end."""

    def wrapped(part: Step | Gate) -> Step | Gate:
        if isinstance(part, Gate):
            return part

        def run(context: Context) -> Json | None:
            result = part.function(context)
            kill(f"{context.job.kind} {part.name}, before its end")
            return result

        return replace(part, function=run)

    return Workflow(workflow.kind, tuple(wrapped(part) for part in workflow.parts))


def after(module: Any, name: str, kill: Killer) -> None:
    """Killed after a function of a module has returned: what it did is done, and nobody was told."""
    function: Callable[..., Any] = getattr(module, name)

    def then_killed(*args: Any, **options: Any) -> Any:
        result = function(*args, **options)
        kill(f"{module.__name__.rpartition('.')[2]}.{name}")
        return result

    setattr(module, name, then_killed)


def put_places(kill: Killer) -> None:
    """Places within steps: between files and database, between two stores, between two files."""
    for module, name in (
        (stores, "_copy_whole"),
        (staging, "fetch"),
        (restore, "fetch_raw"),
        (restore, "move_run"),
        (review, "move_run"),
        (review, "prepare_rerun"),
        (ingesting, "move_run"),
        (ingesting, "pack_calibration"),
        (ingesting, "publish_notes"),
        (ingesting, "_into_cache"),
        (ingesting, "remove_run"),
        (asking, "_supply"),
        (asking, "_submit"),
    ):
        after(module, name, kill)
    for name in ("put_run", "put_ingest", "put_state", "decide", "note", "put_inputs"):
        after_method(Catalog, name, kill)
    after_method(Store, "decide", kill)


def after_method(owner: type, name: str, kill: Killer) -> None:
    """Killed after each call of a method that has other words, as far as its place is new."""
    method = getattr(owner, name)

    def then_killed(self: Any, *args: Any, **options: Any) -> Any:
        result = method(self, *args, **options)
        about = str(getattr(args[0], "name", "")) if args else ""
        kill(f"{owner.__name__}.{name} {about}".strip())
        return result

    setattr(owner, name, then_killed)


def drive(site: ArchiveSite, store: Store, catalog: Catalog, folder: Path) -> bool:
    """Do the next thing that people would do; False when there is nothing left to do."""
    edits = Edits(folder / "edited" / "PPR.xml", (folder / "edited" / "flagtemplate.txt",))
    first, second = store.job_named(FIRST), store.job_named(SECOND)
    restores = store.jobs(kind="restore")
    cleanups = store.jobs(kind="srdp-cleanup")
    if not restores:
        store.submit(restore_request(samples.MOUS.file_form, "ann"))
    elif first is None:
        asking.ask_run(store, catalog, SDM, Purpose.CALIBRATE, "ann", reason="asked")
    elif second is None:
        before = (site.areas["qa"] / FIRST / "working" / "PPR.xml").read_bytes()
        edits.request.write_bytes(before.replace(b"hifv_hanning", b"hifv_edited"))  # type: ignore[union-attr]
        asking.ask_rerun(site, store, catalog, FIRST, edits, "dora", in_place=True, reason="ea03")
    elif second.state is State.WAITING:
        text = "qa_analyst: AL\nqa_status: Fail\nqa_comments: fine\n"
        asking.decide(site, store, catalog, SECOND, Answer.PASS, "dora", reason="looked", text=text)
    elif second.state is State.COMPLETED and not cleanups:
        store.submit(cleanup_request(SECOND, "dora", "done"))
    else:
        return False
    return True


def run_archive(folder: Path, kills: bool) -> None:
    """Work until all is done that people want."""
    marks = folder / "marks"
    marks.mkdir(exist_ok=True)
    site = read_site(folder / "archive.toml")
    store = Store(site.database)
    workflows = kinds(site)
    worker_class: type[Worker] = Worker
    if kills:
        kill = Killer(marks)
        put_places(kill)
        workflows = {kind: killing(workflow, kill) for kind, workflow in workflows.items()}
        KilledWorker.kill = kill
        worker_class = KilledWorker
    worker = worker_class(store, workflows, site.work, worker_id="w1", watch_s=0.05)
    with site.catalog() as catalog, InlineEngine(worker, threads=1, poll_s=0.02) as engine:
        engine.run_until_idle(TIMEOUT_S)
        while drive(site, store, catalog, folder):
            engine.run_until_idle(TIMEOUT_S)
    store.close()
