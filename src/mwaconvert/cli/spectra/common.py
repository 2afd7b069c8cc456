"""What the verbs for filterbanks share: options from the table, requests from words, progress, sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

from mwaconvert.cli.progress import Progress
from mwaconvert.errors import Error, InputError
from mwaconvert.vocabulary.spectra import TABLES, Asked, Spec, Verb, build, in_words, prepare

if TYPE_CHECKING:
    from mwaconvert.transients.products.report import ProductReport
    from mwaconvert.transients.products.requests import SeveralRequest, SpectraRequest

Request = TypeVar("Request", bound="SpectraRequest")
Several = TypeVar("Several", bound="SeveralRequest")


class _Plan(Protocol):
    """What a request comes to."""

    def lines(self) -> dict[str, str] | Sequence[dict[str, str]]:
        """What would be done, by name; of several files for each."""

    def run(self, progress: Progress | None = None) -> ProductReport:
        """Do it."""


class SpectraCommand(click.Command):
    """A verb whose options come from the table."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        from mwaconvert.cli.logs import take_log_words

        own, args = take_log_words(args)
        try:
            args = [*own, *prepare(Verb(str(self.name)), args)]
        except InputError:
            if not ctx.resilient_parsing:  # a shell that completes words has half of them
                raise
        return super().parse_args(ctx, args)


def parameters(verb: Verb) -> list[click.Parameter]:
    """The file or files, and the options of a verb."""
    file = click.Path(readable=False)  # a shell completes names of files there; the library checks them
    params: list[click.Parameter] = [click.Argument(["files"], nargs=-1, metavar="FILE...", type=file)]
    return [*params, *(option(spec) for spec in TABLES[verb])]


def option(spec: Spec) -> click.Option:
    """An option as click knows it; its words are read by the table."""
    names = [name for name in spec.names if not name.startswith("--")] + [spec.canonical, _key(spec)]
    if spec.is_flag:
        return click.Option(names, is_flag=True, help=_help(spec))
    return click.Option(
        names,
        nargs=spec.nargs,
        multiple=spec.listed,
        metavar=spec.metavar,
        required=spec.required,
        help=_help(spec),
    )


def _help(spec: Spec) -> str:
    others = [name for name in spec.names if name.startswith("--") and name != spec.canonical]
    return spec.help + (f" [also {', '.join(others)}]" if others else "")


def _key(spec: Spec) -> str:
    return spec.canonical.lstrip("-").replace("-", "_")


def ask(verb: Verb, params: dict[str, Any]) -> Asked:
    """The request that parsed words make."""
    files: Sequence[str] = params["files"]
    given: dict[Spec, Sequence[Any]] = {}
    for spec in TABLES[verb]:
        value = params[_key(spec)]
        if spec.is_flag:
            given |= {spec: [True]} if value else {}
        elif spec.listed:
            given |= {spec: value} if value else {}
        elif value is not None:
            given[spec] = [value]
    return build(verb, given, files)


@contextmanager
def spoken(verb: Verb) -> Iterator[None]:
    """Sentences of the library, which name fields, with the names of the command line."""
    try:
        yield
    except Error as error:
        error.args = (in_words(verb, str(error)),)
        raise


def carry_out(asked: Asked, request: Request, make_plan: Callable[[Request], _Plan]) -> ProductReport | None:
    """Plan and run; after a dry run, which says what would be done, there is no report."""
    with spoken(asked.verb):
        plan = make_plan(request)
        if asked.dry_run:
            lines = plan.lines()
            for part in [lines] if isinstance(lines, dict) else lines:
                print_lines(part)
            return None
        with Progress(enabled=not asked.quiet) as stages:
            return plan.run(stages)


def each_observation(verb: Verb, request: Several, quiet: bool) -> Iterator[Several]:
    """A request for each observation among several files, named if there are several."""
    from mwaconvert.transients.products.observations import observations

    with spoken(verb):
        asked = observations(request)
    if len(asked) > 1 and not quiet:
        print_notes(verb, [f"these are {len(asked)} observations, each for itself; see `grouping`"])
    for one in asked:
        if len(asked) > 1 and not quiet:
            more = f" and {len(one.continued)} more" if one.continued else ""
            click.echo(f"{one.path}{more}:")
        yield one


def print_lines(lines: dict[str, str]) -> None:
    """Names and values, in two columns."""
    width = max(map(len, lines))
    for name, value in lines.items():
        click.echo(f"{name:<{width}}  {value}")


def print_notes(verb: Verb, notes: Sequence[str]) -> None:
    """What the user should know, beside the output."""
    for note in notes:
        click.echo(f"note: {in_words(verb, note)}", err=True)
