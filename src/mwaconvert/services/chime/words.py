"""Words of Docker's swarm for states of jobs, and back to nothing: clients only read them."""

from __future__ import annotations

from enum import StrEnum

from mwaconvert.jobs.control.states import Fault, State
from mwaconvert.jobs.control.work import Job, Standing
from mwaconvert.jobs.workflows import cluster


class Word(StrEnum):
    """States of a task of a swarm. `ready` is left out: the released client takes it for an end."""

    NEW = "new"
    PENDING = "pending"
    ASSIGNED = "assigned"
    ACCEPTED = "accepted"
    PREPARING = "preparing"
    STARTING = "starting"
    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"
    SHUTDOWN = "shutdown"
    REJECTED = "rejected"
    ORPHANED = "orphaned"
    REMOVE = "remove"


#: of a job that runs, by its step
_STEPS = {
    None: Word.PENDING,
    cluster.RESERVE: Word.PENDING,
    cluster.PREPARE: Word.PREPARING,
    cluster.RUN: Word.RUNNING,
}
_STATES = {
    State.QUEUED: Word.PENDING,
    State.WAITING: Word.PENDING,
    State.COMPLETED: Word.COMPLETE,
    State.EXPIRED: Word.COMPLETE,
    State.CANCELLED: Word.SHUTDOWN,
}
#: what an orchestrator says of its own tasks is handed on as it is
_BEGINNING = {
    word.value: word
    for word in (Word.NEW, Word.PENDING, Word.ASSIGNED, Word.ACCEPTED, Word.PREPARING, Word.STARTING)
}


def word_of(job: Job | Standing) -> Word:
    """What the clients of CHIME/FRB call the state of a job."""
    if job.state is State.RUNNING:
        if job.step == cluster.RUN:
            return _BEGINNING.get(job.progress_text, Word.RUNNING)
        return _STEPS[job.step]
    if job.state is State.FAILED:
        if job.fault is Fault.LOST:
            return Word.ORPHANED
        is_refused = job.fault is Fault.INPUT
        return Word.REJECTED if is_refused else Word.FAILED
    return _STATES[job.state]
