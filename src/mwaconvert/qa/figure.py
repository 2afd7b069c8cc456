"""Draws what the collector gathered. Figures are made without pyplot: no global state, no display."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mwaconvert.conversion.report_text import utc_text
from mwaconvert.formats.visibility import SpectralWindow
from mwaconvert.observation.model import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mwaconvert.conversion.report import Report
    from mwaconvert.qa.collector import QaCollector

GREY = "#c8c8c8"
INK = "#222222"
ACCENT = "#b2182b"
BLUE = "#2b6ca3"
DPI = 110
SPEED_OF_LIGHT_M_S = 299792458.0
UNIX_EPOCH_MJD = 40587.0

STYLE: dict[str, Any] = {
    "font.size": 9.0,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": "#666666",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "figure.facecolor": "white",
}


@dataclass(frozen=True)
class FrequencyAxis:
    """Where the spectral windows stand along x.

    To scale in MHz as long as they fill half of the span; otherwise side by side, with a strip between them,
    as the channels of a picket fence would be too thin to see.

    Attributes
    ----------
    left, right : (n_window,) edges in drawing units
    to_scale : whether the units are MHz
    """

    windows: tuple[SpectralWindow, ...]
    left: FloatArray
    right: FloatArray
    to_scale: bool

    @classmethod
    def of(cls, windows: tuple[SpectralWindow, ...]) -> FrequencyAxis:
        low = np.array([w.freq_hz[0] - w.width_hz[0] / 2 for w in windows]) / 1e6
        high = np.array([w.freq_hz[-1] + w.width_hz[-1] / 2 for w in windows]) / 1e6
        width = high - low
        if width.sum() >= 0.5 * (high.max() - low.min()):
            return cls(windows, low, high, True)
        strip = 0.12 * float(np.median(width))
        left = np.concatenate([[0.0], np.cumsum(width[:-1] + strip)])
        return cls(windows, left, left + width, False)

    def image(self, ax: Axes, values: FloatArray, y: tuple[float, float], **style: Any) -> Any:
        """Draw (n_y, n_pixel) values, y downwards; returns the last image."""
        pixel, drawn = 0, None
        widths = self._pixels_per_window(values.shape[1])
        for left, right, n in zip(self.left, self.right, widths, strict=True):
            drawn = ax.imshow(
                values[:, pixel : pixel + n],
                extent=(left, right, y[1], y[0]),
                aspect="auto",
                interpolation="nearest",
                origin="upper",
                **style,
            )
            pixel += n
        ax.set_xlim(self.left[0], self.right[-1])
        ax.set_ylim(y[1], y[0])
        # what no channel covers
        ax.patch.set(facecolor="white", edgecolor="#d0d0d0", hatch="////", linewidth=0)
        self._label(ax)
        return drawn

    def _pixels_per_window(self, n_pixels: int) -> list[int]:
        for channel_bin in range(1, 1 + max(w.n_chan for w in self.windows)):
            counts = [-(-w.n_chan // channel_bin) for w in self.windows]
            if sum(counts) == n_pixels:
                return counts
        raise AssertionError(f"{n_pixels} pixels do not fit the spectral windows")

    def _label(self, ax: Axes) -> None:
        if self.to_scale:
            ax.set_xlabel("Frequency (MHz)")
            return
        centres = (self.left + self.right) / 2
        every = -(-len(centres) // 16)
        ax.set_xticks(
            centres[::every],
            [f"{w.freq_hz.mean() / 1e6:.1f}" for w in self.windows[::every]],
            rotation=45 if len(centres) > 6 else 0,
        )
        ax.set_xlabel("Centre of each band (MHz); gaps not to scale")


def write_png(data: QaCollector, report: Report, path: Path) -> None:
    """All panels in one picture."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        figure = _new_figure(15.5, 14.0)
        # rows of their own: a common grid would give every row the margins of the widest labels
        head, waterfalls, autos, rest = figure.subfigures(4, 1, height_ratios=[0.13, 1.0, 1.25, 0.95])
        title, line = titles(data, report)
        head.text(0.01, 0.9, title, fontsize=16, fontweight="bold", va="top")
        head.text(0.01, 0.3, line, fontsize=10.5, va="top")
        left, right = waterfalls.subplots(1, 2)
        draw_amplitude(left, data)
        draw_occupancy(right, data)
        for pol, ax in enumerate(autos.subplots(1, 2)):
            draw_autos(ax, data, pol)
        left, right = rest.subplots(1, 2, width_ratios=[2.1, 1.0])
        draw_tiles(left, data, report)
        draw_uv(right, data)
        figure.savefig(path, format="png", dpi=DPI)


