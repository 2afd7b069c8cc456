"""What pages and JSON of the archive share: the site, its catalogue, and what they show of a run."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import Depends, HTTPException, Request

from mwaconvert.archive.catalog import AuditEntry, Catalog, Run
from mwaconvert.archive.identifiers import safe_name
from mwaconvert.archive.quality.ingest import IngestItem
from mwaconvert.archive.quality.notes import QaRecord, QaState
from mwaconvert.jobs.control.states import State
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.control.work import Decision, Job
from mwaconvert.jobs.workflows.archives.asking import QA
from mwaconvert.jobs.workflows.archives.site import ArchiveSite
from mwaconvert.services.service import service_of

_opening = threading.Lock()


@dataclass(frozen=True)
class Desk:
    """A site that the service has, its store of jobs, and its catalogue."""

    site: ArchiveSite
    store: Store
    catalog: Catalog


@dataclass(frozen=True)
class RunView:
    """All that is shown of a run. `waits` is its gate, while it waits there; `weblog` is whether it has one."""

    run: Run
    job: Job | None
    waits: Decision | None
    inputs: dict[str, str]
    records: tuple[QaRecord, ...]
    items: tuple[IngestItem, ...]
    state: QaState
    weblog: bool
    trail: tuple[AuditEntry, ...]


def desk_of(request: Request) -> Desk:
    """The desk of a request; 404 where the service has no archive. A dependency of routes."""
    service = service_of(request)
    site = service.site.archive
    if site is None:
        raise HTTPException(404, "this service has no archive")
    held = request.app.state
    with _opening:  # one for the life of the service
        if not hasattr(held, "catalog"):
            held.catalog = site.catalog()
    return Desk(site, service.store, held.catalog)


DeskOf = Annotated[Desk, Depends(desk_of)]


def view_of(desk: Desk, run_id: str) -> RunView:
    """A run as it is shown; `InputError` if there is none."""
    run = desk.catalog.run(run_id)
    job = desk.store.job_named(run_id)
    gates = [] if job is None else desk.store.decisions(job.id)
    waiting = job is not None and job.state is State.WAITING
    return RunView(
        run,
        job,
        next((g for g in gates if g.gate == QA and g.answer is None and not g.superseded), None)
        if waiting
        else None,
        desk.catalog.inputs(run_id),
        desk.catalog.decisions(run_id).rows,
        desk.catalog.ingested(run_id),
        desk.catalog.state(run.target),
        weblog_of(desk.site, run) is not None,
        desk.catalog.trail(run_id),
    )


def weblog_of(site: ArchiveSite, run: Run) -> Path | None:
    """The html folder of the newest weblog of a run, where it lies now; none behind a link."""
    if not run.folder:
        return None
    for area in ("qa", "processing"):
        home = site.areas[area] / safe_name(run.folder.rpartition("/")[2])
        for within in ("products", "working"):
            found = sorted((home / within).glob("pipeline-*/html"))
            if found and found[-1].is_dir() and found[-1].resolve().is_relative_to(home.resolve()):
                return found[-1]
    return None


def weblog_file(site: ArchiveSite, run: Run, name: str) -> Path:
    """A file of a weblog; 404 for one that is not truly in it."""
    html = weblog_of(site, run)
    if html is not None:
        top = html.resolve()
        path = (top / name).resolve()
        if path.is_relative_to(top) and path.is_file():
            return path
    raise HTTPException(404, "there is no such file in the weblog")
