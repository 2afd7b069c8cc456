"""What the verbs for filterbanks share: options, reading of lists, and the file they open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mwaconvert.errors import InputError, ResourceError
from mwaconvert.machine import free_bytes
from mwaconvert.vocabulary import values

if TYPE_CHECKING:
    from mwaconvert.spectra.stream import Stream
    from mwaconvert.transients.prepare import Preparation

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 110}

_Command = TypeVar("_Command", bound=Callable[..., Any])


def preparing(command: _Command) -> _Command:
    """Options for what is done to the spectra before they are summed."""
    for option in (
        click.option(
            "--scale", is_flag=True, help="Bring each channel to mean 0 and standard deviation 1 first."
        ),
        click.option(
            "--mask-mhz",
            multiple=True,
            nargs=2,
            type=float,
            metavar="LOW HIGH",
            help="Leave out channels within these frequencies; may be repeated.",
        ),
        click.option(
            "--mask",
            multiple=True,
            metavar="LIST",
            help="Leave out channels, counted from 0 at the lowest frequency: 0-10,35.",
        ),
    ):
        command = option(command)
    return command


def voltages(command: _Command) -> _Command:
    """Options for files of voltages, which are detected while they are read."""
    for option in (
        click.option(
            "--average", type=click.IntRange(1), metavar="N", help="Voltages: spectra that become one."
        ),
        click.option(
            "--channels",
            type=click.IntRange(1),
            metavar="N",
            help="Voltages: split each channel into this many. Default: 128 of MWAX, else 1.",
        ),
        click.option(
            "--band",
            nargs=2,
            type=float,
            metavar="LOW HIGH",
            help="VDIF: edges of the band in MHz, that of the first channel first.",
        ),
    ):
        command = option(command)
    return command


def running(command: _Command) -> _Command:
    """Options of every verb that works through a file."""
    for option in (
        click.option("-v", "--verbose", is_flag=True, help="Tracebacks of unexpected errors."),
        click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors."),
        click.option("--overwrite", is_flag=True, help="Replace outputs that exist."),
        click.option(
            "--dry-run", is_flag=True, help="Print what would be done and how much memory it takes."
        ),
        click.option("--max-memory", metavar="GIB", help="Refuse to take more than this: 4, 4GB, 512MiB."),
        click.option(
            "-j",
            "--threads",
            type=click.IntRange(1),
            metavar="N",
            help="Default: all cores this process may use.",
        ),
        click.option(
            "--gulp",
            type=click.IntRange(1),
            metavar="N",
            help="Samples read at a time; results do not depend on it.",
        ),
        click.option(
            "--k-dm",
            type=float,
            metavar="K",
            help="Dispersion constant, MHz^2 s cm^3 / pc. Default: 1/2.41e-4 = 4149.378.",
        ),
    ):
        command = option(command)
    return command


def input_files(path: Path) -> list[Path]:
    """All files that are read with one: the chunks in a folder, both files of a series."""
    if path.is_dir():
        return [p for p in path.iterdir() if p.is_file()]
    return (
        [path, path.with_suffix(".inf"), path.with_suffix(".dat")]
        if path.suffix in (".dat", ".inf")
        else [path]
    )


def open_file(
    path: Path,
    k_dm: float | None,
    band: tuple[float, float] | None = None,
    channels: int | None = None,
    average: int | None = None,
) -> Stream:
    """Open a file of spectra or voltages."""
    from mwaconvert.formats.spectra.reader import open_stream

    stream = open_stream(path, band_mhz=band, channels=channels, average=average or 1)
    if k_dm is not None:
        if not 0 < k_dm < 1e6:
            raise InputError(f"--k-dm {k_dm:g}: expected a number near 4149, MHz^2 s cm^3 / pc")
        stream.k_dm = k_dm
    return stream


def preparation(
    stream: Stream,
    mask: Sequence[str],
    mask_mhz: Sequence[tuple[float, float]],
    *,
    scale: bool,
    threads: int,
    quiet: bool,
    dry_run: bool = False,
) -> Preparation:
    """Masks and scales, as asked for; the scales take one pass through the file."""
    from mwaconvert.transients.prepare import Preparation, channel_statistics, select_channels

    try:
        channels = [pair for text in mask for pair in values.ranges(text)]
    except ValueError as error:
        raise InputError(f"--mask: {error}") from None
    try:
        masked = select_channels(stream.freq_mhz, channels, list(mask_mhz))
    except InputError as error:
        raise InputError(f"{stream.path}: {error}; see --mask and --mask-mhz") from None
    if not scale:
        return Preparation(masked)
    if dry_run:
        import numpy as np

        return Preparation(masked, np.zeros(stream.n_chan), np.ones(stream.n_chan))
    with progress("scaling", "samples", quiet=quiet) as show:
        mean, std = channel_statistics(stream, show, threads)
    return Preparation(masked, mean, std, threads)


def progress(doing: str, unit: str, *, quiet: bool) -> AbstractContextManager[Callable[[int, int], None]]:
    """A bar on a terminal, lines elsewhere."""
    from mwaconvert.cli.progress import Progress

    return Progress(enabled=not quiet, doing=doing, unit=unit)


def check_dm(dm: float) -> None:
    """Refuse what is no DM.

    Raises
    ------
    InputError : it is negative, or not a number
    """
    if not 0 <= dm < float("inf"):
        raise InputError(f"--dm {dm:g}: expected a number of pc/cm^3, 0 or more")


def check_memory(path: Path, needed: int, limit: str | None) -> None:
    """Refuse what does not fit.

    Raises
    ------
    ResourceError : it takes more than allowed, or more than the machine has
    """
    from mwaconvert.text import size_text

    if limit is not None:
        try:
            allowed = int(values.gibibytes(limit) * 2**30)
        except ValueError as error:
            raise InputError(f"--max-memory {limit}: {error}") from None
        what = "--max-memory allows"
    else:
        allowed, what = free_bytes(), "this machine has free"
    if needed > allowed:
        raise ResourceError(
            f"{path}: this takes {size_text(needed)} of memory, {what} {size_text(allowed)}: take lower DMs or a "
            "smaller --gulp"
        )


def describe(stream: Stream) -> dict[str, str]:
    """A file in a few lines."""
    import numpy as np

    from mwaconvert.text import size_text

    held = np.dtype(stream.dtype).name
    return {
        "file": f"{stream.path} ({stream.kind})",
        "source": stream.source or "not named",
        "channels": f"{stream.n_chan}, {stream.freq_mhz[0]:.6f} to {stream.freq_mhz[-1]:.6f} MHz (centres)",
        "samples": f"{stream.n_times} of {stream.dt_s * 1e6:g} us: {stream.n_times * stream.dt_s:.6g} s",
        "values": f"{held}, {size_text(stream.bytes_per_sample * stream.n_times)} in memory",
        "start": "not in the file" if stream.start_mjd is None else f"MJD {stream.start_mjd:.10f}",
        "DM of the data": f"{stream.dm:g} pc/cm^3",
    }


def print_lines(lines: dict[str, str]) -> None:
    """Names and values, in two columns."""
    width = max(map(len, lines))
    for name, value in lines.items():
        click.echo(f"{name:<{width}}  {value}")
