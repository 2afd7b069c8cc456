"""The archive as JSON, for programs: an archive tells of new observations, a dashboard asks for the queue."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from mwaconvert.archive.catalog import Run
from mwaconvert.jobs.control.states import Role
from mwaconvert.jobs.control.work import DecidedError, Job, UnknownError
from mwaconvert.jobs.workflows.archives import asking
from mwaconvert.jobs.workflows.archives.asking import Answer, Purpose
from mwaconvert.services.archive.desk import DeskOf, view_of
from mwaconvert.services.auth import Operator, Session, Viewer, current_session

router = APIRouter(prefix="/archive/api", tags=["archive"])


def approving_session(session: Annotated[Session, Depends(current_session)]) -> Session:
    """The session of a user who may decide; else 403."""
    if not session.allows(Role.APPROVE):
        raise HTTPException(
            403, f"Permission denied: this needs the role approve; yours is {session.user.role}"
        )
    return session


Approver = Annotated[Session, Depends(approving_session)]
Text = Annotated[str, Field(max_length=2000)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Observation(_Body):
    """An observation that came into the archive."""

    target: Text


class NewRun(_Body):
    """A run that is asked for."""

    target: Text
    purpose: Purpose
    why: Text = ""


class NewDecision(_Body):
    """What an analyst says of a run."""

    answer: Answer
    why: Text = ""
    notes: Annotated[str, Field(max_length=200_000)] = ""


@router.get("/queue")
def queue(desk: DeskOf, session: Viewer, analyst: str | None = None) -> list[dict[str, Any]]:
    """Runs that wait for quality assurance, the longest first."""
    del session
    return [_run(run) for run in desk.catalog.qa_queue(analyst)]


@router.get("/projects/{code}")
def tree(desk: DeskOf, session: Viewer, code: str) -> list[dict[str, Any]]:
    """Unit sets of a project."""
    del session
    return [
        {"uid": str(uid), "parent": None if parent is None else str(parent), "state": state, "exec_blocks": n}
        for uid, parent, state, n in desk.catalog.tree(code)
    ]


@router.get("/runs/{run_id}")
def run(desk: DeskOf, session: Viewer, run_id: str) -> dict[str, Any]:
    """A run, its decisions, what was ingested of it, and the audit trail."""
    del session
    view = view_of(desk, run_id)
    return {
        **_run(view.run),
        "job": None if view.job is None else _job(view.job),
        "calibration_status": view.state.calibration.value or None,
        "srdp_status": view.state.srdp.value or None,
        "inputs": view.inputs,
        "decisions": [
            {
                "revision": r.revision,
                "status": r.notes.status.value or None,
                "score": r.notes.score,
                "analyst": r.notes.analyst,
                "comments": r.notes.comments,
                "by": r.decided_by,
                "at": r.at.isoformat(),
            }
            for r in view.records
        ],
        "ingested": [
            {
                "name": i.file.name,
                "role": i.file.role.value,
                "sha256": i.file.sha256,
                "verified_at": None if i.verified_at is None else i.verified_at.isoformat(),
            }
            for i in view.items
        ],
        "trail": [
            {
                "at": e.at.isoformat(),
                "actor": e.actor,
                "action": e.action.words,
                "reason": e.reason,
                "detail": e.detail,
            }
            for e in view.trail
        ],
    }


@router.post("/observations", status_code=202)
def observation(desk: DeskOf, session: Operator, body: Observation) -> dict[str, Any]:
    """An observation was ingested: its calibration starts by itself, once."""
    return _job(asking.observation_ingested(desk.store, desk.catalog, body.target, session.name))


@router.post("/runs", status_code=202)
def ask(desk: DeskOf, session: Operator, body: NewRun) -> dict[str, Any]:
    """Ask for a run."""
    return _job(
        asking.ask_run(desk.store, desk.catalog, body.target, body.purpose, session.name, reason=body.why)
    )


@router.post("/runs/{run_id}/decision")
def decide(desk: DeskOf, session: Approver, run_id: str, body: NewDecision) -> dict[str, Any]:
    """Decide on a run; 409 if somebody was faster."""
    if body.answer is Answer.RERUN:
        raise HTTPException(400, "a run again comes with what was edited: use mwaconvert srdp rerun")
    try:
        job = asking.decide(
            desk.site,
            desk.store,
            desk.catalog,
            run_id,
            body.answer,
            session.name,
            reason=body.why,
            text=body.notes,
        )
    except UnknownError:
        raise
    except DecidedError as error:
        raise HTTPException(409, str(error)) from None
    return _job(job)


def _run(run: Run) -> dict[str, Any]:
    return {
        "run": run.run_id,
        "kind": run.kind,
        "target": run.target,
        "attempt": run.attempt,
        "parent": run.parent,
        "state": run.state.value,
        "assigned_to": run.assigned_to or None,
        "casa": run.casa or None,
        "pipeline": run.pipeline or None,
    }


def _job(job: Job) -> dict[str, Any]:
    return {
        "job": job.id,
        "run": job.name,
        "state": str(job.state),
        "step": job.step,
        "error": job.error_text,
    }
