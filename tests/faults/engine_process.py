"""A process that runs an engine and can be killed: at a counted place, or by whoever watches it.

Nothing of this is in the product: the counting is put around the store from outside.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from mwaconvert.jobs.control.durable import DurableEngine
from mwaconvert.jobs.control.inline import InlineEngine
from mwaconvert.jobs.control.states import State
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.control.work import (
    Context,
    DecidedError,
    Gate,
    Product,
    Request,
    Retry,
    Step,
    TransientError,
    Workflow,
)
from mwaconvert.jobs.control.worker import Worker

ENGINES = {"inline": InlineEngine, "durable": DurableEngine}
TIMEOUT_S = 100


class Places:
    """Counts places where the process may be killed, and kills it at the one that is asked for."""

    def __init__(self, kill_at: int | None) -> None:
        self.kill_at = kill_at
        self.counter = itertools.count(1)
        self.last = 0

    def __call__(self) -> None:
        self.last = next(self.counter)
        if self.last == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


place: Callable[[], None] = lambda: None  # noqa: E731


def watch_events(places: Places) -> None:
    """Make a place before and after each commit that holds an event."""
    event, transaction = Store._event, Store._transaction
    local = threading.local()

    def counted_event(self: Store, *args: Any, **data: Any) -> None:
        local.has_event = True
        event(self, *args, **data)

    def counted_transaction(self: Store, work: Callable[[Any], Any], write: bool, **options: Any) -> Any:
        def and_place(connection: Any) -> Any:
            local.has_event = False
            result = work(connection)
            if local.has_event:
                places()
            return result

        result = transaction(self, and_place, write, **options)
        if write and local.has_event:
            local.has_event = False
            places()
        return result

    Store._event, Store._transaction = counted_event, counted_transaction


# -- a kind of job that does all that jobs do


def fetch(context: Context) -> dict:
    number = context.job.canonical["number"]
    part = context.directory / "raw.part"
    part.write_bytes(bytes([number]) * 1000)
    place()
    part.replace(context.directory / "raw")
    place()
    return {"file": str(context.directory / "raw")}


def flaky(context: Context) -> dict:
    marker = context.directory.parent / "was-out-of-reach"
    if not marker.exists():
        marker.touch()
        place()
        raise TransientError("the bucket is out of reach")
    return {}


def convert(context: Context) -> dict:
    program = (
        "import sys; data = open(sys.argv[1], 'rb').read(); open(sys.argv[2], 'wb').write(data[::-1] + b'!')"
    )
    target = context.directory / "product"
    context.run([sys.executable, "-I", "-S", "-c", program, context.results["fetch"]["file"], str(target)])
    place()
    return {"file": str(target)}


def pack(context: Context) -> dict:
    data = Path(context.results["convert"]["file"]).read_bytes()
    published = context.job.canonical["published"]
    part = context.directory / "package"
    part.write_bytes(data)
    place()
    target = Path(published) / f"{context.job.id}.tar"
    part.replace(target)
    place()
    digest = hashlib.sha256(data).hexdigest()
    context.deliver(Product(str(target), len(data), sha256=digest))
    context.send("mail", {"to": context.job.owner, "what": digest}, "ready")
    return {"sha256": digest}


WORKFLOW = Workflow(
    "whole",
    (
        Step("fetch", fetch),
        Step("flaky", flaky, Retry(3, first_s=0.01)),
        Step("convert", convert),
        Gate("qa"),
        Step("pack", pack),
    ),
)


def submit(store: Store, folder: Path, n_jobs: int) -> None:
    (folder / "published").mkdir(exist_ok=True)
    for number in range(n_jobs):
        store.submit(Request("whole", "ann", {"number": number, "published": str(folder / "published")}))


def run_engine(
    engine_name: str, database: str, folder: Path, kill_at: int | None, worker_id: str = "w1"
) -> None:
    """Work until all jobs are done; every gate is passed by dora. Writes the number of places to `count`."""
    global place  # noqa: PLW0603
    places = Places(kill_at)
    place = places
    watch_events(places)
    store = Store(database)
    worker = Worker(
        store, {"whole": WORKFLOW}, folder / "work", worker_id=worker_id, beat_s=0.2, lease_s=5, watch_s=0.05
    )
    engine = ENGINES[engine_name](worker, threads=2, poll_s=0.02)
    engine.start()
    while True:
        engine.run_until_idle(TIMEOUT_S)
        waiting = store.jobs(states=[State.WAITING])
        if not waiting:
            break
        for job in waiting:
            with suppress(DecidedError):  # the other process was quicker
                store.decide(job.id, "qa", "pass", "dora")
    engine.stop()
    store.close()
    (folder / "count").write_text(str(places.last))


def summary(store: Store, folder: Path) -> dict[int, Any]:
    """All that must not depend on how often the engine died: no times, no attempts."""
    found = {}
    for job in store.jobs(limit=None):
        attempts = [attempt for attempt in store.attempts(job.id) if attempt.outcome == "done"]
        kinds = [str(event.happening) for event in store.events(job_id=job.id, limit=10_000)]
        found[job.id] = {
            "job": (
                job.kind,
                job.owner,
                job.state,
                job.step,
                job.progress,
                job.fault,
                job.error_text,
                job.worker,
            ),
            "steps": [attempt.step for attempt in attempts],
            "sha256": [attempt.result.get("sha256") for attempt in attempts],
            "products": [(Path(p.path).name, p.size, p.sha256) for p in store.products(job.id)],
            "files": (folder / "published" / f"{job.id}.tar").read_bytes(),
            "decisions": [(d.gate, d.answer, d.decided_by) for d in store.decisions(job.id)],
            "once": {
                kind: kinds.count(kind) for kind in ("submitted", "gate-opened", "gate-decided", "completed")
            },
        }
    found[0] = {
        "messages": sorted(
            (message.key, message.payload["what"], message.state) for message in store.messages()
        ),
        "published": sorted(path.name for path in (folder / "published").iterdir()),
    }
    return found
