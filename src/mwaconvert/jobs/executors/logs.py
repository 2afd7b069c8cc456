"""Logs of jobs: each line begins with the time at which it came, as Docker writes it.

2021-04-21T17:05:17.880273760Z intensity
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z ")
_TIME_BYTES = 31
#: so much of the end of a log is sent at once
MOST_BYTES = 64 * 2**20


def without_time(line: str) -> str:
    """What the job printed.

    Examples
    --------
    >>> without_time("2021-04-21T17:05:17.880273760Z intensity")
    'intensity'
    """
    return line[_TIME_BYTES:] if _TIME.match(line) else line


def read(paths: Iterable[Path], after: int = 0, most: int = MOST_BYTES) -> tuple[bytes, int]:
    """Whole lines of logs that follow each other.

    Parameters
    ----------
    after
        Bytes that are known already.
    most
        Bytes, about; what is left out is at the beginning.

    Returns
    -------
    lines, and how many bytes are known then
    """
    existing = [path for path in paths if path.exists()]
    sizes = [path.stat().st_size for path in existing]
    end = sum(sizes)
    start = max(after, end - most)
    parts = []
    offset = 0
    for path, size in zip(existing, sizes, strict=True):
        if offset + size > start:
            with path.open("rb") as file:
                file.seek(max(0, start - offset))
                parts.append(file.read(size - max(0, start - offset)))
        offset += size
    text = b"".join(parts)
    if start > after:
        text = text[text.find(b"\n") + 1 :]
    whole = text.rfind(b"\n") + 1
    return text[:whole], end - (len(text) - whole)


def compat(lines: bytes) -> str:
    r"""Lines as the service of CHIME/FRB hands them out: one Python literal of bytes after the other.

    Examples
    --------
    >>> print(compat(b"2021-04-21T17:05:17.880273760Z intensity\n"))
    b'2021-04-21T17:05:17.880273760Z intensity\n'
    """
    return "".join(repr(line + b"\n") for line in lines.split(b"\n")[:-1])


def clean(lines: bytes) -> str:
    """Lines without their times."""
    return "".join(_without_times(lines.decode(errors="replace")))


def _without_times(text: str) -> Iterator[str]:
    for line in text.split("\n")[:-1]:
        yield without_time(line) + "\n"


def stamped(ns: int) -> bytes:
    """A time, nanoseconds since 1970, as it stands before a line."""
    whole, rest = divmod(ns, 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)).encode() + b".%09dZ " % rest


def append(path: Path, lines: bytes) -> None:
    """Add lines to a log and see that they are there."""
    with path.open("ab") as file:
        file.write(lines)
        file.flush()
        os.fsync(file.fileno())
