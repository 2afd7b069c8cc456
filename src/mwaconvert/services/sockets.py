"""Changes of jobs for whoever listens: one thread reads the store's events, however many sockets there are."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from mwaconvert.errors import Error
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.control.work import Event, Job, Product, UnknownError

_log = logging.getLogger(__name__)
_BATCH = 500
#: a listener that is so far behind is let go: it connects again, and gets the rows of today
_MOST_WAITING = 10_000


@dataclass(frozen=True)
class Change:
    """A job, as it is after an event or newer. `job` is None when it was deleted."""

    event: Event
    job: Job | None
    products: tuple[Product, ...]


class Listener:
    """One who hears of the jobs of an owner (None: of all)."""

    def __init__(self, owner: str | None) -> None:
        self.owner = owner
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Change | None] = asyncio.Queue()

    def tell(self, change: Change | None) -> None:
        """From the thread of the feed; None: there will be no more."""
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._put, change)

    def _put(self, change: Change | None) -> None:
        if self._queue.qsize() < _MOST_WAITING:
            self._queue.put_nowait(change)
        elif self._queue.qsize() == _MOST_WAITING:
            self._queue.put_nowait(None)

    async def next(self) -> Change | None:
        """The next change; None at the end."""
        return await self._queue.get()


class Feed:
    """Reads events as they happen and tells listeners; begins with those that come after its start."""

    def __init__(self, store: Store, poll_s: float = 0.2) -> None:
        self._store = store
        self._poll_s = poll_s
        self._listeners: set[Listener] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)

    def start(self) -> None:
        self._after = self._store.last_seq()
        self._thread.start()

    def stop(self) -> None:
        """Tell all listeners that it is over."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        with self._lock:
            for listener in self._listeners:
                listener.tell(None)

    @contextmanager
    def listen(self, owner: str | None) -> Iterator[Listener]:
        """Hear of what happens from now on."""
        listener = Listener(owner)
        with self._lock:
            self._listeners.add(listener)
        try:
            yield listener
        finally:
            with self._lock:
                self._listeners.discard(listener)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                events = self._store.events(self._after, limit=_BATCH)
                if events:
                    self._publish(events)
                    self._after = events[-1].seq
                else:
                    self._store.wait_for_change(self._poll_s)
            except Error:
                # the database is away; nothing is lost, for it is read on from where it was
                _log.exception("events cannot be read")
                self._stopping.wait(self._poll_s)

    def _publish(self, events: Iterable[Event]) -> None:
        # of several events of a job the last tells all that listeners show
        last = {event.job_id: event for event in events if event.job_id is not None}
        for event in events:
            _log.info(
                "%s",
                event.happening,
                extra={"job_id": event.job_id, "state": event.state, "step": event.step},
            )
        with self._lock:
            listeners = list(self._listeners)
        if not listeners:
            return
        products = self._store.products_of(last)
        for job_id, event in last.items():
            change = Change(event, self._job(job_id), tuple(products.get(job_id, ())))
            for listener in listeners:
                if listener.owner is None or listener.owner == event.owner:
                    listener.tell(change)

    def _job(self, job_id: int) -> Job | None:
        try:
            return self._store.job(job_id)
        except UnknownError:
            return None


async def until_closed(socket: WebSocket, serve: Callable[[], Awaitable[Any]]) -> None:
    """Serve a socket until the client says goodbye or `serve` returns. What the client sends is not looked at."""

    async def drain() -> None:
        while (await socket.receive())["type"] != "websocket.disconnect":
            pass

    async def quietly() -> None:
        with suppress(WebSocketDisconnect):
            await serve()

    tasks = [asyncio.ensure_future(drain()), asyncio.ensure_future(quietly())]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
