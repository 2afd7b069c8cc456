"""What all executors have in common."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from mwaconvert.errors import ResourceError
from mwaconvert.jobs.control.states import Fault
from mwaconvert.jobs.control.work import Context, Json, StepError
from mwaconvert.jobs.executors.order import Order
from mwaconvert.jobs.executors.reservations import Reservations

#: where a container sees the archive
MOUNT = "/data/chime"
#: how often a job is looked at, right after its start and later
_SHORTEST_S, _LONGEST_S = 0.05, 0.5


class Way(StrEnum):
    """How jobs are carried out."""

    PROCESS = "process"
    DOCKER = "docker"
    PODMAN = "podman"
    APPTAINER = "apptainer"


@dataclass(frozen=True)
class Prepared:
    """What a job gets, as its record says.

    Attributes
    ----------
    enforced : what is kept from the job, by what means
    not_enforced : what nobody keeps it from, a sentence each
    """

    enforced: Mapping[str, str]
    not_enforced: tuple[str, ...] = ()

    @property
    def record(self) -> dict[str, Any]:
        return {"enforced": dict(self.enforced), "not_enforced": list(self.not_enforced)}


@dataclass(frozen=True)
class End:
    """How the program of a job ended.

    Attributes
    ----------
    code : exit code; None if a signal ended it
    signal : that ended it
    out_of_memory : it used more than its limit
    lost : nobody knows how it ended
    notes : what went wrong beside
    """

    code: int | None = None
    signal: int | None = None
    out_of_memory: bool = False
    lost: bool = False
    notes: tuple[str, ...] = ()


class Executor(Protocol):
    """Carries out orders. A job goes on when its worker dies, and is found again; it is never started twice."""

    way: Way

    def prepare(self, order: Order) -> Prepared:
        """See that an order can be carried out, and bring its image.

        Raises
        ------
        StepError : the image is not known, or the runtime refuses
        ResourceError : there is no runtime
        """

    def run(self, context: Context, order: Order) -> Json:
        """Carry an order out, or go on with what an earlier attempt of the step has begun.

        Raises
        ------
        StepError : it ended badly; says how
        CancelledError : the job was cancelled and nothing of it runs, or the worker stops and it goes on
        """

    def end(self, batch_id: str) -> None:
        """End what an attempt had begun before its worker lost sight of it. May be repeated."""


@dataclass(frozen=True)
class Cluster:
    """The part of a site that carries out orders.

    Attributes
    ----------
    executor : how
    reservations : of cores
    hold_s : so long a job is pending at least, as on a cluster that looks at its queue now and then
    """

    executor: Executor
    reservations: Reservations = field(default_factory=lambda: Reservations(None))
    hold_s: float = 2.0


def refuse_bad_end(order: Order, end: End, last: str) -> None:
    """Raise what says how a program ended, unless it ended well."""
    said = f"; its log ends with: {last}" if last else ""
    if end.lost:
        raise StepError(
            f"{order.name}: the machine, or what watched over the job, went down; it is not started again",
            Fault.LOST,
        )
    if end.out_of_memory:
        limit = f"{order.memory_limit / 2**20:.4g} MiB"
        raise StepError(
            f"{order.name} was killed: out of memory, it used more than its limit of {limit}", Fault.MEMORY
        )
    if end.signal is not None:
        raise StepError(f"{order.name} was ended by signal {end.signal}{said}", Fault.SIGNAL)
    if end.code:
        raise StepError(f"{order.name} ended with exit code {end.code}{said}", Fault.EXIT)


def last_words(log_path: Path) -> str:
    """The last line that a job printed."""
    from mwaconvert.jobs.control.execute import last_line
    from mwaconvert.jobs.executors.logs import without_time

    return without_time(last_line(log_path)) if log_path.exists() else ""


def see_archive(order: Order, archive: Path | None) -> None:
    """Raise ResourceError if a job wants to see an archive that is away."""
    if order.mount_archive and archive is not None and not archive.is_dir():
        raise ResourceError(f"the archive at {archive} is not there; see whether its disk is mounted")


def note_mount(order: Order, archive: Path | None, enforced: dict[str, str], missing: list[str]) -> None:
    """Say how a container sees the archive, if its job wants to."""
    if order.mount_archive and archive is None:
        missing.append(f"mount_archiver: there is no archive here to be seen at {MOUNT}")
    elif order.mount_archive:
        enforced["mount_archiver"] = "read-only"


class Pace:
    """Looks often at first, then seldom."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._begun = time.monotonic()

    def wait(self) -> bool:
        """Whether the step must end."""
        age_s = time.monotonic() - self._begun
        return self._context.cancelled.wait(min(_LONGEST_S, max(_SHORTEST_S, age_s / 10)))
