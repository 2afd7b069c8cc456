"""The ASVO's API v2, as its coming clients speak it: JSON, tokens that end, errors with words for codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

import jwt
from fastapi import APIRouter, Depends, Path, Request, WebSocket
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from mwaconvert import __version__
from mwaconvert.errors import InputError
from mwaconvert.jobs.control.states import Role, State
from mwaconvert.jobs.control.store import Selection
from mwaconvert.jobs.control.work import DuplicateError, Job, Product, UnknownError, User
from mwaconvert.services.asvo import words
from mwaconvert.services.asvo.v1 import DUPLICATE, file_address, own_job
from mwaconvert.services.auth import Session, is_cross_site
from mwaconvert.services.service import Service, service_of
from mwaconvert.services.signing import key_for
from mwaconvert.services.sockets import until_closed
from mwaconvert.vocabulary.job_file import read_job
from mwaconvert.vocabulary.job_rows import JobKind

PREFIX = "/api/v2"
router = APIRouter(prefix=PREFIX, tags=["ASVO v2"])
ACCESS_COOKIE, REFRESH_COOKIE = "mwa_access_token", "mwa_refresh_token"
_ALGORITHM = "HS256"
_DAY_S = 86400
_MOST_JOBS = 10_000
_WIDEST_ID = 999_999_999


class Code(StrEnum):
    """Kinds of errors."""

    INVALID_KEY = "AUTH_INVALID_CREDENTIALS"
    REQUIRED = "AUTH_REQUIRED"
    INVALID_TOKEN = "AUTH_INVALID_TOKEN"
    FORBIDDEN = "AUTH_FORBIDDEN"
    NOT_FOUND = "JOB_NOT_FOUND"
    NO_OBSERVATION = "OBS_NOT_FOUND"
    DUPLICATE = "JOB_DUPLICATE"
    STATE = "JOB_STATE"
    INVALID = "VALID_INVALID_FIELD"
    MISSING = "VALID_MISSING_FIELD"


_STATUS = {
    Code.INVALID_KEY: 401,
    Code.REQUIRED: 401,
    Code.INVALID_TOKEN: 401,
    Code.FORBIDDEN: 403,
    Code.NOT_FOUND: 404,
    Code.NO_OBSERVATION: 404,
    Code.DUPLICATE: 409,
    Code.STATE: 409,
    Code.INVALID: 400,
    Code.MISSING: 400,
}


class ProblemError(Exception):
    """An error as clients of v2 expect it."""

    def __init__(self, code: Code, message: str, **more: Any) -> None:
        super().__init__(message)
        self.code = code
        self.more = more

    def response(self) -> JSONResponse:
        facts = {"error_code": self.code, "message": str(self), **self.more}
        return JSONResponse(facts, _STATUS[self.code])


def invalid_fields(errors: Sequence[Any]) -> JSONResponse:
    """What pydantic found wrong in a request."""
    fields = [
        {"field": ".".join(str(part) for part in error["loc"][1:]) or "body", "message": error["msg"]}
        for error in errors
    ]
    missing = any(error["type"] == "missing" for error in errors)
    text = "; ".join(f"{field['field']}: {field['message']}" for field in fields)
    return ProblemError(Code.MISSING if missing else Code.INVALID, text, field_errors=fields).response()


# ------------------------------------------------------------------------------------------------ tokens


class Use(StrEnum):
    """What a token is good for."""

    ACCESS = "access"
    REFRESH = "refresh"
    SOCKET = "socket"


_LIFE_S = {Use.ACCESS: 900, Use.SOCKET: 60}


def make_token(service: Service, session: Session, use: Use) -> str:
    """A token of a session, good for one use."""
    now = int(service.store.now())
    life_s = _LIFE_S.get(use, int(service.sessions.life_s))
    facts = {
        "sub": session.name,
        "key": repr(session.user.created),
        "client": session.client,
        "use": use,
        "iat": now,
        "exp": now + life_s,
        "jti": session.token,
    }
    return jwt.encode(facts, key_for(service.secret, "tokens"), _ALGORITHM)


def _session(service: Service, token: str | None, use: Use) -> Session:
    if not token:
        raise ProblemError(Code.REQUIRED, "log in first")
    try:
        facts = jwt.decode(
            token, key_for(service.secret, "tokens"), [_ALGORITHM], {"require": ["exp", "sub"]}
        )
    except jwt.InvalidTokenError:
        raise ProblemError(Code.INVALID_TOKEN, "the token is not valid or has ended; log in again") from None
    user = service.store.user(str(facts["sub"]))
    if facts.get("use") != use or user is None or repr(user.created) != facts.get("key"):
        raise ProblemError(Code.INVALID_TOKEN, "the token is not valid any more; log in again")
    session = Session(user, str(facts.get("client")), str(facts.get("jti")))
    if service.sessions.has_ended(session):
        raise ProblemError(Code.INVALID_TOKEN, "logged out; log in again")
    return session


def viewing(connection: HTTPConnection) -> Session:
    """The session of a request; a dependency of routes."""
    if is_cross_site(connection):
        raise ProblemError(Code.FORBIDDEN, "refused: another site sent this request")
    return _session(service_of(connection), connection.cookies.get(ACCESS_COOKIE), Use.ACCESS)


def operating(session: Annotated[Session, Depends(viewing)]) -> Session:
    """As `viewing`, of a user who may do more than look."""
    if not session.allows(Role.OPERATE):
        raise ProblemError(
            Code.FORBIDDEN, f"Permission denied: the role {session.user.role} may look, no more"
        )
    return session


Viewer = Annotated[Session, Depends(viewing)]
Operator = Annotated[Session, Depends(operating)]
ServiceOf = Annotated[Service, Depends(service_of)]


# ------------------------------------------------------------------------------------------------ bodies


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Login(_Body):
    """`login` is the name and version of the program, `password` the API key."""

    login: str = Field(max_length=36)
    password: str = Field(max_length=1024)


class Listing(_Body):
    """Which jobs are wanted."""

    days: int = Field(default=30, ge=1, le=30)
    limit: int = Field(default=100, ge=1, le=500)
    offset: int = Field(default=0, ge=0, le=_MOST_JOBS)
    job_state: words.Word | None = None
    job_type: int | None = Field(default=None, ge=0, le=6)
    date_from: datetime | None = None
    date_to: datetime | None = None
    sort_by: Literal["id"] = "id"


class _Submission(_Body):
    obs_id: int = Field(ge=888_888_889, le=9_999_999_999)
    allow_resubmit: bool = False


class ConversionBody(_Submission):
    """A conversion, with the defaults of v2."""

    output: Literal["ms", "uvfits"] = "ms"
    avg_time_res: float = Field(default=2.0, ge=0, le=5400)
    avg_freq_res: float = Field(default=40.0, ge=0, le=1280)
    flag_edge_width: float = Field(default=80.0, ge=0, le=640)
    centre: Literal["phase", "pointing", "custom"] = "phase"
    custom_centre_ra: float | None = Field(default=None, ge=0, le=359.999999)
    custom_centre_dec: float | None = Field(default=None, ge=-90, le=90)
    apply_di_cal: bool = False
    no_apply_amps: bool = False
    no_rfi: bool = False
    no_geometry_delay: bool = False
    no_cable_delay: bool = False
    no_digital_gains: bool = False
    no_flag_dc: bool = False
    no_passband_gains: bool = False
    delivery: Literal["acacia", "scratch"] = "acacia"
    delivery_format: Literal["tar", "files"] = "tar"


class DownloadBody(_Submission):
    """A download of visibilities or metadata."""

    download_type: Literal["vis", "meta"]
    delivery: Literal["acacia", "scratch", "dug"] = "acacia"
    delivery_format: Literal["tar", "files"] = "tar"


class VoltageBody(_Submission):
    """A download of voltages."""

    offset: int = Field(ge=0, le=5400)
    duration: int = Field(ge=1, le=86400)
    from_channel: int | None = Field(default=None, ge=0, le=255)
    to_channel: int | None = Field(default=None, ge=0, le=255)
    delivery: Literal["scratch"] = "scratch"
    delivery_format: Literal["files"] = "files"


# ------------------------------------------------------------------------------------------------ routes


@router.post("/api_login")
async def api_login(request: Request, body: Login, service: ServiceOf) -> JSONResponse:
    """Log in with the API key; the tokens go into the cookies of later requests."""
    if is_cross_site(request):
        raise ProblemError(Code.FORBIDDEN, "refused: another site sent this request")
    opened = await service.sessions.log_in_apart(body.password, body.login)
    if opened is None:
        raise ProblemError(Code.INVALID_KEY, "Invalid API key")
    return JSONResponse(_tokens(service, opened[0]))


def _tokens(service: Service, session: Session) -> dict[str, Any]:
    return {
        "access_token": make_token(service, session, Use.ACCESS),
        "refresh_token": make_token(service, session, Use.REFRESH),
        "token_type": "bearer",
        "user": _user(session.user),
    }


def _user(user: User) -> dict[str, Any]:
    group = user.details.get("group")
    return {
        "id": words.user_number(user.name),
        "login": user.name,
        "email": user.details.get("email"),
        "is_superuser": user.role is Role.APPROVE,
        "pawsey_group": group,
        "dug_group": group,
    }


@router.post("/refresh")
def refresh(request: Request, service: ServiceOf) -> JSONResponse:
    """New tokens for the cookie `mwa_refresh_token`."""
    if is_cross_site(request):
        raise ProblemError(Code.FORBIDDEN, "refused: another site sent this request")
    session = _session(service, request.cookies.get(REFRESH_COOKIE), Use.REFRESH)
    return JSONResponse(_tokens(service, session))


@router.post("/logout")
def logout(session: Viewer, service: ServiceOf) -> JSONResponse:
    """The tokens of this login open nothing any more."""
    service.sessions.log_out(session)
    return JSONResponse({"status": "success"})


@router.get("/user")
def user(session: Viewer) -> JSONResponse:
    """Who is logged in."""
    return JSONResponse(_user(session.user))


@router.get("/auth_status")
def auth_status(session: Viewer) -> JSONResponse:
    """Whether somebody is logged in."""
    return JSONResponse({"authenticated": True, "user": _user(session.user)})


@router.get("/health")
def health() -> JSONResponse:
    """Whether the service answers."""
    return JSONResponse({"status": "ok", "version": __version__})


@router.post("/get_jobs")
def get_jobs(request: Request, body: Listing, session: Viewer, service: ServiceOf) -> JSONResponse:
    """Jobs of the user, the newest first."""
    wanted = _selection(service, session, body)
    if wanted is None:
        return JSONResponse({"jobs": [], "total_count": 0})
    page = service.store.selected(wanted, offset=body.offset, limit=body.limit)
    products = service.store.products_of(job.id for job in page if job.state is State.COMPLETED)
    details = [_detail(service, request, job, products.get(job.id, ())) for job in page]
    return JSONResponse({"jobs": details, "total_count": service.store.count(wanted)})


def _selection(service: Service, session: Session, body: Listing) -> Selection | None:
    """What a body asks for; None if no job can be that."""
    wanted = Selection(
        owner=session.name,
        kinds=words.KINDS,
        active_or_from=service.store.now() - body.days * _DAY_S,
        created_from=None if body.date_from is None else _seconds(body.date_from),
        created_to=None if body.date_to is None else _seconds(body.date_to),
    )
    if body.job_state is not None:
        meaning = words.meaning_of(body.job_state)
        if meaning is None or body.job_state is words.Word.EXPIRED:
            return None
        state, steps = meaning
        # what has expired is shown as an error
        states = (State.FAILED, State.EXPIRED) if body.job_state is words.Word.ERROR else (state,)
        wanted = replace(wanted, states=states, steps=tuple(steps) or None)
    if body.job_type is not None:
        types = list(words.JobType)
        if body.job_type >= len(types):
            return None
        kind, canonical = words.kind_of(types[body.job_type])
        wanted = replace(wanted, kinds=(kind,), canonical=canonical)
    return wanted


def _seconds(when: datetime) -> float:
    return (when if when.tzinfo is not None else when.replace(tzinfo=UTC)).timestamp()


def _word(job: Job) -> words.Word:
    """v2 has no state for jobs whose products are gone."""
    word = words.word_of(job.state, job.step)
    return words.Word.ERROR if word is words.Word.EXPIRED else word


def _detail(
    service: Service, connection: HTTPConnection, job: Job, products: Sequence[Product]
) -> dict[str, Any]:
    error_code, error_text = words.error_of(job)
    if job.state is State.EXPIRED:
        error_code, error_text = 0, "The product has expired and was removed; submit the job again"
    files = []
    if job.state is State.COMPLETED and products:
        files = words.files_of(job, products, lambda product: file_address(service, connection, product))
        form = str(job.canonical["delivery_format"])
        files = [{**file, "format": form} for file in files]
    return {
        "id": job.id,
        "user_id": words.user_number(job.owner),
        "job_type": words.type_of(job).number,
        "job_state": _word(job),
        "job_params": words.params(job),
        "product": {"files": files} if files else None,
        "created": words.iso(job.created),
        "started": words.iso(job.started),
        "completed": words.iso(job.finished),
        "modified": words.iso(job.finished or job.started or job.created),
        "error_code": error_code,
        "error_text": error_text,
        "first_name": job.owner,
        "last_name": "",
    }


JobId = Annotated[int, Path(ge=1, le=_WIDEST_ID)]


@router.get("/jobs/{job_id}")
def get_job(request: Request, job_id: JobId, session: Viewer, service: ServiceOf) -> JSONResponse:
    """One job."""
    job = _own(service, session, job_id)
    products = [product for product in service.store.products(job.id) if product.removed is None]
    return JSONResponse(_detail(service, request, job, products))


@router.delete("/jobs/{job_id}")
def cancel_job(job_id: JobId, session: Operator, service: ServiceOf) -> JSONResponse:
    """Cancel a job."""
    _own(service, session, job_id)
    try:
        service.store.cancel(job_id, session.name)
    except InputError as error:
        raise ProblemError(Code.STATE, str(error)) from None
    return _done(job_id, f"Job {job_id} cancelled")


def _own(service: Service, session: Session, job_id: int) -> Job:
    try:
        return own_job(service, session, job_id)
    except UnknownError as error:
        raise ProblemError(Code.NOT_FOUND, str(error)) from None


def _done(job_id: int, message: str) -> JSONResponse:
    return JSONResponse({"job_id": job_id, "status": "success", "message": message})


@router.post("/conversion_job")
def conversion_job(body: ConversionBody, session: Operator, service: ServiceOf) -> JSONResponse:
    """Submit a conversion."""
    return _submit(service, session, JobKind.CONVERSION, body)


@router.post("/download_vis_job")
def download_vis_job(body: DownloadBody, session: Operator, service: ServiceOf) -> JSONResponse:
    """Submit a download of raw visibilities or metadata."""
    return _submit(service, session, JobKind.DOWNLOAD, body)


@router.post("/voltage_job")
def voltage_job(body: VoltageBody, session: Operator, service: ServiceOf) -> JSONResponse:
    """Submit a download of voltages."""
    return _submit(service, session, JobKind.VOLTAGES, body)


@router.post("/beamformer_job")
@router.post("/imaging_job")
@router.post("/image_from_job")
def other_jobs(session: Operator) -> JSONResponse:
    """Refused, in words: there is no beamformer and no imager here."""
    del session
    raise ProblemError(Code.INVALID, "only conversions and downloads can be carried out here")


def _submit(service: Service, session: Session, kind: JobKind, body: _Submission) -> JSONResponse:
    given = {name: _text(value) for name, value in body.model_dump(exclude_none=True).items()}
    given["obs_id"] = f"{body.obs_id:010d}"
    try:
        job = service.submit(read_job(kind, given), session)
    except DuplicateError as error:
        raise ProblemError(Code.DUPLICATE, DUPLICATE, job_id=error.job_id) from None
    except InputError as error:
        raise ProblemError(Code.INVALID, str(error)) from None
    return _done(job.id, f"Job {job.id} submitted")


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@router.get("/get_socket_token")
def get_socket_token(session: Viewer, service: ServiceOf) -> JSONResponse:
    """A token that opens the websocket within a minute."""
    return JSONResponse({"token": make_token(service, session, Use.SOCKET)})


@router.websocket("/ws/jobs")
async def ws_jobs(socket: WebSocket, token: str = "") -> None:
    """Each job of the user that changes, as `get_jobs` has it."""
    service = service_of(socket)
    try:
        if is_cross_site(socket):
            raise ProblemError(Code.FORBIDDEN, "refused: another site opened this")
        session = await run_in_threadpool(_session, service, token or None, Use.SOCKET)
    except ProblemError:
        await socket.close(1008)
        return
    await socket.accept()
    await until_closed(socket, lambda: _send_changes(socket, service, session))


async def _send_changes(socket: WebSocket, service: Service, session: Session) -> None:
    with service.feed.listen(session.name) as listener:
        while (change := await listener.next()) is not None:
            if change.job is not None and change.job.kind in words.KINDS:
                await socket.send_json(_detail(service, socket, change.job, change.products))
    await socket.close(1012)
