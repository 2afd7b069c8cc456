"""Runs, the gate of quality assurance, ingest, cleanup, retention; by a stand-in for CASA and its pipeline."""

from __future__ import annotations

import os
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import request_samples as samples
from archive_samples import reviewing
from fake_ngas import FakeNgas, fake_ngas
from real_ngas import RealNgas, real_ngas

from mwaconvert.archive.casa import CasaVersion
from mwaconvert.archive.catalog import Action, Catalog, RunState
from mwaconvert.archive.products import sha256_of
from mwaconvert.archive.quality.ingest import NOT_IN_ARCHIVE
from mwaconvert.archive.quality.notes import CalibrationStatus, QaState, SrdpStatus
from mwaconvert.archive.reruns import Edits
from mwaconvert.errors import Error, FormatError, InputError
from mwaconvert.jobs.control.states import State
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.control.work import DecidedError, DuplicateError, Job
from mwaconvert.jobs.workflows.archives.asking import (
    Answer,
    Purpose,
    ask_ingest,
    ask_rerun,
    ask_run,
    decide,
    job_of,
    observation_ingested,
)
from mwaconvert.jobs.workflows.archives.cleaning import cleanup_request
from mwaconvert.jobs.workflows.archives.running import carry_on
from mwaconvert.jobs.workflows.archives.site import ArchiveSite
from mwaconvert.jobs.workflows.archives.stores.ngas import Ngas

SDM = str(samples.SDM)
RUN = f"{SDM}.calibrate.1"
AQUA = """<PipelineAquaReport><QaPerStage>
<Stage Number="1" Name="hifv_importdata"><RepresentativeScore Score="1.0" Reason="ok"/></Stage>
<Stage Number="2" Name="hifv_flagdata"><RepresentativeScore Score="0.33" Reason="much is flagged"/></Stage>
</QaPerStage></PipelineAquaReport>"""
NOTES = """qa_standard: SRDP Pilot <br>
qa_analyst: AL <br>
qa_status: {status} <br>
qa_comments: looks <b>fine</b><script>alert(1)</script>
"""


@pytest.fixture
def site(tmp_path: Path) -> ArchiveSite:
    return reviewing(tmp_path)


@pytest.fixture
def store(site: ArchiveSite) -> Iterator[Store]:
    opened = Store(site.database)
    yield opened
    opened.close()


@pytest.fixture
def catalog(site: ArchiveSite) -> Iterator[Catalog]:
    with site.catalog() as opened:
        yield opened


class Desk:
    """What the tests do to a site."""

    def __init__(self, site: ArchiveSite, store: Store, catalog: Catalog) -> None:
        self.site, self.store, self.catalog = site, store, catalog

    def ask(self, target: str = SDM, purpose: Purpose = Purpose.CALIBRATE) -> Job:
        job = ask_run(self.store, self.catalog, target, purpose, "ann", reason="asked")
        return self.on(job.name)

    def on(self, run_id: str) -> Job:
        carry_on(self.site, self.store)
        return job_of(self.store, run_id)

    def decide(self, answer: Answer, run_id: str = RUN, by: str = "dora", **more: object) -> Job:
        decide(self.site, self.store, self.catalog, run_id, answer, by, reason="looked", **more)
        return self.on(run_id)

    def rerun(self, run_id: str, edits: Edits, **more: object) -> Job:
        job = ask_rerun(self.site, self.store, self.catalog, run_id, edits, "dora", **more)
        return self.on(job.name)

    def clean(self, reason: str = "", run_id: str = RUN) -> bool:
        """Whether there was something to remove; refused as the command is."""
        request = cleanup_request(run_id, "dora", reason)
        job = self.store.submit(request, allow_resubmit=True)
        carry_on(self.site, self.store, [job.id])
        job = self.store.job(job.id)
        if job.error_text is not None:
            raise InputError(job.error_text)
        result = self.store.attempts(job.id)[-1].result
        assert result is not None
        return bool(result["removed"])

    def folder(self, area: str, run_id: str = RUN) -> Path:
        return self.site.areas[area] / run_id

    def mails(self) -> list[str]:
        return [str(message.payload["subject"]) for message in self.store.messages()]


