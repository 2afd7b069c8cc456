"""Files that pages show: style, script, logs, pictures and reports. Addresses hold numbers, never paths."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi import Path as InPath
from fastapi.responses import FileResponse, Response

from mwaconvert.services.auth import Session
from mwaconvert.services.page import views
from mwaconvert.services.page.guard import Viewer
from mwaconvert.services.page.rendering import render
from mwaconvert.services.page.route import PageRoute
from mwaconvert.services.service import Service, service_of

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_STATIC = Path(__file__).parent / "static"
_TYPES = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
PICTURES = {".html": "text/html", ".png": "image/png"}
#: of a picture: an origin of its own, no script, nothing from elsewhere; only our own pages show it
_SANDBOX = (
    "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'self'"
)
_NOTHING = "default-src 'none'; sandbox"

ServiceOf = Annotated[Service, Depends(service_of)]
Id = Annotated[int, InPath(ge=1, lt=2**31)]


@router.get("/page/{name}")
def static(name: str) -> Response:
    """The stylesheet, the script that keeps pages up to date, and the icon."""
    if name not in _TYPES:
        raise HTTPException(404, "there is no such file")
    # kept by browsers, and asked for by its ETag
    return FileResponse(_STATIC / name, media_type=_TYPES[name], headers={"Cache-Control": "no-cache"})


@router.get("/jobs/{job_id}/logs/{attempt_id}")
def log(service: ServiceOf, session: Viewer, job_id: Id, attempt_id: Id) -> Response:
    """The whole log of an attempt."""
    job = views.visible_job(service, session, job_id)
    attempt = next((a for a in service.store.attempts(job.id) if a.id == attempt_id), None)
    path = None if attempt is None else views.own_file(attempt, attempt.log_path)
    if path is None:
        raise HTTPException(404, "there is no such log")
    headers = {"Content-Security-Policy": _NOTHING, "Content-Disposition": "inline"}
    return FileResponse(path, media_type="text/plain; charset=utf-8", headers=headers)


@router.get("/jobs/{job_id}/picture")
def picture(service: ServiceOf, session: Viewer, job_id: Id) -> Response:
    """The QA picture of a conversion."""
    path = _made(service, session, job_id, "picture")
    if path.suffix not in PICTURES:
        raise HTTPException(404, "the picture is of a kind that is not shown")
    headers = {"Content-Security-Policy": _SANDBOX, "X-Frame-Options": "SAMEORIGIN"}
    return FileResponse(path, media_type=PICTURES[path.suffix], headers=headers)


@router.get("/jobs/{job_id}/report")
def report(request: Request, service: ServiceOf, session: Viewer, job_id: Id) -> Response:
    """The report of a conversion, to read."""
    facts = views.read_report(_made(service, session, job_id, "report"))
    if facts is None:
        raise HTTPException(404, "the report cannot be shown")
    return render(request, "report.html", session, job_id=job_id, facts=facts)


@router.get("/jobs/{job_id}/report.json")
def report_file(service: ServiceOf, session: Viewer, job_id: Id) -> Response:
    """The report of a conversion, for programs."""
    path = _made(service, session, job_id, "report")
    return FileResponse(path, media_type="application/json", headers={"Content-Security-Policy": _NOTHING})


def _made(service: Service, session: Session, job_id: int, what: str) -> Path:
    job = views.visible_job(service, session, job_id)
    path = views.made(service.store.attempts(job.id), what)
    if path is None:
        raise HTTPException(404, f"job {job_id} has no {what}, or it was removed")
    return path
