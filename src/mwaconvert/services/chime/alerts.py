"""What the service of CHIME/FRB keeps beside its events: alerts, subscribers, injections, calibrations.

Nothing is sent from here to brokers or to the TNS: answers say so.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, HTTPException, Request

from mwaconvert.errors import InputError
from mwaconvert.frb.archive import event_number
from mwaconvert.frb.catalogue.model import Kind
from mwaconvert.services.chime.route import ChimeRoute
from mwaconvert.services.chime.tokens import OPERATING, ServiceOf, current_user
from mwaconvert.services.service import Service

router = APIRouter(route_class=ChimeRoute, dependencies=[Depends(current_user)])
Facts = Annotated[dict[str, Any], Body()]
_NOT_SENT = "this service sends nothing to the TNS"


class Alert(StrEnum):
    """Kinds of VOEvents."""

    DETECTION = "detection"
    UPDATE = "update"
    RETRACTION = "retraction"


# -------------------------------------------------------------------------------------------------------- alerts


@router.post("/v1/voe/{kind}", dependencies=OPERATING)
def alert(kind: Alert, given: Facts, request: Request, service: ServiceOf) -> dict[str, Any]:
    """Keep a VOEvent."""
    event = given.get("VOEvent", given)
    if not isinstance(event, dict) or "event_no" not in event:
        raise InputError("a VOEvent: an object with event_no is expected")
    number = event_number(str(event["event_no"]))
    where = {
        Alert.DETECTION: "HEADER",
        Alert.UPDATE: str(event.get("pipeline_name") or "intensity").upper(),
        Alert.RETRACTION: "HUMAN",
    }
    record = {"alert_type": kind.value, "information_source_type": where[kind], **event}
    service.catalogue.add_record(Kind.VOEVENT, str(number), record)
    # with an address the released client writes ?debug=1?trial=1
    is_debug = request.url.query.startswith("debug=1")
    return {
        "type": kind.value,
        "voe_created": True,
        "transmission": "debug mode" if is_debug else "not sent: this service has no broker",
    }


@router.get("/v1/voe")
def alerts(service: ServiceOf) -> list[dict[str, Any]]:
    """VOEvents of all events."""
    by_event: dict[str, list[dict[str, Any]]] = {}
    for key, record in service.catalogue.records(Kind.VOEVENT):
        by_event.setdefault(key, []).append(record)
    return [{"id": int(key), "record": found} for key, found in by_event.items()]


@router.get("/v1/voe/{number}")
def alerts_of(number: str, service: ServiceOf) -> dict[str, Any]:
    """VOEvents of an event, the oldest first."""
    found = service.catalogue.records(Kind.VOEVENT, str(event_number(number)))
    if not found:
        raise HTTPException(404, f"there are no VOEvents of event {number}")
    return {"id": int(number), "record": [record for _, record in found]}


@router.post("/v1/voe-subscribers/add", dependencies=OPERATING)
def add_subscriber(given: Facts, service: ServiceOf) -> bool:
    """Keep a subscriber, in place of the one of that address."""
    service.catalogue.put_record(Kind.SUBSCRIBER, _address(given), given)
    return True


@router.post("/v1/voe-subscribers/delete", dependencies=OPERATING)
def delete_subscriber(given: Facts, service: ServiceOf) -> bool:
    """Forget a subscriber; whether there was one."""
    return service.catalogue.remove_records(Kind.SUBSCRIBER, _address(given))


@router.get("/v1/voe-subscribers/")
def subscribers(service: ServiceOf) -> list[dict[str, Any]]:
    """All subscribers."""
    return [record for _, record in service.catalogue.records(Kind.SUBSCRIBER)]


@router.post("/v1/voe-subscribers/")
def subscriber(given: Facts, service: ServiceOf) -> dict[str, Any]:
    """A subscriber by address."""
    found = service.catalogue.records(Kind.SUBSCRIBER, _address(given))
    if not found:
        raise HTTPException(404, "nobody has subscribed with that address")
    return found[0][1]


def _address(given: Mapping[str, Any]) -> str:
    address = given.get("email_address")
    if not isinstance(address, str) or not 0 < len(address) <= 256:
        raise InputError("email_address: an address is expected")
    return address


# ---------------------------------------------------------------------------------------------------- injections


@router.post("/v1/mimic/injection", dependencies=OPERATING)
def add_injection(given: Facts, service: ServiceOf) -> dict[str, Any]:
    """Keep an injection under an id, which is the answer."""
    key = str(given.get("uuid") or uuid.uuid4())[:128]
    service.catalogue.put_record(
        Kind.INJECTION, key, {**given, "uuid": key, "registered": service.store.now()}
    )
    return {"uuid": key}


@router.post("/v1/mimic/detection", dependencies=OPERATING)
def add_detection(given: Facts, service: ServiceOf) -> dict[str, Any]:
    """Keep what was detected of an injection."""
    key = given.get("uuid")
    if not isinstance(key, str) or not service.catalogue.records(Kind.INJECTION, key):
        raise HTTPException(404, "uuid: there is no injection of that id")
    service.catalogue.put_record(Kind.DETECTION, key, given)
    return {"uuid": key}


@router.get("/v1/mimic/active_injections")
def active(service: ServiceOf) -> list[dict[str, Any]]:
    """Injections that were not detected, and whose time is not over."""
    detected = {key for key, _ in service.catalogue.records(Kind.DETECTION)}
    now = service.store.now()
    return [
        record
        for key, record in service.catalogue.records(Kind.INJECTION)
        if key not in detected and now < record["registered"] + float(record.get("timeout_sec") or math.inf)
    ]


@router.get("/v1/mimic/uuids")
def injection_ids(service: ServiceOf) -> list[str]:
    """Ids of all injections."""
    return [key for key, _ in service.catalogue.records(Kind.INJECTION)]


@router.get("/v1/mimic/{key}")
def injection(key: str, service: ServiceOf) -> dict[str, Any]:
    """An injection and what was detected of it."""
    found = {kind: service.catalogue.records(kind, key) for kind in (Kind.INJECTION, Kind.DETECTION)}
    return {kind.value: records[0][1] if records else None for kind, records in found.items()}


@router.get("/v2/mimic/injection/programs")
def programs(service: ServiceOf) -> list[str]:
    """Programs that injections named."""
    named = {record.get("injection_program") for _, record in service.catalogue.records(Kind.INJECTION)}
    return sorted(str(name) for name in named if name)


# --------------------------------------------------------------------------------------------------- calibrations


@router.post("/v1/calibration", dependencies=OPERATING)
def add_calibration(given: Facts, service: ServiceOf) -> bool:
    """Keep a calibration: source_name, utc_date (YYYYMMDD), ra, dec, calprod_filepath, and what it found."""
    for name in ("source_name", "utc_date", "calprod_filepath"):
        if not isinstance(given.get(name), str):
            raise InputError(f"a calibration: {name} is missing")
    service.catalogue.put_record(Kind.CALIBRATION, given["calprod_filepath"], given)
    return True


@router.post("/v1/calibration/get-calibration")
def calibration_product(given: Facts, service: ServiceOf) -> dict[str, Any]:
    """A calibration by its file."""
    found = service.catalogue.records(Kind.CALIBRATION, str(given.get("calprod_filepath")))
    if not found:
        raise HTTPException(404, "there is no calibration of that file")
    return found[0][1]


@router.get("/v1/calibration/nearest/{utc_date}/{ra}/{dec}")
def nearest(utc_date: str, ra: float, dec: float, service: ServiceOf) -> dict[str, Any]:
    """The calibration of a day whose source is nearest to a direction (degrees)."""
    there = [
        record
        for record in _calibrations(service, utc_date, None)
        if isinstance(record.get("ra"), int | float) and isinstance(record.get("dec"), int | float)
    ]
    if not there:
        raise HTTPException(404, f"there is no calibration of {utc_date[:40]}")
    return min(there, key=lambda record: _separation(ra, dec, record["ra"], record["dec"]))


@router.get("/v1/calibration/{first}")
def calibrations(first: str, service: ServiceOf) -> list[dict[str, Any]]:
    """Calibrations of a source, a day (YYYYMMDD), or days from one to another (YYYYMMDD-YYYYMMDD)."""
    is_day = first[:8].isdigit() and len(first) in (8, 17)
    return _calibrations(service, first, None) if is_day else _calibrations(service, None, first)


@router.get("/v1/calibration/{name}/{days}")
def calibrations_of(name: str, days: str, service: ServiceOf) -> list[dict[str, Any]]:
    """Calibrations of a source on a day, or from one day to another."""
    return _calibrations(service, days, name)


def _calibrations(service: Service, days: str | None, source: str | None) -> list[dict[str, Any]]:
    first, _, last = (days or "00000000-99999999").partition("-")
    return [
        record
        for _, record in service.catalogue.records(Kind.CALIBRATION)
        if (source is None or record["source_name"] == source)
        and first <= record["utc_date"] <= (last or first)
    ]


def _separation(ra: float, dec: float, ra_2: float, dec_2: float) -> float:
    """Angle between two directions; all in degrees."""
    a, b, c, d = (math.radians(angle) for angle in (ra, dec, ra_2, dec_2))
    half = math.sin((d - b) / 2) ** 2 + math.cos(b) * math.cos(d) * math.sin((c - a) / 2) ** 2
    return math.degrees(2 * math.asin(math.sqrt(min(1.0, half))))


# ------------------------------------------------------------------------------------------------------------ TNS


@router.get("/v2/tns/search/{number}")
def tns_name(number: str, service: ServiceOf) -> dict[str, Any]:
    """The name of the burst, as far as the catalogue has it."""
    found = service.catalogue.events_of([event_number(number)])
    name = found[0].get("tns_name") if found else None
    return {"success": name is not None, "tns_name": name or "UNKNOWN"}


@router.post("/v2/tns/submit/{number}", dependencies=OPERATING)
def tns_submit(number: str) -> dict[str, Any]:
    """Refused, in words."""
    raise HTTPException(501, f"event {event_number(number)}: {_NOT_SENT}")


@router.post("/v2/tns/change", dependencies=OPERATING)
def tns_change(given: Facts) -> dict[str, Any]:
    """Refused, in words."""
    raise HTTPException(501, f"{str(given.get('objname'))[:40]}: {_NOT_SENT}")
