"""The verb simulate: raw files of a known sky."""

from __future__ import annotations

from pathlib import Path

import click

from mwaconvert.cli.verbs import SETTINGS
from mwaconvert.errors import InputError
from mwaconvert.vocabulary import values


@click.command(
    short_help="Raw files of a known sky.",
    context_settings=SETTINGS,
)
@click.option(
    "--like",
    default="mwax-128",
    show_default=True,
    metavar="METAFITS|NAME",
    help="Array and correlator: legacy-128, mwax-128, mwax-256, or a metafits to take them from.",
)
@click.option("--duration", default="8", show_default=True, metavar="S", help="Length of the observation.")
@click.option("--int-time", metavar="S", help="Integration time. Default: 2 s, or as in the metafits.")
@click.option(
    "--fine-chan", metavar="KHZ", help="Fine channel width. Default: 40 kHz, or as in the metafits."
)
@click.option(
    "--coarse-channels",
    metavar="N|LIST",
    help="How many (4), or receiver channel numbers (131-154, or 100,110,120 for a picket fence).",
)
@click.option(
    "--point",
    "points",
    multiple=True,
    nargs=3,
    metavar="RA DEC FLUX",
    help="A point source (J2000; Jy at 150 MHz); may be repeated. Default: 10 Jy at the phase centre.",
)
@click.option(
    "--sky",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Sources: a line each, RA DEC FLUX [INDEX].",
)
@click.option(
    "--phase-centre", nargs=2, metavar="RA DEC", help="Default: near the zenith, or as in the metafits."
)
@click.option(
    "--noise", type=float, default=0.0, metavar="JY", help="Standard deviation of real and imaginary part."
)
@click.option(
    "--rfi", type=float, default=0.0, metavar="FRACTION", help="Fraction of cells with interference."
)
@click.option(
    "--missing",
    multiple=True,
    metavar="WHAT",
    help="Leave out: ch=3 (a channel), t=5 or ch=2,t=0-3 (integrations), last=1 (files cut short).",
)
@click.option("--compress", is_flag=True, help="Legacy only: Rice-compressed integers.")
@click.option("--tiles", type=int, metavar="N", help="MWAX only: another number of tiles.")
@click.option("--flagged-tiles", metavar="LIST", help="Antennas that the metafits flags, counted from 0.")
@click.option(
    "--seed", type=int, default=0, show_default=True, metavar="N", help="Of noise and interference."
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Where to write."
)
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
@click.option("-v", "--verbose", is_flag=True, help="Log lines, and tracebacks of unexpected errors.")
def simulate(
    like: str,
    duration: str,
    int_time: str | None,
    fine_chan: str | None,
    coarse_channels: str | None,
    points: tuple[tuple[str, str, str], ...],
    sky: Path | None,
    phase_centre: tuple[str, str] | None,
    noise: float,
    rfi: float,
    missing: tuple[str, ...],
    compress: bool,
    tiles: int | None,
    flagged_tiles: str | None,
    seed: int,
    output: Path,
    overwrite: bool,
    quiet: bool,
    verbose: bool,  # noqa: ARG001  looked at where errors are explained
) -> None:
    """Write a metafits and raw files of a known sky."""
    from mwaconvert.cli.progress import Progress
    from mwaconvert.simulate import simulate as run

    try:
        duration_s = values.seconds(duration)
        int_time_s = None if int_time is None else values.seconds(int_time)
        fine_khz = None if fine_chan is None else values.kilohertz(fine_chan)
        channels = None if coarse_channels is None else _channels(coarse_channels)
        sources = [(*values.direction(ra, dec), float(flux)) for ra, dec, flux in points] or None
        centre = None if phase_centre is None else values.direction(*phase_centre)
        flagged = () if flagged_tiles is None else values.indices(flagged_tiles)
    except ValueError as error:
        raise InputError(str(error)) from None
    with Progress(enabled=not quiet) as progress:
        done = run(
            output,
            like,
            duration_s=duration_s,
            int_time_s=int_time_s,
            fine_khz=fine_khz,
            coarse_channels=channels,
            sources=sources,
            sky=sky,
            phase_centre=centre,
            noise_jy=noise,
            rfi_fraction=rfi,
            missing=missing,
            compress=compress,
            n_tiles=tiles,
            flagged_tiles=flagged,
            seed=seed,
            overwrite=overwrite,
            progress=progress,
        )
    if not quiet:
        click.echo(f"{done.metafits}")
        for path in done.raw:
            click.echo(f"{path}")


def _channels(text: str) -> int | tuple[int, ...]:
    """4 -> how many; 131-154 or 100,110 -> which."""
    return int(text) if text.isdigit() else values.indices(text)
