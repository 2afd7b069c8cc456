"""Restores as jobs: by a recorded stand-in for CASA here, by CASA itself where it is."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import metadata_samples
import pytest
import request_samples as samples
from archive_samples import (
    CALL,
    CASA,
    LONG_AGO,
    casa_python,
    fill,
    member,
    put_into_store,
    restorable,
    with_sets,
)
from casa_sets import observe, real_casa
from fake_ngas import FakeNgas, fake_ngas
from package_samples import ONE, TWO, package
from real_ngas import RealNgas, real_ngas

from mwaconvert.archive.casa import CasaVersion
from mwaconvert.archive.catalog import Action, Look, Run, RunState
from mwaconvert.archive.layouts import LayoutKind
from mwaconvert.archive.products import describe_file
from mwaconvert.archive.quality.ingest import CALIBRATION_TAR, IngestItem, pack_calibration
from mwaconvert.archive.quality.notes import CalibrationStatus, QaState
from mwaconvert.archive.units import ProductFile
from mwaconvert.errors import InputError
from mwaconvert.jobs.control.states import State
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.control.work import Job
from mwaconvert.jobs.workflows.archives import restore
from mwaconvert.jobs.workflows.archives.asking import Purpose
from mwaconvert.jobs.workflows.archives.packed import find_calibration
from mwaconvert.jobs.workflows.archives.restore import REPORT, restore_request, submit_or_resume
from mwaconvert.jobs.workflows.archives.running import carry_on
from mwaconvert.jobs.workflows.archives.site import ArchiveSite, local_site
from mwaconvert.jobs.workflows.archives.stores.store import archive_name, keep

WHAT = samples.MOUS.file_form


@pytest.fixture
def site(tmp_path: Path) -> ArchiveSite:
    return restorable(tmp_path)


@pytest.fixture
def store(site: ArchiveSite) -> Iterator[Store]:
    opened = Store(site.database)
    yield opened
    opened.close()


def restored(site: ArchiveSite, store: Store, **options: object) -> Job:
    job = submit_or_resume(store, restore_request(WHAT, "ann", **options))
    carry_on(site, store)
    return store.job(job.id)


def change(site: ArchiveSite, **changes: object) -> None:
    """The archive tells something new of the set."""
    with site.catalog() as catalog:
        found = catalog.member(samples.MOUS)
        catalog.put_member("2017.1.00886.L", replace(found, **changes), datetime.now(UTC))


@pytest.mark.parametrize("kind", list(LayoutKind), ids=lambda kind: kind.name)
def test_a_set_is_restored_into_each_layout(
    site: ArchiveSite, store: Store, tmp_path: Path, kind: LayoutKind
) -> None:
    job = restored(site, store, layout=kind)
    assert (job.state, job.error_text) == (State.COMPLETED, None)
    (product,) = store.products(job.id)
    root = Path(product.path)
    assert root.is_relative_to(site.areas["delivered"])
    report = json.loads((root / REPORT).read_text())
    assert report["casa"] == str(CASA)
    assert sorted(Path(name).name for name in report["sets"]) == [f"{ONE}.ms", f"{TWO}.ms"]
    for name in report["sets"]:
        assert (root / name / "calibrated").read_text() == '"x.gcal"'
    calls = [json.loads(line) for line in (tmp_path / "casa" / "calls.txt").read_text().splitlines()]
    assert [name for name, _ in calls] == ["flagmanager", "applycal"] * 2
    assert calls[1][1]["interp"] == CALL["interp"]
    assert not list(site.areas["processing"].iterdir())
    with site.catalog() as catalog:
        assert [e.action for e in catalog.trail(f"restore.{job.id}")] == [
            Action.HANDED_OUT,
            Action.RESTORED,
            Action.BEGAN,
        ]
        assert len(catalog.inputs(f"restore.{job.id}")) == len(report["inputs"])
        assert len(report["inputs"]) == (11 if kind is LayoutKind.DELIVERY else 10)


def test_what_is_not_public_is_not_even_fetched(site: ArchiveSite, store: Store) -> None:
    change(site, release_date=datetime.now(UTC) + timedelta(days=2))
    job = restored(site, store)
    assert job.state is State.FAILED
    assert job.error_text is not None
    assert "is proprietary until" in job.error_text
    assert not site.areas["processing"].exists()


def test_a_release_date_that_moves_during_the_restore_keeps_it_back(
    site: ArchiveSite, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare = restore.compare

    def and_claw_back(context):
        change(site, release_date=datetime.now(UTC) + timedelta(days=300))
        return compare(context)

    monkeypatch.setattr(restore, "compare", and_claw_back)
    job = restored(site, store)
    assert (job.state, job.step) == (State.FAILED, "hand out")
    assert job.error_text is not None
    assert "is proprietary until" in job.error_text
    assert store.products(job.id) == []
    assert not list(site.areas["delivered"].glob("restore*"))


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (lambda files: [f for f in files if f.file_class != "science"], "may be work in progress"),
        (lambda files: [f for f in files if f.file_class != "calibration"], "no calibration files"),
        (lambda files: [f for f in files if "caltables" not in f.name], "not stored apart"),
        (lambda files: [*files, ProductFile("x.fits.gz", "calibration", sha256="0" * 64)], "no store"),
        (
            lambda files: [
                replace(f, size=None, sha256="0" * 64) if "flagversions" in f.name else f for f in files
            ],
            "its bytes are not those that the archive was given",
        ),
        (
            lambda files: [replace(f, size=9, sha256=None) if "flagversions" in f.name else f for f in files],
            "longer than the 9 bytes expected",
        ),
    ],
)
def test_what_the_archive_has_not_right(site: ArchiveSite, store: Store, files, words: str) -> None:
    with site.catalog() as catalog:
        found = catalog.member(samples.MOUS)
    change(site, files=tuple(files(found.files)))
    job = restored(site, store)
    assert job.state is State.FAILED
    assert job.error_text is not None
    assert words in job.error_text


def test_versions_of_casa(site: ArchiveSite, store: Store) -> None:
    """A hand calibration needs the very version; one of the pipeline tolerates a later one, with a warning."""
    with site.catalog() as catalog:
        pipeline = catalog.member(samples.MOUS).files
    change(site, files=(*pipeline, ProductFile("uid.scriptForCalibration.py", "script")))
    job = restored(site, store, calibrated_with="6.1.1-15")
    assert job.state is State.FAILED
    assert job.error_text is not None
    assert "a hand calibration needs CASA 6.1.1-15, exactly; installed are 6.5.4-9" in job.error_text
    change(site, files=pipeline)
    job = restored(site, store, calibrated_with="6.1.1-15", mpi_servers=2)
    assert job.state is State.COMPLETED
    report = json.loads((Path(store.products(job.id)[0].path) / REPORT).read_text())
    assert "CASA 6.5.4-9 is a later version" in report["warnings"][0]


def test_the_table_of_versions_tells_the_casa_of_a_pipeline(
    site: ArchiveSite, store: Store, tmp_path: Path
) -> None:
    table = tmp_path / "versions.txt"
    table.write_text("alma 6.1.1-15 2023.1.0.124 2021-05-10 -\n")
    site = replace(site, versions=table)
    job = restored(site, store)
    report = json.loads((Path(store.products(job.id)[0].path) / REPORT).read_text())
    doubt = "pipeline 2023.1.0.124 belongs to CASA 6.1.1-15 by the table of versions, not to 6.5.4-9"
    assert report["warnings"][1:] == [doubt]
    (manifest,) = (tmp_path / "store").glob("*pipeline_manifest.xml")
    manifest.write_bytes(manifest.read_bytes().replace(b'<casaversion name="6.5.4.9"/>', b""))
    with site.catalog() as catalog:
        files = catalog.member(samples.MOUS).files
    change(
        site,
        files=tuple(replace(f, size=None, sha256=None) if f.name == manifest.name else f for f in files),
    )
    job = store.submit(restore_request(WHAT, "bob"), allow_resubmit=True)
    carry_on(site, store)
    report = json.loads((Path(store.products(job.id)[0].path) / REPORT).read_text())
    assert report["warnings"][0].endswith("pipeline calibrations tolerate it (CASA 6.1.1-15)")
    assert doubt not in report["warnings"]


def test_a_casa_that_breaks_fails_the_job_and_a_retry_begins_anew(
    site: ArchiveSite, store: Store, tmp_path: Path
) -> None:
    (tmp_path / "casa" / "break-casa").touch()
    job = restored(site, store)
    assert job.state is State.FAILED
    assert job.error_text is not None
    assert "the pipeline stopped with an error" in job.error_text
    assert f"no measurement set of {TWO}" in job.error_text
    (tmp_path / "casa" / "break-casa").unlink()
    store.retry(job.id, "ann")
    carry_on(site, store)
    assert store.job(job.id).state is State.COMPLETED
    steps = [attempt.step for attempt in store.attempts(job.id)]
    assert steps == ["resolve", "stage", "check", "casa", "casa", "compare", "hand out"]


def test_a_command_that_failed_goes_on_when_it_is_given_again(
    site: ArchiveSite, store: Store, tmp_path: Path
) -> None:
    (tmp_path / "casa" / "break-casa").touch()
    first = restored(site, store)
    assert first.state is State.FAILED
    (tmp_path / "casa" / "break-casa").unlink()
    change(site, release_date=datetime.now(UTC) + timedelta(days=2))
    again = restored(site, store)
    assert (again.id, again.state, again.step) == (first.id, State.FAILED, "resolve")
    change(site, release_date=datetime(2018, 2, 2, tzinfo=UTC))
    assert restored(site, store).state is State.COMPLETED
    assert len(store.jobs()) == 1


def test_a_package_is_restored_where_it_is(tmp_path: Path) -> None:
    layout = with_sets(package(tmp_path / "packages"))
    site = local_site(tmp_path / "out", (), {CASA: casa_python(tmp_path / "casa")})
    site.work.parent.mkdir(parents=True)
    store = Store(site.database)
    job = submit_or_resume(store, restore_request(str(layout.root), "ann"))
    carry_on(site, store)
    assert store.job(job.id).state is State.COMPLETED, store.job(job.id).error_text
    assert (layout.root / "calibrated" / f"{ONE}.ms" / "calibrated").is_file()
    again = submit_or_resume(store, restore_request(str(layout.root), "ann"))
    assert again.id == job.id
    other = store.submit(restore_request(str(layout.root), "bob"))
    carry_on(site, store)
    assert "scriptForPI refuses to start" in (store.job(other.id).error_text or "")
    store.close()


def test_a_set_that_is_not_equal_to_the_reference_is_kept_back(
    site: ArchiveSite, store: Store, tmp_path: Path
) -> None:
    job = restored(site, store, reference=tmp_path)
    assert job.state is State.FAILED
    assert "has 0 measurement sets" in (job.error_text or "")
    assert store.products(job.id) == []


def test_what_is_neither_package_nor_uid() -> None:
    with pytest.raises(InputError, match="is neither a folder nor a uid"):
        restore_request("uid://A001/X12", "ann")


def test_the_audit_trail_tells_a_change_of_release(site: ArchiveSite) -> None:
    with site.catalog() as catalog:
        look = catalog.member(samples.MOUS)
        short = Look(look.unit.state, "Fail", look.release_date, look.calibration)
        assert catalog.update({samples.MOUS: short}, "ann", datetime.now(UTC)) == {
            samples.MOUS: ("QA2: Pass -> Fail",)
        }


@pytest.mark.services
@pytest.mark.parametrize("serving", [lambda _: fake_ngas(), real_ngas], ids=["stand-in", "real"])
def test_real_casa_restores_what_it_calibrated_from_ngas_column_by_column(
    tmp_path: Path, serving: Callable[[Path], AbstractContextManager[FakeNgas | RealNgas]]
) -> None:
    python = real_casa()
    layout = package(tmp_path / "made")
    observe(python, tmp_path / "home", tmp_path / "originals", layout)
    files = put_into_store(layout, tmp_path / "store")
    originals = tmp_path / "reference"
    originals.mkdir()
    for name in (ONE, TWO):
        (tmp_path / "originals" / name / f"{name}.ms").rename(originals / f"{name}.ms")
    with serving(tmp_path / "ngas") as ngas:
        for path in (tmp_path / "store").iterdir():
            ngas.keep(path.name, path.read_bytes())
        # the good copy is found
        ngas.corrupt(f"{ONE}.ms.flagversions.tgz", ngas.disks[0])
        site = local_site(tmp_path / "out", [ngas.address], {CasaVersion.parse("6.7.0-31"): Path(python)})
        site.work.parent.mkdir(parents=True)
        store = Store(site.database)
        with site.catalog() as catalog:
            fill(catalog, member(files))
        job = submit_or_resume(store, restore_request(WHAT, "ann", reference=originals))
        carry_on(site, store)
        done = store.job(job.id)
        assert (done.state, done.error_text) == (State.COMPLETED, None)
        report = json.loads((Path(store.products(job.id)[0].path) / REPORT).read_text())
        assert len(report["equal"]) == 2
        assert "is a later version than that of the calibration" in report["warnings"][0]
        store.close()


def with_metadata(site: ArchiveSite, tmp_path: Path) -> tuple[ArchiveSite, Path]:
    """The same archive as its metadata database tells it, and an empty catalogue."""
    with site.catalog() as catalog:
        files = catalog.member(samples.MOUS).files
    path = tmp_path / "alma.db"
    metadata_samples.fill(path)
    metadata_samples.list_files(path, [file for file in files if file.file_class != "science"])
    return replace(site, metadata=f"sqlite:///{path}", database=str(tmp_path / "new.db")), path


def test_a_set_that_only_the_metadata_know(site: ArchiveSite, tmp_path: Path) -> None:
    told, path = with_metadata(site, tmp_path)
    store = Store(told.database)
    job = restored(told, store)
    assert (job.state, job.error_text) == (State.COMPLETED, None)
    report = json.loads((Path(store.products(job.id)[0].path) / REPORT).read_text())
    assert any(
        "in session_2 of the status document and session_1 of the manifest" in n for n in report["notes"]
    )
    # the archive takes it back: the next restore asks again and is refused
    later = (datetime.now(UTC) + timedelta(days=9)).isoformat()
    metadata_samples.change(path, "UPDATE asa_delivery_status SET RELEASE_DATE = ?", later)
    again = store.submit(restore_request(WHAT, "bob"))
    carry_on(told, store)
    assert "is proprietary until" in (store.job(again.id).error_text or "")
    with told.catalog() as catalog:
        assert "claw-back" in catalog.trail(str(samples.MOUS))[0].detail
        rows = catalog.deliveries(samples.MOUS).rows
        assert len(rows) == 2
    store.close()


def test_raw_data_that_leave_their_folder_are_refused(
    site: ArchiveSite, store: Store, tmp_path: Path
) -> None:
    with tarfile.open(tmp_path / "store" / f"{ONE}.ms.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("../../outside"), None)
    job = restored(site, store)
    assert (job.state, job.step) == (State.FAILED, "stage")
    assert f"{ONE}.ms.tar" in (job.error_text or "")
    assert not list(tmp_path.rglob("outside"))


def only_as_tar(site: ArchiveSite, tmp_path: Path) -> Path:
    """All that the store has of the set but raw data becomes the tar of a calibration that passed; gives its place."""
    table, target, run = site.table(), str(samples.MOUS), f"{WHAT}.calibrate.1"
    products = tmp_path / "products"
    products.mkdir()
    for path in sorted((tmp_path / "store").iterdir()):
        if not path.name.endswith(".ms.tar"):
            path.rename(products / path.name)
    tar = pack_calibration(products, tmp_path / f"{run}{CALIBRATION_TAR}", table)
    item = IngestItem(describe_file(tar, table))
    sha256 = str(item.file.sha256)
    kept = keep(site.stores[0], tar, archive_name(tar.name, sha256), sha256)
    with site.catalog() as catalog:
        catalog.put_run(Run(run, Purpose.CALIBRATE.kind, target, state=RunState.COMPLETED), (), LONG_AGO)
        catalog.put_ingest(run, 1, [item.verified(kept.file_id, None, sha256, LONG_AGO)])
        catalog.put_state(target, QaState(CalibrationStatus.CALIBRATED), run, LONG_AGO)
    return tmp_path / "store" / kept.file_id


@pytest.mark.parametrize("listed", [True, False], ids=["listed one by one", "not listed"])
def test_a_set_whose_calibration_was_ingested_as_one_tar(
    site: ArchiveSite, store: Store, tmp_path: Path, listed: bool
) -> None:
    with site.catalog() as catalog:
        files = catalog.member(samples.MOUS).files
    tar = only_as_tar(site, tmp_path)
    if not listed:
        change(site, files=())
    job = restored(site, store)
    assert (job.state, job.error_text) == (State.COMPLETED, None)
    report = json.loads((Path(store.products(job.id)[0].path) / REPORT).read_text())
    assert f"the calibration is from {tar.name}" in report["notes"]
    assert report["inputs"] == {file.name: file.sha256 for file in files if file.file_class != "science"}
    assert len(report["sets"]) == 2


def test_stores_are_asked_for_each_file_only_where_there_is_a_tar(site: ArchiveSite, tmp_path: Path) -> None:
    class Asked(AssertionError):
        pass

    class Store:
        def find(self, name: str, sha256: str | None = None) -> None:
            raise Asked(name)

    asking = replace(site, stores=(Store(),))
    with site.catalog() as catalog:
        look = catalog.member(samples.MOUS)
        found = find_calibration(tmp_path, asking, catalog, look)
        assert (found.state, found.tar) == (look.calibration, {})
    only_as_tar(site, tmp_path)
    with site.catalog() as catalog, pytest.raises(Asked):
        find_calibration(tmp_path, asking, catalog, look)


def test_a_tar_of_a_calibration_is_believed_by_its_checksum_and_its_review(
    site: ArchiveSite, store: Store, tmp_path: Path
) -> None:
    tar = only_as_tar(site, tmp_path)
    change(site, files=())
    whole = tar.read_bytes()
    tar.write_bytes(whole[:-1] + b"x")
    job = restored(site, store)
    assert (job.state, job.step) == (State.FAILED, "resolve")
    assert "its bytes are not those that the archive was given" in (job.error_text or "")
    tar.write_bytes(whole)
    with site.catalog() as catalog:
        catalog.put_state(str(samples.MOUS), QaState(CalibrationStatus.DO_NOT_CALIBRATE), "run", LONG_AGO)
    assert "no calibration files were delivered" in (restored(site, store).error_text or "")


def test_a_listed_file_that_the_tar_has_otherwise_is_refused(
    site: ArchiveSite, store: Store, tmp_path: Path
) -> None:
    with site.catalog() as catalog:
        files = catalog.member(samples.MOUS).files
    only_as_tar(site, tmp_path)
    change(site, files=[replace(f, size=None, sha256="0" * 64) if "caltab" in f.name else f for f in files])
    job = restored(site, store)
    assert (job.state, job.step) == (State.FAILED, "stage")
    assert "its bytes are not those that the archive was given" in (job.error_text or "")
