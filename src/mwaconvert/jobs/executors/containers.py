"""Jobs as containers of Docker or Podman, through the API that both serve on a socket.

A container goes on when its worker dies, and is found again by its name, which tells the attempt that made it.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from mwaconvert import machine
from mwaconvert.errors import ResourceError
from mwaconvert.extras import need
from mwaconvert.jobs.control.states import Fault, Outcome
from mwaconvert.jobs.control.work import Attempt, CancelledError, Context, Json, StepError
from mwaconvert.jobs.executors import logs
from mwaconvert.jobs.executors.executor import MOUNT, End, Pace, Prepared, Way, last_words, refuse_bad_end
from mwaconvert.jobs.executors.order import Order

Value = TypeVar("Value")
#: where the sockets are, unless the configuration says otherwise
SOCKETS = {Way.DOCKER: "unix:///var/run/docker.sock", Way.PODMAN: "unix:///run/podman/podman.sock"}
_ANSWER_S = 60
_PATIENCE_S = 600.0
_GRACE_S = 5
_ID_LETTERS = 32
_KILLED = 137
_LABEL = "mwaconvert.job"
_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d) ")


class Runtime:
    """A runtime on a socket.

    Parameters
    ----------
    url : of its socket, unix:///...
    """

    def __init__(self, way: Way, url: str) -> None:
        self.way = way
        self.url = url
        self._docker: Any = None
        self._client: Any = None

    @property
    def docker(self) -> Any:
        """The library."""
        if self._docker is None:
            self._docker = need("docker", "containers", "jobs in containers")
        return self._docker

    def ask(self, question: Callable[[Any], Value]) -> Value:
        """Ask the runtime.

        Raises
        ------
        ResourceError : it does not answer
        """
        import requests

        try:
            if self._client is None:
                self._client = self.docker.DockerClient(base_url=self.url, version="auto", timeout=_ANSWER_S)
            return question(self._client)
        except (self.docker.errors.NotFound, self.docker.errors.APIError):
            raise
        except (self.docker.errors.DockerException, requests.RequestException, OSError) as error:
            self._client = None
            raise ResourceError(
                f"{self.way} does not answer at {self.url}; see whether it is installed and runs ({_short(error)})"
            ) from error

    def ask_patiently(self, context: Context, question: Callable[[Any], Value]) -> Value:
        """Ask, and wait for a runtime that is started again meanwhile."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return self.ask(question)
            except ResourceError:
                if time.monotonic() > deadline or context.cancelled.wait(1.0):
                    raise


class ContainerExecutor:
    """Containers of Docker or Podman.

    Parameters
    ----------
    archive
        The folder that containers see as /data/chime, to read.
    network
        Of jobs that share one; None: that of the runtime.
    """

    def __init__(
        self, way: Way, url: str | None = None, archive: Path | None = None, network: str | None = None
    ) -> None:
        self.way = way
        self.runtime = Runtime(way, url or SOCKETS[way])
        self.archive = archive
        self.network = network

    def prepare(self, order: Order) -> Prepared:
        errors = self.runtime.docker.errors
        try:
            self.runtime.ask(lambda client: _bring(client, errors, order.image))
            info = self.runtime.ask(lambda client: client.info())
        except errors.APIError as error:
            raise StepError(f"there is no image {order.image}: {_short(error)}", Fault.INPUT) from None
        kept = {
            "job_mem_limit": bool(info.get("MemoryLimit")),
            "job_cpu_limit": bool(info.get("CpuCfsQuota")),
        }
        missing = [
            f"{name}: {self.way} cannot keep it on this machine"
            for name, is_kept in kept.items()
            if not is_kept
        ]
        enforced = {name: "container" for name, is_kept in kept.items() if is_kept}
        enforced["job_mem_reservation"] = enforced["job_cpu_reservation"] = "waits until it is free"
        if order.mount_archive:
            if self.archive is None:
                missing.append(f"mount_archiver: there is no archive here to be seen at {MOUNT}")
            else:
                enforced["mount_archiver"] = "read-only"
        return Prepared(enforced, tuple(missing))

    def run(self, context: Context, order: Order) -> Json:
        attempt, name = self._found(context)
        if attempt is None:
            attempt, name = context.attempt, _name(context.attempt)
            self.runtime.ask(
                lambda client: client.containers.create(**self._wanted(order, name, context.job.id))
            )
        batch_id = self.runtime.ask_patiently(context, lambda client: _start(client, name))
        context.note_batch(batch_id)
        end = self._wait(context, attempt, batch_id)
        refuse_bad_end(order, end, last_words(attempt.log_path))
        return {"exit_code": end.code, "container": batch_id}

    def end(self, batch_id: str) -> None:
        with suppress(self.runtime.docker.errors.NotFound):
            self.runtime.ask(lambda client: _end(client, batch_id))

    def _wanted(self, order: Order, name: str, job_id: int) -> Mapping[str, Any]:
        wanted: dict[str, Any] = {
            "image": order.image,
            "name": name,
            "entrypoint": list(order.command) or None,
            "command": list(order.arguments) or None,
            "environment": dict(order.environment),
            "labels": {_LABEL: str(job_id), f"{_LABEL}.name": order.name},
            "mem_limit": order.memory_limit,
            "memswap_limit": order.memory_limit,
            "nano_cpus": int(order.cpu_limit * 1e9),
            "detach": True,
        }
        if order.memory_reservation:
            wanted["mem_reservation"] = order.memory_reservation
        if order.mount_archive and self.archive is not None:
            wanted["volumes"] = {str(self.archive): {"bind": MOUNT, "mode": "ro"}}
        if order.shared_network and self.network is not None:
            wanted["network"] = self.network
        return wanted

    def _found(self, context: Context) -> tuple[Attempt | None, str]:
        """The attempt of a worker that died whose container is there, or was: that one is not made again."""
        for attempt in reversed(context.earlier):
            if attempt.outcome is not Outcome.LOST:
                continue
            name = _name(attempt)
            try:
                self.runtime.ask_patiently(context, lambda client, name=name: client.containers.get(name))  # type: ignore[misc]
            except self.runtime.docker.errors.NotFound:
                if attempt.batch_id is None:
                    continue
                raise StepError(
                    f"{context.job.name}: its container was removed while nobody watched; it is not started again",
                    Fault.LOST,
                ) from None
            return attempt, name
        return None, ""

    def _wait(self, context: Context, attempt: Attempt, batch_id: str) -> End:
        pace = Pace(context)
        log = GrowingLog(attempt.log_path)
        kills = machine.out_of_memory_kills()
        while True:
            try:
                container = self.runtime.ask_patiently(
                    context, lambda client: client.containers.get(batch_id)
                )
                is_over = container.status in ("exited", "dead", "stopped")
                state = container.attrs["State"]
                self.runtime.ask(partial(_follow, log, container))
            except ResourceError:
                if context.cancelled.is_set():
                    raise self._ended(context, batch_id) from None
                raise
            except self.runtime.docker.errors.NotFound:
                return End(lost=True)
            if is_over:
                self.runtime.ask_patiently(context, lambda client: _end(client, batch_id))
                # some versions of Podman do not say why; the kernel of this machine counts
                was_counted = state.get("ExitCode") == _KILLED and machine.out_of_memory_kills() > kills
                return End(state.get("ExitCode"), None, bool(state.get("OOMKilled")) or was_counted)
            if pace.wait():
                raise self._ended(context, batch_id)

    def _ended(self, context: Context, batch_id: str) -> CancelledError:
        if context.by_cancel():
            self.end(batch_id)
            return CancelledError(f"{context.job.name} was ended, as the job was cancelled")
        return CancelledError(f"the worker stops; {context.job.name} goes on and is found again")


