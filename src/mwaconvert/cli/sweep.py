"""The verb sweep: what runs that were killed have left behind."""

from __future__ import annotations

from pathlib import Path

import click

from mwaconvert.cli.verbs import SETTINGS, verbose


@click.command(
    short_help="Remove what killed runs have left in a folder.",
    context_settings=SETTINGS,
)
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FOLDER...")
@click.option("--dry-run", is_flag=True, help="Only tell what would be removed.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
@verbose
def sweep(folders: tuple[Path, ...], dry_run: bool, quiet: bool) -> None:
    """Remove the unfinished outputs of runs that were killed; those of runs that live stay.

    Each run does so in the folders that it writes to.
    """
    from mwaconvert.errors import InputError
    from mwaconvert.staging import sweep as run

    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder")
        for left in run(folder, dry_run=dry_run):
            if not quiet:
                click.echo(
                    f"{left.path}" + ("" if left.restored is None else f" ({left.restored} is put back)")
                )
