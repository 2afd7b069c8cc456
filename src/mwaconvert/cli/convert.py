"""The verb convert: parse, call the library, print."""

from __future__ import annotations

import shlex
import shutil
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mwaconvert.cli.verbs import SETTINGS
from mwaconvert.errors import Error, InputError, ResourceError
from mwaconvert.vocabulary.arguments import prepare
from mwaconvert.vocabulary.options import GROUPS, TABLE, Spec, in_words, squeeze
from mwaconvert.vocabulary.request import Request, build
from mwaconvert.vocabulary.several import by_observation, check_names

if TYPE_CHECKING:
    from mwaconvert.conversion.plan import Plan
    from mwaconvert.observation.observation import Observation


#: column at which explanations start
_HELP_INDENT = 30


class _ConvertCommand(click.Command):
    """A command whose options come from the table."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            args = prepare(args)
        except InputError:
            if not ctx.resilient_parsing:  # a shell that completes words has half of them
                raise
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return ["OBS.metafits [RAW FILES]... [OPTIONS]"]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        for group, specs in GROUPS.items():
            with formatter.section(group):
                for spec in specs:
                    formatter.write(_help_lines(spec, formatter.width))


def _parameters() -> list[click.Parameter]:
    file = click.Path(readable=False)  # a shell completes names of files there; the library checks them
    params: list[click.Parameter] = [click.Argument(["words"], nargs=-1, type=file)]
    for spec in TABLE:
        names = [*_shown_names(spec), _key(spec)]
        if spec.is_flag:
            params.append(click.Option(names, is_flag=True))
        else:
            kind = file if spec.metavar in ("FILE", "FOLDER") else None
            params.append(
                click.Option(names, nargs=spec.nargs, multiple=True, metavar=spec.metavar, type=kind)
            )
    return params


def _help_lines(spec: Spec, width: int) -> str:
    """An option and its explanation; unlike click, names are not broken at their dashes."""
    shown = _shown_names(spec)
    others = [name for name in spec.names if name not in shown]
    text = spec.help + (f" [also {', '.join(others)}]" if others else "")
    head = f"  {' '.join([', '.join(shown), spec.metavar]).strip():<{_HELP_INDENT - 4}}  "
    blank = " " * _HELP_INDENT
    lines = textwrap.wrap(text, width, initial_indent=blank, subsequent_indent=blank, break_on_hyphens=False)
    return "\n".join([head + lines[0][_HELP_INDENT:], *lines[1:], ""])


def _shown_names(spec: Spec) -> list[str]:
    return [name for name in spec.names if not name.startswith("--")] + [spec.canonical]


def _key(spec: Spec) -> str:
    return squeeze(spec.canonical)


@click.command(
    cls=_ConvertCommand,
    params=_parameters(),
    short_help="Raw files to uvfits and measurement sets (the default verb).",
    context_settings=SETTINGS,
)
def convert(words: tuple[str, ...], **params: Any) -> None:
    """Convert raw visibilities to uvfits files and measurement sets.

    Raw files are searched beside the metafits file unless they are given. Several observations are converted one
    after the other: OBS1.metafits OBS2.metafits -o '{obsid}.ms', or @FILE with one a line. Times are in seconds,
    frequencies in kHz, unless a unit follows the number. Dashes inside names may be left out: --norfi is --no-rfi.
    """
    given = {}
    for spec in TABLE:
        value = params[_key(spec)]
        if value:
            given[spec] = (True,) if spec.is_flag else value
    notes: tuple[str, ...] = ()
    if not params["nodefaults"]:
        from mwaconvert.vocabulary.defaults import with_defaults

        given, notes = with_defaults(given)
    named = any(spec.sets == "metafits" for spec in given)
    requests = [build(given, group) for group in ([list(words)] if named else by_observation(words))]
    requests = [replace(request, notes=(*request.notes, *notes)) for request in requests]
    request = requests[0]
    if len(requests) > 1:
        check_names(request.outputs, (request.report, request.qa))
    from mwaconvert.cli.logs import logged

    keep = logged(
        verbose=request.verbose, quiet=request.quiet, lines=request.log_file, json_lines=request.log_json
    )
    with keep:
        _run_all(requests)


def _run_all(requests: list[Request]) -> None:
    """One after the other; of several, those that fail do not keep the others from being converted."""
    from mwaconvert.cli.unpacked import unpacked

    failed = 0
    for request in requests:
        try:
            with _as_typed(request), unpacked(request) as ready:
                _run(ready)
        except Error as error:
            if len(requests) == 1:
                raise
            failed += 1
            click.echo(f"mwaconvert: {in_words(str(error))}", err=True)
    if failed:
        raise ResourceError(f"{failed} of {len(requests)} observations could not be converted")


def _run(request: Request) -> None:
    from mwaconvert.observation.trial import begin_trial

    begin_trial(request.metafits)  # what follows is loaded meanwhile

    import mwaconvert
    from mwaconvert.cli.progress import Progress
    from mwaconvert.conversion.options import make_options
    from mwaconvert.conversion.outputs import all_exist, check_outputs
    from mwaconvert.conversion.planner import make_plan

    overwrite = bool(request.options.get("overwrite", False))
    observation = _as_scheduled(request) or mwaconvert.open(request.metafits, request.files or None)
    metadata = observation.metadata
    options = make_options(request.resolve(metadata, observation.provided_coarse))
    plan = make_plan(observation, options, command_line())
    outputs, request = request.output_paths(metadata.obsid), request.of(metadata.obsid)
    if request.skip_existing and all_exist(plan, outputs):
        if not request.quiet:
            click.echo(f"{metadata.obsid}: skipped, {', '.join(map(str, outputs))} exists")
        return
    if request.dry_run:
        _dry_run(request, plan, outputs)
        return
    check_outputs(plan, outputs, qa=request.qa, report=request.report)  # better now than after the work
    with Progress(enabled=request.progress and not request.quiet) as progress:
        report = plan.run(outputs, qa=request.qa, progress=progress)
    report = replace(report, notes=(*report.notes, *request.notes))
    if request.report is not None:
        report.write_json(request.report, overwrite=overwrite)
    if not request.quiet:
        click.echo(in_words(report.to_text(text_width())))


def _as_scheduled(request: Request) -> Observation | None:
    """The observation that a metafits alone promises, where only a plan of it is wanted; None if there are files."""
    if not request.dry_run or request.files:
        return None
    from mwaconvert.observation.metafits import read_metadata
    from mwaconvert.observation.observation import scheduled_observation
    from mwaconvert.observation.rawfiles import find_raw_files

    metadata = read_metadata(request.metafits)
    try:
        find_raw_files(metadata.path, metadata.obsid)
    except InputError:
        if request.options.get("flag_bad_tiles") or request.options.get("van_vleck"):
            raise  # these look at the data
        return scheduled_observation(metadata.path)
    return None


def _dry_run(request: Request, plan: Plan, outputs: list[Path]) -> None:
    from mwaconvert.conversion.outputs import check_outputs
    from mwaconvert.conversion.report.describe import description_text
    from mwaconvert.staging import write_json

    text = description_text(plan, outputs, request.notes, text_width(), request.qa)
    if not request.quiet:
        click.echo(in_words(text))
    check_outputs(plan, outputs, qa=request.qa, report=request.report)  # what would be refused is refused now
    if request.report is not None:
        facts = plan.describe(outputs, request.qa)
        facts["notes"] += request.notes
        write_json(request.report, facts, overwrite=plan.options.overwrite)


def text_width() -> int:
    """Width for reports: of the terminal, within reason."""
    return min(110, max(60, shutil.get_terminal_size((110, 24)).columns))


def command_line() -> str:
    """This command as typed, quoted for a shell; bytes of names that are not text are shown as �."""
    typed = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    return typed.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


@contextmanager
def _as_typed(request: Request) -> Iterator[None]:
    """The library knows one limit of the memory: add how it was given."""
    try:
        yield
    except (InputError, ResourceError) as error:
        if request.memory and error.option == "max_memory_gib":
            error.args = (f"{error}; `max_memory_gib` follows from {request.memory}",)
        raise
