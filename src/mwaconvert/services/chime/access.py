"""Version and tokens."""

from __future__ import annotations

from typing import Any

from anyio import to_thread
from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, Field

from mwaconvert import __version__
from mwaconvert.services.auth import is_cross_site
from mwaconvert.services.chime.route import ChimeRoute
from mwaconvert.services.chime.tokens import ServiceOf, Use, make_token, token_of, user_of

router = APIRouter(route_class=ChimeRoute)


class Login(BaseModel):
    """A user and the key that `mwaconvert users add` gave."""

    username: str = Field(max_length=128)
    password: str = Field(max_length=1024)


class Refresh(BaseModel):
    """The token of a login that lives long."""

    refresh_token: str | None = Field(default=None, max_length=4096)


@router.get("/version")
def version() -> dict[str, str]:
    """What clients look for, to know that somebody is there."""
    return {"version": __version__}


@router.post("/auth")
async def log_in(login: Login, request: Request, service: ServiceOf) -> dict[str, str]:
    """Tokens for a name and its password."""
    if is_cross_site(request):
        raise HTTPException(403, "refused: another site sent this request")
    opened = await service.sessions.log_in_apart(login.password, "chime", login.username)
    if opened is None:
        raise HTTPException(401, "wrong name or password: mwaconvert users add gives a key")
    user = opened[0].user
    return {
        "access_token": await to_thread.run_sync(make_token, service, user, Use.ACCESS),
        "refresh_token": await to_thread.run_sync(make_token, service, user, Use.REFRESH),
    }


@router.get("/auth/verify")
def verify(request: Request, service: ServiceOf) -> dict[str, bool]:
    """Whether the token of a request is good."""
    return {"valid": user_of(service, token_of(request), Use.ACCESS) is not None}


@router.post("/auth/refresh")
def refresh(given: Refresh, service: ServiceOf) -> dict[str, Any]:
    """A new token; may be repeated as often as one likes."""
    user = user_of(service, given.refresh_token, Use.REFRESH)
    if user is None:
        raise HTTPException(401, "the refresh token is not valid or has ended: POST auth gives new ones")
    return {"access_token": make_token(service, user, Use.ACCESS)}
