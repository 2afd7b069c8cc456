"""Job, Step, Gate, Attempt, Workflow: the nouns. All are frozen; the store alone changes what they tell."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mwaconvert.errors import Error, InputError
from mwaconvert.jobs.control.states import Fault, Happening, Outcome, Role, Sending, State

Json = Mapping[str, Any]


class StepError(Error):
    """A step failed, and one sentence says why.

    Parameters
    ----------
    message
        The sentence that a user reads.
    fault
        The code that goes with it.
    """

    def __init__(self, message: str, fault: Fault = Fault.STEP) -> None:
        super().__init__(message)
        self.fault = fault


class TransientError(StepError):
    """A fault that may pass by itself (a bucket out of reach, a full queue): the step is tried again."""

    def __init__(self, message: str) -> None:
        super().__init__(message, Fault.TRANSIENT)


class CancelledError(Error):
    """The job was cancelled, or taken from this worker, while a step ran. Steps let it pass."""


class DuplicateError(InputError):
    """The same job is there already.

    Attributes
    ----------
    job_id
        The id of the job that is there.
    """

    def __init__(self, message: str, job_id: int) -> None:
        super().__init__(message)
        self.job_id = job_id


class QuotaError(InputError):
    """Refused by a quota or by the estimate; the message holds the numbers."""


class DecidedError(InputError):
    """Somebody else decided first. The message says who, and what."""


class UnknownError(InputError):
    """No such job, gate, user or message."""


@dataclass(frozen=True)
class Limits:
    """What one step may use. None: no limit.

    Attributes
    ----------
    memory
        Bytes of resident memory of the whole process group.
    cpu_s
        Seconds of CPU of one process.
    wall_s
        Seconds from start to end.
    files
        Open files of one process.
    cpus
        CPUs that may be busy at once; parts of one as well.
    """

    memory: int | None = None
    cpu_s: int | None = None
    wall_s: float | None = None
    files: int | None = None
    cpus: float | None = None


NO_LIMITS = Limits()


@dataclass(frozen=True)
class Estimate:
    """What a plan thinks a job needs: bytes of memory, seconds, bytes of output. None: not known."""

    memory: int | None = None
    time_s: float | None = None
    output: int | None = None


@dataclass(frozen=True)
class Retry:
    """How often a step is tried when it raises a TransientError, and how long to wait in between."""

    tries: int = 1
    first_s: float = 1.0
    factor: float = 2.0
    longest_s: float = 60.0

    def wait_s(self, failed: int) -> float:
        """Seconds before the next try after `failed` failed ones."""
        return float(min(self.longest_s, self.first_s * self.factor ** (failed - 1)))


@dataclass(frozen=True)
class Step:
    """One idempotent piece of work.

    Attributes
    ----------
    name
        What users see as the current step.
    function
        Takes a Context, returns a JSON object (or None), which later steps find in `context.results`.
        It writes to `context.directory` alone, or by write, sync, rename; what leaves the house goes
        through `context.send`.
    retry, limits
        Tries on transient faults; limits of the programs that the step runs.
    """

    name: str
    function: Callable[[Context], Json | None]
    retry: Retry = Retry()
    limits: Limits = NO_LIMITS


@dataclass(frozen=True)
class Gate:
    """A place where a person or a system must answer before the job goes on.

    Attributes
    ----------
    answers
        The answers that may be given.
    stops
        The answers after which the job fails instead of going on.
    role
        The role that may answer.
    """

    name: str
    answers: tuple[str, ...] = ("pass", "fail")
    stops: tuple[str, ...] = ("fail",)
    role: Role = Role.APPROVE


@dataclass(frozen=True)
class Workflow:
    """A kind of job: steps and gates, one after the other."""

    kind: str
    parts: tuple[Step | Gate, ...]

    def __post_init__(self) -> None:
        names = [part.name for part in self.parts]
        if not names or len(set(names)) != len(names):
            raise InputError(f"workflow {self.kind}: needs steps, each with a name of its own: {names}")

    def names_from(self, name: str) -> tuple[str, ...]:
        """Names of a step or gate and of all that come after it: what a rerun does anew."""
        names = [part.name for part in self.parts]
        if name not in names:
            raise InputError(f"jobs of kind {self.kind} have no step {name!r}, but {', '.join(names)}")
        return tuple(names[names.index(name) :])


class Registry(Protocol):
    """Kind of job -> Workflow. `jobs.workflows` fills it; a plain dict will do."""

    def __getitem__(self, kind: str, /) -> Workflow: ...
    def __contains__(self, kind: object, /) -> bool: ...


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no room for taste; NaN and infinity are refused."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"parameters of a job must be plain JSON: {error}") from error


def duplicate_key(kind: str, owner: str, canonical: Json) -> str:
    """The hash that two submissions of the same job by the same owner share (hex, SHA-256)."""
    return hashlib.sha256(canonical_json([kind, owner, canonical]).encode()).hexdigest()


@dataclass(frozen=True)
class Request:
    """What somebody asks for.

    Attributes
    ----------
    given, canonical
        Parameters as the user wrote them and as the program understood them. The latter is the
        duplicate key, together with kind and owner.
    name
        Unique among the jobs that are listed, or None.
    priority
        The greater, the sooner.
    """

    kind: str
    owner: str
    canonical: Json
    given: Json = field(default_factory=dict)
    name: str | None = None
    priority: int = 0
    estimate: Estimate = Estimate()


@dataclass(frozen=True)
class Job:
    """A row of the store. Times are seconds since 1970 (UTC)."""

    id: int
    kind: str
    owner: str
    name: str | None
    given: Json
    canonical: Json
    digest: str
    state: State
    step: str | None
    progress: float
    progress_text: str
    priority: int
    estimate: Estimate
    fault: Fault | None
    error_text: str | None
    run: int
    worker: str | None
    cancel_requested: bool
    created: float
    started: float | None
    finished: float | None
    expires: float | None


@dataclass(frozen=True)
class Standing:
    """The part of a job that lists of many need: what was asked for is left out."""

    id: int
    name: str
    owner: str
    state: State
    step: str | None
    fault: Fault | None
    progress_text: str


@dataclass(frozen=True)
class Attempt:
    """One try of one step. `pid` and `pid_started` name the process group that it runs, if any."""

    id: int
    job_id: int
    step: str
    number: int
    run: int
    outcome: Outcome
    worker: str
    host: str
    started: float
    ended: float | None
    pid: int | None
    pid_started: str | None
    batch_id: str | None
    directory: Path
    log_path: Path
    result: Json | None
    fault: Fault | None
    error_text: str | None
    superseded: bool


@dataclass(frozen=True)
class Decision:
    """A gate that a job reached, and the answer once it is there."""

    job_id: int
    gate: str
    answers: tuple[str, ...]
    stops: tuple[str, ...]
    role: Role
    opened: float
    answer: str | None
    decided_by: str | None
    decided: float | None
    why: str | None
    superseded: bool


@dataclass(frozen=True)
class Product:
    """What a job delivers.

    Attributes
    ----------
    path
        A file or directory, or the URL of an object.
    details
        What the delivery wants to find again (the place, its kind).
    expires
        When `gc` may remove it; None: never.
    """

    path: str
    size: int
    sha1: str | None = None
    sha256: str | None = None
    expires: float | None = None
    details: Json = field(default_factory=dict)
    id: int = 0
    job_id: int = 0
    removed: float | None = None


@dataclass(frozen=True)
class Event:
    """Something that happened. `seq` only grows: a subscriber resumes from the last it saw."""

    seq: int
    at: float
    happening: Happening
    job_id: int | None
    owner: str | None
    state: State | None
    step: str | None
    data: Json


@dataclass(frozen=True)
class Quotas:
    """Of one user: jobs that run, jobs that wait, bytes of products. None: no limit."""

    running: int | None = None
    queued: int | None = None
    disk: int | None = None


NO_QUOTAS = Quotas()


@dataclass(frozen=True)
class User:
    """`details` is for the faces (the group of a user, a mail address)."""

    name: str
    role: Role
    quotas: Quotas
    created: float
    revoked: float | None
    details: Json


@dataclass(frozen=True)
class Message:
    """A message of the outbox. `key` makes it unique: the same message is never sent twice."""

    key: str
    kind: str
    payload: Json
    state: Sending
    job_id: int | None
    created: float
    sent: float | None
    tries: int
    answer: str | None


@dataclass(frozen=True)
class WorkerRecord:
    """A worker and its heartbeat: `beats` counts, so that no clock is compared with another's."""

    id: str
    host: str
    pid: int
    pid_started: str
    beats: int
    started: float
    seen: float
    alive: bool


