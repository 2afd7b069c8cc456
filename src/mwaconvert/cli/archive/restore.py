"""The verb restore: calibrated measurement sets of a member set or a delivered package, in one command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mwaconvert.cli.verbs import SETTINGS
from mwaconvert.errors import InputError

if TYPE_CHECKING:
    from mwaconvert.archive.casa import CasaVersion
    from mwaconvert.jobs.control.store import Store
    from mwaconvert.jobs.control.work import Job, Request
    from mwaconvert.jobs.workflows.archives.site import ArchiveSite

_PATH = click.Path(path_type=Path)
#: names the configuration of a site
SITE_VARIABLE = "MWACONVERT_ARCHIVE"
_LAYOUTS = ("delivery", "request", "run")
#: of verbs that cannot do without
config_option = click.option("--config", "config_path", type=_PATH, envvar=SITE_VARIABLE, required=True, metavar="FILE",
                             help=f"Configuration of the site; also by {SITE_VARIABLE}.")  # fmt: skip


@click.command(
    short_help="Restore a member set of ALMA, or a delivered package.",
    context_settings=SETTINGS,
)
@click.argument("what", metavar="MOUS_UID|PACKAGE")
@click.option("-d", "--dir", "folder", type=_PATH, default=Path(), metavar="DIR",
              help="Where the restored tree appears.  [default: here]")  # fmt: skip
@click.option("--casa", "casas", multiple=True, metavar="[VERSION=]PATH",
              help="An installation of CASA, or a Python that has casatasks; repeat.")  # fmt: skip
@click.option("--store", "stores", multiple=True, metavar="ADDRESS",
              help="Where files are: a folder, ngas://, s3://, https://; repeat.")  # fmt: skip
@click.option("--metadata", metavar="URL", envvar="MWACONVERT_METADATA",
              help="Database with the archive's metadata tables; it is only read.")  # fmt: skip
@click.option("--layout", type=click.Choice(_LAYOUTS), default="delivery", show_default=True,
              help="Tree to make.")  # fmt: skip
@click.option("--calibrated-with", default="", metavar="VERSION",
              help="CASA of the calibration, where no manifest tells it.")  # fmt: skip
@click.option("--mpi-servers", type=click.IntRange(0), default=0, metavar="N", help="Run CASA on several.")
@click.option("--reference", type=_PATH, metavar="DIR",
              help="Measurement sets that the restored ones must equal.")  # fmt: skip
@click.option("--config", "config_path", type=_PATH, envvar=SITE_VARIABLE, metavar="FILE",
              help=f"Configuration of a site, in place of the options above; also by {SITE_VARIABLE}.")  # fmt: skip
@click.option("--submit", is_flag=True, help="With --config: leave it to the workers of the site.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
@click.option("-v", "--verbose", is_flag=True, help="Tracebacks of unexpected errors.")
def restore(
    what: str,
    folder: Path,
    casas: tuple[str, ...],
    stores: tuple[str, ...],
    metadata: str | None,
    layout: str,
    calibrated_with: str,
    mpi_servers: int,
    reference: Path | None,
    config_path: Path | None,
    submit: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Restore calibrated measurement sets: resolve, fetch, check, run CASA, judge, hand out.

    A command that was killed goes on where it was when it is given again.

    \b
    Examples:
      mwaconvert restore member.uid___A001_X1284_X266 --casa /opt/casa-6.5.4-9-pipeline-2023.1.0.124
          a delivered package, where it is
      mwaconvert restore uid://A001/X1284/X266 --config archive.toml
          a member set of the archive of a site
    """
    del verbose
    from mwaconvert.archive.layouts import LayoutKind
    from mwaconvert.extras import need

    need("sqlalchemy", "archive", "restore")
    from mwaconvert.jobs.workflows.archives.restore import restore_request
    from mwaconvert.jobs.workflows.archives.site import local_site, read_site

    if submit and config_path is None:
        raise InputError("--submit leaves the restore to a site; name its configuration with --config")
    if config_path is not None:
        site = read_site(config_path)
    else:
        if not folder.is_dir():
            raise InputError(f"{folder}: is not a folder; make it first, or name another with -d")
        site = local_site(folder.resolve(), stores, _casas(casas), metadata)
        site.work.parent.mkdir(exist_ok=True)
    request = restore_request(
        what,
        owner(),
        layout=LayoutKind[layout.upper()],
        calibrated_with=calibrated_with,
        mpi_servers=mpi_servers,
        reference=reference,
    )
    with jobs_of(site) as store:
        job = _do(site, store, request, submit, quiet)
    if not quiet:
        click.echo(job)


def _do(site: ArchiveSite, store: Store, request: Request, submit: bool, quiet: bool) -> str:
    from mwaconvert.jobs.control.states import State
    from mwaconvert.jobs.workflows.archives.restore import submit_or_resume

    job = submit_or_resume(store, request)
    if submit:
        return f"job {job.id}"
    if job.state is State.QUEUED or job.state is State.RUNNING:
        job = here(site, store, job, quiet)
    if job.state is not State.COMPLETED:
        raise InputError(job.error_text or f"the restore is {job.state}")
    (product,) = store.products(job.id)
    return product.path


def _casas(given: tuple[str, ...]) -> dict[CasaVersion, Path]:
    """Installations by version, which stands before the path or in it."""
    from mwaconvert.archive.casa import CasaVersion

    found = {}
    for text in given:
        name, equals, path = text.rpartition("=")
        if not Path(path).exists():
            raise InputError(f"--casa {text}: {path} is not there")
        try:
            version = CasaVersion.parse(name if equals else Path(path).name)
        except InputError:
            raise InputError(f"--casa {text}: put the version before it, as in 6.5.4-9={path}") from None
        found[version] = Path(path).resolve()
    return found


def owner() -> str:
    """Who acts: the name of the user on this machine."""
    import getpass

    return getpass.getuser()


@contextmanager
def jobs_of(site: ArchiveSite) -> Iterator[Store]:
    """The store of jobs of a site."""
    from mwaconvert.jobs.control.store import Store

    store = Store(site.database)
    try:
        yield store
    finally:
        store.close()


def here(site: ArchiveSite, store: Store, job: Job, quiet: bool) -> Job:
    """Carry a job on in this process, telling its steps."""
    import threading

    from mwaconvert.jobs.control.events import follow
    from mwaconvert.jobs.control.states import Happening
    from mwaconvert.jobs.workflows.archives.running import carry_on

    stopping, after = threading.Event(), store.last_seq()

    def tell() -> None:
        for event in follow(store, after, job_id=job.id, stopping=stopping):
            if event.happening is Happening.STEP_STARTED and not quiet:
                click.echo(f"{event.step} ...", err=True)

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        carry_on(site, store, [job.id])
    finally:
        stopping.set()
        teller.join()
    return store.job(job.id)
