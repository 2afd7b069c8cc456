"""The verb archive: processing requests, delivered packages and measurement sets of ALMA and the VLA."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mwaconvert.cli.archive.make import make
from mwaconvert.cli.archive.restore import config_option
from mwaconvert.cli.verbs import SETTINGS, verbose
from mwaconvert.errors import InputError

if TYPE_CHECKING:
    from mwaconvert.archive.requests import Request

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
#: exit codes beside those of all verbs: two files that differ, as diff and cmp have it; what must not be used
DIFFERENT, REFUSED = 1, 2


def _say(line: str) -> None:
    """Print a line; documents of others do not steer the terminal."""
    click.echo("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line))


@click.group(
    short_help="Requests, packages and measurement sets of ALMA and the VLA.", context_settings=SETTINGS
)
def archive() -> None:
    """Look at and check what observatories process: requests (PPR), delivered packages, measurement sets."""


@archive.group(context_settings=SETTINGS)
def ppr() -> None:
    """Pipeline processing requests: what they ask for, and what a pipeline would make of them."""


ppr.add_command(make)


@ppr.command(context_settings=SETTINGS)
@click.argument("file", type=_FILE)
@verbose
def show(file: Path) -> None:
    """Show what a request asks for; it need not be sound."""
    from mwaconvert.archive.requests import problems, read_request

    request = read_request(file).request
    for line in (*_facts(request), *_sessions(request), *_commands(request)):
        _say(line)
    for problem in problems(request):
        _say(f"{'problem':<12}{problem}")


@ppr.command(context_settings=SETTINGS)
@click.argument("first", type=_FILE)
@click.argument("second", type=_FILE)
@verbose
@click.pass_context
def diff(context: click.Context, first: Path, second: Path) -> None:
    """Tell in words what the second request changes; exit code 1 if it changes anything."""
    from mwaconvert.archive.requests import changes, read_request

    told = changes(read_request(first).request, read_request(second).request)
    for sentence in told:
        _say(sentence)
    context.exit(DIFFERENT if told else 0)


@ppr.command(context_settings=SETTINGS)
@click.argument("file", type=_FILE)
@verbose
def check(file: Path) -> None:
    """Refuse a request that a pipeline would misread or stop at, naming each trap."""
    from mwaconvert.archive.requests import check as check_request
    from mwaconvert.archive.requests import read_request

    document = read_request(file)
    check_request(document.request, str(file))
    executions = len(document.request.executions)
    _say(f"{file}: a sound request for {document.request.purpose.value}, {executions} execution blocks")


def _facts(request: Request) -> list[str]:
    structure = request.structure
    return [
        f"{'project':<12}{request.summary.proposal_code}, {request.telescope.name}",
        *([] if structure is None else [f"{'member set':<12}{structure.ous_status}"]),
        f"{'purpose':<12}{request.purpose.value} ({request.title})",
        *(f"{'data':<12}{block.relative_path}" for block in request.blocks),
    ]


def _sessions(request: Request) -> list[str]:
    """Each session with its execution blocks, and those that a pipeline would put elsewhere."""
    from mwaconvert.archive.requests import sessions_as_read
    from mwaconvert.errors import FormatError

    try:
        read = sessions_as_read(request)
    except FormatError:
        read = {}  # told among the problems
    names = {execution.uid: execution.disk_name for execution in request.executions}
    lines = []
    for number, uids in sorted(request.sessions.items()):
        label = f"session_{number}"
        lines.append(f"{label:<12}{', '.join(uids) or 'empty'}")
        for uid in uids:
            other = read.get(names.get(uid, ""), label)
            if other != label:
                lines.append(f"{'':<12}a pipeline puts {uid} into {other}")
    if not request.sessions:
        lines.append(f"{'session_1':<12}{', '.join(names) or 'empty'}")
    return lines


def _commands(request: Request) -> list[str]:
    lines = []
    for number, command in enumerate(request.commands):
        values = ", ".join(f"{keyword}={value}" for keyword, value in command.parameters)
        lines.append(f"{'commands' if number == 0 else '':<12}{command.name}({values})")
    return lines


@archive.command(context_settings=SETTINGS)
@click.argument("first", type=_FOLDER, metavar="A.ms")
@click.argument("second", type=_FOLDER, metavar="B.ms")
@click.option(
    "--rtol", default=0.0, metavar="X", help="Relative tolerance of real and complex numbers.  [default: 0]"
)
@click.option("--atol", default=0.0, metavar="X", help="Absolute tolerance.  [default: 0]")
@click.option("--ignore-flagged", is_flag=True, help="Data that both sets flag may differ.")
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="NAME",
    help="Compare this column of the main table; repeat.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@verbose
@click.pass_context
def compare(
    context: click.Context,
    first: Path,
    second: Path,
    rtol: float,
    atol: float,
    ignore_flagged: bool,
    columns: tuple[str, ...],
    quiet: bool,
) -> None:
    """Compare two measurement sets column by column; exit code 1 if they differ.

    Shapes, keywords, flags, weights and data of all tables; of the history only a note. Rows may be in another order.
    """
    from mwaconvert.archive.compare import Tolerance, compare_measurement_sets
    from mwaconvert.cli.progress import Progress

    tolerance = Tolerance(atol, rtol, ignore_flagged)
    with Progress(enabled=not quiet) as progress:
        found = compare_measurement_sets(
            first, second, tolerance=tolerance, columns=columns, progress=progress
        )
    click.echo(found.to_text())
    context.exit(0 if found.equal else DIFFERENT)


@archive.command(context_settings=SETTINGS)
@config_option
@verbose
def update(config_path: Path) -> None:
    """Look at the archive's metadata again, and tell what changed; delivered sets that are new enter the catalogue."""
    from mwaconvert.cli.archive.restore import owner
    from mwaconvert.jobs.workflows.archives.site import read_site
    from mwaconvert.jobs.workflows.archives.updating import update_pass

    site = read_site(config_path)
    with site.catalog() as catalog:
        found = update_pass(site, catalog, owner())
    for uid, words in found.told.items():
        _say(f"{uid}: {'; '.join(words)}")
    _say(found.words)


