"""Subcommands of the verb frb that work on data: find, and what is made of what was found."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mwaconvert.cli.verbs import SETTINGS, verbose
from mwaconvert.clients.chime import URL_VARIABLE
from mwaconvert.errors import Error, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import date

    from mwaconvert.formats.spectra.chime_msgpack import ChunkStream
    from mwaconvert.frb.archive import EventFiles, Holding, Root
    from mwaconvert.spectra.spectra import Spectra

#: exit code beside those of all verbs
NOTHING_FOUND = 1

#: options whose names are not those of the fields
_NAMES = {"n_sub": "nsub", "roots": "root"}


class _Spoken(click.Command):
    """A command whose refusals name its options, not the fields of the library."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Error as error:
            error.args = (re.sub(r"`(\w+)(?:=([^`]*))?`", _option, str(error)),)
            raise


def _option(found: re.Match[str]) -> str:
    name = "--" + _NAMES.get(found[1], found[1]).replace("_", "-")
    return name if found[2] is None else f"{name} {found[2]}"


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


_service = click.option(
    "--service",
    metavar="URL",
    envvar=URL_VARIABLE,
    help=f"Without --root: bring the event from a service (http://host:port/frb-master, or {URL_VARIABLE}).",
)


@contextmanager
def _event(
    event: str, beam: int | None, roots: Sequence[str], telescope: str, day: date | None, service: str | None
) -> Iterator[tuple[EventFiles, int | None, tuple[Root, ...]]]:
    """What there is of an event, its beam if that is known, and the roots in which it is, here or brought here."""
    from mwaconvert.frb.archive import Root, event_number, find_event, roots_of

    if service is None or roots:
        places = roots_of(roots)
        yield find_event(event, places, telescope=telescope, day=day), beam, places
        return
    from tempfile import TemporaryDirectory

    from mwaconvert.clients.frb_files import fetch_event

    with TemporaryDirectory(prefix="mwaconvert-frb-") as folder:
        number = fetch_event(service, event_number(event), Path(folder), beam=beam)
        places = (Root("service", Path(folder)),)
        yield find_event(event, places, telescope=telescope), number, places


def _found(event: str, roots: Sequence[str], telescope: str, day: date | None) -> EventFiles:
    from mwaconvert.frb.archive import find_event, roots_of

    return find_event(event, roots_of(roots), telescope=telescope, day=day)


@click.command(cls=_Spoken, context_settings=SETTINGS, short_help="What the archive holds of an event.")
@click.argument("event")
@_archive
@click.option("--json", "as_json", is_flag=True, help="Print records as JSON, not a table.")
@verbose
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
        "format": "mwaconvert frb files",
        "event": found.event,
        "holdings": [of(held) for held in found.holdings],
        "missing": list(found.missing),
    }


_beam = click.option(
    "--beam", type=click.IntRange(0, 3255), metavar="N", help="The number of the beam; default the brightest."
)
_threads = click.option(
    "-j", "--threads", type=click.IntRange(0), default=0, help="0: all cores.  [default: 0]"
)
_overwrite = click.option("--overwrite", is_flag=True, help="Replace an existing file.")


@click.command(
    cls=_Spoken, context_settings=SETTINGS, short_help="The waterfall of an event, as get_wfall.py makes it."
)
@click.option("--eventid", required=True, metavar="N", help="The number of the event.")
@click.option("--dm", required=True, type=float, metavar="DM", help="pc/cm^3")
@click.option("--nsub", required=True, type=int, metavar="N", help="Number of sub-bands.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="[default: N_wfall.npz]"
)
@_beam
@_archive
@_service
@_threads
@_overwrite
@verbose
def wfall(
    eventid: str,
    dm: float,
    nsub: int,
    output: Path | None,
    beam: int | None,
    threads: int,
    overwrite: bool,
    **where: Any,
) -> None:
    """Dedisperse an event and average it to sub-bands, as the tutorial's get_wfall.py does.

    Each channel is brought to mean 0 and standard deviation 1, then dedispersed at full resolution. Without --beam the
    beam in which the pulse is brightest is taken.
    """
    from mwaconvert.formats.spectra.wfall import write_wfall
    from mwaconvert.frb.intensity import make_wfall
    from mwaconvert.staging import Kind, check_target

    with _event(eventid, beam, **where) as (files, number, _):
        output = output or Path(f"{files.event}_wfall.npz")
        check_target(output, Kind.NPZ, overwrite=overwrite)  # better now than after the work
        made = make_wfall(files, dm, nsub, beam=number, threads=threads)
        write_wfall(output, made.spectra, overwrite=overwrite)
    for note in made.spectra.notes:
        click.echo(f"note: {note}", err=True)
    if made.snr:
        compared = ", ".join(f"{number:04d}: {snr:.1f}" for number, snr in made.snr.items())
        click.echo(f"note: S/N by beam: {compared}", err=True)
    click.echo(
        f"{output}: beam {made.beam:04d}, {made.spectra.n_chan} channels, {made.spectra.n_times} samples"
    )


