"""The text protocol of old clients: one request a connection, a dictionary as Python writes it; so is the reply.

    {'service': 'all', 'command': 'status'}  ->  {'status': "Success", 'message': {...}}

Nobody says who he is, so the port has the role that the settings give it, and a host of its own.
"""

from __future__ import annotations

import ast
import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from mwaconvert.errors import FormatError
from mwaconvert.services.live.wire.messages import LARGEST, Command, Reply

#: a request must have come by then
_REQUEST_S = 5.0
_REPLY_S = 10.0
#: connections at once
_MOST = 200
_KEYS = ("service", "command", "payload")
_TEXT = r"""'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*\""""
_ITEM = re.compile(rf"\s*({_TEXT})\s*:\s*({_TEXT}|None)\s*")


def parse_request(text: str) -> Command:
    """A request; names of keys that nobody knows are left alone, as old masters do.

    Raises
    ------
    FormatError

    Examples
    --------
    >>> parse_request("{'service':'None', 'command':'status'}").command
    'status'
    """
    found: dict[str, str | None] = {}
    body = text.strip()
    if not (body.startswith("{") and body.endswith("}")):
        raise FormatError("Cannot parse message")
    place, end = 1, len(body) - 1
    while body[place:end].strip():
        item = _ITEM.match(body, place, end)
        if item is None:
            raise FormatError("Cannot parse message")
        place = item.end()
        if place < end:
            if body[place] != ",":
                raise FormatError("Cannot parse message")
            place += 1
        try:
            key, value = (ast.literal_eval(part) for part in item.groups())
        except (ValueError, SyntaxError):
            raise FormatError("Cannot parse message") from None
        found[key] = value
    if found.get("command") in (None, "None", ""):
        raise FormatError("No command specified")
    facts = {key: found[key] for key in _KEYS if found.get(key) not in (None, "None", "")}
    try:
        return Command(**facts)  # type: ignore[arg-type]
    except ValueError:
        raise FormatError("Cannot parse message") from None


def reply_text(reply: Reply) -> str:
    """As old masters write it, also where a text holds quotation marks."""
    message: Any = reply.message
    if isinstance(message, str) and not set(message) & set('"\\\n'):
        return f"{{'status': \"{reply.status}\", 'message': \"{message}\"}}"
    return f"{{'status': \"{reply.status}\", 'message': {message!r}}}"


async def serve_text(
    host: str, port: int, on_command: Callable[[Command], Awaitable[Reply]]
) -> asyncio.Server:
    """Answer old clients. A slow client costs a connection, and nobody else anything."""
    n_open = 0

    async def taken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal n_open
        n_open += 1
        try:
            if n_open > _MOST:
                reply = Reply(status="Error", message={"error": "Too many connections"})
            else:
                reply = await _answer(reader, on_command)
            writer.write(reply_text(reply).encode())
            async with asyncio.timeout(_REPLY_S):
                await writer.drain()
        except (OSError, TimeoutError):
            pass
        finally:
            n_open -= 1
            writer.close()
            with suppress(OSError, TimeoutError):
                await asyncio.wait_for(writer.wait_closed(), 1.0)

    return await asyncio.start_server(taken, host, port)


async def _answer(reader: asyncio.StreamReader, on_command: Callable[[Command], Awaitable[Reply]]) -> Reply:
    try:
        command = await _request(reader)
    except FormatError as error:
        return Reply(status="Error", message={"error": str(error)})
    return await on_command(command)


async def _request(reader: asyncio.StreamReader) -> Command:
    """Old clients do not say where a request ends: it does where it can be read."""
    data = b""
    with suppress(TimeoutError):
        async with asyncio.timeout(_REQUEST_S):
            while more := await reader.read(1 << 16):
                data += more
                if len(data) > LARGEST:
                    raise FormatError(f"Message too long: more than {LARGEST} bytes")
                if data.rstrip().endswith(b"}"):
                    with suppress(FormatError):
                        return parse_request(data.decode("utf-8", "replace"))
    return parse_request(data.decode("utf-8", "replace"))
