"""Unpacking archives that somebody else wrote: nothing lands outside the folder, and no more than allowed.

An archive is read whole into a new folder that only its owner may enter, then its entries get their
places one by one. So no link that was there before is followed, and a refused archive leaves nothing.
"""

from __future__ import annotations

import lzma
import os
import shutil
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from mwaconvert.errors import FormatError, InputError, ResourceError

#: of one part of a name, on all usual file systems
LONGEST_NAME = 255
_COPY_BYTES = 1 << 22
#: what the readers of archives raise at damage; the last three they stumble into when headers are nonsense
READER_ERRORS = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    RuntimeError,
    ValueError,
    LookupError,
    ArithmeticError,
)


@dataclass(frozen=True)
class Limits:
    """What an archive may hold.

    Attributes
    ----------
    members : files and folders
    total_bytes : of all files together, unpacked
    """

    members: int = 1_000_000
    total_bytes: int = 1 << 44


@dataclass(frozen=True)
class Member:
    """One file or folder of an archive.

    Attributes
    ----------
    path : relative, without `..`
    n_bytes : as the archive says; what is more than that is refused while unpacking
    """

    path: PurePosixPath
    n_bytes: int
    is_folder: bool


def safe_name(name: str) -> PurePosixPath:
    """A relative name that stays inside its folder.

    Parameters
    ----------
    name : with / between its parts; one / at its end is allowed

    Raises
    ------
    InputError : it is absolute, leads upwards, or holds what no name of a file should

    Examples
    --------
    >>> str(safe_name("1110103576.ms/table.dat"))
    '1110103576.ms/table.dat'
    """
    parts = name.removesuffix("/").split("/")
    for part in parts:
        if part in ("", ".", ".."):
            raise InputError(f"the name {name!r} leads outside its folder or has an empty part")
        if "\\" in part or any(ord(c) < 32 or ord(c) == 127 for c in part):
            raise InputError(f"the name {name!r} holds a backslash or a control character")
        if len(os.fsencode(part)) > LONGEST_NAME:
            raise InputError(f"the name {name[:40]!r}... is longer than {LONGEST_NAME} bytes")
    return PurePosixPath(*parts)


