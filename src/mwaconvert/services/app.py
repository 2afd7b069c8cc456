"""The one application: all faces over one store."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import logging
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mwaconvert import __version__
from mwaconvert.errors import Error, InputError, ResourceError
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.control.work import UnknownError
from mwaconvert.services import files
from mwaconvert.services.asvo import v1, v2, v2_site
from mwaconvert.services.auth import Sessions
from mwaconvert.services.config import Config
from mwaconvert.services.rows import Rows
from mwaconvert.services.service import Service, service_of
from mwaconvert.services.signing import Links
from mwaconvert.services.sockets import Feed
from mwaconvert.services.telemetry import Metrics

_log = logging.getLogger("mwaconvert.requests")
#: a body comes within this time; what is slower only holds a connection
_BODY_S = 60.0
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}


def make_app(config: Config, store: Store, secret: bytes) -> FastAPI:
    """The application.

    Parameters
    ----------
    secret : of the service; whatever it signs ends when the secret changes
    """
    service = Service(
        config=config,
        store=store,
        site=config.site(),
        sessions=Sessions(store, secret, config.server.session_hours * 3600),
        links=Links(secret),
        feed=Feed(store),
        rows=Rows(store),
        secret=secret,
    )

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        service.feed.start()
        yield
        await run_in_threadpool(service.feed.stop)

    app = FastAPI(title="mwaconvert", version=__version__, lifespan=life, docs_url=None, redoc_url=None)
    app.state.service = service
    app.state.metrics = Metrics(store, config.work)
    for router in (v1.router, v2.router, v2_site.router, files.router, *_other_faces()):
        app.include_router(router)
    _add_health(app)
    _add_errors(app)
    app.add_middleware(Limits, max_body=config.server.max_body)
    app.add_middleware(Telemetry, metrics=app.state.metrics)
    return app


def _other_faces() -> list[Any]:
    """Routers of the faces that are installed beside this one."""
    found = []
    for name in ("page", "chime", "archive"):
        if importlib.util.find_spec(f"mwaconvert.services.{name}") is not None:
            found.append(importlib.import_module(f"mwaconvert.services.{name}").router)
    return found


class _TooLargeError(Exception):
    """A body that nobody reads to its end."""


class Limits:
    """Puts paths right and refuses bodies that are too large, before anything reads them."""

    def __init__(self, app: ASGIApp, max_body: int) -> None:
        self._app = app
        self._max = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        if scope["path"].startswith("//"):  # a base address that ends in / gives //api
            scope["path"] = "/" + scope["path"].lstrip("/")
            scope["raw_path"] = b"/" + scope.get("raw_path", scope["path"].encode()).lstrip(b"/")
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
            return
        stated = dict(scope["headers"]).get(b"content-length", b"0")
        if not stated.isdigit() or int(stated) > self._max:
            await self._refuse(scope, receive, send, 413, f"the request is larger than {self._max} bytes")
            return
        try:
            async with asyncio.timeout(_BODY_S):
                body = await self._body(receive)
        except TimeoutError:
            await self._refuse(scope, receive, send, 408, f"the request did not come within {_BODY_S:g} s")
            return
        except _TooLargeError:
            await self._refuse(scope, receive, send, 413, f"the request is larger than {self._max} bytes")
            return
        if body is None:
            return
        given = False

        async def whole() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, whole, send)

    async def _body(self, receive: Receive) -> bytes | None:
        """All of a body; None if the client has gone."""
        body = b""
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None
            body += bytes(message.get("body", b""))
            if len(body) > self._max:
                raise _TooLargeError
            if not message.get("more_body", False):
                return body

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, status: int, text: str) -> None:
        facts = {"error": text, "error_code": 0}
        await JSONResponse(facts, status, {"Connection": "close"})(scope, receive, send)


class Telemetry:
    """Times and logs requests, without what their addresses or headers hold of secrets."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, request_id, status = time.perf_counter(), secrets.token_hex(8), 0

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in {**_HEADERS, "X-Request-Id": request_id}.items():
                    headers.setdefault(name, value)
            await send(message)

        facts = {"request_id": request_id, "method": scope["method"], "path": scope["path"]}
        try:
            await self._app(scope, receive, note)
        except Exception:
            _log.exception("an error that nobody foresaw", extra=facts)
            if status != 0:  # the client sees that the answer breaks off
                raise
            text = "an error that nobody foresaw; the log has it under the request id"
            await JSONResponse({"error": text, "request_id": request_id}, 500)(scope, receive, note)
        seconds = time.perf_counter() - start
        route = getattr(scope.get("route"), "path", "other")
        self._metrics.requests.labels(scope["method"], route, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        _log.info("request", extra={**facts, "status": status, "ms": round(1000 * seconds, 1)})


def _add_health(app: FastAPI) -> None:
    @app.get("/health", tags=["operation"])
    def health(service: Annotated[Service, Depends(service_of)]) -> JSONResponse:
        """Whether the database answers, and how many workers are alive."""
        workers = sum(record.alive for record in service.store.workers())
        return JSONResponse({"status": "ok", "version": __version__, "workers": workers})

    @app.get("/metrics", tags=["operation"], response_class=PlainTextResponse)
    def metrics(request: Request) -> Response:
        """Numbers for Prometheus."""
        return Response(generate_latest(request.app.state.metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _add_errors(app: FastAPI) -> None:
    """Errors as JSON of one form; `error_code` is what the ASVO's clients look for."""

    def say(error: str, status: int, headers: Any = None) -> JSONResponse:
        return JSONResponse({"error": error, "error_code": 0}, status, headers)

    @app.exception_handler(HTTPException)
    async def http_error(_request: Request, error: HTTPException) -> Response:
        return say(str(error.detail), error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        if request.url.path.startswith(v2.PREFIX):
            return v2.invalid_fields(error.errors())
        problems = [f"{problem['loc'][-1]}: {problem['msg']}" for problem in error.errors()]
        return say("; ".join(problems), 400)

    @app.exception_handler(v2.ProblemError)
    async def problem(_request: Request, error: v2.ProblemError) -> Response:
        return error.response()

    @app.exception_handler(Error)
    async def refused(_request: Request, error: Error) -> Response:
        status = {UnknownError: 404, InputError: 400, ResourceError: 503}
        found = next((code for kind, code in status.items() if isinstance(error, kind)), 400)
        return say(str(error), found)
