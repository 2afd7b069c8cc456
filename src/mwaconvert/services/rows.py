"""Rows of all jobs of a user, kept from one listing to the next: the clients of API v1 know no pages.

What is kept is as new as the events of the store: before each answer, the jobs of the user that have newer
events are read again, and nothing else is.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any

from mwaconvert.jobs.control.store import Selection, Store
from mwaconvert.jobs.control.work import Job

#: of all users together, some 400 bytes each
_MOST_ROWS = 100_000
#: who has not looked for so many events gets everything anew: that is as fast
_FAR = 20_000


@dataclass(frozen=True)
class Row:
    """A job in the words of a face.

    Attributes
    ----------
    place : how far the job is, for whoever compares
    text : JSON
    """

    job_id: int
    place: tuple[Any, ...]
    text: str


@dataclass
class _Kept:
    lock: threading.Lock = field(default_factory=threading.Lock)
    seq: int | None = None
    rows: dict[int, Row] = field(default_factory=dict)
    body: bytes = b"[]"


class Rows:
    """Rows of many users."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def of(
        self, wanted: Selection, form: Hashable, make: Callable[[Iterable[Job]], Iterable[Row]]
    ) -> tuple[list[Row], bytes]:
        """Rows of the jobs of an owner and kinds, the oldest first, and all of them as a JSON array.

        Parameters
        ----------
        wanted : an owner and kinds
        form : what else the rows depend on
        make : rows of some jobs; those that it leaves out are not listed
        """
        key = (wanted.owner, wanted.kinds, form)
        with self._lock:
            kept = self._kept.setdefault(key, _Kept())
            self._kept.move_to_end(key)
        with kept.lock:
            self._bring_up_to_date(kept, wanted, make)
            found = list(kept.rows.values()), kept.body
        self._forget()
        return found

    def _bring_up_to_date(
        self, kept: _Kept, wanted: Selection, make: Callable[[Iterable[Job]], Iterable[Row]]
    ) -> None:
        last = self._store.last_seq()
        if kept.seq is None or not 0 <= last - kept.seq <= _FAR:
            rows = {row.job_id: row for row in make(self._store.selected(wanted, limit=None))}
        elif last == kept.seq:
            return
        else:
            changed = self._store.changed_since(kept.seq, wanted.owner or "")
            if not changed:
                kept.seq = last
                return
            jobs = [job for job in self._store.jobs_with(changed) if job.kind in (wanted.kinds or ())]
            rows = {job_id: row for job_id, row in kept.rows.items() if job_id not in changed}
            rows |= {row.job_id: row for row in make(jobs)}
        kept.rows = dict(sorted(rows.items()))
        kept.body = f"[{','.join(row.text for row in kept.rows.values())}]".encode()
        kept.seq = last

    def _forget(self) -> None:
        with self._lock:
            while len(self._kept) > 1 and sum(len(kept.rows) for kept in self._kept.values()) > _MOST_ROWS:
                self._kept.popitem(last=False)