def unpack(
    archive: Path, folder: Path, *, limits: Limits | None = None, overwrite: bool = False
) -> tuple[Path, ...]:
    """Unpack a tar or zip archive into a folder.

    Parameters
    ----------
    archive : an uncompressed tar, or a zip
    folder : that exists
    limits : what the archive may hold
    overwrite : whether entries that exist may be replaced

    Returns
    -------
    the entries of the archive's root, in the folder

    Raises
    ------
    FormatError : the archive is damaged, or holds links, devices, names that lead outside, too many members
        or too many bytes; nothing was unpacked
    InputError : no such archive or folder, or an entry exists already
    ResourceError : the disk is full or refuses

    Examples
    --------
    >>> unpack(Path("1110103576_77_ms.tar"), Path("."))  # doctest: +SKIP
    (PosixPath('1110103576.metafits'), PosixPath('1110103576.ms'), ...)
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder to unpack into; create it first")
    limits = limits or Limits()
    with _opened(archive) as opened:
        members = _checked(archive, opened, limits)
        needed, free = sum(m.n_bytes for m in members), shutil.disk_usage(folder).free
        if needed > free:
            raise ResourceError(
                f"{folder}: {archive.name} unpacks to {needed} bytes, but the disk has {free} bytes free"
            )
        roots = sorted({member.path.parts[0] for member in members})
        if not overwrite:
            for root in roots:
                if os.path.lexists(folder / root):
                    raise InputError(
                        f"{folder / root}: exists already; move it away or unpack {archive.name} elsewhere"
                    )
        try:
            fresh = Path(tempfile.mkdtemp(prefix=".unpack-", dir=folder))
        except OSError as error:
            raise ResourceError(f"{folder}: cannot be written: {error.strerror}") from None
        try:
            opened.write_all(members, fresh)
            return tuple(_move(fresh / root, folder / root) for root in roots)
        except OSError as error:
            raise ResourceError(f"{archive}: cannot be unpacked in {folder}: {error.strerror}") from None
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


def list_members(archive: Path, limits: Limits | None = None) -> tuple[Member, ...]:
    """Members of an archive, checked as `unpack` checks them.

    Raises
    ------
    FormatError, InputError : as `unpack`
    """
    with _opened(archive) as opened:
        return _checked(archive, opened, limits or Limits())


class _Tar:
    def __init__(self, path: Path) -> None:
        # uncompressed: a compressed one could grow without end
        self._file = tarfile.open(path, "r:")  # noqa: SIM115

    def members(self) -> Iterator[tuple[str, int, str]]:
        """Name, bytes, and what kind of member it is: file, folder or why it is refused."""
        for info in self._file:
            if info.isdir():
                kind = "folder"
            elif info.isreg() and not info.issparse():
                kind = "file"
            else:
                kind = "a link" if info.issym() or info.islnk() else "a device, a hole or a pipe"
            yield info.name, info.size if kind == "file" else 0, kind

    def write_all(self, members: tuple[Member, ...], folder: Path) -> None:
        for info, member in zip(self._file, members, strict=True):
            source = None if member.is_folder else self._file.extractfile(info)
            _write(member, source, folder)

    def close(self) -> None:
        self._file.close()


class _Zip:
    def __init__(self, path: Path) -> None:
        self._file = zipfile.ZipFile(path)

    def members(self) -> Iterator[tuple[str, int, str]]:
        for info in self._file.infolist():
            mode = info.external_attr >> 16
            if info.flag_bits & 1:
                kind = "encrypted"
            elif stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                kind = "a link or a device"
            else:
                kind = "folder" if info.filename.endswith("/") else "file"
            yield info.orig_filename, info.file_size, kind

    def write_all(self, members: tuple[Member, ...], folder: Path) -> None:
        for info, member in zip(self._file.infolist(), members, strict=True):
            if member.is_folder:
                _write(member, None, folder)
            else:
                with self._file.open(info) as source:
                    _write(member, source, folder)

    def close(self) -> None:
        self._file.close()


@contextmanager
def _opened(path: Path) -> Iterator[_Tar | _Zip]:
    """An archive, by its content; what its reader finds wrong is a `FormatError`."""
    if not path.is_file():
        raise InputError(f"{path}: no such archive")
    try:
        opened = _Zip(path) if zipfile.is_zipfile(path) and not tarfile.is_tarfile(path) else _Tar(path)
        try:
            yield opened
        finally:
            opened.close()
    except READER_ERRORS as error:
        raise FormatError(f"{path}: damaged, or no tar or zip archive: {error}; fetch it again") from None


def _checked(path: Path, opened: _Tar | _Zip, limits: Limits) -> tuple[Member, ...]:
    found: dict[PurePosixPath, Member] = {}
    total = 0
    for name, n_bytes, kind in opened.members():
        if kind == "folder" and name.strip("/") in ("", "."):
            raise FormatError(f"{path}: names its own root {name!r}; it was not unpacked")
        if kind not in ("file", "folder"):
            raise FormatError(f"{path}: {name!r} is {kind}, which is never unpacked; nothing was")
        try:
            member = Member(safe_name(name), n_bytes, kind == "folder")
        except InputError as error:
            raise FormatError(f"{path}: {error}; it was not unpacked") from None
        total += n_bytes
        if len(found) >= limits.members:
            raise FormatError(f"{path}: has more than {limits.members} members; it was not unpacked")
        if total > limits.total_bytes:
            raise FormatError(
                f"{path}: would unpack to more than {limits.total_bytes} bytes; it was not unpacked"
            )
        if member.path in found:
            raise FormatError(f"{path}: has two members of the name {name!r}; it was not unpacked")
        found[member.path] = member
    for member in found.values():
        for above in member.path.parents:
            if above in found and not found[above].is_folder:
                raise FormatError(
                    f"{path}: {above} is a file and has {member.path} in it; it was not unpacked"
                )
    return tuple(found.values())


def _write(member: Member, source: IO[bytes] | None, folder: Path) -> None:
    target = folder / member.path
    if source is None:
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
    left = member.n_bytes
    with os.fdopen(fd, "wb", buffering=0) as file:
        while data := source.read(min(_COPY_BYTES, left + 1)):
            left -= len(data)
            if left < 0:
                raise ValueError(f"{member.path} is longer than the archive says")
            file.write(data)
    if left:
        raise EOFError(f"{member.path} ends {left} bytes too early")


def _move(source: Path, target: Path) -> Path:
    """Rename; what was there is replaced, a link itself and not what it points to."""
    if target.is_dir() and not target.is_symlink():
        aside = source.with_name(f"{source.name}.replaced")  # goes with the temporary folder
        target.replace(aside)
    elif source.is_dir() and target.is_symlink():
        target.unlink()  # a folder cannot take the place of a link
    source.replace(target)
    return target
