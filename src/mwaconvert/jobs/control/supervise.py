"""Keeps processes up: a listener, a processor, a worker. Restarted with back-off, told in states."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from mwaconvert.errors import ResourceError
from mwaconvert.jobs.control.execute import end_group, last_line, launcher


class Health(StrEnum):
    """How a process is that must not end."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    DEGRADED = "degraded"
    FAILED = "failed"

    @property
    def words(self) -> str:
        return _HEALTH_WORDS[self]


_HEALTH_WORDS = {
    Health.STOPPED: "stopped, as it was told to",
    Health.STARTING: "started, not ready yet",
    Health.RUNNING: "ready",
    Health.DEGRADED: "runs, but says that something is wrong, or was restarted a moment ago",
    Health.FAILED: "ended, and will not be started again by itself",
}


@dataclass(frozen=True)
class Status:
    """Health and why; `since` in seconds of the monotonic clock; `restarts` since it was last healthy for long."""

    health: Health
    reason: str
    since: float
    restarts: int
    pid: int | None


@dataclass(frozen=True)
class Service:
    """A process that must not end.

    Attributes
    ----------
    argv
        Program and arguments, without a shell.
    log_path
        What it prints is added to this file.
    check
        Says whether it is well: None if it is not ready, "" if it is, else what is wrong. None: it is well
        as long as it runs.
    ready_s
        It fails if it is not ready within so many seconds.
    first_s, longest_s
        Wait before the first restart; doubled each time up to the longest.
    healthy_s
        After so many seconds in health, restarts are forgotten.
    most_restarts
        Then it is failed; a person must start it.
    stop_s
        Between the request to end and the kill.
    """

    name: str
    argv: Sequence[str]
    log_path: Path
    directory: Path | None = None
    env: Mapping[str, str] | None = None
    check: Callable[[], str | None] | None = None
    ready_s: float = 30.0
    check_s: float = 1.0
    first_s: float = 0.5
    longest_s: float = 60.0
    healthy_s: float = 60.0
    most_restarts: int = 10
    stop_s: float = 5.0


class Supervisor:
    """Keeps one service up. `start` and `stop` may be called in any order and as often as one likes.

    Parameters
    ----------
    on_change
        Called with each new status, from the supervisor's own thread.
    """

    def __init__(self, service: Service, on_change: Callable[[Status], None] | None = None) -> None:
        self.service = service
        self._on_change = on_change
        self._change = threading.Condition()
        self._status = Status(Health.STOPPED, "never started", time.monotonic(), 0, None)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._control = threading.Lock()

    @property
    def status(self) -> Status:
        return self._status

    def start(self) -> None:
        """Start it, unless it is being kept up already; a failed one begins afresh."""
        with self._control:
            if self._thread is not None and self._thread.is_alive():
                return
            self._stopping = threading.Event()
            self._tell(Health.STARTING, "", 0, None)
            self._thread = threading.Thread(
                target=self._keep_up,
                args=(self._stopping,),
                name=f"supervise-{self.service.name}",
                daemon=True,
            )
            self._thread.start()

    def stop(self) -> None:
        """End it, all its process group, and return when it is gone."""
        with self._control:
            self._stopping.set()
            if self._thread is not None:
                self._thread.join(2 * self.service.stop_s + 10)
                if self._thread.is_alive():
                    raise ResourceError(f"{self.service.name} does not end: process {self._status.pid}")
                self._thread = None
            if self._status.health is not Health.STOPPED:
                self._tell(Health.STOPPED, "", 0, None)

    def wait_for(self, *wanted: Health, timeout_s: float) -> Status:
        """Wait for one of these states.

        Raises
        ------
        ResourceError
            It did not come in time; says in which state it is, and why.
        """
        with self._change:
            if not self._change.wait_for(lambda: self._status.health in wanted, timeout_s):
                now = self._status
                raise ResourceError(
                    f"{self.service.name} is {now.health} after {timeout_s:g} s"
                    + (f" ({now.reason})" if now.reason else "")
                )
            return self._status

    # -- the thread of the supervisor

    def _tell(self, health: Health, reason: str, restarts: int, pid: int | None) -> None:
        with self._change:
            before = self._status
            is_new = (before.health, before.reason, before.pid) != (health, reason, pid)
            since = time.monotonic() if before.health is not health else before.since
            self._status = Status(health, reason, since, restarts, pid)
            self._change.notify_all()
        if is_new and self._on_change is not None:
            self._on_change(self._status)

    def _keep_up(self, stopping: threading.Event) -> None:
        service, restarts, reason = self.service, 0, ""
        while True:
            begun = time.monotonic()
            was_healthy_s, reason = self._run_once(stopping, restarts, reason)
            if stopping.is_set():
                return
            restarts = 1 if was_healthy_s >= service.healthy_s else restarts + 1
            if restarts > service.most_restarts:
                self._tell(Health.FAILED, f"{reason}; restarted {restarts - 1} times", restarts - 1, None)
                return
            self._tell(Health.STARTING, reason, restarts, None)
            wait_s = min(service.longest_s, service.first_s * 2 ** (restarts - 1))
            if stopping.wait(max(0.0, wait_s - (time.monotonic() - begun))):
                return

    def _run_once(self, stopping: threading.Event, restarts: int, reason: str) -> tuple[float, str]:
        """Run the process until it ends or must be ended: seconds in health, and why it ended."""
        service = self.service
        try:
            with service.log_path.open("ab") as log:
                process = subprocess.Popen(
                    launcher() + [str(part) for part in service.argv],
                    cwd=service.directory,
                    env=None if service.env is None else dict(service.env),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:
            return 0.0, f"{service.argv[0]} could not be started: {error.strerror}"
        try:
            return self._watch(process, stopping, restarts, reason)
        finally:
            end_group(process.pid, service.stop_s)
            process.wait()

    def _watch(
        self, process: subprocess.Popen[bytes], stopping: threading.Event, restarts: int, reason: str
    ) -> tuple[float, str]:
        service = self.service
        begun = time.monotonic()
        healthy_since: float | None = None
        while not stopping.is_set():
            code = process.poll()
            now = time.monotonic()
            healthy_s = 0.0 if healthy_since is None else now - healthy_since
            if code is not None:
                how = f"exit code {code}" if code >= 0 else f"signal {-code}"
                last = last_line(service.log_path)
                return healthy_s, f"ended with {how}" + (f" ({last})" if last else "")
            wrong = self._ask()
            if wrong is None and healthy_since is None and now - begun > service.ready_s:
                return 0.0, f"was not ready after {service.ready_s:g} s"
            if wrong is None:
                self._tell(
                    Health.STARTING if healthy_since is None else Health.DEGRADED,
                    "not ready",
                    restarts,
                    process.pid,
                )
            else:
                healthy_since = healthy_since or now
                is_fresh = restarts > 0 and healthy_s < service.healthy_s
                why = wrong or (f"restarted: {reason}" if is_fresh else "")
                self._tell(Health.DEGRADED if why else Health.RUNNING, why, restarts, process.pid)
            self._wait(process, stopping)
        return 0.0, ""

    def _ask(self) -> str | None:
        if self.service.check is None:
            return ""
        try:
            return self.service.check()
        except Exception as error:
            return f"its check failed: {type(error).__name__}: {error}"

    def _wait(self, process: subprocess.Popen[bytes], stopping: threading.Event) -> None:
        """Until the next check, or until the process ends."""
        deadline = time.monotonic() + self.service.check_s
        while time.monotonic() < deadline and process.poll() is None:
            if stopping.wait(min(0.05, self.service.check_s)):
                return
