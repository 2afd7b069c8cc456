"""A worker: its place in the store, its heartbeat, and how it carries out a job. Both engines stand on it."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mwaconvert import machine
from mwaconvert.errors import Error, FormatError, InputError, MetadataError, ResourceError
from mwaconvert.jobs.control import execute
from mwaconvert.jobs.control.limits import MAX_LOST, Room
from mwaconvert.jobs.control.states import Fault, Outcome, State
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.control.work import (
    Attempt,
    CancelledError,
    Context,
    Decision,
    Ended,
    Gate,
    Job,
    Json,
    Registry,
    Step,
    StepError,
    TransientError,
    WorkerRecord,
    canonical_json,
)

_log = logging.getLogger(__name__)
_PROGRESS_S = 1.0


@dataclass
class _Hold:
    """A job in the hands of this worker. `by_cancel`: its user wants it to end; else it was taken away."""

    job: Job
    ending: threading.Event = field(default_factory=threading.Event)
    by_cancel: bool = False


@dataclass
class _History:
    """What a job has done before this run."""

    results: dict[str, Json]
    answers: dict[str, Decision]
    unsuccessful: list[Attempt]

    @classmethod
    def of(cls, store: Store, job: Job) -> _History:
        if job.run == 1:
            return cls({}, {}, [])
        attempts = [attempt for attempt in store.attempts(job.id) if not attempt.superseded]
        decisions = [decision for decision in store.decisions(job.id) if not decision.superseded]
        return cls(
            {attempt.step: attempt.result or {} for attempt in attempts if attempt.outcome is Outcome.DONE},
            {decision.gate: decision for decision in decisions if decision.answer is not None},
            [attempt for attempt in attempts if attempt.outcome is not Outcome.DONE],
        )


class Worker:
    """One process that carries out jobs.

    Parameters
    ----------
    work_dir
        Holds a folder for each job and in it one for each attempt. Workers that share a store share it too.
    worker_id
        Fixed: a worker that comes back under its id takes over at once what it left. Default: host name.
    room
        The memory that its jobs may take together.
    beat_s, lease_s
        Heartbeats come each `beat_s`; a worker of another machine is dead when none was seen for `lease_s`.
    watch_s
        How soon a cancel is noticed.
    end_batch
        Ends a batch job that was lost sight of, when its job is cancelled (`Slurm.cancel`).
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        work_dir: Path,
        *,
        worker_id: str | None = None,
        room: Room | None = None,
        beat_s: float = 2.0,
        lease_s: float = 30.0,
        watch_s: float = 0.2,
        end_batch: Callable[[str], None] | None = None,
    ) -> None:
        self.store = store
        self.registry = registry
        self.work_dir = work_dir.resolve()
        self.host = socket.gethostname()
        self.id = worker_id or self.host
        self.room = room or Room()
        self.beat_s, self.lease_s, self.watch_s = beat_s, lease_s, watch_s
        self.end_batch = end_batch
        self.on_reaped: Callable[[str], None] = lambda _worker_id: None
        self._pid = os.getpid()
        self._pid_started = machine.process_start(self._pid) or ""
        self._held: dict[int, _Hold] = {}
        self._to_return: list[Job] = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name=f"watch-{self.id}", daemon=True)
        self._seen: dict[str, tuple[int, float]] = {}
        self._told: dict[int, float] = {}
        #: what the store said when it last failed, until it answers again
        self.trouble: ResourceError | None = None

    # -- life

    def start(self) -> None:
        """Take the place of this id in the store; what ran under it before is queued again.

        Raises
        ------
        ResourceError
            A worker of this id is alive.
        """
        self.work_dir.mkdir(parents=True, exist_ok=True)
        before = next((record for record in self.store.workers() if record.id == self.id), None)
        if before is not None and before.alive:
            self._await_death(before)
        self._end_left_over(self.id)
        self.store.reap(self.id)
        self.store.abandon_messages(self.id)
        self.store.register_worker(self.id, self.host, self._pid, self._pid_started)
        self._watcher.start()

    def stop(self) -> None:
        """End what runs, give it back to the queue and leave the store in good order."""
        self._stopping.set()
        with self._lock:
            holds = list(self._held.values())
        for hold in holds:
            hold.ending.set()
        if self._watcher.is_alive():
            self._watcher.join()
        while self._held:
            time.sleep(0.01)
        if self.trouble is not None:
            return  # the next worker of this id takes back what this one held
        for job in self._to_return:
            self.store.take_back(job)
        self.store.stop_worker(self.id)

    def _await_death(self, before: WorkerRecord) -> None:
        if before.host == self.host:
            if machine.process_start(before.pid) == before.pid_started:
                raise ResourceError(
                    f"worker {self.id} runs already, as process {before.pid}; give this one another id"
                )
            return
        deadline = time.monotonic() + self.lease_s
        while time.monotonic() < deadline:
            time.sleep(min(1.0, self.lease_s / 5))
            now = next(record for record in self.store.workers() if record.id == self.id)
            if now.beats != before.beats and now.alive:
                raise ResourceError(
                    f"worker {self.id} runs already on {before.host}; give this one another id"
                )

    def _end_left_over(self, worker: str) -> None:
        self._end_groups(self.store.running_attempts(worker))

    def _end_groups(self, attempts: list[Attempt]) -> None:
        for attempt in attempts:
            if attempt.pid is not None and attempt.pid_started and attempt.host == self.host:
                execute.end_left_over(attempt.pid, attempt.pid_started)

    # -- watching

    def _watch(self) -> None:
        next_beat = 0.0
        while not self._stopping.wait(self.watch_s):
            try:
                self._end_what_must_end()
                self._return_jobs()
                if time.monotonic() >= next_beat:
                    next_beat = time.monotonic() + self.beat_s
                    self._beat()
                    self._reap_others()
                    self._end_stray_batches()
                    self.trouble = None
            except ResourceError as error:
                self.trouble = error
                _log.warning("worker %s: %s", self.id, error)
            except Exception:
                # a worker that does not watch cannot be cancelled: whatever it is, look again
                _log.exception("worker %s could not look after its jobs", self.id)

    def _end_what_must_end(self) -> None:
        with self._lock:
            holds = {hold.job.id: hold for hold in self._held.values()}
        if not holds:
            return
        ending = self.store.to_be_ended({job_id: hold.job.run for job_id, hold in holds.items()})
        for job_id, by_cancel in ending.items():
            holds[job_id].by_cancel = by_cancel
            holds[job_id].ending.set()

    def _return_jobs(self) -> None:
        while self._to_return:
            self.store.take_back(self._to_return[0])
            del self._to_return[0]

    def _beat(self) -> None:
        if not self.store.beat(self.id, self._pid, self._pid_started):
            # it was held for dead, as a machine that slept is: what it held is gone, the place is free
            self.store.register_worker(self.id, self.host, self._pid, self._pid_started)

    def _reap_others(self) -> None:
        for record in self.store.workers():
            if record.id == self.id or not record.alive:
                continue
            is_gone = record.host == self.host and machine.process_start(record.pid) != record.pid_started
            beats, since = self._seen.get(record.id, (-1, 0.0))
            if beats != record.beats:
                since = time.monotonic()
                self._seen[record.id] = (record.beats, since)
            if is_gone:
                self._end_left_over(record.id)
                self._take_over(record)
            elif time.monotonic() - since < self.lease_s:
                continue
            else:
                # it may only be slow: what it runs is ended if it has lost its jobs, not before
                running = self.store.running_attempts(record.id)
                if self._take_over(record):
                    self._end_groups(running)

    def _take_over(self, record: WorkerRecord) -> bool:
        taken = self.store.reap(record.id, record.beats)
        if taken is not None:
            self.store.abandon_messages(record.id)
            _log.warning("worker %s is dead; jobs %s go back to the queue", record.id, taken)
            self.on_reaped(record.id)
        return taken is not None

    def _end_stray_batches(self) -> None:
        for attempt in self.store.stray_batches() if self.end_batch is not None else ():
            if self.end_batch is not None and attempt.batch_id is not None:
                self.end_batch(attempt.batch_id)
            self.store.stray_batch_ended(attempt.id)

    # -- Keeper

    def run(self, context: Context, argv: list[str], options: Json) -> Ended:
        return execute.run(
            argv,
            log_path=context.log_path,
            limits=context.limits,
            cancelled=context.cancelled,
            on_start=lambda pid, started: self.store.note_attempt(
                context.attempt, pid=pid, pid_started=started
            ),
            **{"directory": context.directory, **options},
        )

    def note_batch(self, attempt: Attempt, batch_id: str) -> None:
        self.store.note_attempt(attempt, batch_id=batch_id)

    def progress(self, attempt: Attempt, fraction: float, text: str) -> None:
        now = time.monotonic()
        if now - self._told.get(attempt.id, -_PROGRESS_S) >= _PROGRESS_S:
            self._told[attempt.id] = now
            self.store.progress(attempt, fraction, text)

    # -- carrying out

    def carry_out(self, job_id: int, run: int) -> bool:
        """Start a queued job and do all its steps, up to the end or a gate; False if it is not to be had."""
        job = self.store.start_run(job_id, run, self.id)
        if job is None:
            return False
        hold = _Hold(job)
        with self._lock:
            if job.id in self._held:
                return False
            self._held[job.id] = hold
        if self._stopping.is_set():
            hold.ending.set()
        try:
            self._carry_out(job, hold)
        except ResourceError as error:
            # the store did not answer, most likely: the job is queued again when it does
            _log.warning("job %d could not be carried on: %s", job.id, error)
            self._to_return.append(job)
        except Exception:
            _log.exception("job %d could not be carried on", job.id)
            self._to_return.append(job)
        finally:
            with self._lock:
                del self._held[job.id]
        return True

    def _carry_out(self, job: Job, hold: _Hold) -> None:
        if job.kind not in self.registry:
            self.store.end_run(job, State.FAILED, Fault.KIND, f"{Fault.KIND.words}: {job.kind}")
            return
        parts = self.registry[job.kind].parts
        history = _History.of(self.store, job)
        for part in parts:
            if part.name in history.results or part.name in history.answers:
                continue
            if hold.ending.is_set():
                self._end_early(hold)
                return
            if isinstance(part, Gate):
                self.store.open_gate(job, part)
                return
            is_last = part is parts[-1]
            if not self._do_step(part, hold, history, is_last) or is_last:
                return
        self.store.end_run(job, State.COMPLETED)

    def _end_early(self, hold: _Hold) -> None:
        if hold.by_cancel:
            self.store.end_run(hold.job, State.CANCELLED)
        else:
            self.store.take_back(hold.job)

    def _do_step(self, step: Step, hold: _Hold, history: _History, is_last: bool) -> bool:
        """Try a step as often as it may be tried; True if it is done and the job goes on."""
        job = hold.job
        earlier = [attempt for attempt in history.unsuccessful if attempt.step == step.name]
        lost = sum(attempt.outcome is Outcome.LOST for attempt in earlier)
        if lost >= MAX_LOST:
            self.store.end_run(
                job, State.FAILED, Fault.LOST, f"{step.name}: {Fault.LOST.words}, {lost} times"
            )
            return False
        failed = 0
        while True:
            attempt = self.store.begin_attempt(job, step.name, self.host, self.work_dir)
            if attempt is None:
                return False
            try:
                context = self._context(step, hold, attempt, history, earlier)
                result = step.function(context) or {}
                canonical_json(result)
            except CancelledError as error:
                outcome = Outcome.CANCELLED if hold.by_cancel else Outcome.LOST
                self.store.fail_attempt(attempt, outcome, text=str(error))
                self._end_early(hold)
                return False
            except Exception as error:
                fault, text = self._say(error, attempt)
                self.store.fail_attempt(attempt, Outcome.FAILED, fault, text)
                failed += 1
                if not isinstance(error, TransientError) or failed >= step.retry.tries:
                    self.store.end_run(job, State.FAILED, fault, text)
                    return False
                if hold.ending.wait(step.retry.wait_s(failed)):
                    self._end_early(hold)
                    return False
                # as it was when it failed, with the batch id that it had
                earlier.append(next(a for a in self.store.attempts(job.id) if a.id == attempt.id))
                continue
            finally:
                self._told.pop(attempt.id, None)
            history.results[step.name] = result
            if not self.store.finish_attempt(
                attempt, result, context.products, context.messages, is_last=is_last
            ):
                # taken away, or its beginning was lost together with the power of the database
                self.store.take_back(job)
                return False
            return True

    def _context(
        self, step: Step, hold: _Hold, attempt: Attempt, history: _History, earlier: list[Attempt]
    ) -> Context:
        if attempt.directory.exists():
            # of an attempt whose beginning was lost together with the power of the database
            shutil.rmtree(attempt.directory)
        attempt.directory.mkdir(parents=True)
        attempt.log_path.touch()
        return Context(
            job=hold.job,
            attempt=attempt,
            limits=step.limits,
            results=dict(history.results),
            answers=dict(history.answers),
            earlier=tuple(earlier),
            cancelled=hold.ending,
            by_cancel=lambda: hold.by_cancel,
            keeper=self,
        )

    def _say(self, error: Exception, attempt: Attempt) -> tuple[Fault, str]:
        """Code and sentence of a failure; one that nobody foresaw leaves its traceback in the log."""
        if isinstance(error, StepError):
            return error.fault, str(error)
        if isinstance(error, (InputError, MetadataError, FormatError)):
            return Fault.INPUT, str(error)
        if isinstance(error, (ResourceError, MemoryError, OSError)):
            return Fault.RESOURCE, str(error) or "out of memory"
        if isinstance(error, Error):
            return Fault.STEP, str(error)
        if attempt.log_path.is_file():
            with attempt.log_path.open("a") as log:
                traceback.print_exception(error, file=log)
        return Fault.STEP, f"{type(error).__name__}: {error}"
