"""Cores that jobs of one worker have been promised: who does not fit waits."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mwaconvert.jobs.control.work import Context


@dataclass
class _Promise:
    cpus: float
    ending: threading.Event
    is_used: bool = False


class Reservations:
    """Cores of a worker.

    Parameters
    ----------
    cpus
        All there are; None: nobody waits.
    """

    def __init__(self, cpus: float | None) -> None:
        self.cpus = cpus
        self._promises: dict[int, _Promise] = {}
        self._lock = threading.Lock()

    def take(self, context: Context, cpus: float) -> bool:
        """Promise cores to a job, if there are any left. A job alone always fits: submission has judged it."""
        with self._lock:
            # of jobs that ended between two steps nobody gives anything back
            self._promises = {
                job_id: promise
                for job_id, promise in self._promises.items()
                if promise.is_used or not promise.ending.is_set()
            }
            taken = sum(promise.cpus for promise in self._promises.values())
            if self.cpus is not None and self._promises and taken + cpus > self.cpus + 1e-9:
                return False
            self._promises[context.job.id] = _Promise(cpus, context.cancelled)
            return True

    @contextmanager
    def using(self, context: Context, cpus: float, *, is_last: bool) -> Iterator[None]:
        """Keep what a job was promised while a step runs, and give it back if the step fails or is the last."""
        with self._lock:
            # a job that is carried on after a restart has its place already
            promise = self._promises.setdefault(context.job.id, _Promise(cpus, context.cancelled))
            promise.is_used = True
        try:
            yield
        except BaseException:
            self._give_back(context)
            raise
        if is_last:
            self._give_back(context)
        else:
            promise.is_used = False

    def _give_back(self, context: Context) -> None:
        with self._lock:
            self._promises.pop(context.job.id, None)
