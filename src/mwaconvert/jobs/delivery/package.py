"""Packages: what a job made, in one archive, with its checksums; written once, opened again, then delivered.

A package is a plain tar: all folders first, then files, `job.json` and last `SHA256SUMS`; flat, relative
names, no links, whole seconds, GNU headers (base-256 sizes) for files above 8 GiB. Every byte is read once:
while one buffer is read, the one before is written and goes through the checksums, each in a thread.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from operator import attrgetter
from pathlib import Path
from typing import IO, Any, Protocol, TypeAlias, cast

from mwaconvert.errors import FormatError, InputError, ResourceError
from mwaconvert.jobs.delivery.places import part_beside, sync
from mwaconvert.text import json_text, plain
from mwaconvert.unpacking import READER_ERRORS, safe_name

JOB_FILE = "job.json"
SUMS_FILE = "SHA256SUMS"
_BUFFER_BYTES = 4 << 20
_BLOCK = 512
#: tar files end in blocks of zeros, and their length is a multiple of this
_RECORD = 20 * _BLOCK


class Stem(StrEnum):
    """What is in a package, as its name says it."""

    MS = "ms"
    UVFITS = "uvfits"
    VISIBILITIES = "vis"
    METADATA = "vis_meta"
    VOLTAGES = "volt"
    BEAMFORMER = "bf"
    IMAGES = "image"


class Archive(StrEnum):
    """Kinds of archive."""

    TAR = "tar"
    ZIP = "zip"


@dataclass(frozen=True)
class Package:
    """An archive that is whole.

    Attributes
    ----------
    sha1, sha256 : of the archive, hexadecimal digits
    n_members : files, with job.json and SHA256SUMS
    """

    path: Path
    n_bytes: int
    sha1: str
    sha256: str
    n_members: int


#: what is done with a buffer
_Action = Callable[[memoryview], object]
_Writer: TypeAlias = "_TarWriter | _ZipWriter"


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes | None: ...
    def readinto(self, buffer: memoryview, /) -> int | None: ...


@dataclass(frozen=True)
class _Member:
    name: str
    source: Path
    n_bytes: int
    mtime_s: int


def package_name(obs_id: int, job_id: int, stem: Stem, archive: Archive = Archive.TAR) -> str:
    """Name of a package, by which users' scripts wait for it.

    Examples
    --------
    >>> package_name(1110103576, 77, Stem.MS)
    '1110103576_77_ms.tar'
    """
    return f"{obs_id:010d}_{job_id}_{stem}.{archive}"


def write_package(
    target: Path,
    contents: Mapping[str, Path],
    job: Mapping[str, Any],
    archive: Archive = Archive.TAR,
    *,
    progress: Callable[[int], object] = lambda _: None,
) -> Package:
    """Write a package.

    Parameters
    ----------
    target : the archive; one that exists is replaced when the new one is whole
    contents : name in the archive -> file or folder; one of them must be a metafits
    job : what job.json says: parameters given and canonical, versions, the conversion's report
    progress : told how many bytes the archive has, now and then; what it raises ends the work, and leaves
        nothing

    Raises
    ------
    InputError : no metafits, a link or a device among the contents, or a hostile name
    FormatError : a file changed while it was packed
    ResourceError : the disk is full or refuses; nothing is left

    Examples
    --------
    >>> write_package(
    ...     Path("1110103576_77_ms.tar"),
    ...     {"1110103576.ms": Path("work/1110103576.ms"), "1110103576.metafits": Path("1110103576.metafits")},
    ...     {"job_id": 77},
    ... )  # doctest: +SKIP
    Package(path=PosixPath('1110103576_77_ms.tar'), n_bytes=..., sha1='...', sha256='...', n_members=...)
    """
    folders, files = _collect(contents)
    _check_room(target, files)
    part = part_beside(target)
    try:
        with part.open("xb", buffering=0) as file, ThreadPoolExecutor(5) as pool:
            sink = _Sink(file, pool, progress)
            n_members = _write_all(sink, folders, files, job, archive, pool)
            os.fsync(file.fileno())
        part.replace(target)
        sync(target.parent)
    except OSError as error:
        raise ResourceError(f"{target}: cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)
    return Package(target, sink.n_bytes, sink.sha1.hexdigest(), sink.sha256.hexdigest(), n_members)


def _write_all(
    sink: _Sink,
    folders: Sequence[_Member],
    files: Sequence[_Member],
    job: Mapping[str, Any],
    archive: Archive,
    pool: Executor,
) -> int:
    """Write an archive; returns its number of files."""
    writer = _TarWriter(sink) if archive is Archive.TAR else _ZipWriter(sink)
    mtime_s = max(member.mtime_s for member in files)
    try:
        for member in folders:
            writer.add_folder(member)
        sums = {member.name: _add_file(writer, member, pool) for member in files}
        text = (json_text(plain(job)) + "\n").encode()
        sums[JOB_FILE] = _add_text(writer, JOB_FILE, text, mtime_s, pool)
        listing = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())).encode()
        _add_text(writer, SUMS_FILE, listing, mtime_s, pool)
        writer.finish()
    except BaseException:
        sink.stop()
        raise
    return len(sums) + 1


def check_package(path: Path) -> int:
    """Open a package again: every file that SHA256SUMS lists is in it with that sum, and no other.

    Returns
    -------
    number of files, SHA256SUMS included

    Raises
    ------
    FormatError : it is damaged
    """
    found: dict[str, str] = {}
    listing: bytes | None = None
    try:
        for name, file in _files_of(path):
            if name == SUMS_FILE:
                listing = file.read()
            elif name in found:
                raise FormatError(f"{path}: has two files of the name {name}")
            else:
                found[name] = hashlib.file_digest(cast("io.BufferedReader", file), "sha256").hexdigest()
    except READER_ERRORS as error:
        raise FormatError(f"{path}: damaged: {error}") from None
    if listing is None:
        raise FormatError(f"{path}: has no {SUMS_FILE}")
    wanted = {
        name: digest
        for digest, _, name in (
            line.partition("  ") for line in listing.decode(errors="replace").splitlines()
        )
    }
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            what = "is missing" if name not in found else "is not listed" if name not in wanted else "differs"
            raise FormatError(f"{path}: {name} {what}, by its {SUMS_FILE}; pack it again")
    return len(found) + 1


def _files_of(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    if zipfile.is_zipfile(path) and not tarfile.is_tarfile(path):
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if not entry.is_dir():
                    with archive.open(entry) as file:
                        yield entry.filename, file
        return
    with tarfile.open(path, "r:", bufsize=_BUFFER_BYTES) as tar:
        for info in tar:
            opened = tar.extractfile(info)
            if opened is not None:
                yield info.name, opened


# ------------------------------------------------------------------------------------------- contents


def _collect(contents: Mapping[str, Path]) -> tuple[list[_Member], list[_Member]]:
    """Folders and files of an archive, each sorted by name."""
    folders: list[_Member] = []
    files: list[_Member] = []
    for name, path in contents.items():
        if str(safe_name(name)) in (JOB_FILE, SUMS_FILE):
            raise InputError(f"{name}: is written by the package itself; give the file another name")
        for inner, found in _walk(name, path):
            info = found.lstat()
            if not (stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode)):
                raise InputError(f"{found}: is a link or no file; a package holds files and folders only")
            kind = folders if stat.S_ISDIR(info.st_mode) else files
            kind.append(_Member(inner, found, info.st_size, int(info.st_mtime)))
    if not any(member.name.endswith(".metafits") for member in files):
        raise InputError("a package must hold the metafits file of its observation; none was given")
    by_name = attrgetter("name")
    return sorted(folders, key=by_name), sorted(files, key=by_name)


def _walk(name: str, path: Path) -> Iterator[tuple[str, Path]]:
    if not os.path.lexists(path):
        raise InputError(f"{path}: no such file to pack as {name}")
    yield name, path
    if path.is_dir() and not path.is_symlink():
        for inner in path.iterdir():
            yield from _walk(f"{name}/{inner.name}", inner)


def _check_room(target: Path, files: Sequence[_Member]) -> None:
    needed = sum(member.n_bytes for member in files)
    try:
        free = shutil.disk_usage(target.parent).free
    except OSError as error:
        raise ResourceError(f"{target}: its folder cannot be used: {error.strerror}") from None
    if needed > free:
        raise ResourceError(f"{target}: the package takes {needed} bytes, but the disk has {free} bytes free")


# -------------------------------------------------------------------------------------------- writing


def _add_file(writer: _Writer, member: _Member, pool: Executor) -> str:
    with member.source.open("rb", buffering=0) as source:
        return _add(writer, member, source, pool)


def _add_text(writer: _Writer, name: str, text: bytes, mtime_s: int, pool: Executor) -> str:
    return _add(writer, _Member(name, Path(name), len(text), mtime_s), io.BytesIO(text), pool)


def _add(writer: _Writer, member: _Member, source: _Readable, pool: Executor) -> str:
    """Add a file; returns its SHA-256."""
    digest, left = hashlib.sha256(), member.n_bytes
    with writer.add_file(member) as start:
        for data in _buffers(source, member.n_bytes, pool):
            left -= len(data)
            _at_once(pool, data, digest.update, *start)
    if left or source.read(1):
        raise FormatError(f"{member.source}: changed while it was packed; pack it when nobody writes it")
    return digest.hexdigest()


def _buffers(source: _Readable, n_bytes: int, pool: Executor) -> Iterator[memoryview]:
    """At most n_bytes of a file; while a buffer is looked at, the next one is read."""
    size = min(_BUFFER_BYTES, n_bytes)
    this, other = memoryview(bytearray(size)), memoryview(bytearray(size if n_bytes > size else 0))
    got = source.readinto(this)
    while got:
        n_bytes -= got
        if n_bytes == 0:
            yield this[:got]
            return
        following = pool.submit(source.readinto, other[: min(len(other), n_bytes)])
        yield this[:got]
        this, other, got = other, this, following.result()


def _at_once(pool: Executor, data: memoryview, *actions: _Action) -> None:
    """Do several things with a buffer at the same time; small ones are not worth the threads."""
    if len(data) < 1 << 16:
        for action in actions:
            action(data)
        return
    for future in [pool.submit(action, data) for action in actions]:
        future.result()


class _Sink:
    """The file of an archive, and the checksums of what goes into it."""

    def __init__(self, file: IO[bytes], pool: Executor, progress: Callable[[int], object]) -> None:
        self._file, self._pool, self._progress = file, pool, progress
        self.sha1, self.sha256 = hashlib.sha1(usedforsecurity=False), hashlib.sha256()
        self.n_bytes = 0
        self._stopped = False
        #: what must be done with each buffer, in any order
        self.actions: tuple[_Action, ...] = (self.sha256.update, self.sha1.update, self._write_all)

    def write(self, data: bytes | memoryview) -> int:
        """Write a buffer; the archives of zipfile do so too."""
        if not self._stopped:
            _at_once(self._pool, memoryview(data), *self.actions)
        return len(data)

    def stop(self) -> None:
        """Let the rest go nowhere: an archive that failed writes its end when it is closed."""
        self._stopped = True

    def flush(self) -> None:
        """Nothing is held back; zipfile asks for it."""

    def _write_all(self, data: memoryview) -> None:
        self.n_bytes += len(data)
        self._progress(self.n_bytes)
        while data:
            data = data[self._file.write(data) :]


class _TarWriter:
    def __init__(self, sink: _Sink) -> None:
        self._sink = sink

    def add_folder(self, member: _Member) -> None:
        info = tarfile.TarInfo(f"{member.name}/")
        info.type, info.mode, info.mtime = tarfile.DIRTYPE, 0o755, member.mtime_s
        self._sink.write(info.tobuf(tarfile.GNU_FORMAT))

    @contextmanager
    def add_file(self, member: _Member) -> Iterator[tuple[_Action, ...]]:
        """What to do with each buffer of the file."""
        info = tarfile.TarInfo(member.name)
        info.size, info.mode, info.mtime = member.n_bytes, 0o644, member.mtime_s
        self._sink.write(info.tobuf(tarfile.GNU_FORMAT))
        yield self._sink.actions
        self._sink.write(bytes(-member.n_bytes % _BLOCK))

    def finish(self) -> None:
        self._sink.write(bytes(2 * _BLOCK))
        self._sink.write(bytes(-self._sink.n_bytes % _RECORD))


class _ZipWriter:
    def __init__(self, sink: _Sink) -> None:
        # a stream that cannot seek: zipfile writes the sizes behind each file
        self._archive = zipfile.ZipFile(cast("IO[bytes]", sink), "w", zipfile.ZIP_STORED)

    def add_folder(self, member: _Member) -> None:
        self._archive.writestr(self._info(f"{member.name}/", member, stat.S_IFDIR | 0o755), b"")

    @contextmanager
    def add_file(self, member: _Member) -> Iterator[tuple[_Action, ...]]:
        """What to do with each buffer of the file."""
        info = self._info(member.name, member, stat.S_IFREG | 0o644)
        with self._archive.open(info, "w", force_zip64=member.n_bytes >= zipfile.ZIP64_LIMIT) as file:
            yield (file.write,)

    def _info(self, name: str, member: _Member, mode: int) -> zipfile.ZipInfo:
        when = time.gmtime(max(member.mtime_s, 315532800))  # zip begins with 1980
        info = zipfile.ZipInfo(name, when[:6])
        info.external_attr = mode << 16
        return info

    def finish(self) -> None:
        self._archive.close()
