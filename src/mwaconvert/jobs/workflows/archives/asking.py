"""What people ask of runs: a new one, one again with edits, a decision. Checked here, before a job takes it up."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

from mwaconvert.archive.catalog import Action, Catalog
from mwaconvert.archive.identifiers import SdmName, Uid, disk_name, parse_execution, safe_name
from mwaconvert.archive.quality.notes import QaNotes, SrdpStatus, read_notes
from mwaconvert.archive.requests.model import Telescope
from mwaconvert.archive.reruns import Edits, check_flag_template, kind_of_template
from mwaconvert.errors import InputError
from mwaconvert.jobs.control.states import State
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.control.work import DuplicateError, Job, Request, UnknownError
from mwaconvert.jobs.delivery.places import part_beside, remove
from mwaconvert.jobs.workflows.archives.site import ArchiveSite, now

#: the gate at which a run waits for an analyst
QA = "qa"
#: steps that an ingest is made of
_INGEST = ("publish", "ingest", "tell", "settle")


class Purpose(Enum):
    """What a run is for."""

    CALIBRATE = "calibrate"
    IMAGE = "image"

    @property
    def kind(self) -> str:
        """The kind of its jobs."""
        return f"srdp-{self.value}"


class Answer(Enum):
    """What an analyst may say of a run."""

    PASS = "pass"
    FAIL = "fail"
    RERUN = "rerun"


@dataclass(frozen=True)
class Asked:
    """What a job of a run is asked for, from its parameters.

    Attributes
    ----------
    run_id, folder : of the run, and the name of its folder: a rerun in place keeps that of the run before
    target : uid of a member set, or an SDM
    attempt : numbers the runs of a target and purpose, from 1
    parent : the run before, of a rerun
    """

    run_id: str
    folder: str
    target: str
    purpose: Purpose
    telescope: Telescope
    attempt: int
    parent: str | None
    mpi_servers: int

    @property
    def in_place(self) -> bool:
        return self.parent is not None and self.folder != self.run_id

    @classmethod
    def of(cls, job: Job) -> Asked:
        """Read the parameters of a job."""
        facts = job.canonical
        return cls(
            facts["run"],
            facts["folder"],
            facts["target"],
            Purpose(facts["purpose"]),
            Telescope[facts["telescope"]],
            int(facts["attempt"]),
            facts.get("parent"),
            int(facts["mpi_servers"]),
        )


def ask_run(
    store: Store,
    catalog: Catalog,
    target: str,
    purpose: Purpose,
    owner: str,
    *,
    reason: str = "",
    mpi_servers: int = 0,
) -> Job:
    """Ask for a run.

    Parameters
    ----------
    target : uid of a member set of ALMA in either form, or an SDM of the VLA

    Raises
    ------
    InputError
        It is neither; imaging of the VLA.
    DuplicateError
        A run of it is under way.
    """
    uid = parse_execution(target)
    telescope = Telescope.VLA if isinstance(uid, SdmName) else Telescope.ALMA
    if purpose is Purpose.IMAGE and telescope is Telescope.VLA:
        raise InputError(f"{target}: of the VLA calibrations are made, no images")
    if isinstance(uid, Uid):
        catalog.project_of(uid)  # type: ignore[arg-type]  # of a member set, as the catalogue says
    facts = _facts(catalog, str(uid), disk_name(uid), purpose, telescope, mpi_servers)
    return _submit(store, catalog, facts, owner, reason)


def observation_ingested(store: Store, catalog: Catalog, target: str, owner: str) -> Job:
    """An observation has come into the archive: its calibration starts by itself, once, however often this is told."""
    uid = parse_execution(target)
    name = f"{disk_name(uid)}.{Purpose.CALIBRATE.value}.1"
    found = store.job_named(name)
    if found is not None:
        return found
    try:
        return ask_run(
            store, catalog, target, Purpose.CALIBRATE, owner, reason="the observation was ingested"
        )
    except DuplicateError as twin:
        return store.job(twin.job_id)


def ask_rerun(
    site: ArchiveSite,
    store: Store,
    catalog: Catalog,
    run_id: str,
    edits: Edits,
    owner: str,
    *,
    in_place: bool = False,
    reason: str = "",
) -> Job:
    """Ask for a run again, with what an analyst edited; the edits are kept as they are now.

    Parameters
    ----------
    in_place : in the folder of the run, whose old working folder gets a number; else in a folder of its own

    Raises
    ------
    InputError, FormatError
        The run is under way, its folder is gone, or an edit would be skipped.
    """
    edits.check()
    before = job_of(store, run_id)
    if before.state in (State.QUEUED, State.RUNNING):
        raise InputError(f"{run_id} is {before.state}: a run again needs one that waits or has ended")
    run = catalog.run(run_id)
    place_of_run(site, run.folder)
    asked = Asked.of(before)
    facts = _facts(catalog, asked.target, _stem(asked), asked.purpose, asked.telescope, asked.mpi_servers) | {
        "parent": run_id
    }
    if in_place:
        facts["folder"] = run.folder
    facts["edits"] = _supply(site, str(facts["run"]), edits)
    if before.state is State.WAITING:
        store.decide(before.id, QA, Answer.RERUN.value, owner, reason)
    return _submit(store, catalog, facts, owner, reason)


def check_decision(asked: Asked, answer: Answer, text: str, by: str) -> QaNotes:
    """The notes of a decision; what they do not say follows from the answer.

    Raises
    ------
    FormatError
        As `read_notes`.
    InputError
        Images of ALMA that pass with notes that say Fail.
    """
    usual = SrdpStatus.PASS if answer is Answer.PASS else SrdpStatus.FAIL
    if not text.strip():
        return QaNotes(usual, by, score=usual.default_score)
    notes = read_notes(text, "notes")
    if answer is Answer.PASS and asked.purpose is Purpose.IMAGE and notes.status is SrdpStatus.FAIL:
        raise InputError("images are ingested with the flag Pass; notes that say Fail belong to qa-fail")
    if answer is Answer.PASS and asked.purpose is Purpose.IMAGE:
        score = SrdpStatus.PASS.default_score if notes.score is None else notes.score
        return replace(notes, status=SrdpStatus.PASS, score=score)
    return notes


def decide(
    site: ArchiveSite,
    store: Store,
    catalog: Catalog,
    run_id: str,
    answer: Answer,
    by: str,
    *,
    reason: str = "",
    text: str = "",
    templates: Sequence[Path] = (),
) -> Job:
    """Decide on a run that waits. Of two who decide at once one wins, and the other is told.

    Parameters
    ----------
    text : the notes, which go into the weblog
    templates : flag templates that are archived with it

    Raises
    ------
    DecidedError
        Somebody decided before.
    InputError, FormatError
        No such run, notes or templates that cannot be used.
    """
    job = job_of(store, run_id)
    check_decision(Asked.of(job), answer, text, by)
    for template in templates:
        kind_of_template(template)
        check_flag_template(template)
    catalog.put_draft(run_id, by, text, now())
    _copy_all(templates, supplied(site, run_id, by))
    return store.decide(job.id, QA, answer.value, by, reason)


def ask_ingest(store: Store, catalog: Catalog, run_id: str, by: str, reason: str = "") -> Job:
    """Ask for an ingest again, of a run that passed and whose ingest failed.

    Raises
    ------
    InputError
        It did not fail there.
    """
    job = job_of(store, run_id)
    if job.state is not State.FAILED or job.step not in _INGEST:
        raise InputError(f"{run_id} is {job.state}: only an ingest that failed can be asked for again")
    catalog.note(Action.ASKED, run_id, by, now(), reason=reason, detail="ingest again")
    return store.retry(job.id, by, _INGEST)


def job_of(store: Store, run_id: str) -> Job:
    """The job of a run; `UnknownError` if there is none."""
    job = store.job_named(run_id)
    if job is None:
        raise UnknownError(f"there is no run {run_id}")
    return job


def place_of_run(site: ArchiveSite, folder: str) -> Path:
    """Where the folder of a run lies; `InputError` if it is gone."""
    for area in ("qa", "processing"):
        found = site.areas[area] / safe_name(folder)
        if found.is_dir():
            return found
    raise InputError(
        f"{folder}: lies neither in the QA area nor in that of processing; it may have been removed by age"
    )


def supplied(site: ArchiveSite, run_id: str, by: str) -> Path:
    """Folder of what somebody gave for a run."""
    return site.work / "supplied" / safe_name(run_id) / safe_name(by)


def edits_of(site: ArchiveSite, job: Job) -> Edits:
    """The edits of a rerun, as they were when it was asked for."""
    facts: Any = job.canonical.get("edits", {})
    folder = supplied(site, job.canonical["run"], "edits")

    def path(name: str) -> Path | None:
        return folder / facts[name] if facts.get(name) else None

    return Edits(
        path("request"),
        tuple(folder / name for name in facts.get("flag_templates", ())),
        path("fluxes"),
        path("continuum"),
    )


def _facts(
    catalog: Catalog, target: str, stem: str, purpose: Purpose, telescope: Telescope, mpi_servers: int
) -> dict[str, Any]:
    attempt = catalog.next_attempt(target, purpose.kind)
    run_id = f"{stem}.{purpose.value}.{attempt}"
    return {
        "run": run_id,
        "folder": run_id,
        "target": target,
        "purpose": purpose.value,
        "telescope": telescope.name,
        "attempt": attempt,
        "mpi_servers": mpi_servers,
    }


def _stem(asked: Asked) -> str:
    return asked.run_id.removesuffix(f".{asked.purpose.value}.{asked.attempt}")


def _submit(store: Store, catalog: Catalog, facts: dict[str, Any], owner: str, reason: str) -> Job:
    given = {"target": facts["target"], "reason": reason}
    job = store.submit(Request(f"srdp-{facts['purpose']}", owner, facts, given, name=facts["run"]))
    catalog.note(
        Action.ASKED,
        facts["run"],
        owner,
        now(),
        reason=reason,
        detail=facts["target"],
        key=f"{facts['run']}/asked",
    )
    return job


def _supply(site: ArchiveSite, run_id: str, edits: Edits) -> dict[str, Any]:
    """Keep the edits under the name of the run: an analyst may go on to edit."""
    single = {"request": edits.request, "fluxes": edits.fluxes, "continuum": edits.continuum}
    paths = [path for path in (*single.values(), *edits.flag_templates) if path is not None]
    _copy_all(paths, supplied(site, run_id, "edits"))
    names: dict[str, Any] = {key: path.name for key, path in single.items() if path is not None}
    return {**names, "flag_templates": [path.name for path in edits.flag_templates]}


def _copy_all(paths: Sequence[Path], folder: Path) -> None:
    """A folder with copies of these files and nothing else, whole or not at all."""
    if len({path.name for path in paths}) < len(paths):
        raise InputError(f"two of the files have one name: {', '.join(sorted(path.name for path in paths))}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = part_beside(folder)
    part.mkdir()
    for path in paths:
        shutil.copyfile(path, part / path.name)
    if folder.exists():
        remove(folder)
    part.rename(folder)
