"""Subcommands of the verb frb that fill and ask the catalogue."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mwaconvert.cli.service.serve import CONFIG_VARIABLE
from mwaconvert.cli.verbs import SETTINGS, verbose
from mwaconvert.errors import InputError

if TYPE_CHECKING:
    from mwaconvert.frb.catalogue.catalogue import Catalogue

_EVENT_COLUMNS = ("id", "recorded", "dm", "snr", "ra", "dec", "event_type", "source")
_SOURCE_COLUMNS = ("name", "type", "ra", "dec", "dm", "candidate_id")
_CANDIDATE_COLUMNS = ("id", "source", "events")
_VERIFICATION_COLUMNS = ("event_id", "classification", "user", "baseband_data", "intensity_data", "votes")


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Where the catalogue is."""
    options = (
        click.option(
            "--database",
            metavar="URL",
            envvar="MWACONVERT_DATABASE",
            help="A file (SQLite) or postgresql://..., that of a service; also by MWACONVERT_DATABASE.",
        ),
        click.option(
            "--config",
            "config_path",
            type=click.Path(path_type=Path),
            envvar=CONFIG_VARIABLE,
            metavar="FILE",
            help=f"The configuration of a service, which names the database; also by {CONFIG_VARIABLE}.",
        ),
        verbose,
    )
    for option in reversed(options):
        command = option(command)
    return command


def _asking(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of what lists."""
    of_format = click.option(
        "--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True
    )
    return of_format(_options(command))


@contextmanager
def _catalogue(database: str | None, config_path: Path | None) -> Iterator[Catalogue]:
    from mwaconvert.extras import need

    need("sqlalchemy", "jobs", "the catalogue")
    from mwaconvert.frb.catalogue.catalogue import Catalogue
    from mwaconvert.jobs.control.store import Store

    if database is None:
        if config_path is None:
            raise InputError(
                "name the database of the catalogue with --database, or a configuration with --config"
            )
        from mwaconvert.services.config import read_config

        database = read_config(config_path).database
    store = Store(database)
    try:
        yield Catalogue(store.engine)
    finally:
        store.close()


@click.command(context_settings=SETTINGS, short_help="Fill the catalogue from files.")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@_options
def load(paths: tuple[Path, ...], database: str | None, config_path: Path | None) -> None:
    """Take files in: the public catalogue (JSON, then CSV), events as JSON, tables with a column event_id.

    Each file is taken in as a whole or not at all. What is loaded again takes the place of what it was.
    """
    from mwaconvert.frb.catalogue.files import read_holdings
    from mwaconvert.text import plural

    with _catalogue(database, config_path) as catalogue:
        for path in paths:
            names = catalogue.numbers_by_name()
            found = read_holdings(path, names.get)
            catalogue.load(found)
            repeaters = sum(source.type.value == "FRB_REPEATER" for source in found.sources)
            what = [
                plural(len(found.events), "event"),
                plural(len(found.sources), "source")
                + (f" ({plural(repeaters, 'repeater')})" if repeaters else ""),
                plural(len(found.votes), "classification"),
            ]
            if found.measured:
                what = [f"measurements of {plural(len(found.measured), 'event')}"]
            click.echo(f"{path}: {', '.join(what)}")
            for line in found.left_out:
                click.echo(f"{path}: {line}", err=True)


@click.command(context_settings=SETTINGS, short_help="Events by what was measured.")
@click.option("--dm", nargs=2, type=float, metavar="LOW HIGH", help="pc/cm3")
@click.option("--snr", nargs=2, type=float, metavar="LOW HIGH")
@click.option("--ra", nargs=2, type=float, metavar="LOW HIGH", help="degrees")
@click.option("--dec", nargs=2, type=float, metavar="LOW HIGH", help="degrees")
@click.option("--since", default="", metavar="TIME", help="UTC: 2018-07-25, or with a time behind a blank.")
@click.option("--until", default="", metavar="TIME", help="UTC, not counted in.")
@click.option("--source", default="", metavar="NAME", help="In the TNS, or an earlier one.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="So many at most.")
@_asking
def events(
    since: str,
    until: str,
    source: str,
    limit: int | None,
    database: str | None,
    config_path: Path | None,
    form: str,
    **ranges: tuple[float, float] | None,
) -> None:
    """List events in the order of their times."""
    from mwaconvert.frb.catalogue.catalogue import Range

    wanted = {name: Range(*bounds) for name, bounds in ranges.items() if bounds is not None}
    with _catalogue(database, config_path) as catalogue:
        found = catalogue.find_events(ranges=wanted, since=since, until=until, source=source, limit=limit)
    _print(found, _EVENT_COLUMNS, form)


@click.command(context_settings=SETTINGS, short_help="Sources by type or name.")
@click.argument("name", required=False)
@click.option("--type", "kind", metavar="TYPE", help="FRB, FRB_REPEATER, PULSAR, STEADY or RRAT.")
@_asking
def sources(
    name: str | None, kind: str | None, database: str | None, config_path: Path | None, form: str
) -> None:
    """List sources."""
    from mwaconvert.frb.catalogue.model import SourceType

    try:
        wanted = None if kind is None else SourceType(kind.upper())
    except ValueError:
        raise InputError(f"--type {kind}: choose from {', '.join(SourceType)}") from None
    with _catalogue(database, config_path) as catalogue:
        found = catalogue.sources(wanted) if name is None else [catalogue.source(name)]
    _print(found, _SOURCE_COLUMNS, form)


@click.command(context_settings=SETTINGS, short_help="Candidates and their events.")
@_asking
def candidates(database: str | None, config_path: Path | None, form: str) -> None:
    """List candidates."""
    with _catalogue(database, config_path) as catalogue:
        _print(catalogue.candidates(), _CANDIDATE_COLUMNS, form)


@click.command(context_settings=SETTINGS, short_help="What people call events.")
@click.argument("kind", required=False, metavar="[CLASSIFICATION]")
@click.option("--strict", is_flag=True, help="By what is not contested, not by the last vote.")
@_asking
def verifications(
    kind: str | None, strict: bool, database: str | None, config_path: Path | None, form: str
) -> None:
    """List verifications: all, or those of a classification such as "KNOWN CANDIDATE"."""
    from mwaconvert.frb.catalogue.model import classification

    with _catalogue(database, config_path) as catalogue:
        found = catalogue.verifications(None if kind is None else classification(kind), strict=strict)
    if form == "json":
        _print(found, (), form)
        return
    rows = [
        {
            "event_id": record["event_id"],
            **(record["user_verification"][-1] if record["user_verification"] else {}),
            **record["data_status"],
            "votes": len(record["user_verification"]),
        }
        for record in found
    ]
    _print(rows, _VERIFICATION_COLUMNS, form)


def _print(rows: Sequence[dict[str, Any]], columns: Sequence[str], form: str) -> None:
    if form == "json":
        click.echo(json.dumps(rows, indent=1))
        return
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    if form == "csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([columns, *cells])
        click.echo(text.getvalue(), nl=False)
        return
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for line in [list(columns), *cells]:
        click.echo("  ".join(f"{text:<{width}}" for text, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return str(value)


#: of the verb frb, by name
COMMANDS: dict[str, click.Command] = {
    "load": load,
    "events": events,
    "sources": sources,
    "candidates": candidates,
    "verifications": verifications,
}
