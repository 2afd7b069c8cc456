"""Restores as jobs: a member set of an archive, or a delivered package, to calibrated measurement sets.

The release date is asked before anything is fetched and again before anything is handed out. Every step may be
repeated: files get their names when they are whole, and what a killed CASA left behind is removed before the next.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

from mwaconvert.archive.casa import CasaRun, CasaVersion, delivery_run, judge_restore, request_run
from mwaconvert.archive.casa.tasks import plan_restores, tasks_run
from mwaconvert.archive.catalog import Action, Catalog, Run, RunState
from mwaconvert.archive.identifiers import StatusUid, Uid, execution_name
from mwaconvert.archive.layouts import (
    Layout,
    LayoutKind,
    delivery_layout,
    recognise,
    request_layout,
    run_layout,
)
from mwaconvert.archive.packages import PackageReport, check_package
from mwaconvert.archive.products import Kind
from mwaconvert.archive.quality.areas import move_run
from mwaconvert.archive.requests import make_alma_request, restore_procedure, write_request
from mwaconvert.archive.requests.model import Telescope
from mwaconvert.archive.reruns import RunInput
from mwaconvert.archive.sources.snapshot import MemberSnapshot
from mwaconvert.archive.status import StatusDocument, write_status
from mwaconvert.archive.times import parse_utc
from mwaconvert.archive.units import ProductFile
from mwaconvert.errors import InputError
from mwaconvert.jobs.control.states import Fault, State
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.control.work import (
    Context,
    DuplicateError,
    Job,
    Json,
    Product,
    Request,
    Step,
    StepError,
    Workflow,
    duplicate_key,
)
from mwaconvert.jobs.workflows.archives import casa, resolving
from mwaconvert.jobs.workflows.archives.packed import stores_with
from mwaconvert.jobs.workflows.archives.site import ArchiveSite, now
from mwaconvert.jobs.workflows.archives.staging import fetch_raw, file_into, own_text
from mwaconvert.jobs.workflows.steps import PATIENT, reaching
from mwaconvert.machine import tree_bytes
from mwaconvert.text import json_text

KIND = "restore"
#: what was done and with what, beside the restored sets
REPORT = "restore.json"
#: what is done again of a restore that failed, when it is asked for once more: the archive may tell something else by
#: then, and files that are there are not fetched again
_AGAIN = ("resolve", "stage", "check")
#: columns by which a restore is accepted; models and scratch columns depend on how a set was calibrated
_COMPARED = ("DATA", "CORRECTED_DATA", "FLAG", "WEIGHT")


def workflow(site: ArchiveSite) -> Workflow:
    """Steps of a restore at a site."""
    return Workflow(
        KIND,
        (
            Step("resolve", partial(resolve, site=site), PATIENT),
            Step("stage", partial(stage, site=site), PATIENT),
            Step("check", partial(check, site=site)),
            Step("casa", partial(run_casa, site=site)),
            Step("compare", compare),
            Step("hand out", partial(hand_out, site=site)),
        ),
    )


def restore_request(
    what: str,
    owner: str,
    *,
    layout: LayoutKind = LayoutKind.DELIVERY,
    calibrated_with: str = "",
    mpi_servers: int = 0,
    reference: Path | None = None,
) -> Request:
    """The request of a restore.

    Parameters
    ----------
    what : uid of a member set in either form, or the folder of a delivered package
    calibrated_with : CASA version of the calibration, where no manifest tells it
    reference : folder of measurement sets that the restored ones must equal

    Raises
    ------
    InputError
        It is neither.
    """
    facts: dict[str, Any] = {"mpi_servers": mpi_servers, "layout": layout.name}
    if Path(what).is_dir():
        facts["package"] = str(Path(what).resolve())
    else:
        facts["mous"] = str(_member(what))
    if calibrated_with:
        facts["calibrated_with"] = str(CasaVersion.parse(calibrated_with))
    if reference is not None:
        facts["reference"] = str(reference.resolve())
    return Request(KIND, owner, facts, {"what": what})


def submit_or_resume(store: Store, request: Request) -> Job:
    """The job of a restore: a new one, the same that did not come to its end, or that failed and is tried again.

    A package that CASA has written into is not looked at again: that it holds sets would refuse it.
    """
    digest = duplicate_key(request.kind, request.owner, request.canonical)
    ended = store.jobs(
        owner=request.owner, kind=request.kind, states=[State.FAILED, State.CANCELLED], limit=None
    )
    twin = next((job for job in ended if job.digest == digest), None)
    try:
        if twin is not None:
            return store.retry(twin.id, request.owner, () if "package" in request.canonical else _AGAIN)
        return store.submit(request)
    except DuplicateError as error:
        return store.job(error.job_id)


def _member(what: str) -> Uid:
    try:
        return Uid.parse(what)
    except InputError:
        raise InputError(
            f"{what}: is neither a folder nor a uid; expected a package, uid://A001/X12/X34 or uid___A001_X12_X34"
        ) from None


# ------------------------------------------------------------------------------------------------- steps


def resolve(context: Context, site: ArchiveSite) -> Json:
    """Decide whether it may be restored, and find all that it needs."""
    wanted = context.job.canonical
    with site.catalog() as catalog:
        facts = (
            resolving.package(site, Path(wanted["package"]), wanted)
            if "package" in wanted
            else reaching(lambda: resolving.member(context.directory, site, catalog, wanted))
        )
        _put_run(catalog, context, facts, RunState.RUNNING)
    return facts


def stage(context: Context, site: ArchiveSite) -> Json:
    """Bring raw data, calibration files and scripts into a tree of the layout that is wanted."""
    found = context.results["resolve"]
    if "package" in found:
        return {"root": found["package"]}
    layout = _layout(context, site)
    if layout.root.is_dir():
        _clear_left(layout)
    layout.make()
    table = site.table()
    inputs = []
    stores = reaching(lambda: stores_with(site, found["tar"], context.directory))
    files = [ProductFile(**facts) for facts in found["files"]]
    if (
        layout.kind is not LayoutKind.DELIVERY
    ):  # the request of the calibration gives way to that of the restore
        files = [file for file in files if table.kind(file.name) is not Kind.REQUEST]
    for number, file in enumerate(files):
        kind = table.kind(file.name)
        target = _place(layout, kind) / file.name
        sha256 = reaching(lambda file=file, target=target: file_into(stores, file, target))  # type: ignore[misc]
        inputs.append(RunInput(kind, target, sha256, False))
        context.progress(number / (2 * len(files)), file.name)
    for number, (execution, name) in enumerate(found["raw"].items()):
        context.progress(0.5 + number / (2 * len(found["raw"])), name)
        reaching(
            lambda execution=execution, name=name: fetch_raw(  # type: ignore[misc]
                site.stores, name, _raw_place(layout, execution, name), context.directory
            )
        )
    with site.catalog() as catalog:
        member = catalog.member(StatusUid(Uid.parse(found["mous"])))
        _write_documents(layout, member, found)
        catalog.put_inputs(_run_id(context), inputs)
    return {"root": str(layout.root), "inputs": {item.path.name: item.sha256 for item in inputs}}


def check(context: Context, site: ArchiveSite) -> Json:
    """Look for what would cost days, before CASA starts."""
    found, root = context.results["resolve"], Path(context.results["stage"]["root"])
    expected = [ProductFile(**facts) for facts in found.get("files", ())]
    report = check_package(root, expected, site.table())
    report.check()
    return {"executions": sorted(report.sessions), "notes": list(report.notes)}


def run_casa(context: Context, site: ArchiveSite) -> Json:
    """Run CASA as a child with an environment of its own; what it leaves tells how it ended, not its exit code."""
    found, checked = context.results["resolve"], context.results["check"]
    layout, mpi_servers = _layout(context, site), int(context.job.canonical["mpi_servers"])

    def make() -> CasaRun:
        _clear_left(layout)
        report = check_package(layout.root, (), site.table())
        report.check()
        return _casa_run(context, layout, report, Path(found["casa_path"]), mpi_servers)

    end = casa.run_casa(context, site.slurm, make, mpi_servers=mpi_servers)
    if end.fault is not None and end.fault.fault is not Fault.EXIT:
        raise end.fault
    warnings = [] if end.fault is None else [str(end.fault)]
    outcome = judge_restore(layout, checked["executions"], [end.log])
    if not outcome.success:
        words = "; ".join((*outcome.reasons, *warnings, *outcome.severe[:1]))
        raise StepError(f"the restore failed: {words}", Fault.EXIT)
    sets = sorted({path.parent for path in layout.measurement_sets.rglob("*.ms/table.dat")})
    return {"sets": [str(path.relative_to(layout.root)) for path in sets], "warnings": warnings}


def compare(context: Context) -> Json:
    """Hold the restored sets against those of a reference, column by column, if there is one."""
    from mwaconvert.archive.compare import compare_measurement_sets

    if "reference" not in context.job.canonical:
        return {}
    root, reference = Path(context.results["stage"]["root"]), Path(context.job.canonical["reference"])
    told = {}
    for name in context.results["casa"]["sets"]:
        execution = execution_name(Path(name).name)
        same = [path for path in sorted(reference.glob("*.ms")) if execution_name(path.name) == execution]
        if len(same) != 1:
            raise InputError(f"{reference}: has {len(same)} measurement sets of {execution}; expected one")
        found = compare_measurement_sets(same[0], root / name, columns=_COMPARED)
        if not found.equal:
            raise StepError(f"{name} is not equal to {same[0]}: {found.to_text()}")
        told[name] = str(same[0])
    return {"equal": told}


def hand_out(context: Context, site: ArchiveSite) -> Json:
    """Ask the release date once more, then let the restored tree appear where its owner looks."""
    found = context.results["resolve"]
    root = Path(context.results["stage"]["root"])
    with site.catalog() as catalog:
        if "mous" in found:
            mous = StatusUid(Uid.parse(found["mous"]))
            reaching(lambda: resolving.refresh(site, catalog, mous))
            catalog.deliveries(mous).check_public(mous, now())
        target = root
        if "package" not in found:
            holder = _holder(site, context)
            # a second try finds it there
            target = move_run(holder, site.areas["delivered"]) / root.relative_to(holder)
        _write_report(context, target)
        _put_run(catalog, context, found, RunState.COMPLETED)
        catalog.note(
            Action.HANDED_OUT,
            _run_id(context),
            context.job.owner,
            now(),
            detail=str(target),
            key=f"{_run_id(context)}/handed out",
        )
    context.deliver(Product(str(target), tree_bytes(target)))
    return {"root": str(target)}


# ------------------------------------------------------------------------------------------------- parts


def _clear_left(layout: Layout) -> None:
    """Remove what an earlier try of CASA has left: no set was there when the tree was checked."""
    if layout.kind is LayoutKind.DELIVERY:
        shutil.rmtree(layout.measurement_sets, ignore_errors=True)
    else:
        for left in layout.working.glob("*.ms*"):
            shutil.rmtree(left)
    for folder in {layout.working, layout.products, layout.script}:
        for mark in folder.glob("errorexit-*.txt") if folder.is_dir() else ():
            mark.unlink()


def _casa_run(
    context: Context, layout: Layout, report: PackageReport, home_of_casa: Path, mpi_servers: int
) -> CasaRun:
    """A Python stands for CASA's tasks alone, which start from measurement sets; a folder for all of CASA."""
    home = context.directory / "home"
    home.mkdir(exist_ok=True)
    if home_of_casa.is_file():
        return tasks_run(plan_restores(report), layout, home_of_casa, home)
    if layout.kind is LayoutKind.DELIVERY:
        return delivery_run(layout, home_of_casa, home, mpi_servers=mpi_servers)
    request = next(layout.working.glob("PPR*.xml"))
    return request_run(layout, home_of_casa, home, request.name, Telescope.ALMA, mpi_servers=mpi_servers)


