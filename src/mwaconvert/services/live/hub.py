"""The middle of a node: keeps its services up and hands messages on.

Nothing here waits for anybody: a service that is slow to start or stop is a matter of a thread, and a peer that is slow
to read loses messages, which are counted.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from mwaconvert.errors import Error, InputError, ResourceError
from mwaconvert.jobs.control.supervise import Service, Status, Supervisor
from mwaconvert.live.files import write_whole
from mwaconvert.live.settings import expanded, host_port
from mwaconvert.services.live.node import Name, Site, process_of, read_site, services_of
from mwaconvert.services.live.wire.keys import Peer, new_key, read_peers
from mwaconvert.services.live.wire.link import Link, call, client_tls, serve, server_tls
from mwaconvert.services.live.wire.messages import (
    MASTER,
    Beat,
    Body,
    Command,
    Correct,
    Message,
    Reload,
    Reply,
    Role,
    Switch,
)

_log = logging.getLogger(__name__)
KEY_VARIABLE = "MWACONVERT_LIVE_KEY"
OPERATOR = "operator"
#: a service that says nothing for so long is degraded, then killed and started anew, s
_SILENT_S, _HUNG_S = 5.0, 30.0
_CALL_AGAIN_S = 2.0
_END_S = 5.0


@dataclass(frozen=True)
class Heard:
    """The last beat of a service, and when on the monotonic clock."""

    beat: Beat
    at: float


class Hub:
    """Of one node.

    Parameters
    ----------
    site : of `read_site`

    Attributes
    ----------
    on_service : called with a service that has come up
    on_question : called with a question to this node and the peer that asks; gives the reply
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        self.key = new_key()
        self.links: dict[str, Link] = {}
        self.heard: dict[Name, Heard] = {}
        self.unrouted = 0
        self.peers: dict[str, Peer] = {}
        self._read_peers()
        self.supervisors = {name: self._supervisor(name) for name in {process_of(n) for n in self.services}}
        self.on_service: Callable[[Name], None] = lambda _: None
        self.on_question: Callable[[Command | Correct | Switch, Peer], Awaitable[Reply]]
        self.stopping = asyncio.Event()
        self._asked: dict[str, asyncio.Future[Reply]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self._server: asyncio.Server

    @property
    def services(self) -> tuple[Name, ...]:
        return services_of(self.site.settings)

    # -- life

    async def open(self) -> None:
        """Listen, and call the master node."""
        network = self.site.settings.network
        self._keep_operator_key()
        tls = server_tls(network.tls_cert, network.tls_key)
        self._server = await serve(network.host, network.port, self.site.node, self.peers, self._linked, tls)
        self.port = self._server.sockets[0].getsockname()[1]
        self.in_background(self._watch_over())
        if network.master:
            self.in_background(self._keep_uplink(*host_port(network.master)))

    def _keep_operator_key(self) -> None:
        """A full disk does not keep a node from starting; its operators wait for room."""
        try:
            write_whole(self.site.operator_key, self.peers[OPERATOR].key.hex(), mode=0o600)
        except OSError as error:
            _log.error("%s: %s; nobody can ask this node yet", self.site.operator_key, error.strerror)
            asyncio.get_running_loop().call_later(_CALL_AGAIN_S, self._keep_operator_key)

    async def close(self) -> None:
        """End all services, then all links."""
        self._server.close()
        await asyncio.gather(*(asyncio.to_thread(s.stop) for s in self.supervisors.values()))
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_END_S)
        for link in list(self.links.values()):
            await link.close()

    def in_background(self, job: Awaitable[None]) -> None:
        """Run a coroutine beside all else; an error in it is logged."""
        task = asyncio.ensure_future(self._logged(job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _logged(self, job: Awaitable[None]) -> None:
        try:
            await job
        except Error as error:
            _log.error("%s", error)
        except Exception:
            _log.exception("an error that nobody foresaw")

    async def reload(self) -> None:
        """Read settings and keys again; services go on, and read theirs.

        Raises
        ------
        Error
            The new ones cannot be used; the old ones stay.
        """
        site = await asyncio.to_thread(read_site, self.site.config)
        fixed = ("node", "role", "host", "port", "text_host", "state_dir")
        for name in fixed:
            if getattr(site.settings.network, name) != getattr(self.site.settings.network, name):
                raise InputError(f"network.{name}: changes with a restart of the master only")
        self.site = site
        self._read_peers()
        for name in self.services:
            self.supervisors.setdefault(process_of(name), self._supervisor(process_of(name)))
        self.tell_all(Reload())

    def _read_peers(self) -> None:
        network = self.site.settings.network
        found = read_peers(self._keys_path()) if network.keys else {}
        local = {f"{self.site.node}/{name}" for name in Name}
        for name in (OPERATOR, self.site.node, *local):
            found.pop(name, None)
        operator = self.peers.get(OPERATOR) or Peer(OPERATOR, new_key(), Role.ARM)
        self.peers.clear()
        self.peers.update(found)
        self.peers[OPERATOR] = operator
        self.peers.update({name: Peer(name, self.key, Role.NODE) for name in local})

    def _keys_path(self) -> Path:
        return Path(expanded(self.site.settings.network.keys))

    # -- services

    def _supervisor(self, name: Name) -> Supervisor:
        argv = [sys.executable, "-m", "mwaconvert.services.live.processes.run", name.value]
        if self.site.config is not None:
            argv += ["--config", str(self.site.config.absolute())]
        service = Service(
            name=name.value,
            argv=argv,
            log_path=self.site.folder("log") / f"{name.value}.log",
            check=lambda: self._trouble(name),
            stop_s=self.site.settings.darc_master.stop_timeout,
        )
        return Supervisor(service, lambda status: self._changed(name, status))

    def start(self, name: Name) -> None:
        """Start a service, unless it runs."""
        supervisor = self.supervisors[process_of(name)]
        env = {**os.environ, KEY_VARIABLE: self.key.hex(), "MWACONVERT_LIVE_PORT": str(self.port)}
        supervisor.service = replace(supervisor.service, env=env)
        supervisor.start()

    def health(self, name: Name) -> Status:
        return self.supervisors[process_of(name)].status

    def _changed(self, name: Name, status: Status) -> None:
        _log.info("%s: %s%s", name.value, status.health.value, f": {status.reason}" if status.reason else "")

    def _trouble(self, name: Name) -> str | None:
        """What the supervisor asks: None before the first beat of this process."""
        heard = self.heard.get(name)
        if heard is None:
            return None
        silent_s = time.monotonic() - heard.at
        return heard.beat.trouble if silent_s < _SILENT_S else f"silent for {silent_s:.0f} s"

    async def _watch_over(self) -> None:
        """End what hangs; its supervisor starts it anew."""
        while True:
            await asyncio.sleep(1.0)
            now = time.monotonic()
            for name, heard in list(self.heard.items()):
                pid = self.health(name).pid
                if pid is not None and now - heard.at > _HUNG_S:
                    _log.error("%s: silent for %.0f s: killed", name.value, now - heard.at)
                    self.heard.pop(name)
                    with suppress(ProcessLookupError):
                        os.killpg(pid, signal.SIGKILL)

    # -- messages

    async def _linked(self, link: Link) -> None:
        name = link.peer.name
        old = self.links.get(name)
        if link.peer.role is Role.NODE:
            self.links[name] = link
            if old is not None:
                await old.close()
            service = self._service_of(name)
            if service is not None:
                self.on_service(service)
        try:
            while (message := await link.receive()) is not None:
                self._take(message, link)
        except Error as error:
            _log.warning("link of %s closed: %s", name, error)
        finally:
            if self.links.get(name) is link:
                del self.links[name]
                service = self._service_of(name)
                if service is not None:
                    self.heard.pop(service, None)

    def _service_of(self, peer: str) -> Name | None:
        node, _, service = peer.partition("/")
        return Name(service) if node == self.site.node and service else None

    def _take(self, message: Message, link: Link) -> None:
        peer = link.peer
        is_uplink = peer.name.startswith("->")
        own = message.sender == peer.name or message.sender.startswith(f"{peer.name}/")
        if not own and not is_uplink:
            _log.warning("%s speaks as %s: left out", peer.name, message.sender)
            return
        if message.to == self.site.node:
            self._mine(message, link)
        elif peer.role is Role.NODE:
            self.route(message)

    def _mine(self, message: Message, link: Link) -> None:
        match message.body:
            case Beat():
                service = self._service_of(message.sender)
                if service is not None:
                    self.heard[service] = Heard(message.body, time.monotonic())
            case Reply():
                future = self._asked.pop(message.id, None)
                if future is not None and not future.done():
                    future.set_result(message.body)
            case Command() | Correct() | Switch():
                self.in_background(self._answer(message, link))
            case _:
                _log.warning("%s: what it sent is not for a master", message.sender)

    async def _answer(self, message: Message, link: Link) -> None:
        body = message.body
        assert isinstance(body, Command | Correct | Switch)
        reply = await self.on_question(body, link.peer)
        link.send(Message(sender=self.site.node, to=message.sender, body=reply, id=message.id))

    def route(self, message: Message) -> bool:
        """Hand a message on; False if nobody is there."""
        node, _, service = message.to.partition("/")
        if node == MASTER and self.site.settings.network.role != "worker":
            node = self.site.node
        if node == self.site.node:
            link = self.links.get(f"{node}/{service}")
        else:
            link = self.links.get(node) or self.links.get("->")
        if link is None or not link.send(message):
            self.unrouted += 1
            return False
        return True

    def tell(self, service: Name, body: Body, task_id: str = "") -> bool:
        to = f"{self.site.node}/{process_of(service).value}"
        return self.route(Message(sender=self.site.node, to=to, body=body, task_id=task_id))

    def tell_all(self, body: Body, task_id: str = "") -> None:
        for service in self.supervisors:
            if self.links.get(f"{self.site.node}/{service.value}"):
                self.tell(service, body, task_id)

    async def ask(self, service: Name, body: Body, timeout_s: float | None = None) -> Reply:
        """Raises ResourceError without an answer in time; None: that of the settings."""
        number = secrets.token_hex(8)
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._asked[number] = future
        to = f"{self.site.node}/{service.value}"
        timeout_s = timeout_s or self.site.settings.darc_master.control_timeout
        try:
            if not self.route(Message(sender=self.site.node, to=to, body=body, id=number)):
                raise ResourceError(f"{service.value} service is not running")
            return await asyncio.wait_for(future, timeout_s)
        except TimeoutError:
            raise ResourceError(
                f"Command sent to service, but no reply received within {timeout_s:g} seconds"
            ) from None
        finally:
            self._asked.pop(number, None)

    async def _keep_uplink(self, host: str, port: int) -> None:
        """The link to the master node, made again whenever it breaks."""
        network = self.site.settings.network
        own = self.peers_of_nodes().get(self.site.node)
        if own is None:
            raise InputError(
                f"network.keys: has no key of {self.site.node}, by which the master node knows it"
            )
        said = ""
        while not self.stopping.is_set():
            try:
                link = await call(host, port, self.site.node, own.key, tls=client_tls(network.tls_ca))
            except ResourceError as error:
                if str(error) != said:
                    said = str(error)
                    _log.warning("no link to the master node: %s", error)
            else:
                said = ""
                link.peer = Peer("->", own.key, Role.NODE)
                await self._linked(link)
                await link.close()
            await asyncio.sleep(_CALL_AGAIN_S)

    def peers_of_nodes(self) -> dict[str, Peer]:
        """As the file of keys has them, this node too."""
        return read_peers(self._keys_path()) if self.site.settings.network.keys else {}
