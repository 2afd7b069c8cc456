"""Jobs as programs of this machine, where there are no containers: a table says what an image stands for.

The program runs under `watch.py`, which outlives the worker. A worker that comes back finds it by its folder.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mwaconvert import machine
from mwaconvert.errors import ResourceError
from mwaconvert.jobs.control import confine
from mwaconvert.jobs.control.execute import end_group
from mwaconvert.jobs.control.states import Fault, Outcome
from mwaconvert.jobs.control.work import Attempt, CancelledError, Context, Json, Limits, StepError
from mwaconvert.jobs.executors import watch
from mwaconvert.jobs.executors.executor import (
    MOUNT,
    End,
    Pace,
    Prepared,
    Way,
    last_words,
    refuse_bad_end,
    see_archive,
)
from mwaconvert.jobs.executors.order import Order

_WATCH = Path(watch.__file__)
_GRACE_S = 5.0
_ENDED_S = 20.0
#: that this process started and whose ends it has not taken yet
_watchers: dict[int, subprocess.Popen[bytes]] = {}
_CLAIM_S = 10.0
_CONTROLLERS = {"memory", "cpu"}
_ARCHIVE = "{archive}"
#: of the worker's own variables a job sees these
_PASSED_ON = ("HOME", "LANG", "LC_ALL", "PATH", "TMPDIR", "TZ", "USER")


@dataclass(frozen=True)
class Image:
    """What an image stands for on this machine.

    Attributes
    ----------
    launcher : words before the command; {archive} is the folder of the archive
    entrypoint : the program of an order without a command
    environment : variables
    """

    launcher: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


def _has_groups() -> bool:
    """Whether control groups can limit jobs here."""
    place = confine.delegated()
    return place is not None and place[1] >= _CONTROLLERS


class ProcessExecutor:
    """Programs of this machine.

    Parameters
    ----------
    images
        What each image stands for.
    archive
        The folder that containers see as /data/chime.
    """

    way = Way.PROCESS

    def __init__(self, images: Mapping[str, Image], archive: Path | None = None) -> None:
        self.images = images
        self.archive = archive

    def prepare(self, order: Order) -> Prepared:
        image = self._image(order)
        see_archive(order, self.archive)
        if not (order.argv or image.entrypoint):
            raise StepError(f"{order.name}: no command is given, and {order.image} has none", Fault.INPUT)
        enforced = {}
        missing = []
        if _has_groups():
            enforced["job_mem_limit"] = enforced["job_cpu_limit"] = "control group"
        else:
            enforced["job_mem_limit"] = "watched, and a limit of the data of each process"
            cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
            if cores and order.cpu_limit < cores:
                enforced["job_cpu_limit"] = "bound to cores"
            if not cores or not float(order.cpu_limit).is_integer():
                missing.append(
                    f"job_cpu_limit: {order.cpu_limit:g} cores; without control groups only whole ones are kept"
                )
        enforced["job_mem_reservation"] = enforced["job_cpu_reservation"] = "waits until it is free"
        if order.mount_archive and not any(_ARCHIVE in word for word in image.launcher):
            where = "there is none here" if self.archive is None else f"it is at {self.archive}"
            missing.append(
                f"mount_archiver: the archive is not at {MOUNT}, {where}, and as writable as to the service"
            )
        if order.shared_network:
            enforced["swarm_network"] = "the network of this machine"
        return Prepared(enforced, tuple(missing))

    def run(self, context: Context, order: Order) -> Json:
        attempt = self._earlier(context)
        if attempt is None:
            attempt = context.attempt
            self._start(context, order)
        context.note_batch(_batch_id(_watcher(attempt.directory)))
        end, facts = self._wait(context, attempt)
        refuse_bad_end(order, end, last_words(attempt.log_path))
        return {"exit_code": end.code, "memory_peak": facts.get("memory_peak"), "notes": list(end.notes)}

    def end(self, batch_id: str) -> None:
        pid, _, start = batch_id.partition(":")
        if pid.isdigit() and machine.process_start(int(pid)) == start:
            _end(int(pid))

    # -- beginning

    def _image(self, order: Order) -> Image:
        image = self.images.get(order.image) or self.images.get(order.image.removesuffix(":latest"))
        if image is None:
            known = ", ".join(sorted(self.images)) or "none"
            raise StepError(
                f"there is no image {order.image} here; the configuration knows {known}", Fault.INPUT
            )
        return image

    def _start(self, context: Context, order: Order) -> None:
        image = self._image(order)
        folder = context.directory
        work = folder / "work"
        work.mkdir()
        environment = {**passed_on(), **image.environment, **order.environment}
        if order.mount_archive and self.archive is not None:
            environment["CHIME_ARCHIVE"] = str(self.archive)
        launcher = [word.replace(_ARCHIVE, str(self.archive or "")) for word in image.launcher]
        wanted = {
            "argv": [*launcher, *(order.argv or image.entrypoint)],
            "environment": environment,
            "folder": str(work),
            "log": str(context.log_path),
            "memory": order.memory_limit,
            "cpus": order.cpu_limit,
            "group": None,
            "notes": [],
            "grace_s": _GRACE_S,
        }
        group = None
        if _has_groups():
            group, _ = confine.make_group(
                Limits(memory=order.memory_limit, cpus=order.cpu_limit), outlives=True
            )
            said = "no control group could be made; resource limits instead"
            wanted |= {"notes": [said]} if group is None else {"group": str(group)}
        try:
            start_watch(folder, wanted)
        except ResourceError:
            if group is not None:
                with suppress(OSError):
                    group.rmdir()
            raise

    def _earlier(self, context: Context) -> Attempt | None:
        """The attempt of a worker that died, whose program was started; one that never began is not to begin now."""
        for attempt in reversed(context.earlier):
            started = attempt.directory / "started"
            is_lost = attempt.outcome is Outcome.LOST
            if is_lost and started.exists() and not watch.claim(attempt.directory, ""):
                return attempt
        return None

    # -- waiting

    def _wait(self, context: Context, attempt: Attempt) -> tuple[End, dict[str, Any]]:
        pid = _watcher(attempt.directory)
        pace = Pace(context)
        while True:
            facts = answer(attempt.directory)
            if facts is not None:
                _take_end(pid)
                return end_of(facts), facts
            if not _is_watching(pid, attempt.directory):
                facts = answer(attempt.directory)
                if facts is not None:
                    return end_of(facts), facts
                end_group(pid, 0.0)
                _take_end(pid)
                return End(lost=True), {}
            if pace.wait():
                if context.by_cancel():
                    _end(pid)
                    _take_end(pid)
                    raise CancelledError(f"{context.job.name} was ended, as the job was cancelled")
                raise CancelledError(f"the worker stops; {context.job.name} goes on and is found again")


def passed_on() -> dict[str, str]:
    """The variables of this process that a program sees; it has others that are secret."""
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ}


def write_order(folder: Path, wanted: Mapping[str, Any]) -> None:
    """What `watch.py` reads; it may hold tokens of the user."""
    order = folder / "order.json"
    order.touch(mode=0o600)
    order.write_text(json.dumps(wanted))


def start_watch(folder: Path, wanted: Mapping[str, Any]) -> None:
    """Start `watch.py` in a folder, and return when it has begun."""
    write_order(folder, wanted)
    (folder / "started").touch()
    try:
        with (folder / "watch.log").open("wb") as errors:
            child = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_WATCH), str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                start_new_session=True,
                cwd="/",
            )
    except OSError as error:
        raise ResourceError(
            f"the program that watches jobs could not be started: {error.strerror}"
        ) from error
    _watchers[child.pid] = child
    deadline = time.monotonic() + _CLAIM_S
    while not _is_claimed(folder):
        if child.poll() is not None or time.monotonic() > deadline:
            said = (folder / "watch.log").read_text(errors="replace").strip()
            raise ResourceError(
                f"the program that watches jobs did not begin: {said[-300:] or 'it said nothing'}"
            )
        time.sleep(0.01)


def _take_end(pid: int) -> None:
    """Of a program that watched over a job and is done, if this process started it."""
    child = _watchers.pop(pid, None)
    if child is not None:
        child.wait(_ENDED_S)


def _is_claimed(folder: Path) -> bool:
    path = folder / "claimed"
    return path.exists() and path.stat().st_size > 0


def _watcher(folder: Path) -> int:
    """Process that watches over a job; 0 if it never began."""
    return int((folder / "claimed").read_text() or 0)


def _batch_id(pid: int) -> str:
    return f"{pid}:{machine.process_start(pid)}"


def answer(folder: Path) -> dict[str, Any] | None:
    """What `watch.py` said of the end; None as long as it said nothing."""
    try:
        facts: dict[str, Any] = json.loads((folder / "end.json").read_text())
    except FileNotFoundError:
        return None
    return facts


def end_of(facts: Mapping[str, Any]) -> End:
    """The end of a program that `watch.py` told."""
    return End(facts["code"], facts["signal"], facts["out_of_memory"], notes=tuple(facts["notes"]))


def _is_watching(pid: int, folder: Path) -> bool:
    """Whether a process is the one that watches over a folder; numbers are given again."""
    if pid <= 0 or machine.process_start(pid) is None:
        return False
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return sys.platform != "linux"
    return os.fsencode(str(folder)) in words


def _end(pid: int) -> None:
    """End a job and all its processes."""
    start = machine.process_start(pid)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_S + _ENDED_S
        while start is not None and machine.process_start(pid) == start:
            if time.monotonic() > deadline:
                end_group(pid, 0.0)
            time.sleep(0.02)
