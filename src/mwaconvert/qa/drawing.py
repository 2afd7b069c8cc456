"""What the panels of the picture share: the axes of frequency and time, colours, titles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mwaconvert.arrays import FloatArray
from mwaconvert.constants import SECONDS_PER_DAY, UNIX_EPOCH_MJD
from mwaconvert.qa.collector import QaCollector
from mwaconvert.text import utc_text
from mwaconvert.visibilities.model import SpectralWindow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import XAxis, YAxis
    from matplotlib.figure import Figure

GREY = "#c8c8c8"
INK = "#222222"
ACCENT = "#b2182b"
BLUE = "#2b6ca3"

# inches: a line of text, the label of an axis with its pads, numbers along an axis
_LINE, _ROOM_OF_LABEL, _ROOM_OF_NUMBERS = 0.16, 0.36, 0.48


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

    def image(
        self, ax: Axes, values: FloatArray, x: Sequence[FloatArray], y: FloatArray, **style: Any
    ) -> Any:
        """Draw (n_y, n_pixel) values, y downwards; returns the last image.

        Parameters
        ----------
        x : for each window the edges of its pixels (`pixel_edges`)
        y : (n_y + 1,) edges
        """
        pixel, drawn = 0, None
        for edges in x:
            n = len(edges) - 1
            drawn = ax.pcolorfast(edges, y, values[:, pixel : pixel + n], **style)
            pixel += n
        ax.set_ylim(y[-1], y[0])
        # what no channel covers
        ax.patch.set(facecolor="white", edgecolor="#d0d0d0", hatch="////", linewidth=0)
        self.frame(ax)
        return drawn

    def pixel_edges(self, channel_bin: int) -> list[FloatArray]:
        """For each window the edges of pixels of so many channels; the last has what is left."""
        found = []
        for window, left in zip(self.windows, self.left, strict=True):
            edges_hz = edges_between(window.freq_hz, window.width_hz)
            at = [*range(0, window.n_chan, channel_bin), window.n_chan]
            found.append(left + (edges_hz[at] - edges_hz[0]) / 1e6)
        return found

    def frame(self, ax: Axes) -> None:
        """Limits and labels of x."""
        ax.set_xlim(self.left[0], self.right[-1])
        self._label(ax)

    def place(self, mhz: float) -> float:
        """Where a frequency stands; the nearest place if no window holds it."""
        places = []
        for window, left, right in zip(self.windows, self.left, self.right, strict=True):
            low = (window.freq_hz[0] - window.width_hz[0] / 2) / 1e6
            high = (window.freq_hz[-1] + window.width_hz[-1] / 2) / 1e6
            part = (np.clip(mhz, low, high) - low) / (high - low)
            places.append((abs(mhz - np.clip(mhz, low, high)), left + part * (right - left)))
        return float(min(places)[1])

    def channel_places(self) -> FloatArray:
        """(n_channel,) where the channels stand."""
        return np.array([self.place(f / 1e6) for w in self.windows for f in w.freq_hz])

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


def time_edges(ax: Axes, data: QaCollector) -> FloatArray:
    """Label the time axis; edges of its pixels."""
    header = data.header
    seconds = (header.time_mjd - header.time_mjd[0]) * SECONDS_PER_DAY
    edges = edges_between(seconds, header.interval_s)
    edges = edges[[*range(0, len(seconds), data.time_bin), len(seconds)]] - edges[0]
    start = utc_text((header.time_mjd[0] - UNIX_EPOCH_MJD) * SECONDS_PER_DAY - header.interval_s[0] / 2)
    unit, scale = ("min", 60.0) if edges[-1] > 600 else ("s", 1.0)
    ax.set_ylabel(f"Time after {start[11:]} UTC ({unit})")
    return np.asarray(edges / scale)


def edges_between(centre: FloatArray, width: FloatArray) -> FloatArray:
    """(n + 1,) ascending edges of n neighbours; in the middle, where they do not touch."""
    low, high = centre - width / 2, centre + width / 2
    between = np.clip((high[:-1] + low[1:]) / 2, centre[:-1], centre[1:])
    return np.concatenate([low[:1], between, high[-1:]])


def tile_ticks(ax: Axes, data: QaCollector, which: str, room: int) -> None:
    names = [a.name for a in data.header.metadata.antennas]
    every = -(-len(names) // room)
    at = list(range(0, len(names), every))
    if which == "x":
        ax.set_xticks(at, [names[i] for i in at], rotation=90, fontsize=7)
    else:
        ax.set_yticks(at, [names[i] for i in at], fontsize=7)


def limits(values: FloatArray, low: float, high: float, least: float) -> tuple[float, float]:
    """Percentiles of what is finite, at least so far apart that noise does not fill the colours."""
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return 1.0, 2.0
    a, b = (float(v) for v in np.percentile(finite, [low, high]))
    widen = max(0.0, least - (b - a)) / 2
    return a - widen, b + widen


def colour_bar(ax: Axes, drawn: Any, label: str) -> None:
    figure = ax.get_figure()
    assert figure is not None
    bar = figure.colorbar(drawn, ax=ax, pad=0.015, fraction=0.05, aspect=28)
    bar.set_label(label)
    bar.outline.set_linewidth(0.5)


def title(ax: Axes, text: str, remark: str) -> None:
    ax.set_title(text)
    if remark:
        ax.set_title(remark, loc="right", fontsize=8.5, fontweight="normal", color="#555555")


def empty(ax: Axes, why: str) -> None:
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_facecolor("#f2f2f2")
    ax.text(0.5, 0.5, why, transform=ax.transAxes, ha="center", va="center", color="#555555")


def make_room(figure: Figure, ax: Axes) -> None:
    """Margins for what stands around the only axes of a figure.

    By the lengths of the texts: to draw them in order to measure them would double the time.
    """
    width, height = figure.get_size_inches()
    has_bar = len(figure.axes) > 1
    figure.subplots_adjust(
        left=(_ROOM_OF_LABEL + _longest(ax.yaxis)) / width,
        right=1 - (_ROOM_OF_LABEL + _ROOM_OF_NUMBERS if has_bar else 0.12) / width,
        bottom=(_ROOM_OF_LABEL + _longest(ax.xaxis)) / height,
        top=1 - 0.36 / height,
    )


def _longest(axis: XAxis | YAxis) -> float:
    """Inches that tick labels take away from their axis."""
    from matplotlib.ticker import FixedLocator

    is_x = axis.axis_name == "x"
    if not isinstance(axis.get_major_locator(), FixedLocator):
        return _LINE if is_x else _ROOM_OF_NUMBERS
    found = _LINE
    for label in axis.get_majorticklabels():
        length = 0.6 * len(label.get_text()) * label.get_fontsize() / 72
        angle = np.radians(label.get_rotation())
        found = max(found, length * abs(np.sin(angle) if is_x else np.cos(angle)) + 0.1)
    return float(found)
