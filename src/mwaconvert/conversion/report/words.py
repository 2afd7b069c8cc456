"""The report as text: what `mwaconvert` prints when it is done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from mwaconvert.conversion.report.parts import FlagCount, OutputFile, Performance
from mwaconvert.conversion.steps import State, Step
from mwaconvert.staging import Kind
from mwaconvert.text import percent, plural, size_text, some, utc_text
from mwaconvert.visibilities.interference import ArrayRfi
from mwaconvert.visibilities.model import VisHeader
from mwaconvert.visibilities.quality import Occupancy

#: events of --rfi-array that are told, strongest first
EVENTS = 5


def observation_line(header: VisHeader) -> str:
    """What was observed, in one line."""
    meta = header.metadata
    windows = header.spectral_windows
    low = min(float(w.freq_hz[0] - w.width_hz[0] / 2) for w in windows)
    high = max(float(w.freq_hz[-1] + w.width_hz[-1] / 2) for w in windows)
    bands = f" in {len(windows)} bands" if len(windows) > 1 else ""
    name = f' "{meta.name}"' if meta.name else ""
    return (
        f"{meta.obsid}{name}, {utc_text(meta.sched_start_unix_s).replace('T', ' ')} UTC, {meta.correlator}"
        f" correlator, {meta.n_antennas} tiles, {low / 1e6:.3f} to {high / 1e6:.3f} MHz{bands}"
    )


def read_lines(
    header: VisHeader, n_files: int, bytes_read: int, missing_hdus: Sequence[tuple[int, int]]
) -> list[str]:
    """What was read, and what of it was missing.

    Parameters
    ----------
    missing_hdus : (coarse index, timestep index)
    """
    text = f"{plural(n_files, 'file')}, {size_text(bytes_read)}"
    if not bytes_read:
        text = "none of the raw data: the flags need none"
    if not missing_hdus:
        return [f"{text}, nothing missing" if bytes_read else text]
    channels = header.metadata.coarse_channels
    by_channel = Counter(channels[c].number for c, _ in missing_hdus)
    where = ", ".join(f"{n} of channel {number}" for number, n in sorted(by_channel.items())[:8])
    more = f" and {len(by_channel) - 8} more channels" if len(by_channel) > 8 else ""
    return [f"{text}; {plural(len(missing_hdus), 'integration')} missing and flagged: {where}{more}"]


def step_lines(steps: Sequence[Step], *, applied: bool) -> list[str]:
    """Names and reasons of the steps that are applied, or of those that are not.

    Steps that nobody asked for share a line.
    """
    chosen = [step for step in steps if step.applied == applied]
    unasked = [step.name for step in chosen if step.state is State.UNASKED]
    told = [step for step in chosen if step.state is not State.UNASKED]
    width = max((len(step.name) for step in told), default=0) + 2
    lines = [f"{step.name:<{width}}{step.why}" for step in told]
    return [*lines, f"nothing asked for: {', '.join(unasked)}"] if unasked else lines


def flag_lines(
    header: VisHeader,
    occupancy: Occupancy,
    counts: Sequence[FlagCount],
    input_cells: int,
    *,
    only_flags: bool,
) -> list[str]:
    """How much is flagged, by which rules, and which tiles and timesteps throughout."""
    rules = [f"{rule.name} {percent(rule.cells / max(1, input_cells))}" for rule in counts if rule.cells]
    whole_text = "input" if only_flags else "output"
    lines = [f"{100 * occupancy.total:.2f} % of the {whole_text}"]
    if rules:
        lines.append(f"of the input, each rule by itself: {', '.join(rules)}")
    antennas = header.metadata.antennas
    fraction = np.nan_to_num(occupancy.antenna)
    whole = [antennas[i].name for i in np.flatnonzero(fraction >= 1)]
    if whole:
        lines.append(f"{plural(len(whole), 'tile')} throughout: {some(whole)}")
    n_steps = int((occupancy.timestep >= 1).sum())
    if n_steps:
        lines.append(f"{plural(n_steps, 'timestep')} of {len(occupancy.timestep)} throughout")
    return lines


def array_rfi_lines(found: ArrayRfi | None) -> list[str]:
    """What the mean over baselines showed."""
    if found is None:
        return []
    lines = [found.summary()]
    for event in found.events[:EVENTS]:
        first, last = event.timesteps
        lines.append(
            f"{event.shape}, {event.low_hz / 1e6:.3f} to {event.high_hz / 1e6:.3f} MHz, timesteps {first} to"
            f" {last}: {event.sigma:.1f} sigma ({event.polarisation})"
        )
    more = len(found.events) - EVENTS
    return [*lines, f"and {more} more, see the report in JSON"] if more > 0 else lines


def output_lines(outputs: Sequence[OutputFile]) -> list[str]:
    """Files that were written."""
    return [
        f"{output.path} ({size_text(output.bytes)}: {plural(output.times, 'time')} x"
        f" {plural(output.baselines, 'baseline')} x {plural(output.channels, 'channel')}"
        f"{'' if output.kind is Kind.FLAGS else ' x 4 polarisations'})"
        for output in outputs
    ]


def performance_lines(p: Performance) -> list[str]:
    """Time and memory."""
    return [
        f"{p.wall_s:.1f} s with {plural(p.threads, 'thread')}",
        f"{size_text(p.bytes_read / max(p.wall_s, 1e-9))}/s read,"
        f" {size_text(p.bytes_written / max(p.wall_s, 1e-9))}/s written,"
        f" {size_text(p.peak_memory_bytes)} memory at most",
    ]
