"""All routes of the face."""

from __future__ import annotations

from fastapi import APIRouter, Depends, HTTPException
from starlette.requests import HTTPConnection

from mwaconvert.services.chime import access, alerts, events, queries, swarm
from mwaconvert.services.service import service_of

PREFIX = "/frb-master"


def is_served(connection: HTTPConnection) -> None:
    """404 where the configuration has no part [chime]."""
    if service_of(connection).config.chime is None:
        raise HTTPException(
            404, "this service does not serve CHIME/FRB; its configuration has no part [chime]"
        )


router = APIRouter(prefix=PREFIX, tags=["CHIME/FRB"], dependencies=[Depends(is_served)])
for part in (access.router, swarm.router, events.router, queries.router, alerts.router):
    router.include_router(part)
