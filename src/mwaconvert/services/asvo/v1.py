"""The ASVO's API v1, as the released mwa_client and giant-squid need it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Depends, Query, Request, WebSocket
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from mwaconvert.errors import InputError
from mwaconvert.jobs.control.states import State
from mwaconvert.jobs.control.store import Selection
from mwaconvert.jobs.control.work import DuplicateError, Job, Product, UnknownError
from mwaconvert.services.asvo import words
from mwaconvert.services.auth import (
    COOKIE,
    Operator,
    Session,
    Viewer,
    basic_credentials,
    is_cross_site,
    set_cookie,
)
from mwaconvert.services.rows import Row
from mwaconvert.services.service import Service, service_of
from mwaconvert.services.sockets import Change, until_closed
from mwaconvert.vocabulary.job_file import read_job
from mwaconvert.vocabulary.job_rows import JobKind

router = APIRouter(prefix="/api", tags=["ASVO v1"])

#: texts that scripts of users look for, byte by byte
DUPLICATE = "Job already running or complete"
DUPLICATE_V1 = "Job already queued, processing or complete"
_MOST_FIELDS = 100
_REFUSED = 0
_DUPLICATE = 2
_DAY_S = 86400

ServiceOf = Annotated[Service, Depends(service_of)]


@router.post("/api_login", response_class=PlainTextResponse)
async def api_login(request: Request, service: ServiceOf) -> PlainTextResponse:
    """Log in by HTTP Basic: the program's name and version, and the API key. Sets the cookie of the session."""
    if is_cross_site(request):
        return PlainTextResponse("refused: another site sent this request", 403)
    credentials = basic_credentials(request.headers.get("authorization"))
    opened = credentials and await service.sessions.log_in_apart(credentials[1], credentials[0])
    if not opened:
        text = "Invalid API key: mwaconvert users add gives a new one"
        return PlainTextResponse(text, 401, {"WWW-Authenticate": 'Basic realm="mwaconvert"'})
    response = PlainTextResponse("Logged in")
    set_cookie(response, request, opened[1], service.sessions.life_s)
    return response


@router.get("/get_jobs")
def get_jobs(request: Request, session: Viewer, service: ServiceOf) -> Response:
    """All jobs of the user whose products are there or to come."""
    return Response(_rows(service, request, session)[1], media_type="application/json")


def _form() -> dict[str, Any]:
    """How OpenAPI describes a form of which the keys are the job's parameters."""
    schema = {
        "type": "object",
        "properties": {"obs_id": {"type": "string"}, "allow_resubmit": {"type": "string"}},
        "additionalProperties": {"type": "string"},
    }
    return {"requestBody": {"content": {"application/x-www-form-urlencoded": {"schema": schema}}}}


@router.post("/conversion_job", openapi_extra=_form())
async def conversion_job(request: Request, session: Operator, service: ServiceOf) -> JSONResponse:
    """Submit a conversion."""
    return await _submit(request, session, service, JobKind.CONVERSION)


@router.post("/download_vis_job", openapi_extra=_form())
async def download_vis_job(request: Request, session: Operator, service: ServiceOf) -> JSONResponse:
    """Submit a download of raw visibilities or metadata."""
    return await _submit(request, session, service, JobKind.DOWNLOAD)


@router.post("/voltage_job", openapi_extra=_form())
async def voltage_job(request: Request, session: Operator, service: ServiceOf) -> JSONResponse:
    """Submit a download of voltages."""
    return await _submit(request, session, service, JobKind.VOLTAGES)


@router.post("/beamformer_job", openapi_extra=_form())
async def beamformer_job(request: Request, session: Operator, service: ServiceOf) -> JSONResponse:
    """Refused, in words: there is no beamformer here."""
    return await _submit(request, session, service, JobKind.BEAMFORMER)


@router.post("/imaging_job", openapi_extra=_form())
async def imaging_job(request: Request, session: Operator, service: ServiceOf) -> JSONResponse:
    """Refused, in words: there is no imager here."""
    return await _submit(request, session, service, JobKind.IMAGING)


@router.post("/preprocessed_imaging_job", openapi_extra=_form())
async def preprocessed_imaging_job(session: Operator) -> JSONResponse:
    """Refused, in words: there is no imager here."""
    del session
    return refusal("imaging jobs cannot be carried out here; types c, d and v can")


@router.get("/cancel_job")
def cancel_job(
    session: Operator, service: ServiceOf, job_id: Annotated[int, Query(ge=1, le=999_999_999)]
) -> PlainTextResponse:
    """Cancel a job of the user; one that is cancelled already is not a mistake."""
    try:
        own_job(service, session, job_id)
        service.store.cancel(job_id, session.name)
    except UnknownError:
        return PlainTextResponse(f"Job {job_id} not found", 404)
    except InputError as error:
        return PlainTextResponse(str(error), 400)
    return PlainTextResponse(f"Job {job_id} cancelled")


@router.websocket("/job_results")
async def job_results(socket: WebSocket) -> None:
    """Rows of all jobs right after the connection, then each that changes."""
    service = service_of(socket)
    session = (
        None
        if is_cross_site(socket)
        else await run_in_threadpool(service.sessions.open, socket.cookies.get(COOKIE))
    )
    if session is None:
        await socket.close(1008)
        return
    await socket.accept()
    await until_closed(socket, lambda: _send_rows(socket, service, session))


