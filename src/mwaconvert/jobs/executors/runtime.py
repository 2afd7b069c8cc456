"""A runtime of containers on its socket, and logs that come from it."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from mwaconvert.errors import ResourceError
from mwaconvert.extras import need
from mwaconvert.jobs.control.work import Context
from mwaconvert.jobs.executors import logs
from mwaconvert.jobs.executors.executor import Way

Value = TypeVar("Value")
#: of an id in the store
ID_LETTERS = 32
#: of containers and services that are made here
LABEL = "mwaconvert.job"
_ANSWER_S = 60
_PATIENCE_S = 600.0
_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d) ")


class Runtime:
    """A runtime on a socket.

    Parameters
    ----------
    url : of its socket, unix:///...
    """

    def __init__(self, way: Way, url: str) -> None:
        self.way = way
        self.url = url
        self._docker: Any = None
        self._client: Any = None

    @property
    def docker(self) -> Any:
        """The library."""
        if self._docker is None:
            self._docker = need("docker", "containers", "jobs in containers")
        return self._docker

    def ask(self, question: Callable[[Any], Value]) -> Value:
        """Ask the runtime.

        Raises
        ------
        ResourceError : it does not answer
        """
        import requests

        try:
            if self._client is None:
                _see_socket(self.url)
                self._client = self.docker.DockerClient(base_url=self.url, version="auto", timeout=_ANSWER_S)
            return question(self._client)
        except (self.docker.errors.NotFound, self.docker.errors.APIError):
            raise
        except (self.docker.errors.DockerException, requests.RequestException, OSError) as error:
            self._client = None
            raise ResourceError(
                f"{self.way} does not answer at {self.url}; see whether it is installed and runs ({short(error)})"
            ) from error

    def ask_patiently(self, context: Context, question: Callable[[Any], Value]) -> Value:
        """Ask, and wait for a runtime that is started again meanwhile."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return self.ask(question)
            except ResourceError:
                if time.monotonic() > deadline or context.cancelled.wait(1.0):
                    raise


class GrowingLog:
    """A log that is filled from the runtime, whose lines have their times already."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines, _ = logs.read([path])
        self._last = lines.rstrip(b"\n").rpartition(b"\n")[2][:30]

    def follow(self, lines_since: Callable[[int | None], bytes]) -> None:
        """Take in what is new.

        Parameters
        ----------
        lines_since
            Lines with their times, from a second on (since 1970), or all.
        """
        since = None
        if self._last:
            whole = datetime.fromisoformat(self._last[:19].decode()).replace(tzinfo=UTC)
            since = int(whole.timestamp())
        found = lines_since(since)
        lines = [
            line for raw in found.split(b"\n") if raw.strip() and (line := docker_line(raw))[:30] > self._last
        ]
        if lines:
            self._last = lines[-1][:30]
            logs.append(self._path, b"".join(line + b"\n" for line in lines))


def docker_line(raw: bytes) -> bytes:
    """A line with its time in UTC and nanoseconds, whichever way the runtime writes times.

    Examples
    --------
    >>> docker_line(b"2021-04-21T19:05:17.88+02:00 baseband")
    b'2021-04-21T17:05:17.880000000Z baseband'
    """
    found = _STAMP.match(raw)
    if found is None:
        return logs.stamped(time.time_ns()) + raw
    moment = datetime.fromisoformat((found[1] + found[3].replace(b"Z", b"+00:00")).decode()).astimezone(UTC)
    fraction = (found[2] or b"").ljust(9, b"0")
    return f"{moment:%Y-%m-%dT%H:%M:%S}".encode() + b"." + fraction + b"Z " + raw[found.end() :]


def _see_socket(url: str) -> None:
    """Raise OSError if nobody listens on a socket of this machine; the library leaves its own one open then."""
    path = url.removeprefix("unix://")
    if path != url:
        with socket.socket(socket.AF_UNIX) as tried:
            tried.connect(path)


def short(error: Exception) -> str:
    """What a runtime said, not too long."""
    return str(getattr(error, "explanation", None) or error).strip()[:300]
