"""Links between services and nodes: both ends prove their key, and each message carries a proof of its place.

On the wire: lines. The one that is called says a number; the caller says its name, a number and a proof; it gets a proof
back. From then on a line is a proof, a blank and a message. TLS may lie beneath; it hides what is said, the keys tell
who says it.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from mwaconvert.errors import Error, FormatError, ResourceError
from mwaconvert.services.live.wire.keys import Peer, new_key, proof
from mwaconvert.services.live.wire.messages import LARGEST, Message

_PROTOCOL = "mwaconvert-live 1"
_PROOF = 64  # digits
_HELLO_S = 10.0
_SEND_S = 10.0
#: messages that wait for a slow peer; then they are dropped, and counted
_WAITING = 1000
_LINE = LARGEST + _PROOF + 2


class Link:
    """One connection to a peer that has proved its key; `send` never waits."""

    def __init__(
        self,
        peer: Peer,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        key: bytes,
        *,
        caller: bool,
    ) -> None:
        self.peer, self.dropped = peer, 0
        self._reader, self._writer, self._key = reader, writer, key
        self._mine, self._theirs = ("caller", "called") if caller else ("called", "caller")
        self._n_sent = self._n_received = 0
        self._waiting: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._pump = asyncio.create_task(self._send_waiting())

    def send(self, message: Message) -> bool:
        """Whether it will be sent: False if the peer is too slow or has gone."""
        if len(self._waiting) >= _WAITING or self._pump.done():
            self.dropped += 1
            return False
        self._waiting.append(message.encoded())
        self._wake.set()
        return True

    async def receive(self) -> Message | None:
        """The next message; None when the peer has gone.

        Raises
        ------
        FormatError
            What no peer sends; the link is of no more use.
        """
        try:
            line = await self._reader.readuntil(b"\n")
        except (asyncio.IncompleteReadError, OSError):
            return None
        except asyncio.LimitOverrunError:
            raise FormatError(f"{self.peer.name}: a message of more than {LARGEST} bytes") from None
        data = line[_PROOF + 1 : -1]
        wanted = self._proof(self._theirs, self._n_received, data)
        if not hmac.compare_digest(wanted, line[:_PROOF]):
            raise FormatError(f"{self.peer.name}: a message whose proof is wrong")
        self._n_received += 1
        return Message.decoded(data)

    async def close(self) -> None:
        self._pump.cancel()
        await asyncio.wait([self._pump])
        await _hang_up(self._writer)

    async def flush(self, timeout_s: float = 2.0) -> None:
        """Wait until all that waits was handed over."""
        async with asyncio.timeout(timeout_s):
            while self._waiting and not self._pump.done():
                await asyncio.sleep(0.005)
            await self._writer.drain()

    def _proof(self, side: str, number: int, data: bytes) -> bytes:
        return hmac.digest(self._key, f"{side} {number} ".encode() + data, "sha256").hex().encode()

    async def _send_waiting(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._waiting:
                    data = self._waiting[0]
                    self._writer.write(self._proof(self._mine, self._n_sent, data) + b" " + data + b"\n")
                    self._n_sent += 1
                    async with asyncio.timeout(_SEND_S):
                        await self._writer.drain()
                    self._waiting.popleft()
        except (OSError, TimeoutError):
            self._writer.close()


async def _read_facts(reader: asyncio.StreamReader) -> dict[str, Any]:
    line = await reader.readuntil(b"\n")
    facts = json.loads(line) if len(line) < 4096 else None
    if not isinstance(facts, dict):
        raise FormatError("no greeting")
    return facts


def _line(**facts: str) -> bytes:
    return json.dumps(facts).encode() + b"\n"


async def call(
    host: str,
    port: int,
    name: str,
    key: bytes,
    *,
    tls: ssl.SSLContext | None = None,
    timeout_s: float = _HELLO_S,
) -> Link:
    """Connect to a node.

    Parameters
    ----------
    name, key : of this side

    Raises
    ------
    ResourceError
        Not reached, not known there, or it does not know our key.
    """
    writer = None
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, port, ssl=tls, limit=_LINE)
            theirs = str((await _read_facts(reader))["nonce"])
            mine = secrets.token_hex(16)
            writer.write(_line(name=name, nonce=mine, proof=proof(key, "caller", theirs, mine, name)))
            answer = await _read_facts(reader)
        if "error" in answer:
            raise ResourceError(f"{host}:{port}: {answer['error']}")
        if not hmac.compare_digest(str(answer["proof"]), proof(key, "called", theirs, mine, name)):
            raise ResourceError(
                f"{host}:{port}: it does not know the key of {name}; somebody else answers there"
            )
    except (OSError, ValueError, KeyError, TypeError, FormatError, asyncio.IncompleteReadError) as error:
        if writer is not None:
            await _hang_up(writer)
        words = "no answer in time" if isinstance(error, TimeoutError) else str(error)
        raise ResourceError(f"{host}:{port}: {words}") from None
    except (ResourceError, asyncio.CancelledError):
        if writer is not None:
            await _hang_up(writer)
        raise
    from mwaconvert.services.live.wire.messages import Role

    called = Peer(str(answer.get("name", f"{host}:{port}")), key, Role.NODE)
    return Link(called, reader, writer, _session(key, theirs, mine), caller=True)


async def _hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError, TimeoutError):
        await asyncio.wait_for(writer.wait_closed(), 1.0)


def _session(key: bytes, theirs: str, mine: str) -> bytes:
    return bytes.fromhex(proof(key, "session", theirs, mine))


async def answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str, peers: Mapping[str, Peer]
) -> Link | None:
    """The link of one who calls; None, and the connection closed, if it is not known."""
    try:
        async with asyncio.timeout(_HELLO_S):
            nonce = secrets.token_hex(16)
            writer.write(_line(protocol=_PROTOCOL, nonce=nonce))
            facts = await _read_facts(reader)
            theirs, who = str(facts["nonce"]), str(facts["name"])
            peer = peers.get(who)
            key = peer.key if peer else new_key()
            known = hmac.compare_digest(str(facts["proof"]), proof(key, "caller", nonce, theirs, who))
            if not known or peer is None:
                writer.write(_line(error=f"{who[:50]}: not known here, or another key"))
                await writer.drain()
                writer.close()
                return None
            writer.write(_line(name=name, proof=proof(key, "called", nonce, theirs, who)))
            await writer.drain()
    except (OSError, ValueError, KeyError, TypeError, RecursionError, Error, asyncio.IncompleteReadError):
        writer.close()
        return None
    except asyncio.LimitOverrunError:
        writer.close()
        return None
    return Link(peer, reader, writer, _session(key, nonce, theirs), caller=False)


async def serve(
    host: str,
    port: int,
    name: str,
    peers: Mapping[str, Peer],
    on_link: Callable[[Link], Awaitable[None]],
    tls: ssl.SSLContext | None = None,
) -> asyncio.Server:
    """Take calls; `on_link` is run for each peer that has proved its key, and the link closed after it."""

    async def taken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = await answer(reader, writer, name, peers)
        if link is not None:
            try:
                await on_link(link)
            finally:
                await link.close()

    return await asyncio.start_server(taken, host, port, ssl=tls, limit=_LINE)


def server_tls(cert: str, key: str) -> ssl.SSLContext | None:
    """None without a certificate."""
    if not cert:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    return context


def client_tls(ca: str) -> ssl.SSLContext | None:
    """None without an authority: then links are in the clear, with proofs."""
    return ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=ca) if ca else None
