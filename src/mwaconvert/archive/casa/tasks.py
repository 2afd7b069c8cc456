"""A restore by CASA's own tasks: tables and flags unpacked, flags restored, calibration applied, in a child process.

For sets without the pipeline at hand: the instructions of the pipeline (``*.calapply.txt``) are read as data, never
executed, and handed to a small program that CASA's Python runs.
"""

from __future__ import annotations

import ast
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from mwaconvert.archive.casa.processes import CasaRun
from mwaconvert.archive.identifiers import execution_name, safe_name
from mwaconvert.archive.layouts import Layout
from mwaconvert.archive.packages import PackageReport
from mwaconvert.archive.products import find
from mwaconvert.archive.texts import read_text
from mwaconvert.errors import FormatError, InputError

#: the name under which a pipeline saves its last flags
FINAL_FLAGS = "Pipeline_Final"

#: without it the tasks look for newer data on the network when they are loaded, and stop where there is none
_OFFLINE = """\
import casadata
measurespath = casadata.datapath
datapath = [casadata.datapath]
measures_auto_update = data_auto_update = False
nologger = True
"""

Call = Mapping[str, object]


def read_calapply(path: Path) -> tuple[dict[str, object], ...]:
    """The calls of ``applycal`` in a file of instructions, as keyword arguments.

    The file is Python; it is parsed and nothing of it is run.

    Raises
    ------
    FormatError
        Anything that is not a call of applycal with plain values, or a table outside the archive of tables.
    """
    try:
        tree = ast.parse(read_text(path))
    except (SyntaxError, ValueError) as error:
        raise FormatError(f"{path}: is not a list of applycal calls: {error}") from None
    return tuple(_call(node, path) for node in tree.body)


def _call(node: ast.stmt, path: Path) -> dict[str, object]:
    where = f"{path}: line {node.lineno}"
    call = node.value if isinstance(node, ast.Expr) else None
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "applycal"):
        raise FormatError(f"{where}: is not a call of applycal")
    if call.args or any(keyword.arg is None for keyword in call.keywords):
        raise FormatError(f"{where}: arguments of applycal must be given by keyword")
    try:
        values = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    except ValueError:
        raise FormatError(f"{where}: arguments of applycal must be plain values") from None
    tables = values.get("gaintable", [])
    for table in [tables] if isinstance(tables, str) else tables:
        try:
            safe_name(Path(str(table)).name)
        except InputError as error:
            raise FormatError(f"{where}: {error}") from None
    return values


def write_calapply(path: Path, calls: Sequence[Call]) -> None:
    """Write instructions as a pipeline does; `read_calapply` reads them back."""
    lines = (
        "applycal(" + ", ".join(f"{key}={value!r}" for key, value in call.items()) + ")\n" for call in calls
    )
    path.write_text("".join(lines))


def pack_folders(folders: Sequence[Path], target: Path) -> Path:
    """Pack folders, as calibration tables or flag versions, into one archive, replaced in one step."""
    part = target.with_name(f".{target.name}.part")
    with tarfile.open(part, "w:gz") as tar:
        for folder in folders:
            tar.add(folder, folder.name)
    return part.replace(target)


@dataclass(frozen=True)
class TaskRestore:
    """One execution block to restore: the set to copy, archives to unpack, calls to make."""

    source: Path
    vis: Path
    flags: Path
    tables: Path
    calls: tuple[dict[str, object], ...]


def plan_restores(report: PackageReport) -> tuple[TaskRestore, ...]:
    """What to do for each execution block of a package that `check_package` found sound.

    Raises
    ------
    FormatError
        A faulty package, or none with a manifest.
    InputError
        Raw data that are not measurement sets: those are restored by the package's own script.
    """
    report.check()
    if report.manifest is None:
        raise FormatError(f"{report.layout.root}: has no manifest; a restore by tasks needs one")
    restores = []
    for session in report.manifest.sessions:
        for execution in session.executions:
            source = report.layout.raw / f"{execution.name}.ms"
            if not (source / "table.dat").is_file():
                raise InputError(
                    f"{source}: is not a measurement set; restore raw data by the script of the package"
                )
            restores.append(
                TaskRestore(
                    source,
                    report.layout.measurement_sets / f"{execution.name}.ms",
                    _one(report.layout, execution.flagversions),
                    _one(report.layout, session.caltables),
                    read_calapply(_one(report.layout, execution.calapply)),
                )
            )
    return tuple(restores)


def _one(layout: Layout, name: str) -> Path:
    found = find(sorted(layout.calibration.iterdir()), name) or find(sorted(layout.root.rglob("*")), name)
    if len(found) != 1:
        raise FormatError(f"{layout.root}: has {len(found)} files {name}; expected one")
    return found[0]


def tasks_run(restores: Sequence[TaskRestore], layout: Layout, python: Path, home: Path) -> CasaRun:
    """The child process that restores by tasks, with CASA's Python; its plan is written beside its logs.

    It stops at the first error and leaves an ``errorexit-*.txt``, as a pipeline does.
    """
    (home / ".casa").mkdir(parents=True, exist_ok=True)
    (home / ".casa" / "config.py").write_text(_OFFLINE)
    layout.measurement_sets.mkdir(parents=True, exist_ok=True)
    layout.working.mkdir(parents=True, exist_ok=True)
    steps = [
        {
            "source": str(r.source),
            "vis": str(r.vis),
            "flags": str(r.flags),
            "tables": str(r.tables),
            "calls": [_placed(call, r.vis.parent, r.vis) for call in r.calls],
        }
        for r in restores
    ]
    plan = home / "restore.json"
    plan.write_text(json.dumps({"working": str(layout.working), "flag_version": FINAL_FLAGS, "steps": steps}))
    program = home / "restore_by_tasks.py"
    program.write_text((resources.files("mwaconvert.archive.casa") / "restore_by_tasks.py").read_text())
    environment = {
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PATH": "/usr/bin:/bin",
        "TZ": "UTC",
        "OMP_NUM_THREADS": "1",
    }
    return CasaRun((str(python), str(program), str(plan)), layout.measurement_sets, environment)


def _placed(call: dict[str, object], folder: Path, vis: Path) -> dict[str, object]:
    """A call with the set and the tables where they lie now; a set may have been renamed between versions."""
    named = execution_name(Path(str(call.get("vis", ""))).name)
    if named and named != execution_name(vis.name):
        raise FormatError(f"the instructions of {vis.name} are for {named}")
    tables = call.get("gaintable", [])
    listed = (
        [tables] if isinstance(tables, str) else list(tables) if isinstance(tables, (list, tuple)) else []
    )
    return {**call, "vis": str(vis), "gaintable": [str(folder / Path(str(table)).name) for table in listed]}
