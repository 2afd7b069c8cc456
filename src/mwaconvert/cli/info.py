"""The verb info: what was observed, which files are there, what would be done."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mwaconvert.cli.verbs import SETTINGS

if TYPE_CHECKING:
    from rich.console import Console

    from mwaconvert.observation.model import Metadata
    from mwaconvert.observation.observation import Observation

#: characters of the map of files along time
MAP_WIDTH = 40

GEODEL = {0: "none", 1: "tracked the zenith", 2: "tracked the pointing", 3: "tracked the phase centre"}
CABLEDEL = {0: "none", 1: "cables and receiver clock", 2: "cables, receiver clock and beamformers"}


@click.command(
    short_help="What was observed, which files are there, what would be done.",
    context_settings=SETTINGS,
)
@click.argument("metafits", type=click.Path(path_type=Path), metavar="OBS.metafits")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[RAW FILES]...")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@click.option("-v", "--verbose", is_flag=True, help="List all antennas; tracebacks of unexpected errors.")
def info(metafits: Path, files: tuple[Path, ...], as_json: bool, verbose: bool) -> None:
    """Show the metadata of an observation, its raw files and timesteps, and the default plan.

    Raw files are searched beside the metafits file unless they are given; without any, the metadata alone are
    shown.
    """
    import mwaconvert
    from mwaconvert.errors import InputError
    from mwaconvert.observation.metafits import read_metadata
    from mwaconvert.observation.rawfiles import find_raw_files

    metadata, observation = read_metadata(metafits), None
    try:
        found = files or find_raw_files(metadata.path, metadata.obsid)
    except InputError:
        found = ()
    if found:
        observation = mwaconvert.open(metafits, found)
        metadata = observation.metadata
    if as_json:
        from mwaconvert.text import json_text

        click.echo(json_text(facts(metadata, observation)))
    else:
        from rich.console import Console

        _print(Console(highlight=False), metadata, observation, all_antennas=verbose)


def facts(metadata: Metadata, observation: Observation | None) -> dict[str, Any]:
    """What --json prints (layout: docs/report.md)."""
    from dataclasses import asdict

    from mwaconvert.conversion.report.describe import describe
    from mwaconvert.conversion.report.report import observation_facts
    from mwaconvert.text import plain

    found: dict[str, Any] = {
        "format": "mwaconvert info",
        "observation": observation_facts(metadata),
        "applied_by_correlator": _applied(metadata),
        "phase_centre_deg": metadata.phase_centre_deg,
        "az_alt_deg": metadata.az_alt_deg,
        "dut1_s": metadata.dut1_s,
        "quack_s": metadata.quack_s,
        "antennas": [asdict(antenna) for antenna in metadata.antennas],
        "coarse_channels": [asdict(channel) for channel in metadata.coarse_channels],
    }
    if observation is not None:
        found |= {
            "files": [asdict(file) for file in observation.files],
            "timesteps_unix_s": observation.timestep_unix_ms / 1000,
            "common": _span(observation.common),
            "common_good": _span(observation.common_good),
            "present": (observation.hdu_index >= 0).astype(int),
            "notes": observation.notes,
            "default_plan": describe(observation.plan(), [Path(f"{metadata.obsid}.uvfits")]),
        }
    plain_facts: dict[str, Any] = plain(found)
    return plain_facts


def _applied(metadata: Metadata) -> dict[str, str]:
    return {
        "geometric delays": f"{GEODEL.get(metadata.geodel, 'unknown')} (GEODEL={metadata.geodel})",
        "cable delays": f"{CABLEDEL.get(metadata.cabledel, 'unknown')} (CABLEDEL={metadata.cabledel})",
        "digital gains": "divided out" if metadata.digital_gains_applied else "none",
        "calibration": "delays and gains of CALIBDATA (CALIBDEL=1)"
        if metadata.calibration_applied
        else "none",
        "signal chains": "phases taken out (SIGCHDEL=1)" if metadata.signal_chain_applied else "none",
        "coarse passband": "flattened (deripple)" if metadata.deripple else "none",
        "filter bank": "oversampled" if metadata.oversampled else "critically sampled",
    }


def _corrections(metadata: Metadata) -> dict[str, str]:
    from mwaconvert.conversion.options import Options
    from mwaconvert.conversion.tables.corrections import decide_corrections

    steps = decide_corrections(metadata, Options())
    return {step.name: step.reason for step in steps}


def _print(
    console: Console, metadata: Metadata, observation: Observation | None, *, all_antennas: bool
) -> None:
    from rich.rule import Rule

    def section(title: str) -> None:
        console.print(Rule(title, align="left", style="dim"))

    section(f"[bold]{metadata.obsid}[/] {metadata.name}")
    console.print(_pairs(_summary(metadata)))
    section("Applied by the correlator")
    console.print(_pairs(_applied(metadata)))
    flagged = [f"{a.name} ({a.index})" for a in metadata.antennas if a.flagged]
    section(f"Antennas: {metadata.n_antennas}, flagged {len(flagged)}")
    if flagged:
        console.print("flagged: " + ", ".join(flagged))
    if all_antennas:
        console.print(_antenna_table(metadata))
    section(f"Coarse channels: {len(metadata.coarse_channels)}")
    console.print(_channel_table(metadata, observation))
    if observation is None:
        section("Default corrections")
        console.print(_pairs(_corrections(metadata)))
        console.print(f"no raw files of {metadata.obsid} were given or lie beside the metafits file")
        return
    section("Timesteps")
    console.print(_pairs(_timesteps(observation)))
    for note in observation.notes:
        console.print(f"[yellow]note[/] {note}", soft_wrap=False)
    section("Default plan")
    from mwaconvert.cli.convert import text_width
    from mwaconvert.conversion.report.describe import description_text
    from mwaconvert.vocabulary.options import in_words

    outputs = [Path(f"{metadata.obsid}.uvfits")]
    click.echo(in_words(description_text(observation.plan(), outputs, width=text_width())))


def _pairs(values: dict[str, str]) -> Any:
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for label, value in values.items():
        table.add_row(label, value)
    return table


def _summary(metadata: Metadata) -> dict[str, str]:
    from mwaconvert.text import utc_text

    def place(direction: tuple[float, float] | None) -> str:
        return (
            "not in the metafits"
            if direction is None
            else f"RA {direction[0]:.4f}, Dec {direction[1]:.4f} deg"
        )

    start = utc_text(metadata.sched_start_unix_s).replace("T", " ")
    azimuth, altitude = metadata.az_alt_deg
    return {
        "start": f"{start} UTC, {metadata.sched_duration_s:g} s",
        "project": f"{metadata.project}, {metadata.creator}, {metadata.mode}",
        "correlator": f"{metadata.correlator}: {metadata.int_time_s:g} s, {metadata.n_fine} channels of"
        f" {metadata.fine_width_hz / 1e3:g} kHz in each coarse channel",
        "pointing": f"{place(metadata.pointing_deg)} (az {azimuth:.2f}, alt {altitude:.2f})",
        "phase centre": place(metadata.phase_centre_deg),
        "calibrator": metadata.calibrator_source if metadata.calibrator else "no",
        "quack time": f"{metadata.quack_s:g} s",
        "UT1-UTC": "not in the metafits" if metadata.dut1_s is None else f"{metadata.dut1_s:g} s",
    }


def _antenna_table(metadata: Metadata) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in (
        "index",
        "tile",
        "east (m)",
        "north (m)",
        "height (m)",
        "cable X, Y (m)",
        "receiver",
        "flag",
    ):
        table.add_column(title, justify="left" if title in ("tile", "flag") else "right")
    for a in metadata.antennas:
        table.add_row(
            str(a.index),
            a.name,
            f"{a.east_m:.1f}",
            f"{a.north_m:.1f}",
            f"{a.height_m:.1f}",
            "{:.1f}, {:.1f}".format(*a.electrical_length_m),
            str(a.receiver),
            "flagged" if a.flagged else "",
        )
    return table


def _channel_table(metadata: Metadata, observation: Observation | None) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("index", "receiver channel", "box", "centre (MHz)"):
        table.add_column(title, justify="right")
    if observation is not None:
        table.add_column("files", justify="right")
        table.add_column("timesteps", justify="right")
        table.add_column("present along time", no_wrap=True)
    for c in metadata.coarse_channels:
        row = [str(c.index), str(c.number), str(c.gpubox), f"{c.centre_hz / 1e6:.2f}"]
        if observation is not None:
            present = (observation.hdu_index[:, c.index] >= 0).tolist()
            n_files = sum(file.coarse == c.index for file in observation.files)
            row += [str(n_files), f"{sum(present)}/{len(present)}", _map(present)]
        table.add_row(*row)
    return table


def _map(present: list[bool]) -> str:
    """A character for each few timesteps: all there, some, none."""
    utf8 = (sys.stdout.encoding or "").lower().startswith("utf")
    everything, some, nothing = "█▒·" if utf8 else "#+."
    width = min(MAP_WIDTH, len(present))
    text = ""
    for k in range(width):
        part = present[k * len(present) // width : (k + 1) * len(present) // width]
        text += everything if all(part) else some if any(part) else nothing
    return text


def _span(steps: range) -> list[int]:
    """First and last index, or nothing."""
    return [steps[0], steps[-1]] if steps else []


def _timesteps(observation: Observation) -> dict[str, str]:
    from mwaconvert.text import utc_text

    times = observation.timestep_unix_ms / 1000

    def spell(steps: range) -> str:
        span = _span(steps)
        if not span:
            return "none"
        first, last = span
        return f"{last - first + 1}: {first} to {last}, from {utc_text(times[first]).replace('T', ' ')} UTC"

    return {
        "in any file": spell(range(len(times))),
        "in all channels": spell(observation.common),
        "after the quack time": spell(observation.common_good),
    }
