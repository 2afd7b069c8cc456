"""Calibrated sets out of the cache: whole, only of runs that passed, only while they are public."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import request_samples as samples
from archive_samples import reviewing

from mwaconvert.archive.catalog import Action, Catalog
from mwaconvert.errors import InputError, ResourceError
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.workflows.archives import cached
from mwaconvert.jobs.workflows.archives.asking import Answer, Purpose, ask_run, decide
from mwaconvert.jobs.workflows.archives.cached import hand_out_cached
from mwaconvert.jobs.workflows.archives.running import carry_on
from mwaconvert.jobs.workflows.archives.site import ArchiveSite

SDM = str(samples.SDM)
VLA, ALMA = f"{SDM}.calibrate.1", f"{samples.MOUS.file_form}.calibrate.1"


@pytest.fixture
def site(tmp_path: Path) -> ArchiveSite:
    return reviewing(tmp_path)


@pytest.fixture
def catalog(site: ArchiveSite) -> Iterator[Catalog]:
    with site.catalog() as opened:
        yield opened


def calibrated(site: ArchiveSite, catalog: Catalog, target: str, answer: Answer | None = Answer.PASS) -> str:
    store = Store(site.database)
    job = ask_run(store, catalog, target, Purpose.CALIBRATE, "ann")
    assert job.name is not None
    carry_on(site, store)
    if answer is not None:
        decide(site, store, catalog, job.name, answer, "dora")
        carry_on(site, store)
    store.close()
    return job.name


def moved(catalog: Catalog, days: int) -> None:
    member = catalog.member(samples.MOUS)
    at = datetime.now(UTC) + timedelta(days=days)
    catalog.put_member(catalog.project_of(samples.MOUS), replace(member, release_date=at), datetime.now(UTC))


def test_sets_of_a_run_that_passed(site: ArchiveSite, catalog: Catalog, tmp_path: Path) -> None:
    assert calibrated(site, catalog, SDM) == VLA
    given = hand_out_cached(site, catalog, VLA, tmp_path / "user", "ann", "a paper")
    assert given == tmp_path / "user" / VLA
    assert (given / f"{SDM}.ms" / "table.dat").read_text() == f"calibrated {SDM}"
    entry = catalog.trail(VLA)[0]
    assert (entry.action, entry.actor, entry.reason) == (Action.HANDED_OUT, "ann", "a paper")
    (given / f"{SDM}.ms" / "table.dat").write_text("worked on")
    with pytest.raises(InputError, match="is there already"):
        hand_out_cached(site, catalog, VLA, tmp_path / "user", "ann")
    again = hand_out_cached(site, catalog, VLA, tmp_path / "other", "bob")
    assert (again / f"{SDM}.ms" / "table.dat").read_text() == f"calibrated {SDM}"
    shutil.rmtree(site.areas["cache"])  # as ageing does
    with pytest.raises(InputError, match="have left the cache; restore or calibrate them again"):
        hand_out_cached(site, catalog, VLA, tmp_path / "third", "ann")


@pytest.mark.parametrize("answer", [None, Answer.FAIL])
def test_only_runs_that_passed(
    site: ArchiveSite, catalog: Catalog, tmp_path: Path, answer: Answer | None
) -> None:
    calibrated(site, catalog, SDM, answer)
    with pytest.raises(InputError, match="only runs that passed are handed out"):
        hand_out_cached(site, catalog, VLA, tmp_path / "user", "ann")
    assert not (tmp_path / "user").exists()


def test_release_dates_before_and_after_the_copy(
    site: ArchiveSite, catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert calibrated(site, catalog, str(samples.MOUS)) == ALMA
    assert len(list(hand_out_cached(site, catalog, ALMA, tmp_path / "first", "ann").iterdir())) == 2
    copy = shutil.copytree

    def and_claw_back(*given: object, **more: object) -> object:
        moved(catalog, 300)
        return copy(*given, **more)

    monkeypatch.setattr(cached.shutil, "copytree", and_claw_back)
    for _ in range(2):  # the second time before the copy
        with pytest.raises(InputError, match="is proprietary until"):
            hand_out_cached(site, catalog, ALMA, tmp_path / "user", "ann")
    assert not list((tmp_path / "user").iterdir())


def test_sets_that_age_away_during_the_copy(
    site: ArchiveSite, catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calibrated(site, catalog, SDM)
    copy = shutil.copytree

    def and_gone(*given: object, **more: object) -> object:
        copy(*given, **more)
        raise shutil.Error([("table.dat", "table.dat", "No such file or directory")])

    monkeypatch.setattr(cached.shutil, "copytree", and_gone)
    with pytest.raises(ResourceError, match="were not copied"):
        hand_out_cached(site, catalog, VLA, tmp_path / "user", "ann")
    assert not list((tmp_path / "user").iterdir())
    assert catalog.trail(VLA)[0].action is not Action.HANDED_OUT
