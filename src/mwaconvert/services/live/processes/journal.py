"""Journals: what was taken, decided and sent, a line of JSON each, on disk before anybody hears of it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from mwaconvert.errors import FormatError
from mwaconvert.text import plain


def file_name(task_id: str) -> str:
    """A name for the files of an observation, whatever its id."""
    if re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,80}", task_id):
        return task_id
    return sha256(task_id.encode()).hexdigest()[:32]


class Journal:
    """One file that only grows; each entry has a number of its own.

    Parameters
    ----------
    path : made if it is not there; a last line that was torn by a crash is cut off

    Raises
    ------
    FormatError
        A line within it is not an entry.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600)
        self._end = self._mend()
        self.n = sum(1 for _ in self.entries())

    def append(self, entry: Mapping[str, Any], *, sync: bool = True) -> int:
        """Number of the entry, which is whole on disk then, or not there at all.

        Parameters
        ----------
        sync : also after a power cut

        Raises
        ------
        OSError
            No room; nothing was written.
        """
        data = json.dumps(plain({"n": self.n + 1, **entry})).encode() + b"\n"
        try:
            written = os.write(self._file, data)
            if written != len(data):
                raise OSError(28, "No space left on device")
            if sync:
                os.fdatasync(self._file)
        except OSError:
            os.ftruncate(self._file, self._end)
            raise
        self._end += len(data)
        self.n += 1
        return self.n

    def entries(self) -> Iterator[dict[str, Any]]:
        """All that was written, the oldest first."""
        return read_entries(self.path)

    def close(self) -> None:
        os.close(self._file)

    def _mend(self) -> int:
        size = os.fstat(self._file).st_size
        end = size
        while end > 0:
            start = max(0, end - (1 << 16))
            found = os.pread(self._file, end - start, start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end != size:
            os.ftruncate(self._file, end)
        return end


def read_entries(path: Path, offset: int = 0) -> Iterator[dict[str, Any]]:
    """Entries from a byte on; a last line that is being written is left for later.

    Raises
    ------
    FormatError
    """
    for entry, _ in follow_entries(path, offset):
        yield entry


def follow_entries(path: Path, offset: int = 0) -> Iterator[tuple[dict[str, Any], int]]:
    """(entry, byte behind it), as `read_entries`."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            try:
                entry = json.loads(line)
                if not isinstance(entry, dict):
                    raise ValueError
            except ValueError:
                raise FormatError(
                    f"{path}: what ends at byte {offset} is not an entry; move the file away to begin a new one",
                    path=path,
                ) from None
            yield entry, offset
