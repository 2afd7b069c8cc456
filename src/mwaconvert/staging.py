"""Files: which may be read, which may be replaced, and how an output gets its name once it is whole.

An output grows under its own name in a hidden folder beside its target, which belongs to one run: its name is
random and a lock in it is held for as long as the run lives. A folder whose lock nobody holds is a left-over.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import shutil
import stat
import struct
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mwaconvert import machine
from mwaconvert.errors import Error, InputError, ResourceError
from mwaconvert.text import json_text

_log = logging.getLogger(__name__)

_FOLDER = re.compile(r"\.mwaconvert-(?P<name>[0-9a-f]{8})-[0-9a-f]{16}\.part")
_LOCK = "lock"
_REPLACED = "replaced"
#: a folder without a lock is being made, or its maker was killed while it made it
_MAKING_S = 60.0
#: locks of other machines may not be seen here: their folders are left-overs once nothing changes for so long
_ELSEWHERE_S = 86400.0
#: looked at to tell what a file is
_HEAD_BYTES = 64 << 10
#: of `renameat2` of Linux
_AT_FDCWD, _NO_REPLACE, _EXCHANGE = -100, 1, 2
_UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)

Identity = tuple[int, int]


def _begins(*magic: bytes) -> Callable[[bytes, Path], bool]:
    return lambda head, _: head.startswith(magic)


def _holds(begin: bytes, *marks: bytes) -> Callable[[bytes, Path], bool]:
    return lambda head, _: head.startswith(begin) and any(mark in head for mark in marks)


def _is_heimdall(head: bytes, _: Path) -> bool:
    return re.match(rb"(?:[-+.\deE]+[ \t]+){8}", head) is not None


def _is_log(head: bytes, _: Path) -> bool:
    return (
        re.match(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [A-Z]+ (?:mwaconvert|py\.warnings)", head)
        is not None
    )


def _has_info(_: bytes, path: Path) -> bool:
    """A series of plain numbers is known by the .inf beside it."""
    info = path.with_suffix(".inf")
    return info.is_file() and Kind.INFO.is_in(info)


class Kind(Enum):
    """What an output is, and with it what it may replace: words, and a test of the first bytes."""

    UVFITS = ("a uvfits file", _holds(b"SIMPLE  =", b"GROUPS  =                    T"))
    MEASUREMENT_SET = ("a measurement set", None)
    UVH5 = ("a uvh5 file", _holds(b"\x89HDF\r\n\x1a\n", b"Header"))
    FLAGS = ("a flag file", _holds(b"SIMPLE  =", b"GPUBOXNO="))
    SIMULATED = ("a file of a simulation", _holds(b"SIMPLE  =", b"simulated by mwaconvert"))
    JSON = ("a report of mwaconvert", _holds(b"{", b'"format": "mwaconvert'))
    JOB_ERRORS = ("a list of failed jobs", _holds(b"[", b'"job_id"'))
    LOG = ("a log of mwaconvert", _is_log)
    LOG_JSON = ("a log of mwaconvert in JSON", _holds(b'{"time": "', b'"logger": "mwaconvert'))
    PNG = ("a PNG picture", _begins(b"\x89PNG\r\n\x1a\n"))
    PDF = ("a PDF file", _begins(b"%PDF-"))
    SVG = ("an SVG picture", _holds(b"<?xml", b"<svg"))
    HTML = ("a page of HTML", _begins(b"<!doctype html", b"<!DOCTYPE html"))
    NPZ = ("an .npz file", _begins(b"PK\x03\x04"))
    HDF5 = ("an HDF5 file", _begins(b"\x89HDF\r\n\x1a\n"))
    SIGPROC = ("a SIGPROC file", _begins(b"\x0c\0\0\0HEADER_START"))
    PSRFITS = ("a PSRFITS file", _holds(b"SIMPLE  =", b"FITSTYPE= 'PSRFITS"))
    SERIES = ("a series of PRESTO", _has_info)
    INFO = ("an .inf file of PRESTO", _begins(b" Data file name without suffix"))
    CSV = ("a table of mwaconvert", _begins(b"# program: mwaconvert"))
    ECSV = ("a table of mwaconvert", _holds(b"# %ECSV", b"program: mwaconvert"))
    SINGLEPULSE = ("a list of PRESTO", _begins(b"# DM "))
    CAND = ("a list of heimdall", _is_heimdall)
    TRIGGER = ("a list of AMBER", _begins(b"# beam"))
    MASK = ("a mask as PRESTO's rfifind writes it", _begins(struct.pack("<2d", 10.0, 4.0)))

    def __init__(self, words: str, test: Callable[[bytes, Path], bool] | None) -> None:
        self.words = words
        self._test = test

    def is_in(self, path: Path) -> bool:
        """Whether a regular file is of this kind; an empty one holds nothing that could be lost."""
        if self._test is None:
            return False
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        return not head or self._test(head, path)


_BY_SUFFIX = {
    ".uvfits": Kind.UVFITS,
    ".ms": Kind.MEASUREMENT_SET,
    ".uvh5": Kind.UVH5,
    ".mwaf": Kind.FLAGS,
    ".png": Kind.PNG,
    ".pdf": Kind.PDF,
    ".svg": Kind.SVG,
    ".html": Kind.HTML,
    ".npz": Kind.NPZ,
    ".h5": Kind.HDF5,
    ".fil": Kind.SIGPROC,
    ".sf": Kind.PSRFITS,
    ".tim": Kind.SIGPROC,
    ".dat": Kind.SERIES,
    ".inf": Kind.INFO,
    ".csv": Kind.CSV,
    ".ecsv": Kind.ECSV,
    ".json": Kind.JSON,
    ".singlepulse": Kind.SINGLEPULSE,
    ".cand": Kind.CAND,
    ".trigger": Kind.TRIGGER,
    ".mask": Kind.MASK,
}


def kind_of(path: Path) -> Kind:
    """The kind of output that a suffix stands for.

    Raises
    ------
    InputError : it stands for none
    """
    kind = _BY_SUFFIX.get(path.suffix.lower())
    if kind is None:
        raise InputError(f"{path}: unknown kind of output; known suffixes: {', '.join(_BY_SUFFIX)}")
    return kind


def check_input(path: Path, what: str) -> None:
    """Refuse anything but a regular file: a FIFO makes its reader wait, a device may never end.

    Parameters
    ----------
    what : what was expected, for the message

    Raises
    ------
    InputError : there is no such file, or it is something else
    ResourceError : it cannot be looked at
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path}: no such {what}") from None
    except OSError as error:
        raise ResourceError(f"{path}: cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(mode):
        raise InputError(f"{path}: expected a {what}, found {_thing(mode)}; give a regular file")


def check_targets(
    targets: Sequence[tuple[Path, Kind]], *, inputs: Iterable[Path] = (), overwrite: bool = False
) -> None:
    """Refuse outputs that must not be written, before any work is done.

    Parameters
    ----------
    targets : all outputs of a run
    inputs : all files that it reads; they are known through links, too
    overwrite : whether what exists, and is of the kind that is written, may be replaced

    Raises
    ------
    InputError : an output is an input, holds one, is in another output or the same, or exists already and
        either must not or cannot be replaced
    ResourceError : its directory is not there, or cannot be written
    """
    places = [_place(path) for path, _ in targets]
    if len(set(places)) < len(places):
        raise InputError("two outputs have the same name; give each its own")
    known = {_identity(info): path for path in inputs if (info := _stat(path)) is not None}
    read = [path.resolve() for path in known.values()]
    for (target, kind), place in zip(targets, places, strict=True):
        if inside := next((path for path in places if place in path.parents), None):
            raise InputError(f"{inside}: lies within another output, {target}; choose another directory")
        if (info := _stat(target)) is not None and _identity(info) in known:
            raise InputError(f"{target}: is an input of this run; choose another name")
        if held := next((path for path in read if place in path.parents), None):
            raise InputError(f"{target}: holds {held}, an input of this run; choose another name")
        check_target(target, kind, overwrite=overwrite)


def check_target(target: Path, kind: Kind, *, overwrite: bool) -> Identity | None:
    """Refuse an output that must not be written.

    Returns
    -------
    device and inode of what it will replace; None: nothing

    Raises
    ------
    InputError, ResourceError : as `check_targets`
    """
    if not target.name or target.name == "..":
        raise InputError(f"{target}: is a directory; add the name of a file")
    try:
        info = target.lstat()
    except FileNotFoundError:
        info = None
    except OSError as error:
        raise InputError(f"{target}: cannot be used as a name: {error.strerror}") from None
    folder = target.parent
    if not folder.is_dir():
        raise ResourceError(f"{target}: its directory {folder} does not exist; create it first")
    if info is not None:
        reason = _why_kept(target, kind, info)
        if not overwrite:
            hint = " or pass `overwrite`" if reason is None else f" ({reason})"
            raise InputError(
                f"{target}: exists already; choose another name{hint}", option="overwrite", path=target
            )
        if reason is not None:
            raise InputError(f"{target}: is never replaced: {reason}; choose another name")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ResourceError(f"{target}: no permission to write in {folder}")
    return None if info is None else _identity(info)


class StagedPath:
    """A file or directory that is being written; a context manager, which gives it its name when it is whole.

    Parameters
    ----------
    target : the final name
    overwrite : whether an existing target may be replaced (it stays in place until the new one is whole)
    kind : what is written; None: what the suffix stands for

    Attributes
    ----------
    temporary : where to write it; nothing is there yet

    Raises
    ------
    InputError : the target exists and must not be replaced, or another run is writing it
    ResourceError : its directory cannot be written

    Examples
    --------
    >>> with StagedPath(Path("look.png"), overwrite=False) as staged:  # doctest: +SKIP
    ...     staged.temporary.write_bytes(picture)
    """

    def __init__(self, target: Path, overwrite: bool, kind: Kind | None = None) -> None:
        self.target = target
        self.kind = kind_of(target) if kind is None else kind
        self._overwrite = overwrite
        self._before = check_target(target, self.kind, overwrite=overwrite)
        sweep(target.parent)
        if not overwrite and _is_being_written(target):
            raise InputError(f"{target}: another run is writing it; wait for its end, or choose another name")
        try:
            self._folder, self._lock = _make_folder(target)
        except OSError as error:
            raise refused(target, error) from None
        self.temporary = self._folder / target.name

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.commit()
            return
        self.discard()
        if (cause := _of_system(error)) is not None:
            raise refused(self.target, cause) from error

    def commit(self) -> None:
        """Sync what was written and give it its name; where that fails, nothing of it stays.

        Raises
        ------
        InputError : something that must not be replaced has the name by now
        ResourceError : the disk refused
        """
        try:
            for path in [*self.temporary.rglob("*"), self.temporary]:
                _sync(path)
            self._publish()
            _sync(self.target.parent)
        except OSError as error:
            raise refused(self.target, error) from error
        finally:
            self.discard()

    def discard(self) -> None:
        """Remove what has not got its name."""
        if self._lock < 0:
            return
        shutil.rmtree(self._folder, ignore_errors=True)  # what cannot be removed now is swept another time
        os.close(self._lock)
        self._lock = -1

    def _publish(self) -> None:
        now = _stat(self.target, follow=False)
        if now is not None and not self._overwrite:
            raise InputError(f"{self.target}: another run has written it meanwhile; this one's is discarded")
        if now is None:
            try:
                _rename_new(self.temporary, self.target)
                return
            except FileExistsError:
                if not self._overwrite:
                    raise InputError(
                        f"{self.target}: another run has written it meanwhile; this one's is discarded"
                    ) from None
        if check_target(self.target, self.kind, overwrite=True) != self._before:
            _log.warning("%s: another run has written it meanwhile; it is replaced", self.target)
        if self.kind is Kind.MEASUREMENT_SET:
            _exchange(self.temporary, self.target, self._folder / _REPLACED)
        else:
            self.temporary.replace(self.target)


@dataclass(frozen=True)
class LeftOver:
    """What a run that was killed has left.

    Attributes
    ----------
    path : folder of unfinished output
    restored : what it had moved aside and was put back; None: nothing
    """

    path: Path
    restored: Path | None


def sweep(folder: Path, *, dry_run: bool = False) -> list[LeftOver]:
    """Remove what runs that were killed have left in a folder; an output that was moved aside is put back.

    Parameters
    ----------
    dry_run : only tell

    Raises
    ------
    OSError : the folder cannot be read
    """
    found = []
    for path in _part_folders(folder):
        lock = _dead_lock(path)
        if lock is None:
            continue
        try:
            aside = path / _REPLACED
            back = next((folder / p.name for p in aside.iterdir()), None) if aside.is_dir() else None
            if back is not None and _stat(back, follow=False) is not None:
                back = None
            if not dry_run:
                if back is not None:
                    (aside / back.name).rename(back)
                shutil.rmtree(path, ignore_errors=True)
            found.append(LeftOver(path, back))
        finally:
            if lock >= 0:
                os.close(lock)
    return found


def refused(target: Path, error: OSError) -> ResourceError:
    """What the operating system said of an output, in a sentence."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceError(f"{target}: no space left on its disk; make room or choose another directory")
    return ResourceError(f"{target}: cannot be written: {error.strerror or error}")


# what may be replaced


def _why_kept(target: Path, kind: Kind, info: os.stat_result) -> str | None:
    """Why something must not be replaced by a file of a kind; None: it may."""
    if stat.S_ISLNK(info.st_mode):
        return "it is a link"
    if info.st_dev != target.parent.stat().st_dev or os.path.ismount(target):
        return "another file system is mounted there"
    if not (stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode)):
        return f"it is {_thing(info.st_mode)}"
    try:
        if stat.S_ISDIR(info.st_mode):
            return _why_folder_kept(target, kind, info)
        return None if kind.is_in(target) else f"it is not {kind.words}, which would be written"
    except OSError as error:
        return f"it cannot be looked at ({error.strerror})"


def _why_folder_kept(target: Path, kind: Kind, info: os.stat_result) -> str | None:
    if kind is not Kind.MEASUREMENT_SET:
        return "it is a directory"
    home = _stat(Path(os.path.expanduser("~")))  # noqa: PTH111, Path.expanduser raises where there is none
    if home is not None and os.path.samestat(home, info):
        return "it is the home directory"
    entries = list(os.scandir(target))
    if entries and not _is_table(target):
        return f"it is a directory, but not {kind.words}"
    for entry in entries:
        part = entry.stat(follow_symlinks=False)
        if part.st_dev != info.st_dev:
            return f"another file system is mounted on its {entry.name}"
        if not entry.name.startswith(("table.", ".")) and not _is_table(Path(entry.path)):
            return f"it holds {entry.name}, which does not belong to a measurement set"
    return None


def _is_table(folder: Path) -> bool:
    """Whether a directory is a table of casacore."""
    try:
        with (folder / "table.dat").open("rb") as file:
            return file.read(4) == b"\xbe\xbe\xbe\xbe"
    except OSError:
        return False


def _thing(mode: int) -> str:
    kinds = {
        stat.S_ISDIR: "a directory",
        stat.S_ISFIFO: "a FIFO",
        stat.S_ISSOCK: "a socket",
        stat.S_ISLNK: "a link",
    }
    return next((words for test, words in kinds.items() if test(mode)), "a device")


def _stat(path: Path, *, follow: bool = True) -> os.stat_result | None:
    try:
        return path.stat(follow_symlinks=follow)
    except OSError:
        return None


def _identity(info: os.stat_result) -> Identity:
    return info.st_dev, info.st_ino


def _place(path: Path) -> Path:
    """The name that a new file will have: links are followed up to its folder."""
    return path.parent.resolve() / path.name


# folders of unfinished output


def _part_folders(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if _FOLDER.fullmatch(e.name) and e.is_dir(follow_symlinks=False)]
    return [folder / name for name in sorted(names)]


def _name_hash(target: Path) -> str:
    return f"{zlib.crc32(os.fsencode(target.name)):08x}"


def _is_being_written(target: Path) -> bool:
    name = _name_hash(target)
    return any(path.name.split("-")[1] == name and _is_locked(path) for path in _part_folders(target.parent))


def _make_folder(target: Path) -> tuple[Path, int]:
    """A new folder for a target, and the descriptor of its lock."""
    while True:
        folder = target.parent / f".mwaconvert-{_name_hash(target)}-{os.urandom(8).hex()}.part"
        folder.mkdir()
        try:
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        except FileNotFoundError:  # taken for a left-over before it had a lock
            continue
        except OSError:
            folder.rmdir()
            raise
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(lock, machine.boot_id().encode())
        except BlockingIOError:
            os.close(lock)
            continue
        except OSError as error:
            if error.errno == errno.ENOSPC:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)
                raise
            # a file system without locks: the folder is random all the same, but left-overs are not swept
        held = _stat(folder / _LOCK)
        if held is not None and os.path.samestat(held, os.fstat(lock)):
            return folder, lock
        os.close(lock)


def _is_locked(folder: Path) -> bool:
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(lock)
    return False


def _dead_lock(folder: Path) -> int | None:
    """The lock of a left-over, taken (-1: it has none); None: its run may live."""
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR)
    except FileNotFoundError:
        info = _stat(folder)
        return -1 if info is not None and time.time() - info.st_mtime > _MAKING_S else None
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if (
            os.pread(lock, 64, 0) == machine.boot_id().encode()
            or time.time() - _last_change(folder) > _ELSEWHERE_S
        ):
            return lock
    except OSError:
        pass
    os.close(lock)
    return None


def _last_change(folder: Path) -> float:
    return max(info.st_mtime for p in [folder, *folder.rglob("*")] if (info := _stat(p, follow=False)))


# names


def _of_system(error: BaseException | None) -> OSError | None:
    """What the operating system said, also where a library failed once more while it tidied up."""
    while error is not None and not isinstance(error, OSError | Error):
        error = error.__context__
    return error if isinstance(error, OSError) else None


def _sync(path: Path) -> None:
    if path.is_symlink():
        return
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _rename_new(source: Path, target: Path) -> None:
    """Rename where nothing has the name; FileExistsError if something has."""
    if _renameat2(source, target, _NO_REPLACE):
        return
    if _stat(target, follow=False) is not None:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    source.rename(target)


def _exchange(source: Path, target: Path, aside: Path) -> None:
    """Give a directory the name of another, whose place is `source` or in `aside` after that."""
    if _renameat2(source, target, _EXCHANGE):
        return
    # between these two the old one has no name; `sweep` gives it back
    aside.mkdir()
    target.rename(aside / target.name)
    source.rename(target)


def _renameat2(source: Path, target: Path, flags: int) -> bool:
    """Rename in one step; False where the system or the file system cannot."""
    import ctypes

    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        return False
    if call(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), flags) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNSUPPORTED:
        return False
    raise OSError(number, os.strerror(number), str(target))


def write_json(path: Path, facts: Mapping[str, Any], *, overwrite: bool) -> None:
    """Write `json_text` under a temporary name, then give it its own.

    Raises
    ------
    InputError, ResourceError : the file cannot be written
    """
    with StagedPath(path, overwrite, Kind.JSON) as staged:
        staged.temporary.write_text(json_text(facts) + "\n", encoding="utf-8")
