"""Draws what the collector gathered. Figures are made without pyplot: no global state, no display."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mwaconvert.constants import SECONDS_PER_DAY, SPEED_OF_LIGHT_M_S, UNIX_EPOCH_MJD
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
    make_room,
    tile_ticks,
    time_edges,
    title,
)
from mwaconvert.qa.found import (
    draw_interference,
    draw_noisiest,
    draw_second,
    draw_worst_channels,
)
from mwaconvert.text import utc_text
from mwaconvert.visibilities.file_report import FileReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 110

STYLE: dict[str, Any] = {
    "font.size": 9.0,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": "#666666",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.titley": 1.0,  # to look for what a title might hide takes as long as to draw it
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "figure.facecolor": "white",
}


def write_png(data: QaCollector, report: Report | FileReport, path: Path) -> None:
    """All panels in one picture."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        figure = _new_figure(15.5, 21.5)
        # rows of their own: a common grid would give every row the margins of the widest labels
        head, waterfalls, found, autos, tiles, rest = figure.subfigures(
            6, 1, height_ratios=[0.13, 1.0, 1.0, 1.25, 0.85, 0.95]
        )
        headline, line = titles(data, report)
        head.text(0.01, 0.9, headline, fontsize=16, fontweight="bold", va="top")
        head.text(0.01, 0.3, line, fontsize=10.5, va="top")
        left, right = waterfalls.subplots(1, 2)
        draw_amplitude(left, data)
        draw_occupancy(right, data)
        left, right = found.subplots(1, 2)
        draw_interference(left, data)
        draw_second(right, data, report)
        for pol, ax in enumerate(autos.subplots(1, 2)):
            draw_autos(ax, data, pol)
        left, right = tiles.subplots(1, 2)
        draw_noisiest(left, report)
        draw_worst_channels(right, report)
        left, right = rest.subplots(1, 2, width_ratios=[2.1, 1.0])
        draw_tiles(left, data, report)
        draw_uv(right, data)
        figure.savefig(path, format="png", dpi=DPI)


