"""What pages show of a job, gathered from the store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mwaconvert.jobs.control.states import Happening, Outcome, Role, State
from mwaconvert.jobs.control.work import Attempt, Decision, Event, Job, Json, Product, Step, UnknownError
from mwaconvert.jobs.workflows.registry import workflows
from mwaconvert.services.auth import Session
from mwaconvert.services.service import Service

LOG_TAIL = 16_000
"""Bytes at the end of a log that a page shows."""
_MOST_EVENTS = 200
_MOST_REPORT = 8 << 20


@dataclass(frozen=True)
class StepView:
    """A step or gate of a job with its attempts, the newest last; `words` are for one that has none."""

    name: str
    words: str
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True)
class Log:
    """The end of a log; `is_cut`: it begins before."""

    attempt: Attempt
    text: str
    is_cut: bool


def visible_job(service: Service, session: Session, job_id: int) -> Job:
    """A job that a user may see: an own one, or any if the user approves.

    Raises
    ------
    UnknownError : there is no such job, or it is of somebody else
    """
    job = service.store.job(job_id)
    if job.owner != session.name and not session.allows(Role.APPROVE):
        raise UnknownError(f"there is no job {job_id}")
    return job


def title(job: Job) -> str:
    """What a job is, in a few words.

    An observation id, a name that its user gave, or both.
    """
    obs_id = job.canonical.get("obs_id")
    of = f" of {obs_id:010d}" if isinstance(obs_id, int) else ""
    return f"{job.kind}{of}" + (f", {job.name}" if job.name else "")


def kinds(service: Service) -> list[str]:
    """Kinds of jobs of this service."""
    return list(workflows(service.site))


def step_names(service: Service, kind: str) -> list[str]:
    """Names of the steps and gates of a kind of job; none for a kind that is not known here."""
    workflow = workflows(service.site).get(kind)
    return [] if workflow is None else [part.name for part in workflow.parts]


def rerun_names(service: Service, kind: str, step: str) -> tuple[str, ...]:
    """What is done anew if a job runs again from a step."""
    workflow = workflows(service.site).get(kind)
    if workflow is None:
        raise UnknownError(f"jobs of kind {kind} cannot run here")
    return workflow.names_from(step)


def redo_steps(service: Service, kind: str) -> list[str]:
    """Steps from which a job may run again."""
    workflow = workflows(service.site).get(kind)
    return [] if workflow is None else [part.name for part in workflow.parts if isinstance(part, Step)]


def steps(
    service: Service, job: Job, attempts: Sequence[Attempt], decisions: Sequence[Decision]
) -> list[StepView]:
    """All steps and gates of a job, those to come as well, in their order."""
    names = step_names(service, job.kind)
    names += [a.step for a in attempts if a.step not in names]
    gates = {decision.gate: decision for decision in decisions if not decision.superseded}
    found = []
    for name in dict.fromkeys([*names, *gates]):
        mine = tuple(attempt for attempt in attempts if attempt.step == name)
        words = _gate_words(gates[name]) if name in gates else _not_begun(job)
        found.append(StepView(name, words, mine))
    return found


def _gate_words(decision: Decision) -> str:
    if decision.answer is None:
        return "waits for an answer"
    return f"{decision.answer}, by {decision.decided_by}" + (f": {decision.why}" if decision.why else "")


def _not_begun(job: Job) -> str:
    return "was not begun" if job.state.is_terminal else "to come"


def open_decision(job: Job, decisions: Sequence[Decision]) -> Decision | None:
    """The gate at which a job waits."""
    waiting = (d for d in decisions if d.answer is None and not d.superseded)
    return next(waiting, None) if job.state is State.WAITING else None


def log_of(attempts: Sequence[Attempt]) -> Log | None:
    """The end of the newest log that has something in it; of one that runs, even if it is empty yet."""
    for attempt in reversed(attempts):
        path = own_file(attempt, attempt.log_path)
        size = 0 if path is None else path.stat().st_size
        if path is not None and (size or attempt.outcome is Outcome.RUNNING):
            with path.open("rb") as file:
                file.seek(max(0, size - LOG_TAIL))
                text = file.read(LOG_TAIL).decode("utf-8", "replace")
            is_cut = size > LOG_TAIL
            return Log(attempt, text.partition("\n")[2] if is_cut else text, is_cut)
    return None


def own_file(attempt: Attempt, path: Path) -> Path | None:
    """A file of an attempt, if it is there and truly one of its job: no link leads elsewhere."""
    try:
        real = path.resolve(strict=True)
    except OSError:
        return None
    folder = attempt.directory.parent.resolve()
    return real if real.is_relative_to(folder) and real.is_file() else None


def made(attempts: Sequence[Attempt], what: str) -> Path | None:
    """A file that the newest attempt with a valid result names (`picture`, `report`); None if there is none."""
    for attempt in reversed(attempts):
        named = (attempt.result or {}).get(what)
        if attempt.outcome is Outcome.DONE and not attempt.superseded and isinstance(named, str):
            return own_file(attempt, Path(named))
    return None


def read_report(path: Path) -> Json | None:
    """The report of a conversion; None if it cannot be shown."""
    try:
        if path.stat().st_size > _MOST_REPORT:
            return None
        facts = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) else None


def history(service: Service, job: Job) -> list[tuple[Event, str]]:
    """The last events of a job with words, the newest first; progress is left out."""
    found = service.store.events(job_id=job.id, leave_out=Happening.PROGRESS)
    return [(event, _event_words(event)) for event in reversed(found[-_MOST_EVENTS:])]


def _event_words(event: Event) -> str:
    data: dict[str, Any] = dict(event.data)
    words = event.happening.value.replace("-", " ")
    about = [str(event.step)] if event.step and event.happening.value.startswith(("step", "gate")) else []
    about += [str(data[key]) for key in ("outcome", "answer", "text", "why") if data.get(key)]
    about += [f"by {data['by']}"] if data.get("by") else []
    about += [f"on {data['worker']}"] if data.get("worker") else []
    return f"{words}: {', '.join(about)}" if about else words


def shown_products(products: Sequence[Product]) -> list[tuple[Product, str]]:
    """Products with their names."""
    return [(product, str(product.details.get("name") or Path(product.path).name)) for product in products]
