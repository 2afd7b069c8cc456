"""Templates, what they may call, and the headers of what is made of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mwaconvert import __version__
from mwaconvert.jobs.control.states import Role
from mwaconvert.jobs.workflows.cluster import understood
from mwaconvert.services.auth import Session
from mwaconvert.services.page.guard import form_token
from mwaconvert.services.service import service_of
from mwaconvert.text import about_text, percent, size_text, took_text

_TEMPLATES = [Path(__file__).parent / "templates", Path(__file__).parents[1] / "archive" / "templates"]
#: nothing but what this service itself serves; no script or style stands in a page
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self';"
    " frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def time_text(seconds: float | None) -> str:
    """2026-11-29 10:15:02, in UTC; nothing for a time that is not there.

    Examples
    --------
    >>> time_text(0)
    '1970-01-01 00:00:00'
    """
    if seconds is None:
        return ""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "size": size_text,
        "percent": percent,
        "time": time_text,
        "took": took_text,
        "about": about_text,
    }
    made.globals |= {"version": __version__, "pretty": _pretty, "understood": understood}
    return made


def render(
    request: Request, template: str, session: Session | None, status: int = 200, **facts: Any
) -> HTMLResponse:
    """A page.

    Parameters
    ----------
    session : of the user who sees it; None before login
    facts : what the template calls by name
    """
    token = "" if session is None else form_token(service_of(request).secret, session.token)
    html = (
        _environment()
        .get_template(template)
        .render(
            session=session,
            may_operate=session is not None and session.allows(Role.OPERATE),
            sees_all=session is not None and session.allows(Role.APPROVE),
            form_token=facts.pop("form_token", token),
            here=request.url.path,
            has_archive=service_of(request).site.archive is not None,
            **facts,
        )
    )
    return HTMLResponse(html, status, {"Content-Security-Policy": POLICY})
