"""Figures of candidates: pages of small pictures in one PDF."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mwaconvert.extras import need
from mwaconvert.live.observation import K_AMBER
from mwaconvert.live.processing.extract import Extract
from mwaconvert.live.processing.products import Score
from mwaconvert.live.settings import Draw
from mwaconvert.staging import StagedPath


def write_pages(
    path: Path,
    candidates: Sequence[tuple[Extract, Score]],
    settings: Draw | None = None,
    *,
    galactic_dm: float | None = None,
    band_mhz: tuple[float, float] = (1219.7, 1519.7),
) -> None:
    """One PDF: frequency and time, then DM and time, then profiles; each by probability, then S/N.

    Parameters
    ----------
    galactic_dm : pc/cm^3; beyond it a border has the colour of other galaxies. None: no border has

    Raises
    ------
    InputError
        matplotlib is not installed.
    """
    need("matplotlib", "plot", "drawing candidates")
    from matplotlib.backends.backend_pdf import PdfPages

    settings = settings or Draw()
    ranked = sorted(candidates, key=lambda c: (-np.nan_to_num(c[1].freq_time), -c[0].snr))
    draws: list[Callable[[Any, Extract], None]] = [
        lambda axes, found: _falls(axes, found, settings, band_mhz),
        lambda axes, found: _plane(axes, found, settings),
        _profile,
    ]
    per_page = settings.nplot_per_side**2
    with StagedPath(path, overwrite=True) as staged, PdfPages(staged.temporary) as pages:
        for draw in draws:
            for first in range(0, max(1, len(ranked)), per_page):
                _page(pages, ranked[first : first + per_page], draw, settings, galactic_dm)


def _page(
    pages: Any,
    candidates: Sequence[tuple[Extract, Score]],
    draw: Callable[[Any, Extract], None],
    settings: Draw,
    galactic_dm: float | None,
) -> None:
    from matplotlib.figure import Figure

    n = settings.nplot_per_side
    figure = Figure(figsize=(settings.figsize, settings.figsize), layout="constrained")
    for k, (found, score) in enumerate(candidates):
        axes = figure.add_subplot(n, n, k + 1)
        draw(axes, found)
        p = "" if np.isnan(score.freq_time) else f"p {score.freq_time:.2f}, "
        place = f"S/N {found.snr:.1f}, width {found.width}, SB {found.wanted.beam}"
        axes.set_title(f"{p}DM {found.dm:.1f}, t {found.time_s:.3f} s\n{place}", fontsize=8)
        axes.tick_params(labelsize=6)
        outside = galactic_dm is not None and found.dm > galactic_dm
        for spine in axes.spines.values():
            spine.set_edgecolor(settings.colour_extragal if outside else settings.colour_gal)
            spine.set_linewidth(2)
    if not candidates:
        figure.text(0.5, 0.5, "no candidates", ha="center")
    pages.savefig(figure)


def _times_ms(found: Extract) -> tuple[float, float]:
    half = found.dt_s * found.freq_time.shape[1] / 2 * 1e3
    return -half, half


def _falls(axes: Any, found: Extract, settings: Draw, band_mhz: tuple[float, float]) -> None:
    """Each channel by itself; where a pulse of DM 0 would run is drawn."""
    data = found.freq_time - np.median(found.freq_time, axis=1, keepdims=True)
    sigma = data.std(axis=1, keepdims=True)
    data = np.divide(data, sigma, out=np.zeros_like(data), where=sigma > 0)
    low, high = band_mhz
    axes.imshow(
        data,
        origin="lower",
        aspect="auto",
        extent=(*_times_ms(found), low, high),
        cmap=settings.cmap_freqtime,
    )
    freq_mhz = np.linspace(low, high, 50)
    axes.plot(-1e3 * K_AMBER * found.dm * (freq_mhz**-2 - high**-2), freq_mhz, color="white", lw=0.5)
    axes.set_xlim(*_times_ms(found))


def _plane(axes: Any, found: Extract, settings: Draw) -> None:
    axes.imshow(
        found.dm_time - np.median(found.dm_time),
        origin="lower",
        aspect="auto",
        extent=(*_times_ms(found), float(found.dms[0]), float(found.dms[-1])),
        cmap=settings.cmap_dmtime,
    )


def _profile(axes: Any, found: Extract) -> None:
    profile = found.freq_time.sum(0)
    peak = float(np.abs(profile).max())
    times_ms = np.linspace(*_times_ms(found), profile.size)
    axes.plot(times_ms, profile / peak if peak > 0 else profile, color="black", lw=0.8)


def thumbnail(found: Extract) -> str:
    """Frequency and time, 32 by 32, as PNG in base64."""
    from base64 import b64encode
    from io import BytesIO

    from matplotlib.image import imsave

    n, m = found.freq_time.shape
    small = found.freq_time.reshape(32, n // 32, 32, m // 32).mean((1, 3))
    file = BytesIO()
    imsave(file, small[::-1], cmap="viridis", format="png")
    return b64encode(file.getvalue()).decode()
