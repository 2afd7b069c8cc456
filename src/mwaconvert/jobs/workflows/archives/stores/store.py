"""Folders, buckets and web servers as stores of an archive, behind one small interface.

No store is believed: each file has its own SHA-256, what is put is read back, and each copy is looked at.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mwaconvert.archive.products import sha256_of
from mwaconvert.errors import FormatError, InputError, ResourceError
from mwaconvert.jobs.delivery.places import (
    Bucket,
    Entry,
    Folder,
    Source,
    Web,
    copy_file,
    part_beside,
    remove,
    sync,
)

#: so many try to give the bytes that were put in, before a store is held for damaged
_TRIES = 2
#: names that every archive keeps whole
_LONGEST_NAME = 64


@dataclass(frozen=True, slots=True)
class Kept:
    """A file that a store keeps; `version` is for stores that count them, `disk` for a copy of several."""

    file_id: str
    version: int | None = None
    n_bytes: int | None = None
    disk: str | None = None


class Store(Protocol):
    """Where an archive keeps its files."""

    def find(self, name: str, sha256: str | None = None) -> tuple[Kept, ...]:
        """Copies of the file of a name, the likeliest first; empty if it is not there."""

    def read(self, kept: Kept, target: Path) -> None:
        """Bring a file to a new local path; nothing of it is checked."""

    def put(self, source: Path, name: str, sha256: str) -> Kept:
        """Keep a file under a name. The same bytes again are the same file; other bytes never replace them."""

    def check(self, kept: Kept, sha256: str) -> tuple[str, ...]:
        """What is wrong with copies of a file, a sentence for each; empty if all hold these bytes."""


class PlaceStore:
    """A folder, bucket or web server as a store.

    What is put lies at ``<sha256>/<name>``, so no put replaces anything; what was there before is found by name.

    Examples
    --------
    >>> PlaceStore(Folder(Path("/archive")))
    PlaceStore(Folder('/archive'))
    """

    def __init__(self, where: Folder | Bucket | Web) -> None:
        self._place: Folder | Bucket | Web = where

    def __repr__(self) -> str:
        return f"PlaceStore({self._place!r})"

    def find(self, name: str, sha256: str | None = None) -> tuple[Kept, ...]:
        found = []
        for file_id in (*(() if sha256 is None else (f"{sha256}/{name}",)), name):
            entry: Entry | None = self._place.stat(file_id)
            if entry is not None:
                found.append(Kept(file_id, None, entry.n_bytes))
        return tuple(found)

    def read(self, kept: Kept, target: Path) -> None:
        if isinstance(self._place, Folder):
            # no link: whoever works with the file must not reach into the archive
            try:
                copy_file(self._place.path(kept.file_id), target)
            except FileNotFoundError:
                raise InputError(f"{self._place.location(kept.file_id)}: no such file") from None
            except OSError as error:
                raise ResourceError(f"{target}: {error.strerror or error}") from error
        else:
            source: Source = self._place
            source.fetch(kept.file_id, target)

    def put(self, source: Path, name: str, sha256: str) -> Kept:
        if isinstance(self._place, Web):
            raise InputError(f"{self._place.url}: web servers take no files; name a folder, a bucket or NGAS")
        file_id = f"{sha256}/{name}"
        kept = Kept(file_id, None, source.stat().st_size)
        if self._place.stat(file_id) is None or self.check(kept, sha256):
            if isinstance(self._place, Folder):
                _copy_whole(source, self._place.path(file_id))
            else:
                self._place.deliver(source, file_id, None)
        return kept

    def check(self, kept: Kept, sha256: str) -> tuple[str, ...]:
        where = self._place.location(kept.file_id)
        if self._place.stat(kept.file_id) is None:
            return (f"{where}: is not there",)
        found = (
            sha256_of(self._place.path(kept.file_id))
            if isinstance(self._place, Folder)
            else _hash_of_copy(lambda target: self.read(kept, target))
        )
        return () if found == sha256 else (f"{where}: its bytes are not those that were put in",)


def _copy_whole(source: Path, target: Path) -> None:
    """Copy a file to its place, whole or not at all; no link, as somebody may write into the source later."""
    part = part_beside(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        copy_file(source, part)
        sync(part)
        part.replace(target)
        sync(target.parent)
    except OSError as error:
        raise ResourceError(f"{target}: {error.strerror or error}") from error
    finally:
        remove(part)


def _hash_of_copy(read: Callable[[Path], None]) -> str:
    """SHA-256 of what a store gives back."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "copy"
        read(target)
        return sha256_of(target)


def fetch(stores: Sequence[Store], name: str, target: Path, sha256: str | None = None) -> str:
    """Bring a file from the first store that has it, whole and with the bytes expected; gives its SHA-256.

    A file that is there from an earlier try stays if its bytes are known to be right.

    Raises
    ------
    InputError
        No store has it.
    FormatError
        No store has these bytes; says what each gave.
    ResourceError
        No store gave them, and one did not answer.
    """
    if sha256 is not None and target.is_file() and sha256_of(target) == sha256:
        return sha256
    problems = []
    away: ResourceError | None = None
    for store in stores:
        try:
            copies = store.find(name, sha256)
        except ResourceError as error:
            copies, away = (), error
        if sha256 is None:  # an older version would be other bytes
            copies = tuple(kept for kept in copies if kept.version == copies[0].version)
        for kept in copies:
            part = part_beside(target)
            try:
                store.read(kept, part)
                problem = _problem(part, kept, sha256)
                if problem is None:
                    found = sha256 or sha256_of(part)
                    sync(part)
                    part.replace(target)
                    return found
            except ResourceError as error:
                problem, away = str(error), error  # another copy may be there
            finally:
                remove(part)
            problems.append(f"{store!r}: {problem}")
        if away is not None and sha256 is None:  # and so might those of the next store
            break
    if away is not None:
        raise away
    if not problems:
        raise InputError(f"{name}: no store of the archive has it")
    raise FormatError(f"{name}: {'; '.join(problems)}; repair the archive's copies")


def _problem(path: Path, kept: Kept, sha256: str | None) -> str | None:
    size = path.stat().st_size
    if kept.n_bytes is not None and size != kept.n_bytes:
        return f"{size} bytes came of {kept.n_bytes}"
    if sha256 is not None and sha256_of(path) != sha256:
        return "its bytes are not those that the archive was given"
    return None


def keep(store: Store, source: Path, name: str, sha256: str) -> Kept:
    """Put a file into a store and look at what the store has of it.

    Raises
    ------
    InputError
        The file is not the one that was described.
    FormatError
        The store keeps other bytes; it was asked twice.
    """
    if sha256_of(source) != sha256:
        raise InputError(f"{source}: was changed since it was described; describe it again")
    for _ in range(_TRIES):
        kept = store.put(source, name, sha256)
        problems = store.check(kept, sha256)
        if not problems:
            return kept
    raise FormatError(f"{name}: {'; '.join(problems)}")


def archive_name(name: str, sha256: str) -> str:
    """A name that every archive keeps whole: the middle of a long one gives way to a part of its hash.

    Examples
    --------
    >>> len(archive_name("x" * 80 + ".calibration.tar", "0123456789abcdef" * 4))
    64
    """
    if len(name) <= _LONGEST_NAME:
        return name
    end = name[-24:]
    return f"{name[: _LONGEST_NAME - 14 - len(end)]}.{sha256[:12]}.{end}"
