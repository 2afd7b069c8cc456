"""The verb srdp: science-ready products of VLA and ALMA, from the run of a pipeline to the archive."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mwaconvert.cli.archive.restore import config_option, here, jobs_of, owner
from mwaconvert.cli.verbs import SETTINGS, verbose
from mwaconvert.errors import InputError

if TYPE_CHECKING:
    from mwaconvert.archive.catalog import Catalog
    from mwaconvert.jobs.control.store import Store
    from mwaconvert.jobs.control.work import Job
    from mwaconvert.jobs.workflows.archives.asking import Answer
    from mwaconvert.jobs.workflows.archives.site import ArchiveSite

_PATH = click.Path(path_type=Path)
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_Command = TypeVar("_Command", bound=Callable[..., Any])


def _common(command: _Command) -> _Command:
    for option in (
        config_option,
        click.option("--why", default="", metavar="TEXT", help="The reason, for the audit trail."),
        verbose,
    ):
        command = option(command)
    return command


def _here(command: _Command) -> _Command:
    return click.option(
        "--here", "is_here", is_flag=True, help="Do the work in this process; else a worker of the site does."
    )(command)


@contextmanager
def _open(config_path: Path) -> Iterator[tuple[ArchiveSite, Store, Catalog]]:
    from mwaconvert.extras import need

    need("sqlalchemy", "archive", "srdp")
    from mwaconvert.jobs.workflows.archives.site import read_site

    site = read_site(config_path)
    with jobs_of(site) as store, site.catalog() as catalog:
        yield site, store, catalog


def _end(site: ArchiveSite, store: Store, job: Job, is_here: bool) -> None:
    """Tell the run and its state, once it waits or has ended if the work is done here."""
    from mwaconvert.jobs.control.states import State

    if is_here:
        job = here(site, store, job, quiet=False)
        _post(site, store)
    if job.state is State.FAILED:
        raise InputError(f"{job.name or f'job {job.id}'}: {job.error_text}")
    at = f" at {job.step}" if job.state is State.WAITING else ""
    click.echo(f"{job.name or f'job {job.id}'} {job.state}{at}")


def _post(site: ArchiveSite, store: Store) -> None:
    """Send the mail that waits, if the site has a server for it."""
    import os
    import socket

    from mwaconvert.jobs.workflows.archives.running import send_mail

    if site.mail is not None:
        send_mail(site, store, f"{socket.gethostname()}-mail-{os.getpid()}")


@click.group(short_help="Science-ready products: runs, quality assurance, ingest.", context_settings=SETTINGS)
def srdp() -> None:
    """Science-ready products of VLA and ALMA: runs of a pipeline, quality assurance, ingest, cleanup.

    \b
    Examples:
      mwaconvert srdp calibrate 13A-537.sb24066356.eb24324502.56514.05971091435 --here
          fetch, calibrate, and wait for quality assurance
      mwaconvert srdp rerun RUN --ppr PPR.xml --flag-template flagtemplate.txt
          the same with what an analyst edited
      mwaconvert srdp qa-pass RUN --notes qa_notes.html --why "all is well"
          notes into the weblog, products into the archive
    """


@srdp.command(context_settings=SETTINGS)
@click.argument("target", metavar="SDM|MOUS_UID")
@click.option("--mpi-servers", type=click.IntRange(0), default=0, metavar="N", help="Run CASA on several.")
@click.option("--automatic", is_flag=True, help="It was ingested just now: do nothing if it was calibrated.")
@_here
@_common
def calibrate(
    target: str, mpi_servers: int, automatic: bool, is_here: bool, config_path: Path, why: str
) -> None:
    """Calibrate an execution block of the VLA or a member set of ALMA."""
    from mwaconvert.jobs.workflows.archives.asking import Purpose, ask_run, observation_ingested

    with _open(config_path) as (site, store, catalog):
        if automatic:
            job = observation_ingested(store, catalog, target, owner())
        else:
            job = ask_run(
                store, catalog, target, Purpose.CALIBRATE, owner(), reason=why, mpi_servers=mpi_servers
            )
        _end(site, store, job, is_here)


@srdp.command(context_settings=SETTINGS)
@click.argument("target", metavar="MOUS_UID")
@click.option("--mpi-servers", type=click.IntRange(0), default=0, metavar="N", help="Run CASA on several.")
@_here
@_common
def image(target: str, mpi_servers: int, is_here: bool, config_path: Path, why: str) -> None:
    """Make images of a member set of ALMA from its archived calibration."""
    from mwaconvert.jobs.workflows.archives.asking import Purpose, ask_run

    with _open(config_path) as (site, store, catalog):
        job = ask_run(store, catalog, target, Purpose.IMAGE, owner(), reason=why, mpi_servers=mpi_servers)
        _end(site, store, job, is_here)


@srdp.command(context_settings=SETTINGS)
@click.argument("run", metavar="RUN")
@click.option("--ppr", type=_FILE, metavar="FILE", help="Edited request; it survives byte for byte.")
@click.option("--flag-template", "templates", type=_FILE, multiple=True, metavar="FILE",
              help="*flagtemplate.txt, *flagtsystemplate.txt or *flagtargetstemplate.txt; repeat.")  # fmt: skip
@click.option("--flux", type=_FILE, metavar="FILE", help="Edited flux.csv.")
@click.option("--cont", type=_FILE, metavar="FILE", help="Edited cont.dat.")
@click.option(
    "--in-place", is_flag=True, help="In the folder of the run; the old working folder gets a number."
)
@_here
@_common
def rerun(
    run: str,
    ppr: Path | None,
    templates: tuple[Path, ...],
    flux: Path | None,
    cont: Path | None,
    in_place: bool,
    is_here: bool,
    config_path: Path,
    why: str,
) -> None:
    """Run again with what an analyst edited; files that are not given are those of the run before."""
    from mwaconvert.archive.reruns import Edits
    from mwaconvert.jobs.workflows.archives.asking import ask_rerun

    edits = Edits(ppr, templates, flux, cont)
    with _open(config_path) as (site, store, catalog):
        job = ask_rerun(site, store, catalog, run, edits, owner(), in_place=in_place, reason=why)
        _end(site, store, job, is_here)


_notes = click.option("--notes", type=_FILE, metavar="FILE", help="Notes of quality assurance, text or HTML.")
_templates = click.option(
    "--flag-template",
    "templates",
    type=_FILE,
    multiple=True,
    metavar="FILE",
    help="Archived with it; repeat.",
)


@srdp.command("qa-pass", context_settings=SETTINGS)
@click.argument("run", metavar="RUN")
@_notes
@_templates
@_here
@_common
def qa_pass(
    run: str, notes: Path | None, templates: tuple[Path, ...], is_here: bool, config_path: Path, why: str
) -> None:
    """Accept a run: notes into its weblog, products into the archive, then Calibrated."""
    from mwaconvert.jobs.workflows.archives.asking import Answer

    _answer(run, Answer.PASS, notes, templates, is_here, config_path, why)


@srdp.command("qa-fail", context_settings=SETTINGS)
@click.argument("run", metavar="RUN")
@_notes
@_here
@_common
def qa_fail(run: str, notes: Path | None, is_here: bool, config_path: Path, why: str) -> None:
    """Refuse a run: Do Not Calibrate, and its folder is removed."""
    from mwaconvert.jobs.workflows.archives.asking import Answer

    _answer(run, Answer.FAIL, notes, (), is_here, config_path, why)


def _answer(
    run: str,
    answer: Answer,
    notes: Path | None,
    templates: tuple[Path, ...],
    is_here: bool,
    config_path: Path,
    why: str,
) -> None:
    from mwaconvert.archive.texts import read_text
    from mwaconvert.jobs.workflows.archives.asking import decide

    text = "" if notes is None else read_text(notes)
    with _open(config_path) as (site, store, catalog):
        job = decide(site, store, catalog, run, answer, owner(), reason=why, text=text, templates=templates)
        _end(site, store, job, is_here)


@srdp.command(context_settings=SETTINGS)
@click.argument("run", metavar="RUN")
@click.option("--report", type=_FILE, metavar="FILE", help="QA report of images, which goes into the weblog.")
@_templates
@_here
@_common
def ingest(
    run: str, report: Path | None, templates: tuple[Path, ...], is_here: bool, config_path: Path, why: str
) -> None:
    """Put a run into the archive: one that waits passes, of one whose ingest failed it is tried again."""
    from mwaconvert.jobs.control.states import State
    from mwaconvert.jobs.workflows.archives.asking import Answer, ask_ingest, job_of

    with _open(config_path) as (site, store, catalog):
        waits = job_of(store, run).state is State.WAITING
        if not waits:
            _end(site, store, ask_ingest(store, catalog, run, owner(), why), is_here)
    if waits:
        _answer(run, Answer.PASS, report, templates, is_here, config_path, why)


@srdp.command(context_settings=SETTINGS)
@click.argument("run", metavar="RUN")
@click.option("-d", "--dir", "folder", type=_PATH, default=Path(), metavar="DIR",
              help="Where a folder of the run's name appears.  [default: here]")  # fmt: skip
@_common
def fetch(run: str, folder: Path, config_path: Path, why: str) -> None:
    """Copy the calibrated measurement sets of a run that passed, as long as the cache has them."""
    from mwaconvert.jobs.workflows.archives.cached import hand_out_cached

    with _open(config_path) as (site, _, catalog):
        click.echo(hand_out_cached(site, catalog, run, folder.resolve(), owner(), why))


@srdp.command(context_settings=SETTINGS)
@click.argument("run", metavar="RUN")
@_common
def cleanup(run: str, config_path: Path, why: str) -> None:
    """Remove the folder of a run, once each product is read back from the archive."""
    from mwaconvert.jobs.control.states import State
    from mwaconvert.jobs.workflows.archives.cleaning import cleanup_request

    with _open(config_path) as (site, store, catalog):
        catalog.run(run)
        job = store.submit(cleanup_request(run, owner(), why), allow_resubmit=True)
        job = here(site, store, job, quiet=True)
        if job.state is not State.COMPLETED:
            raise InputError(job.error_text or f"the cleanup is {job.state}")
        removed = (store.attempts(job.id)[-1].result or {}).get("removed")
    click.echo(f"{run}: {'removed' if removed else 'was gone already'}")


@srdp.command(context_settings=SETTINGS)
@click.option("--switch", type=click.Choice(["live", "test"]), help="Whether mail goes out at all.")
@click.option("--again", metavar="KEY", help="Let a message go out that did not.")
@_common
def notify(switch: str | None, again: str | None, config_path: Path, why: str) -> None:
    """Send the mail that waits, each once, and tell what did not go out."""
    from mwaconvert.jobs.control.states import Sending, Switch
    from mwaconvert.jobs.delivery.mail import KIND

    with _open(config_path) as (site, store, _):
        if switch is not None:
            store.set_switch(Switch(switch), owner(), why)
        if again is not None:
            store.resend(again, owner())
        if site.mail is None:
            raise InputError(f"{config_path}: has no [mail] with a host; nothing was sent")
        _post(site, store)
        for message in store.messages(limit=100_000):
            if message.kind == KIND and message.state is not Sending.SENT:
                to, subject = message.payload["to"], message.payload["subject"]
                click.echo(
                    f"{message.key}  {to}  {subject}: {message.state.words} {message.answer or ''}".rstrip()
                )


@srdp.command(context_settings=SETTINGS)
@click.argument("run", required=False, metavar="[RUN]")
@click.option("--here", "is_here", is_flag=True, help="Carry on what is queued, as after a crash.")
@_common
def status(run: str | None, is_here: bool, config_path: Path, why: str) -> None:
    """Runs and their states; of one run all that happened."""
    del why
    from mwaconvert.jobs.workflows.archives.running import carry_on

    with _open(config_path) as (site, store, catalog):
        if is_here:
            carry_on(site, store)
            _post(site, store)
        if run is not None:
            _show(store, catalog, run)
            return
        for job in store.jobs(limit=None):
            if job.name is not None and "run" in job.canonical:
                at = f" at {job.step}" if job.step else ""
                click.echo(f"{job.name:<60} {job.state}{at}")


def _show(store: Store, catalog: Catalog, run: str) -> None:
    from mwaconvert.jobs.workflows.archives.asking import job_of

    job = job_of(store, run)
    state = catalog.state(job.canonical["target"])
    lines = {
        "run": run,
        "target": job.canonical["target"],
        "job": f"{job.id}, {job.state}" + (f" at {job.step}" if job.step else ""),
        "calibration": state.calibration.value or "unset",
        "SRDP": state.srdp.value or "Null",
        "error": job.error_text,
    }
    for name, value in lines.items():
        if value:
            click.echo(f"{name:<12}{value}")
    for entry in reversed(catalog.trail(run)):
        words = "  ".join(filter(None, (entry.detail, entry.reason)))
        click.echo(f"{entry.at:%Y-%m-%d %H:%M:%S}  {entry.actor}  {entry.action.words}  {words}".rstrip())


@srdp.command(context_settings=SETTINGS)
@click.option("--dry-run", is_flag=True, help="Tell what would be removed, and remove nothing.")
@_common
def expire(dry_run: bool, config_path: Path, why: str) -> None:
    """Remove what is older than the retention file keeps; the QA area never ages."""
    del why
    from mwaconvert.jobs.workflows.archives.retaining import expire_pass

    with _open(config_path) as (site, store, catalog):
        for item in expire_pass(site, store, catalog, owner(), dry_run=dry_run):
            click.echo(f"{item.area:<12}{item.path.name}  unchanged since {item.last_change:%Y-%m-%d}")