@dataclass(frozen=True)
class Ended:
    """How a program ended: what it used of CPU (s), memory (bytes, the most seen) and time (s).

    `held_by` says of each limit of the step by what it was enforced (`confine.Means`).
    """

    cpu_s: float
    memory: int
    wall_s: float
    held_by: Mapping[str, str] = field(default_factory=dict)


class Keeper(Protocol):
    """What a Context needs of its worker: it runs programs and keeps the records of an attempt."""

    def run(self, context: Context, argv: list[str], options: Json) -> Ended: ...
    def progress(self, attempt: Attempt, fraction: float, text: str) -> None: ...
    def note_batch(self, attempt: Attempt, batch_id: str) -> None: ...


@dataclass
class Context:
    """What a step sees.

    Attributes
    ----------
    job
        The job as it was when the step began.
    directory
        The folder of this attempt alone; its log is `log_path`.
    results
        Results of the steps that are done, by name.
    answers
        Decisions of the gates that were passed, by name.
    earlier
        Attempts of this step that ended without success, oldest first (their batch ids, for instance).
    cancelled
        Set when the step must end.
    by_cancel
        Whether it must end because the job was cancelled; else it will be carried on elsewhere.
    """

    job: Job
    attempt: Attempt
    limits: Limits
    results: Mapping[str, Json]
    answers: Mapping[str, Decision]
    earlier: tuple[Attempt, ...]
    cancelled: threading.Event
    by_cancel: Callable[[], bool]
    keeper: Keeper
    products: list[Product] = field(default_factory=list)
    messages: list[tuple[str, str, Json]] = field(default_factory=list)

    @property
    def directory(self) -> Path:
        return self.attempt.directory

    @property
    def log_path(self) -> Path:
        return self.attempt.log_path

    def check(self) -> None:
        """Raise CancelledError if the job was cancelled. Long loops call it."""
        if self.cancelled.is_set():
            raise CancelledError(f"job {self.job.id} was cancelled")

    def progress(self, fraction: float, text: str = "") -> None:
        """Tell how far the step is, 0 to 1. Cheap: the worker writes at most once a second."""
        self.check()
        self.keeper.progress(self.attempt, fraction, text)

    def deliver(self, product: Product) -> None:
        """Add a product; it is recorded together with the end of the step, or not at all."""
        self.products.append(product)

    def send(self, kind: str, payload: Json, key: str = "") -> None:
        """Put a message into the outbox together with the end of the step, or not at all.

        One job has one message for each kind and key, however often the step runs.
        """
        self.messages.append((f"{self.job.id}/{kind}/{key}", kind, payload))

    def note_batch(self, batch_id: str) -> None:
        """Keep the id of a batch job before anybody waits for it."""
        self.keeper.note_batch(self.attempt, batch_id)

    def run(self, argv: list[str], **options: Any) -> Ended:
        """Run a program within the limits of the step; `options` as of `execute.run`.

        Raises StepError, in words, when it does not end well.
        """
        return self.keeper.run(self, argv, options)
