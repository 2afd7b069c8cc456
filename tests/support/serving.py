"""A service on loopback in this process, for tests: real sockets, its own store, jobs carried out on request."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mwaconvert.jobs.control.inline import InlineEngine
from mwaconvert.jobs.control.states import Role
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.control.work import NO_QUOTAS, Product, Quotas
from mwaconvert.jobs.control.worker import Worker
from mwaconvert.jobs.workflows.registry import workflows
from mwaconvert.services.app import make_app
from mwaconvert.services.config import Config, check_config
from mwaconvert.services.server import Listening, _server, listen

SECRET = b"of tests".ljust(32, b".")
OBSID = "1412607288"


@dataclass
class Serving:
    """A service that runs."""

    config: Config
    store: Store
    url: str
    folder: Path

    def user(self, name: str = "ann", role: Role = Role.OPERATE, quotas: Quotas = NO_QUOTAS) -> str:
        """A user with a group; the key."""
        return self.store.add_user(name, role, quotas, {"group": "mwa"})

    def carry_out(self) -> None:
        """Do all that is queued."""
        worker = Worker(self.store, workflows(self.config.site()), self.config.work / "jobs", beat_s=0.5)
        with InlineEngine(worker) as engine:
            engine.run_until_idle(timeout_s=120)

    def complete(self, job_id: int, data: bytes, name: str = "") -> Product:
        """Bring a queued job to its end with a file, without doing its work."""
        name = name or f"{OBSID}_{job_id}_vis.tar"
        path = Path(self.config.delivery.packages.place) / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        job = self.start(job_id, "deliver")
        product = Product(str(path), len(data), "0" * 40, None, None, {"delivery": "acacia", "name": name})
        attempt = self.store.attempts(job_id)[-1]
        self.store.finish_attempt(attempt, {}, [product], [], is_last=True)
        assert self.store.job(job.id).state.is_terminal
        return self.store.products(job_id)[0]

    def start(self, job_id: int, step: str):
        """Let a queued job run in a step."""
        job = self.store.start_run(job_id, self.store.job(job_id).run, "tests")
        assert job is not None
        assert self.store.begin_attempt(job, step, "tests", self.config.work) is not None
        return job


def configuration(folder: Path, **more: object) -> Config:
    """A configuration in a folder."""
    for name in ("raw", "products", "scratch", "work"):
        (folder / name).mkdir(exist_ok=True)
    facts = {
        "database": "jobs.db",
        "work": "work",
        "raw": ["raw"],
        "delivery": {"packages": "products", "scratch": "scratch", "groups": ["mwa"]},
        "server": {"port": 0},
        **more,
    }
    return check_config(facts, folder / "mwaconvert.toml")


@contextmanager
def serving(folder: Path, tls: tuple[Path, Path] | None = None, **more: object) -> Iterator[Serving]:
    """A service, as long as the block lasts."""
    config = configuration(folder, **more)
    store = Store(config.database)
    with running(make_app(config, store, SECRET), listen("127.0.0.1", 0, tls)) as url:
        yield Serving(config, store, url, folder)
    store.close()


@contextmanager
def running(app: object, listening: Listening) -> Iterator[str]:
    """An application on a socket; its address."""
    server = _server(app, listening, is_first=True)
    thread = threading.Thread(
        target=lambda: asyncio.run(server.serve(sockets=[listening.socket])), daemon=True
    )
    thread.start()
    while not server.started and thread.is_alive():
        threading.Event().wait(0.02)
    try:
        yield listening.url
    finally:
        server.should_exit = True
        thread.join()
        listening.socket.close()