@pytest.fixture
def desk(site: ArchiveSite, store: Store, catalog: Catalog) -> Desk:
    return Desk(site, store, catalog)


def test_a_calibration_waits_at_the_gate_and_passes(desk: Desk) -> None:
    job = desk.ask()
    assert (job.state, job.step, job.error_text) == (State.WAITING, "qa", None)
    assert desk.catalog.qa_queue()[0].run_id == RUN
    assert (desk.folder("qa") / "working" / "PPR.xml").is_file()
    assert desk.mails() == [f"{RUN} began", *[f"{RUN} waits for quality assurance"] * 2]
    job = desk.decide(Answer.PASS, text=NOTES.format(status="Pass"))
    assert (job.state, job.error_text) == (State.COMPLETED, None)
    assert desk.catalog.state(SDM) == QaState(CalibrationStatus.CALIBRATED, SrdpStatus.PASS)
    folder = desk.folder("processing")
    with tarfile.open(folder / "products" / f"{RUN}.calibration.tar") as tar:
        names = tar.getnames()
    assert {"qa_notes.html", "unknown.hifv.weblog.tgz", "unknown.session_1.caltables.tgz"} <= set(names)
    assert not any("pipeline-20180601T120000" in name for name in names)
    with tarfile.open(folder / "products" / "unknown.hifv.weblog.tgz") as tar:
        member = tar.extractfile("pipeline-20180601T120000/html/qa_notes.html")
        assert member is not None
        shown = member.read().decode()
    assert "looks <b>fine</b>" in shown
    assert "script" not in shown
    assert (desk.folder("cache") / f"{SDM}.ms" / "table.dat").is_file()
    assert not list((folder / "working").glob("*.ms"))
    items = desk.catalog.ingested(RUN)
    assert [item.file.name for item in items] == [f"{RUN}.calibration.tar", "unknown.hifv.weblog.tgz"]
    assert all(item.verified_at is not None for item in items)
    actions = [entry.action for entry in reversed(desk.catalog.trail(RUN))]
    assert actions == [
        Action.ASKED,
        Action.BEGAN,
        Action.WAITS,
        Action.DECIDED,
        Action.INGESTED,
        Action.MOVED,
    ]
    decided = next(entry for entry in desk.catalog.trail(RUN) if entry.action is Action.DECIDED)
    assert (decided.actor, decided.reason, decided.detail) == ("dora", "looked", "pass")
    assert desk.clean("done")
    assert not folder.exists()
    assert not desk.clean("done")


def test_a_calibration_takes_the_casa_in_operations(desk: Desk, tmp_path: Path) -> None:
    newest = CasaVersion.parse("9.9.9-9")
    casas = {**desk.site.casas, newest: next(iter(desk.site.casas.values()))}
    table = tmp_path / "versions.txt"
    table.write_text("vla 6.5.4-9 2023.1.0.124 2023-10-01 -\n")
    desk.site = replace(desk.site, casas=casas, versions=table)
    desk.ask()
    assert desk.catalog.run(RUN).casa == "6.5.4-9"  # not the newest
    assert desk.catalog.trail(RUN)[0].detail == ""
    table.write_text("vla 7.0.0-1 2031.1.0.1 2023-10-01 -\n")
    again = desk.rerun(RUN, Edits())
    assert again.name is not None
    assert desk.catalog.run(again.name).casa == "9.9.9-9"
    waits = desk.catalog.trail(again.name)[0]
    assert waits.action is Action.WAITS
    assert waits.detail == "CASA 7.0.0-1 is in operations and not installed; CASA 9.9.9-9 was used"


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (AQUA, "lowest score: 0.33 of stage 2, hifv_flagdata: much is flagged"),
        ("<other/>", "no scores: "),
    ],
)
def test_the_lowest_score_of_the_pipeline_is_told_to_the_analyst(desk: Desk, report: str, words: str) -> None:
    (home,) = (path for path in desk.site.casas.values() if path.is_dir())
    (home / "aquareport.xml").write_text(report)
    desk.ask()
    waits = desk.catalog.trail(RUN)[0]
    assert waits.action is Action.WAITS
    assert words in waits.detail
    assert any(words in str(message.payload["text"]) for message in desk.store.messages())