def _run_id(context: Context) -> str:
    return context.job.name or f"restore.{context.job.id}"


def _holder(site: ArchiveSite, context: Context) -> Path:
    """The folder of a restore, which holds its tree."""
    return site.areas["processing"] / _run_id(context)


def _layout(context: Context, site: ArchiveSite) -> Layout:
    found = context.results["resolve"]
    if "package" in found:
        return recognise(Path(found["package"]))
    base, project = _holder(site, context), found["project"]
    mous = StatusUid(Uid.parse(found["mous"]))
    group, goal = (StatusUid(Uid.parse(uid)) for uid in found["chain"][:2])
    kind = LayoutKind[context.job.canonical["layout"]]
    if kind is LayoutKind.DELIVERY:
        return delivery_layout(base, project, goal, group, mous)
    if kind is LayoutKind.REQUEST:
        return request_layout(base, project, parse_utc(found["at"]), (goal, group, mous))
    return run_layout(base, mous.file_form)


def _place(layout: Layout, kind: Kind) -> Path:
    """The folder where a file of a kind is looked for."""
    if kind in (
        Kind.SCRIPT_FOR_PI,
        Kind.RESTORE_SCRIPT,
        Kind.PIPELINE_SCRIPT,
        Kind.CALIBRATION_SCRIPT,
        Kind.REQUEST,
    ):
        return layout.script if layout.kind is LayoutKind.DELIVERY else layout.calibration
    if kind in (Kind.MANIFEST, Kind.WEBLOG, Kind.AQUA_REPORT, Kind.QA_NOTES):
        return layout.root / "qa" if layout.kind is LayoutKind.DELIVERY else layout.calibration
    return layout.products if kind is Kind.IMAGE else layout.calibration


