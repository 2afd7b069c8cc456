"""Who is asking: API keys, which the store keeps as hashes, and sessions, which a signed cookie carries.

A session ends with its life, with the key that opened it, and when its user logs out.
"""

from __future__ import annotations

import base64
import binascii
import secrets
import threading
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlsplit

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, HTTPException, Response
from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.requests import HTTPConnection

from mwaconvert.jobs.control.states import Role
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.control.work import User
from mwaconvert.services.signing import key_for

COOKIE = "MWA_JOB_COOKIE"
_MAX_COOKIE = 1024
_MAX_KEY = 1024
_CHECKS_AT_ONCE = 4


@dataclass(frozen=True)
class Session:
    """A user who has logged in.

    Attributes
    ----------
    client : the program, as it named itself at login
    token : of this session alone
    """

    user: User
    client: str
    token: str

    @property
    def name(self) -> str:
        return self.user.name

    @property
    def group(self) -> str | None:
        """The folder of the user on shared disks."""
        group = self.user.details.get("group")
        return str(group) if group else None

    def allows(self, role: Role) -> bool:
        return self.user.role.allows(role)


class Sessions:
    """Opens sessions, and knows them again."""

    def __init__(self, store: Store, secret: bytes, life_s: float) -> None:
        self._store = store
        self.life_s = life_s
        self._signer = URLSafeTimedSerializer(key_for(secret, "sessions"), salt="session")
        self._ended: dict[str, float] = {}
        self._lock = threading.Lock()
        # each check of a key takes 16 MB and some 50 ms of a processor: strangers must not have all of it, nor
        # the threads that others wait for
        self._checks = CapacityLimiter(_CHECKS_AT_ONCE)

    def log_in(self, key: str, client: str, name: str | None = None) -> tuple[Session, str] | None:
        """A new session and its cookie; None if the key opens nothing."""
        if not 0 < len(key) <= _MAX_KEY or "\0" in key:
            return None
        user = self._store.authenticate(key, name)
        if user is None:
            return None
        session = Session(user, client[:64], secrets.token_urlsafe(12))
        facts = [user.name, repr(user.created), session.client, session.token]
        return session, self._signer.dumps(facts)

    async def log_in_apart(
        self, key: str, client: str, name: str | None = None
    ) -> tuple[Session, str] | None:
        """`log_in` in one of the few threads that are for this."""
        return await to_thread.run_sync(self.log_in, key, client, name, limiter=self._checks)

    def open(self, cookie: str | None) -> Session | None:
        """The session of a cookie; None if it is forged, over, ended, or its key is gone."""
        if not cookie or len(cookie) > _MAX_COOKIE:
            return None
        try:
            name, created, client, token = self._signer.loads(cookie, max_age=int(self.life_s))
        except (BadSignature, ValueError, TypeError):
            return None
        user = self._store.user(name)
        if user is None or repr(user.created) != created or token in self._ended:
            return None
        return Session(user, client, token)

    def has_ended(self, session: Session) -> bool:
        """Whether its user has logged out."""
        return session.token in self._ended

    def log_out(self, session: Session) -> None:
        """The cookie opens nothing any more."""
        now = self._store.now()
        with self._lock:
            self._ended = {token: until for token, until in self._ended.items() if until > now}
            self._ended[session.token] = now + self.life_s


def set_cookie(
    response: Response, connection: HTTPConnection, cookie: str, life_s: float, name: str = COOKIE
) -> None:
    """Give a client its session: out of reach of scripts and of other sites, and over TLS alone where there is TLS.

    That is also where a proxy has it, as `public_url` says.
    """
    public_url = connection.app.state.service.config.server.public_url or ""
    response.set_cookie(
        name,
        cookie,
        max_age=int(life_s),
        path="/",
        httponly=True,
        samesite="strict",
        secure=connection.url.scheme in ("https", "wss") or public_url.startswith("https:"),
    )


def basic_credentials(header: str | None) -> tuple[str, str] | None:
    """Name and password of HTTP Basic."""
    scheme, _, encoded = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    name, colon, password = text.partition(":")
    return (name, password) if colon else None


def is_cross_site(connection: HTTPConnection) -> bool:
    """Whether a page of another site sent this: browsers say so, programs say nothing."""
    if connection.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        return True
    origin = connection.headers.get("origin")
    service: Any = connection.app.state.service
    if origin is None or origin == service.config.server.public_url:
        return False
    parts = urlsplit(origin)
    secure = connection.url.scheme in ("https", "wss")
    return parts.netloc != connection.headers.get("host") or (parts.scheme in ("https", "wss")) != secure


def current_session(connection: HTTPConnection) -> Session:
    """The session of a request; 401 without one, 403 if another site sent it. A dependency of routes."""
    if is_cross_site(connection):
        raise HTTPException(403, "refused: another site sent this request")
    service: Any = connection.app.state.service
    session: Session | None = service.sessions.open(connection.cookies.get(COOKIE))
    if session is None:
        raise HTTPException(401, "log in first")
    return session


def operating_session(session: Annotated[Session, Depends(current_session)]) -> Session:
    """As `current_session`, of a user who may do more than look; else 403."""
    if not session.allows(Role.OPERATE):
        raise HTTPException(403, f"Permission denied: the role {session.user.role} may look, no more")
    return session


Viewer = Annotated[Session, Depends(current_session)]
Operator = Annotated[Session, Depends(operating_session)]
