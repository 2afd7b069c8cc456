"""Science-ready products as jobs: a run of the pipeline, the gate of quality assurance, ingest, and what follows.

One design for VLA and ALMA. A failure of the pipeline or of the ingest is a result that is told and mailed; the step
after it then ends the job, so that nobody has to notice by absence.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from mwaconvert.archive.casa import (
    CasaRun,
    CasaVersion,
    approved_casa,
    choose_casa,
    judge_pipeline_run,
    request_run,
)
from mwaconvert.archive.catalog import Action, Run, RunState
from mwaconvert.archive.layouts import Layout, run_layout
from mwaconvert.archive.manifests import read_aqua_report, read_manifest
from mwaconvert.archive.products import Kind, sha256_of
from mwaconvert.archive.quality.areas import move_run
from mwaconvert.archive.requests import check as check_request
from mwaconvert.archive.requests import read_request
from mwaconvert.archive.reruns import RunInput, prepare_rerun, unused_templates
from mwaconvert.archive.units import Calibrated
from mwaconvert.errors import FormatError, InputError
from mwaconvert.jobs.control.states import Fault
from mwaconvert.jobs.control.work import Context, Gate, Json, Retry, Step, StepError, Workflow
from mwaconvert.jobs.delivery.mail import tell
from mwaconvert.jobs.workflows.archives import casa, ingesting, requesting
from mwaconvert.jobs.workflows.archives.asking import QA, Answer, Asked, Purpose, edits_of, place_of_run
from mwaconvert.jobs.workflows.archives.site import ArchiveSite, now
from mwaconvert.jobs.workflows.archives.staging import fetch_raw, find_raw
from mwaconvert.jobs.workflows.steps import PATIENT, reaching

ONCE = Retry()


def workflow(site: ArchiveSite, purpose: Purpose) -> Workflow:
    """Steps of a run at a site."""

    def step(name: str, function: Callable[..., Json], retry: Retry = ONCE) -> Step:
        return Step(name, partial(function, site=site), retry)

    return Workflow(
        purpose.kind,
        (
            step("prepare", prepare, retry=PATIENT),
            step("fetch", fetch, retry=PATIENT),
            step("casa", run_pipeline),
            step("review", offer),
            Step("judge", partial(end_if_failed, step="casa")),
            Gate(QA, tuple(answer.value for answer in Answer), ()),
            step("decide", ingesting.record_decision),
            step("publish", ingesting.publish),
            step("ingest", ingesting.ingest),
            step("tell", ingesting.tell_of_ingest),
            Step("settle", partial(end_if_failed, step="ingest")),
            step("mark", ingesting.mark),
            step("move", ingesting.move_away),
        ),
    )


def prepare(context: Context, site: ArchiveSite) -> Json:
    """Make the working folder with the request, and edits if it is a run again; mail that it began."""
    asked = Asked.of(context.job)
    layout = layout_of(site, asked)
    inputs: tuple[RunInput, ...]
    with site.catalog() as catalog:
        if asked.parent is None:
            layout.make()
            inputs = (requesting.write(context, site, catalog, asked, layout),)
        else:
            inputs = _prepare_again(context, site, asked, layout, catalog.run(asked.parent))
        run = Run(
            asked.run_id,
            asked.purpose.kind,
            asked.target,
            asked.attempt,
            asked.parent,
            mpi_servers=asked.mpi_servers,
            folder=asked.folder,
        )
        catalog.put_run(run, (), now())
        catalog.put_inputs(asked.run_id, inputs)
        catalog.note(
            Action.BEGAN,
            asked.run_id,
            context.job.owner,
            now(),
            detail=asked.target,
            key=f"{asked.run_id}/began",
        )
    text = f"The {asked.purpose.value} run {asked.run_id} of {asked.target} began, asked for by {context.job.owner}."
    tell(context, site.analysts, f"{asked.run_id} began", text, "began")
    return {"inputs": [_facts_of(item) for item in inputs]}


def _prepare_again(
    context: Context, site: ArchiveSite, asked: Asked, layout: Layout, before: Run
) -> tuple[RunInput, ...]:
    """In place under a number of its own, or in a new folder that takes its files from the old one."""
    edits = edits_of(site, context.job)
    if asked.in_place:
        move_run(
            site.areas["qa"] / asked.folder, site.areas["processing"]
        ) if not layout.root.is_dir() else None
        return prepare_rerun(
            layout, edits, number=asked.attempt - 1, pipeline=before.pipeline, table=site.table()
        )
    found = place_of_run(site, before.folder)
    old = run_layout(found.parent, found.name)
    return prepare_rerun(old, edits, new=layout, pipeline=before.pipeline, table=site.table())


def fetch(context: Context, site: ArchiveSite) -> Json:
    """Bring raw data, and for images the calibration, to where the pipeline looks for them."""
    asked = Asked.of(context.job)
    layout = layout_of(site, asked)
    request = read_request(_request(context, layout)).request
    casa = ""
    for number, execution in enumerate(request.executions):
        target = layout.raw / execution.disk_name
        if target.exists():
            continue
        context.progress(number / len(request.executions), execution.disk_name)
        name, _ = reaching(lambda execution=execution: find_raw(site.stores, execution.disk_name))  # type: ignore[misc]
        reaching(lambda name=name, target=target: fetch_raw(site.stores, name, target, context.directory))  # type: ignore[misc]
    if asked.purpose is Purpose.IMAGE:
        with site.catalog() as catalog:
            casa = reaching(
                lambda: requesting.fetch_calibration(context.directory, site, catalog, asked, layout)
            )
    return {"raw": [execution.disk_name for execution in request.executions], "calibrated_with": casa}


def run_pipeline(context: Context, site: ArchiveSite) -> Json:
    """Run the pipeline, once its inputs are found to be those that were put there; how it ended is a result."""
    asked = Asked.of(context.job)
    layout = layout_of(site, asked)
    inputs = [_input_of(facts, layout) for facts in context.results["prepare"]["inputs"]]
    version, warnings = _casa(context, site, asked)

    def make() -> CasaRun:
        _check_inputs(inputs)
        document = read_request(_request(context, layout))
        check_request(document.request, document.name)
        _clear(layout, {item.path.name for item in inputs})
        home = context.directory / "home"
        home.mkdir()
        return request_run(
            layout,
            site.casas[version],
            home,
            Path(document.name).name,
            asked.telescope,
            mpi_servers=asked.mpi_servers,
        )

    end = casa.run_casa(context, site.slurm, make, mpi_servers=asked.mpi_servers)
    reasons = [] if end.fault is None or end.fault.fault is Fault.EXIT else [str(end.fault)]
    outcome = judge_pipeline_run(layout, [end.log])
    reasons += outcome.reasons
    reasons += [f"{item.path.name}: the pipeline changed what was edited" for item in _changed(inputs)]
    unused = unused_templates(end.log.read_text(errors="replace"), inputs)
    warnings += [f"{name}: the log does not name it, so it was hardly applied" for name in unused]
    warnings += _scores(layout)
    return {
        "reasons": reasons,
        "severe": list(outcome.severe),
        "warnings": warnings,
        "casa": str(version),
        "pipeline": _pipeline_version(layout),
    }


def offer(context: Context, site: ArchiveSite) -> Json:
    """Success: the run moves to the QA area and waits. Failure: it stays. Both are mailed."""
    asked, ended = Asked.of(context.job), context.results["casa"]
    failed = bool(ended["reasons"])
    if not failed:
        move_run(site.areas["processing"] / asked.folder, site.areas["qa"])
    words = "; ".join(ended["reasons"] or ended["warnings"])
    with site.catalog() as catalog:
        state = RunState.FAILED if failed else RunState.WAITING
        run = replace(catalog.run(asked.run_id), state=state, casa=ended["casa"], pipeline=ended["pipeline"])
        catalog.put_run(run, (), now())
        action = Action.RUN_FAILED if failed else Action.WAITS
        catalog.note(
            action, asked.run_id, context.job.owner, now(), detail=words, key=f"{asked.run_id}/reviewed"
        )
    lines = [f"Run {asked.run_id} of {asked.target} ({asked.purpose.value})", ""]
    if failed:
        lines += ["It failed and stays in the processing area:", *ended["reasons"], *ended["severe"]]
        subject = f"{asked.run_id} failed"
    else:
        lines += ["It waits for quality assurance.", *ended["warnings"]]
        subject = f"{asked.run_id} waits for quality assurance"
    tell(context, site.everybody, subject, "\n".join(lines), "reviewed")
    return {}


def end_if_failed(context: Context, step: str) -> Json:
    """End the job if an earlier step has told of a failure."""
    reasons = context.results[step].get("reasons", ())
    if reasons:
        raise StepError("; ".join(reasons))
    return {}


# ------------------------------------------------------------------------------------------------- parts


def layout_of(site: ArchiveSite, asked: Asked, area: str = "processing") -> Layout:
    """The tree of a run in an area."""
    return run_layout(site.areas[area], asked.folder)


def _facts_of(item: RunInput) -> dict[str, object]:
    return {**asdict(item), "kind": item.kind.value, "path": item.path.name}


def _input_of(facts: Json, layout: Layout) -> RunInput:
    return RunInput(
        Kind(facts["kind"]), layout.working / facts["path"], facts["sha256"], facts["from_analyst"]
    )


def _request(context: Context, layout: Layout) -> Path:
    name = next(f["path"] for f in context.results["prepare"]["inputs"] if f["kind"] == Kind.REQUEST.value)
    return layout.working / str(name)


def _check_inputs(inputs: list[RunInput]) -> None:
    for item in inputs:
        if not item.path.is_file() or sha256_of(item.path) != item.sha256:
            raise InputError(
                f"{item.path}: is not what was put there; ask for the run again with it as an edit"
            )


def _changed(inputs: list[RunInput]) -> list[RunInput]:
    """Edits of an analyst that are not what they were."""
    return [
        item
        for item in inputs
        if item.from_analyst and not (item.path.is_file() and sha256_of(item.path) == item.sha256)
    ]


def _clear(layout: Layout, keep: set[str]) -> None:
    """Remove what a killed run has left: all but the inputs."""
    left = [p for p in layout.working.iterdir() if p.name not in keep]
    left += list(layout.products.iterdir()) if layout.products.is_dir() else []
    for path in left:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _casa(context: Context, site: ArchiveSite, asked: Asked) -> tuple[CasaVersion, list[str]]:
    """For images the CASA of the calibration as far as it is there; for calibrations that in operations."""
    whole = [version for version, path in site.casas.items() if path.is_dir()]
    wanted = context.results["fetch"]["calibrated_with"]
    if not wanted:
        version, warnings = approved_casa(site.version_table(), asked.telescope, now().date(), whole)
        return version, list(warnings)
    choice = choose_casa(
        CasaVersion.parse(wanted), Calibrated.PIPELINE, whole, parallel=asked.mpi_servers > 0
    )
    return choice.version, list(choice.warnings)


def _scores(layout: Layout) -> list[str]:
    """The lowest score that the pipeline gave itself, for the analyst; a report nobody can read is told."""
    told = []
    for path in sorted(layout.products.glob("*pipeline_aquareport.xml")):
        try:
            worst = read_aqua_report(path).worst
        except FormatError as error:
            told.append(f"no scores: {error}")
            continue
        if worst is not None:
            told.append(
                f"lowest score: {worst.score:g} of stage {worst.number}, {worst.name}: {worst.reason}"
            )
    return told


def _pipeline_version(layout: Layout) -> str:
    found = sorted(layout.products.glob("*pipeline_manifest.xml"))
    return read_manifest(found[0]).pipeline_version if found else ""
