"""Small disks and namespaces of their own, where the machine lets us have them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_INSIDE = "MWACONVERT_ATTACK"
_SPACES = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]


def enter_namespaces() -> bool:
    """Start again in namespaces of its own, whose disks and processes end with it; False: the machine has none."""
    if _INSIDE in os.environ:
        return os.environ[_INSIDE] == "inside"
    for more in ([], ["--map-root-user"]):  # as root, or as whoever may have a user namespace
        words = ["unshare", *more, *_SPACES]
        probe = [*words, "sh", "-c", "mount -t tmpfs -o size=4096 tmpfs /mnt"]
        if (
            shutil.which("unshare")
            and subprocess.run(probe, check=False, capture_output=True).returncode == 0
        ):
            os.environ[_INSIDE] = "inside"
            os.execvp(words[0], [*words, sys.executable, *sys.argv])
    return False


@contextmanager
def small_disk(folder: Path, n_bytes: int) -> Iterator[None]:
    """A disk of this size on a folder."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={n_bytes}", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def occupy(folder: Path, n_bytes: int) -> None:
    """Fill a disk up to the last byte, or by this much."""
    with (folder / "other").open("ab", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while file.tell() + size <= n_bytes:
                    file.write(bytes(size))
            except OSError:
                pass


def left_running(patience_s: float = 30.0) -> list[str]:
    """Command lines of what still runs in this process namespace; what ends meanwhile is not left."""
    deadline = time.monotonic() + patience_s
    while found := _others():
        if time.monotonic() > deadline:
            return found
        time.sleep(0.05)
    return []


def _others() -> list[str]:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:  # this is the first process here: orphans are its own
            pass
    except ChildProcessError:
        pass
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        if int(entry.name) != os.getpid():
            try:
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                continue
    return found
