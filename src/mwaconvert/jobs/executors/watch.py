"""Run as a script by executors: one program with its limits and its log, watched to its end.

It outlives the worker that started it, and says in a file how the program ended; the worker, or the next one, reads
that. It uses the standard library alone: on the nodes of a cluster nothing else may be there. All processes of the job
end with its first one, or when this script is told to end (SIGTERM).
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import random
import resource
import selectors
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_LOOK_S = 0.1
_DRAIN_S = 2.0
_LONGEST_LINE = 16 * 1024
_PAGE = os.sysconf("SC_PAGE_SIZE")
#: the answer is written into room that was taken at the beginning, so that a full disk does not swallow it
_ANSWER_BYTES = 4096


def claim(folder: Path, name: str) -> bool:
    """Whether the job of a folder is mine to start: of several who ask, one is told so."""
    try:
        fd = os.open(folder / "claimed", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(fd, "w") as file:
        file.write(name)
    return True


class Log:
    """Lines with the times at which they came."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._rest = b""
        self.fault: str | None = None

    def add(self, data: bytes) -> None:
        """Take in what was printed."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        while len(self._rest) > _LONGEST_LINE:
            lines.append(self._rest[:_LONGEST_LINE])
            self._rest = self._rest[_LONGEST_LINE:]
        if lines:
            now = time.time_ns()
            moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9)).encode()
            first = now % 10**9
            self._write(
                b"".join(
                    b"%s.%09dZ %s\n" % (moment, min(first + k, 10**9 - 1), line)
                    for k, line in enumerate(lines)
                )
            )

    def _write(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError as error:
            self.fault = f"the log is not whole: {error.strerror}"

    def close(self) -> None:
        """The last line may lack its end."""
        if self._rest:
            self.add(b"\n")
        os.close(self._fd)


def family() -> list[tuple[int, int]]:
    """(process, resident bytes) of all that descend from this process."""
    parents: dict[int, int] = {}
    sizes: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            text = (entry / "stat").read_text(errors="replace")
        except OSError:
            continue
        fields = text.rsplit(")", 1)[1].split()
        parents[int(entry.name)] = int(fields[1])
        sizes[int(entry.name)] = 0 if fields[0] in "ZX" else int(fields[21]) * _PAGE
    mine, found = {os.getpid()}, []
    while True:
        grown = [pid for pid, parent in parents.items() if parent in mine and pid not in mine]
        if not grown:
            break
        mine.update(grown)
        found += grown
    return [(pid, sizes[pid]) for pid in found]


class Group:
    """The control group (version 2) that the worker made for the job."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def join(self) -> None:
        """This process becomes a member."""
        (self.path / "cgroup.procs").write_text(str(os.getpid()))

    def oom_kills(self) -> int:
        """How many members were killed for their memory."""
        lines = (self.path / "memory.events").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))

    def remove(self) -> None:
        """The last member may take a moment to go."""
        for _ in range(50):
            try:
                self.path.rmdir()
                return
            except OSError:
                time.sleep(0.02)


