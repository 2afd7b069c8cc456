"""The other end of a node's port: commands of operators, polls of status pages."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from typing import Any

from mwaconvert.errors import Error, ResourceError
from mwaconvert.live.settings import host_port
from mwaconvert.services.live.hub import OPERATOR
from mwaconvert.services.live.node import Site
from mwaconvert.services.live.wire.keys import Peer
from mwaconvert.services.live.wire.link import call, client_tls
from mwaconvert.services.live.wire.messages import Command, Correct, Message, Reply, Role, Switch


def own_peer(site: Site) -> Peer:
    """As whom this user speaks to the node of this machine: the key that its master left for its user.

    Raises
    ------
    ResourceError
        No master runs, or it is somebody else's.
    """
    try:
        key = bytes.fromhex(site.operator_key.read_text())
    except (OSError, ValueError) as error:
        words = error.strerror if isinstance(error, OSError) else "is not a key"
        raise ResourceError(
            f"{site.operator_key}: {words}; start a master with mwaconvert live master, or ask its user"
        ) from None
    return Peer(OPERATOR, key, Role.ARM)


async def ask_node(
    host: str,
    port: int,
    peer: Peer,
    body: Command | Correct | Switch,
    *,
    tls_ca: str = "",
    timeout_s: float = 10.0,
) -> Reply:
    """One question to a master.

    Raises
    ------
    ResourceError
        No answer in time.
    """
    number = secrets.token_hex(8)
    try:
        async with asyncio.timeout(timeout_s):
            link = await call(host, port, peer.name, peer.key, tls=client_tls(tls_ca), timeout_s=timeout_s)
            try:
                link.send(Message(sender=peer.name, to=link.peer.name, body=body, id=number))
                while (message := await link.receive()) is not None:
                    if message.id == number and isinstance(message.body, Reply):
                        return message.body
            finally:
                await link.close()
    except TimeoutError:
        raise ResourceError(f"{host}:{port}: no answer in {timeout_s:g} s") from None
    raise ResourceError(f"{host}:{port}: the link broke")


def ask(site: Site, body: Command | Correct | Switch, *, timeout_s: float = 10.0) -> Reply:
    """A question to the node of this machine. Raises ResourceError."""
    network = site.settings.network
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(network.host, network.host)
    return asyncio.run(
        ask_node(host, network.port, own_peer(site), body, tls_ca=network.tls_ca, timeout_s=timeout_s)
    )


async def poll(
    nodes: Mapping[str, str], peer: Peer, *, tls_ca: str = "", timeout_s: float = 1.5
) -> dict[str, dict[str, Any]]:
    """How all nodes are, asked at the same time: the answer of each, or {"error": why there is none}.

    Parameters
    ----------
    nodes : HOST:PORT by name
    """

    async def one(where: str) -> dict[str, Any]:
        try:
            host, port = host_port(where)
            reply = await ask_node(
                host, port, peer, Command(command="node_status"), tls_ca=tls_ca, timeout_s=timeout_s
            )
        except Error as error:
            return {"error": str(error)}
        return reply.message if isinstance(reply.message, dict) else {"error": reply.message}

    found = await asyncio.gather(*(one(where) for where in nodes.values()))
    return dict(zip(nodes, found, strict=True))
