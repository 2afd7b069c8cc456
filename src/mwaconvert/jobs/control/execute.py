"""Programs as children: no shell, a session of their own, limits, ends in words.

The worker may die at any time: on Linux the child is killed with it, and what is left of its process group
(whose number and start are in the store) is ended before the step runs again.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mwaconvert import machine
from mwaconvert.errors import ResourceError
from mwaconvert.jobs.control.confine import Confinement, confine
from mwaconvert.jobs.control.states import Fault
from mwaconvert.jobs.control.work import NO_LIMITS, CancelledError, Ended, Limits, StepError

_GRACE_S = 5.0
_LAUNCH = Path(__file__).with_name("launch.py")
_SHORTEST_S, _LONGEST_S = 0.002, 0.1
_WATCH_S = 0.25


def _is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return sys.platform != "linux" or bool(machine.group_members(group))


def end_group(group: int, grace_s: float = _GRACE_S) -> None:
    """End all processes of a group: asked first, killed after `grace_s`. Nothing happens if there is none."""
    for sign, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, _GRACE_S)):
        deadline = time.monotonic() + patience_s
        while _is_alive(group):
            try:
                os.killpg(group, sign)
            except ProcessLookupError:
                return
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)


def end_left_over(group: int, started: str) -> bool:
    """End what a dead worker left running, unless the number belongs to somebody else by now.

    Parameters
    ----------
    started
        What `machine.process_start` said of the first process of the group.

    Returns
    -------
    bool
        Whether something was left.
    """
    now = machine.process_start(group)
    if now is not None and now != started:
        return False
    if now is None:
        # its first process is gone; members that are not younger than this boot and not older than it are left
        boot, _, ticks = started.partition(":")
        same_boot = sys.platform == "linux" and machine.boot_id() == boot
        members = machine.group_members(group) if same_boot else []
        if not members or min(start for _, start, _ in members) < int(ticks):
            return False
    was_alive = _is_alive(group)
    end_group(group)
    return was_alive


class GrowingLog:
    """Lines of a log as they grow."""

    def __init__(self, path: Path, on_line: Callable[[str], None] | None) -> None:
        self._file = path.open("rb")
        self._file.seek(0, os.SEEK_END)
        self._rest = b""
        self._on_line = on_line

    def read(self) -> None:
        if self._on_line is None:
            return
        *lines, self._rest = (self._rest + self._file.read()).replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            self._on_line(line.decode(errors="replace"))

    def close(self) -> None:
        self._file.close()


def last_line(path: Path) -> str:
    """The last line of a log that is not empty."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4096))
        lines = file.read().decode(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _in_words(
    name: str, status: int, log_path: Path, limits: Limits, *, is_over: bool, oom_kills: int
) -> StepError | None:
    """How a program ended badly; `is_over`: its control group had no memory left."""
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        return None
    last = last_line(log_path)
    said = f"; its log ends with: {last}" if last else ""
    if code > 0 and not is_over:
        return StepError(f"{name} ended with exit code {code}{said}", Fault.EXIT)
    if -code == signal.SIGXCPU and limits.cpu_s is not None:
        return StepError(f"{name} used more than its {limits.cpu_s} s of CPU", Fault.TIMEOUT)
    if is_over and limits.memory is not None:
        return StepError(
            f"{name} used more than the {limits.memory / 1e9:.3g} GB of memory it may", Fault.MEMORY
        )
    if -code == signal.SIGKILL and machine.out_of_memory_kills() > oom_kills:
        return StepError(f"{name} was killed: the machine ran out of memory", Fault.MEMORY)
    words = signal.strsignal(-code) or "unknown"
    return StepError(f"{name} was ended by signal {-code} ({words.lower()}){said}", Fault.SIGNAL)


def launcher(limits: Limits = NO_LIMITS, held: Confinement | None = None) -> list[str]:
    """What must stand before a program and its arguments so that it has limits and dies with this process.

    Parameters
    ----------
    held
        What `confine` has made for it.
    """
    wanted = {
        "parent": os.getpid(),
        "group": None if held is None or held.group is None else str(held.group),
        "cpus": [] if held is None else list(held.cpus),
        # a control group counts better: what is mapped and never touched is not a use of memory
        "memory": None if held is not None and held.has_memory else limits.memory,
        "cpu_s": limits.cpu_s,
        "files": limits.files,
    }
    return [sys.executable, "-I", "-S", str(_LAUNCH), json.dumps(wanted)]


def run(
    argv: Sequence[str | Path],
    *,
    directory: Path,
    log_path: Path,
    limits: Limits = NO_LIMITS,
    cancelled: threading.Event | None = None,
    on_start: Callable[[int, str], None] | None = None,
    on_line: Callable[[str], None] | None = None,
    env: Mapping[str, str] | None = None,
    grace_s: float = _GRACE_S,
) -> Ended:
    """Run a program to its end.

    Parameters
    ----------
    argv
        Program and arguments; no shell sees them.
    directory
        Where it runs.
    log_path
        What it prints is added to this file.
    cancelled
        Once set, the process group is ended.
    on_start
        Called with the process group and its start as soon as there is one.
    on_line
        Called with each line that is printed, about as it is printed.
    env
        The whole environment; by default that of the worker.
    grace_s
        Between the request to end and the kill.

    Returns
    -------
    Ended
        What it used, and what held it within its limits.

    Raises
    ------
    StepError
        It ended otherwise than with 0, or broke a limit; says so in a sentence.
    CancelledError
        The job was cancelled; no process is left.
    """
    if cancelled is not None and cancelled.is_set():
        raise CancelledError("the job was cancelled")
    command = [str(part) for part in argv]
    name = Path(command[0]).name
    oom_kills = machine.out_of_memory_kills()
    begun = time.monotonic()
    with confine(limits) as held:
        child = _start(launcher(limits, held) + command, name, directory, log_path, env)
        lines = GrowingLog(log_path, on_line)
        try:
            if on_start is not None:
                on_start(child.pid, machine.process_start(child.pid) or "")
            status, cpu_s, peak = _wait(child, name, limits, cancelled, lines, begun, grace_s)
        finally:
            # also when a callback raised
            end_group(child.pid, grace_s)
            if child.returncode is None:
                child.wait()
            lines.read()
            lines.close()
        is_over = held.out_of_memory()
        failure = _in_words(name, status, log_path, limits, is_over=is_over, oom_kills=oom_kills)
        if failure is not None:
            raise failure
        held_by = {limit: means.value for limit, means in held.held_by.items()}
        return Ended(cpu_s, max(peak, held.peak()), time.monotonic() - begun, held_by)


def _start(
    words: list[str], name: str, directory: Path, log_path: Path, env: Mapping[str, str] | None
) -> subprocess.Popen[bytes]:
    try:
        with log_path.open("ab") as log:
            return subprocess.Popen(
                words,
                cwd=directory,
                env=None if env is None else dict(env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        raise ResourceError(f"{name} could not be started: {error.strerror}") from error


def _wait(
    child: subprocess.Popen[bytes],
    name: str,
    limits: Limits,
    cancelled: threading.Event | None,
    lines: GrowingLog,
    begun: float,
    grace_s: float,
) -> tuple[int, float, int]:
    """Wait for the end: exit status, CPU seconds, peak of resident bytes."""
    sleep_s = _SHORTEST_S
    watched = begun
    peak = 0
    waiter = cancelled or threading.Event()
    while True:
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        if pid:
            child.returncode = os.waitstatus_to_exitcode(status)
            scale = 1 if sys.platform == "darwin" else 1024
            return status, usage.ru_utime + usage.ru_stime, max(peak, usage.ru_maxrss * scale)
        lines.read()
        now = time.monotonic()
        if limits.wall_s is not None and now - begun > limits.wall_s:
            end_group(child.pid, grace_s)
            raise StepError(f"{name} took longer than the {limits.wall_s:g} s that it may", Fault.TIMEOUT)
        if limits.memory is not None and now - watched > _WATCH_S:
            watched = now
            used = sum(resident for _, _, resident in machine.group_members(child.pid))
            peak = max(peak, used)
            if used > limits.memory:
                end_group(child.pid, 0)
                raise StepError(
                    f"{name} used {used / 1e9:.3g} GB of memory, more than the {limits.memory / 1e9:.3g} GB it may",
                    Fault.MEMORY,
                )
        if waiter.wait(sleep_s):
            end_group(child.pid, grace_s)
            raise CancelledError(f"{name} was ended, as the job was cancelled")
        sleep_s = min(_LONGEST_S, sleep_s * 1.5)
