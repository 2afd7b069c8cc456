"""The verb dedisperse: one DM, to a waterfall, a filterbank or a time series."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mwaconvert.cli import spectra as common
from mwaconvert.errors import InputError
from mwaconvert.machine import own_memory_bytes

if TYPE_CHECKING:
    from mwaconvert.transients.dedispersion import Dedispersion

_KINDS = (".npz", ".fil", ".h5", ".tim", ".dat")


@click.command(short_help="Dedisperse a filterbank at one DM.", context_settings=common.SETTINGS)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dm", type=float, required=True, metavar="DM", help="pc/cm^3; 0 only converts and averages.")
@click.option(
    "--nsub",
    "n_sub",
    type=click.IntRange(1),
    metavar="N",
    help="Average to this number of sub-bands. Default: all channels.",
)
@click.option(
    "--tscrunch", type=click.IntRange(1), default=1, metavar="N", help="Average this many samples in time."
)
@click.option(
    "--nbits",
    type=click.Choice(["1", "2", "4", "8", "16", "32"]),
    help="Of .fil. Default: 8 if the values stay whole numbers of 8 bits, else 32.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="OUT",
    help="Default: FILE with _dm<DM>.npz. .npz: waterfall; .fil, .h5 (blimpy): filterbank; .tim, .dat: time series.",
)
@common.preparing
@common.voltages
@common.running
def dedisperse(
    file: Path,
    dm: float,
    n_sub: int | None,
    tscrunch: int,
    nbits: str | None,
    output: Path | None,
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
    """Dedisperse a filterbank of any format at one DM and average it.

    Channels are shifted by whole samples, towards the centre of the highest one, before they are averaged. A
    .npz has the arrays of CHIME/FRB's get_wfall.py (intensity, dt, df, dm, fbottom) and a few more.

    \b
    Examples:
      mwaconvert dedisperse burst.fil --dm 475.28 --nsub 64
          a waterfall of 64 sub-bands -> burst_dm475.28.npz
      mwaconvert dedisperse burst.fil --dm 475.28 -o burst.dat
          a time series for PRESTO, with its .inf
      mwaconvert dedisperse search.fits --dm 0 --tscrunch 4 -o search.fil
          only convert and average
    """
    from mwaconvert.staging import check_targets, kind_of
    from mwaconvert.transients.dedispersion import plan_dedispersion

    common.check_dm(dm)
    output = file.with_name(f"{file.stem}_dm{dm:g}.npz") if output is None else output
    if output.suffix not in _KINDS:
        raise InputError(f"{output}: expected a name that ends in {', '.join(_KINDS)}")
    if nbits is not None and output.suffix != ".fil":
        raise InputError("--nbits is for .fil; other outputs are float32")
    if n_sub is not None and output.suffix in (".tim", ".dat"):
        raise InputError(f"--nsub does not go with {output.suffix}, which holds the sum over all channels")
    stream = common.open_file(file, k_dm, band, channels, average)
    plan_dedispersion(stream, dm, n_sub=n_sub, tscrunch=tscrunch, gulp=gulp)  # before a pass for the scales
    outputs = [output, output.with_suffix(".inf")] if output.suffix == ".dat" else [output]
    targets = [(path, kind_of(path)) for path in outputs]
    check_targets(targets, inputs=common.input_files(file), overwrite=overwrite)
    prepare = common.preparation(
        stream, mask, mask_mhz, scale=scale, threads=threads or 0, quiet=quiet, dry_run=dry_run
    )
    plan = plan_dedispersion(
        stream, dm, n_sub=n_sub, tscrunch=tscrunch, prepare=prepare, gulp=gulp, threads=threads or 0
    )
    series = output.suffix in (".tim", ".dat")
    if output.suffix == ".npz":
        needed = plan.spectra_memory_bytes
    else:
        needed = plan.series_memory_bytes if series else plan.memory_bytes
        plan.need_complete()
    needed += own_memory_bytes()
    if dry_run:
        _describe(plan, output, needed)
        return
    common.check_memory(file, needed, max_memory)
    _write(plan, output, None if nbits is None else int(nbits), overwrite=overwrite, quiet=quiet)
    if not quiet:
        click.echo(f"{output}")
        for note in stream.notes:
            click.echo(f"note: {note}", err=True)


def _describe(plan: Dedispersion, output: Path, needed: int) -> None:
    from mwaconvert.text import size_text

    stream = plan.stream
    lines = common.describe(stream) | {
        "DM": f"{plan.dm:g} pc/cm^3 (K = {stream.k_dm:.9g} MHz^2 s cm^3 / pc)",
        "sweep": f"{plan.sweep} samples, {plan.sweep * stream.dt_s:.6g} s",
        "output": f"{output}: {plan.n_sub} sub-bands of {plan.tscrunch * stream.dt_s * 1e6:g} us",
        "gulps": f"{-(-stream.n_times // plan.gulp)} of {plan.gulp} samples",
        "memory": f"about {size_text(needed)}",
    }
    common.print_lines(lines)


def _write(plan: Dedispersion, output: Path, nbits: int | None, *, overwrite: bool, quiet: bool) -> None:
    import numpy as np

    from mwaconvert import __version__

    stream = plan.stream
    dt_s = stream.dt_s * plan.tscrunch
    with common.progress("dedispersing", "samples", quiet=quiet) as show:
        if output.suffix == ".npz":
            from mwaconvert.formats.spectra.wfall import write_wfall

            write_wfall(output, plan.spectra(show), overwrite=overwrite)
            return
        span = plan.need_complete()
        start = None if stream.start_mjd is None else stream.start_mjd + span.start * stream.dt_s / 86400
        origin = f"{stream.path.name}; mwaconvert {__version__}, K = {stream.k_dm:.9g}"
        if output.suffix == ".dat":
            from mwaconvert.formats.spectra.presto import SeriesInfo, write_series

            info = SeriesInfo(
                dt_s,
                len(span) // plan.tscrunch,
                plan.dm,
                float(stream.freq_mhz[0]),
                stream.df_mhz,
                stream.n_chan,
                start or 0.0,
                stream.source,
                notes=f"{origin}; delays relative to the highest channel",
            )
            write_series(output, info, plan.series(show), overwrite=overwrite)
            return
        from mwaconvert.formats.spectra.sigproc_writer import FilterbankWriter, kept

        series = output.suffix == ".tim"
        whole = np.dtype(stream.dtype) == np.uint8 and plan.prepare.mean is None
        whole &= plan.n_sub == stream.n_chan and plan.tscrunch == 1
        freq_mhz = stream.freq_mhz[-1:] if series else stream.freq_mhz.reshape(plan.n_sub, -1).mean(1)
        if output.suffix == ".h5":
            from mwaconvert.formats.spectra.hdf5 import Fbh5Writer

            about = {"tstart": start, "source_name": stream.source, "rawdatafile": origin}
            if plan.dm:
                about |= {"refdm": plan.dm, "data_type": 6}
            head = kept(stream.fields) | about
            dtype = np.uint8 if whole else np.float32
            with Fbh5Writer(output, freq_mhz, dt_s, dtype, header=head, overwrite=overwrite) as h5:
                for block in plan.blocks(span, show):
                    h5.write(block.data)
                    del block  # not beside the next one
            return
        with FilterbankWriter(
            output,
            freq_mhz,
            dt_s,
            nbits or (8 if whole and not series else 32),
            dm=plan.dm,
            series=series,
            start_mjd=start,
            source=stream.source,
            rawdatafile=origin,
            header=stream.fields,
            overwrite=overwrite,
        ) as writer:
            if series:
                for piece in plan.series(show):
                    writer.write(piece[None])
            else:
                for block in plan.blocks(span, show):
                    writer.write(block.data)
                    del block
        if writer.clipped and not quiet:
            click.echo(
                f"note: {writer.clipped} values did not fit into {nbits} bits and were clipped; see --nbits",
                err=True,
            )