def _raw_place(layout: Layout, execution: str, name: str) -> Path:
    if name.endswith(".ms.tar"):
        return layout.raw / f"{execution}.ms"
    return layout.raw / (execution + (".asdm.sdm" if layout.kind is LayoutKind.DELIVERY else ""))


def _write_documents(layout: Layout, member: MemberSnapshot, found: Json) -> None:
    """The status document and a request, where a pipeline starts the restore."""
    if layout.kind is LayoutKind.DELIVERY:
        return
    own_text(
        layout.raw / f"{member.unit.status_uid.file_form}.xml", write_status(StatusDocument(member.unit))
    )
    unit, project = member.unit.unit, member.unit.project_status
    if unit is None or project is None:
        raise InputError(
            f"{member.unit.status_uid}: neither project nor part id is known; a request names them"
        )
    request = make_alma_request(
        proposal_code=found["project"],
        unit=unit,
        project_status=project,
        mous=member.unit.status_uid,
        blocks=member.sched_blocks,
        sessions=member.unit.sessions,
        procedure=restore_procedure(Telescope.ALMA),
        relative_path=layout.relative_path,
        created=parse_utc(found["at"]),
    )
    own_text(layout.working / f"PPR_{member.unit.status_uid.file_form}.xml", write_request(request))


def _put_run(catalog: Catalog, context: Context, facts: Json, state: RunState) -> None:
    target = str(facts.get("mous", facts.get("package")))
    run = Run(
        _run_id(context),
        KIND,
        target,
        context.job.id,
        state=state,
        casa=facts["casa"],
        mpi_servers=int(context.job.canonical["mpi_servers"]),
        folder=str(context.results.get("stage", {}).get("root", "")),
    )
    catalog.put_run(run, (), now())
    key = f"{run.run_id}/{'began' if state is RunState.RUNNING else 'restored'}"
    action = Action.BEGAN if state is RunState.RUNNING else Action.RESTORED
    catalog.note(
        action, run.run_id, context.job.owner, now(), detail=f"{target} with CASA {run.casa}", key=key
    )


def _write_report(context: Context, root: Path) -> None:
    results = context.results
    found = results["resolve"]
    facts = {
        "format": "mwaconvert restore",
        "what": found.get("mous", found.get("package")),
        "casa": found["casa"],
        "calibrated": found["calibrated"],
        "warnings": [*found["warnings"], *results["casa"]["warnings"]],
        "notes": [*found["notes"], *results["check"]["notes"]],
        "inputs": results["stage"].get("inputs", {}),
        "raw": found.get("raw", {}),
        "sets": results["casa"]["sets"],
        "equal": results["compare"].get("equal", {}),
    }
    own_text(root / REPORT, (json_text(facts) + "\n").encode())
