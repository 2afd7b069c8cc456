"""Status documents: round trips, empty sessions, ends that are sentences, the life cycle."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from mwaconvert.archive.identifiers import EntityUid, ExecBlockUid, StatusUid, Uid, UnitRef
from mwaconvert.archive.status import (
    LifeCycle,
    StatusDocument,
    Substate,
    check_substate,
    check_transition,
    next_states,
    read_status,
    write_status,
)
from mwaconvert.archive.units import Session, UnitSet, UnitTree
from mwaconvert.errors import FormatError, InputError


def status(part: str) -> StatusUid:
    return StatusUid(Uid("A001", "X1284", f"X{part}"))


OPEN = "Session still open"
MEMBER = StatusDocument(
    UnitSet(
        status_uid=status("f3b"),
        state="FullyObserved",
        parent=status("f3a"),
        project_status=status("f30"),
        unit=UnitRef(EntityUid(Uid.parse("uid://A001/X1284/X250")), "X23868574"),
        block_statuses=(status("f3c"),),
        sessions=(
            Session(1, part_id="X00000000", sb_status=status("f3c"), start=datetime(2018, 1, 1, tzinfo=UTC)),
            Session(
                2,
                (ExecBlockUid(Uid.parse("uid://A002/Xc7111c/X3979")),),
                part_id="X00000001",
                sb_status=status("f3c"),
                start=datetime(2018, 1, 2, 3, 4, 5, tzinfo=UTC),
                end=None,
                end_raw=OPEN,
            ),
        ),
    ),
    counters={"executionsRemaining": 1, "successfulExecutions": 1, "failedSeconds": 7200},
    flags={"hasExecutionCount": True, "hasTimeLimit": False},
)


def test_a_status_with_an_empty_session_and_an_open_one_goes_round() -> None:
    data = write_status(MEMBER)
    found = read_status(data)
    assert replace(found, data=b"") == MEMBER
    assert found.data == data
    assert [s.name for s in found.unit.sessions if not s.exec_blocks] == ["session_1"]
    assert (found.unit.sessions[1].end, found.unit.sessions[1].end_raw) == (None, OPEN)
    assert found.life_cycle is LifeCycle.FULLY_OBSERVED
    assert write_status(found) == data


def test_a_document_with_a_prefix_for_each_element_is_read() -> None:
    data = b"""<?xml version="1.0" encoding="UTF-8"?>
<OUSStatus xmlns="Alma/Scheduling/OUSStatus" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
    schemaVersion="13" almatype="APDM::OUSStatus" xsi:type="OUSStatus">
    <ns1:Status xmlns:ns1="Alma/Scheduling/ProjectStatus" State="Phase2Submitted"/>
    <ns2:executionsRemaining xmlns:ns2="Alma/Scheduling/ProjectStatus">3</ns2:executionsRemaining>
    <ns12:ProjectStatusRef xmlns:ns12="Alma/Scheduling/ProjectStatus"
        entityId="uid://A001/Xa0/Xb49" entityTypeName="ProjectStatus" documentVersion="1"/>
    <OUSStatusEntity entityId="uid://A002/X5a9a13/X6a1" entityIdEncrypted="none" entityTypeName="OUSStatus"/>
    <ObsUnitSetRef entityId="uid://A001/Xa0/Xb45" partId="X306252924" entityTypeName="ObsProject"/>
    <OUSStatusRef entityId="uid://A002/X5a9a13/X6a2" entityTypeName="OUSStatus" documentVersion="1"/>
</OUSStatus>"""
    found = read_status(data)
    assert found.unit.parent is None
    assert found.unit.children == (Uid.parse("uid://A002/X5a9a13/X6a2"),)
    assert found.counters == {"executionsRemaining": 3}
    assert (found.life_cycle, found.unit.state) == (None, "Phase2Submitted")


def test_sessions_written_with_attributes_are_read() -> None:
    data = write_status(MEMBER).decode()
    data = data.replace("<ExecBlockId>uid://A002/Xc7111c/X3979</ExecBlockId>", "")
    data = data.replace("<ExecBlockRef>", '<ExecBlockRef execBlockId="uid://A002/Xc7111c/X3979">')
    assert read_status(data.encode()).unit.sessions == MEMBER.unit.sessions


def test_documents_of_all_levels_make_a_tree() -> None:
    units = [MEMBER.unit, UnitSet(status("f3a"), children=(status("f3b"),))]
    documents = [read_status(write_status(StatusDocument(unit))) for unit in units]
    assert len(UnitTree.of(document.unit for document in documents).up(status("f3b"))) == 2


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("uid://A001/X1284/Xf3b", "uid___A001_X1284", "is not an archive uid"),
        ("<ps:failedSeconds>7200", "<ps:failedSeconds>long", "invalid literal"),
        ("OUSStatusEntity", "OUSStatusThing", "no <OUSStatusEntity>"),
        ('partId="X23868574"', 'partId="23868574"', "is no part id"),
        (
            "<SBStatusRef",
            '<OUSStatusRef entityId="uid://A001/X1/X2" entityTypeName="OUSStatus"/><SBStatusRef',
            "both",
        ),
    ],
)
def test_unsound_documents_are_refused(old: str, new: str, words: str) -> None:
    data = write_status(MEMBER).decode().replace(old, new, 1)
    with pytest.raises(FormatError, match=words):
        read_status(data.encode())


def test_the_life_cycle() -> None:
    check_transition(LifeCycle.REVIEWING, LifeCycle.READY_FOR_PROCESSING)  # failed in review
    check_transition(LifeCycle.PROCESSING, LifeCycle.DELETED)
    with pytest.raises(
        InputError, match="goes from Processing to ReadyForReview, ProcessingProblem, Deleted, not to"
    ):
        check_transition(LifeCycle.PROCESSING, LifeCycle.DELIVERED)
    with pytest.raises(InputError, match="goes from Deleted to nothing"):
        check_transition(LifeCycle.DELETED, LifeCycle.PROCESSING)


def test_every_state_can_be_reached_and_leads_to_delivery() -> None:
    reached = {LifeCycle.PARTIALLY_OBSERVED}
    while more := {new for state in reached for new in next_states(state)} - reached:
        reached |= more
    assert reached == set(LifeCycle)


def test_substates_belong_to_their_states() -> None:
    check_substate(LifeCycle.PROCESSING, Substate.PIPELINE_CALIBRATION)
    check_substate(LifeCycle.DELIVERED, None)
    with pytest.raises(InputError, match="IngestingProducts is not a substate of Processing"):
        check_substate(LifeCycle.PROCESSING, Substate.INGESTING_PRODUCTS)
