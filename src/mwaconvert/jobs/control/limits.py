"""Who may submit what: quotas of a user, and what the machines can carry. Decisions only, no SQL."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from mwaconvert.jobs.control.work import Estimate, Quotas

MAX_LOST = 20
"""So many times one step may take its worker down with it; a job that kills its workers must end."""


@dataclass(frozen=True)
class Usage:
    """What a user has now: jobs that run and wait, bytes of products, bytes that active jobs will write."""

    running: int = 0
    queued: int = 0
    disk: int = 0
    promised: int = 0


@dataclass(frozen=True)
class Capacity:
    """The most that one job may need: bytes of memory, seconds, bytes of output. None: no limit."""

    memory: int | None = None
    time_s: float | None = None
    output: int | None = None


NO_LIMIT = Capacity()


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.3g} GB"


def refusal(estimate: Estimate, usage: Usage, quotas: Quotas, capacity: Capacity) -> str | None:
    """One sentence with the numbers if a job must be refused, else None."""
    if capacity.memory is not None and (estimate.memory or 0) > capacity.memory:
        return (
            f"the job needs {_gigabytes(estimate.memory or 0)} of memory, more than the "
            f"{_gigabytes(capacity.memory)} of the largest worker"
        )
    if capacity.time_s is not None and (estimate.time_s or 0) > capacity.time_s:
        return (
            f"the job needs about {(estimate.time_s or 0) / 3600:.3g} hours, more than the "
            f"{capacity.time_s / 3600:.3g} hours that a job may take"
        )
    if capacity.output is not None and (estimate.output or 0) > capacity.output:
        return (
            f"the job writes {_gigabytes(estimate.output or 0)}, more than the "
            f"{_gigabytes(capacity.output)} that a job may write"
        )
    if quotas.queued is not None and usage.queued >= quotas.queued:
        return f"{usage.queued} jobs wait already, and the quota is {quotas.queued}: wait until some have run"
    if quotas.disk is not None:
        wanted = usage.disk + usage.promised + (estimate.output or 0)
        if wanted > quotas.disk:
            return (
                f"products take {_gigabytes(usage.disk)}, jobs that run or wait will add "
                f"{_gigabytes(usage.promised)} and this one {_gigabytes(estimate.output or 0)}: more than "
                f"the quota of {_gigabytes(quotas.disk)}; delete products or wait until they expire"
            )
    return None


class Room:
    """The memory that the jobs of one worker may take together, by their estimates.

    Parameters
    ----------
    memory
        Bytes; None: no limit.
    """

    def __init__(self, memory: int | None = None) -> None:
        self.memory = memory
        self._taken: dict[int, int] = {}
        self._lock = threading.Lock()

    def take(self, job_id: int, estimate: Estimate) -> bool:
        """Take room for a job, if there is. A job alone always has room: admission has judged it."""
        wanted = estimate.memory or 0
        with self._lock:
            fits = self.memory is None or sum(self._taken.values()) + wanted <= self.memory
            if fits or not self._taken:
                self._taken[job_id] = wanted
                return True
            return False

    def give_back(self, job_id: int) -> None:
        """The job has ended."""
        with self._lock:
            self._taken.pop(job_id, None)
