"""The verb archive ppr make: a processing request from the catalogue of a site."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mwaconvert.cli.archive.restore import SITE_VARIABLE
from mwaconvert.cli.verbs import SETTINGS, verbose
from mwaconvert.errors import InputError
from mwaconvert.text import plural

if TYPE_CHECKING:
    from mwaconvert.archive.catalog import Catalog
    from mwaconvert.archive.identifiers import ExecBlockUid, SdmName

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command(context_settings=SETTINGS)
@click.argument("target", metavar="MOUS_UID|SDM")
@click.option("--procedure", "procedure_path", type=_FILE, required=True, metavar="FILE",
              help="Procedure of a pipeline, such as procedure_hifa_cal.xml.")  # fmt: skip
@click.option("--intents", "intents_path", type=_FILE, metavar="FILE", help="Intents file of a pipeline.")
@click.option("--restore-first", "is_restored", is_flag=True, help="Begin with a restore, as images do.")
@click.option("--add", "added", multiple=True, metavar="SESSION=EB",
              help="Put an execution block into a session, by its number; repeat.")  # fmt: skip
@click.option("--without", "removed", multiple=True, metavar="EB", help="Take one away; repeat.")
@click.option("--set", "settings", multiple=True, metavar="COMMAND.KEYWORD=VALUE",
              help="A parameter of a command, such as hifv_restoredata.gainmap=True; repeat.")  # fmt: skip
@click.option("--path", "relative_path", metavar="PATH",
              help="RelativePath of the data.  [default: the target's name on disk]")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("PPR.xml"), metavar="FILE",
              help="Request to write; one that is there is not replaced.  [default: PPR.xml]")  # fmt: skip
@click.option("--config", "config_path", type=click.Path(path_type=Path), envvar=SITE_VARIABLE, metavar="FILE",
              help=f"Configuration of a site, which knows member sets; also by {SITE_VARIABLE}.")  # fmt: skip
@verbose
def make(
    target: str,
    procedure_path: Path,
    intents_path: Path | None,
    is_restored: bool,
    added: tuple[str, ...],
    removed: tuple[str, ...],
    settings: tuple[str, ...],
    relative_path: str | None,
    output: Path,
    config_path: Path | None,
) -> None:
    """Make the request of a member set of ALMA or an execution block of the VLA; what a pipeline misreads is refused.

    \b
    Examples:
      mwaconvert archive ppr make uid://A001/X1284/X266 --procedure procedure_hifa_cal.xml --config archive.toml
      mwaconvert archive ppr make uid://A001/X1284/X266 --procedure procedure_hifa_image.xml --restore-first \\
          --without uid://A002/Xc7111c/X3979 --config archive.toml
    """
    from mwaconvert.archive.identifiers import SdmName, disk_name, parse_execution
    from mwaconvert.archive.requests import (
        Telescope,
        read_intents_file,
        read_procedure,
        restore_first,
        with_executions,
        with_parameter,
        write_request,
    )
    from mwaconvert.jobs.workflows.archives.requesting import request_of
    from mwaconvert.jobs.workflows.archives.staging import own_text

    if output.exists():
        raise InputError(f"{output}: is there, and may be edited; name another with -o, or remove it")
    uid = parse_execution(target)
    procedure = read_procedure(procedure_path)
    if is_restored:
        procedure = restore_first(procedure, Telescope.VLA if isinstance(uid, SdmName) else Telescope.ALMA)
    for command, keyword, value in map(_setting, settings):
        procedure = with_parameter(procedure, command, keyword, value)
    intents = () if intents_path is None else read_intents_file(intents_path)
    with _catalog(config_path, uid) as catalog:
        request = request_of(
            catalog, uid, procedure, relative_path or disk_name(uid), datetime.now(UTC), intents
        )
    if added or removed:
        request = with_executions(
            request, add=[_addition(text) for text in added], remove=[_block(text) for text in removed]
        )
    own_text(output, write_request(request))
    click.echo(f"{output}: {request.purpose.value}, {plural(len(request.executions), 'execution block')}")


@contextmanager
def _catalog(config_path: Path | None, uid: ExecBlockUid | SdmName) -> Iterator[Catalog]:
    """The catalogue of a site, after a look at the metadata of a member set; an SDM of the VLA needs none."""
    from mwaconvert.archive.catalog import Catalog
    from mwaconvert.archive.identifiers import StatusUid, Uid
    from mwaconvert.jobs.workflows.archives.resolving import refresh
    from mwaconvert.jobs.workflows.archives.site import read_site

    if not isinstance(uid, Uid):
        with Catalog("sqlite://") as catalog:
            yield catalog
    elif config_path is None:
        raise InputError(f"{uid}: name the configuration of a site that knows it, with --config")
    else:
        site = read_site(config_path)
        with site.catalog() as catalog:
            refresh(site, catalog, StatusUid(uid))
            yield catalog


def _setting(text: str) -> tuple[str, str, str]:
    name, equals, value = text.partition("=")
    command, dot, keyword = name.partition(".")
    if not (equals and dot and command and keyword):
        raise InputError(f"--set {text}: expected COMMAND.KEYWORD=VALUE, as hifv_restoredata.gainmap=True")
    return command, keyword, value


def _addition(text: str) -> tuple[int, ExecBlockUid]:
    number, equals, block = text.partition("=")
    if not (equals and number.isdecimal()):
        raise InputError(f"--add {text}: expected SESSION=EB, as 2=uid://A002/X1/X2")
    return int(number), _block(block)


def _block(text: str) -> ExecBlockUid:
    from mwaconvert.archive.identifiers import ExecBlockUid, Uid

    return ExecBlockUid(Uid.parse(text))