def panels(data: QaCollector, report: Report | FileReport) -> list[tuple[str, bytes]]:
    """Each panel as a PNG of its own, with a name for it."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawings: tuple[tuple[str, float, float, Callable[[Axes], None]], ...] = (
        ("amplitude", 10.0, 4.6, lambda ax: draw_amplitude(ax, data)),
        ("flags", 10.0, 4.6, lambda ax: draw_occupancy(ax, data)),
        ("interference", 10.0, 4.6, lambda ax: draw_interference(ax, data)),
        ("array", 10.0, 4.6, lambda ax: draw_second(ax, data, report)),
        ("autocorrelations XX", 10.0, 6.0, lambda ax: draw_autos(ax, data, 0)),
        ("autocorrelations YY", 10.0, 6.0, lambda ax: draw_autos(ax, data, 1)),
        ("noise of tiles", 10.0, 3.8, lambda ax: draw_noisiest(ax, report)),
        ("worst channels", 10.0, 3.8, lambda ax: draw_worst_channels(ax, report)),
        ("tiles", 13.0, 3.8, lambda ax: draw_tiles(ax, data, report)),
        ("uv coverage", 6.2, 5.4, lambda ax: draw_uv(ax, data)),
    )
    found = []
    with mpl.rc_context(STYLE):
        for name, width, height, draw in drawings:
            figure = Figure(figsize=(width, height), dpi=DPI)
            canvas = FigureCanvasAgg(figure)
            ax = figure.add_subplot()
            draw(ax)
            make_room(figure, ax)
            # still inside the context: ticks are made when they are drawn
            buffer = io.BytesIO()
            canvas.print_png(buffer, pil_kwargs={"compress_level": 3})  # twice as fast, some percent larger
            found.append((name, buffer.getvalue()))
    return found


def _new_figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.06)
    FigureCanvasAgg(figure)
    return figure


def titles(data: QaCollector, report: Report | FileReport) -> tuple[str, str]:
    """Headline and one line of facts."""
    header = data.header
    meta, windows = header.metadata, header.spectral_windows
    low = min(w.freq_hz[0] - w.width_hz[0] / 2 for w in windows) / 1e6
    high = max(w.freq_hz[-1] + w.width_hz[-1] / 2 for w in windows) / 1e6
    start = utc_text((header.time_mjd[0] - UNIX_EPOCH_MJD) * SECONDS_PER_DAY - header.interval_s[0] / 2)
    bands = f" in {len(windows)} bands" if len(windows) > 1 else ""
    facts = [
        f"{start.replace('T', ' ')} UTC, {_duration(float(header.interval_s.sum()))}",
        f"{meta.correlator} correlator, {meta.n_antennas} tiles"
        if meta.correlator
        else f"{meta.n_antennas} antennas",
        f"{low:.2f} to {high:.2f} MHz{bands}",
        f"{header.interval_s.max():g} s, {windows[0].width_hz.max() / 1e3:g} kHz",
        f"{100 * report.occupancy.total:.1f} % flagged",
        header.software,
    ]
    return f"{meta.obsid}  {meta.name}".strip(), "   |   ".join(filter(None, facts))


def draw_amplitude(ax: Axes, data: QaCollector) -> None:
    """Waterfall of the mean cross-correlation amplitude."""
    from matplotlib import colormaps
    from matplotlib.colors import LogNorm, Normalize

    values = np.where(data.amplitude > 0, data.amplitude, np.nan)
    low, high = limits(
        values, 1, 99.5, 0.02 * float(np.nanmedian(values)) if np.isfinite(values).any() else 1.0
    )
    norm = LogNorm(low, high) if 0 < 10 * low < high else Normalize(low, high)
    axis = FrequencyAxis.of(data.header.spectral_windows)
    x, y = axis.pixel_edges(data.channel_bin), time_edges(ax, data)
    drawn = axis.image(ax, values, x, y, cmap=colormaps["viridis"].with_extremes(bad=GREY), norm=norm)
    colour_bar(ax, drawn, "mean |V|, XX and YY")
    title(ax, "Cross-correlation amplitude", "grey: flagged")


def draw_occupancy(ax: Axes, data: QaCollector) -> None:
    """Fraction of flagged cells over time and frequency."""
    from matplotlib import colormaps

    axis = FrequencyAxis.of(data.header.spectral_windows)
    drawn = axis.image(
        ax,
        100 * data.occupancy,
        axis.pixel_edges(data.channel_bin),
        time_edges(ax, data),
        cmap=colormaps["GnBu"].with_extremes(bad=GREY),
        vmin=0,
        vmax=100,
    )
    colour_bar(ax, drawn, "flagged (%)")
    title(ax, "Flag occupancy", "of baselines between unflagged tiles")


def draw_autos(ax: Axes, data: QaCollector, pol: int) -> None:
    """Autocorrelation spectrum of every tile."""
    from matplotlib import colormaps

    name = "XX" if pol == 0 else "YY"
    autos = data.autos
    positive = np.where(autos > 0, autos, np.nan)
    if not np.isfinite(positive).any():
        kept = (data.header.antenna1 == data.header.antenna2).any()
        empty(ax, "all autocorrelations are flagged" if kept else "autocorrelations were not kept")
        title(ax, f"Autocorrelations {name}", "")
        return
    level = 10 * np.log10(positive / np.nanmedian(positive))
    low, high = limits(level, 0.5, 99.5, 0.2)  # of both polarisations, so that they can be compared
    n = len(data.header.metadata.antennas)
    axis = FrequencyAxis.of(data.header.spectral_windows)
    drawn = axis.image(
        ax,
        level[pol],
        axis.pixel_edges(data.channel_bin),
        np.linspace(-0.5, n - 0.5, n + 1),
        cmap=colormaps["inferno"].with_extremes(bad=GREY),
        vmin=low,
        vmax=high,
    )
    tile_ticks(ax, data, "y", 40)
    ax.set_ylabel("Tile")
    colour_bar(ax, drawn, "power (dB, 0: median of XX and YY)")
    title(ax, f"Autocorrelations {name}", "grey: flagged")


def draw_tiles(ax: Axes, data: QaCollector, report: Report | FileReport) -> None:
    """Fraction of flagged cells of each tile."""
    fraction = 100 * report.occupancy.antenna
    shown = np.nan_to_num(fraction)
    whole = shown >= 100
    index = np.arange(len(shown))
    ax.bar(index[~whole], shown[~whole], 0.8, color=BLUE)
    if whole.any():
        ax.bar(index[whole], shown[whole], 0.8, color=ACCENT, label="flagged throughout")
    total = 100 * report.occupancy.total
    ax.axhline(total, color=INK, linewidth=0.8, linestyle="--", label=f"all data: {total:.1f} %")
    ax.set_xlim(-0.8, len(shown) - 0.2)
    ax.set_ylim(0, 105)
    ax.set_ylabel("Flagged (%)")
    ax.set_xlabel("Tile")
    tile_ticks(ax, data, "x", 64)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, frameon=False, fontsize=8.5)
    title(ax, "Flag occupancy of tiles", "")


def draw_uv(ax: Axes, data: QaCollector) -> None:
    """Sampled uv coverage at the centre of the band."""
    windows = data.header.spectral_windows
    freq_hz = float(np.median(np.concatenate([w.freq_hz for w in windows])))
    uv = data.uv_m * freq_hz / SPEED_OF_LIGHT_M_S / 1e3
    if len(uv) == 0:
        empty(ax, "no cross-correlations")
    else:
        both = np.concatenate([uv, -uv])
        # few points are drawn larger
        size = float(np.clip(4e4 / len(both), 0.15, 6.0))
        ax.scatter(both[:, 0], both[:, 1], s=size, c=BLUE, alpha=0.5, linewidths=0, rasterized=True)
        reach = 1.06 * float(np.abs(both).max()) or 1.0
        ax.set_xlim(reach, -reach)  # u grows towards the east, which is left on the sky
        ax.set_ylim(-reach, reach)
        ax.set_aspect("equal", adjustable="box")
        ax.grid(linewidth=0.4, color="#dddddd")
        ax.set_axisbelow(True)
        ax.set_xlabel("u (kλ)")
        ax.set_ylabel("v (kλ)")
    title(ax, "uv coverage", f"at {freq_hz / 1e6:.1f} MHz")


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds >= 600 else f"{seconds:g} s"
