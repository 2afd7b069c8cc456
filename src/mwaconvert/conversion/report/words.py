"""The report as text: what `mwaconvert` prints when it is done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mwaconvert.arrays import FloatArray
from mwaconvert.conversion.steps import Step
from mwaconvert.text import WIDTH, percent, plural, sections, size_text, some, utc_text
from mwaconvert.visibilities.model import VisHeader

if TYPE_CHECKING:
    from mwaconvert.conversion.report.report import Quality, Report

#: events of --rfi-array that are told, strongest first
EVENTS = 5
#: noise of a tile, in units of the median tile, from which on it is named
LOUD = 1.5
#: reasons of steps that were neither asked for nor are usual
_IDLE = ("none", "off", "not asked for")


def report_text(report: Report, width: int = WIDTH) -> str:
    """The report in lines of at most this width."""
    return sections(
        width,
        ("observation", [observation_line(report.header)]),
        ("read", _read(report)),
        ("applied", step_lines(report.steps, applied=True)),
        ("not applied", step_lines(report.steps, applied=False)),
        ("flagged", _flags(report)),
        ("array RFI", _array_rfi(report)),
        ("quality", _quality(report)),
        ("smearing", [str(report.smearing)] if any(o.kind != "flags" for o in report.outputs) else []),
        ("wrote", _outputs(report)),
        ("took", _performance(report)),
        ("note", list(report.notes)),
    )


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


def _read(report: Report) -> list[str]:
    meta = report.header.metadata
    text = f"{plural(len(report.files), 'file')}, {size_text(report.performance.bytes_read)}"
    if not report.performance.bytes_read:
        text = "none of the raw data: the flags need none"
    if not report.missing_hdus:
        return [f"{text}, nothing missing" if report.performance.bytes_read else text]
    by_channel = Counter(meta.coarse_channels[c].number for c, _ in report.missing_hdus)
    where = ", ".join(f"{n} of channel {number}" for number, n in sorted(by_channel.items())[:8])
    more = f" and {len(by_channel) - 8} more channels" if len(by_channel) > 8 else ""
    return [f"{text}; {plural(len(report.missing_hdus), 'integration')} missing and flagged: {where}{more}"]


def step_lines(steps: Sequence[Step], *, applied: bool) -> list[str]:
    """Names and reasons of the steps that are applied, or of those that are not.

    Steps that nobody asked for share a line.
    """
    chosen = [step for step in steps if step.applied == applied]
    idle = [] if applied else [step.name for step in chosen if step.reason in _IDLE]
    told = [step for step in chosen if step.name not in idle]
    width = max((len(step.name) for step in told), default=0) + 2
    lines = [f"{step.name:<{width}}{step.reason.removeprefix('skipped: ')}" for step in told]
    return [*lines, f"nothing asked for: {', '.join(idle)}"] if idle else lines


def _flags(report: Report) -> list[str]:
    occupancy = report.occupancy
    rules = [
        f"{rule.name} {percent(rule.cells / max(1, report.input_cells))}"
        for rule in report.flag_counts
        if rule.cells
    ]
    whole_text = "input" if all(o.kind == "flags" for o in report.outputs) else "output"
    lines = [f"{100 * occupancy.total:.2f} % of the {whole_text}"]
    if rules:
        lines.append(f"of the input, each rule by itself: {', '.join(rules)}")
    antennas = report.header.metadata.antennas
    fraction = np.nan_to_num(occupancy.antenna)
    whole = [antennas[i].name for i in np.flatnonzero(fraction >= 1)]
    if whole:
        lines.append(f"{plural(len(whole), 'tile')} throughout: {some(whole)}")
    n_steps = int((occupancy.timestep >= 1).sum())
    if n_steps:
        lines.append(f"{plural(n_steps, 'timestep')} of {len(occupancy.timestep)} throughout")
    return lines


def _array_rfi(report: Report) -> list[str]:
    found = report.array_rfi
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
    return [*lines, f"and {more} more, see --report"] if more > 0 else lines


def _quality(report: Report) -> list[str]:
    if report.quality is None:
        return []
    return noise_lines(report.quality, [a.name for a in report.header.metadata.antennas])


def noise_lines(quality: Quality, names: Sequence[str]) -> list[str]:
    """Noise of the data, and the tiles that have much of it."""
    if not np.isfinite(quality.noise).any():
        return []
    xx, yy = quality.noise
    found = quality.interference
    of_what = (
        "of the input flagged by the data" if found.of_input else "flagged besides whole tiles and channels"
    )
    line = f"noise {xx:.4g} (XX) and {yy:.4g} (YY), {percent(found.total)} {of_what}"
    shown = relative_noise(quality)
    loud = [i for i in np.argsort(-shown).tolist() if shown[i] > LOUD]
    if not loud:
        return [line]
    return [line, f"noisy tiles: {some([f'{names[i]} ({shown[i]:.1f} x)' for i in loud])}"]


def relative_noise(quality: Quality) -> FloatArray:
    """(n_antenna,) noise of the noisier polarisation in units of the median tile; 0 where there is none."""
    shown = np.nan_to_num(quality.antenna_noise.max(axis=1))
    typical = float(np.median(shown[shown > 0])) if (shown > 0).any() else 1.0
    return np.asarray(shown / typical)


def _outputs(report: Report) -> list[str]:
    return [
        f"{output.path} ({size_text(output.bytes)}: {plural(output.times, 'time')} x"
        f" {plural(output.baselines, 'baseline')} x {plural(output.channels, 'channel')}"
        f"{'' if output.kind == 'flags' else ' x 4 polarisations'})"
        for output in report.outputs
    ]


def _performance(report: Report) -> list[str]:
    p = report.performance
    return [
        f"{p.wall_s:.1f} s with {plural(p.threads, 'thread')}",
        f"{size_text(p.bytes_read / max(p.wall_s, 1e-9))}/s read,"
        f" {size_text(p.bytes_written / max(p.wall_s, 1e-9))}/s written,"
        f" {size_text(p.peak_memory_bytes)} memory at most",
    ]
