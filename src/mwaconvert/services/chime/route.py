"""Routes whose errors the released client understands.

It waits, up to ten minutes, and asks again where it reads 502, 503 or 504; so these are never sent.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from mwaconvert.errors import ResourceError
from mwaconvert.frb.catalogue.catalogue import UnknownEntryError


class ChimeRoute(APIRoute):
    """A route of the face."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_or_say(request: Request) -> Response:
            try:
                return await handle(request)
            except ResourceError as error:
                return _say(error, 500)
            except UnknownEntryError as error:
                return _say(error, 404)

        return handle_or_say


def _say(error: Exception, status: int) -> Response:
    return JSONResponse({"error": str(error), "error_code": 0}, status)
