"""The verb qa: pictures of files that exist already."""

from __future__ import annotations

from pathlib import Path

import click

from mwaconvert.cli.verbs import SETTINGS
from mwaconvert.vocabulary.values import MOST_THREADS


@click.command(
    short_help="Draw an existing uvfits file or measurement set.",
    context_settings=SETTINGS,
)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Picture to write, .png or .html, or a folder. Default: beside each file, named after it, .png.",
)
@click.option("--overwrite", is_flag=True, help="Replace pictures that exist.")
@click.option(
    "--threads", type=click.IntRange(0, MOST_THREADS), default=0, metavar="N", help="Default: all cores."
)
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
@click.option("-v", "--verbose", is_flag=True, help="Log lines, and tracebacks of unexpected errors.")
def qa(
    files: tuple[Path, ...], output: Path | None, overwrite: bool, threads: int, quiet: bool, verbose: bool
) -> None:
    """Draw uvfits files and measurement sets of any program, as --qa draws a conversion.

    Each file is read once, piece by piece.
    """
    del verbose  # seen by main
    from mwaconvert.cli.convert import text_width
    from mwaconvert.cli.progress import Progress
    from mwaconvert.errors import InputError
    from mwaconvert.qa.files import draw_file
    from mwaconvert.staging import check_targets, kind_of

    if output is not None and len(files) > 1 and not output.is_dir():
        raise InputError(
            f"{output}: one picture cannot hold {len(files)} files; give -o a folder that exists"
        )

    def place(file: Path) -> Path:
        if output is not None:
            return output / f"{file.name}.png" if output.is_dir() else output
        return file.with_name(f"{file.name}.png")

    pictures = [place(file) for file in files]
    check_targets([(path, kind_of(path)) for path in pictures], inputs=files, overwrite=overwrite)
    for file, picture in zip(files, pictures, strict=True):
        with Progress(enabled=not quiet) as progress:
            report = draw_file(file, picture, overwrite=overwrite, threads=threads, progress=progress)
        if not quiet:
            click.echo(report.to_text(text_width()))
