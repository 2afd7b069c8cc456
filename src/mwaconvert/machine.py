"""What this machine has: memory, threads, temporary room. Nothing else reads /proc."""

from __future__ import annotations

import mmap
import os
import resource
import shutil
import subprocess
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


def boot_id() -> str:
    """What tells the running kernel from one after a restart, and from that of another machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return os.uname().nodename


def process_start(pid: int) -> str | None:
    """A text that tells a process from a later one of the same number; None if there is no such process."""
    if sys.platform != "linux":
        done = subprocess.run(
            ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        return done.stdout.strip() or None
    fields = _stat(pid)
    if fields is None or fields[0] in "ZX":
        return None
    return f"{boot_id()}:{fields[19]}"


def group_members(group: int) -> list[tuple[int, int, int]]:
    """Living processes of a group: number, start in ticks since the machine started, resident bytes; Linux only."""
    page = os.sysconf("SC_PAGE_SIZE")
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        fields = _stat(int(entry.name))
        if fields is not None and fields[2] == str(group) and fields[0] not in "ZX":
            found.append((int(entry.name), int(fields[19]), int(fields[21]) * page))
    return found


def _stat(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    # the name of the program, in brackets, may hold anything
    return text.rsplit(")", 1)[1].split()


def out_of_memory_kills() -> int:
    """How many processes this machine has killed since it started because memory ran out; 0 where it does not say."""
    try:
        text = Path("/proc/vmstat").read_text("ascii")
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill ")), 0)


def control_group() -> Path | None:
    """The folder of the control group (version 2) of this process; None where there is none."""
    try:
        mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        groups = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    own = next((line.removeprefix("0::") for line in groups if line.startswith("0::")), None)
    mount = next((fields for fields in mounts if "cgroup2" in fields[fields.index("-") :][1:2]), None)
    if own is None or mount is None:
        return None
    root, point = mount[3], Path(mount[4])
    folder = point / (own.removeprefix(root) if root != "/" else own).lstrip("/")
    return folder if folder.is_dir() else None