@click.command(cls=_Spoken, context_settings=SETTINGS, short_help="The tutorial's figures of waterfalls.")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@click.option("--dm", "dms", multiple=True, type=float, metavar="DM", help="pc/cm^3, once or for each file.")
@click.option("--title", "titles", multiple=True, metavar="TEXT", help="Above a panel, for each file.")
@click.option("--label", default="", metavar="TEXT", help="Above all panels, such as (a).")
@click.option(
    "--mask-sum", type=float, metavar="X", help="Leave out channels whose |sum over time| is above."
)
@click.option("--mask-var", type=float, metavar="X", help="Leave out channels whose variance is above.")
@click.option(
    "--compat", is_flag=True, help="The last edge of the time axis as the tutorial's scripts draw it."
)
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help=".pdf, .png or .svg")
@_overwrite
@verbose
def plot(
    files: tuple[Path, ...],
    dms: tuple[float, ...],
    titles: tuple[str, ...],
    label: str,
    mask_sum: float | None,
    mask_var: float | None,
    compat: bool,
    output: Path | None,
    overwrite: bool,
) -> None:
    """Draw waterfalls (.npz) side by side, each below its profile, at 4.26 x 3 inches.

    \b
    Examples:
      mwaconvert frb plot 145207799_wfall.npz --dm 87.81
      mwaconvert frb plot 69541452_wfall.npz 101903385_wfall.npz 145207799_wfall.npz --dm 87.76 --dm 87.86
          --dm 87.81 --title 20200120E --title 20200718A --title 20201129A --label "(a)" --mask-sum 2
          --mask-var 0.05 -o wfall.pdf
    """
    from mwaconvert.frb.figures import Masks, panel_of, tutorial_figure
    from mwaconvert.transients.figures import save_figure

    if len(dms) not in (0, 1, len(files)):
        raise InputError(f"--dm was given {len(dms)} times for {len(files)} files: give it once, or for each")
    if titles and len(titles) != len(files):
        raise InputError(f"--title was given {len(titles)} times for {len(files)} files: give it for each")
    masks = Masks(mask_sum, mask_var)
    panels = [
        panel_of(
            path,
            dms[k if len(dms) > 1 else 0] if dms else None,
            titles[k] if titles else path.stem.removesuffix("_wfall") if len(files) > 1 else "",
            masks,
        )
        for k, path in enumerate(files)
    ]
    output = output or files[0].with_suffix(".pdf")
    save_figure(tutorial_figure(panels, label=label, tutorial_edge=compat), output, overwrite=overwrite)
    click.echo(str(output))


@click.command(
    cls=_Spoken,
    context_settings=SETTINGS,
    short_help="An event for other programs, from intensity or baseband.",
)
@click.argument("source", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help=".fil, .sf, .h5, .npz",
)
@click.option(
    "--format",
    "named",
    type=click.Choice(["sigproc", "psrfits", "fbh5", "wfall", "fitburst"]),
    help="Default by the ending; .npz is a waterfall, or for fitburst.",
)
@click.option("--dm", type=float, metavar="DM", help="pc/cm^3; default that of the data.")
@click.option("--nsub", type=int, metavar="N", help="Average channels to so many sub-bands.")
@click.option("--average", type=int, default=1, metavar="N", help="Samples that become one.  [default: 1]")
@click.option(
    "--scale", is_flag=True, help="Of intensity: each channel to mean 0 and standard deviation 1 before."
)
@click.option("--baseband", "is_baseband", is_flag=True, help="Of an event: its baseband, not its intensity.")
@click.option(
    "--upchannels",
    type=int,
    default=1,
    metavar="N",
    help="Of baseband: split each channel into N, such as 16.",
)
@click.option(
    "--stokes", type=click.Choice(["I", "Q", "U", "V"]), default="I", help="Of baseband.  [default: I]"
)
@click.option(
    "--pointing", type=int, default=0, metavar="N", help="Of beams of baseband, from 0.  [default: 0]"
)
@_beam
@_archive
@_threads
@_overwrite
@verbose
def export(source: tuple[str, ...], output: Path, named: str | None, overwrite: bool, **how: Any) -> None:
    """Write an event as SIGPROC (.fil), PSRFITS in search mode (.sf), FBH5 (.h5), waterfall or fitburst (.npz).

    SOURCE is the number of an event, which the archive holds; chunks of intensity, or their folder; or baseband: a file
    of all channels, files of the correlator, or their folder. Baseband is dedispersed coherently within its channels.

    \b
    Examples:
      mwaconvert frb export 9386707 --beam 123 -o event.fil
      mwaconvert frb export singlebeam_9386707.h5 --dm 716.5 --average 40 -o event.npz --format fitburst
    """
    from mwaconvert.frb.export import check_output, format_of, write_spectra

    chosen = format_of(output, named)
    check_output(output, overwrite=overwrite)
    spectra = _spectra(source, **how)
    write_spectra(output, spectra, chosen, origin=Path(source[0]).name, overwrite=overwrite)
    for note in spectra.notes:
        click.echo(f"note: {note}", err=True)
    click.echo(
        f"{output}: {spectra.n_chan} channels, {spectra.n_times} samples of {spectra.dt_s * 1e6:g} us, DM {spectra.dm:g}"
    )


