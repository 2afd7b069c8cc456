"""What the panels of the picture share: the axes of frequency and time, colours, titles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mwaconvert.conversion.report_text import utc_text
from mwaconvert.formats.visibility import SpectralWindow
from mwaconvert.observation.model import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mwaconvert.qa.collector import QaCollector

GREY = "#c8c8c8"
INK = "#222222"
ACCENT = "#b2182b"
BLUE = "#2b6ca3"
UNIX_EPOCH_MJD = 40587.0


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
        self,
        ax: Axes,
        values: FloatArray,
        y: tuple[float, float],
        pixels: Sequence[int] | None = None,
        **style: Any,
    ) -> Any:
        """Draw (n_y, n_pixel) values, y downwards; returns the last image.

        Parameters
        ----------
        pixels : of each window; None: channels, or as many of them together as fit
        """
        pixel, drawn = 0, None
        widths = pixels or self._pixels_per_window(values.shape[1])
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
        ax.set_ylim(y[1], y[0])
        # what no channel covers
        ax.patch.set(facecolor="white", edgecolor="#d0d0d0", hatch="////", linewidth=0)
        self.frame(ax)
        return drawn

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


def time_range(ax: Axes, data: QaCollector) -> tuple[float, float]:
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
