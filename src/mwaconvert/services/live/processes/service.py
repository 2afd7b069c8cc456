"""What all services have in common: a link to the master of the node, a beat every second, an end when told."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections import deque
from typing import Any, ClassVar

from mwaconvert.errors import Error, ResourceError
from mwaconvert.services.live.node import KEEP_S, Name, Site, read_site
from mwaconvert.services.live.wire.link import Link, call
from mwaconvert.services.live.wire.messages import (
    Beat,
    Body,
    Correct,
    Done,
    Message,
    Reload,
    Reply,
    Send,
    StartObservation,
    StopObservation,
    Switch,
)

_log = logging.getLogger(__name__)
_BEAT_S = 1.0
_CALL_AGAIN_S = 0.3


class Service:
    """A process of a node. A subclass does its work in `work` and in what messages call.

    Attributes
    ----------
    trouble : by what it is about; the first is said to the master, and the service is degraded as long as there is one
    numbers : counts and states for pages, metrics and get_attr
    recent : the latest things that happened, for the page
    """

    name: ClassVar[Name]
    #: what can wait runs with less of the processors, so that triggers do not
    niceness: ClassVar[int] = 0

    def __init__(self, site: Site) -> None:
        self.site = site
        self.trouble: dict[str, str] = {}
        self.numbers: dict[str, float | int | str] = {}
        self.recent: deque[dict[str, Any]] = deque(maxlen=50)
        self.stopping = asyncio.Event()
        self._link: Link | None = None
        self._starting = asyncio.Lock()
        self._not_begun: dict[str, StartObservation] = {}  # what went wrong may pass, as a full disk does

    # -- what subclasses define

    async def work(self) -> None:
        """Runs until `stopping` is set."""
        await self.stopping.wait()

    async def on_start(self, start: StartObservation) -> None:
        """An observation begins; also one that is known, after the link broke."""

    async def on_stop(self, task_id: str, *, abort: bool) -> None:
        """An observation ends."""

    async def on_send(self, message: Message, send: Send) -> None:
        """A trigger is to go out."""

    async def on_done(self, message: Message, done: Done) -> None:
        """A trigger went out, or will not."""

    async def on_switch(self, switch: Switch) -> Reply:
        """A way out is switched."""
        return Reply(status="Error", message=f"{self.name.value} sends nothing ({switch.way})")

    async def on_correct(self, message: Message, correct: Correct) -> None:
        """An event is to be taken back, or updated."""
        self.post(
            message.sender,
            Reply(status="Error", message=f"{self.name.value} sends no events: {correct.event}"),
            id=message.id,
        )

    async def on_reload(self) -> None:
        """Settings were read again."""

    # -- life

    async def run(self, port: int, key: bytes) -> None:
        """Until SIGTERM."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        talking = asyncio.create_task(self._talk(port, key))
        beating = asyncio.create_task(self._beat())
        working = asyncio.create_task(self.work())
        done, _ = await asyncio.wait(
            [talking, beating, working, asyncio.create_task(self.stopping.wait())],
            return_when=asyncio.FIRST_COMPLETED,
        )
        self.stopping.set()
        for task in done:
            task.result()  # an error nobody foresaw ends the process; the supervisor starts it anew
        async with asyncio.timeout(self.site.settings.darc_master.stop_timeout):
            await working
        for task in (talking, beating):
            task.cancel()
        if self._link is not None:
            await self._link.close()

    def post(self, to: str, body: Body, *, task_id: str = "", id: str = "") -> bool:
        """Send a message by way of the master; False if there is no link, and who must be sure tries again."""
        me = f"{self.site.node}/{self.name.value}"
        return self._link is not None and self._link.send(
            Message(sender=me, to=to, body=body, task_id=task_id, id=id)
        )

    async def _talk(self, port: int, key: bytes) -> None:
        network = self.site.settings.network
        name = f"{self.site.node}/{self.name.value}"
        tls = None
        if network.tls_cert:  # the master's own certificate, of whatever name: the key says who it is
            import ssl

            tls = ssl.create_default_context(cafile=network.tls_cert)
            tls.check_hostname = False
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(network.host, network.host)
        while not self.stopping.is_set():
            try:
                self._link = await call(host, port, name, key, tls=tls)
                self._send_beat()
                while (message := await self._link.receive()) is not None:
                    await self._take(message)
            except ResourceError as error:
                _log.warning("%s", error)
            except Error as error:
                _log.error("link closed: %s", error)
            if self._link is not None:
                await self._link.close()
                self._link = None
            await asyncio.sleep(_CALL_AGAIN_S)

    async def _take(self, message: Message) -> None:
        """An error in one message is said and costs nothing but itself."""
        try:
            match message.body:
                case StartObservation():
                    await self._start(message.body)
                case StopObservation():
                    async with self._starting:
                        self._not_begun.pop(message.task_id, None)
                        await self.on_stop(message.task_id, abort=message.body.abort)
                case Send():
                    await self.on_send(message, message.body)
                case Done():
                    await self.on_done(message, message.body)
                case Switch():
                    self.post(message.sender, await self.on_switch(message.body), id=message.id)
                case Correct():
                    await self.on_correct(message, message.body)
                case Reload():
                    self.site = await asyncio.to_thread(read_site, self.site.config)
                    await self.on_reload()
                case _:
                    _log.warning("%s: left out: a message %s", message.sender, message.body.kind)
        except (Error, OSError) as error:
            _log.error("%s of %s: %s", message.body.kind, message.task_id or message.sender, error)
            self.trouble[message.body.kind] = str(error)
        else:
            self.trouble.pop(message.body.kind, None)

    async def _start(self, start: StartObservation, *, again: bool = False) -> None:
        task_id = start.observation.task_id
        async with self._starting:
            if again and task_id not in self._not_begun:  # stopped meanwhile
                return
            try:
                await self.on_start(start)
            except (Error, OSError):
                self._not_begun[task_id] = start
                raise
            self._not_begun.pop(task_id, None)

    async def _start_again(self) -> None:
        """What could not begin, until the master forgets it; that it could not was logged once."""
        for task_id, start in list(self._not_begun.items()):
            if time.time() > start.observation.end_s + KEEP_S:
                self._not_begun.pop(task_id, None)
                continue
            try:
                await self._start(start, again=True)
            except (Error, OSError) as error:
                self.trouble["start"] = str(error)
        if not self._not_begun:
            self.trouble.pop("start", None)

    async def _beat(self) -> None:
        while True:
            self._send_beat()
            await asyncio.sleep(_BEAT_S)
            await self._start_again()

    def _send_beat(self) -> None:
        trouble = next(iter(self.trouble.values()), "")
        recent = tuple(list(self.recent)[-20:])
        self.post(self.site.node, Beat(trouble=trouble[:500], numbers=dict(self.numbers), recent=recent))


def run_service(service: Service) -> None:
    """The process of a service; port and key of its master are in the environment."""
    port, key = int(os.environ["MWACONVERT_LIVE_PORT"]), bytes.fromhex(os.environ.pop("MWACONVERT_LIVE_KEY"))
    started = time.monotonic()
    os.nice(service.niceness)
    asyncio.run(service.run(port, key))
    _log.info("ended after %.0f s", time.monotonic() - started)
