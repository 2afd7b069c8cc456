"""What this machine has: memory, threads, temporary room. Nothing else reads /proc."""

from __future__ import annotations

import mmap
import os
import resource
import shutil
import sys
import tempfile
from pathlib import Path

from mwaconvert.errors import ResourceError

#: interpreter, libraries, small tables
BASE_BYTES = 200 << 20

_UNKNOWN_BYTES = 60 << 20  # of the interpreter and its modules, on systems that do not say


def check_room(n_bytes: int, what: str) -> None:
    """Refuse a temporary file that has no room.

    Raises
    ------
    ResourceError : the folder of temporary files (TMPDIR) is too full
    """
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if free < n_bytes:
        raise ResourceError(
            f"{folder}: {n_bytes / 2**30:.1f} GiB are needed for a temporary file of {what}, "
            f"{free / 2**30:.1f} GiB are free; set TMPDIR to a larger disk or raise `max_memory_gib`",
            option="max_memory_gib",
        )


def map_temporary(n_bytes: int, what: str) -> mmap.mmap:
    """A temporary file of zeros, mapped into memory; it has no name and goes with the mapping.

    Raises
    ------
    ResourceError : the folder of temporary files (TMPDIR) has no room
    """
    folder = tempfile.gettempdir()
    try:
        check_room(n_bytes, what)
        with tempfile.TemporaryFile(prefix="mwaconvert-") as file:
            os.posix_fallocate(file.fileno(), 0, n_bytes)  # a full disk says so here, not in a store
            return mmap.mmap(file.fileno(), n_bytes)
    except OSError as error:
        raise ResourceError(
            f"{folder}: no temporary file of {what} can be made there: {error.strerror}"
        ) from error


def own_memory_bytes() -> int:
    """Bytes that this process takes already: the interpreter and what it has imported."""
    # not what resource.getrusage says: that begins with the peak of the process that started this one
    return _proc("/proc/self/status", "VmRSS:") or _UNKNOWN_BYTES


def free_bytes() -> int:
    """Memory that can be had without swapping; all of it, on a system that does not say."""
    return _proc("/proc/meminfo", "MemAvailable:") or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _proc(path: str, key: str) -> int | None:
    """Bytes that a file of the kernel states in kB; None on other systems."""
    try:
        lines = Path(path).read_text("ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))
    except (OSError, StopIteration, ValueError):
        return None


def peak_memory_bytes() -> int:
    """Largest resident size of this process so far."""
    # what getrusage says starts, after a fork and exec, from the size of the parent
    found = _proc("/proc/self/status", "VmHWM:")
    if found is not None:
        return found
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def tree_bytes(path: Path) -> int:
    """Size of a file, or of all files below a directory."""
    if path.is_dir():
        return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    return path.stat().st_size