class GrowingLog:
    """A log that is filled from the runtime, whose lines have their times already."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines, _ = logs.read([path])
        self._last = lines.rstrip(b"\n").rpartition(b"\n")[2][:30]

    def follow(self, container: Any) -> None:
        """Take in what is new."""
        since = None
        if self._last:
            whole = datetime.fromisoformat(self._last[:19].decode()).replace(tzinfo=UTC)
            since = int(whole.timestamp())
        found: bytes = container.logs(timestamps=True, since=since)
        lines = [
            line for raw in found.split(b"\n") if raw.strip() and (line := docker_line(raw))[:30] > self._last
        ]
        if lines:
            self._last = lines[-1][:30]
            logs.append(self._path, b"".join(line + b"\n" for line in lines))


def docker_line(raw: bytes) -> bytes:
    """A line with its time in UTC and nanoseconds, whichever way the runtime writes times.

    Examples
    --------
    >>> docker_line(b"2021-04-21T19:05:17.88+02:00 baseband")
    b'2021-04-21T17:05:17.880000000Z baseband'
    """
    found = _STAMP.match(raw)
    if found is None:
        return logs.stamped(time.time_ns()) + raw
    moment = datetime.fromisoformat((found[1] + found[3].replace(b"Z", b"+00:00")).decode()).astimezone(UTC)
    fraction = (found[2] or b"").ljust(9, b"0")
    return f"{moment:%Y-%m-%dT%H:%M:%S}".encode() + b"." + fraction + b"Z " + raw[found.end() :]


def _follow(log: GrowingLog, container: Any, _client: Any) -> None:
    log.follow(container)


def _bring(client: Any, errors: Any, image: str) -> None:
    try:
        client.images.get(image)
    except errors.ImageNotFound:
        name, _, tag = image.rpartition(":")
        is_tagged = bool(name) and "/" not in tag and "@" not in image
        client.images.pull(name if is_tagged else image, tag=tag if is_tagged else None)


def _start(client: Any, name: str) -> str:
    """Start a container that was made, unless it was started before; its id."""
    container = client.containers.get(name)
    if container.status in ("created", "configured", "initialized"):
        container.start()
    return str(container.id)[:_ID_LETTERS]


def _end(client: Any, batch_id: str) -> None:
    container = client.containers.get(batch_id)
    if container.status == "running":
        container.stop(timeout=_GRACE_S)
    container.remove(force=True, v=True)


def _name(attempt: Attempt) -> str:
    """Of the container of an attempt; two stores may have jobs of one number."""
    place = hashlib.sha256(str(attempt.directory).encode()).hexdigest()[:12]
    return f"mwaconvert-{attempt.job_id}-{attempt.number}-{place}"


def _short(error: Exception) -> str:
    return str(getattr(error, "explanation", None) or error).strip()[:300]
