"""Subcommands of the verb frb that work on data: find, and what is made of what was found."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import date

    from mwaconvert.frb.archive import EventFiles, Holding

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
#: exit code beside those of all verbs
NOTHING_FOUND = 1

_verbose = click.option(
    "-v",
    "--verbose",
    is_flag=True,
    expose_value=False,  # seen by main
    help="Tracebacks of unexpected errors.",
)


def _archive(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of what reads the archive."""
    options = (
        click.option(
            "--root",
            "roots",
            multiple=True,
            metavar="[NAME=]FOLDER",
            envvar="MWACONVERT_FRB_ROOTS",
            help="Look there, and nowhere else; older=FOLDER for the older way of naming folders. Repeat, or set "
            "MWACONVERT_FRB_ROOTS, separated by blanks.",
        ),
        click.option("--telescope", default="chime", show_default=True, metavar="NAME"),
        click.option(
            "--date",
            "day",
            metavar="YYYY-MM-DD",
            callback=lambda _context, _option, word: _day(word),
            help="UTC, of the event; without it all days are looked at.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _day(word: str | None) -> date | None:
    if word is None:
        return None
    try:
        return datetime.strptime(word, "%Y-%m-%d").date()
    except ValueError:
        raise click.BadParameter(f"expected YYYY-MM-DD, found {word[:40]!r}") from None


def _found(event: str, roots: Sequence[str], telescope: str, day: date | None) -> EventFiles:
    from mwaconvert.frb.archive import find_event, roots_of

    return find_event(event, roots_of(roots), telescope=telescope, day=day)


@click.command(context_settings=_SETTINGS, short_help="What the archive holds of an event.")
@click.argument("event")
@_archive
@click.option("--json", "as_json", is_flag=True, help="Print records as JSON, not a table.")
@_verbose
@click.pass_context
def find(
    context: click.Context,
    event: str,
    roots: tuple[str, ...],
    telescope: str,
    day: date | None,
    as_json: bool,
) -> None:
    """List what the archive holds of an event, and what is missing; exit code 1 if there is nothing."""
    from mwaconvert.text import json_text, plural, size_text

    found = _found(event, roots, telescope, day)
    if as_json:
        click.echo(json_text(_facts(found)))
    else:
        for held in found.holdings:
            what = f"{held.level} {held.data}" + ("" if held.beam is None else f", beam {held.beam:04d}")
            click.echo(
                f"{what:<30}{plural(len(held.files), 'file'):>12}{size_text(held.n_bytes):>12}  {held.folder}"
            )
            if held.missing:
                click.echo(f"{'':<30}missing: {held.missing}")
            if held.refused:
                click.echo(f"{'':<30}links out of the archive, not read: {', '.join(held.refused)}")
        for kind in found.missing:
            click.echo(f"{kind:<30}{'none':>12}")
    context.exit(0 if found.holdings else NOTHING_FOUND)


def _facts(found: EventFiles) -> dict[str, Any]:
    def of(held: Holding) -> dict[str, Any]:
        return {
            "root": held.root.name,
            "data": held.data.value,
            "level": held.level.value,
            "beam": held.beam,
            "folder": str(held.folder),
            "files": list(held.files),
            "bytes": held.n_bytes,
            "missing": held.missing,
            "refused": list(held.refused),
        }

    return {
        "event": found.event,
        "holdings": [of(held) for held in found.holdings],
        "missing": list(found.missing),
    }


#: of the verb frb, by name
COMMANDS: dict[str, click.Command] = {"find": find}