def test_a_calibration_may_pass_while_the_product_fails(desk: Desk) -> None:
    desk.ask()
    assert desk.decide(Answer.PASS, text=NOTES.format(status="Fail")).state is State.COMPLETED
    assert desk.catalog.state(SDM) == QaState(CalibrationStatus.CALIBRATED, SrdpStatus.FAIL)
    (record,) = desk.catalog.decisions(RUN).rows
    assert (record.notes.status, record.notes.score, record.notes.analyst) == (SrdpStatus.FAIL, 0.0, "AL")


def test_a_run_that_fails_review_is_marked_and_removed(desk: Desk) -> None:
    desk.ask()
    assert desk.decide(Answer.FAIL).state is State.COMPLETED
    assert desk.catalog.state(SDM) == QaState(CalibrationStatus.DO_NOT_CALIBRATE, SrdpStatus.FAIL)
    assert not desk.folder("qa").exists()
    assert not desk.folder("processing").exists()
    assert desk.catalog.ingested(RUN) == ()


def test_images_of_alma(desk: Desk) -> None:
    target = samples.MOUS.file_form
    run = f"{target}.image.1"
    job = desk.ask(target, Purpose.IMAGE)
    assert (job.state, job.error_text) == (State.WAITING, None)
    text = (desk.folder("qa", run) / "working" / "PPR.xml").read_text()
    assert text.index("hifa_restoredata") < text.index("hif_makeimages")
    with pytest.raises(InputError, match="images are ingested with the flag Pass"):
        desk.decide(Answer.PASS, run, text=NOTES.format(status="Fail"))
    assert desk.decide(Answer.PASS, run).state is State.COMPLETED
    items = {item.file.name: item.file.role.value for item in desk.catalog.ingested(run)}
    assert items == {
        f"{run}.calibration.tar": "ancillary",
        "target.mfs.I.fits": "primary",
        "target.mfs.I.mask.fits": "ancillary",
        "unknown.hifv.weblog.tgz": "ancillary",
    }
    state = desk.catalog.state(str(samples.MOUS))
    assert state == QaState(CalibrationStatus.UNSET, SrdpStatus.PASS)


def test_images_of_a_set_that_was_calibrated_here(desk: Desk, tmp_path: Path) -> None:
    """The archive lists no calibration; that of the run that passed lies in it as one tar."""
    target = samples.MOUS.file_form
    member = desk.catalog.member(samples.MOUS)
    desk.catalog.put_member(
        desk.catalog.project_of(samples.MOUS), replace(member, files=()), datetime.now(UTC)
    )
    for path in (tmp_path / "store").glob("*.tgz"):
        path.unlink()
    job = desk.ask(target, Purpose.IMAGE)
    assert (job.state, job.step) == (State.FAILED, "fetch")
    assert "no calibration files were delivered" in (job.error_text or "")
    assert desk.ask(target).state is State.WAITING
    assert desk.decide(Answer.PASS, f"{target}.calibrate.1").state is State.COMPLETED
    assert desk.clean(run_id=f"{target}.calibrate.1")
    job = desk.ask(target, Purpose.IMAGE)
    assert (job.state, job.error_text) == (State.WAITING, None)
    tables = desk.folder("qa", job.name) / "rawdata" / "unknown.session_1.caltables.tgz"
    with tarfile.open(tables) as tar:
        assert tar.getnames() == ["bandpass.tbl/table.dat"]