class Job:
    """The program and what became of it."""

    def __init__(self, wanted: dict[str, Any], folder: Path) -> None:
        self.wanted = wanted
        self.folder = folder
        self.told_to_end = False
        self.out_of_memory = False
        self.peak = 0
        self.pid = 0
        self.status: int | None = None
        self.notes: list[str] = list(wanted["notes"])
        self.group = Group(wanted["group"]) if wanted["group"] else None

    def start(self, output: int) -> int:
        """The program as a child; its number."""
        pid = os.fork()
        if pid:
            return pid
        try:
            self._become(output)
        except OSError as error:
            os.write(2, f"{self.wanted['argv'][0]}: {error.strerror}\n".encode())
            os._exit(126 if error.errno == errno.EACCES else 127)
        os._exit(127)

    def _become(self, output: int) -> None:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.set_inheritable(1, True)
        os.set_inheritable(2, True)
        if self.group is not None:
            self.group.join()
        elif sys.platform == "linux":
            self._limit()
        os.chdir(self.wanted["folder"])
        os.execvpe(self.wanted["argv"][0], self.wanted["argv"], self.wanted["environment"])

    def _limit(self) -> None:
        # what is resident is watched; this stops what grows faster than anybody looks
        memory = self.wanted["memory"]
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        most = memory + max(memory, 2**30)
        if hard != resource.RLIM_INFINITY:
            most = min(most, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
        cores = sorted(os.sched_getaffinity(0))
        n_cores = max(1, int(-(-self.wanted["cpus"] // 1)))
        if n_cores < len(cores):
            os.sched_setaffinity(0, random.sample(cores, n_cores))

    def look(self) -> None:
        """See how much memory is used, and end the job if that is too much."""
        used = sum(size for _, size in family())
        self.peak = max(self.peak, used)
        if self.group is None and used > self.wanted["memory"]:
            self.out_of_memory = True
            self.end(0)

    def end(self, grace_s: float) -> None:
        """End all processes of the job: asked first, killed after a time."""
        for sign, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 10.0)):
            deadline = time.monotonic() + patience_s
            while members := [pid for pid, _ in family()]:
                for pid in members:
                    with suppress(ProcessLookupError):
                        os.kill(pid, sign)
                self.reap()
                if time.monotonic() > deadline:
                    break
                time.sleep(0.02)

    def reap(self) -> None:
        """Take the ends of all children that have ended; remember that of the program."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid == self.pid:
                self.status = status
                self.peak = max(self.peak, usage.ru_maxrss * 1024)

    def carry_out(self) -> None:
        """Start the program, keep its log, and return when nothing of it is left."""
        reading, writing = os.pipe()
        log = Log(self.wanted["log"])
        self.pid = self.start(writing)
        os.close(writing)
        os.set_blocking(reading, False)
        selector = selectors.DefaultSelector()
        selector.register(reading, selectors.EVENT_READ)
        next_look = 0.0
        is_open = True
        while self.status is None:
            is_open = is_open and self._read(selector, reading, log, _LOOK_S)
            if not is_open:
                time.sleep(0.02)
            if self.told_to_end:
                self.end(self.wanted["grace_s"])
            elif time.monotonic() > next_look:
                self.look()
                next_look = time.monotonic() + 2 * _LOOK_S
            self.reap()
        self.end(0.2)  # what the program left behind
        deadline = time.monotonic() + _DRAIN_S
        while is_open and time.monotonic() < deadline:
            is_open = self._read(selector, reading, log, _LOOK_S)
        log.close()
        if log.fault:
            self.notes.append(log.fault)
        if self.group is not None:
            self.out_of_memory = self.group.oom_kills() > 0
            self.group.remove()

    def _read(self, selector: selectors.BaseSelector, reading: int, log: Log, timeout_s: float) -> bool:
        """Take in what was printed; False once nothing can come any more."""
        if not selector.select(timeout_s):
            return True
        data = os.read(reading, 1 << 20)
        if not data:
            return False
        log.add(data)
        return True

    def answer(self) -> None:
        """Say how it ended."""
        code = os.waitstatus_to_exitcode(self.status or 0)
        facts = {
            "code": code if code >= 0 else None,
            "signal": -code if code < 0 else None,
            "out_of_memory": self.out_of_memory,
            "told_to_end": self.told_to_end,
            "memory_peak": self.peak,
            "notes": self.notes,
        }
        with (self.folder / "end.part").open("r+b") as file:
            file.write(json.dumps(facts).encode()[:_ANSWER_BYTES].ljust(_ANSWER_BYTES))
            file.flush()
            os.fsync(file.fileno())
        (self.folder / "end.part").replace(self.folder / "end.json")


def main() -> None:
    """`watch.py FOLDER`: the folder holds order.json, and gets claimed and end.json."""
    folder = Path(sys.argv[1])
    if not claim(folder, str(os.getpid())):
        return
    wanted = json.loads((folder / "order.json").read_text())
    with (folder / "end.part").open("wb") as file:
        file.write(b" " * _ANSWER_BYTES)
        file.flush()
        os.fsync(file.fileno())
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    job = Job(wanted, folder)

    def told_to_end(*_: object) -> None:
        job.told_to_end = True

    for sign in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(sign, told_to_end)
    job.carry_out()
    job.answer()
    # it may hold the tokens of the user
    (folder / "order.json").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
