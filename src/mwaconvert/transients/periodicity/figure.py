"""The figure of a fold: profile, parts of the time, parts of the band, and S/N against period and DM."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mwaconvert.spectra.stream import Stream
from mwaconvert.transients.figures import STYLE
from mwaconvert.transients.periodicity.folding import BestFold, Folded
from mwaconvert.transients.periodicity.profiles import drifted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TURNS = 2  # periods that are shown
_LINE = "#1f3b63"


def fold_figure(folded: Folded, stream: Stream) -> Figure:
    """Draw a fold at the period and DM where it is strongest.

    Parameters
    ----------
    folded : of `folding.fold`
    stream : the file it is from
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    diagram = folded.diagram()
    best = folded.best(diagram)
    in_time, in_band = aligned(folded, best)
    with rc_context(STYLE):
        figure = Figure(figsize=(7.2, 5.4))
        edges = {"top": 0.9, "bottom": 0.09}
        grid = figure.add_gridspec(
            3, 2, height_ratios=(1.1, 2, 1.6), left=0.085, right=0.64, wspace=0.42, hspace=0.12, **edges
        )
        right = figure.add_gridspec(2, 1, height_ratios=(2, 1), left=0.745, right=0.975, hspace=0.42, **edges)
        figure.suptitle(_title(folded, best, stream), fontsize=7.5, x=0.085, ha="left", y=0.985)
        top = figure.add_subplot(grid[0, 0])
        n_bin = best.profile.size
        phases = np.arange(_TURNS * n_bin + 1) / n_bin
        top.stairs(np.tile(best.profile, _TURNS), phases, color=_LINE, lw=0.9)
        top.set_xlim(0, _TURNS)
        top.set_ylabel("S/N in a bin")
        top.tick_params(labelbottom=False)
        main = figure.add_subplot(grid[1:, 0], sharex=top)
        _image(main, in_time, (0.0, folded.length_s))
        main.set_ylabel("Time (s)")
        main.set_xlabel("Phase")
        band = figure.add_subplot(grid[:, 1])
        half = 0.5 * float(np.ptp(folded.freq_mhz)) / max(1, folded.freq_mhz.size - 1) or 0.5
        _image(band, in_band, (float(folded.freq_mhz.min()) - half, float(folded.freq_mhz.max()) + half))
        band.set_ylabel("Frequency (MHz)")
        band.set_xlabel("Phase")
        _diagram(figure.add_subplot(right[0, 0]), folded, best)
        _by_dm(figure.add_subplot(right[1, 0]), folded)
    return figure


def aligned(folded: Folded, best: BestFold) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(n_part, n_bin) and (n_band, n_bin) at the best period and DM."""
    n_part, _, n_bin = folded.cube.shape
    period_s = folded.rotation.period_s
    drift = (1 / period_s - 1 / best.period_s) * n_bin * folded.length_s
    at = (np.arange(n_part) + 0.5) / n_part - 0.5
    bins = np.arange(n_bin)
    moves = np.rint(drift * at).astype(np.int64)
    in_time = folded.at_dm(best.dm)[np.arange(n_part)[:, None], (bins + moves[:, None]) % n_bin]
    shifts = np.rint((best.dm - folded.dm) * folded.across_s / period_s * n_bin).astype(np.int64)
    scaled = folded.scaled
    in_band = np.stack(
        [
            drifted(scaled[:, band, (bins + shift) % n_bin], np.array([drift]))[0]
            for band, shift in enumerate(shifts)
        ]
    )
    return in_time, in_band


def _image(axes: Axes, values: npt.NDArray[np.float64], extent: tuple[float, float]) -> None:
    shown = np.tile(values, (1, _TURNS))
    low, high = np.percentile(shown, (1, 99.5))
    axes.imshow(
        shown,
        extent=(0, _TURNS, *extent),
        origin="lower",
        aspect="auto",
        cmap="Greys",
        interpolation="nearest",
        vmin=low,
        vmax=max(high, low + 1e-9),
    )


def _diagram(axes: Axes, folded: Folded, best: BestFold) -> None:
    """S/N against period and DM."""
    diagram = folded.diagram()
    offsets = 1e6 * (diagram.periods_s - folded.rotation.period_s)
    if diagram.dms.size > 1:
        axes.imshow(
            diagram.snr,
            extent=(float(offsets[0]), float(offsets[-1]), float(diagram.dms[0]), float(diagram.dms[-1])),
            origin="lower",
            aspect="auto",
            cmap="viridis",
        )
        axes.plot(1e6 * (best.period_s - folded.rotation.period_s), best.dm, "+", color="w", ms=7)
        axes.set_ylabel("DM (pc/cm$^3$)")
    else:
        axes.plot(offsets, diagram.snr[0], color=_LINE, lw=0.9)
        axes.set_ylabel("S/N")
    axes.set_xlabel("P - P of the fold (us)")


def _by_dm(axes: Axes, folded: Folded) -> None:
    """S/N against DM, at the best period of each."""
    diagram = folded.diagram()
    axes.plot(diagram.dms, diagram.snr.max(1), ".-" if diagram.dms.size == 1 else "-", color=_LINE, lw=0.9)
    axes.set_xlabel("DM (pc/cm$^3$)")
    axes.set_ylabel("S/N")


def _title(folded: Folded, best: BestFold, stream: Stream) -> str:
    source = f", {stream.source}" if stream.source else ""
    start = "" if stream.start_mjd is None else f", MJD {stream.start_mjd:.6f}"
    where = "barycentric" if folded.rotation.barycentric else "at the telescope"
    dm_err = "" if np.isnan(best.dm_err) else f" +- {best.dm_err:.3g}"
    return (
        f"{stream.path.name}{source}{start}\n"
        f"P = {best.period_s:.9f} +- {best.period_err_s:.1g} s {where}, DM = {best.dm:.3f}{dm_err} pc/cm$^3$, "
        f"S/N = {best.snr:.1f}, width {1e3 * best.width_s:.3g} ms"
    )
