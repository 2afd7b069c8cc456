"""Status documents of unit sets (OUSStatus) and the life cycle they tell of."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from mwaconvert.archive.identifiers import EntityUid, ExecBlockUid, StatusUid, Uid, UnitRef
from mwaconvert.archive.times import read_utc
from mwaconvert.archive.units import Session, UnitSet
from mwaconvert.archive.xml import Element, attribute, child, children, escape, local, read_xml, text
from mwaconvert.errors import Error, FormatError, InputError

NAMESPACE = "Alma/Scheduling/OUSStatus"
_PROJECT_STATUS = "Alma/Scheduling/ProjectStatus"  # namespace of the elements all statuses share


class LifeCycle(Enum):
    """States of a unit set from observation to delivery, by the observatory's words."""

    PARTIALLY_OBSERVED = "PartiallyObserved"
    FULLY_OBSERVED = "FullyObserved"
    READY_FOR_PROCESSING = "ReadyForProcessing"
    PROCESSING = "Processing"
    PROCESSING_PROBLEM = "ProcessingProblem"
    READY_FOR_REVIEW = "ReadyForReview"
    REVIEWING = "Reviewing"
    VERIFIED = "Verified"
    DELIVERY_IN_PROGRESS = "DeliveryInProgress"
    DELIVERED = "Delivered"
    DELETED = "Deleted"

    @classmethod
    def of(cls, word: str) -> LifeCycle | None:
        """The state of that word; None for states before observation and for new ones, which are kept as text."""
        return next((state for state in cls if state.value == word), None)


class Substate(Enum):
    """What a unit set waits for within a state: a recipe while it is processed, then a step of ingestion."""

    PIPELINE_CALIBRATION = "PipelineCalibration"
    PIPELINE_CALIBRATION_AND_IMAGING = "PipelineCalAndImg"
    MANUAL_CALIBRATION = "ManualCalibration"
    INGESTION_TRIGGERED = "IngestionTriggered"
    ANALYZING_PRODUCTS = "AnalyzingProducts"
    INGESTING_PRODUCTS = "IngestingProducts"
    PRODUCTS_INGESTED = "ProductsIngested"


#: where a state leads to; a failed review (QA2) leads back to processing, and so does a problem once it is solved
_NEXT = {
    LifeCycle.PARTIALLY_OBSERVED: (LifeCycle.FULLY_OBSERVED,),
    LifeCycle.FULLY_OBSERVED: (LifeCycle.READY_FOR_PROCESSING, LifeCycle.PARTIALLY_OBSERVED),
    LifeCycle.READY_FOR_PROCESSING: (LifeCycle.PROCESSING,),
    LifeCycle.PROCESSING: (LifeCycle.READY_FOR_REVIEW, LifeCycle.PROCESSING_PROBLEM),
    LifeCycle.PROCESSING_PROBLEM: (LifeCycle.READY_FOR_PROCESSING,),
    LifeCycle.READY_FOR_REVIEW: (LifeCycle.REVIEWING,),
    LifeCycle.REVIEWING: (LifeCycle.VERIFIED, LifeCycle.READY_FOR_PROCESSING),
    LifeCycle.VERIFIED: (LifeCycle.DELIVERY_IN_PROGRESS,),
    LifeCycle.DELIVERY_IN_PROGRESS: (LifeCycle.DELIVERED,),
    LifeCycle.DELIVERED: (LifeCycle.READY_FOR_PROCESSING,),
    LifeCycle.DELETED: (),
}
_SUBSTATES = {
    LifeCycle.READY_FOR_PROCESSING: (
        Substate.PIPELINE_CALIBRATION,
        Substate.PIPELINE_CALIBRATION_AND_IMAGING,
        Substate.MANUAL_CALIBRATION,
    ),
    LifeCycle.PROCESSING: (
        Substate.PIPELINE_CALIBRATION,
        Substate.PIPELINE_CALIBRATION_AND_IMAGING,
        Substate.MANUAL_CALIBRATION,
    ),
    LifeCycle.VERIFIED: (
        Substate.INGESTION_TRIGGERED,
        Substate.ANALYZING_PRODUCTS,
        Substate.INGESTING_PRODUCTS,
        Substate.PRODUCTS_INGESTED,
    ),
}


