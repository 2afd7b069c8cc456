"""Panels of what was found in the data: interference, noise, and the worst tiles and channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mwaconvert.arrays import FloatArray
from mwaconvert.conversion.report.report import Report
from mwaconvert.qa.collector import QaCollector
from mwaconvert.qa.drawing import (
    ACCENT,
    BLUE,
    GREY,
    INK,
    FrequencyAxis,
    colour_bar,
    empty,
    limits,
    time_edges,
    title,
)
from mwaconvert.text import plural
from mwaconvert.visibilities.file_report import FileReport
from mwaconvert.visibilities.interference import ArrayRfi
from mwaconvert.visibilities.quality import LOUD, relative_noise

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: tiles and channels that are named as the worst
WORST = 16
#: channels of the waterfall of --rfi-array, and events marked in it
MAX_CHANNELS = 1000
BOXES = 30


def draw_interference(ax: Axes, data: QaCollector) -> None:
    """Fraction that the data themselves made flagged."""
    from matplotlib import colormaps

    percent = 100 * data.interference
    _, high = limits(percent, 0, 99.5, 0)
    axis = FrequencyAxis.of(data.header.spectral_windows)
    drawn = axis.image(
        ax,
        percent,
        axis.pixel_edges(data.channel_bin),
        time_edges(ax, data),
        cmap=colormaps["magma_r"].with_extremes(bad=GREY),
        vmin=0,
        vmax=min(100.0, max(high, 1.0)),
    )
    colour_bar(ax, drawn, "flagged (%)")
    if data.data_flags is None:
        title(ax, "Interference: flags of the file", "grey: flagged on all baselines")
    else:
        title(ax, "Interference: input flagged by the data", "before averaging; grey: flagged by rules")


def draw_second(ax: Axes, data: QaCollector, report: Report | FileReport) -> None:
    """Significance of `--rfi-array`, if it was looked for, else the noise over frequency."""
    if report.array_rfi is not None:
        draw_array_rfi(ax, data, report.array_rfi)
    else:
        draw_noise(ax, data, report)


def draw_array_rfi(ax: Axes, data: QaCollector, found: ArrayRfi) -> None:
    """Waterfall of the mean over baselines, in standard deviations, and the strongest events."""
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    windows = data.header.spectral_windows
    axis = FrequencyAxis.of(windows)
    z, x = _binned(found.significance, axis, MAX_CHANNELS)
    end = time_edges(ax, data)[-1]
    step = end / (len(z) + 1)  # an integration
    drawn = axis.image(
        ax,
        z,
        x,
        (np.arange(len(z) + 1) + 0.5) * step,  # from the middle of an integration to that of the next
        cmap=colormaps["RdBu_r"].with_extremes(bad=GREY),
        vmin=-8,
        vmax=8,
    )
    ax.set_ylim(end, 0)
    for event in found.events[:BOXES]:
        low, high = axis.place(event.low_hz / 1e6), axis.place(event.high_hz / 1e6)
        start = (event.timesteps[0] - found.first_timestep) * step
        size = (event.timesteps[1] - event.timesteps[0] + 1) * step
        ax.add_patch(Rectangle((low, start), high - low, size, fill=False, color=INK, linewidth=0.8))
    colour_bar(ax, drawn, "difference in time (sigma)")
    n = len(found.events)
    remark = (
        found.summary() if n == 0 else f"{plural(n, 'event')}" + (f", {BOXES} framed" if n > BOXES else "")
    )
    title(ax, "Mean over baselines of changes in time", remark)


def draw_noise(ax: Axes, data: QaCollector, report: Report | FileReport) -> None:
    """Noise over frequency."""
    quality = report.quality
    if quality is None or not np.isfinite(quality.channel_noise).any():
        empty(ax, "statistics were not gathered" if quality is None else "everything is flagged")
    else:
        axis = FrequencyAxis.of(data.header.spectral_windows)
        x = axis.channel_places()
        for pol, colour, name in ((0, BLUE, "XX"), (1, ACCENT, "YY")):
            ax.plot(x, quality.channel_noise[:, pol], ".", color=colour, markersize=2, label=name)
        axis.frame(ax)
        ax.set_ylim(0, 1.1 * float(np.nanmax(quality.channel_noise)) or 1.0)
        ax.set_ylabel("Standard deviation")
        ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, frameon=False, markerscale=4)
    title(ax, "Noise of the cross-correlations", "")


def draw_noisiest(ax: Axes, report: Report | FileReport) -> None:
    """The tiles with most noise."""
    names = [a.name for a in report.header.metadata.antennas]
    values = np.zeros(0) if report.quality is None else relative_noise(report.quality)
    worst = [i for i in np.argsort(-values, kind="stable").tolist()[:WORST] if values[i] > 0]
    loud = [values[i] > LOUD for i in worst]
    _bars(ax, [names[i] for i in worst], [float(values[i]) for i in worst], loud, "Tile")
    if worst:
        ax.axhline(1, color=INK, linewidth=0.8, linestyle="--")
        ax.set_ylabel("Noise / median tile")
    title(ax, "Noisiest tiles", "")


def draw_worst_channels(ax: Axes, report: Report | FileReport) -> None:
    """The channels that the data themselves made flagged most."""
    freqs = np.concatenate([w.freq_hz for w in report.header.spectral_windows]) / 1e6
    found = None if report.quality is None else report.quality.interference
    values = np.zeros(0) if found is None else np.nan_to_num(found.channel)
    worst = [c for c in np.argsort(-values, kind="stable").tolist()[:WORST] if values[c] > 0]
    percent = [100 * float(values[c]) for c in worst]
    _bars(ax, [f"{freqs[c]:.2f}" for c in worst], percent, [p > 50 for p in percent], "Channel (MHz)")
    if worst:
        ax.set_ylabel("Flagged (%)")
    remark = "" if found is None else "of the input, by the data" if found.of_input else "in the file"
    title(ax, "Worst channels", remark)


def _bars(ax: Axes, names: list[str], values: list[float], stressed: list[bool], label: str) -> None:
    if not names:
        empty(ax, "none")
        return
    colours = [ACCENT if s else BLUE for s in stressed]
    ax.bar(np.arange(len(names)), values, 0.75, color=colours)
    ax.set_xticks(np.arange(len(names)), names, rotation=45, fontsize=7.5)
    ax.set_xlim(-0.6, WORST - 0.4)
    ax.set_xlabel(label)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def _binned(
    values: npt.NDArray[np.float32], axis: FrequencyAxis, most: int
) -> tuple[FloatArray, list[FloatArray]]:
    """Largest of neighbouring input channels, so that there are not too many to draw; edges in each window."""
    n_coarse = [len(window.coarse) for window in axis.windows]
    per_coarse = values.shape[1] // sum(n_coarse)
    factor = -(-values.shape[1] // most)
    parts, edges, at = [], [], 0
    for n, left, right in zip(n_coarse, axis.left, axis.right, strict=True):
        part = values[:, at : at + n * per_coarse]
        at += n * per_coarse
        starts = np.arange(0, part.shape[1], factor)
        parts.append(np.fmax.reduceat(part, starts, axis=1))
        edges.append(left + (right - left) * np.append(starts, part.shape[1]) / part.shape[1])
    return np.asarray(np.concatenate(parts, axis=1), np.float64), edges
