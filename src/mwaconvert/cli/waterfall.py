"""The verb waterfall: publication figures of pulses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mwaconvert.cli import spectra as common
from mwaconvert.errors import InputError
from mwaconvert.extras import need
from mwaconvert.machine import own_memory_bytes

if TYPE_CHECKING:
    from mwaconvert.spectra.stream import Stream
    from mwaconvert.transients.prepare import Preparation

_NSUB = 128
_DRAWING_BYTES = 40 << 20  # of matplotlib
_SMALLEST = 0.5  # inches
_AROUND = 4096  # samples beyond what is shown


@click.command(short_help="Draw waterfalls of pulses.", context_settings=common.SETTINGS)
@click.argument("files", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--dm",
    "dms",
    type=float,
    multiple=True,
    metavar="DM",
    help="pc/cm^3; once for all files or once for each. Default: that of the file.",
)
@click.option(
    "--nsub",
    "n_sub",
    type=click.IntRange(1),
    metavar="N",
    help=f"Number of sub-bands. Default: the largest divisor of the channels up to {_NSUB}.",
)
@click.option(
    "--tscrunch", type=click.IntRange(1), default=1, metavar="N", help="Average this many samples in time."
)
@click.option(
    "--window",
    type=float,
    default=25.0,
    show_default=True,
    metavar="MS",
    help="Shown on either side of the peak.",
)
@click.option(
    "--time",
    "times",
    type=float,
    multiple=True,
    metavar="S",
    help="Time that becomes 0; once for each file; only what is about it is read. Default: where the pulse is "
    "brightest.",
)
@click.option(
    "--percentiles",
    type=float,
    nargs=2,
    default=(2.5, 97.5),
    show_default=True,
    metavar="LOW HIGH",
    help="Limits of the colours: of what is shown, and of what is before the pulse.",
)
@click.option(
    "--title",
    "titles",
    multiple=True,
    metavar="TEXT",
    help="Once for each file. Default of several files: their sources.",
)
@click.option("--label", default="", metavar="TEXT", help="Above all panels, such as (a).")
@click.option(
    "--size",
    type=float,
    nargs=2,
    default=(4.26, 3.0),
    show_default=True,
    metavar="W H",
    help="Inches, of a row.",
)
@click.option("--columns", type=click.IntRange(1), metavar="N", help="Panels side by side. Default: up to 4.")
@click.option(
    "--cmap", default="viridis", show_default=True, metavar="NAME", help="Colours, as matplotlib names them."
)
@click.option(
    "--dpi", type=click.IntRange(30, 2400), default=300, show_default=True, metavar="N", help="Of .png."
)
@click.option(
    "--mask-sum",
    type=float,
    metavar="X",
    help="Leave out channels whose values add up to more than this, or less than -X.",
)
@click.option(
    "--mask-var", type=float, metavar="X", help="Leave out channels whose variance is larger than this."
)
@click.option(
    "--scale/--no-scale",
    default=None,
    help="Bring each channel to mean 0 and standard deviation 1 first. Default: not of .npz waterfalls.",
)
@click.option(
    "--mask", multiple=True, metavar="LIST", help="Leave out channels, counted from 0 at the lowest: 0-10,35."
)
@click.option(
    "--mask-mhz",
    multiple=True,
    nargs=2,
    type=float,
    metavar="LOW HIGH",
    help="Leave out channels of these frequencies.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FIGURE",
    help="Default: the first FILE with .pdf; .pdf, .png or .svg.",
)
@common.voltages
@common.running
def waterfall(
    files: tuple[Path, ...],
    dms: tuple[float, ...],
    n_sub: int | None,
    tscrunch: int,
    window: float,
    times: tuple[float, ...],
    percentiles: tuple[float, float],
    titles: tuple[str, ...],
    label: str,
    size: tuple[float, float],
    columns: int | None,
    cmap: str,
    dpi: int,
    mask_sum: float | None,
    mask_var: float | None,
    scale: bool | None,
    mask: tuple[str, ...],
    mask_mhz: tuple[tuple[float, float], ...],
    output: Path | None,
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
    """Draw the waterfalls of pulses, each below its profile, at a size for journals.

    Files of any format, and the .npz of `mwaconvert dedisperse` or CHIME/FRB's get_wfall.py. Masked samples are
    white. Masks by sum and variance look at the channels as they are in the file, before they are scaled.

    \b
    Examples:
      mwaconvert waterfall 145207799_wfall.npz --dm 87.81 -o 145207799_wfall.pdf
      mwaconvert waterfall a.npz b.npz c.npz --dm 87.76 --dm 87.86 --dm 87.81 --title 20200120E
          --title 20200718A --title 20201129A --label "(a)" --mask-sum 2 --mask-var 0.05 -o wfall.pdf
      mwaconvert waterfall burst.fil --dm 475.28 --nsub 84 --window 40 -o burst.png
    """
    from mwaconvert.staging import check_targets, kind_of
    from mwaconvert.text import size_text
    from mwaconvert.transients.dedispersion import plan_dedispersion
    from mwaconvert.transients.figures import SUFFIXES, Look, Panel, save_figure, waterfall_figure

    output = files[0].with_suffix(".pdf") if output is None else output
    if output.suffix.lower() not in SUFFIXES:
        raise InputError(f"{output}: expected a name that ends in {', '.join(SUFFIXES)}")
    if not window > 0:
        raise InputError(f"--window {window:g}: expected a positive number of milliseconds")
    if not min(size) > _SMALLEST:
        raise InputError(f"--size {size[0]:g} {size[1]:g}: expected inches above {_SMALLEST:g}")
    for dm in dms:
        common.check_dm(dm)
    _check_colours(cmap)
    inputs = [read for path in files for read in common.input_files(path)]
    check_targets([(output, kind_of(output))], inputs=inputs, overwrite=overwrite)
    all_dms, all_times = _each(dms, files, "--dm"), _each(times, files, "--time")
    if titles and len(titles) != len(files):
        raise InputError(
            f"--title was given {len(titles)} times for {len(files)} files: give it once for each"
        )
    masks = _Masks(mask, mask_mhz, mask_sum, mask_var)
    panels = []
    held = 0
    for k, path in enumerate(files):
        stream = common.open_file(path, k_dm, band, channels, average)
        nsub_here = n_sub or max(n for n in range(1, min(_NSUB, stream.n_chan) + 1) if stream.n_chan % n == 0)
        given = all_dms[k]
        dm = stream.dm if given is None else given
        time = all_times[k]
        if window / 1e3 < tscrunch * stream.dt_s:
            raise InputError(
                f"{path}: --window {window:g}: a sample takes {tscrunch * stream.dt_s * 1e3:g} ms: take a longer window"
            )
        if time is not None:
            stream, time = _about(stream, time, dm, window / 1e3)
        quantities: dict[str, Any] = {
            "n_sub": nsub_here,
            "tscrunch": tscrunch,
            "gulp": gulp,
            "threads": threads or 0,
        }
        plan = plan_dedispersion(stream, dm, **quantities)  # before a pass for the scales
        # the panels that are there already, this one, and what drawing takes
        held += 28 * plan.n_sub * (stream.n_times // tscrunch)
        needed = plan.spectra_memory_bytes + held + _DRAWING_BYTES + own_memory_bytes()
        if dry_run:
            common.print_lines(
                common.describe(stream)
                | {
                    "DM": f"{dm:g} pc/cm^3 (K = {stream.k_dm:.9g} MHz^2 s cm^3 / pc)",
                    "panel": f"{nsub_here} sub-bands of {tscrunch * stream.dt_s * 1e6:g} us",
                    "memory": f"about {size_text(needed)}",
                }
            )
            continue
        common.check_memory(path, needed, max_memory)
        prepare = _preparation(stream, masks, scale=scale, threads=threads or 0, quiet=quiet)
        with common.progress("dedispersing", "samples", quiet=quiet) as show:
            spectra = plan_dedispersion(stream, dm, prepare=prepare, **quantities).spectra(show)
        several = stream.source or path.stem if len(files) > 1 else ""
        panels.append(Panel(spectra, titles[k] if titles else several, time))
    if dry_run:
        return
    look = Look(window / 1e3, percentiles, size, cmap, label, columns)
    save_figure(waterfall_figure(panels, look), output, overwrite=overwrite, dpi=dpi)
    if not quiet:
        click.echo(f"{output}")


def _about(stream: Stream, time_s: float, dm: float, window_s: float) -> tuple[Stream, float]:
    """The part of a file that holds a pulse, with enough about it for scales, and the time of the pulse in it."""
    import numpy as np

    from mwaconvert.spectra.dispersion import delay_per_dm, delay_samples
    from mwaconvert.spectra.stream import StreamPart

    if not 0 <= time_s < stream.n_times * stream.dt_s:
        raise InputError(
            f"{stream.path}: no samples within {1e3 * window_s:g} ms of {time_s:g} s: the data last "
            f"{stream.n_times * stream.dt_s:.6g} s"
        )
    delays = delay_samples(dm - stream.dm, delay_per_dm(stream.freq_mhz, "top", stream.k_dm) / stream.dt_s)
    around = int(np.ceil(window_s / stream.dt_s)) + _AROUND
    at = int(time_s / stream.dt_s + 1e-6)
    first = max(0, at + min(0, int(delays.min())) - around)
    last = min(stream.n_times, at + max(0, int(delays.max())) + around)
    return StreamPart(stream, first, last - first), time_s - first * stream.dt_s


@dataclass(frozen=True)
class _Masks:
    channels: tuple[str, ...]
    bands_mhz: tuple[tuple[float, float], ...]
    most_sum: float | None
    most_variance: float | None


def _preparation(
    stream: Stream, masks: _Masks, *, scale: bool | None, threads: int, quiet: bool
) -> Preparation:
    """Masks by name, then by what the channels hold; scales."""
    import numpy as np

    from mwaconvert.transients.prepare import Preparation, channel_statistics

    if scale is None:
        scale = stream.kind not in ("waterfall", "CHIME/FRB waterfall")
    named = common.preparation(
        stream, masks.channels, masks.bands_mhz, scale=False, threads=threads, quiet=quiet
    ).masked
    if not scale and masks.most_sum is None and masks.most_variance is None:
        return Preparation(named)
    with common.progress("scaling", "samples", quiet=quiet) as show:
        mean, std = channel_statistics(stream, show, threads)
    gone = np.zeros(stream.n_chan, bool) if named is None else named
    if masks.most_sum is not None:
        gone = gone | (np.abs(mean) * stream.n_times > masks.most_sum)
    if masks.most_variance is not None:
        gone = gone | (std**2 > masks.most_variance)
    if gone.all():
        raise InputError(f"{stream.path}: all channels are masked; see --mask, --mask-sum and --mask-var")
    return Preparation(gone, mean, std, threads) if scale else Preparation(gone)


def _check_colours(name: str) -> None:
    colormaps = need("matplotlib", "plot", "drawing").colormaps
    if name not in colormaps:
        raise InputError(
            f"--cmap {name}: matplotlib has no such colours; viridis, magma or Greys, for example"
        )


def _each(given: tuple[float, ...], files: tuple[Path, ...], option: str) -> list[float | None]:
    """A value for each file."""
    if not given:
        return [None] * len(files)
    if len(given) == 1:
        return [given[0]] * len(files)
    if len(given) != len(files):
        raise InputError(
            f"{option} was given {len(given)} times for {len(files)} files: give it once, or for each"
        )
    return [*given]