def test_an_observation_starts_its_calibration_once(desk: Desk) -> None:
    first = observation_ingested(desk.store, desk.catalog, SDM, "ingest")
    assert observation_ingested(desk.store, desk.catalog, SDM, "ingest").id == first.id
    desk.on(RUN)
    assert observation_ingested(desk.store, desk.catalog, SDM, "ingest").id == first.id
    assert len(desk.store.jobs()) == 1


def test_a_run_that_is_under_way_is_not_asked_for_twice(desk: Desk) -> None:
    ask_run(desk.store, desk.catalog, SDM, Purpose.CALIBRATE, "ann")
    with pytest.raises(DuplicateError, match=RUN):
        ask_run(desk.store, desk.catalog, SDM, Purpose.CALIBRATE, "ed")
    with pytest.raises(InputError, match="is queued"):
        ask_rerun(desk.site, desk.store, desk.catalog, RUN, Edits(), "dora")


def test_a_pipeline_that_breaks_is_told(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "casa-6.5.4" / "break").touch()
    job = desk.ask()
    assert (job.state, job.step) == (State.FAILED, "judge")
    assert "the pipeline stopped with an error" in (job.error_text or "")
    assert desk.folder("processing").is_dir()
    assert desk.mails()[1:] == [f"{RUN} failed"] * 2
    assert "it broke" in str(desk.store.messages()[1].payload["text"])
    assert desk.catalog.run(RUN).state is RunState.FAILED
    (tmp_path / "casa-6.5.4" / "break").unlink()
    assert desk.rerun(RUN, Edits(), in_place=True).state is State.WAITING


def edits(folder: Path, request: Path, text: str) -> Edits:
    """What an analyst made of a run: request, flag template, fluxes, continuum."""
    folder.mkdir()
    for name, data in (
        ("PPR.xml", request.read_bytes().replace(b"hifv_hanning", text.encode())),
        ("flagtemplate.txt", b"mode='manual' antenna='ea03' reason='bad'\n"),
        ("flux.csv", b"ms,field,spw,I,Q,U,V,spix,comment\nx.ms,0,1,1.0,0,0,0,-0.7,by hand\n"),
        ("cont.dat", b"Field: a\nSpectralWindow: 1\n1.0~1.1GHz LSRK\n"),
    ):
        (folder / name).write_bytes(data)
    return Edits(folder / "PPR.xml", (folder / "flagtemplate.txt",), folder / "flux.csv", folder / "cont.dat")


@pytest.mark.parametrize("in_place", [True, False])
def test_a_run_again_twice_keeps_every_edit(desk: Desk, tmp_path: Path, in_place: bool) -> None:
    desk.ask()
    given = edits(tmp_path / "first", desk.folder("qa") / "working" / "PPR.xml", "hifv_first")
    second_run, third_run = (f"{SDM}.calibrate.{n}" for n in (2, 3))
    job = desk.rerun(RUN, given, in_place=in_place, reason="ea03")
    assert (job.name, job.state, job.error_text) == (second_run, State.WAITING, None)
    home = desk.folder("qa", RUN if in_place else second_run)
    assert given.request is not None
    assert (home / "working" / "PPR.xml").read_bytes() == given.request.read_bytes()
    assert (home / "working" / f"{SDM}.flagtemplate.txt").read_bytes() == given.flag_templates[0].read_bytes()
    assert (home / "working" / "flux.csv").is_file()
    assert job_of(desk.store, RUN).state is State.COMPLETED
    assert desk.catalog.run(RUN).state is RunState.COMPLETED
    assert len(desk.catalog.inputs(second_run)) == 4
    # a second time with an edited request alone: templates, fluxes and continuum are those of the first
    (tmp_path / "second").mkdir()
    edited = tmp_path / "second" / "PPR.xml"
    edited.write_bytes(given.request.read_bytes().replace(b"hifv_first", b"hifv_second"))
    job = desk.rerun(second_run, Edits(edited), in_place=in_place)
    assert (job.name, job.state, job.error_text) == (third_run, State.WAITING, None)
    home = desk.folder("qa", RUN if in_place else third_run)
    assert (home / "working" / "PPR.xml").read_bytes() == edited.read_bytes()
    for name in (f"{SDM}.flagtemplate.txt", "flux.csv", "cont.dat"):
        assert (home / "working" / name).is_file()
    if in_place:
        assert sorted(p.name for p in home.glob("old_*")) == [
            "old_products_1",
            "old_products_2",
            "old_working_1",
            "old_working_2",
        ]
        assert b"hifv_first" in (home / "old_working_2" / "PPR.xml").read_bytes()
    assert desk.decide(Answer.PASS, third_run).state is State.COMPLETED


