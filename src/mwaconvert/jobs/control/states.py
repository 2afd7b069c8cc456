"""The one vocabulary of jobs. Faces translate these words into their own; nobody else invents any."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a job is. Coarse on purpose: the name of the current step says the rest."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def words(self) -> str:
        return _STATE_WORDS[self]

    @property
    def is_terminal(self) -> bool:
        """No engine touches the job any more; only a retry or the expiry of its products changes it."""
        return self in TERMINAL

    def may_become(self, other: State) -> bool:
        return other in _NEXT[self]


_STATE_WORDS = {
    State.QUEUED: "waits for a worker",
    State.RUNNING: "a worker carries it out",
    State.WAITING: "waits for the answer of a person or a system",
    State.COMPLETED: "done, products are there",
    State.FAILED: "a step failed",
    State.CANCELLED: "cancelled",
    State.EXPIRED: "done, products are gone",
}
TERMINAL = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED, State.EXPIRED})
ACTIVE = frozenset(State) - TERMINAL
_NEXT: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.RUNNING, State.CANCELLED, State.FAILED}),
    # back to the queue: its worker died
    State.RUNNING: frozenset({State.QUEUED, State.WAITING, State.COMPLETED, State.FAILED, State.CANCELLED}),
    State.WAITING: frozenset({State.QUEUED, State.FAILED, State.CANCELLED}),
    # back to the queue: retry, or a rerun from a named step
    State.COMPLETED: frozenset({State.EXPIRED, State.QUEUED}),
    State.FAILED: frozenset({State.QUEUED}),
    State.CANCELLED: frozenset({State.QUEUED}),
    State.EXPIRED: frozenset({State.QUEUED}),
}


class Outcome(StrEnum):
    """What became of one attempt of a step."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"

    @property
    def words(self) -> str:
        return _OUTCOME_WORDS[self]


_OUTCOME_WORDS = {
    Outcome.RUNNING: "runs",
    Outcome.DONE: "done",
    Outcome.FAILED: "failed",
    Outcome.CANCELLED: "cancelled",
    Outcome.LOST: "its worker died",
}


class Fault(StrEnum):
    """Why a job or an attempt failed: the error code."""

    INPUT = "input"
    STEP = "step"
    TRANSIENT = "transient"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    SIGNAL = "signal"
    EXIT = "exit"
    RESOURCE = "resource"
    LOST = "lost"
    GATE = "gate"
    KIND = "kind"

    @property
    def words(self) -> str:
        return _FAULT_WORDS[self]


_FAULT_WORDS = {
    Fault.INPUT: "the input cannot be used",
    Fault.STEP: "a step failed in a way nobody foresaw",
    Fault.TRANSIENT: "a passing fault did not pass in time",
    Fault.TIMEOUT: "a step took longer than it may",
    Fault.MEMORY: "a step used more memory than it may",
    Fault.SIGNAL: "a program was ended by a signal",
    Fault.EXIT: "a program ended with an error",
    Fault.RESOURCE: "the machine refused: no space, no permission, no memory",
    Fault.LOST: "the step took its worker down again and again",
    Fault.GATE: "refused at a gate",
    Fault.KIND: "no worker knows this kind of job",
}


class Happening(StrEnum):
    """What an event tells."""

    SUBMITTED = "submitted"
    STARTED = "started"
    STEP_STARTED = "step-started"
    STEP_ENDED = "step-ended"
    PROGRESS = "progress"
    GATE_OPENED = "gate-opened"
    GATE_DECIDED = "gate-decided"
    CANCEL_REQUESTED = "cancel-requested"
    REQUEUED = "requeued"
    RETRIED = "retried"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    HIDDEN = "hidden"
    PRODUCT_REMOVED = "product-removed"
    FORGOTTEN = "forgotten"
    SENT = "sent"
    WORKER_STARTED = "worker-started"
    WORKER_STOPPED = "worker-stopped"
    WORKER_LOST = "worker-lost"
    USER_CHANGED = "user-changed"
    SWITCHED = "switched"


class Role(StrEnum):
    """What a user may do. Each role holds the ones before it."""

    VIEW = "view"
    OPERATE = "operate"
    APPROVE = "approve"

    def allows(self, needed: Role) -> bool:
        order = list(Role)
        return order.index(self) >= order.index(needed)


class Sending(StrEnum):
    """Where a message of the outbox is."""

    PENDING = "pending"
    SENDING = "sending"
    SENT = "sent"
    TESTED = "tested"
    FAILED = "failed"
    UNKNOWN = "unknown"

    @property
    def words(self) -> str:
        return _SENDING_WORDS[self]


_SENDING_WORDS = {
    Sending.PENDING: "waits to be sent",
    Sending.SENDING: "is being sent",
    Sending.SENT: "sent",
    Sending.TESTED: "not sent: the switch stands on test",
    Sending.FAILED: "not sent: refused",
    Sending.UNKNOWN: "the sender died while sending: a person must look",
}


class Switch(StrEnum):
    """The one switch of the outbox. A store without an entry stands on TEST."""

    LIVE = "live"
    TEST = "test"
