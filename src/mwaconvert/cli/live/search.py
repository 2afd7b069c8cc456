"""live search: candidates without AMBER."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mwaconvert.cli.verbs import SETTINGS, collect_often, verbose

if TYPE_CHECKING:
    from mwaconvert.live.searching.realtime import Progress
    from mwaconvert.spectra.candidate import Candidate

_PATH = click.Path(path_type=Path)


@click.command(context_settings=SETTINGS)
@click.argument("files", nargs=-1, type=_PATH, metavar="[FILE]")
@click.option(
    "--ring",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="Pages in a folder, in the order of their names.",
)
@click.option("-o", "--output", required=True, type=_PATH, metavar="FILE", help="amber/CB00_step1.trigger")
@click.option("--beam", type=click.IntRange(0, 2047), default=0, show_default=True, help="Synthesised beam.")
@click.option(
    "--dm-range",
    type=float,
    nargs=2,
    default=(0.0, 3000.0),
    show_default=True,
    metavar="LOW HIGH",
    help="pc/cm^3.",
)
@click.option(
    "--snr", "threshold", type=click.FloatRange(5), default=8.0, show_default=True, help="At least."
)
@click.option(
    "--segment",
    "segment_s",
    type=click.FloatRange(0.1, 600),
    default=2.048,
    show_default=True,
    help="Seconds.",
)
@click.option(
    "--width-min",
    type=click.IntRange(1, 4096),
    default=8,
    show_default=True,
    help="Samples for which the loss holds.",
)
@click.option(
    "--loss",
    type=click.FloatRange(0.001, 0.5),
    default=0.05,
    show_default=True,
    help="Of the S/N, in each of two steps.",
)
@click.option(
    "--idle",
    "idle_s",
    type=click.FloatRange(0.1),
    default=30.0,
    show_default=True,
    help="End after so long without data, s.",
)
@click.option("--threads", type=click.IntRange(0), default=0, help="Default: all cores.")
@click.option("--quiet", is_flag=True, help="Say nothing while it searches.")
@verbose
def search(
    files: tuple[Path, ...],
    ring: Path | None,
    output: Path,
    beam: int,
    dm_range: tuple[float, float],
    threshold: float,
    segment_s: float,
    width_min: int,
    loss: float,
    idle_s: float,
    threads: int,
    quiet: bool,
) -> None:
    """Search spectra while they come, in a file that grows or pages of a ring, and write candidates as AMBER does.

    The services follow the file that it writes as they follow AMBER's.
    """
    from mwaconvert.live.searching.feeds import feed_of
    from mwaconvert.live.searching.realtime import AmberWriter, Plan, stream_search

    collect_often()
    feed = feed_of(files, ring)
    plan = Plan(
        dm_min=dm_range[0],
        dm_max=dm_range[1],
        segment_s=segment_s,
        threshold=threshold,
        width_min=width_min,
        loss=loss,
        threads=threads,
    )
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    writers: list[AmberWriter] = []

    def write(segment: int, candidates: list[Candidate]) -> None:
        if not writers:
            band = feed.band()
            assert band is not None
            writers.append(AmberWriter(output, beam, band.dt_s))
        writers[0].write(segment, candidates)

    def say(progress: Progress) -> None:
        if not quiet:
            click.echo(
                f"{progress.data_s:9.3f} s  {progress.candidates} candidates  {progress.speed:.2f} x",
                err=True,
            )

    done = stream_search(
        feed, plan, idle_s=idle_s, is_over=stopping.is_set, on_candidates=write, on_segment=say
    )
    for writer in writers:
        writer.close()
    click.echo(
        f"{done.data_s:.3f} s of data in {done.search_s:.3f} s, {done.candidates} candidates, at most "
        f"{done.loss:.1%} of the S/N lost" + (f", {done.lost} samples missed" if done.lost else "")
    )
