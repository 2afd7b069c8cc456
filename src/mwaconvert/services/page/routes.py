"""Addresses of the page: what is looked at, and what users do to a job."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi import Path as InPath
from fastapi.responses import RedirectResponse, Response
from pydantic import AfterValidator
from starlette.datastructures import FormData

from mwaconvert.errors import InputError
from mwaconvert.jobs.control.states import Role, State
from mwaconvert.jobs.control.work import Decision, Job
from mwaconvert.jobs.delivery.places import Folder
from mwaconvert.services.asvo.v1 import file_address
from mwaconvert.services.auth import COOKIE, Session, set_cookie
from mwaconvert.services.page import files, submission, views
from mwaconvert.services.page.guard import (
    TOKEN,
    Form,
    Posted,
    Viewer,
    form_token,
    inside,
    is_token,
    read_form,
    texts,
)
from mwaconvert.services.page.rendering import render
from mwaconvert.services.page.route import PageRoute
from mwaconvert.services.service import Service, service_of

router = APIRouter(route_class=PageRoute, include_in_schema=False)
router.include_router(files.router)
router.include_router(submission.router)

_A_PAGE = 50
_LOGIN_COOKIE = "MWA_LOGIN_FORM"
_LOGIN_LIFE_S = 3600.0
_JOB_MS, _LIST_MS = 2000, 4000
_WRONG_KEY = "This name and key open nothing. Mind that a new key ends the old one."
_MOST_SHOWN = 50

ServiceOf = Annotated[Service, Depends(service_of)]
#: what a list is searched for; NUL is refused by databases
Wanted = Annotated[str, Query(max_length=200), AfterValidator(lambda text: text.replace("\0", "").strip())]
JobId = Annotated[int, InPath(ge=1, lt=2**31)]


# ------------------------------------------------------------------------------------------ in and out


@router.get("/")
def home() -> Response:
    """The list of jobs."""
    return RedirectResponse("/jobs", 303)


@router.get("/login")
def show_login(
    request: Request, service: ServiceOf, after: Annotated[str, Query(alias="next")] = ""
) -> Response:
    """The form to log in with."""
    return _login_form(request, service, after)


def _login_form(
    request: Request, service: Service, after: str, *, name: str = "", problem: str = ""
) -> Response:
    mark = secrets.token_urlsafe(16)
    response = render(
        request,
        "login.html",
        None,
        403 if problem else 200,
        form_token=form_token(service.secret, mark),
        after=inside(after),
        name=name,
        problem=problem,
    )
    set_cookie(response, request, mark, _LOGIN_LIFE_S, _LOGIN_COOKIE)
    return response


@router.post("/login")
async def log_in(
    request: Request, service: ServiceOf, form: Annotated[FormData, Depends(read_form)]
) -> Response:
    """Open a session: its cookie is a new one, whatever the browser had before."""
    given = texts(form)
    name, after = given.get("name", "").strip(), given.get("next", "")
    mark = request.cookies.get(_LOGIN_COOKIE, "")
    if not mark or not is_token(service.secret, mark, given.get(TOKEN, "")):
        return _login_form(request, service, after, name=name, problem="The form was too old. Try again.")
    opened = await service.sessions.log_in_apart(given.get("key", "").strip(), "page", name or None)
    if opened is None:
        return _login_form(request, service, after, name=name, problem=_WRONG_KEY)
    response = RedirectResponse(inside(after), 303)
    set_cookie(response, request, opened[1], service.sessions.life_s)
    response.delete_cookie(_LOGIN_COOKIE, path="/")
    return response


@router.post("/logout")
def log_out(service: ServiceOf, form: Form) -> Response:
    """End the session."""
    service.sessions.log_out(form.session)
    response = RedirectResponse("/login", 303)
    response.delete_cookie(COOKIE, path="/")
    return response


# ------------------------------------------------------------------------------------------ to look at


@router.get("/jobs")
def list_jobs(
    request: Request,
    service: ServiceOf,
    session: Viewer,
    state: str = "",
    kind: Wanted = "",
    owner: Wanted = "",
    text: Wanted = "",
    before: Annotated[str, Query(pattern=r"^\d{0,9}$")] = "",
) -> Response:
    """Jobs, the newest first."""
    whose = (owner or None) if session.allows(Role.APPROVE) else session.name
    chosen = State(state) if state in list(State) else None
    found = service.store.jobs(
        owner=whose,
        kind=kind or None,
        states=None if chosen is None else [chosen],
        text=text,
        before=int(before) if before else None,
        limit=_A_PAGE + 1,
    )
    shown = found[:_A_PAGE]
    filters = {"state": chosen or "", "kind": kind, "owner": owner, "text": text}
    kept = {name: str(value) for name, value in filters.items() if value}
    older = f"?{urlencode({**kept, 'before': shown[-1].id})}" if len(found) > _A_PAGE else ""
    return render(
        request,
        "jobs.html",
        session,
        jobs=[(job, views.title(job)) for job in shown],
        counts=service.store.counts(owner=whose, kind=kind or None),
        links={state: f"?{urlencode({**kept, 'state': state.value})}" for state in State},
        link_to_all=f"?{urlencode({name: value for name, value in kept.items() if name != 'state'})}",
        filters=filters,
        states=list(State),
        kinds=views.kinds(service),
        older=older,
        newest=f"?{urlencode(kept)}" if before else "",
        now=service.store.now(),
        every_ms=0 if before else _LIST_MS,
    )


@router.get("/jobs/{job_id}")
def show_job(request: Request, service: ServiceOf, session: Viewer, job_id: JobId) -> Response:
    """All of a job."""
    return _job_page(request, service, session, views.visible_job(service, session, job_id))


def _job_page(
    request: Request, service: Service, session: Session, job: Job, *, problem: str = "", status: int = 200
) -> Response:
    attempts = service.store.attempts(job.id)
    decisions = service.store.decisions(job.id)
    products = [
        (product, name, _address(service, request, product))
        for product, name in views.shown_products(service.store.products(job.id))
    ]
    picture = views.made(attempts, "picture")
    return render(
        request,
        "job.html",
        session,
        status,
        job=job,
        title=views.title(job),
        problem=problem,
        decision=_may_decide(session, views.open_decision(job, decisions)),
        waits_at=views.open_decision(job, decisions),
        steps=views.steps(service, job, attempts, decisions),
        redo=views.redo_steps(service, job.kind),
        log=views.log_of(attempts),
        products=products,
        has_picture=picture is not None and picture.suffix in files.PICTURES,
        has_report=views.made(attempts, "report") is not None,
        history=views.history(service, job),
        now=service.store.now(),
        every_ms=0 if job.state.is_terminal else _JOB_MS,
    )


def _address(service: Service, request: Request, product: Any) -> str:
    """Where a product is downloaded from; empty for one that lies on a shared disk, or is gone."""
    if product.removed is not None or product.details.get("delivery") != "acacia":
        return ""
    return file_address(service, request, product)


def _may_decide(session: Session, decision: Decision | None) -> Decision | None:
    return decision if decision is not None and session.allows(decision.role) else None


@router.get("/queue")
def show_queue(request: Request, service: ServiceOf, session: Viewer) -> Response:
    """What waits, who works, and how much room there is."""
    whose = None if session.allows(Role.APPROVE) else session.name
    store = service.store
    gates = [d for d in store.open_gates(_MOST_SHOWN) if whose is None or _owner(service, d) == whose]
    return render(
        request,
        "queue.html",
        session,
        counts=store.counts(),
        own=store.counts(owner=session.name),
        running=store.jobs(owner=whose, states=[State.RUNNING], limit=_MOST_SHOWN),
        gates=gates,
        workers=store.workers(),
        disks=_disks(service),
        states=list(State),
        now=store.now(),
        every_ms=_LIST_MS,
    )


def _owner(service: Service, decision: Decision) -> str:
    return service.store.job(decision.job_id).owner


def _disks(service: Service) -> list[tuple[str, Any]]:
    """Names and room of the disks that jobs write to; names of folders are not for users."""
    folders: dict[str, Path] = {"working room of jobs": service.config.work}
    if isinstance(service.site.packages, Folder):
        folders["products"] = Path(service.config.delivery.packages.place)
    folders |= {f"delivery to {name}": root for name, root in service.site.shared.items()}
    return [(name, shutil.disk_usage(folder)) for name, folder in folders.items() if folder.is_dir()]


# ------------------------------------------------------------------------------------------ to do


@router.post("/jobs/{job_id}/cancel")
def cancel(request: Request, service: ServiceOf, form: Form, job_id: JobId) -> Response:
    """Cancel a job."""
    job = _own(service, form, job_id)
    return _done(request, service, form, job, lambda: service.store.cancel(job.id, form.session.name))


@router.post("/jobs/{job_id}/retry")
def retry(request: Request, service: ServiceOf, form: Form, job_id: JobId) -> Response:
    """Try a job again, from the step that failed or from a named one."""
    job = _own(service, form, job_id)

    def again() -> Job:
        step = form.text("step")
        redo = views.rerun_names(service, job.kind, step) if step else ()
        return service.store.retry(job.id, form.session.name, redo)

    return _done(request, service, form, job, again)


@router.post("/jobs/{job_id}/decide")
def decide(request: Request, service: ServiceOf, form: Form, job_id: JobId) -> Response:
    """Answer the gate at which a job waits."""
    job = views.visible_job(service, form.session, job_id)
    gate, answer, why = (form.text(name) for name in ("gate", "answer", "why"))
    decision = next((d for d in service.store.decisions(job.id) if d.gate == gate and not d.superseded), None)
    if decision is not None:
        form.need(decision.role)
    return _done(
        request,
        service,
        form,
        job,
        lambda: service.store.decide(job.id, gate, answer, form.session.name, why.strip()[:2000]),
    )


def _own(service: Service, form: Posted, job_id: int) -> Job:
    """The job that a form is about, if its user may change it."""
    job = views.visible_job(service, form.session, job_id)
    form.need(Role.OPERATE)
    return job


def _done(request: Request, service: Service, form: Posted, job: Job, action: Any) -> Response:
    """Do something to a job and show it again, with what was wrong if it was refused."""
    try:
        action()
    except InputError as error:
        now = service.store.job(job.id)
        return _job_page(request, service, form.session, now, problem=str(error), status=409)
    return RedirectResponse(f"/jobs/{job.id}", 303)


@router.get("/jobs/{rest:path}")
def nothing(rest: str) -> Response:
    """Addresses that mean nothing, said on a page."""
    del rest
    raise HTTPException(404, "there is no such page")