def next_states(state: LifeCycle) -> tuple[LifeCycle, ...]:
    """The states that may follow; anything that is not deleted may be deleted."""
    deleted = () if state is LifeCycle.DELETED else (LifeCycle.DELETED,)
    return _NEXT[state] + deleted


def check_transition(old: LifeCycle, new: LifeCycle) -> None:
    """Refuse a change of state that the life cycle does not know (`InputError`)."""
    if new not in next_states(old):
        allowed = ", ".join(state.value for state in next_states(old)) or "nothing"
        raise InputError(f"a unit set goes from {old.value} to {allowed}, not to {new.value}")


def check_substate(state: LifeCycle, substate: Substate | None) -> None:
    """Refuse a substate that does not belong to its state (`InputError`); no substate always does."""
    if substate is not None and substate not in _SUBSTATES.get(state, ()):
        raise InputError(f"{substate.value} is not a substate of {state.value}")


#: bookkeeping of a status, in the order of the document
COUNTERS = (
    "executionsRemaining",
    "successfulExecutions",
    "failedExecutions",
    "secondsRemaining",
    "successfulSeconds",
    "failedSeconds",
)
FLAGS = ("hasExecutionCount", "hasTimeLimit", "bookkeepingInitialized")


@dataclass(frozen=True)
class StatusDocument:
    """A unit set as its status document tells it, and the bytes of the document.

    `life_cycle` is None for states the table does not know; the word stays in ``unit.state``.
    """

    unit: UnitSet
    counters: dict[str, int] = field(default_factory=dict)
    flags: dict[str, bool] = field(default_factory=dict)
    data: bytes = b""

    @property
    def life_cycle(self) -> LifeCycle | None:
        """The state, if it is one of the life cycle."""
        return LifeCycle.of(self.unit.state)

    @property
    def sha256(self) -> str:
        """Of the document."""
        return hashlib.sha256(self.data).hexdigest()


def read_status(source: Path | bytes, name: str = "status") -> StatusDocument:
    """Read a status document of a unit set of any level.

    Sessions get their numbers from their order in the document; one without execution blocks keeps its number. An
    end that is not a time, as of a session that was never closed, is kept as text.

    Raises
    ------
    FormatError
        No status document, no uid, both kinds of children, a session that lists a block twice.
    """
    if isinstance(source, Path):
        name, source = str(source), source.read_bytes()
    top = read_xml(source, name, "OUSStatus", NAMESPACE)
    state = child(top, "Status")
    if state is None or child(top, "OUSStatusEntity") is None:
        raise FormatError(
            f"{name}: has no <Status> or no <OUSStatusEntity>; expected a whole status document"
        )
    try:
        unit = UnitSet(
            status_uid=StatusUid(Uid.parse(attribute(top, "OUSStatusEntity", "entityId"))),
            state=str(state.get("State", "")),
            parent=_status_uid(attribute(top, "ContainingObsUnitSetRef", "entityId")),
            project_status=_status_uid(attribute(top, "ProjectStatusRef", "entityId")),
            unit=_unit(top),
            children=tuple(
                StatusUid(Uid.parse(str(ref.get("entityId")))) for ref in children(top, "OUSStatusRef")
            ),
            block_statuses=tuple(
                StatusUid(Uid.parse(str(ref.get("entityId")))) for ref in children(top, "SBStatusRef")
            ),
            sessions=tuple(_session(n, element) for n, element in enumerate(children(top, "Session"), 1)),
        )
        counters = {key: int(text(top, key)) for key in COUNTERS if child(top, key) is not None}
    except (Error, ValueError) as error:
        raise FormatError(f"{name}: {error}") from None
    flags = {key: text(top, key).lower() in ("true", "1") for key in FLAGS if child(top, key) is not None}
    return StatusDocument(unit, counters, flags, source)


