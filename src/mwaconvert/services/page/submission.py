"""The page that takes jobs in: a job file, pasted or uploaded, or a form for one job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import Response

from mwaconvert.errors import InputError
from mwaconvert.jobs.control.states import Role
from mwaconvert.jobs.control.work import DuplicateError, Job
from mwaconvert.services.auth import Session
from mwaconvert.services.page.guard import Form, Viewer
from mwaconvert.services.page.rendering import render
from mwaconvert.services.page.route import PageRoute
from mwaconvert.services.service import Service, service_of
from mwaconvert.vocabulary.job_file import JobFileError, JobRow, read_job, read_jobs
from mwaconvert.vocabulary.job_rows import JobKind

router = APIRouter(route_class=PageRoute, include_in_schema=False)
ServiceOf = Annotated[Service, Depends(service_of)]

_MOST_JOBS = 1000
#: what the form for one job asks, by the kind of job; all else is for job files
_FIELDS = {
    JobKind.CONVERSION: ("obs_id", "output", "avg_time_res", "avg_freq_res", "flag_edge_width", "centre",
                         "no_rfi", "apply_di_cal", "delivery", "allow_resubmit"),
    JobKind.DOWNLOAD: ("obs_id", "download_type", "delivery", "allow_resubmit"),
}  # fmt: skip
_KINDS = {"conversion": JobKind.CONVERSION, "download": JobKind.DOWNLOAD}


@dataclass(frozen=True)
class Wrong:
    """Something wrong with a job file: where, what, and the line itself."""

    line: int
    column: int
    message: str
    text: str


@dataclass(frozen=True)
class Taken:
    """What became of a row: its job, or the one that is there already, or why it was refused."""

    row: JobRow
    job: Job | None
    twin: int | None
    refused: str


@router.get("/submit")
def show(request: Request, service: ServiceOf, session: Viewer) -> Response:
    """The forms."""
    if not session.allows(Role.OPERATE):
        raise HTTPException(403, f"to submit jobs needs the role operate; yours is {session.user.role}")
    return _page(request, service, session)


def _page(
    request: Request,
    service: Service,
    session: Session,
    *,
    status: int = 200,
    pasted: str = "",
    given: Mapping[str, str] | None = None,
    wrong: Sequence[Wrong] = (),
    problem: str = "",
) -> Response:
    return render(
        request,
        "submit.html",
        session,
        status,
        pasted=pasted,
        given=dict(given or {}),
        wrong=wrong,
        problem=problem,
        deliveries=["acacia", *service.site.places, *service.site.shared],
    )


@router.post("/submit")
def submit_file(request: Request, service: ServiceOf, form: Form) -> Response:
    """Take all jobs of a file in, or none if anything in it is wrong."""
    form.need(Role.OPERATE)
    pasted = form.text("jobs")
    uploaded = next((upload.data for upload in form.uploaded("file")), b"")
    data = uploaded or pasted.encode()
    text = data.decode("utf-8", "replace")

    def refuse(problem: str = "", wrong: Sequence[Wrong] = ()) -> Response:
        return _page(request, service, form.session, status=400, pasted=text, wrong=wrong, problem=problem)

    if uploaded and pasted.strip():
        return refuse("Both a file and pasted lines were given: give one of them.")
    try:
        rows = read_jobs(data, "job file")
    except JobFileError as error:
        lines = data.splitlines()
        wrong = [
            Wrong(p.line, p.column, p.message, lines[p.line - 1].decode("utf-8", "replace"))
            for p in error.problems
        ]
        return refuse(wrong=wrong)
    except InputError as error:
        return refuse(str(error))
    if len(rows) > _MOST_JOBS:
        return refuse(f"The file has {len(rows)} jobs; at most {_MOST_JOBS} are taken at once.")
    taken = [_take(service, form.session, row) for row in rows]
    return render(request, "taken.html", form.session, taken=taken)


@router.post("/submit/one")
def submit_one(request: Request, service: ServiceOf, form: Form) -> Response:
    """Take one job in."""
    form.need(Role.OPERATE)
    kind = _KINDS.get(form.text("kind"))
    if kind is None:
        raise HTTPException(400, "choose a conversion or a download")
    params = {name: text for name in _FIELDS[kind] if (text := form.text(name).strip())}
    given = {**params, "kind": form.text("kind")}
    try:
        row = read_job(kind, params)
    except InputError as error:
        return _page(request, service, form.session, status=400, given=given, problem=str(error))
    taken = _take(service, form.session, row)
    if taken.refused:
        return _page(request, service, form.session, status=400, given=given, problem=taken.refused)
    return render(request, "taken.html", form.session, taken=[taken])


def _take(service: Service, session: Session, row: JobRow) -> Taken:
    try:
        return Taken(row, service.submit(row, session), None, "")
    except DuplicateError as error:
        return Taken(row, None, error.job_id, "")
    except InputError as error:
        return Taken(row, None, None, str(error))
