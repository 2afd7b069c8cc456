"""Jobs as services of a Docker swarm, where the Docker that is asked manages one: the swarm finds a node for each."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from mwaconvert.errors import ResourceError
from mwaconvert.jobs.control.states import Fault
from mwaconvert.jobs.control.work import Attempt, CancelledError, Context, StepError
from mwaconvert.jobs.executors.executor import MOUNT, End, Pace, Prepared
from mwaconvert.jobs.executors.order import Order
from mwaconvert.jobs.executors.runtime import ID_LETTERS, LABEL, GrowingLog, Runtime

_OVER = frozenset({"complete", "failed", "shutdown", "rejected", "orphaned", "remove"})
#: progress is written once a second: a state is told until it has surely been heard
_TELL_S = 1.5


def has_swarm(info: dict[str, Any]) -> bool:
    """Whether a Docker, by what it says of itself, manages a swarm."""
    swarm = info.get("Swarm") or {}
    return swarm.get("LocalNodeState") == "active" and bool(swarm.get("ControlAvailable"))


def prepared(order: Order, archive: Path | None) -> Prepared:
    """What a swarm keeps a job from."""
    names = ("job_mem_limit", "job_cpu_limit", "job_mem_reservation", "job_cpu_reservation")
    enforced = dict.fromkeys(names, "swarm")
    missing = []
    if order.mount_archive:
        if archive is None:
            missing.append(f"mount_archiver: there is no archive here to be seen at {MOUNT}")
        else:
            enforced["mount_archiver"] = "read-only, of the node"
    return Prepared(enforced, tuple(missing))


def create(
    runtime: Runtime, order: Order, name: str, job_id: int, archive: Path | None, network: str | None
) -> None:
    """Make the service of an order; it starts once, on a node that has room."""
    types = runtime.docker.types
    wanted: dict[str, Any] = {
        "image": order.image,
        "name": name,
        "command": list(order.command) or None,
        "args": list(order.arguments) or None,
        "env": [f"{key}={value}" for key, value in order.environment.items()],
        "labels": {LABEL: str(job_id), f"{LABEL}.name": order.name},
        "resources": types.Resources(
            cpu_limit=int(order.cpu_limit * 1e9),
            mem_limit=order.memory_limit,
            cpu_reservation=int(order.cpu_reservation * 1e9),
            mem_reservation=order.memory_reservation,
        ),
        "restart_policy": types.RestartPolicy(condition="none"),
    }
    if order.mount_archive and archive is not None:
        wanted["mounts"] = [types.Mount(MOUNT, str(archive), type="bind", read_only=True)]
    if order.shared_network and network is not None:
        wanted["networks"] = [network]
    runtime.ask(lambda client: client.services.create(**wanted))


def id_of(runtime: Runtime, context: Context, name: str) -> str:
    """The id of a service by its name."""
    found = runtime.ask_patiently(context, lambda client: client.services.get(name))
    return str(found.id)[:ID_LETTERS]


def remove(client: Any, batch_id: str) -> None:
    """End a service and all its tasks."""
    client.services.get(batch_id).remove()


def wait(
    runtime: Runtime,
    context: Context,
    attempt: Attempt,
    batch_id: str,
    cancelled: Callable[[Context, str], CancelledError],
) -> End:
    """Wait for the end of the task of a service, and tell its states as the swarm calls them."""
    pace, log = Pace(context), GrowingLog(attempt.log_path)
    told, since = "", 0.0
    while True:
        try:
            service = runtime.ask_patiently(context, lambda client: client.services.get(batch_id))
            status = runtime.ask_patiently(context, partial(_status, service))
            runtime.ask(partial(_follow, log, service))
        except ResourceError:
            if context.cancelled.is_set():
                raise cancelled(context, batch_id) from None
            raise
        except runtime.docker.errors.NotFound:
            return End(lost=True)
        state = str(status.get("State", "new"))
        if state in _OVER:
            runtime.ask_patiently(context, lambda client: remove(client, batch_id))
            return _end(context, state, status)
        if state != told:
            told, since = state, time.monotonic()
        if time.monotonic() - since < _TELL_S:
            context.keeper.progress(context.attempt, 0.0, state)
        if pace.wait():
            raise cancelled(context, batch_id)


def _status(service: Any, _client: Any) -> dict[str, Any]:
    """Status of the newest task."""
    tasks = sorted(service.tasks(), key=lambda task: str(task.get("CreatedAt", "")))
    status: dict[str, Any] = tasks[-1]["Status"] if tasks else {}
    return status


def _follow(log: GrowingLog, service: Any, _client: Any) -> None:
    def lines(since: int | None) -> bytes:
        more = {} if since is None else {"since": since}
        found = service.logs(stdout=True, stderr=True, timestamps=True, **more)
        return found if isinstance(found, bytes) else b"".join(found)

    log.follow(lines)


def _end(context: Context, state: str, status: dict[str, Any]) -> End:
    said = str(status.get("Err") or "no reason is given")[:300]
    if state == "rejected":
        raise StepError(f"{context.job.name}: a node refused it: {said}", Fault.INPUT)
    if state in ("orphaned", "remove"):
        return End(lost=True)
    if state == "shutdown":
        raise StepError(f"{context.job.name} was shut down by the swarm: {said}", Fault.SIGNAL)
    code = (status.get("ContainerStatus") or {}).get("ExitCode")
    if state == "failed" and not code:
        raise StepError(f"{context.job.name} failed: {said}", Fault.EXIT)
    return End(code or 0)
