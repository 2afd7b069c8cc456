"""The catalogue: members in and out, what changed, decisions, ingests; SQLite here, PostgreSQL where it runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier, Thread

import pytest
import request_samples as samples
from services.postgres import Postgres, is_installed

from mwaconvert.archive.catalog import Action, Catalog, Look, Run, RunState
from mwaconvert.archive.identifiers import EntityUid, StatusUid, Uid, UnitRef
from mwaconvert.archive.products import Kind
from mwaconvert.archive.quality.ingest import IngestItem
from mwaconvert.archive.quality.notes import QaNotes, SrdpStatus
from mwaconvert.archive.reruns import RunInput
from mwaconvert.archive.sources.snapshot import ChangeKind, MemberSnapshot, NewMember
from mwaconvert.archive.units import ExecBlock, Level, ProductFile, Qa0, Role, Session, UnitSet
from mwaconvert.errors import InputError, MetadataError

PROJECT = "2017.1.00886.L"
NOW = datetime(2018, 6, 1, tzinfo=UTC)
PASS = QaNotes(SrdpStatus.PASS, "AL", score=1.0, comments="fine", extra=(("qa_site", "NM"),))


def status(part: str) -> StatusUid:
    return StatusUid(Uid("A001", "X1284", f"X{part}"))


URLS = [
    "sqlite",
    pytest.param("postgresql", marks=pytest.mark.services),
]


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    if not is_installed():
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    with Postgres() as started:
        yield started


@pytest.fixture(params=URLS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/archive.db"
    return str(request.getfixturevalue("server").new_database())


@pytest.fixture
def catalog(url: str) -> Iterator[Catalog]:
    with Catalog(url) as opened:
        opened.put_units(
            PROJECT,
            [
                (UnitSet(status("1"), "Processing"), Level.PROGRAM),
                (UnitSet(status("2"), "Processing", parent=status("1")), Level.GROUP),
            ],
            NOW,
        )
        yield opened


def look() -> MemberSnapshot:
    start = datetime(2018, 1, 2, 3, 4, 5, 600000, tzinfo=UTC)
    return MemberSnapshot(
        UnitSet(
            samples.MOUS,
            "Delivered",
            parent=status("2"),
            project_status=status("251"),
            unit=UnitRef(EntityUid(Uid.parse("uid://A001/X1284/X250")), "X23868574"),
            block_statuses=(status("268"), status("267")),
            sessions=(
                Session(1, part_id="X00000000", end_raw="still open"),
                Session(2, samples.EBS[1::-1], "X00000001", status("267"), start, start + timedelta(hours=2)),
            ),
        ),
        (status("2"), status("1")),
        (samples.BLOCK,),
        (
            ExecBlock(samples.EBS[1], samples.BLOCK.uid, start, None, Qa0.SEMIPASS),
            ExecBlock(samples.EBS[0], samples.BLOCK.uid, None, None, Qa0.PASS),
        ),
        (
            ProductFile("a.fits", "science", Role.PRIMARY, 3_000_000_000_000, "0" * 64),
            ProductFile("b.tar", "calibration"),
        ),
        NOW + timedelta(days=30),
        "Pass",
    )


def test_a_member_set_comes_out_as_it_went_in(catalog: Catalog) -> None:
    assert catalog.put_member(PROJECT, look(), NOW) == ()
    assert catalog.member(samples.MOUS) == look()
    assert catalog.put_member(PROJECT, look(), NOW + timedelta(days=1)) == ()
    assert catalog.chain(samples.MOUS) == (samples.MOUS, status("2"), status("1"))
    assert catalog.tree(PROJECT) == (
        (status("1"), None, "Processing", 0),
        (status("2"), status("1"), "Processing", 0),
        (samples.MOUS, status("2"), "Delivered", 2),
    )
    with pytest.raises(InputError, match="is not in the catalogue"):
        catalog.member(status("999"))


def test_an_empty_session_is_a_row(catalog: Catalog) -> None:
    catalog.put_member(PROJECT, look(), NOW)
    sessions = catalog.member(samples.MOUS).unit.sessions
    assert [(s.ordinal, len(s.exec_blocks), s.end_raw) for s in sessions] == [
        (1, 0, "still open"),
        (2, 2, ""),
    ]


def test_what_changed_is_told_and_release_dates_are_added(catalog: Catalog) -> None:
    catalog.put_member(PROJECT, look(), NOW)
    later = NOW + timedelta(days=40)
    clawed = replace(
        look(), release_date=NOW + timedelta(days=400), files=(*look().files, ProductFile("x.tgz"))
    )
    told = catalog.put_member(PROJECT, clawed, later)
    assert [change.kind for change in told] == [ChangeKind.CLAW_BACK, ChangeKind.FILES]
    rows = catalog.deliveries(samples.MOUS)
    assert [row.release_date for row in rows.rows] == [look().release_date, clawed.release_date]
    assert rows.is_public(NOW + timedelta(days=35))
    assert not rows.is_public(later)


def test_a_set_whose_parent_is_unknown(catalog: Catalog) -> None:
    orphan = replace(look(), unit=replace(look().unit, parent=status("77")))
    with pytest.raises(MetadataError, match="which is not in the catalogue"):
        catalog.put_member(PROJECT, orphan, NOW)
    with pytest.raises(InputError, match="is not in the catalogue"):
        catalog.member(samples.MOUS)


def test_one_execution_block_in_two_sets_is_possible_and_in_two_sessions_not(catalog: Catalog) -> None:
    catalog.put_member(PROJECT, look(), NOW)
    other = replace(
        look(),
        unit=replace(look().unit, status_uid=status("5"), unit=None, sessions=()),
        sched_blocks=(),
        files=(),
    )
    catalog.put_member(PROJECT, other, NOW)
    assert len(catalog.member(status("5")).exec_blocks) == 2
    twice = (Session(1, samples.EBS[:1]), Session(2, samples.EBS[:1]))
    with pytest.raises(MetadataError, match="is in session_1 and in session_2"):
        catalog.put_member(PROJECT, replace(look(), unit=replace(look().unit, sessions=twice)), NOW)
    assert catalog.member(samples.MOUS) == look()


def test_sets_that_are_new_enter_together_or_not_at_all(catalog: Catalog) -> None:
    top, group = UnitSet(status("1"), "Processing"), UnitSet(status("3"), "Processing", parent=status("1"))
    above = ((top, Level.PROGRAM), (group, Level.GROUP))
    second = replace(
        look(),
        unit=replace(look().unit, status_uid=status("5"), parent=status("3"), unit=None),
        chain=(status("3"), status("1")),
        sched_blocks=(),
    )
    new = [NewMember(PROJECT, look()), NewMember(PROJECT, second, above)]
    rival = replace(second, sched_blocks=(samples.BLOCK,))
    with pytest.raises(MetadataError, match="one of 2 member sets has a scheduling block, execution"):
        catalog.enter([new[0], replace(new[1], look=rival)], "ann", NOW)
    with pytest.raises(MetadataError, match=r"has the parent .*X3, which is not in the catalogue"):
        catalog.enter([new[0], NewMember(PROJECT, second)], "ann", NOW)
    assert (catalog.members(), catalog.trail(), len(catalog.tree(PROJECT))) == ({}, (), 2)
    assert catalog.enter(new, "ann", NOW) == new
    assert (catalog.member(samples.MOUS), catalog.member(status("5"))) == (look(), second)
    told = [(entry.subject, entry.actor, entry.detail) for entry in catalog.trail()]
    assert told == [(str(uid), "ann", f"new, of {PROJECT}") for uid in (status("5"), samples.MOUS)]
    assert catalog.enter(new, "bob", NOW) == []  # another entered them in between
    assert len(catalog.trail()) == 2


def test_a_pass_writes_what_changed(catalog: Catalog) -> None:
    catalog.put_member(PROJECT, look(), NOW)
    short = Look("Delivered", "Pass", look().release_date, look().calibration)
    assert catalog.update({samples.MOUS: short}, "ann", NOW) == {}
    at = NOW + timedelta(days=1)
    moved = replace(
        short,
        qa2="SemiPass",
        release_date=NOW + timedelta(days=60),
        calibration=replace(short.calibration, separate=True),
    )
    assert catalog.update({samples.MOUS: moved, status("9"): short}, "ann", at) == {
        samples.MOUS: (
            "QA2: Pass -> SemiPass",
            "release date: 2018-07-01T00:00:00.000000 -> 2018-07-31T00:00:00.000000",
            "tables stored apart: no -> yes",
        ),
    }
    assert catalog.update({samples.MOUS: moved}, "ann", at) == {}
    (entry,) = catalog.trail(str(samples.MOUS))
    assert (entry.actor, entry.at, entry.action) == ("ann", at, Action.CHANGED)
    assert entry.detail.startswith("QA2: Pass -> SemiPass; release date: ")
    assert catalog.member(samples.MOUS).qa2 == "SemiPass"
    assert len(catalog.deliveries(samples.MOUS).rows) == 2


def run(number: int, **changes: object) -> Run:
    return replace(Run(f"run{number}", "srdp", str(samples.MOUS), number, casa="6.5.4-9"), **changes)


def test_runs_wait_for_analysts(catalog: Catalog) -> None:
    for number in (1, 2, 3):
        catalog.put_run(run(number), (), NOW + timedelta(hours=number))
    catalog.put_run(run(2, state=RunState.WAITING, assigned_to="AL"), (), NOW + timedelta(hours=9))
    catalog.put_run(run(1, state=RunState.WAITING), (), NOW + timedelta(hours=10))
    assert [r.run_id for r in catalog.qa_queue()] == ["run2", "run1"]
    assert [r.run_id for r in catalog.qa_queue("AL")] == ["run2"]
    assert catalog.run("run3") == run(3)
    with pytest.raises(InputError, match="there is no run run9"):
        catalog.run("run9")
    with pytest.raises(MetadataError, match="has an attempt 3 of srdp already"):
        catalog.put_run(replace(run(3), run_id="other"), (), NOW)


def test_inputs_are_written_once(catalog: Catalog) -> None:
    inputs = (RunInput(Kind.REQUEST, Path("PPR.xml"), "0" * 64, True),)
    catalog.put_run(run(1), inputs, NOW)
    catalog.put_run(run(1, state=RunState.FAILED), inputs, NOW)
    assert catalog.run("run1").state is RunState.FAILED


def test_decisions_are_revisions(catalog: Catalog) -> None:
    catalog.put_run(run(1), (), NOW)
    catalog.decide("run1", PASS, "AL", NOW, seen=0)
    fail = replace(PASS, status=SrdpStatus.FAIL, score=0.0)
    catalog.decide("run1", fail, "JD", NOW + timedelta(days=1), seen=1)
    found = catalog.decisions("run1")
    assert [(row.revision, row.notes, row.decided_by) for row in found.rows] == [
        (1, PASS, "AL"),
        (2, fail, "JD"),
    ]
    with pytest.raises(InputError, match=r"JD \(Fail\) decided on this run in the meantime"):
        catalog.decide("run1", PASS, "AL", NOW, seen=1)


def test_of_two_who_decide_at_once_one_wins(catalog: Catalog) -> None:
    catalog.put_run(run(1), (), NOW)
    barrier, won, told = Barrier(6), [], []

    def decide(analyst: str) -> None:
        barrier.wait()
        try:
            catalog.decide("run1", replace(PASS, analyst=analyst), analyst, NOW, seen=0)
            won.append(analyst)
        except InputError as error:
            told.append(str(error))

    threads = [Thread(target=decide, args=(f"analyst{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert len(told) == 5
    assert all(f"{won[0]} (Pass) decided on this run in the meantime" in words for words in told)
    assert [row.decided_by for row in catalog.decisions("run1").rows] == won


def test_ingests_by_attempt(catalog: Catalog) -> None:
    catalog.put_run(run(1), (), NOW)
    item = IngestItem(ProductFile("a.fits", role=Role.PRIMARY, size=3, sha256="0" * 64))
    catalog.put_ingest("run1", 1, [item])
    catalog.put_ingest("run1", 2, [item])
    verified = item.verified("id", 1, "0" * 64, NOW)
    catalog.put_ingest("run1", 2, [verified])
    assert catalog.ingested("run1") == (verified,)
    assert catalog.ingested("run2") == ()


def test_a_database_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be opened") as refused:
        Catalog(f"sqlite:///{tmp_path}/none/secret.db")
    assert "secret" not in str(refused.value)
