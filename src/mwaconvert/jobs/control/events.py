"""Following what happens: whoever shows jobs reads events, and resumes after the last one it saw."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.control.work import Event


def follow(
    store: Store,
    after: int = 0,
    *,
    job_id: int | None = None,
    owner: str | None = None,
    stopping: threading.Event | None = None,
    poll_s: float = 0.2,
) -> Iterator[Event]:
    """Events as they happen, none left out and none twice.

    Parameters
    ----------
    after
        The number of the last event seen; 0: from the beginning. `store.last_seq()`: only what comes.
    job_id, owner
        Only those of a job, of an owner.
    stopping
        Ends the iteration once it is set.
    poll_s
        How soon an event of another process is seen; one of this process is seen at once.

    Examples
    --------
    >>> import tempfile
    >>> from mwaconvert.jobs.control.work import Request
    >>> store = Store(tempfile.mkdtemp() + "/jobs.db")
    >>> job = store.submit(Request("convert", "ann", {}))
    >>> str(next(follow(store)).happening)
    'submitted'
    >>> store.close()
    """
    while stopping is None or not stopping.is_set():
        found = store.events(after, job_id=job_id, owner=owner)
        for event in found:
            yield event
            after = event.seq
        if not found:
            store.wait_for_change(poll_s)