@archive.command(context_settings=SETTINGS)
@click.argument("name", metavar="NAME")
@config_option
@verbose
def find(name: str, config_path: Path) -> None:
    """Tell the member sets of a name: uid of a set, scheduling or execution block, name of a delivery or file."""
    from mwaconvert.jobs.workflows.archives.site import read_site

    with read_site(config_path).catalog() as catalog:
        found = catalog.find(name)
        for mous in found:
            _say(f"{mous}  {catalog.project_of(mous)}  {catalog.member(mous).unit.state}")
    if not found:
        raise InputError(f"{name}: no member set of the catalogue has it")


@archive.group(context_settings=SETTINGS)
def package() -> None:
    """Delivered packages and run directories."""


@package.command("check", context_settings=SETTINGS)
@click.argument("folder", type=_FOLDER)
@click.option(
    "--kinds", type=_FILE, metavar="FILE", help="Table of kinds and roles of files; ours by default."
)
@verbose
@click.pass_context
def check_folder(context: click.Context, folder: Path, kinds: Path | None) -> None:
    """Tell what keeps a package from being restored, before CASA starts; exit code 2 if anything does.

    Session names of manifest, request and tables, missing files, archives that are damaged or leave their folder, sizes
    and checksums (by a list SHA256SUMS in the folder).
    """
    from mwaconvert.archive.packages import check_package
    from mwaconvert.archive.products import read_product_table

    report = check_package(folder, table=read_product_table(kinds))
    _say(f"{'package':<12}{folder}: {report.layout.kind.value}, {report.calibrated.value}")
    if report.manifest is not None:
        servers = report.manifest.mpi_servers
        how = f"{servers} MPI servers" if servers else "serial"
        versions = f"CASA {report.manifest.casa_version}, pipeline {report.manifest.pipeline_version}"
        _say(f"{'calibrated':<12}{versions}, {how}")
    for execution, session in report.sessions.items():
        _say(f"{session:<12}{execution}")
    for note in report.notes:
        _say(f"{'note':<12}{note}")
    for fault in report.faults:
        _say(f"{'fault':<12}{fault}")
    _say(f"{'verdict':<12}{'can be restored' if report.restorable else 'must not be restored as it is'}")
    context.exit(0 if report.restorable else REFUSED)
