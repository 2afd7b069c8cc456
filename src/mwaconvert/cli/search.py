"""The verb search: pulses within a range of DMs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mwaconvert.cli import spectra as common
from mwaconvert.errors import InputError
from mwaconvert.extras import need
from mwaconvert.machine import own_memory_bytes

if TYPE_CHECKING:
    from mwaconvert.transients.candidates import Row
    from mwaconvert.transients.survey import Clean, Survey

_SHOWN = 20
_DRAWING_BYTES = 70 << 20  # of matplotlib


@click.command(short_help="Search a filterbank for dispersed pulses.", context_settings=common.SETTINGS)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--dm-range", nargs=2, type=float, required=True, metavar="LO HI", help="DMs to search, pc/cm^3."
)
@click.option("--snr", type=float, default=7.0, show_default=True, metavar="X", help="Threshold.")
@click.option(
    "--loss",
    type=float,
    default=0.01,
    show_default=True,
    metavar="X",
    help="S/N that faster, approximate delays may cost, as a fraction; 0: exact delays.",
)
@click.option(
    "--width-min",
    type=float,
    metavar="MS",
    help="Narrowest pulse (full width at half maximum) for which the loss is bounded. Default: a sample.",
)
@click.option(
    "--widths",
    type=click.IntRange(1, 20),
    default=9,
    show_default=True,
    metavar="N",
    help="Boxcars of 1, 2, 4, ... 2^(N-1) samples.",
)
@click.option(
    "--downsample",
    is_flag=True,
    help="Average samples, and take wider steps of DM, where channels smear pulses: faster for wide channels; "
    "at most as much S/N is lost again. Not for data that are dedispersed within channels.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="OUT",
    help="Write all candidates: .csv, .singlepulse (PRESTO), .cand (heimdall) or .trigger (AMBER).",
)
@click.option(
    "--plots", type=click.Path(path_type=Path), metavar="DIR", help="Draw a figure of each candidate."
)
@click.option(
    "--max-plots",
    type=click.IntRange(1),
    default=50,
    show_default=True,
    metavar="N",
    help="Of the best ones.",
)
@click.option("--zero-dm", is_flag=True, help="Subtract what arrives at all frequencies at once.")
@click.option(
    "--iqrm",
    is_flag=True,
    help="Mask channels, for about a thousand samples each time, that vary more than their neighbours (IQRM).",
)
@click.option(
    "--mask-outliers",
    is_flag=True,
    help="Mask channels whose mean or variation in a segment is unlike that of their neighbours.",
)
@common.preparing
@common.voltages
@common.running
def search(
    file: Path,
    dm_range: tuple[float, float],
    snr: float,
    loss: float,
    width_min: float | None,
    widths: int,
    downsample: bool,
    output: Path | None,
    plots: Path | None,
    max_plots: int,
    zero_dm: bool,
    iqrm: bool,
    mask_outliers: bool,
    mask: tuple[str, ...],
    mask_mhz: tuple[tuple[float, float], ...],
    scale: bool,
    band: tuple[float, float] | None,
    channels: int | None,
    average: int | None,
    k_dm: float | None,
    gulp: int | None,
    threads: int | None,
    max_memory: str | None,
    dry_run: bool,
    overwrite: bool,
    quiet: bool,
    verbose: bool,  # noqa: ARG001  looked at where errors are explained
) -> None:
    """Search a filterbank of any format for dispersed pulses.

    Long files are searched in segments whose length follows from the data and the DMs. Times are those of the
    middle of a pulse at the centre of the highest channel.

    \b
    Examples:
      mwaconvert search burst.fil --dm-range 0 1000 -o cands.csv --plots plots/
          all pulses above S/N 7, a table and a figure of each
      mwaconvert search burst.fil --dm-range 50 60 --width-min 1 --loss 0
          exact delays, for pulses of 1 ms and longer
      mwaconvert search wide.fil --dm-range 0 1000 --downsample
          longer samples and fewer DMs where a DM smears pulses within channels anyway
    """
    from mwaconvert.formats.spectra.candidate_lists import SUFFIXES
    from mwaconvert.staging import check_targets, kind_of
    from mwaconvert.text import plural
    from mwaconvert.transients import masking
    from mwaconvert.transients.candidates import candidate_rows, write_candidates
    from mwaconvert.transients.survey import plan_survey

    if not snr > 0:
        raise InputError(f"--snr {snr:g}: expected a positive number")
    if not 0 <= loss < 1:
        raise InputError(f"--loss {loss:g}: expected a fraction from 0 to below 1")
    if downsample and loss == 0:
        raise InputError(
            "--downsample averages samples, which costs S/N: give a --loss above 0, such as 0.01"
        )
    if width_min is not None and not width_min > 0:
        raise InputError(f"--width-min {width_min:g}: expected a positive number of milliseconds")
    if output is not None:
        if output.suffix not in SUFFIXES:
            raise InputError(f"{output}: expected a name that ends in {', '.join(SUFFIXES)}")
        check_targets([(output, kind_of(output))], inputs=common.input_files(file), overwrite=overwrite)
    if plots is not None:
        need("matplotlib", "plot", "drawing")
        if plots.exists() and not plots.is_dir():
            raise InputError(f"{plots}: exists and is not a directory")
    stream = common.open_file(file, k_dm, band, channels, average)
    options: dict[str, Any] = {
        "threshold": snr,
        "loss": loss,
        "n_width": widths,
        "downsample": downsample,
        "width_min_s": None if width_min is None else width_min / 1e3,
        "threads": threads or 0,
    }
    plan_survey(stream, *dm_range, gulp=gulp, **options)  # before a pass for the scales
    prepare = common.preparation(
        stream, mask, mask_mhz, scale=scale, threads=threads or 0, quiet=quiet, dry_run=dry_run
    )
    clean: list[Clean] = []
    if mask_outliers:
        clean.append(masking.mask_channels)
    if iqrm:
        clean.append(masking.mask_iqrm)
    if zero_dm:
        clean.append(masking.zero_dm)
    plan = plan_survey(stream, *dm_range, prepare=prepare, gulp=gulp, clean=clean, **options)
    needed = plan.memory_bytes + own_memory_bytes()
    if plots is not None:
        needed = max(needed, _figure_bytes(plan) + own_memory_bytes()) + _DRAWING_BYTES
    if dry_run:
        _describe(plan, needed)
        return
    common.check_memory(file, needed, max_memory)
    with common.progress("searching", "samples", quiet=quiet) as show:
        found = plan.run(show)
    rows = candidate_rows(found, stream)
    if output is not None:
        write_candidates(output, rows, found, stream, snr, overwrite=overwrite)
    if plots is not None:
        _draw(plan, rows[:max_plots], plots, overwrite=overwrite, quiet=quiet)
    if not quiet:
        click.echo(
            f"{plural(len(rows), 'candidate')} above S/N {snr:g}; {plural(found.dms.size, 'DM')} from "
            f"{found.dms[0]:g} to {found.dms[-1]:g}; loss against exact delays at most {100 * found.loss:.2g} %"
        )
        _print(rows[:_SHOWN])
        if len(rows) > _SHOWN:
            click.echo(f"... and {len(rows) - _SHOWN} more" + ("" if output else "; write all with -o"))
        if plots is not None and len(rows) > max_plots:
            click.echo(f"note: figures of the best {max_plots} only; see --max-plots", err=True)
        for note in stream.notes:
            click.echo(f"note: {note}", err=True)


def _describe(plan: Survey, needed: int) -> None:
    from mwaconvert.text import size_text

    stream = plan.stream
    longest = max(map(len, plan.segments))
    common.print_lines(
        common.describe(stream)
        | {
            "DMs": f"{plan.dm_min:g} to {plan.dm_max:g} pc/cm^3 (K = {stream.k_dm:.9g} MHz^2 s cm^3 / pc)",
            "sweep": f"{plan.sweep} samples, {plan.sweep * stream.dt_s:.6g} s",
            "segments": f"{len(plan.segments)} of up to {longest} samples ({longest * stream.dt_s:.4g} s)",
            "gulps": f"{min(plan.gulp, longest)} samples",
            "memory": f"about {size_text(needed)}",
        }
    )


def _figure_bytes(plan: Survey) -> int:
    """Memory of the data about a candidate, scaled, as they are drawn."""
    widest = 1 << (int(plan.options["n_width"]) - 1)
    return 36 * plan.stream.n_chan * (plan.sweep + 24 * widest)


def _print(rows: list[Row]) -> None:
    if not rows:
        return
    click.echo(f"{'time (s)':>22}  {'DM (pc/cm^3)':>18}  {'S/N':>6}  {'width (ms)':>16}  detections")
    for row in rows:
        click.echo(
            f"{row.time_s:>12.5f} +- {row.time_err_s:<7.5f} {row.dm:>9.3f} +- {row.dm_err:<7.3f} {row.snr:>6.2f}  "
            f"{1e3 * row.width_s:>8.3f} +- {1e3 * row.width_err_s:<5.2g} {row.n_detections:>9}"
        )


def _draw(plan: Survey, rows: list[Row], folder: Path, *, overwrite: bool, quiet: bool) -> None:
    from mwaconvert.transients.figures import candidate_figure, save_figure

    folder.mkdir(parents=True, exist_ok=True)
    with common.progress("drawing", "figures", quiet=quiet) as show:
        for k, row in enumerate(rows):
            figure = candidate_figure(plan.stream, row, plan.prepare)
            name = f"{plan.stream.path.stem}_{k + 1:04d}_t{row.time_s:.3f}_dm{row.dm:.1f}.png"
            save_figure(figure, folder / name, overwrite=overwrite)
            show(k + 1, len(rows))
