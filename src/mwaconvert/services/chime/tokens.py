"""Who is asking: tokens in the header `authorization`, as `chime-frb-api` sends them.

The released client cannot read when its token ends, and asks for a new one before each call: a refresh costs one
signature and one look at the user, changes nothing, and the refresh token stays what it is.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import jwt
from fastapi import Depends, HTTPException
from starlette.requests import HTTPConnection

from mwaconvert.jobs.control.states import Role
from mwaconvert.jobs.control.work import User
from mwaconvert.services.auth import is_cross_site
from mwaconvert.services.service import Service, service_of
from mwaconvert.services.signing import key_for

_ALGORITHM = "HS256"
_LONGEST = 4096
#: of an access token
LIFE_S = 900


class Use(StrEnum):
    """What a token is good for."""

    ACCESS = "access"
    REFRESH = "refresh"


def make_token(service: Service, user: User, use: Use) -> str:
    """A token of a user."""
    now = int(service.store.now())
    chime = service.config.chime
    days = 0.0 if chime is None else chime.token_days
    life_s = LIFE_S if use is Use.ACCESS else int(days * 86400)
    facts = {"sub": user.name, "key": repr(user.created), "use": use.value, "iat": now, "exp": now + life_s}
    return jwt.encode(facts, key_for(service.secret, "chime tokens"), _ALGORITHM)


def user_of(service: Service, token: str | None, use: Use) -> User | None:
    """The user of a token; None if it is forged, over, for something else, or the user's key has ended."""
    if not token or len(token) > _LONGEST:
        return None
    try:
        facts = jwt.decode(
            token, key_for(service.secret, "chime tokens"), [_ALGORITHM], {"require": ["exp", "sub"]}
        )
    except jwt.InvalidTokenError:
        return None
    user = service.store.user(str(facts["sub"]))
    if facts.get("use") != use.value or user is None or repr(user.created) != facts.get("key"):
        return None
    return user


def token_of(connection: HTTPConnection) -> str | None:
    """The token of a request, alone or behind the word Bearer."""
    given = connection.headers.get("authorization")
    return None if given is None else given.removeprefix("Bearer ").strip()


def current_user(connection: HTTPConnection) -> User:
    """Who sent a request; 401 for nobody. A dependency of routes."""
    if is_cross_site(connection):
        raise HTTPException(403, "refused: another site sent this request")
    service = service_of(connection)
    token = token_of(connection)
    if token:
        user = user_of(service, token, Use.ACCESS)
        if user is None:
            raise HTTPException(401, "the token is not valid or has ended: POST auth gives new ones")
        return user
    chime = service.config.chime
    anonymous = None if chime is None or chime.anonymous is None else service.store.user(chime.anonymous)
    if anonymous is None:
        raise HTTPException(401, "log in first: POST auth with username and password gives tokens")
    return anonymous


def operating_user(user: Annotated[User, Depends(current_user)]) -> User:
    """As `current_user`, of one who may do more than look; else 403."""
    if not user.role.allows(Role.OPERATE):
        raise HTTPException(403, f"the role {user.role} may look, no more")
    return user


Operator = Annotated[User, Depends(operating_user)]
ServiceOf = Annotated[Service, Depends(service_of)]
#: of routes that change something, and do not ask whose it is
OPERATING = [Depends(operating_user)]
