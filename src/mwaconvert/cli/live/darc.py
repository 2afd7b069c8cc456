"""The command `darc`: what the old one did, to old masters and ours."""

from __future__ import annotations

import ast
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from mwaconvert import __version__
from mwaconvert.cli.live.common import config_path
from mwaconvert.cli.verbs import SETTINGS
from mwaconvert.errors import Error

_SERVICE = ("status", "start", "stop", "restart", "get_attr")
_MASTER = (
    *(
        "start_observation",
        "stop_observation",
        "abort_observation",
        "stop_master",
        "edit",
        "reload",
        "get_attr",
    ),
    *(f"{way}_{what}" for way in ("lofar", "voevent") for what in ("status", "enable", "disable")),
)
_LARGEST = 1 << 20


@click.command(context_settings=SETTINGS)
@click.option("--service", help="Which one, or all.")
@click.option("--host", default="localhost", show_default=True, help="Where the master is.")
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Its port for text; default: of the configuration."
)
@click.option("--timeout", type=click.FloatRange(0.1, 3600), default=10, show_default=True, help="Seconds.")
@click.option("--parset", metavar="FILE", help="Of the observation; goes before --config.")
@click.option("--config", metavar="FILE", help="Of the observation of a node.")
@click.option("--version", is_flag=True, help="Print the version.")
@click.argument("words", nargs=-1, metavar="COMMAND [ATTRIBUTE]")
def darc(
    service: str | None,
    host: str,
    port: int | None,
    timeout: float,
    parset: str | None,
    config: str | None,
    version: bool,
    words: tuple[str, ...],
) -> None:
    """Ask the master of a node for something: status, start, stop, restart, get_attr NAME of a service or all;
    start_observation, stop_observation, abort_observation, lofar_ and voevent_ with status, enable and disable, reload,
    stop_master, edit."""
    if version:
        click.echo(__version__)
        return
    command = words[0] if words else ""
    if command not in (*_MASTER, *_SERVICE):
        raise click.UsageError(
            f"expected a command, found {command!r}: {', '.join((*_MASTER, *_SERVICE[:-1]))}"
        )
    if len(words) > (2 if command == "get_attr" else 1):
        raise click.UsageError(f"{command}: too many words")
    if service is None and command not in _MASTER:
        raise click.UsageError(f"{command}: expected --service NAME, or --service all")
    if command == "edit":
        sys.exit(_edit())
    port = port or _port()
    payload = parset or config
    request = {"service": str(service), "command": " ".join(words)} | (
        {"payload": payload} if payload else {}
    )
    sys.exit(0 if _ask(host, port, request, timeout) else 1)


def _edit() -> int:
    path = config_path(None) or Path.home() / "darc" / "config.yaml"
    return subprocess.call([*os.environ.get("EDITOR", "vim").split(), str(path)])


def _port() -> int:
    from mwaconvert.live.settings import Settings, read_settings

    path = config_path(None)
    return (read_settings(path) if path else Settings()).darc_master.port


def _ask(host: str, port: int, request: dict[str, str], timeout_s: float) -> bool:
    """Ask, and print the answer; whether there was one that says Success or Warning."""
    data = b""
    try:
        with socket.create_connection((host, port), timeout_s) as link:
            link.sendall(repr(request).encode())
            while len(data) < _LARGEST and (more := link.recv(1 << 16)):
                data += more
        reply: Any = ast.literal_eval(data.decode())
        assert isinstance(reply, dict)
    except TimeoutError:
        click.echo("Did not receive reply before timeout", err=True)
        return False
    except OSError as error:
        click.echo(f"Failed to connect to DARC master: {error}", err=True)
        return False
    except (ValueError, SyntaxError, AssertionError, RecursionError, MemoryError):
        click.echo(f"Failed to parse message: {data[:200]!r}", err=True)
        return False
    for key, value in reply.items():
        click.echo(f"{key}: {value}")
    return reply.get("status") != "Error"


def main() -> None:
    """The console script."""
    try:
        darc(prog_name="darc")
    except Error as error:
        click.echo(str(error), err=True)
        sys.exit(2)
