"""Routes whose errors are pages, for people."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlencode

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from mwaconvert.errors import Error, ResourceError
from mwaconvert.jobs.control.work import UnknownError
from mwaconvert.services.page.guard import inside
from mwaconvert.services.page.rendering import render

_TITLES = {403: "Not allowed", 404: "Not found", 503: "Not now"}


class PageRoute(APIRoute):
    """A route whose errors are pages; who is not logged in is led to the login."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_or_explain(request: Request) -> Response:
            try:
                return await handle(request)
            except HTTPException as error:
                if error.status_code == 401:
                    return _to_login(request)
                status, text = error.status_code, str(error.detail)
            except RequestValidationError:
                status, text = 404, "there is no such page"
            except UnknownError as error:
                status, text = 404, str(error)
            except Error as error:
                status, text = 503 if isinstance(error, ResourceError) else 400, str(error)
            return await run_in_threadpool(_explain, request, status, text)

        return handle_or_explain


def _to_login(request: Request) -> Response:
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    after = {"next": wanted} if request.method == "GET" and inside(wanted) == wanted else {}
    return RedirectResponse("/login" + (f"?{urlencode(after)}" if after else ""), 303)


def _explain(request: Request, status: int, text: str) -> Response:
    session = getattr(request.state, "session", None)
    return render(request, "error.html", session, status, title=_TITLES.get(status, "Refused"), text=text)
