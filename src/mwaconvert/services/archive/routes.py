"""Pages of the archive: what is looked at, and what people do to runs.

Who may view looks at all of it; who may operate asks for runs; who may approve decides, assigns and cleans up.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import FileResponse, RedirectResponse, Response

from mwaconvert.archive.identifiers import StatusUid, Uid
from mwaconvert.archive.quality.notes import TEMPLATE
from mwaconvert.errors import Error, InputError
from mwaconvert.jobs.control.states import Role
from mwaconvert.jobs.control.work import Job, UnknownError
from mwaconvert.jobs.workflows.archives import asking
from mwaconvert.jobs.workflows.archives.asking import Answer, Purpose
from mwaconvert.jobs.workflows.archives.cleaning import cleanup_request
from mwaconvert.jobs.workflows.archives.restore import restore_request
from mwaconvert.jobs.workflows.archives.site import now
from mwaconvert.services.archive import api
from mwaconvert.services.archive.again import ask_again
from mwaconvert.services.archive.desk import Desk, DeskOf, view_of, weblog_file
from mwaconvert.services.auth import Session
from mwaconvert.services.page.guard import Form, Posted, Viewer
from mwaconvert.services.page.rendering import render
from mwaconvert.services.page.route import PageRoute

pages = APIRouter(route_class=PageRoute, include_in_schema=False, prefix="/archive")
router = APIRouter()

_EVERY_MS = 5000
_MOST_NOTES = 200_000
#: weblogs are made by pipelines of others: an origin of their own, no scripts, nothing from elsewhere
_SANDBOX = (
    "sandbox; default-src 'none'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'self'"
)

Code = Annotated[str, Query(max_length=100)]


@pages.get("")
def show_archive(request: Request, desk: DeskOf, session: Viewer, analyst: Code = "") -> Response:
    """What waits for quality assurance, the last runs, and the projects."""
    return render(
        request,
        "archive.html",
        session,
        queue=desk.catalog.qa_queue(analyst or None),
        analyst=analyst,
        runs=[(run, desk.store.job_named(run.run_id)) for run in desk.catalog.runs(limit=50)],
        projects=desk.catalog.projects(),
        entries=desk.catalog.trail(limit=20),
        every_ms=_EVERY_MS,
        **_roles(session),
    )


@pages.get("/projects/{code}")
def show_project(request: Request, desk: DeskOf, session: Viewer, code: str) -> Response:
    """The tree of a project."""
    units = desk.catalog.tree(code)
    if not units:
        raise HTTPException(404, f"there is no project {code}")
    children: dict[str, list[tuple[StatusUid, str, int]]] = {}
    known = {str(uid) for uid, *_ in units}
    for uid, parent, state, blocks in units:
        above = str(parent) if parent is not None and str(parent) in known else ""
        children.setdefault(above, []).append((uid, state, blocks))
    return render(
        request, "project.html", session, code=code, children=children, every_ms=0, **_roles(session)
    )


@pages.get("/sets/{uid}")
def show_set(request: Request, desk: DeskOf, session: Viewer, uid: str) -> Response:
    """A member set: its state, sessions, runs and what happened to it."""
    return _set_page(request, desk, session, StatusUid(Uid.parse(uid)))


def _set_page(
    request: Request, desk: Desk, session: Session, mous: StatusUid, problem: str = "", status: int = 200
) -> Response:
    return render(
        request,
        "set.html",
        session,
        status,
        problem=problem,
        mous=mous,
        member=desk.catalog.member(mous),
        project=desk.catalog.project_of(mous),
        deliveries=desk.catalog.deliveries(mous),
        public=desk.catalog.deliveries(mous).is_public(now()),
        state=desk.catalog.state(str(mous)),
        runs=desk.catalog.runs(str(mous)),
        entries=desk.catalog.trail(str(mous)),
        purposes=list(Purpose),
        every_ms=0,
        **_roles(session),
    )


@pages.get("/runs/{run_id}")
def show_run(request: Request, desk: DeskOf, session: Viewer, run_id: str) -> Response:
    """All of a run, and the form to decide on it."""
    return _run_page(request, desk, session, run_id)


def _run_page(
    request: Request,
    desk: Desk,
    session: Session,
    run_id: str,
    *,
    problem: str = "",
    notes: str = "",
    status: int = 200,
) -> Response:
    try:
        view = view_of(desk, run_id)
    except InputError as error:
        raise UnknownError(str(error)) from None
    return render(
        request,
        "run.html",
        session,
        status,
        view=view,
        run=view.run,
        problem=problem,
        notes=notes or TEMPLATE.replace("Your Name Here", session.name),
        every_ms=_EVERY_MS,
        **_roles(session),
    )


@pages.get("/runs/{run_id}/weblog/{name:path}")
def weblog(desk: DeskOf, session: Viewer, run_id: str, name: str) -> Response:
    """A file of the weblog of a run."""
    del session
    path = weblog_file(desk.site, desk.catalog.run(run_id), name or "index.html")
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return FileResponse(path, media_type=kind, headers={"Content-Security-Policy": _SANDBOX})


@pages.post("/runs")
def ask(request: Request, desk: DeskOf, form: Form) -> Response:
    """Ask for a run of a member set or execution block."""
    form.need(Role.OPERATE)
    target, name = form.text("target").strip(), form.session.name
    try:
        purpose = Purpose(form.text("purpose"))
        job = asking.ask_run(desk.store, desk.catalog, target, purpose, name, reason=_why(form))
    except ValueError:
        raise HTTPException(400, "a run is for calibration or images") from None
    except InputError as error:
        if not target.startswith("uid"):
            raise
        return _set_page(request, desk, form.session, StatusUid(Uid.parse(target)), str(error), 409)
    return RedirectResponse(f"/jobs/{job.id}", 303)


@pages.post("/restores")
def restore(request: Request, desk: DeskOf, form: Form) -> Response:
    """Ask for a restore of a member set."""
    form.need(Role.OPERATE)
    target = form.text("target").strip()
    mous = StatusUid(Uid.parse(target))
    try:
        job = desk.store.submit(restore_request(target, form.session.name), allow_resubmit=True)
    except InputError as error:
        return _set_page(request, desk, form.session, mous, str(error), 409)
    return RedirectResponse(f"/jobs/{job.id}", 303)


@pages.post("/runs/{run_id}/decide")
def decide(request: Request, desk: DeskOf, form: Form, run_id: str) -> Response:
    """Pass or fail a run; of two who decide at once the second is told."""
    form.need(Role.APPROVE)
    notes = form.text("notes")[:_MOST_NOTES]

    def action() -> Job:
        try:
            answer = Answer(form.text("answer"))
        except ValueError:
            raise InputError("choose pass or fail") from None
        if answer is Answer.RERUN:
            raise InputError("a run again comes with what was edited: use its own form")
        return asking.decide(
            desk.site,
            desk.store,
            desk.catalog,
            run_id,
            answer,
            form.session.name,
            reason=_why(form),
            text=notes,
        )

    return _done(request, desk, form, run_id, action, notes)


@pages.post("/runs/{run_id}/rerun")
def run_again(request: Request, desk: DeskOf, form: Form, run_id: str) -> Response:
    """Ask for a run again, with what an analyst edited."""
    form.need(Role.APPROVE)
    try:
        job = ask_again(desk, form, run_id, _why(form))
    except UnknownError:
        raise
    except Error as error:
        return _run_page(request, desk, form.session, run_id, problem=str(error), status=409)
    return RedirectResponse(f"/jobs/{job.id}", 303)


@pages.post("/runs/{run_id}/assign")
def assign(request: Request, desk: DeskOf, form: Form, run_id: str) -> Response:
    """Give a run that waits to an analyst."""
    form.need(Role.APPROVE)
    analyst = form.text("analyst").strip()[:100]

    def action() -> None:
        if analyst and desk.store.user(analyst) is None:
            raise InputError(f"there is no user {analyst}")
        desk.catalog.assign(run_id, analyst, form.session.name, now())

    return _done(request, desk, form, run_id, action)


@pages.post("/runs/{run_id}/ingest")
def ingest_again(request: Request, desk: DeskOf, form: Form, run_id: str) -> Response:
    """Try an ingest again that failed."""
    form.need(Role.APPROVE)
    who, why = form.session.name, _why(form)
    return _done(
        request,
        desk,
        form,
        run_id,
        lambda: asking.ask_ingest(desk.store, desk.catalog, run_id, who, why),
    )


@pages.post("/runs/{run_id}/cleanup")
def cleanup(request: Request, desk: DeskOf, form: Form, run_id: str) -> Response:
    """Ask for the cleanup of a run: a job proves that all is in the archive, then removes it."""
    form.need(Role.APPROVE)
    desk.catalog.run(run_id)
    job = desk.store.submit(cleanup_request(run_id, form.session.name, _why(form)), allow_resubmit=True)
    del request
    return RedirectResponse(f"/jobs/{job.id}", 303)


def _done(
    request: Request,
    desk: Desk,
    form: Posted,
    run_id: str,
    action: Callable[[], object],
    notes: str = "",
) -> Response:
    """Do something to a run and show it again, with what was wrong and what was written if it was refused."""
    try:
        action()
    except UnknownError:
        raise
    except Error as error:
        return _run_page(request, desk, form.session, run_id, problem=str(error), notes=notes, status=409)
    return RedirectResponse(f"/archive/runs/{run_id}", 303)


def _why(form: Posted) -> str:
    return form.text("why").strip()[:2000]


def _roles(session: Session) -> dict[str, bool]:
    return {"may_approve": session.allows(Role.APPROVE)}


router.include_router(pages)
router.include_router(api.router)
