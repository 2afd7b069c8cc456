"""Sources, candidates, verifications, and the parts of the telescope."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, HTTPException, Query
from fastapi.responses import JSONResponse

from mwaconvert.errors import InputError
from mwaconvert.frb.archive import event_number
from mwaconvert.frb.catalogue.model import SourceType, classification, read_vote
from mwaconvert.frb.catalogue.nodes import NodeError, beam_info, node_info
from mwaconvert.frb.catalogue.spectrum import expected_spectrum
from mwaconvert.services.chime.route import ChimeRoute
from mwaconvert.services.chime.tokens import Operator, ServiceOf, current_user

router = APIRouter(prefix="/v1", route_class=ChimeRoute, dependencies=[Depends(current_user)])
#: records that the service of CHIME/FRB sends at once, at most
PAGE = 1500


@router.get("/sources/search/type/{kind}")
def sources(kind: str, service: ServiceOf) -> list[dict[str, Any]]:
    """Sources of a type."""
    try:
        wanted = SourceType(kind.upper())
    except ValueError:
        raise InputError(
            f"{kind[:80]!r} is not a type of sources; there are {', '.join(SourceType)}"
        ) from None
    return service.catalogue.sources(wanted)


@router.get("/sources/spectrum/{name}")
def spectrum(name: str, service: ServiceOf) -> dict[str, list[float]]:
    """The spectrum that the fit of the first burst of a source says, relative to its greatest value."""
    source = service.catalogue.source(name)
    numbers = {
        number
        for candidate in service.catalogue.candidates()
        if candidate["id"] in source["candidate_id"]
        for number in candidate["events"]
    }
    for event in service.catalogue.events_of(numbers):
        for measured in event["measured_parameters"]:
            found = expected_spectrum(measured)
            if found is not None:
                return found
    raise HTTPException(404, f"no spectrum was fitted to bursts of {source['name']}")


@router.get("/sources/{name}")
def source(name: str, service: ServiceOf) -> dict[str, Any]:
    """A source by its name in the TNS, with the ids of its candidates."""
    return service.catalogue.source(name)


@router.get("/candidates")
def candidates(service: ServiceOf) -> JSONResponse:
    """All candidates, with the numbers of their events."""
    return JSONResponse(service.catalogue.candidates())


@router.get("/verification/get-verifications/{kind}")
def verifications(
    kind: str,
    service: ServiceOf,
    skip: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
    limit: Annotated[int | None, Query(ge=1)] = None,
    strict: bool = False,
) -> JSONResponse:
    """Verifications of a classification: with `strict` those that are not contested, else by the last vote."""
    most = None if limit is None else min(limit, PAGE)
    found = service.catalogue.verifications(classification(kind), skip=skip, limit=most, strict=strict)
    return JSONResponse(found)


@router.get("/verification/get-verification/{number}")
def verification(number: str, service: ServiceOf) -> dict[str, Any]:
    """What people called an event."""
    return service.catalogue.verification(event_number(number))


@router.get("/verification/get-conflicting-verifications")
def conflicting(service: ServiceOf) -> list[dict[str, Any]]:
    """Verifications about which people do not agree."""
    return service.catalogue.conflicting()


@router.post("/verification/add-user-classification/{number}")
def add_vote(
    number: str, given: Annotated[dict[str, Any], Body()], user: Operator, service: ServiceOf
) -> dict[str, Any]:
    """Say what an event is."""
    return service.catalogue.vote(read_vote(event_number(number), given, user.name))


@router.get("/parameters/get-node-info/{name}")
def node(name: str) -> dict[str, Any]:
    """Beams and addresses of a node of the search."""
    return _known(node_info, name)


@router.get("/parameters/get-beam-info/{number}")
def beam(number: str) -> dict[str, Any]:
    """Which node has a beam."""
    return _known(beam_info, number)


def _known(look_up: Any, name: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = look_up(name)
    except NodeError as error:
        raise HTTPException(404, str(error)) from None
    return found
