"""After the gate of quality assurance: notes, weblog, ingest with its proof, states, and where the run goes."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from mwaconvert.archive.catalog import Action, Catalog, RunState
from mwaconvert.archive.layouts import Layout, run_layout
from mwaconvert.archive.products import Kind, ProductTable, describe_file, product_files, write_sums
from mwaconvert.archive.quality.areas import move_run, remove_run
from mwaconvert.archive.quality.ingest import (
    CALIBRATION_TAR,
    NOT_IN_ARCHIVE,
    IngestItem,
    check_cleanup,
    pack_calibration,
)
from mwaconvert.archive.quality.notes import (
    NOTES,
    publish_notes,
    safe_html,
    write_notes,
)
from mwaconvert.errors import Error, InputError, ResourceError
from mwaconvert.jobs.control.work import CancelledError, Context, Json
from mwaconvert.jobs.delivery.mail import tell
from mwaconvert.jobs.workflows.archives.asking import QA, Answer, Asked, Purpose, check_decision, supplied
from mwaconvert.jobs.workflows.archives.site import ArchiveSite, now
from mwaconvert.jobs.workflows.archives.staging import own_text
from mwaconvert.jobs.workflows.archives.stores.store import Kept, archive_name, keep


def record_decision(context: Context, site: ArchiveSite) -> Json:
    """Write the decision down, once: who, when, why, and the notes."""
    asked, answer, by, at = _decision(context)
    reason = context.answers[QA].why or ""
    with site.catalog() as catalog:
        run = catalog.run(asked.run_id)
        if answer is Answer.RERUN:
            catalog.put_run(replace(run, state=RunState.COMPLETED), (), now())
        else:
            notes = check_decision(asked, answer, catalog.draft(asked.run_id, by), by)
            rows = catalog.decisions(asked.run_id).rows
            if not any(row.decided_by == by and row.at == at for row in rows):
                catalog.decide(asked.run_id, notes, by, at, seen=len(rows))
            catalog.put_run(replace(run, state=RunState.RUNNING), (), now())
        catalog.note(
            Action.DECIDED,
            asked.run_id,
            by,
            at,
            reason=reason,
            detail=answer.value,
            key=f"{asked.run_id}/decided/{at.isoformat()}",
        )
    return {"answer": answer.value}


def publish(context: Context, site: ArchiveSite) -> Json:
    """Of a run that passed: notes into the weblog, which is packed again; a failure is a result that says why."""
    asked, answer, by, _ = _decision(context)
    if answer is not Answer.PASS:
        return {}
    try:
        return {"weblog": _publish(site, asked, by)}
    except (Error, OSError) as error:
        return {"reasons": [f"the weblog could not be made: {error}"]}


def _publish(site: ArchiveSite, asked: Asked, by: str) -> str:
    """Notes into the weblog; templates and notes to the products. Gives the weblog's place in the run."""
    layout = run_layout(site.areas["qa"], asked.folder)
    with site.catalog() as catalog:
        text = catalog.draft(asked.run_id, by)
        notes = catalog.decisions(asked.run_id).rows[-1].notes
    text = text if text.strip() else write_notes(notes)
    weblog = _weblog(layout)
    for template in sorted(supplied(site, asked.run_id, by).glob("*")):
        shutil.copyfile(template, layout.products / template.name)
    own_text(layout.products / NOTES, safe_html(text).encode())
    if weblog is not None:
        publish_notes(weblog, _weblog_archive(layout, weblog, site.table()), text)
    return "" if weblog is None else str(weblog.relative_to(layout.root))


def ingest(context: Context, site: ArchiveSite) -> Json:
    """Put images and one tar of the rest into the archive, each read back; a failure is a result that says why."""
    asked, answer, _, _ = _decision(context)
    if answer is not Answer.PASS:
        return {}
    before = context.results["publish"].get("reasons", ())
    if before:
        return {"attempt": context.attempt.number, "reasons": before}
    layout = run_layout(site.areas["qa"], asked.folder)
    table = site.table()
    try:
        if site.ingest is None:
            raise InputError("the site has no store to ingest into; name it as stores.ingest")
        pack_calibration(layout.products, layout.products / f"{asked.run_id}{CALIBRATION_TAR}", table)
        write_sums(layout.products)
        paths = _to_ingest(layout.products, table)
        items = [IngestItem(describe_file(path, table)) for path in paths]
        with site.catalog() as catalog:
            catalog.put_ingest(asked.run_id, context.attempt.number, items)
            for number, (path, item) in enumerate(zip(paths, items, strict=True)):
                context.progress(number / len(items), path.name)
                verified = _keep(site, path, item)
                catalog.put_ingest(asked.run_id, context.attempt.number, [verified])
    except CancelledError:
        raise
    except (Error, OSError) as error:
        return {"attempt": context.attempt.number, "reasons": [f"the ingest failed: {error}"]}
    return {"attempt": context.attempt.number, "items": [item.file.name for item in items]}


