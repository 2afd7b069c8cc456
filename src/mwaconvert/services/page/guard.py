"""Who may see a page and who may post to it: sessions, and tokens in forms."""

from __future__ import annotations

import hmac
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, HTTPException, Request
from starlette.datastructures import FormData

from mwaconvert.jobs.control.states import Role
from mwaconvert.services.auth import COOKIE, Session, is_cross_site
from mwaconvert.services.service import service_of
from mwaconvert.services.signing import key_for

TOKEN = "form_token"
_MOST_FIELDS, _MOST_FILES = 100, 50
_INSIDE = re.compile(r"/[A-Za-z0-9_./-]*(?:\?[A-Za-z0-9_.%&=+-]*)?")


def form_token(secret: bytes, of: str) -> str:
    """What a form must bring back: bound to a session, or before it to a cookie."""
    return hmac.digest(key_for(secret, "forms"), of.encode(), "sha256").hex()


def is_token(secret: bytes, of: str, given: str) -> bool:
    """Whether a form came from a page that was made here, for this session."""
    return hmac.compare_digest(form_token(secret, of).encode(), given.encode())


def inside(address: str) -> str:
    """An address to go on to after login, if it is one of this service; else the list of jobs.

    Examples
    --------
    >>> inside("/jobs/7"), inside("//elsewhere.org/jobs")
    ('/jobs/7', '/jobs')
    """
    return address if _INSIDE.fullmatch(address) and not address.startswith("//") else "/jobs"


def viewer(request: Request) -> Session:
    """The session of who asks for a page; 401 without one. A dependency of routes."""
    session = service_of(request).sessions.open(request.cookies.get(COOKIE))
    if session is None:
        raise HTTPException(401, "log in first")
    request.state.session = session
    return session


@dataclass(frozen=True)
class Upload:
    """A file of a form, with the name that the browser gives it, which is not to be trusted."""

    field: str
    name: str
    data: bytes


@dataclass(frozen=True)
class Posted:
    """What a form brought; `session` is of its user."""

    session: Session
    fields: dict[str, str]
    uploads: tuple[Upload, ...]

    def text(self, name: str) -> str:
        """A field; empty if it is not there."""
        return self.fields.get(name, "")

    def uploaded(self, name: str) -> tuple[Upload, ...]:
        """Files of a field; none if it was left empty."""
        return tuple(upload for upload in self.uploads if upload.field == name)

    def need(self, role: Role) -> None:
        """403 unless the user has a role."""
        if not self.session.allows(role):
            raise HTTPException(403, f"this needs the role {role}; yours is {self.session.user.role}")


async def read_form(request: Request) -> AsyncIterator[FormData]:
    """Fields of a form of this service; 403 if the page of another site sent it. A dependency of routes."""
    if is_cross_site(request):
        raise HTTPException(403, "refused: another site sent this form")
    async with request.form(max_files=_MOST_FILES, max_fields=_MOST_FIELDS) as form:
        yield form


def texts(form: FormData) -> dict[str, str]:
    """Fields of a form that are text, without NUL, which databases refuse."""
    return {name: value.replace("\0", "") for name, value in form.items() if isinstance(value, str)}


async def posted(
    request: Request,
    session: Annotated[Session, Depends(viewer)],
    form: Annotated[FormData, Depends(read_form)],
) -> Posted:
    """A form that came from one of our pages in this session; else 403. A dependency of routes."""
    fields = texts(form)
    if not is_token(service_of(request).secret, session.token, fields.pop(TOKEN, "")):
        raise HTTPException(403, "refused: the form is not of this session; open its page again")
    uploads = [
        Upload(name, value.filename or "", await value.read())
        for name, value in form.multi_items()
        if not isinstance(value, str)
    ]
    # a field that was left empty comes as a file without a name
    return Posted(session, fields, tuple(upload for upload in uploads if upload.name or upload.data))


Viewer = Annotated[Session, Depends(viewer)]
Form = Annotated[Posted, Depends(posted)]