def _status_uid(value: str) -> StatusUid | None:
    return StatusUid(Uid.parse(value)) if value else None


def _unit(top: Element) -> UnitRef | None:
    reference = child(top, "ObsUnitSetRef")
    if reference is None:
        return None
    return UnitRef(EntityUid(Uid.parse(str(reference.get("entityId")))), str(reference.get("partId")))


def _either(element: Element, name: str) -> str:
    """A value written as element or as attribute; in the latter the first letter may be small."""
    small = name[:1].lower() + name[1:]
    return text(element, name) or str(element.get(name, "")) or str(element.get(small, ""))


def _session(ordinal: int, element: Element) -> Session:
    blocks = [
        _either(ref, "ExecBlockId") or str(ref.get("entityId", ""))
        for ref in element
        if local(ref) == "ExecBlockRef"
    ]
    end = _either(element, "EndTime")
    return Session(
        ordinal=ordinal,
        exec_blocks=tuple(ExecBlockUid(Uid.parse(uid)) for uid in blocks),
        part_id=element.get("entityPartId"),
        sb_status=_status_uid(attribute(element, "SBStatusRef", "entityId")),
        start=read_utc(_either(element, "StartTime")),
        end=read_utc(end),
        end_raw=end,
    )


def write_status(document: StatusDocument) -> bytes:
    """The document of a status, in the order of the schema; its bytes are not those of `document.data`."""
    unit = document.unit
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<OUSStatus xmlns="{NAMESPACE}" xmlns:ps="{_PROJECT_STATUS}"',
        '    xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="OUSStatus">',
        f'  <ps:Status State="{escape(unit.state)}"/>',
        *(f"  <ps:{key}>{document.counters[key]}</ps:{key}>" for key in COUNTERS if key in document.counters),
        *(
            f"  <ps:{key}>{str(document.flags[key]).lower()}</ps:{key}>"
            for key in FLAGS
            if key in document.flags
        ),
        *_reference("ps:ContainingObsUnitSetRef", unit.parent, "OUSStatus"),
        *_reference("ps:ProjectStatusRef", unit.project_status, "ProjectStatus"),
        *_reference("OUSStatusEntity", unit.status_uid, "OUSStatus"),
        *(
            []
            if unit.unit is None
            else _reference("ObsUnitSetRef", unit.unit.project, "ObsProject", unit.unit)
        ),
        *(line for uid in unit.children for line in _reference("OUSStatusRef", uid, "OUSStatus")),
        *(line for uid in unit.block_statuses for line in _reference("SBStatusRef", uid, "SBStatus")),
        *(line for session in unit.sessions for line in _session_lines(session)),
        "</OUSStatus>",
    ]
    return ("\n".join(lines) + "\n").encode()


def _reference(
    name: str, uid: StatusUid | EntityUid | None, kind: str, unit: UnitRef | None = None
) -> list[str]:
    if uid is None:
        return []
    part = "" if unit is None else f' partId="{unit.part_id}"'
    return [f'  <{name} entityId="{uid}"{part} entityTypeName="{kind}"/>']


def _session_lines(session: Session) -> list[str]:
    part = "" if session.part_id is None else f' entityPartId="{escape(session.part_id)}"'
    start = [] if session.start is None else [f"    <StartTime>{session.start.isoformat()}</StartTime>"]
    return [
        f"  <Session{part}>",
        *start,
        *([f"    <EndTime>{escape(session.end_raw)}</EndTime>"] if session.end_raw else []),
        *("  " + line for line in _reference("SBStatusRef", session.sb_status, "SBStatus")),
        *(
            f"    <ExecBlockRef><ExecBlockId>{uid}</ExecBlockId></ExecBlockRef>"
            for uid in session.exec_blocks
        ),
        "  </Session>",
    ]