def tell_of_ingest(context: Context, site: ArchiveSite) -> Json:
    """Make a failure of the ingest known."""
    asked = Asked.of(context.job)
    done = context.results["ingest"]
    if not done:
        return {}
    reasons = done.get("reasons", ())
    words = "; ".join(reasons) or f"{len(done['items'])} files"
    with site.catalog() as catalog:
        action = Action.INGEST_FAILED if reasons else Action.INGESTED
        key = f"{asked.run_id}/ingest/{done['attempt']}"
        catalog.note(action, asked.run_id, context.job.owner, now(), detail=words, key=key)
        if reasons:
            catalog.put_run(replace(catalog.run(asked.run_id), state=RunState.FAILED), (), now())
    if reasons:
        text = f"Run {asked.run_id} of {asked.target}:\n{words}\nIt stays in the QA area; ask for the ingest again."
        tell(
            context, site.everybody, f"{asked.run_id}: ingest failed", text, f"ingest{context.attempt.number}"
        )
    return {}


def mark(context: Context, site: ArchiveSite) -> Json:
    """Set the two states of the target: Calibrated only now that all is in the archive."""
    asked, answer, by, _ = _decision(context)
    if answer is Answer.RERUN:
        return {}
    with site.catalog() as catalog:
        notes = catalog.decisions(asked.run_id).rows[-1].notes
        before = catalog.state(asked.target)
        if asked.purpose is Purpose.IMAGE:  # says nothing of the calibration that it started from
            state = replace(before, srdp=notes.status)
        elif answer is Answer.FAIL:
            state = before.failed(notes.status)
        else:
            items = catalog.ingested(asked.run_id)
            whole = bool(items) and all(item.verified_at is not None for item in items)
            state = before.passed(notes, ingested=whole)
        catalog.put_state(asked.target, state, asked.run_id, now())
        words = f"calibration {state.calibration.value or 'unset'}, SRDP {state.srdp.value or 'Null'}"
        catalog.note(
            Action.MARKED,
            asked.target,
            by,
            now(),
            reason=context.answers[QA].why or "",
            detail=f"{words}, by {asked.run_id}",
            key=f"{asked.run_id}/marked",
        )
    return {"calibration": state.calibration.value, "srdp": state.srdp.value}


def move_away(context: Context, site: ArchiveSite) -> Json:
    """Passed: back to processing, where it ages, its measurement sets into the cache. Failed: removed."""
    asked, answer, by, _ = _decision(context)
    if answer is Answer.RERUN:
        return {}
    qa, processing = site.areas["qa"], site.areas["processing"]
    with site.catalog() as catalog:
        run = catalog.run(asked.run_id)
        if answer is Answer.FAIL:
            remove_run(qa / asked.folder, [qa])
            catalog.put_run(replace(run, state=RunState.FAILED), (), now())
            action, detail = Action.CLEANED, "failed quality assurance"
        else:
            moved = move_run(qa / asked.folder, processing)
            _into_cache(moved, site.areas["cache"] / asked.folder)
            catalog.put_run(replace(run, state=RunState.COMPLETED), (), now())
            action, detail = Action.MOVED, "back to processing, measurement sets to the cache"
        catalog.note(action, asked.run_id, by, now(), detail=detail, key=f"{asked.run_id}/moved")
    words = {Answer.PASS: "passed and is in the archive", Answer.FAIL: "failed and was removed"}[answer]
    text = f"Run {asked.run_id} of {asked.target}: {words}, decided by {by}."
    tell(context, site.analysts, f"{asked.run_id} {words}", text, "ended")
    return {}


# ------------------------------------------------------------------------------------------------ cleanup


