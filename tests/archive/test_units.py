"""Unit sets, sessions, deliveries and files, with the cases that troubled observatories."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from mwaconvert.archive.identifiers import ExecBlockUid, StatusUid, Uid
from mwaconvert.archive.times import parse_utc, read_utc, utc
from mwaconvert.archive.units import (
    Calibrated,
    Deliveries,
    Delivery,
    Level,
    ProductFile,
    Session,
    UnitSet,
    UnitTree,
    calibration_state,
    check_sessions,
    order_of,
)
from mwaconvert.errors import InputError, MetadataError


def status(part: str) -> StatusUid:
    return StatusUid(Uid("A001", "X1284", f"X{part}"))


def block(part: str) -> ExecBlockUid:
    return ExecBlockUid(Uid("A002", "Xc7111c", f"X{part}"))


def tree() -> UnitTree:
    return UnitTree.of(
        [
            UnitSet(status("4"), parent=status("3"), block_statuses=(status("b"),)),
            UnitSet(status("1"), children=(status("2"),)),
            UnitSet(status("3"), parent=status("2"), children=(status("4"), status("5"))),
            UnitSet(status("2"), parent=status("1"), children=(status("3"),)),
            UnitSet(status("5"), parent=status("3"), block_statuses=(status("c"), status("d"))),
        ]
    )


def test_the_tree_is_walked_from_the_program_down_and_from_a_member_up() -> None:
    found = tree()
    assert [u.status_uid.part for u in found.walk()] == ["X1", "X2", "X3", "X4", "X5"]
    assert [u.status_uid.part for u in found.up(status("5"))] == ["X5", "X3", "X2", "X1"]
    assert [u.status_uid.part for u in found.members()] == ["X4", "X5"]
    levels = [Level.PROGRAM, Level.SCIENCE_GOAL, Level.GROUP, Level.MEMBER, Level.MEMBER]
    assert [found.level(u.status_uid) for u in found.walk()] == levels


def test_a_tree_deeper_than_the_usual_is_walked_too() -> None:
    chain = [status(f"{n:x}") for n in range(1, 40)]
    units = [
        UnitSet(uid, parent=chain[n - 1] if n else None, children=tuple(chain[n + 1 : n + 2]))
        for n, uid in enumerate(chain)
    ]
    assert len(UnitTree.of(units).up(chain[-1])) == 39


@pytest.mark.parametrize(
    ("units", "words"),
    [
        ([UnitSet(status("1")), UnitSet(status("2"))], "2 unit sets have no parent"),
        ([], "0 unit sets have no parent"),
        ([UnitSet(status("1")), UnitSet(status("1"))], "given twice"),
        (
            [UnitSet(status("1")), UnitSet(status("2"), parent=status("1"))],
            "does not list it",
        ),
        (
            [
                UnitSet(status("1"), children=(status("2"), status("3"))),
                UnitSet(status("2"), parent=status("1"), children=(status("3"),)),
                UnitSet(status("3"), parent=status("2")),
            ],
            "whose parent is",
        ),
        (
            [
                UnitSet(status("1")),
                UnitSet(status("2"), parent=status("3"), children=(status("3"),)),
                UnitSet(status("3"), parent=status("2"), children=(status("2"),)),
            ],
            "in a circle",
        ),
    ],
)
def test_what_is_no_tree_is_refused(units: list[UnitSet], words: str) -> None:
    with pytest.raises(MetadataError, match=words):
        UnitTree.of(units)


def test_a_set_holds_sets_or_blocks() -> None:
    with pytest.raises(MetadataError, match="both unit sets and scheduling blocks"):
        UnitSet(status("1"), children=(status("2"),), block_statuses=(status("b"),))
    with pytest.raises(MetadataError, match="contains itself"):
        UnitSet(status("1"), children=(status("1"),))


def test_an_empty_session_keeps_its_number() -> None:
    sessions = (Session(1), Session(2, (block("1"),)))
    check_sessions(sessions)
    assert UnitSet(status("4"), sessions=sessions).exec_blocks == (block("1"),)
    assert [s.name for s in sessions] == ["session_1", "session_2"]


def test_sessions_with_gaps_or_shared_blocks_are_refused() -> None:
    with pytest.raises(MetadataError, match="session_2 is missing before session_3"):
        check_sessions((Session(1), Session(3, (block("1"),))))
    with pytest.raises(MetadataError, match="is in session_1 and in session_2"):
        check_sessions((Session(1, (block("1"),)), Session(2, (block("1"),))))
    with pytest.raises(MetadataError, match="lists an execution block twice"):
        Session(1, (block("1"), block("1")))
    with pytest.raises(InputError, match="count from 1"):
        Session(0)


def test_sessions_are_ordered_by_start_then_part_id() -> None:
    early, late = datetime(2018, 1, 1, tzinfo=UTC), datetime(2018, 1, 2, tzinfo=UTC)
    a = Session(1, part_id="X00000002", start=early, end=None)
    b = Session(1, part_id="X00000001", start=late, end=early)
    c = Session(1, part_id="X00000000", end=early)
    d = Session(1, part_id="X00000001", start=early)
    assert sorted([c, b, a, d], key=order_of) == [d, a, b, c]


def test_the_end_of_a_session_that_is_a_sentence() -> None:
    assert read_utc("Session is still running") is None
    assert read_utc(None) is None
    assert read_utc("2017-08-01T12:00:00.5") == datetime(2017, 8, 1, 12, 0, 0, 500000, tzinfo=UTC)


def test_times_are_utc_and_never_naive() -> None:
    east = timezone(timedelta(hours=13))
    assert parse_utc("2018-06-01T00:30:00+13:00") == datetime(2018, 5, 31, 11, 30, tzinfo=UTC)
    assert utc(datetime(2018, 6, 1, 0, 30, tzinfo=east)).isoformat() == "2018-05-31T11:30:00+00:00"
    with pytest.raises(InputError, match="no time zone"):
        utc(datetime(2018, 6, 1))
    with pytest.raises(InputError, match="is not a time"):
        parse_utc("yesterday")


def test_a_claw_back_is_a_later_row() -> None:
    january, june, july = (datetime(2018, m, 1, tzinfo=UTC) for m in (1, 6, 7))
    august, later = datetime(2018, 8, 1, tzinfo=UTC), datetime(2019, 1, 1, tzinfo=UTC)
    rows = Deliveries().seen(Delivery(january, june, "delivered"))
    rows.check_public(status("4"), july)
    clawed = rows.seen(Delivery(july, later, "resubmitted: more data are needed"))
    assert len(rows.rows) == 1
    assert not clawed.is_public(august)
    with pytest.raises(InputError, match="is proprietary until 2019-01-01 00:00 UTC"):
        clawed.check_public(status("4"), august)
    # what was known at the time, before the claw-back
    assert clawed.is_public(datetime(2018, 6, 15, tzinfo=UTC))


def test_what_was_never_delivered_is_not_public() -> None:
    now = datetime(2018, 8, 1, tzinfo=UTC)
    with pytest.raises(InputError, match="has no release date"):
        Deliveries().check_public(status("4"), now)
    with pytest.raises(InputError, match="has no release date"):
        Deliveries().seen(Delivery(now, None)).check_public(status("4"), now)
    with pytest.raises(InputError, match="no time zone"):
        Deliveries().is_public(datetime(2018, 8, 1))


def test_the_release_hour_counts_in_utc() -> None:
    release = parse_utc("2018-06-01T00:00:00")
    rows = Deliveries().seen(Delivery(parse_utc("2018-01-01"), release))
    sydney = timezone(timedelta(hours=10))
    assert not rows.is_public(datetime(2018, 6, 1, 9, 59, tzinfo=sydney))
    assert rows.is_public(datetime(2018, 6, 1, 10, 0, tzinfo=sydney))


def test_deliveries_are_added_in_order_of_time() -> None:
    rows = Deliveries().seen(Delivery(datetime(2018, 2, 1, tzinfo=UTC), None))
    with pytest.raises(MetadataError, match="added in order of time"):
        rows.seen(Delivery(datetime(2018, 1, 1, tzinfo=UTC), None))


def test_product_files_are_checked() -> None:
    with pytest.raises(InputError, match="cannot be a file name"):
        ProductFile("../x.tgz")
    with pytest.raises(InputError, match="no SHA-256"):
        ProductFile("x.tgz", sha256="abc")
    with pytest.raises(InputError, match="-1 bytes"):
        ProductFile("x.tgz", size=-1)


def files(*rows: tuple[str, str]) -> list[ProductFile]:
    return [ProductFile(name, file_class) for file_class, name in rows]


def test_a_pipeline_calibration_that_can_be_restored() -> None:
    state = calibration_state(
        files(
            ("science", "x.pbcor.fits"),
            ("calibration", "uid___A001_X1_X2.session_1.caltables.tgz"),
            ("script", "member.uid___A001_X1_X2.scriptForPI.py"),
        )
    )
    assert (state.by, state.missing) == (Calibrated.PIPELINE, ())
    underscored = files(("science", "x.fits"), ("calibration", "uid___A001_X1_X2_session_1_caltables.tgz"))
    assert calibration_state(underscored).missing == ()


def test_a_hand_calibration_is_told_by_its_script() -> None:
    state = calibration_state(
        files(("science", "x.fits"), ("calibration", "c.tgz"), ("script", "uid.ms.scriptForCalibration.py"))
    )
    assert (state.by, state.missing) == (Calibrated.HAND, ())


def test_work_in_progress_is_not_restored_silently() -> None:
    state = calibration_state(files(("calibration", "uid___A001_X1_X2.session_1.caltables.tgz")))
    assert state.missing == ("no science products were delivered: the calibration may be work in progress",)
    assert calibration_state([]).by is Calibrated.NOT_YET
    assert len(calibration_state([]).missing) == 3
    together = calibration_state(files(("science", "x.fits"), ("calibration", "all_of_it.tar")))
    assert "may be split out later" in together.missing[0]
