"""Programs as Slurm batch jobs: a thin layer on sbatch, squeue, scontrol and scancel.

The exit code is in a file, so no accounting is needed. The batch job has a name that tells job, step and attempt,
so a step that starts again after its worker died finds what it had submitted, even if it never learnt the id.
"""

from __future__ import annotations

import getpass
import math
import re
import shlex
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from mwaconvert.errors import ResourceError
from mwaconvert.jobs.control.execute import GrowingLog, last_line
from mwaconvert.jobs.control.states import Fault, Outcome
from mwaconvert.jobs.control.work import Attempt, CancelledError, Context, Limits, StepError, TransientError

_EXIT, _SCRIPT = "exit-code", "batch.sh"
# states of jobs that are over; all others (also those of newer versions) may still run
_MAY_PASS = frozenset({"BOOT_FAIL", "NODE_FAIL", "PREEMPTED", "REVOKED"})
_OVER = _MAY_PASS | {"CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "OUT_OF_MEMORY", "TIMEOUT"}


@dataclass(frozen=True)
class _Queued:
    batch_id: str
    name: str
    state: str


class Slurm:
    """The Slurm that the commands on PATH reach. One object serves all steps of a worker.

    Parameters
    ----------
    poll_s
        How often squeue is asked, once for all batch jobs.
    patience_s
        How long the controller may be away.
    options
        Further options of sbatch, such as `--partition=work`.
    """

    def __init__(
        self, *, poll_s: float = 5.0, patience_s: float = 600.0, options: Sequence[str] = ()
    ) -> None:
        self.poll_s = poll_s
        self.patience_s = patience_s
        self.options = tuple(options)
        self._lock = threading.Lock()
        self._asked = -float("inf")
        self._queue: dict[str, _Queued] = {}

    def run(
        self,
        context: Context,
        argv: Sequence[str | Path],
        *,
        on_line: Callable[[str], None] | None = None,
        options: Sequence[str] = (),
    ) -> Path:
        """Run a program as a batch job, within the limits of the step, and wait for its end.

        What an earlier attempt of this step had submitted, and then lost sight of, is waited for instead.

        Parameters
        ----------
        argv
            Program and arguments. It runs in the folder that is returned.
        on_line
            Called with each line that it prints, at most `poll_s` later.
        options
            Of sbatch, for this program alone.

        Returns
        -------
        Path
            The folder where it ran: that of this attempt or of an earlier one.

        Raises
        ------
        StepError
            It did not end with 0; in words.
        TransientError
            Its node failed, Slurm took nothing in, or was away for too long.
        ResourceError
            Slurm is not installed.
        """
        attempt = self.begin(context, lambda: argv, options=options)
        return self.finish(context, attempt, Path(str(argv[0])).name, on_line=on_line)

    def begin(
        self, context: Context, make: Callable[[], Sequence[str | Path]], *, options: Sequence[str] = ()
    ) -> Attempt:
        """Submit a program, unless what an earlier attempt of this step had submitted is done or goes on.

        Parameters
        ----------
        make
            Gives program and arguments; called only when it is submitted, so what it clears is used by nobody.

        Returns
        -------
        Attempt
            Whose batch job `finish` waits for: this one or an earlier one.
        """
        attempt = self._find_earlier(context)
        if attempt is None:
            batch_id = self._submit(context, [str(part) for part in make()], options)
            attempt = replace(context.attempt, batch_id=batch_id)
        context.note_batch(attempt.batch_id or "")
        return attempt

    def finish(
        self,
        context: Context,
        attempt: Attempt,
        name: str,
        *,
        on_line: Callable[[str], None] | None = None,
    ) -> Path:
        """Wait for the end of what `begin` has begun; gives its folder, and errors as `run`.

        Parameters
        ----------
        name
            Of the program, for what is told of a bad end.
        """
        batch_id = attempt.batch_id or ""
        self._wait(context, attempt, batch_id, on_line)
        code = int((attempt.directory / _EXIT).read_text())
        if code:
            last = last_line(attempt.log_path) if attempt.log_path.exists() else ""
            said = f"; its log ends with: {last}" if last else ""
            raise StepError(
                f"{name} (Slurm job {batch_id}) ended with exit code {code}{said}",
                Fault.EXIT,
            )
        return attempt.directory

    def cancel(self, batch_id: str) -> None:
        """End a batch job. May be repeated; one that has ended is not an error."""
        self._call("scancel", batch_id)

    # -- submission

    def _submit(self, context: Context, argv: list[str], options: Sequence[str]) -> str:
        folder = context.directory
        script = folder / _SCRIPT
        script.write_text(
            "#!/bin/sh\n"
            f"cd {shlex.quote(str(folder))} || exit 1\n"
            f"{_ulimits(context.limits)}"
            f"{shlex.join(argv)}\n"
            f"echo $? > {_EXIT}.part\n"
            f"sync {_EXIT}.part\n"
            f"mv {_EXIT}.part {_EXIT}\n"
        )
        words = [
            "sbatch",
            "--parsable",
            f"--job-name={_name(context.attempt)}",
            f"--output={context.log_path}",
            "--open-mode=append",
            "--no-requeue",
            *_limit_options(context.limits),
            *self.options,
            *options,
            str(script),
        ]
        try:
            answer = self._call(*words)
        except ResourceError as error:
            if shutil.which("sbatch") is None:
                raise
            # the controller may have taken it in all the same: the next try looks for it by its name
            raise TransientError(str(error)) from error
        self._forget_queue()
        return answer.split(";")[0].strip()

    def _find_earlier(self, context: Context) -> Attempt | None:
        """The newest attempt whose batch job is done or still known to Slurm; a bad end is not told twice."""
        candidates = [attempt for attempt in context.earlier if (attempt.directory / _SCRIPT).exists()]
        for attempt in reversed(candidates):
            exit_file = attempt.directory / _EXIT
            if attempt.outcome is not Outcome.LOST and exit_file.exists() and int(exit_file.read_text()):
                continue
            found = self._named(_name(attempt), context) if attempt.batch_id is None else None
            known = attempt.batch_id or (found and found.batch_id)
            if exit_file.exists() or (known and self._state(known, context) not in _OVER):
                return replace(attempt, batch_id=known or "unknown")
        return None

    def _named(self, name: str, context: Context) -> _Queued | None:
        # the worker died between sbatch and its note: the controller may hear of the job only now
        for _ in range(3):
            self._forget_queue()
            found = next((job for job in self._ask(context).values() if job.name == name), None)
            if found is not None:
                return found
            context.cancelled.wait(1.0)
        return None

    # -- waiting

    def _wait(
        self, context: Context, attempt: Attempt, batch_id: str, on_line: Callable[[str], None] | None
    ) -> None:
        attempt.log_path.touch()
        log = GrowingLog(attempt.log_path, on_line)
        try:
            self._wait_for_exit(context, attempt.directory / _EXIT, batch_id, log)
        finally:
            log.close()

    def _wait_for_exit(self, context: Context, exit_file: Path, batch_id: str, log: GrowingLog) -> None:
        told = ""
        while not exit_file.exists():
            with suppress(CancelledError):  # which the wait below sees, and ends the batch job for
                log.read()
            state = self._state(batch_id, context)
            if state in _OVER:
                self._say_end(exit_file, batch_id, state)
                return
            if state != told:
                context.keeper.progress(context.attempt, 0.0, f"Slurm job {batch_id}: {state.lower()}")
                told = state
            if context.cancelled.wait(self.poll_s):
                if context.by_cancel():
                    self.cancel(batch_id)
                    raise CancelledError(f"Slurm job {batch_id} was cancelled")
                raise CancelledError(f"the worker stops; Slurm job {batch_id} goes on and is found again")

    def _say_end(self, exit_file: Path, batch_id: str, state: str) -> None:
        # on a network file system the file may come later than the news
        deadline = time.monotonic() + max(5.0, self.poll_s) * (3 if state == "COMPLETED" else 1)
        while time.monotonic() < deadline:
            if exit_file.exists():
                return
            time.sleep(0.2)
        words = state.lower().replace("_", " ")
        if state in _MAY_PASS:
            raise TransientError(f"Slurm job {batch_id} ended: {words}")
        fault = {"OUT_OF_MEMORY": Fault.MEMORY, "TIMEOUT": Fault.TIMEOUT, "DEADLINE": Fault.TIMEOUT}
        raise StepError(
            f"Slurm job {batch_id} ended without an exit code: {words}", fault.get(state, Fault.SIGNAL)
        )

    def _state(self, batch_id: str, context: Context) -> str:
        """State of a batch job; one that squeue has forgotten is asked for by itself, or taken for completed."""
        queued = self._ask(context).get(batch_id)
        if queued is not None:
            return queued.state
        try:
            shown = self._call("scontrol", "show", "job", "--oneliner", batch_id)
        except ResourceError:
            return "COMPLETED"
        found = re.search(r"JobState=(\w+)", shown)
        return found[1] if found else "COMPLETED"

    def _forget_queue(self) -> None:
        with self._lock:
            self._asked = -float("inf")

    def _ask(self, context: Context) -> dict[str, _Queued]:
        """The batch jobs of this user: one squeue call serves all who ask within `poll_s`."""
        with self._lock:
            deadline = time.monotonic() + self.patience_s
            while time.monotonic() - self._asked > self.poll_s:
                try:
                    lines = self._call(
                        "squeue", "--noheader", f"--user={getpass.getuser()}", "--format=%i|%T|%j"
                    )
                except ResourceError as error:
                    if time.monotonic() > deadline or context.cancelled.wait(self.poll_s):
                        raise TransientError(f"Slurm does not answer: {error}") from error
                    continue
                jobs = [line.split("|", 2) for line in lines.splitlines() if line.count("|") >= 2]
                self._queue = {batch_id: _Queued(batch_id, name, state) for batch_id, state, name in jobs}
                self._asked = time.monotonic()
            return self._queue

    def _call(self, *argv: str) -> str:
        try:
            done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
        except FileNotFoundError as error:
            raise ResourceError(
                f"{argv[0]} is not installed here; Slurm must be reachable from the worker"
            ) from error
        except subprocess.TimeoutExpired as error:
            raise ResourceError(f"{argv[0]} did not answer for 60 s") from error
        if done.returncode != 0:
            raise ResourceError(f"{argv[0]}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout


def _name(attempt: Attempt) -> str:
    return f"mwaconvert-{attempt.job_id}-{attempt.step}-{attempt.number}"


def _limit_options(limits: Limits) -> list[str]:
    options = []
    if limits.memory is not None:
        options.append(f"--mem={-(-limits.memory // 2**20)}M")
    if limits.cpus is not None:
        options.append(f"--cpus-per-task={math.ceil(limits.cpus)}")
    if limits.wall_s is not None:
        options.append(f"--time={max(1, -(-int(limits.wall_s) // 60))}")
    return options


def _ulimits(limits: Limits) -> str:
    """Lines of the script for limits that sbatch has no options for."""
    wanted = {"-t": limits.cpu_s, "-n": limits.files}
    return "".join(f"ulimit {option} {value}\n" for option, value in wanted.items() if value is not None)