def panels(data: QaCollector, report: Report) -> list[tuple[str, bytes]]:
    """Each panel as a PNG of its own, with a name for it."""
    import matplotlib as mpl

    drawings: tuple[tuple[str, float, float, Callable[[Axes], None]], ...] = (
        ("amplitude", 10.0, 4.6, lambda ax: draw_amplitude(ax, data)),
        ("flags", 10.0, 4.6, lambda ax: draw_occupancy(ax, data)),
        ("autocorrelations XX", 10.0, 6.0, lambda ax: draw_autos(ax, data, 0)),
        ("autocorrelations YY", 10.0, 6.0, lambda ax: draw_autos(ax, data, 1)),
        ("tiles", 13.0, 3.8, lambda ax: draw_tiles(ax, data, report)),
        ("uv coverage", 6.2, 5.4, lambda ax: draw_uv(ax, data)),
    )
    found = []
    with mpl.rc_context(STYLE):
        for name, width, height, draw in drawings:
            figure = _new_figure(width, height)
            draw(figure.add_subplot())
            # still inside the context: ticks are made when they are drawn
            buffer = io.BytesIO()
            figure.savefig(buffer, format="png", dpi=DPI)
            found.append((name, buffer.getvalue()))
    return found


def _new_figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.06)
    FigureCanvasAgg(figure)
    return figure


def titles(data: QaCollector, report: Report) -> tuple[str, str]:
    """Headline and one line of facts."""
    header = data.header
    meta, windows = header.metadata, header.spectral_windows
    low = min(w.freq_hz[0] - w.width_hz[0] / 2 for w in windows) / 1e6
    high = max(w.freq_hz[-1] + w.width_hz[-1] / 2 for w in windows) / 1e6
    start = utc_text((header.time_mjd[0] - UNIX_EPOCH_MJD) * 86400 - header.interval_s[0] / 2)
    bands = f" in {len(windows)} bands" if len(windows) > 1 else ""
    facts = [
        f"{start.replace('T', ' ')} UTC, {_duration(float(header.interval_s.sum()))}",
        f"{meta.correlator} correlator, {meta.n_antennas} tiles",
        f"{low:.2f} to {high:.2f} MHz{bands}",
        f"{header.interval_s.max():g} s, {windows[0].width_hz.max() / 1e3:g} kHz",
        f"{100 * report.occupancy.total:.1f} % flagged",
        header.software,
    ]
    return f"{meta.obsid}  {meta.name}".strip(), "   |   ".join(facts)


def draw_amplitude(ax: Axes, data: QaCollector) -> None:
    """Waterfall of the mean cross-correlation amplitude."""
    from matplotlib import colormaps
    from matplotlib.colors import LogNorm, Normalize

    values = np.where(data.amplitude > 0, data.amplitude, np.nan)
    low, high = _limits(
        values, 1, 99.5, 0.02 * float(np.nanmedian(values)) if np.isfinite(values).any() else 1.0
    )
    norm = LogNorm(low, high) if 0 < 10 * low < high else Normalize(low, high)
    drawn = FrequencyAxis.of(data.header.spectral_windows).image(
        ax, values, _time_range(ax, data), cmap=colormaps["viridis"].with_extremes(bad=GREY), norm=norm
    )
    _bar(ax, drawn, "mean |V|, XX and YY")
    _title(ax, "Cross-correlation amplitude", "grey: flagged")


def draw_occupancy(ax: Axes, data: QaCollector) -> None:
    """Fraction of flagged cells over time and frequency."""
    from matplotlib import colormaps

    drawn = FrequencyAxis.of(data.header.spectral_windows).image(
        ax,
        100 * data.occupancy,
        _time_range(ax, data),
        cmap=colormaps["GnBu"].with_extremes(bad=GREY),
        vmin=0,
        vmax=100,
    )
    _bar(ax, drawn, "flagged (%)")
    _title(ax, "Flag occupancy", "of baselines between unflagged tiles")


