"""The master of a node: its services, its observations, and what operators ask of it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from mwaconvert.services.live.commands import Commands
from mwaconvert.services.live.hub import Hub
from mwaconvert.services.live.node import Site
from mwaconvert.services.live.observations import Observations
from mwaconvert.services.live.wire.keys import Peer
from mwaconvert.services.live.wire.messages import Command, Correct, Reply, Role, Switch
from mwaconvert.services.live.wire.text_port import serve_text


class Master:
    """One node.

    Parameters
    ----------
    site : of `read_site`
    """

    def __init__(self, site: Site) -> None:
        self.hub = Hub(site)
        self.observations = Observations(self.hub)
        self.commands = Commands(self.hub, self.observations)
        self.hub.on_service = self.observations.tell
        self.hub.on_question = self._answer
        self.text_port = 0

    async def run(self, on_ready: Callable[[Master], None], *, start: bool) -> None:
        """Until it is told to stop; all services have ended then."""
        settings = self.hub.site.settings
        await self.hub.open()
        try:
            text = await serve_text(settings.network.text_host, settings.darc_master.port, self._answer_text)
            self.text_port = text.sockets[0].getsockname()[1]
            self.observations.resume()
            if start:
                for name in self.hub.services:
                    self.hub.start(name)
            on_ready(self)
            await self.hub.stopping.wait()
            text.close()
        finally:
            await self.hub.close()

    async def _answer(self, question: Command | Correct | Switch, peer: Peer) -> Reply:
        if isinstance(question, Switch):
            return await self.commands.switch(question, peer.role)
        if isinstance(question, Correct):
            return await self.commands.correct(question, peer.role)
        return await self.commands.run(question, peer.role, peer.name)

    async def _answer_text(self, command: Command) -> Reply:
        role = Role(self.hub.site.settings.network.text_role)
        return await self.commands.run(command, role, "text port")


async def run_master(site: Site, on_ready: Callable[[Master], None], *, start: bool = True) -> None:
    """A node until SIGTERM, SIGINT or stop_master.

    Parameters
    ----------
    on_ready : called when it listens
    start : begin with all services
    """
    master = Master(site)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, master.hub.stopping.set)
    await master.run(on_ready, start=start)
