"""Metadata databases, public tables in files, what changed between two looks, decisions on restores."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import request_samples as samples
from metadata_samples import MEMBER, MOUS, NOW, PROJECT, change, fill, status

from mwaconvert.archive.casa import CasaVersion
from mwaconvert.archive.restores import RestoreDecision, decide_restore
from mwaconvert.archive.sources.metadata import MetadataDatabase
from mwaconvert.archive.sources.obscore import read_obscore
from mwaconvert.archive.sources.snapshot import ChangeKind, MemberSnapshot, changes_since, disagreements
from mwaconvert.archive.units import Deliveries, Delivery, ProductFile, Qa0, Session, UnitSet
from mwaconvert.errors import FormatError, InputError, MetadataError, ResourceError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    fill(tmp_path / "alma.db")
    return tmp_path / "alma.db"


@pytest.fixture
def database(path: Path) -> Iterator[MetadataDatabase]:
    with MetadataDatabase(f"sqlite:///{path}") as opened:
        yield opened


def test_a_row_that_tells_little(path: Path) -> None:
    columns = "OBS_PROJECT_ID = NULL, OBS_PROJECT_STATUS_ID = NULL, DOMAIN_ENTITY_ID = NULL, XML = NULL"
    change(path, f"UPDATE obs_unit_set_status SET {columns}")
    with MetadataDatabase(f"sqlite:///{path}") as opened:
        assert opened.unit_set(MOUS) == UnitSet(MOUS, "Delivered", parent=status("2"))


def test_a_member_set_from_the_tables(database: MetadataDatabase) -> None:
    found = database.member(PROJECT, MOUS)
    assert found.unit == replace(
        MEMBER, project_status=status("251")
    )  # a column tells what its document does not
    assert found.chain == (status("2"), status("1"))
    assert [block.status_uid for block in found.sched_blocks] == [status("267")]
    # by start, unknown ones last
    assert [e.uid for e in found.exec_blocks] == [samples.EBS[2], samples.EBS[1], samples.EBS[0]]
    assert [e.qa0 for e in found.exec_blocks] == [Qa0.UNSET, Qa0.SEMIPASS, Qa0.PASS]
    assert found.exec_blocks[1].end is None
    assert found.calibration.missing == ()
    assert (found.release_date, found.qa2) == (datetime(2018, 5, 1, tzinfo=UTC), "Pass")


def test_what_the_database_does_not_know(database: MetadataDatabase) -> None:
    with pytest.raises(InputError, match="is not in the metadata database"):
        database.member(PROJECT, status("999"))
    assert database.release_date(PROJECT, status("2")) is None
    assert database.qa2(status("2")) == ""


def test_nothing_is_written(database: MetadataDatabase) -> None:
    import sqlalchemy

    with (
        database._engine.connect() as connection,
        pytest.raises(sqlalchemy.exc.SQLAlchemyError, match="readonly"),
    ):
        connection.execute(sqlalchemy.text("DELETE FROM aqua_ous"))


def test_rows_that_contradict_each_other(path: Path) -> None:
    with sqlite3.connect(path) as db:
        name = f"{PROJECT}_{MOUS.file_form}"
        db.execute("INSERT INTO asa_delivery_status VALUES (?,?)", (name, "2019-05-01T00:00:00"))
        db.execute(
            "UPDATE obs_unit_set_status SET PARENT_OBS_UNIT_SET_STATUS_ID=? WHERE STATUS_ENTITY_ID=?",
            (str(MOUS), str(status("1"))),
        )
    with MetadataDatabase(f"sqlite:///{path}") as database:
        with pytest.raises(MetadataError, match="different release dates"):
            database.release_date(PROJECT, MOUS)
        with pytest.raises(MetadataError, match="contains itself"):
            database.chain(MOUS)


def test_a_database_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no table OBS_UNIT_SET_STATUS"):
        MetadataDatabase(f"sqlite:///{tmp_path}/empty.db")
    (tmp_path / "x").write_text("not a database, and long enough to be read as one " * 50)
    with pytest.raises(InputError, match="cannot be opened") as refused:
        MetadataDatabase(f"sqlite:///{tmp_path}/x")
    assert str(tmp_path) not in str(refused.value)


def snapshot() -> MemberSnapshot:
    return MemberSnapshot(
        MEMBER,
        files=(ProductFile("a.fits", "science"), ProductFile("all.tar", "calibration")),
        release_date=NOW - timedelta(days=31),
        qa2="Pass",
    )


def test_what_changed_since_the_last_look() -> None:
    old = snapshot()
    assert changes_since(old, old, NOW) == ()
    new = replace(
        old,
        unit=replace(
            MEMBER, state="Processing", sessions=(Session(1, samples.EBS[:1]), Session(2, samples.EBS[1:2]))
        ),
        files=(*old.files, ProductFile("a.session_1.caltables.tgz", "calibration")),
        release_date=NOW + timedelta(days=365),
        qa2="SemiPass",
    )
    told = changes_since(old, new, NOW)
    assert [change.kind for change in told] == [
        ChangeKind.STATE,
        ChangeKind.QA2,
        ChangeKind.CLAW_BACK,
        ChangeKind.CALIBRATION,
        ChangeKind.FILES,
        ChangeKind.SESSIONS,
    ]
    assert "now stored apart" in told[3].words
    later = replace(old, release_date=NOW + timedelta(days=1))
    (moved,) = changes_since(later, replace(old, release_date=NOW + timedelta(days=2)), NOW)
    assert moved.kind is ChangeKind.RELEASE
    with pytest.raises(MetadataError, match="are two sets"):
        changes_since(old, replace(old, unit=UnitSet(status("5"))), NOW)


def test_sources_that_disagree_are_told() -> None:
    one, two = samples.EBS[:2]
    told = disagreements(
        {"status": frozenset({one, two}), "ASA_SCIENCE": frozenset({one}), "manifest": frozenset({one, two})}
    )
    assert told == (f"{two} is in status, manifest and not in ASA_SCIENCE",)
    assert disagreements({"status": frozenset({one}), "manifest": frozenset({one})}) == ()


HEAD = "proposal_id,group_ous_uid,member_ous_uid,asdm_uid,obs_release_date,qa2_passed\n"


def obscore(tmp_path: Path, *rows: str) -> Path:
    path = tmp_path / "obscore.csv"
    path.write_text(HEAD + "".join(f"{row}\n" for row in rows))
    return path


def test_a_public_table(tmp_path: Path) -> None:
    rows = [
        f"{PROJECT},{status('2')},{MOUS},{uid},2018-05-01T00:00:00.000Z,T"
        for uid in (samples.EBS[0], samples.EBS[0], samples.EBS[1])
    ]
    (found,) = read_obscore(obscore(tmp_path, *rows))
    assert (found.mous, found.exec_blocks, found.qa2_passed) == (MOUS, samples.EBS[:2], True)
    assert found.is_public(NOW)
    assert not found.is_public(NOW - timedelta(days=90))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([f"{PROJECT},,{MOUS},uid,2018-05-01,T"], "line 2: 'uid' is not an archive uid"),
        ([f"{PROJECT},,{MOUS},{samples.EBS[0]},soon,T"], "line 2: 'soon' is not a time"),
        (
            [
                f"{PROJECT},,{MOUS},{samples.EBS[0]},2018-05-01,T",
                f"{PROJECT},,{MOUS},{samples.EBS[0]},2019-05-01,T",
            ],
            r"line 3: .* disagrees",
        ),
        ([f"{PROJECT},,{MOUS}"], "line 2"),
    ],
)
def test_unsound_public_tables(tmp_path: Path, rows: list[str], words: str) -> None:
    with pytest.raises(FormatError, match=words):
        read_obscore(obscore(tmp_path, *rows))
    (tmp_path / "obscore.csv").write_text("a,b\n")
    with pytest.raises(FormatError, match="has no column proposal_id"):
        read_obscore(tmp_path / "obscore.csv")


def decide(**changes: object) -> RestoreDecision:
    old = replace(snapshot(), files=(*snapshot().files, ProductFile("a.s.caltables.tgz", "calibration")))
    words: dict[str, object] = {
        "deliveries": Deliveries((Delivery(NOW - timedelta(days=60), NOW - timedelta(days=31)),)),
        "calibration": old.calibration,
        "calibrated_with": CasaVersion.parse("5.1.1-5"),
        "installed": [CasaVersion.parse("5.1.1-5"), CasaVersion.parse("6.5.4-9")],
        "raw_bytes": 10_000_000_000,
        "free_bytes": 1_000_000_000_000,
        "at": NOW,
    }
    return decide_restore(MOUS, **{**words, **changes})


def test_a_restore_is_decided_at_once() -> None:
    assert decide().warnings == ()
    assert str(decide().casa.version) == "5.1.1-5"
    assert decide().room_bytes == 70_000_000_000
    assert "later version" in decide(installed=[CasaVersion.parse("6.5.4-9")]).warnings[0]


def test_restores_that_may_not_start() -> None:
    with pytest.raises(InputError, match="is proprietary until"):
        decide(deliveries=Deliveries((Delivery(NOW - timedelta(days=60), NOW + timedelta(days=1)),)))
    with pytest.raises(InputError, match="cannot be restored: the calibration tables are not stored apart"):
        decide(calibration=snapshot().calibration)
    with pytest.raises(ResourceError, match=r"may need 70\.0 GB, 50\.0 GB are free"):
        decide(free_bytes=50_000_000_000)
    by_hand = replace(
        snapshot(), files=(*snapshot().files, ProductFile("a.scriptForCalibration.py", "script"))
    ).calibration
    assert "calibrated by hand" in decide(calibration=by_hand).warnings[0]
    with pytest.raises(InputError, match="a hand calibration needs CASA"):
        decide(calibration=by_hand, installed=[CasaVersion.parse("6.5.4-9")])


def test_a_database_that_breaks_off_is_told_in_a_sentence(path: Path, database: MetadataDatabase) -> None:
    change(path, "DROP TABLE asa_delivery_status")
    for read in (database.seen, lambda: database.project_of(MOUS), lambda: database.member(PROJECT, MOUS)):
        with pytest.raises(ResourceError, match="the metadata database gave no answer: OperationalError"):
            read()
    with pytest.raises(ResourceError):
        next(database.members({MOUS: PROJECT}))


def test_looks_at_many_sets_are_those_at_each(path: Path, database: MetadataDatabase) -> None:
    found = database.looks({MOUS: PROJECT, status("77"): PROJECT})
    whole = database.member(PROJECT, MOUS)
    assert list(found) == [MOUS]
    look = found[MOUS]
    assert (look.state, look.qa2, look.release_date) == (whole.unit.state, whole.qa2, whole.release_date)
    assert look.calibration == whole.calibration
    assert database.project_of(MOUS) == PROJECT
    with pytest.raises(InputError, match="has 0 deliveries"):
        database.project_of(status("77"))
    change(path, "INSERT INTO asa_delivery_status VALUES (?,?)", f"2018.1.00001.S_{MOUS.file_form}", None)
    with pytest.raises(InputError, match="has 2 deliveries"):
        database.project_of(MOUS)