# ------------------------------------------------------------------------------------ what routes share


def own_job(service: Service, session: Session, job_id: int) -> Job:
    """A job of the user of a kind that the ASVO knows; UnknownError if it is anybody else's, or none at all."""
    job = service.store.job(job_id)
    if job.owner != session.name or job.kind not in words.KINDS:
        raise UnknownError(f"there is no job {job_id}")
    return job


def refusal(text: str) -> JSONResponse:
    """A submission that is refused; code 0, for clients ignore all others but that of duplicates."""
    return JSONResponse({"error": text, "error_code": _REFUSED}, 400)


async def _submit(request: Request, session: Session, service: Service, kind: JobKind) -> JSONResponse:
    body = await request.body()
    try:
        given = dict(
            parse_qsl(body.decode("utf-8", "replace"), max_num_fields=_MOST_FIELDS, errors="replace")
        )
    except ValueError:
        return refusal(f"a form of more than {_MOST_FIELDS} fields")
    return await run_in_threadpool(_take_in, service, session, kind, given)


def _take_in(service: Service, session: Session, kind: JobKind, given: dict[str, str]) -> JSONResponse:
    try:
        job = service.submit(read_job(kind, given), session)
    except DuplicateError as error:
        text = DUPLICATE_V1 if words.needs_numbers(session.client) else DUPLICATE
        return JSONResponse({"error": text, "error_code": _DUPLICATE, "job_id": error.job_id}, 400)
    except InputError as error:
        return refusal(str(error))
    return JSONResponse({"job_id": job.id})


def _rows(service: Service, connection: HTTPConnection, session: Session) -> tuple[list[Row], bytes]:
    """All jobs of a user, the oldest first, as API v1 lists them, and as the JSON of all of them."""

    def make(jobs: Iterable[Job]) -> Iterator[Row]:
        listed = [job for job in jobs if job.state is not State.EXPIRED]
        products = service.store.products_of(job.id for job in listed if job.state is State.COMPLETED)
        for job in listed:
            item = item_of(service, connection, session, job, products.get(job.id, ()))
            if item is not None:
                text = json.dumps(item, ensure_ascii=False, separators=(",", ":"))
                yield Row(job.id, _place_of(job, item), text)

    today = int(service.store.now()) // _DAY_S  # links to what is kept for ever end in a week
    form = service.base_url(connection), words.needs_numbers(session.client), today
    return service.rows.of(Selection(owner=session.name, kinds=words.KINDS), form, make)


def item_of(
    service: Service,
    connection: HTTPConnection,
    session: Session,
    job: Job,
    products: Sequence[Product],
    action: str = "INSERT",
) -> dict[str, Any] | None:
    """One job as API v1 has it; None if its products are gone, which no client of v1 understands."""
    if job.state is State.EXPIRED or (job.state is State.COMPLETED and not products):
        return None
    files = []
    if job.state is State.COMPLETED:
        files = words.files_of(job, products, lambda product: file_address(service, connection, product))
    row = words.row_of(job, files, numbers=words.needs_numbers(session.client))
    return {"action": action, "table": "jobs", "row": row}


def file_address(service: Service, connection: HTTPConnection, product: Product) -> str:
    """A signed link to an archive."""
    name = str(product.details["name"])
    expires = service.link_ends(product)
    if "://" in product.path:
        return service.bucket_link(name, expires)
    query = service.links.query(product.id, name, expires)
    return f"{service.base_url(connection)}/files/{product.id}/{name}?{urlencode(query)}"


async def _send_rows(socket: WebSocket, service: Service, session: Session) -> None:
    sent: dict[int, tuple[Any, ...]] = {}
    with service.feed.listen(session.name) as listener:
        for row in (await run_in_threadpool(_rows, service, socket, session))[0]:
            sent[row.job_id] = row.place
            await socket.send_text(row.text)
        while (change := await listener.next()) is not None:
            frame = _frame(socket, service, session, change, sent)
            if frame is not None:
                await socket.send_json(frame)
    await socket.close(1012)


def _place_of(job: Job, item: dict[str, Any]) -> tuple[Any, ...]:
    """How far a job is, as its client was told."""
    return job.run, job.state.is_terminal, item["row"]["job_state"]


def _frame(
    socket: WebSocket,
    service: Service,
    session: Session,
    change: Change,
    sent: dict[int, tuple[Any, ...]],
) -> dict[str, Any] | None:
    """What to tell of a change: nothing twice, since of two rows of a completed job a client makes two downloads."""
    job = change.job
    if job is None or job.kind not in words.KINDS:
        return None
    before = sent.get(job.id)
    item = item_of(service, socket, session, job, change.products, "INSERT" if before is None else "UPDATE")
    if item is None:
        return None if sent.pop(job.id, None) is None else _deleted(job, session)
    now = _place_of(job, item)
    # a change may be older than the rows that were sent at the beginning
    if before is not None and (before == now or now[:2] < before[:2]):
        return None
    sent[job.id] = now
    return item


def _deleted(job: Job, session: Session) -> dict[str, Any]:
    row = words.row_of(job, [], numbers=words.needs_numbers(session.client))
    return {"action": "DELETE", "table": "jobs", "row": row}
