"""Runs the service: its sockets, the engine in its process, and its upkeep."""

from __future__ import annotations

import asyncio
import logging
import shutil
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from mwaconvert.errors import ResourceError
from mwaconvert.jobs.control.limits import Room
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.control.upkeep import collect_garbage, remove_files
from mwaconvert.jobs.control.work import Product
from mwaconvert.jobs.control.worker import Worker
from mwaconvert.jobs.delivery.places import Bucket, Folder, scratch
from mwaconvert.jobs.workflows.registry import workflows
from mwaconvert.jobs.workflows.site import Site
from mwaconvert.services.app import make_app
from mwaconvert.services.archive.upkeep import ArchiveUpkeep
from mwaconvert.services.config import Config
from mwaconvert.services.connections import HeadInTime
from mwaconvert.services.signing import service_secret
from mwaconvert.text import plural

_log = logging.getLogger(__name__)
_UPKEEP_S = 60.0
_GRACE_S = 5
_FRAME_BYTES = 1 << 16
_PING_S = 20.0


@dataclass(frozen=True)
class Listening:
    """A socket that the service listens on, and its certificate and key, if it speaks TLS."""

    socket: socket.socket
    tls: tuple[Path, Path] | None = None

    @property
    def url(self) -> str:
        host, port = self.socket.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        return f"{'https' if self.tls else 'http'}://{shown}:{port}"


def listen(host: str, port: int, tls: tuple[Path, Path] | None = None) -> Listening:
    """Take a port; 0 takes a free one.

    Raises
    ------
    ResourceError : somebody else has it
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # asyncio sends small parts at once on sockets of this protocol by name; else each answer in two parts waits
        # 40 ms for the other side to acknowledge the first
        opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((host, port))
    except OSError as error:
        raise ResourceError(
            f"{host}:{port}: cannot listen there: {error.strerror}; see server.port"
        ) from error
    return Listening(opened, tls)


def configured_socket(config: Config) -> Listening:
    """The socket of a configuration."""
    server = config.server
    tls = None
    if server.tls_cert is not None and server.tls_key is not None:
        tls = server.tls_cert, server.tls_key
    return listen(server.host, server.port, tls)


def serve(config: Config, sockets: Sequence[Listening], ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT.

    Parameters
    ----------
    ready : called when the service answers
    """
    config.work.mkdir(parents=True, exist_ok=True)
    secret = service_secret(config.work / "service.key")
    store = Store(config.database)
    try:
        app = make_app(config, store, secret)
        here = working(config, store) if config.workers.here else nullcontext()
        with here, _upkeep(config, store):
            asyncio.run(_serve(app, sockets, ready))
    finally:
        store.close()


@contextmanager
def working(config: Config, store: Store) -> Iterator[None]:
    """An engine that carries out jobs as long as the block lasts."""
    from mwaconvert.jobs.control.durable import DurableEngine

    settings = config.workers
    site = config.site()
    batches = (site.slurm, None if site.archive is None else site.archive.slurm)
    if any(batches) and shutil.which("sbatch") is None:
        raise ResourceError("slurm: there is no sbatch on PATH; start workers where batch jobs are submitted")
    worker = Worker(
        store,
        workflows(site),
        config.work / "jobs",
        worker_id=settings.id,
        room=Room(settings.memory),
        end_batch=site.end_batch,
    )
    with DurableEngine(worker, threads=settings.here):
        yield


@contextmanager
def _upkeep(config: Config, store: Store) -> Iterator[None]:
    """Products end when their time is over, as long as the block lasts."""
    stopping = threading.Event()
    days = config.upkeep.forget_days
    site = config.site()

    sender = config.workers.id or socket.gethostname()
    archive = None if site.archive is None else ArchiveUpkeep(site.archive, store, sender)

    def run() -> None:
        while not stopping.wait(_UPKEEP_S):
            try:
                if archive is not None:
                    archive()
                tidy(config, store, site, days * 86400 if days else None)
            except Exception:
                # the next round may do better, and jobs do not depend on it
                _log.exception("upkeep failed")

    thread = threading.Thread(target=run, name="upkeep", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def tidy(config: Config, store: Store, site: Site, keep_s: float | None) -> None:
    """Remove products whose time is over, from disks and buckets, and what killed deliveries left behind."""

    def remove(product: Product) -> None:
        name = str(product.details.get("name", ""))
        if "://" in product.path and isinstance(site.packages, Bucket):
            site.packages.remove(name)
        elif name and product.path.endswith(f"/{name}"):  # folders that become empty go too
            Folder(Path(product.path.removesuffix(name))).remove(name)
        else:
            remove_files(product)

    for line in collect_garbage(store, config.work / "jobs", keep_s=keep_s, remove=remove):
        _log.info("%s", line)
    shared = [
        scratch(root, group) for root in config.delivery.shared.values() for group in config.delivery.groups
    ]
    for place in (site.packages, *shared):
        if isinstance(place, Folder) and place.root.is_dir() and (swept := place.sweep()):
            _log.info("swept %s of killed deliveries from %s", plural(swept, "file"), place.root)


class _Server(uvicorn.Server):
    """Of several in one process none takes the signals for itself."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(app: Any, sockets: Sequence[Listening], ready: Callable[[], None]) -> None:
    servers = [_server(app, listening, is_first=k == 0) for k, listening in enumerate(sockets)]
    loop = asyncio.get_running_loop()

    def stop() -> None:
        for server in servers:
            server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop)
    running = [
        asyncio.ensure_future(server.serve(sockets=[listening.socket]))
        for server, listening in zip(servers, sockets, strict=True)
    ]
    while not all(server.started for server in servers) and not any(task.done() for task in running):
        await asyncio.sleep(0.02)
    if not any(task.done() for task in running):
        ready()
    await asyncio.gather(*running)
    if not all(server.started for server in servers):
        raise ResourceError("the service could not start; the log says why")


def _server(app: Any, listening: Listening, is_first: bool) -> _Server:
    cert, key = listening.tls or (None, None)
    return _Server(
        uvicorn.Config(
            app,
            http=HeadInTime,
            log_config=None,
            access_log=False,
            lifespan="on" if is_first else "off",
            ssl_certfile=cert,
            ssl_keyfile=key,
            ws_max_size=_FRAME_BYTES,
            ws_ping_interval=_PING_S,
            ws_ping_timeout=_PING_S,
            timeout_graceful_shutdown=_GRACE_S,
            server_header=False,
            proxy_headers=False,
        )
    )


def work(config: Config) -> None:
    """Carry out jobs until SIGTERM or SIGINT, without a service."""
    config.work.mkdir(parents=True, exist_ok=True)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stopping.set())
    store = Store(config.database)
    try:
        with working(config, store):
            while not stopping.wait(0.5):
                pass
    finally:
        store.close()
