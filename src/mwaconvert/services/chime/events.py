"""Events, what was measured of them, and their files."""

from __future__ import annotations

from datetime import date
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, HTTPException
from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel, Field

from mwaconvert.errors import InputError
from mwaconvert.frb.archive import EventFiles, Root, event_number, find_event, locate, roots_of
from mwaconvert.frb.catalogue.model import read_event, read_measurements
from mwaconvert.services.chime.route import ChimeRoute
from mwaconvert.services.chime.tokens import OPERATING, ServiceOf, current_user
from mwaconvert.services.service import Service

router = APIRouter(prefix="/v1/events", route_class=ChimeRoute, dependencies=[Depends(current_user)])
_MOST_EVENTS = 5000


class Filename(BaseModel):
    """A file of the archive."""

    filename: str = Field(max_length=4096)


class Datapath(BaseModel):
    """A folder of the archive."""

    datapath: str = Field(max_length=4096)
    fileformat: str | None = Field(default=None, max_length=32)


@router.post("", dependencies=OPERATING)
@router.post("/", dependencies=OPERATING)
def add(given: Annotated[dict[str, Any], Body()], service: ServiceOf) -> dict[str, Any]:
    """Take an event in."""
    event = read_event(given)
    service.catalogue.put_event(event)
    return service.catalogue.event(event.id)


@router.get("/full-header/{numbers}")
def full_header(numbers: str, service: ServiceOf) -> dict[str, Any]:
    """Headers that came with events: of one, or of several by number."""
    wanted = [event_number(word.strip()) for word in numbers.strip("{}").split(",")][:_MOST_EVENTS]
    found = {
        str(event["id"]): event["full_header"]
        for event in service.catalogue.events_of(wanted)
        if "full_header" in event
    }
    if len(wanted) > 1:
        return found
    if not found:
        raise HTTPException(404, f"no header is kept of event {wanted[0]}")
    header: dict[str, Any] = next(iter(found.values()))
    return header


@router.post("/get_events")
def several(
    event_ids: Annotated[list[int], Body(embed=True, max_length=_MOST_EVENTS)], service: ServiceOf
) -> JSONResponse:
    """Events by number; one that is asked for alone comes as it is, as the released client wants it."""
    if len(event_ids) == 1:
        return JSONResponse(service.catalogue.event(event_ids[0]))
    return JSONResponse({str(event["id"]): event for event in service.catalogue.events_of(event_ids)})


@router.put("/measured-parameters/{number}", dependencies=OPERATING)
def add_measured(
    number: str,
    given: Annotated[list[dict[str, Any]] | dict[str, Any], Body()],
    service: ServiceOf,
) -> bool:
    """Add what pipelines measured of an event."""
    service.catalogue.add_measurements(event_number(number), read_measurements(given))
    return True


@router.post("/filename", response_class=FileResponse)
def file(given: Filename, service: ServiceOf) -> FileResponse:
    """A file of the archive, as it is."""
    try:
        path = locate(given.filename, _roots(service))
    except InputError as error:
        raise HTTPException(404, str(error)) from None
    return FileResponse(path, media_type="application/octet-stream")


@router.get("/datapaths/{number}")
def datapaths(number: str, service: ServiceOf) -> list[str]:
    """Folders of the archive in which data of an event are."""
    return [logical(held.root, held.folder) for held in _held(service, number).holdings]


@router.get("/filenames/{number}")
def filenames(number: str, service: ServiceOf) -> list[str]:
    """Files of an event."""
    holdings = _held(service, number).holdings
    return [logical(held.root, path) for held in holdings for path in held.paths]


@router.post("/datapath/size")
def size(given: Datapath, service: ServiceOf) -> int:
    """Bytes of all files below a folder."""
    return sum(_sizes(_folder(given.datapath, _roots(service)), None))


@router.post("/datapath/max-size")
def max_size(given: Datapath, service: ServiceOf) -> int:
    """Bytes of the largest file below a folder, or of those whose names end so."""
    return max(_sizes(_folder(given.datapath, _roots(service)), given.fileformat), default=0)


@router.get("/{number}")
def event(number: str, service: ServiceOf) -> dict[str, Any]:
    """An event."""
    return service.catalogue.event(event_number(number))


def logical(root: Root, path: Path) -> str:
    """How the observatory calls a path, whichever the root is here."""
    return "/" + str(path.relative_to(root.folder))


def _roots(service: Service) -> tuple[Root, ...]:
    chime = service.config.chime
    if chime is None or not chime.roots:
        raise HTTPException(404, "this service has no archive; its configuration names no chime.roots")
    return roots_of(chime.roots)


def _held(service: Service, number: str) -> EventFiles:
    roots = _roots(service)
    found = service.catalogue.events_of([event_number(number)])
    times = [facts.get("datetime") for facts in found[0]["measured_parameters"]] if found else []
    for when in times:
        if isinstance(when, str):
            try:
                held = find_event(number, roots, day=date.fromisoformat(when[:10]))
            except ValueError:
                continue
            if held.holdings:
                return held
    return find_event(number, roots)


def _folder(name: str, roots: tuple[Root, ...]) -> Path:
    """A folder of the archive, links followed, that does not lead out of its root."""
    path = PurePosixPath(name)
    for root in roots:
        below = path.relative_to(root.folder) if path.is_relative_to(root.folder) else path
        inner = root.folder.joinpath(*[part for part in below.parts if part != "/"])
        if "\0" not in name and ".." not in path.parts and inner.is_dir():
            found = inner.resolve()
            if found.is_relative_to(root.folder.resolve()):
                return found
    raise HTTPException(404, f"{name[:200]}: there is no such folder in the archive")


def _sizes(folder: Path, suffix: str | None) -> list[int]:
    return [
        path.lstat().st_size
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and (suffix is None or path.name.endswith(suffix))
    ]