def test_a_pipeline_that_overwrites_the_request_is_found_out(desk: Desk, tmp_path: Path) -> None:
    desk.ask()
    given = edits(tmp_path / "first", desk.folder("qa") / "working" / "PPR.xml", "hifv_first")
    (tmp_path / "casa-6.5.4" / "overwrite").touch()
    job = desk.rerun(RUN, given)
    assert job.state is State.FAILED
    assert "PPR.xml: the pipeline changed what was edited" in (job.error_text or "")


def test_reruns_that_are_refused(desk: Desk, tmp_path: Path) -> None:
    desk.ask()
    bad = tmp_path / "flagtemplate.txt"
    bad.write_text("mode='manual' reason='two words'\n")
    with pytest.raises(FormatError, match="has a blank"):
        desk.rerun(RUN, Edits(flag_templates=(bad,)))
    with pytest.raises(Error, match="there is no run x"):
        desk.rerun("x", Edits())
    desk.decide(Answer.FAIL)
    with pytest.raises(InputError, match="may have been removed by age"):
        desk.rerun(RUN, Edits())


def test_of_two_analysts_who_decide_at_once_one_wins_and_the_other_is_told(desk: Desk) -> None:
    desk.ask()
    barrier, told, won = threading.Barrier(2), [], []

    def answer(by: str, what: Answer) -> None:
        barrier.wait()
        try:
            decide(desk.site, desk.store, desk.catalog, RUN, what, by, text=NOTES.format(status="Pass"))
            won.append(by)
        except DecidedError as error:
            told.append(str(error))

    threads = [
        threading.Thread(target=answer, args=pair) for pair in (("dora", Answer.PASS), ("ed", Answer.PASS))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == len(told) == 1
    assert told[0].startswith(f"{won[0]} has answered gate qa")
    assert desk.on(RUN).state is State.COMPLETED
    assert [row.decided_by for row in desk.catalog.decisions(RUN).rows] == won


def test_notes_that_cannot_be_used_decide_nothing(desk: Desk) -> None:
    desk.ask()
    for text, words in (
        (NOTES.format(status="Pass/Fail"), "expected Pass, Fail or Null"),
        ("qa_status: Pass\n", "qa_analyst is not filled in"),
        ("qa_status: Pass\nqa_analyst: A\nqa_score: 7\n", "is not a score"),
    ):
        with pytest.raises(FormatError, match=words):
            desk.decide(Answer.PASS, text=text)
    assert job_of(desk.store, RUN).state is State.WAITING


def test_an_ingest_that_fails_is_told_and_may_be_asked_for_again(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "ingested").write_text("a file where the archive should be")
    desk.ask()
    job = desk.decide(Answer.PASS)
    assert (job.state, job.step) == (State.FAILED, "settle")
    assert "the ingest failed" in (job.error_text or "")
    assert desk.catalog.state(SDM) == QaState()
    assert [subject for subject in desk.mails() if "ingest failed" in subject] == [
        f"{RUN}: ingest failed"
    ] * 2
    with pytest.raises(InputError) as refused:
        desk.clean()
    assert str(refused.value) == NOT_IN_ARCHIVE
    (tmp_path / "ingested").unlink()
    desk.store.retry(job.id, "dora", ["ingest", "tell", "settle"])
    assert desk.on(RUN).state is State.COMPLETED
    assert desk.catalog.state(SDM).calibration is CalibrationStatus.CALIBRATED


@pytest.mark.parametrize(
    "serving",
    [
        pytest.param(lambda _: fake_ngas(), id="stand-in"),
        pytest.param(real_ngas, id="real", marks=pytest.mark.services),
    ],
)
def test_a_corrupt_copy_refuses_the_cleanup_until_it_is_repaired(
    tmp_path: Path, serving: Callable[[Path], AbstractContextManager[FakeNgas | RealNgas]]
) -> None:
    with serving(tmp_path / "ngas") as ngas:
        disk = ngas.disks[1]
        site = reviewing(tmp_path, ingest=Ngas(ngas.address, patience_s=2))
        store = Store(site.database)
        with site.catalog() as catalog:
            desk = Desk(site, store, catalog)
            desk.ask()
            assert desk.decide(Answer.PASS).state is State.COMPLETED
            name = next(name for name in ngas.names if name.endswith("calibration.tar"))
            assert len(name) == 64
            ngas.corrupt(name, disk)
            with pytest.raises(InputError) as refused:
                desk.clean()
            assert str(refused.value) == (
                "The data products are not in the archive, please wait and try again. "
                "If failures are repeated, please file an SSA ticket."
            )
            (entry,) = [e for e in catalog.trail(RUN) if e.action is Action.NOT_CLEANED]
            assert f"disk {disk}: NGAMS_ER_FILE_NOK" in entry.detail
            assert desk.folder("processing").is_dir()
            ngas.repair(name, disk)
            assert desk.clean()
        store.close()


def test_products_that_changed_after_the_ingest_are_not_cleaned_up(desk: Desk) -> None:
    desk.ask()
    desk.decide(Answer.PASS)
    (desk.folder("processing") / "products" / "new.txt").write_text("by hand")
    with pytest.raises(InputError, match="The data products are not in the archive"):
        desk.clean()


def test_raw_data_that_change_nothing_of_an_old_run(desk: Desk) -> None:
    """What a run was given is known by hash."""
    desk.ask()
    inputs = desk.catalog.inputs(RUN)
    assert inputs == {"PPR.xml": sha256_of(desk.folder("qa") / "working" / "PPR.xml")}


def old(folder: Path, days: float) -> None:
    at = time.time() - days * 86400
    for path in (*folder.rglob("*"), folder):
        os.utime(path, (at, at), follow_symlinks=False)


def test_ages(desk: Desk) -> None:
    from mwaconvert.jobs.workflows.archives.retaining import expire_pass

    desk.ask()
    desk.decide(Answer.PASS)
    stray, waiting = desk.folder("processing", "stray"), desk.folder("qa", "waiting")
    for folder in (stray, waiting):
        folder.mkdir(parents=True)
    for area in ("processing", "qa", "cache"):
        for folder in desk.site.areas[area].iterdir():
            old(folder, 22)
    found = expire_pass(desk.site, desk.store, desk.catalog, "dora", dry_run=True)
    assert sorted(item.path.name for item in found) == sorted([RUN, RUN, "stray"])
    assert stray.is_dir()
    assert desk.site.retention is not None
    desk.site.retention.write_text("processing 30\ncache 21\nqa never\n")
    assert [i.area for i in expire_pass(desk.site, desk.store, desk.catalog, "dora")] == ["cache"]
    desk.site.retention.write_text("processing 21\ncache 21\nqa 1\n")
    with pytest.raises(FormatError, match="never ages"):
        expire_pass(desk.site, desk.store, desk.catalog, "dora")
    desk.site.retention.write_text("processing 21\ncache 21\nqa never\n")
    expire_pass(desk.site, desk.store, desk.catalog, "dora")
    assert not stray.exists()
    assert not desk.folder("processing").exists()
    assert waiting.is_dir()
    assert Action.EXPIRED in [entry.action for entry in desk.catalog.trail(RUN)]


def test_a_run_that_somebody_works_on_has_no_age(desk: Desk) -> None:
    from mwaconvert.jobs.workflows.archives.retaining import expire_pass

    ask_run(desk.store, desk.catalog, SDM, Purpose.CALIBRATE, "ann")
    folder = desk.folder("processing")
    folder.mkdir(parents=True)
    old(folder, 100)
    assert expire_pass(desk.site, desk.store, desk.catalog, "dora") == ()
    assert folder.is_dir()


def test_who_is_assigned(desk: Desk) -> None:
    desk.ask()
    at = datetime.now(UTC) + timedelta(hours=1)
    desk.catalog.assign(RUN, "ed", "dora", at)
    assert [run.run_id for run in desk.catalog.qa_queue("ed")] == [RUN]
    desk.decide(Answer.PASS)
    with pytest.raises(InputError, match="does not wait"):
        desk.catalog.assign(RUN, "ed", "dora", at)


def test_what_cannot_be_asked_for(desk: Desk) -> None:
    for target, purpose, words in (
        ("x", Purpose.CALIBRATE, "is not an SDM name"),
        (SDM, Purpose.IMAGE, "no images"),
        ("uid://A001/X9/X9", Purpose.IMAGE, "is not in the catalogue"),
    ):
        with pytest.raises(InputError, match=words):
            desk.ask(target, purpose)
    bare = replace(desk.site, procedures={})
    ask_run(desk.store, desk.catalog, SDM, Purpose.CALIBRATE, "ann")
    carry_on(bare, desk.store)
    assert "has no procedure vla-calibrate" in (job_of(desk.store, RUN).error_text or "")


def test_a_weblog_behind_a_link_is_told_and_the_ingest_asked_for_again(desk: Desk, tmp_path: Path) -> None:
    desk.ask()
    weblog = desk.folder("qa") / "products" / "pipeline-20180601T120000"
    weblog.rename(tmp_path / "elsewhere")
    weblog.symlink_to(tmp_path / "elsewhere")
    job = desk.decide(Answer.PASS)
    assert (job.state, job.step) == (State.FAILED, "settle")
    assert "the weblog could not be made" in (job.error_text or "")
    assert not (tmp_path / "elsewhere" / "html" / "qa_notes.html").exists()
    assert desk.catalog.state(SDM) == QaState()
    weblog.unlink()
    (tmp_path / "elsewhere").rename(weblog)
    ask_ingest(desk.store, desk.catalog, RUN, "dora", "repaired")
    assert desk.on(RUN).state is State.COMPLETED


@pytest.mark.services
def test_one_postgres_database_and_the_durable_engine(tmp_path: Path) -> None:
    from services.postgres import Postgres, is_installed

    from mwaconvert.jobs.control.durable import DurableEngine
    from mwaconvert.jobs.control.worker import Worker
    from mwaconvert.jobs.workflows.archives.running import kinds

    if not is_installed():
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    with Postgres() as server:
        site = replace(reviewing(tmp_path), database=server.new_database())
        store = Store(site.database)
        worker = Worker(store, kinds(site), site.work, worker_id="w1")
        engine = DurableEngine(worker, threads=2, poll_s=0.05)
        engine.start()
        with site.catalog() as catalog:
            ask_run(store, catalog, SDM, Purpose.CALIBRATE, "ann")
            engine.run_until_idle(120)
            assert job_of(store, RUN).step == "qa"
            decide(site, store, catalog, RUN, Answer.PASS, "dora", text=NOTES.format(status="Fail"))
            engine.run_until_idle(120)
            assert job_of(store, RUN).state is State.COMPLETED, job_of(store, RUN).error_text
            assert catalog.state(SDM) == QaState(CalibrationStatus.CALIBRATED, SrdpStatus.FAIL)
            store.submit(cleanup_request(RUN, "dora", "done"))
            engine.run_until_idle(120)
            assert catalog.trail(RUN)[0].action is Action.CLEANED
        engine.stop()
        store.close()