def _spectra(
    source: Sequence[str],
    *,
    dm: float | None,
    nsub: int | None,
    average: int,
    scale: bool,
    is_baseband: bool,
    upchannels: int,
    stokes: str,
    pointing: int,
    beam: int | None,
    roots: Sequence[str],
    telescope: str,
    day: date | None,
    threads: int,
) -> Spectra:
    """The waterfall that is asked for."""
    from mwaconvert.formats.spectra.chime_msgpack import SUFFIXES, ChunkStream, chunk_files
    from mwaconvert.frb.intensity import beam_of, open_beam
    from mwaconvert.staging import check_input

    paths = [Path(word) for word in source]
    if len(paths) == 1 and not paths[0].exists() and source[0].isdigit():
        files = _found(source[0], roots, telescope, day)
        if not is_baseband:
            chunks = open_beam(beam_of(files, beam)[1])
            return _of_chunks(chunks, dm, nsub, average, scale, threads)
        paths = files.baseband()
    elif paths[0].is_dir():
        found = chunk_files(paths[0])
        paths = found or paths
    else:
        for path in paths:
            check_input(path, "file")
    if all(path.suffix in SUFFIXES for path in paths):
        return _of_chunks(ChunkStream(paths), dm, nsub, average, scale, threads)

    from mwaconvert.formats.spectra.chime_baseband import open_baseband
    from mwaconvert.frb.baseband import Making, Stokes, waterfall

    making = Making(stokes=Stokes(stokes), pointing=pointing, upchannels=upchannels, average=average)
    with open_baseband(paths[0] if len(paths) == 1 else paths) as baseband:
        made = waterfall(baseband, baseband.dm if dm is None else dm, making, threads=threads)
    return made if nsub is None else made.subband(nsub)


def _of_chunks(
    chunks: ChunkStream, dm: float | None, nsub: int | None, average: int, scale: bool, threads: int
) -> Spectra:
    return chunks.waterfall(dm or 0.0, nsub or chunks.n_chan, scaled=scale, threads=threads).downsample(
        average
    )


@click.command(
    "run-script",
    cls=_Spoken,
    context_settings=SETTINGS | {"ignore_unknown_options": True, "allow_interspersed_args": False},
    short_help="Run a script that imports iautils and frb_common.",
)
@_beam
@_archive
@_service
@verbose
@click.argument("script", type=click.Path(exists=True, dir_okay=False))
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[ARGUMENT]...")
@click.pass_context
def run_script(
    context: click.Context, /, script: str, words: tuple[str, ...], beam: int | None, **where: Any
) -> None:
    """Run a script of CHIME/FRB, such as the tutorial's get_wfall.py, with open modules in place of closed ones.

    iautils.cascade, iautils.spectra, iautils.spectra_utils and frb_common.common_utils are there for that script alone.
    Options of this verb go before the script. The exit code is that of the script.

    \b
    Examples:
      mwaconvert frb run-script get_wfall.py --eventid 69541452 --dm 87 --nsub 128
      mwaconvert frb run-script plot_intensity_wfalls.py --fname 145207799_wfall.npz --dm 87.81
    """
    import json
    import os
    import subprocess
    import sys

    def of(places: Sequence[Root], number: int | None) -> int:
        settings = {
            "roots": [(root.name, str(root.folder), root.layout.name) for root in places],
            "telescope": where["telescope"],
            "day": where["day"] and where["day"].isoformat(),
            "beam": number,
        }
        command = [
            sys.executable,
            "-m",
            "mwaconvert.frb.closed.process",
            json.dumps(settings),
            script,
            *words,
        ]
        return subprocess.run(command, env={"MPLBACKEND": "Agg"} | os.environ, check=False).returncode

    # a service brings the event that the script is told to work on; the plot scripts have none
    event = next((b for a, b in pairwise(words) if a == "--eventid"), None)
    if event is None or where["service"] is None:
        from mwaconvert.frb.archive import roots_of

        code = of(roots_of(where["roots"]), beam)
    else:
        with _event(event, beam, **where) as (_, number, places):
            code = of(places, number)
    context.exit(code if code >= 0 else 128 - code)


#: of the verb frb, by name
COMMANDS: dict[str, click.Command] = {
    "export": export,
    "find": find,
    "plot": plot,
    "run-script": run_script,
    "wfall": wfall,
}
