"""The verb jobs: run the jobs of a file here, and look after jobs of every kind in a store."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mwaconvert.cli.logs import keep_logs
from mwaconvert.cli.verbs import SETTINGS
from mwaconvert.errors import InputError

if TYPE_CHECKING:
    from mwaconvert.jobs.control.store import Store
    from mwaconvert.jobs.control.work import Event, Job
    from mwaconvert.jobs.control.worker import Worker
    from mwaconvert.vocabulary.job_file import JobRow

#: exit codes of the released mwa_client
PARSE_ERROR, JOB_ERRORS = 3, 4
#: the store and the folders of attempts of `jobs run`, in the folder of the products
HOME = ".mwaconvert-jobs"
#: where conversions run
LOCAL, SLURM = "local", "slurm"
_AT_ONCE_HERE, _AT_ONCE_ON_SLURM = 2, 200

_Command = TypeVar("_Command", bound=Callable[..., Any])
_PATH = click.Path(path_type=Path)


def _store_options(command: _Command) -> _Command:
    for option in (
        click.option(
            "-d", "--dir", "folder", type=_PATH, default=Path(), metavar="DIR", help="Folder of the products."
        ),
        click.option(
            "--database",
            metavar="URL",
            envvar="MWACONVERT_DATABASE",
            help="A store elsewhere: a file or postgresql://",
        ),
        click.option("-v", "--verbose", is_flag=True, help="Log lines, and tracebacks of unexpected errors."),
    ):
        command = option(command)
    return command


@contextmanager
def _open_store(folder: Path, database: str | None, *, make: bool = False) -> Iterator[Store]:
    from mwaconvert.extras import need

    need("sqlalchemy", "jobs", "jobs")
    from mwaconvert.jobs.control.store import Store

    if database is None:
        home = folder / HOME
        if make:
            home.mkdir(exist_ok=True)
        elif not (home / "jobs.db").is_file():
            raise InputError(
                f"{folder}: no jobs were run here; name their folder with -d, or a store with --database"
            )
        database = str(home / "jobs.db")
    store = Store(database)
    try:
        yield store
    finally:
        store.close()


@click.group(short_help="Run the jobs of a file, and look after jobs.", context_settings=SETTINGS)
def jobs() -> None:
    """Run the jobs of a file here, and look after jobs of every kind.

    \b
    Examples:
      mwaconvert jobs run jobs.csv --root /data/mwa -d products
          every job of the file, to packages in products
      mwaconvert jobs list -d products
          what became of them
      mwaconvert jobs logs 3 -d products
          what job 3 printed
    """


@jobs.command(context_settings=SETTINGS)
@click.argument("file", type=_PATH, metavar="JOBS.csv")
@click.option("--root", "roots", type=_PATH, multiple=True, metavar="DIR",
              help="Raw data, in DIR/<obsid> and below; may be repeated.")  # fmt: skip
@click.option(
    "--solutions", type=_PATH, metavar="DIR", help="Calibration solutions, for jobs that ask for them."
)
@click.option(
    "-e", "--error-file", "--errfile", type=_PATH, metavar="FILE", help="Write what failed as JSON."
)
@click.option("--on", "runs_on", type=click.Choice([LOCAL, SLURM]), default=LOCAL, show_default=True,
              help="Where conversions run: here, or each as a Slurm batch job.")  # fmt: skip
@click.option("--sbatch", "sbatch_options", multiple=True, metavar="OPTION",
              help="Option of sbatch, such as --partition=work; may be repeated.")  # fmt: skip
@click.option("--at-once", type=click.IntRange(1), metavar="N",
              help="Jobs that run at the same time.  [default: 2, with --on slurm 200]")  # fmt: skip
@click.option("--max-memory", metavar="GIB", help="Of each conversion: 4, 4GB, 512MiB.")
@click.option("--strict", is_flag=True, help="Refuse the layout that the released mwa_client refuses.")
@click.option("-ar", "--allow-resubmit", is_flag=True, help="Run jobs again that are complete.")
@click.option("--dry-run", is_flag=True, help="Check the file, and say what each job needs.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
@_store_options
def run(
    file: Path,
    roots: tuple[Path, ...],
    solutions: Path | None,
    error_file: Path | None,
    runs_on: str,
    sbatch_options: tuple[str, ...],
    at_once: int | None,
    max_memory: str | None,
    strict: bool,
    allow_resubmit: bool,
    dry_run: bool,
    quiet: bool,
    folder: Path,
    database: str | None,
    verbose: bool,
) -> int:
    """Run all jobs of a file, here and now, to packages in a folder.

    The file has a job a line, in cells key=value, as the MWA ASVO's clients take it; a row of any era is understood.
    All of it is checked before anything runs. Interrupted, the same command goes on where it was.

    \b
    Exit codes: 0 all done, 2 cannot be started, 3 the file has errors, 4 jobs failed (see -e).
    """
    del verbose  # seen by main
    from mwaconvert.staging import Kind, check_targets
    from mwaconvert.vocabulary.job_file import JobFileError, read_job_file

    try:
        rows = read_job_file(file, strict=strict)
    except JobFileError as error:
        click.echo(f"mwaconvert: {error}", err=True)
        return PARSE_ERROR
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder for the products; make it first, or give another with -d")
    if error_file is not None:
        check_targets([(error_file, Kind.JOB_ERRORS)], inputs=[file], overwrite=True)
    site = _site(roots or (Path(),), folder, solutions, max_memory)
    if dry_run:
        return _say_needs(rows, site)
    if runs_on == SLURM:
        site = _on_slurm(site, sbatch_options)
    elif sbatch_options:
        raise InputError("--sbatch is for batch jobs; add --on slurm")
    at_once = at_once or (_AT_ONCE_ON_SLURM if runs_on == SLURM else _AT_ONCE_HERE)
    with _open_store(folder, database, make=True) as store:
        errors = _run_rows(store, rows, site, folder, at_once, allow_resubmit=allow_resubmit, quiet=quiet)
    if error_file is not None:
        _write_errors(error_file, errors)
    return JOB_ERRORS if errors else 0


keep_logs(run)


def _needs_text(needed: Any) -> str:
    """What a job needs, as far as it is known: about 3 min, 1.2 GB of memory, 300 MB of output."""
    from mwaconvert.text import about_text, size_text

    parts = [] if needed.time_s is None else [about_text(needed.time_s)]
    parts += [] if needed.memory is None else [f"{size_text(needed.memory)} of memory"]
    parts += [] if needed.output is None else [f"{size_text(needed.output)} of output"]
    return ", ".join(parts)


def _say_needs(rows: Sequence[JobRow], site: Any) -> int:
    """What jobs would do and need; exit code."""
    from mwaconvert.jobs.workflows.submission import admit
    from mwaconvert.text import plural, size_text

    total, unknown, refused = 0, 0, 0
    for row in rows:
        click.echo(f"line {row.line}: {row.kind.name.lower()} of {row.obs_id}: {_said(row.canonical)}")
        try:
            needed = admit(row, site)
        except InputError as error:
            refused += 1
            click.echo(f"mwaconvert: line {row.line}: {error}", err=True)
            continue
        if needed.output is None:
            unknown += 1
            click.echo("  size not known: its raw data are not in the folders of --root, or are damaged")
            continue
        click.echo(f"  {_needs_text(needed)}")
        total += needed.output
    known = len(rows) - unknown - refused
    if known:
        click.echo(f"{plural(known, 'job')} of known size: {size_text(total)} of output")
    return JOB_ERRORS if refused else 0


def _on_slurm(site: Any, options: tuple[str, ...]) -> Any:
    import shutil
    from dataclasses import replace

    from mwaconvert.jobs.control.slurm import Slurm

    if shutil.which("sbatch") is None:
        raise InputError("--on slurm: there is no sbatch on PATH; run where batch jobs are submitted")
    return replace(site, slurm=Slurm(options=options))


def _said(canonical: Any) -> str:
    return ", ".join(
        f"{key}={value}" for key, value in canonical.items() if key != "obs_id" and value is not None
    )


def _site(roots: Sequence[Path], folder: Path, solutions: Path | None, max_memory: str | None) -> Any:
    from dataclasses import replace

    from mwaconvert.jobs.control.work import Limits
    from mwaconvert.jobs.workflows.site import local_site
    from mwaconvert.vocabulary import values

    for root in (*roots, *([solutions] if solutions else [])):
        if not root.is_dir():
            raise InputError(f"{root}: no such folder; see --root and --solutions")
    site = local_site(
        [root.resolve() for root in roots], folder.resolve(), solutions=solutions and solutions.resolve()
    )
    if max_memory is None:
        return site
    try:
        memory = int(values.gibibytes(max_memory) * 2**30)
    except ValueError as error:
        raise InputError(f"--max-memory {max_memory}: {error}") from None
    return replace(site, limits=Limits(memory=memory))


def _run_rows(
    store: Store,
    rows: Sequence[JobRow],
    site: Any,
    folder: Path,
    at_once: int,
    *,
    allow_resubmit: bool,
    quiet: bool,
) -> list[dict[str, Any]]:
    """Submit and run; what failed, as the error file has it."""
    from mwaconvert.jobs.control.inline import InlineEngine
    from mwaconvert.jobs.control.states import State
    from mwaconvert.jobs.control.worker import Worker
    from mwaconvert.jobs.workflows.registry import workflows

    say = _silent if quiet else click.echo
    errors: list[dict[str, Any]] = []
    wanted: dict[int, JobRow] = {}
    for row in rows:
        _submit_row(store, row, site, wanted, errors, say, allow_resubmit=allow_resubmit)
    end_batch = None if site.slurm is None else site.slurm.cancel
    worker = Worker(store, workflows(site), folder / HOME / "work", end_batch=end_batch)
    with InlineEngine(worker, threads=at_once):
        _watch(store, set(wanted), say, worker)
    for job_id, row in wanted.items():
        job = store.job(job_id)
        if job.state is State.COMPLETED:
            for product in store.products(job_id):
                say(f"job {job_id}: {product.path}")
        else:
            errors.append(_error(job_id, row, f"Error: {job.error_text or job.state.words}"))
    return errors


def _silent(_text: str) -> None:
    """Say nothing."""


def _submit_row(
    store: Store,
    row: JobRow,
    site: Any,
    wanted: dict[int, JobRow],
    errors: list[dict[str, Any]],
    say: Callable[[str], None],
    *,
    allow_resubmit: bool,
) -> None:
    from dataclasses import replace

    from mwaconvert.jobs.control.work import DuplicateError
    from mwaconvert.jobs.workflows.submission import submit

    try:
        asked = replace(row, allow_resubmit=row.allow_resubmit or allow_resubmit)
        job_id = submit(store, asked, "local", site=site).id
        say(f"Submitted job: {job_id} (line {row.line}, {row.kind.name.lower()} of {row.obs_id})")
    except DuplicateError as error:
        job_id = error.job_id
        say(f"Skipping line {row.line}: job {job_id} is the same and {store.job(job_id).state}")
    except InputError as error:
        errors.append(_error(None, row, f"Error: {error}"))
        click.echo(f"mwaconvert: line {row.line}: {error}", err=True)
        return
    wanted.setdefault(job_id, row)


def _error(job_id: int | None, row: JobRow, result: str) -> dict[str, Any]:
    return {"job_id": job_id, "obs_id": str(row.obs_id), "result": result}


def _write_errors(path: Path, errors: list[dict[str, Any]]) -> None:
    """The documented form: empty where nothing failed."""
    from mwaconvert.staging import Kind, StagedPath

    with StagedPath(path, True, Kind.JOB_ERRORS) as staged:
        staged.temporary.write_text(json.dumps(errors, indent=4) if errors else "")


def _watch(store: Store, job_ids: set[int], say: Callable[[str], None], worker: Worker | None = None) -> None:
    """Tell what happens to jobs until all have ended or wait for somebody, or the worker cannot go on."""
    from mwaconvert.jobs.control.states import State

    after = 0
    left = {job_id for job_id in job_ids if not store.job(job_id).state.is_terminal}
    while left:
        if worker is not None and worker.trouble is not None:
            raise worker.trouble
        events = store.events(after)
        for event in events:
            after = event.seq
            if event.job_id in job_ids and (line := _event_line(event)):
                say(line)
        left = {i for i in left if not ((state := store.job(i).state).is_terminal or state is State.WAITING)}
        if not events:
            store.wait_for_change(0.2)


def _event_line(event: Event) -> str:
    """What an event says to a person; nothing for what is of no interest."""
    from mwaconvert.jobs.control.states import Happening

    match event.happening:
        case Happening.STEP_STARTED:
            return f"job {event.job_id}: {event.step}"
        case Happening.PROGRESS:
            text = event.data.get("text") or event.step
            return f"job {event.job_id}: {100 * float(event.data.get('fraction', 0)):.0f} %, {text}"
        case Happening.COMPLETED | Happening.CANCELLED | Happening.REQUEUED | Happening.RETRIED:
            return f"job {event.job_id}: {event.happening}"
        case Happening.FAILED:
            return f"job {event.job_id}: failed: {event.data.get('text', '')}"
        case Happening.GATE_OPENED:
            return f"job {event.job_id}: waits for a decision at {event.step}"
    return ""


@jobs.command("list", context_settings=SETTINGS)
@click.option("--state", "states", multiple=True, metavar="STATE", help="Only these; may be repeated.")
@click.option("--kind", metavar="KIND", help="Only jobs of this kind.")
@click.option(
    "--limit", type=click.IntRange(1), default=100, show_default=True, metavar="N", help="At most so many."
)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@_store_options
def list_(
    states: tuple[str, ...],
    kind: str | None,
    limit: int,
    as_json: bool,
    folder: Path,
    database: str | None,
    verbose: bool,
) -> None:
    """Jobs, the newest first."""
    del verbose
    with _open_store(folder, database) as store:
        found = store.jobs(states=[_state(text) for text in states] or None, kind=kind, limit=limit)
    if as_json:
        from mwaconvert.text import json_text

        click.echo(json_text([_facts(job) for job in found]))
        return
    for job in found:
        what = job.name or str(job.canonical.get("obs_id", ""))
        doing = f" ({job.step}, {100 * job.progress:.0f} %)" if job.step and not job.state.is_terminal else ""
        why = f": {job.error_text}" if job.error_text else ""
        click.echo(f"{job.id:>7}  {job.kind:<12} {what:<12} {job.state}{doing}{why}")


def _state(text: str) -> Any:
    from mwaconvert.jobs.control.states import State

    try:
        return State(text.lower())
    except ValueError:
        raise InputError(f"--state {text}: expected one of {', '.join(State)}") from None


def _facts(job: Job) -> dict[str, Any]:
    from mwaconvert.jobs.workflows.cluster import understood

    return asdict(job) | {
        "format": "mwaconvert job state",
        "canonical": understood(job),
        "state": str(job.state),
        "fault": None if job.fault is None else str(job.fault),
    }


@jobs.command(context_settings=SETTINGS)
@click.argument("job_id", type=int, metavar="JOB")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@_store_options
def show(job_id: int, as_json: bool, folder: Path, database: str | None, verbose: bool) -> None:
    """One job: what was asked for, what was done, what came of it."""
    del verbose
    with _open_store(folder, database) as store:
        job, attempts, products = store.job(job_id), store.attempts(job_id), store.products(job_id)
    if as_json:
        from mwaconvert.text import json_text

        steps = [{"step": a.step, "number": a.number, "outcome": str(a.outcome)} for a in attempts]
        click.echo(json_text(_facts(job) | {"attempts": steps, "products": [asdict(p) for p in products]}))
        return
    click.echo(f"job {job.id}: {job.kind} for {job.owner}, {job.state} ({job.state.words})")
    click.echo(f"asked for: {_said(job.given)}")
    if job.error_text:
        click.echo(f"error: {job.error_text}")
    for attempt in attempts:
        took = f", {attempt.ended - attempt.started:.1f} s" if attempt.ended else ""
        click.echo(
            f"  {_utc(attempt.started)}  {attempt.step} {attempt.number}: {attempt.outcome.words}{took}"
        )
    for product in products:
        gone = ", removed" if product.removed else ""
        click.echo(f"  {product.path} ({product.size} bytes{gone}) sha256 {product.sha256 or 'none'}")


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


@jobs.command(context_settings=SETTINGS)
@click.argument("job_ids", type=int, nargs=-1, required=True, metavar="JOB...")
@_store_options
def watch(job_ids: tuple[int, ...], folder: Path, database: str | None, verbose: bool) -> int:
    """Tell what happens to jobs until they end; exit code 4 if one did not complete."""
    del verbose
    from mwaconvert.jobs.control.states import State

    with _open_store(folder, database) as store:
        _watch(store, set(job_ids), click.echo)
        return 0 if all(store.job(i).state is State.COMPLETED for i in job_ids) else JOB_ERRORS


@jobs.command(context_settings=SETTINGS)
@click.argument("job_id", type=int, metavar="JOB")
@click.option("-f", "--follow", is_flag=True, help="Go on as the job prints more.")
@_store_options
def logs(job_id: int, follow: bool, folder: Path, database: str | None, verbose: bool) -> None:
    """What the steps of a job printed."""
    del verbose
    shown: dict[Path, int] = {}
    with _open_store(folder, database) as store:
        while True:
            is_over = store.job(job_id).state.is_terminal
            for attempt in store.attempts(job_id):
                _echo_new(attempt.log_path, f"== {attempt.step} {attempt.number}", shown)
            if not follow or is_over:
                return
            time.sleep(0.5)


def _echo_new(path: Path, title: str, shown: dict[Path, int]) -> None:
    try:
        with path.open("rb") as file:
            file.seek(shown.get(path, 0))
            text = file.read()
    except OSError:
        return  # a step that prints nothing has no log
    if text and path not in shown:
        click.echo(title)
    shown[path] = shown.get(path, 0) + len(text)
    click.echo(text.decode(errors="replace"), nl=False)


@jobs.command(context_settings=SETTINGS)
@click.argument("job_ids", type=int, nargs=-1, required=True, metavar="JOB...")
@_store_options
def cancel(job_ids: tuple[int, ...], folder: Path, database: str | None, verbose: bool) -> None:
    """Cancel jobs: one that waits at once, one that runs as soon as its worker sees it."""
    del verbose
    with _open_store(folder, database) as store:
        for job_id in job_ids:
            job = store.cancel(job_id, _me())
            click.echo(f"job {job_id}: {'cancelled' if job.state.is_terminal else 'will be cancelled'}")


@jobs.command(context_settings=SETTINGS)
@click.argument("job_ids", type=int, nargs=-1, required=True, metavar="JOB...")
@click.option("--from", "step", metavar="STEP", help="Do this step and all that come after it anew.")
@_store_options
def retry(
    job_ids: tuple[int, ...], step: str | None, folder: Path, database: str | None, verbose: bool
) -> None:
    """Queue jobs again that failed, were cancelled or are complete; finished steps are kept.

    `mwaconvert jobs run` of their file, or a worker, carries them out.
    """
    del verbose
    from mwaconvert.jobs.workflows.registry import workflows
    from mwaconvert.jobs.workflows.site import local_site

    kinds = workflows(local_site([], folder))
    with _open_store(folder, database) as store:
        for job_id in job_ids:
            redo = () if step is None else kinds[store.job(job_id).kind].names_from(step)
            store.retry(job_id, _me(), redo)
            click.echo(f"job {job_id}: queued again")


@jobs.command(context_settings=SETTINGS)
@click.option("--keep-days", type=click.FloatRange(0), metavar="DAYS",
              help="Forget jobs that ended so long ago and have no product left.")  # fmt: skip
@_store_options
def gc(keep_days: float | None, folder: Path, database: str | None, verbose: bool) -> None:
    """Remove products that have expired, and forget old jobs."""
    del verbose
    from mwaconvert.jobs.control.upkeep import collect_garbage

    with _open_store(folder, database) as store:
        keep_s = None if keep_days is None else keep_days * 86400
        for line in collect_garbage(store, folder / HOME / "work", keep_s=keep_s):
            click.echo(line)


@jobs.command(context_settings=SETTINGS)
@click.argument("target", type=_PATH, metavar="FILE")
@_store_options
def backup(target: Path, folder: Path, database: str | None, verbose: bool) -> None:
    """Copy the store to a file, while jobs run."""
    del verbose
    from mwaconvert.jobs.control import upkeep

    if target.exists():
        raise InputError(f"{target}: exists already; choose another name")
    with _open_store(folder, database) as store:
        upkeep.backup(store, target)
    click.echo(f"wrote {target}")


@jobs.command(context_settings=SETTINGS)
@click.argument("source", type=_PATH, metavar="FILE")
@click.option(
    "-d", "--dir", "folder", type=_PATH, default=Path(), metavar="DIR", help="Folder of the products."
)
@click.option("--database", metavar="URL", envvar="MWACONVERT_DATABASE", help="A store elsewhere.")
@click.option("-v", "--verbose", is_flag=True, help="Log lines, and tracebacks of unexpected errors.")
def restore(source: Path, folder: Path, database: str | None, verbose: bool) -> None:
    """Make a store of a backup; one that is there already is not touched."""
    del verbose
    from mwaconvert.jobs.control import upkeep

    if database is None:
        (folder / HOME).mkdir(exist_ok=True)
    upkeep.restore(source, database or folder / HOME / "jobs.db")
    click.echo(f"restored from {source}")


def _me() -> str:
    import getpass

    return getpass.getuser()
