"""A process that carries out jobs of the ASVO and is killed in the middle of each step, and just before its end.

Nothing of this is in the product: the kills are put around the worker from outside. Each place kills once.
"""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from mwaconvert.jobs.control.inline import InlineEngine
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.control.work import Context, Json, Step, Workflow
from mwaconvert.jobs.control.worker import Worker
from mwaconvert.jobs.delivery.places import Folder
from mwaconvert.jobs.workflows.registry import workflows
from mwaconvert.jobs.workflows.site import local_site

TIMEOUT_S = 120


class Killer:
    """Kills this process at the places that it has not killed it at before."""

    def __init__(self, marks: Path) -> None:
        self.marks = marks

    def __call__(self, step: str, where: str) -> None:
        mark = self.marks / f"{step}, {where}"
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def killing(workflow: Workflow, kill: Killer) -> Workflow:
    """The same kind of job, killed after each step, before the store learns of its end."""

    def wrapped(step: Step) -> Step:
        def run(context: Context) -> Json | None:
            result = step.function(context)
            kill(step.name, "before its end")
            return result

        return replace(step, function=run)

    return Workflow(workflow.kind, tuple(wrapped(part) for part in workflow.parts if isinstance(part, Step)))


class KilledWorker(Worker):
    """Killed when a step tells of its progress, and a moment after a program has begun."""

    def __init__(self, *args: Any, kill: Killer, **options: Any) -> None:
        super().__init__(*args, **options)
        self.kill = kill

    def run(self, context: Context, argv: list[str], options: Json) -> Any:
        threading.Timer(0.4, self.kill, (context.attempt.step, "its program runs")).start()
        return super().run(context, argv, options)

    def progress(self, attempt: Any, fraction: float, text: str) -> None:
        super().progress(attempt, fraction, text)
        self.kill(attempt.step, "under way")


def run_workflows(folder: Path, kills: bool) -> None:
    """Work until all jobs of `folder/jobs.db` are done."""
    marks = folder / "marks"
    marks.mkdir(exist_ok=True)
    kinds = workflows(local_site([folder / "raw"], folder / "products"))
    store = Store(folder / "jobs.db")
    if kills:
        kill = Killer(marks)
        kinds = {kind: killing(workflow, kill) for kind, workflow in kinds.items()}
        worker: Worker = KilledWorker(store, kinds, folder / "work", worker_id="w1", kill=kill)
        deliver = Folder.deliver

        def killed_deliver(*args: Any, **options: Any) -> Any:
            entry = deliver(*args, **options)
            kill("deliver", "its product is there")
            return entry

        Folder.deliver = killed_deliver  # type: ignore[method-assign]
    else:
        worker = Worker(store, kinds, folder / "work", worker_id="w1")
    with InlineEngine(worker, threads=1) as engine:
        engine.run_until_idle(TIMEOUT_S)
    store.close()
