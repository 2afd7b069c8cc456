"""The verb fil-info: what a file of spectra holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mwaconvert.cli.spectra import common
from mwaconvert.cli.verbs import SETTINGS, verbose
from mwaconvert.vocabulary.spectra import VOLTAGES, parsed


@click.command(
    "fil-info",
    params=[
        click.Argument(["file"], type=click.Path(path_type=Path)),
        click.Option(["--json", "as_json"], is_flag=True, help="For machines."),
        *map(common.option, VOLTAGES),
    ],
    short_help="What a filterbank holds.",
    context_settings=SETTINGS,
)
@verbose
def fil_info(file: Path, as_json: bool, **params: Any) -> None:
    """Show the header of a file of spectra of any format, and what follows from it.

    \b
    Examples:
      mwaconvert fil-info burst.fil
      mwaconvert fil-info search.fits --json
    """
    from dataclasses import asdict

    from mwaconvert.spectra.dispersion import delay_per_dm
    from mwaconvert.transients.products.common import open_file
    from mwaconvert.transients.products.requests import SpectraRequest

    said = {spec: params[spec.canonical.lstrip("-")] for spec in VOLTAGES}
    values = {spec.sets: parsed(spec, words) for spec, words in said.items() if words is not None}
    request = SpectraRequest(**values)
    request.check()
    stream = open_file(file, request)
    per_dm = delay_per_dm(stream.freq_mhz, "top", stream.k_dm)
    if as_json:
        from mwaconvert.text import json_text

        facts = {
            "format": "mwaconvert fil-info",
            "file": str(stream.path),
            "kind": stream.kind,
            "source": stream.source,
            "n_chan": stream.n_chan,
            "n_times": stream.n_times,
            "freq_low_mhz": float(stream.freq_mhz[0]),
            "freq_high_mhz": float(stream.freq_mhz[-1]),
            "descending": stream.descending,
            "dt_s": stream.dt_s,
            "duration_s": stream.n_times * stream.dt_s,
            "start_mjd": stream.start_mjd,
            "recording": asdict(stream.recording),
            "dm": stream.dm,
            "k_dm": stream.k_dm,
            "delay_per_dm_s": float(per_dm.max()),
            "notes": list(stream.notes),
            "header": {key: _plain(value) for key, value in stream.fields.items()},
        }
        click.echo(json_text(facts))
        return
    lines = stream.facts()
    lines["order in file"] = "from the highest channel" if stream.descending else "from the lowest channel"
    lines["delay across the band"] = f"{1e3 * float(per_dm.max()):.6g} ms per unit of DM"
    lines |= {f"header: {key}": str(value) for key, value in stream.fields.items()}
    common.print_lines(lines)
    for note in stream.notes:
        click.echo(f"note: {note}")


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    import math

    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, int | str | bool) else str(value)
