"""Jobs as containers of Docker or Podman, through the API that both serve on a socket.

A container goes on when its worker dies, and is found again by its name, which tells the attempt that made it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from mwaconvert import machine
from mwaconvert.errors import ResourceError
from mwaconvert.jobs.control.states import Fault, Outcome
from mwaconvert.jobs.control.work import Attempt, CancelledError, Context, Json, StepError
from mwaconvert.jobs.executors import services
from mwaconvert.jobs.executors.executor import (
    MOUNT,
    End,
    Pace,
    Prepared,
    Way,
    last_words,
    note_mount,
    refuse_bad_end,
    see_archive,
)
from mwaconvert.jobs.executors.order import Order
from mwaconvert.jobs.executors.runtime import ID_LETTERS, LABEL, GrowingLog, Runtime, short

#: where the sockets are, unless the configuration says otherwise
SOCKETS = {Way.DOCKER: "unix:///var/run/docker.sock", Way.PODMAN: "unix:///run/podman/podman.sock"}
_GRACE_S = 5
_KILLED = 137


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
        see_archive(order, self.archive)
        errors = self.runtime.docker.errors
        info = self._info()
        if services.has_swarm(info):  # each node fetches the image itself
            return services.prepared(order, self.archive)
        try:
            self.runtime.ask(lambda client: _bring(client, errors, order.image))
        except errors.APIError as error:
            raise StepError(f"there is no image {order.image}: {short(error)}", Fault.INPUT) from None
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
        note_mount(order, self.archive, enforced, missing)
        return Prepared(enforced, tuple(missing))

    def run(self, context: Context, order: Order) -> Json:
        in_swarm = services.has_swarm(self._info())
        attempt, name = self._found(context, in_swarm)
        if attempt is None:
            attempt, name = context.attempt, _name(context.attempt)
            self._make(order, name, context.job.id, in_swarm)
        if in_swarm:
            batch_id = services.id_of(self.runtime, context, name)
            context.note_batch(batch_id)
            end = services.wait(self.runtime, context, attempt, batch_id, self._ended)
        else:
            batch_id = self.runtime.ask_patiently(context, lambda client: _start(client, name))
            context.note_batch(batch_id)
            end = self._wait(context, attempt, batch_id)
        refuse_bad_end(order, end, last_words(attempt.log_path))
        return {"exit_code": end.code, "service" if in_swarm else "container": batch_id}

    def end(self, batch_id: str) -> None:
        not_found = self.runtime.docker.errors.NotFound
        in_swarm = services.has_swarm(self._info())
        with suppress(not_found):
            self.runtime.ask(lambda client: (services.remove if in_swarm else _end)(client, batch_id))

    def _info(self) -> dict[str, Any]:
        info: dict[str, Any] = self.runtime.ask(lambda client: client.info())
        return info

    def _make(self, order: Order, name: str, job_id: int, in_swarm: bool) -> None:
        if in_swarm:
            services.create(self.runtime, order, name, job_id, self.archive, self.network)
        else:
            self.runtime.ask(lambda client: client.containers.create(**self._wanted(order, name, job_id)))

    def _wanted(self, order: Order, name: str, job_id: int) -> Mapping[str, Any]:
        wanted: dict[str, Any] = {
            "image": order.image,
            "name": name,
            "entrypoint": list(order.command) or None,
            "command": list(order.arguments) or None,
            "environment": dict(order.environment),
            "labels": {LABEL: str(job_id), f"{LABEL}.name": order.name},
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

    def _found(self, context: Context, in_swarm: bool) -> tuple[Attempt | None, str]:
        """The attempt of a worker that died whose container is there, or was: that one is not made again."""
        for attempt in reversed(context.earlier):
            if attempt.outcome is not Outcome.LOST:
                continue
            name = _name(attempt)
            try:
                self.runtime.ask_patiently(context, partial(_look_up, name, in_swarm))
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


def _look_up(name: str, in_swarm: bool, client: Any) -> None:
    (client.services if in_swarm else client.containers).get(name)


def _follow(log: GrowingLog, container: Any, _client: Any) -> None:
    log.follow(lambda since: container.logs(timestamps=True, since=since))


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
    return str(container.id)[:ID_LETTERS]


def _end(client: Any, batch_id: str) -> None:
    container = client.containers.get(batch_id)
    if container.status == "running":
        container.stop(timeout=_GRACE_S)
    container.remove(force=True, v=True)


def _name(attempt: Attempt) -> str:
    """Of the container of an attempt; two stores may have jobs of one number."""
    place = hashlib.sha256(str(attempt.directory).encode()).hexdigest()[:12]
    return f"mwaconvert-{attempt.job_id}-{attempt.number}-{place}"
