"""Podman with storage of its own below a folder, its API on a socket, and an image made of busybox."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: programs of busybox that the image has
_WORDS = ("sh", "ls", "echo", "sleep", "true", "false", "cat", "touch", "dd", "tail", "env", "yes", "head")
IMAGE = "localhost/alpine:latest"


def why_not() -> str | None:
    """Why Podman cannot be used here; None if it can."""
    for program in ("podman", "busybox"):
        if shutil.which(program) is None:
            return f"{program} is not installed (Debian: podman, runc, busybox-static)"
    return None if os.geteuid() == 0 else "only root is sure to be allowed containers"


@contextmanager
def podman(folder: Path) -> Iterator[str]:
    """The address of the socket, as long as the block lasts."""
    conf = folder / "containers.conf"
    runtime = "runc" if shutil.which("runc") else "crun"
    conf.write_text(
        '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\nnetns = "host"\n'
        f'[engine]\nruntime = "{runtime}"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
    )
    words = [
        "podman",
        "--root",
        str(folder / "root"),
        "--runroot",
        str(folder / "run"),
        "--storage-driver",
        "vfs",
    ]
    env = {**os.environ, "CONTAINERS_CONF": str(conf)}
    subprocess.run([*words, "import", "-", IMAGE], input=_image(), env=env, check=True, capture_output=True)
    socket = folder / "podman.sock"
    with (folder / "podman.log").open("wb") as log:
        service = subprocess.Popen(
            [*words, "system", "service", "--time=0", f"unix://{socket}"],
            cwd=folder,  # where a container runs out of memory, a file is left
            env=env,
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + 60
        while not socket.exists():
            assert service.poll() is None, (folder / "podman.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield f"unix://{socket}"
    finally:
        service.terminate()
        service.wait(30)
        subprocess.run([*words, "rm", "--all", "--force"], env=env, check=False, capture_output=True)


def _image() -> bytes:
    """A file system with busybox alone."""
    busybox = Path(shutil.which("busybox") or "").resolve()
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        tar.add(busybox, "bin/busybox")
        for word in _WORDS:
            link = tarfile.TarInfo(f"bin/{word}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for name in ("tmp", "etc", "data", "dev", "proc"):
            place = tarfile.TarInfo(name)
            place.type, place.mode = tarfile.DIRTYPE, 0o777
            tar.addfile(place)
    return made.getvalue()