def draw_autos(ax: Axes, data: QaCollector, pol: int) -> None:
    """Autocorrelation spectrum of every tile."""
    from matplotlib import colormaps

    name = "XX" if pol == 0 else "YY"
    autos = data.autos
    positive = np.where(autos > 0, autos, np.nan)
    if not np.isfinite(positive).any():
        kept = (data.header.antenna1 == data.header.antenna2).any()
        _empty(ax, "all autocorrelations are flagged" if kept else "autocorrelations were not kept")
        _title(ax, f"Autocorrelations {name}", "")
        return
    level = 10 * np.log10(positive / np.nanmedian(positive))
    low, high = _limits(level, 0.5, 99.5, 0.2)  # of both polarisations, so that they can be compared
    n = len(data.header.metadata.antennas)
    drawn = FrequencyAxis.of(data.header.spectral_windows).image(
        ax,
        level[pol],
        (-0.5, n - 0.5),
        cmap=colormaps["inferno"].with_extremes(bad=GREY),
        vmin=low,
        vmax=high,
    )
    _tile_ticks(ax, data, "y", 40)
    ax.set_ylabel("Tile")
    _bar(ax, drawn, "power (dB, 0: median of XX and YY)")
    _title(ax, f"Autocorrelations {name}", "grey: flagged")


def draw_tiles(ax: Axes, data: QaCollector, report: Report) -> None:
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
    _tile_ticks(ax, data, "x", 64)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, frameon=False, fontsize=8.5)
    _title(ax, "Flag occupancy of tiles", "")


def draw_uv(ax: Axes, data: QaCollector) -> None:
    """Sampled uv coverage at the centre of the band."""
    windows = data.header.spectral_windows
    freq_hz = float(np.median(np.concatenate([w.freq_hz for w in windows])))
    uv = data.uv_m * freq_hz / SPEED_OF_LIGHT_M_S / 1e3
    if len(uv) == 0:
        _empty(ax, "no cross-correlations")
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
    _title(ax, "uv coverage", f"at {freq_hz / 1e6:.1f} MHz")


def _time_range(ax: Axes, data: QaCollector) -> tuple[float, float]:
    """Label the time axis; first and last value of it."""
    header = data.header
    total_s = float((header.time_mjd[-1] - header.time_mjd[0]) * 86400 + header.interval_s[-1] / 2)
    total_s += float(header.interval_s[0]) / 2
    # the last pixel may hold fewer timesteps than the others
    n = len(header.time_mjd)
    total_s *= -(-n // data.time_bin) * data.time_bin / n
    start = utc_text((header.time_mjd[0] - UNIX_EPOCH_MJD) * 86400 - header.interval_s[0] / 2)
    unit, scale = ("min", 60.0) if total_s > 600 else ("s", 1.0)
    ax.set_ylabel(f"Time after {start[11:]} UTC ({unit})")
    return 0.0, total_s / scale


def _tile_ticks(ax: Axes, data: QaCollector, which: str, room: int) -> None:
    names = [a.name for a in data.header.metadata.antennas]
    every = -(-len(names) // room)
    at = list(range(0, len(names), every))
    if which == "x":
        ax.set_xticks(at, [names[i] for i in at], rotation=90, fontsize=7)
    else:
        ax.set_yticks(at, [names[i] for i in at], fontsize=7)


def _limits(values: FloatArray, low: float, high: float, least: float) -> tuple[float, float]:
    """Percentiles of what is finite, at least so far apart that noise does not fill the colours."""
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return 1.0, 2.0
    a, b = (float(v) for v in np.percentile(finite, [low, high]))
    widen = max(0.0, least - (b - a)) / 2
    return a - widen, b + widen


def _bar(ax: Axes, drawn: Any, label: str) -> None:
    figure = ax.get_figure()
    assert figure is not None
    bar = figure.colorbar(drawn, ax=ax, pad=0.015, fraction=0.05, aspect=28)
    bar.set_label(label)
    bar.outline.set_linewidth(0.5)


def _title(ax: Axes, title: str, remark: str) -> None:
    ax.set_title(title)
    if remark:
        ax.set_title(remark, loc="right", fontsize=8.5, fontweight="normal", color="#555555")


def _empty(ax: Axes, why: str) -> None:
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_facecolor("#f2f2f2")
    ax.text(0.5, 0.5, why, transform=ax.transAxes, ha="center", va="center", color="#555555")


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds >= 600 else f"{seconds:g} s"
