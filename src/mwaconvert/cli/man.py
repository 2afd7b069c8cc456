"""Man pages: the help of each verb, as troff."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click

from mwaconvert import __version__

_WIDTH = 72  # man indents


def write_pages(main: click.Command, folder: Path) -> int:
    """Write mwaconvert.1, and mwaconvert-VERB.1 for each verb; returns how many."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = {
        context.command_path.replace(" ", "-"): page(context, about)
        for context, about in _commands(main, None, "mwaconvert", "convert MWA visibilities")
    }
    for name, text in pages.items():
        (folder / f"{name}.1").write_text(text, "utf-8")
    return len(pages)


def _commands(
    command: click.Command, parent: click.Context | None, name: str, about: str
) -> Iterator[tuple[click.Context, str]]:
    """A command and all below it, each with a sentence about it."""
    context = click.Context(
        command, parent, name, terminal_width=_WIDTH, max_content_width=_WIDTH, resilient_parsing=True
    )
    yield context, about
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            verb = command.get_command(context, below)
            if verb is not None and not verb.hidden:
                yield from _commands(verb, context, below, verb.get_short_help_str(_WIDTH))


def page(context: click.Context, about: str) -> str:
    """A page of section 1: what --help says, under the headings of man pages.

    Parameters
    ----------
    context : of the command
    about : it, in a sentence
    """
    name = context.command_path.replace(" ", "-")
    lines = [f'.TH {name.upper()} 1 "" "mwaconvert {__version__}"', ".SH NAME", _escaped(f"{name} - {about}")]
    heading, held = "", list[str]()
    for line in [*context.command.get_help(context).splitlines(), "SEE ALSO:"]:
        if line.startswith("Usage: "):
            heading, held = "SYNOPSIS", [line.removeprefix("Usage: ")]
        elif re.match(r"\S.*:$", line):
            lines += _section(heading, held)
            heading, held = line.rstrip(":"), []
        elif heading == "SYNOPSIS" and not line:
            lines += _section(heading, held)
            heading, held = "DESCRIPTION", []
        else:
            held.append(line.removeprefix("  "))
    if context.parent is not None:
        lines += [".SH SEE ALSO", f"{_escaped(context.parent.command_path.replace(' ', '-'))}(1)"]
    return "\n".join(lines) + "\n"


def _section(heading: str, lines: list[str]) -> list[str]:
    """A section whose lines stay as they are."""
    text = "\n".join(lines).strip("\n")
    if not text:
        return []
    return [f'.SH "{_escaped(heading.upper())}"', ".nf", *map(_escaped, text.splitlines()), ".fi"]


def _escaped(text: str) -> str:
    """Text that troff prints as it is."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq")
    return rf"\&{text}" if text.startswith((".", "'")) else text
