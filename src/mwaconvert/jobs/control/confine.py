"""By what the limits of a step are enforced: a control group where this process may make one, else the process itself.

A control group (version 2) holds all that a program starts, counts memory and CPU of all of it together, and ends
all of it at once. A service has one of its own if systemd delegates it (`Delegate=yes`); as root of a
container it often has one too. Without, memory is watched, and CPUs are a choice of those of this process.

Source: Linux, Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import functools
import itertools
import math
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from mwaconvert import machine
from mwaconvert.jobs.control.work import Limits

_PREFIX, _OUTLIVING = "mwaconvert-", "mwaconvert-job-"
_ASIDE = "mwaconvert-worker"
_WANTED = ("memory", "cpu")
_PERIOD_US = 100_000
_PATIENCE_S = 5.0
_numbers = itertools.count()
_finding = threading.Lock()


class Means(StrEnum):
    """What enforces a limit."""

    GROUP = "control group"
    WATCH = "watched by the worker"
    PROCESS = "resource limit of each process"
    AFFINITY = "choice of CPUs"


@dataclass(frozen=True)
class Confinement:
    """What a program is held in.

    Attributes
    ----------
    held_by
        Limit -> what enforces it; limits that are not set are left out.
    cpus
        CPUs that it is bound to, where no group counts them.
    group
        Folder of its control group.
    """

    held_by: Mapping[str, Means]
    cpus: tuple[int, ...] = ()
    group: Path | None = None

    @property
    def has_memory(self) -> bool:
        """Whether the kernel enforces the limit of memory."""
        return self.held_by.get("memory") is Means.GROUP

    def out_of_memory(self) -> bool:
        """Whether the kernel killed something of it, as its group was full."""
        return self.group is not None and _number(self.group / "memory.events", "oom_kill ") > 0

    def peak(self) -> int:
        """Most bytes that its group had at once; 0 where nobody counts."""
        return 0 if self.group is None else _number(self.group / "memory.peak")

    def end(self) -> None:
        """End all that is left in its group, whatever it has become, and remove it."""
        if self.group is None:
            return
        deadline = time.monotonic() + _PATIENCE_S
        with suppress(OSError):
            (self.group / "cgroup.kill").write_text("1")
        while self.group.is_dir():
            try:
                self.group.rmdir()
            except OSError:
                if time.monotonic() > deadline:  # the next worker tries again
                    return
                time.sleep(0.01)


@contextmanager
def confine(limits: Limits) -> Iterator[Confinement]:
    """What holds a program within its limits, as long as the block lasts; what is left of it then is ended."""
    group, held = make_group(limits)
    held_by: dict[str, Means] = {}
    cpus: tuple[int, ...] = ()
    if limits.memory is not None:
        held_by["memory"] = Means.GROUP if "memory" in held else Means.WATCH
    if limits.cpus is not None and "cpu" in held:
        held_by["cpus"] = Means.GROUP
    elif limits.cpus is not None:
        cpus = _choose_cpus(limits.cpus)
        if cpus:
            held_by["cpus"] = Means.AFFINITY
    for name in ("cpu_s", "files"):
        if getattr(limits, name) is not None:
            held_by[name] = Means.PROCESS
    if limits.wall_s is not None:
        held_by["wall_s"] = Means.WATCH
    confinement = Confinement(held_by, cpus, group)
    try:
        yield confinement
    finally:
        confinement.end()


def make_group(limits: Limits, *, outlives: bool = False) -> tuple[Path | None, frozenset[str]]:
    """A group of its own for a program, and what it limits; nothing if there is nothing to limit, or no leave.

    One that outlives this process is not ended by the next worker.
    """
    wanted: dict[str, dict[str, Any]] = {}
    if limits.memory is not None:
        wanted["memory"] = {"memory.max": limits.memory, "memory.oom.group": 1}
    if limits.cpus is not None:
        wanted["cpu"] = {"cpu.max": f"{math.ceil(limits.cpus * _PERIOD_US)} {_PERIOD_US}"}
    if not wanted:
        return None, frozenset()
    place = delegated()
    if place is None:
        return None, frozenset()
    folder, controllers = place
    group = folder / f"{_OUTLIVING if outlives else _PREFIX}{os.getpid()}-{next(_numbers)}"
    try:
        group.mkdir()
        for name in wanted.keys() & controllers:
            for file, value in wanted[name].items():
                (group / file).write_text(str(value))
        if "memory" in wanted.keys() & controllers and (group / "memory.swap.max").exists():
            (group / "memory.swap.max").write_text("0")
    except OSError:
        with suppress(OSError):
            group.rmdir()
        return None, frozenset()
    return group, frozenset(wanted) & controllers


def delegated() -> tuple[Path, frozenset[str]] | None:
    """The folder in which this process may make groups, and what they can limit; None if it may not.

    A group that has processes cannot have groups that limit: if all processes of the own group are this one,
    it moves aside, into a group of its own.
    """
    with _finding:
        return _find()


@functools.cache
def _find() -> tuple[Path, frozenset[str]] | None:
    own = machine.control_group()
    return None if own is None else _delegated_in(own.parent if own.name == _ASIDE else own)


def _delegated_in(own: Path) -> tuple[Path, frozenset[str]] | None:
    try:
        can = frozenset((own / "cgroup.controllers").read_text().split()).intersection(_WANTED)
        if "memory" not in can or not os.access(own, os.W_OK):
            return None
        given = frozenset((own / "cgroup.subtree_control").read_text().split())
        if not can <= given:
            members = {int(pid) for pid in (own / "cgroup.procs").read_text().split()}
            if own.joinpath("cgroup.type").exists() and members != {os.getpid()}:
                return None
            if own.joinpath("cgroup.type").exists():  # the root of all has no type, and may have processes
                aside = own / _ASIDE
                aside.mkdir(exist_ok=True)
                (aside / "cgroup.procs").write_text(str(os.getpid()))
            (own / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in sorted(can)))
    except OSError:
        return None
    for left in own.glob(f"{_PREFIX}[0-9]*"):
        if machine.process_start(int(left.name.split("-")[1])) is None:  # of a worker that was killed
            Confinement({}, group=left).end()
    for left in own.glob(f"{_OUTLIVING}*"):
        if machine.process_start(int(left.name.removeprefix(_OUTLIVING).split("-")[0])) is None:
            with suppress(OSError):  # what runs in it goes on
                left.rmdir()
    return own, can


def _choose_cpus(cpus: float) -> tuple[int, ...]:
    """CPUs of this process in turn, so that not all programs share the first ones; none where they cannot be chosen."""
    if not hasattr(os, "sched_getaffinity"):
        return ()
    mine = sorted(os.sched_getaffinity(0))
    count = min(len(mine), math.ceil(cpus))
    begin = next(_numbers) * count
    return tuple(sorted(mine[(begin + k) % len(mine)] for k in range(count)))


def _number(path: Path, key: str = "") -> int:
    try:
        lines = path.read_text().splitlines()
        return next(int(line.removeprefix(key)) for line in lines if line.startswith(key))
    except (OSError, StopIteration, ValueError):
        return 0