def prove(site: ArchiveSite, catalog: Catalog, run_id: str, by: str, reason: str = "") -> None:
    """Refuse to clean up a run unless each product is read back from each copy of the archive now.

    Raises
    ------
    InputError
        With the documented sentence; the audit trail says what is missing.
    """
    run = catalog.run(run_id)
    items = catalog.ingested(run_id)
    problems: list[str] = []
    for area in ("qa", "processing"):
        products = run_layout(site.areas[area], run.folder).products
        if products.is_dir():
            try:
                check_cleanup(products, items)
            except InputError:
                problems.append(f"products in {area} that are not proven to be ingested")
    if not items:
        problems.append("nothing was ingested")
    for item in items:
        problems += _problems_of(site, item)
    if problems:
        told = "; ".join(problems)
        catalog.note(Action.NOT_CLEANED, run_id, by, now(), reason=reason, detail=told)
        raise InputError(NOT_IN_ARCHIVE)


def folders_of(site: ArchiveSite, folder: str) -> list[Path]:
    """Where a run has a folder, in any area."""
    areas = (site.areas[name] for name in ("processing", "qa", "cache"))
    return [area / folder for area in areas if (area / folder).is_dir()]


def clean_up(
    site: ArchiveSite,
    catalog: Catalog,
    run_id: str,
    by: str,
    *,
    reason: str = "",
    detail: str = "",
    key: str = "",
) -> None:
    """Remove the folders of a run for which `prove` found all in the archive; those that are gone are not an error."""
    folder = catalog.run(run_id).folder
    for name in ("processing", "qa", "cache"):
        remove_run(site.areas[name] / folder, [site.areas[name]])
    catalog.note(Action.CLEANED, run_id, by, now(), reason=reason, detail=detail, key=key)


def _problems_of(site: ArchiveSite, item: IngestItem) -> Sequence[str]:
    if item.verified_at is None or item.file.sha256 is None or site.ingest is None:
        return (f"{item.file.name} was not verified",)
    try:
        return site.ingest.check(Kept(item.archive_id, item.archive_version), item.file.sha256)
    except ResourceError as error:
        return (f"{item.file.name}: {error}",)


# ------------------------------------------------------------------------------------------------- parts


def _decision(context: Context) -> tuple[Asked, Answer, str, datetime]:
    decision = context.answers[QA]
    at = datetime.fromtimestamp(decision.decided or 0.0, UTC)
    return Asked.of(context.job), Answer(decision.answer), decision.decided_by or "", at


def _weblog(layout: Layout) -> Path | None:
    """The unpacked weblog of a run, the newest if there are several; links are left for who packs it to refuse."""
    for folder in (layout.products, layout.working):
        found = sorted(path.parent for path in folder.glob("pipeline-*/html") if path.is_dir())
        if found:
            return found[-1]
    return None


def _weblog_archive(layout: Layout, weblog: Path, table: ProductTable) -> Path:
    found = [path for path in sorted(layout.products.iterdir()) if table.kind(path.name) is Kind.WEBLOG]
    return found[0] if found else layout.products / f"{weblog.name}.weblog.tgz"


def _to_ingest(products: Path, table: ProductTable) -> list[Path]:
    """Images, the weblog and the tar of all the rest."""
    chosen = [
        path
        for path in product_files(products)
        if table.kind(path.name) in (Kind.IMAGE, Kind.WEBLOG) or path.name.endswith(CALIBRATION_TAR)
    ]
    names = [path.name for path in chosen]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{products}: has two files named {twice[0]}; an archive takes one")
    return chosen


def _keep(site: ArchiveSite, path: Path, item: IngestItem) -> IngestItem:
    assert site.ingest is not None
    assert item.file.sha256 is not None
    kept = keep(site.ingest, path, archive_name(path.name, item.file.sha256), item.file.sha256)
    return item.verified(kept.file_id, kept.version, item.file.sha256, now())


def _into_cache(run: Path, cache: Path) -> None:
    """Move calibrated measurement sets to the cache; those that are there were moved before."""
    for path in sorted(path.parent for path in (run / "working").glob("*.ms/table.dat")):
        cache.mkdir(parents=True, exist_ok=True)
        target = cache / path.name
        if target.exists():
            shutil.rmtree(target)
        shutil.move(path, target)
