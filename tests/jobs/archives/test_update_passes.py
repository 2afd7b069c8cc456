"""Passes over an archive's metadata: what is new enters the catalogue, what changed is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import metadata_samples
import pytest
import request_samples as samples
from metadata_samples import MOUS, PROJECT, change, status

from mwaconvert.archive.catalog import Action, Catalog
from mwaconvert.archive.sources.metadata import MetadataDatabase
from mwaconvert.archive.sources.snapshot import LeftOut
from mwaconvert.errors import InputError
from mwaconvert.jobs.workflows.archives import updating
from mwaconvert.jobs.workflows.archives.site import ArchiveSite, local_site
from mwaconvert.jobs.workflows.archives.updating import update_pass

NEW = (f"new, of {PROJECT}",)
BAD_NAME = "'a/b' cannot be a file name; expected one part, without / and control characters"
HEAD = "proposal_id,group_ous_uid,member_ous_uid,asdm_uid,obs_release_date,qa2_passed\n"


@pytest.fixture
def alma(tmp_path: Path) -> Path:
    metadata_samples.fill(tmp_path / "alma.db")
    return tmp_path / "alma.db"


@pytest.fixture
def site(tmp_path: Path, alma: Path) -> ArchiveSite:
    found = local_site(tmp_path / "site", metadata=f"sqlite:///{alma}")
    return replace(found, database=str(tmp_path / "archive.db"))


def passed(site: ArchiveSite) -> dict[object, tuple[str, ...]]:
    with site.catalog() as catalog:
        return dict(update_pass(site, catalog, "ann").told)


def another(alma: Path, part: str, parent: str = "2", release: str = "2018-05-01") -> None:
    """One more delivered set without a status document, with a block of its own."""
    mous, block = str(status(part)), f"uid://A001/X1284/Xb{part}"
    project = "uid://A001/X1284/X250"
    row = (mous, f"X{part}", "Delivered", str(status(parent)), project, str(status("251")), "", None)
    change(alma, "INSERT INTO obs_unit_set_status VALUES (?,?,?,?,?,?,?,?)", *row)
    change(alma, "INSERT INTO sched_block_status VALUES (?,?,?,'')", block, f"{block}c", mous)
    for k in range(2):
        change(
            alma,
            "INSERT INTO aqua_v_execblock VALUES (?,?,?,?,?)",
            f"uid://A002/X{part}/X{k}",
            block,
            None,
            None,
            "Pass",
        )
    change(alma, "INSERT INTO asa_product_files VALUES (?,?,?)", f"{part}.tar", "calibration", mous)
    name = f"{PROJECT}_{status(part).file_form}"
    change(alma, "INSERT INTO asa_delivery_status VALUES (?,?)", name, release)
    change(alma, "INSERT INTO aqua_ous VALUES (?,?,?,?)", mous, project, "X1", "SemiPass")


def test_a_pass_tells_what_changed(site: ArchiveSite, alma: Path) -> None:
    with site.catalog() as catalog, pytest.raises(InputError, match="has no metadata database"):
        update_pass(replace(site, metadata=None), catalog, "ann")
    assert passed(site) == {MOUS: NEW}
    assert passed(site) == {}
    change(alma, "DELETE FROM asa_product_files WHERE NGAS_FILE_ID LIKE '%caltables%'")
    change(alma, "UPDATE aqua_ous SET QA2STATUS = 'SemiPass'")
    words = (
        "QA2: Pass -> SemiPass",
        "calibrated: pipeline-calibrated -> not calibrated",
        "calibration files: yes -> no",
        "tables stored apart: yes -> no",
    )
    assert passed(site) == {MOUS: words}
    assert passed(site) == {}
    with site.catalog() as catalog:
        assert [entry.detail for entry in catalog.trail(str(MOUS))] == ["; ".join(words), NEW[0]]


def test_sets_that_are_new_enter_whole(
    site: ArchiveSite, alma: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mwaconvert.archive.sources.metadata._AT_ONCE", 3)
    monkeypatch.setattr(updating, "_AT_ONCE", 4)
    passed(site)
    parts = [f"a{n:x}" for n in range(10)]
    for part in parts:
        another(alma, part)
    change(alma, "UPDATE aqua_ous SET QA2STATUS = 'Fail' WHERE OUS_STATUS_ENTITY_ID = ?", str(MOUS))
    assert passed(site) == {MOUS: ("QA2: Pass -> Fail",)} | {status(part): NEW for part in parts}
    assert passed(site) == {}
    with site.catalog() as catalog, MetadataDatabase(f"sqlite:///{alma}") as database:
        for uid in (MOUS, *(status(part) for part in parts)):
            entered, alone = catalog.member(uid), database.member(PROJECT, uid)
            assert entered.chain == alone.chain == (status("2"), status("1"))
            assert entered.exec_blocks == alone.exec_blocks
            assert (entered.files, entered.sched_blocks) == (alone.files, alone.sched_blocks)
            assert (entered.release_date, entered.unit) == (alone.release_date, alone.unit)
        assert len(catalog.tree(PROJECT)) == 13
        assert catalog.deliveries(status("a3")).is_public(datetime.now(UTC))


def test_a_set_that_cannot_be_read_keeps_no_other_back(site: ArchiveSite, alma: Path) -> None:
    another(alma, "aa", parent="aa")  # contains itself
    another(alma, "ab")
    another(alma, "ac")
    # a scheduling block that two sets claim
    change(alma, "UPDATE sched_block_status SET DOMAIN_ENTITY_ID = 'uid://A001/X1284/Xbab' WHERE "
           "PARENT_OBS_UNIT_SET_STATUS_ID = ?", str(status("ac")))  # fmt: skip
    another(alma, "ad")
    change(alma, "INSERT INTO asa_delivery_status VALUES ('no name of a delivery', '2018-05-01')")
    change(alma, "INSERT INTO asa_delivery_status VALUES (?, '2018-05-01')",
           f"2019.1.00001.S_{status('ad').file_form}")  # fmt: skip
    told = passed(site)
    assert told[MOUS] == told[status("ab")] == NEW
    assert "contains itself" in told[status("aa")][0]
    assert "cannot be put in" in told[status("ac")][0]
    assert len(told) == 4  # that of two projects waits
    with site.catalog() as catalog:
        assert catalog.trail(updating.SUBJECT)[0].detail == (
            "2 member sets, 2 new or changed; left out: 1 delivered under a name that is no project and member set, "
            "1 delivered for two projects, 1 cannot be read, 1 cannot be put in"
        )
        assert set(catalog.members()) == {MOUS, status("ab")}
        assert catalog.trail(str(status("ac"))) == ()
    change(alma, "UPDATE sched_block_status SET DOMAIN_ENTITY_ID = 'uid://A001/X1284/Xbac' WHERE "
           "PARENT_OBS_UNIT_SET_STATUS_ID = ?", str(status("ac")))  # fmt: skip
    told = passed(site)
    assert (told[status("ac")], len(told)) == (NEW, 2)


def test_a_known_set_that_cannot_be_read_any_more_keeps_no_other_back(site: ArchiveSite, alma: Path) -> None:
    another(alma, "aa")
    assert len(passed(site)) == 2
    change(alma, "INSERT INTO asa_product_files VALUES ('a/b', 'science', ?)", str(MOUS))
    change(alma, "INSERT INTO asa_product_files VALUES ('a/b', 'science', ?)", str(status("77")))  # of nobody
    change(alma, "UPDATE aqua_ous SET QA2STATUS = 'Fail'")
    another(alma, "ab")
    for new in (1, 0):
        with site.catalog() as catalog:
            found = update_pass(site, catalog, "ann")
            assert found.left_out == {str(MOUS): LeftOut.UNREADABLE}
            assert found.told[MOUS] == (f"cannot be read: {BAD_NAME}",)
            assert (len(found.told), catalog.member(MOUS).qa2) == (1 + 2 * new, "Pass")
            assert found.words == f"3 member sets, {2 * new} new or changed; left out: 1 cannot be read"
    change(alma, "DELETE FROM asa_product_files WHERE NGAS_FILE_ID = 'a/b'")
    name = f"{PROJECT}_{status('aa').file_form}"
    change(alma, "INSERT INTO asa_delivery_status VALUES (?, '2031-05-01')", name)
    assert passed(site) == {
        MOUS: ("QA2: Pass -> Fail",),
        status("aa"): (f"cannot be read: {status('aa')} has deliveries of different release dates",),
    }


def test_what_is_left_out_is_counted_by_reason(site: ArchiveSite, alma: Path) -> None:
    for part in ("aa", "ab", "ac"):
        another(alma, part)
        change(
            alma,
            "DELETE FROM asa_delivery_status WHERE DELIVERY_NAME = ?",
            f"{PROJECT}_{status(part).file_form}",
        )
    with site.catalog() as catalog:
        found = update_pass(site, catalog, "ann")
        assert (found.counts, found.n_known) == ({LeftOut.UNDELIVERED: 3}, 1)
        assert found.left_out == {str(status(part)): LeftOut.UNDELIVERED for part in ("aa", "ab", "ac")}
        assert found.words == "1 member set, 1 new or changed; left out: 3 not delivered"
        for _ in range(3):  # passes that find the same add one entry
            update_pass(site, catalog, "ann")
        details = [entry.detail for entry in catalog.trail(updating.SUBJECT)]
        assert details == ["1 member set, 0 new or changed; left out: 3 not delivered", found.words]
        # a set in the catalogue that is no longer delivered is not left out
        change(alma, "DELETE FROM asa_delivery_status")
        assert update_pass(site, catalog, "ann").counts == {LeftOut.UNDELIVERED: 3}


def test_a_pass_that_dies_keeps_what_it_entered(
    site: ArchiveSite, alma: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(updating, "_AT_ONCE", 3)
    parts = [f"a{n:x}" for n in range(10)]
    for part in parts:
        another(alma, part)
    left, enter = [2], Catalog.enter

    def dying(self: Catalog, *given: object) -> object:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return enter(self, *given)

    monkeypatch.setattr(Catalog, "enter", dying)
    with pytest.raises(KeyboardInterrupt):
        passed(site)
    monkeypatch.setattr(Catalog, "enter", enter)
    with site.catalog() as catalog:
        assert len(catalog.members()) == len(catalog.trail()) == 6
    assert len(passed(site)) == 5
    with site.catalog() as catalog:
        assert len(catalog.members()) == 11
        news = [entry.subject for entry in catalog.trail() if entry.action is Action.CHANGED]
        assert sorted(news) == sorted(str(uid) for uid in catalog.members())


def test_sets_deeper_in_the_tree_enter_with_all_that_contains_them(site: ArchiveSite, alma: Path) -> None:
    project = str(status("250"))
    for part, parent in (("3", "2"), ("4", "3"), ("5", "4")):  # three levels more
        row = (str(status(part)), f"X4{part}", "Processing", str(status(parent)), project, None, "", None)
        change(alma, "INSERT INTO obs_unit_set_status VALUES (?,?,?,?,?,?,?,?)", *row)
    another(alma, "aa", parent="5")
    assert passed(site)[status("aa")] == NEW
    with site.catalog() as catalog:
        assert catalog.chain(status("aa")) == tuple(status(part) for part in ("aa", "5", "4", "3", "2", "1"))


def test_a_public_table_as_the_only_source(site: ArchiveSite, tmp_path: Path) -> None:
    table = tmp_path / "obscore.csv"
    row = f"{PROJECT},{status('2')},{MOUS},{{}},{{}},T\n"
    table.write_text(HEAD + "".join(row.format(uid, "2018-05-01") for uid in samples.EBS))
    site = replace(site, metadata=None, obscore=table)
    assert passed(site) == {MOUS: NEW}
    assert passed(site) == {}
    with site.catalog() as catalog:
        entered = catalog.member(MOUS)
        assert (entered.chain, entered.qa2) == ((status("2"),), "Pass")
        assert {block.uid for block in entered.exec_blocks} == set(samples.EBS)
        assert entered.calibration.missing
    table.write_text(HEAD + row.format(samples.EBS[0], "2031-05-01"))
    ((uid, (words,)),) = passed(site).items()
    assert uid == MOUS
    assert words.startswith("release date: 2018-05-01")
    with site.catalog() as catalog:
        assert not catalog.deliveries(MOUS).is_public(datetime.now(UTC))


def test_a_public_table_beside_the_metadata_adds_only_what_they_do_not_tell(
    site: ArchiveSite, tmp_path: Path
) -> None:
    table = tmp_path / "obscore.csv"
    rows = [
        f"{PROJECT},{status('2')},{MOUS},{samples.EBS[0]},2031-01-01,F\n",
        f"{PROJECT},{status('2')},{status('b1')},uid://A002/Xb1/X1,2019-01-01,T\n",
    ]
    table.write_text(HEAD + "".join(rows))
    site = replace(site, obscore=table)
    assert passed(site) == {MOUS: NEW, status("b1"): NEW}
    assert passed(site) == {}
    with site.catalog() as catalog:
        assert catalog.member(MOUS).qa2 == "Pass"
        assert catalog.chain(status("b1")) == (status("b1"), status("2"), status("1"))
