"""Figures of pulses: profile above waterfall, single or in panels, and what a candidate looks like."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mwaconvert.errors import InputError
from mwaconvert.spectra.candidate import Candidate
from mwaconvert.spectra.dispersion import delay_per_dm, delay_samples
from mwaconvert.spectra.spectra import Spectra
from mwaconvert.spectra.stream import ArrayStream, Stream
from mwaconvert.staging import StagedPath
from mwaconvert.transients.dedispersion import plan_dedispersion
from mwaconvert.transients.judging.cutouts import piece_of
from mwaconvert.transients.prepare import Preparation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mwaconvert.transients.clean.masked import Masked
    from mwaconvert.transients.completeness import Completeness
    from mwaconvert.transients.injection import Injected

SUFFIXES = (".pdf", ".png", ".svg")
_FONT = 9
_LINE = "tab:blue"
_OFF = 41  # samples before the window, from which the upper limit of the colours is taken
_WIDTHS = (1, 2, 4, 8, 16, 32, 64)
_LONGEST_BOXCAR = 256  # samples, as of a search
_BINS = 96  # of the time axis of a candidate's figure, about
_RIGHT_IN, _BOTTOM_IN = 0.1, 0.43  # margins for labels of 9 points
STYLE: dict[str, Any] = {
    "font.size": _FONT,
    "axes.linewidth": 0.6,
    "pdf.fonttype": 42,
    "svg.hashsalt": "mwaconvert",
}


@dataclass(frozen=True, eq=False)
class Panel:
    """A waterfall to draw.

    Parameters
    ----------
    spectra : dedispersed and averaged; samples of weight 0 are left white
    title : above the profile
    peak_s : time that becomes 0; default: where the pulse is brightest
    """

    spectra: Spectra
    title: str = ""
    peak_s: float | None = None


@dataclass(frozen=True)
class Look:
    """How waterfalls are drawn."""

    window_s: float = 0.025  #: shown on either side of the peak
    percentiles: tuple[float, float] = (2.5, 97.5)  #: of the values shown, and of those before the pulse
    size: tuple[float, float] = (4.26, 3.0)  #: inches, of one row of panels
    cmap: str = "viridis"
    label: str = ""  #: above all, such as (a)
    columns: int | None = None  #: panels side by side; default up to 4
    tutorial_edge: bool = (
        False  #: the last edge as CHIME/FRB's scripts have it: a sample in s after one in ms
    )


def waterfall_figure(panels: Sequence[Panel], look: Look | None = None) -> Figure:
    """Draw waterfalls, each below its profile.

    Parameters
    ----------
    panels : one or more
    look : how

    Raises
    ------
    InputError : nothing to draw: all is masked, or the window holds no sample
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    look = look or Look()
    if not panels:
        raise InputError("there is no waterfall to draw")
    columns = look.columns or min(4, len(panels))
    rows = -(-len(panels) // columns)
    one_band = columns == 1 or len({(p.spectra.fbottom, p.spectra.ftop) for p in panels}) == 1
    width, height = look.size[0], look.size[1] * rows
    top_in = 0.08 + (0.2 if any(p.title for p in panels) else 0)
    label_in = 0.2 if look.label else 0.0
    left_in = _left_in(panels)
    panel_in = (width - left_in - _RIGHT_IN) / columns
    gap_in = 0.08 * panel_in if one_band else left_in - 0.12
    with rc_context(STYLE):
        figure = Figure(figsize=(width, height + label_in * (rows > 1)))
        height = float(figure.get_figheight())
        row_in = (height - label_in) / rows
        for k, panel in enumerate(panels):
            r, c = divmod(k, columns)
            ceiling = height - label_in - r * row_in
            grid = figure.add_gridspec(
                2,
                columns,
                height_ratios=[1, 3],
                hspace=0,
                wspace=gap_in / (panel_in - gap_in * (columns - 1) / columns),
                left=left_in / width,
                right=1 - _RIGHT_IN / width,
                top=(ceiling - top_in) / height,
                bottom=(ceiling - row_in + _BOTTOM_IN) / height,
            )
            top, main = figure.add_subplot(grid[0, c]), figure.add_subplot(grid[1, c])
            draw_panel(top, main, panel, look)
            if c > 0:
                main.set_ylabel("")
                if one_band:
                    main.tick_params(labelleft=False)
        if look.label:
            figure.suptitle(look.label, fontsize=_FONT, y=1 - 0.03 / height, va="top")
    return figure


def draw_panel(top: Axes, main: Axes, panel: Panel, look: Look) -> None:
    """Draw a profile and its waterfall into axes.

    Parameters
    ----------
    top, main : axes
    panel : what
    look : how

    Raises
    ------
    InputError : all is masked, or the window holds no sample
    """
    spectra = panel.spectra
    shown = _masked(spectra)
    if not np.isfinite(shown).any():
        raise InputError(f"{panel.title or 'waterfall'}: all samples are masked, there is nothing to draw")
    profile = np.nansum(shown, axis=0)
    peak = find_peak(profile) if panel.peak_s is None else int(panel.peak_s / spectra.dt_s + 1e-6)
    half = max(1, int(np.ceil(look.window_s / spectra.dt_s)))
    first, last = max(0, peak - half + 1), min(spectra.n_times, peak + half)
    if not 0 <= peak < spectra.n_times or last - first < 2:
        raise InputError(
            f"{panel.title or 'waterfall'}: no samples within {1e3 * look.window_s:g} ms of "
            f"{peak * spectra.dt_s:.6g} s: the data last {spectra.n_times * spectra.dt_s:.6g} s, "
            f"{spectra.dt_s * 1e3:g} ms each; take a longer window"
        )
    image = shown[:, first:last]
    low, high = limits(shown, first, last, look.percentiles)
    # edges of the samples about the middle of the brightest
    edges = (np.arange(first, last + 1) - peak - 0.5) * spectra.dt_s * 1e3
    if look.tutorial_edge:
        edges[-1] = edges[-2] + spectra.dt_s
    top.stairs(profile[first:last], edges, baseline=None, lw=1, color=_LINE)
    main.imshow(
        image,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=(edges[0], edges[-1], *_band(spectra)),
        vmin=low,
        vmax=high,
        cmap=look.cmap,
    )
    # the same for all panels, though one may be near the end of its data
    reach = (half - 0.5) * spectra.dt_s * 1e3
    for ax in (top, main):
        ax.set_xlim(-reach, edges[-1] if look.tutorial_edge else reach)
    tick = _round_down(0.8 * look.window_s * 1e3)
    main.set_xticks([-tick, 0, tick], [f"\u2212{tick:g}", "0", f"{tick:g}"])
    top.set_xticks([])
    top.set_yticks([])
    main.set_xlabel("Time [ms]", fontsize=_FONT)
    main.set_ylabel("Frequency [MHz]", fontsize=_FONT)
    main.tick_params(labelsize=_FONT)
    main.set_yticks(*_frequency_ticks(spectra))
    main.set_ylim(*_band(spectra))
    if panel.title:
        top.set_title(panel.title, fontsize=_FONT)


def find_peak(profile: npt.NDArray[Any]) -> int:
    """The brightest sample of the pulse that a boxcar finds best: a wide pulse wins over a noisy sample.

    Examples
    --------
    >>> find_peak(np.array([0, 0, 1, 5, 1, 0, 0]))
    3
    """
    x = np.asarray(profile, np.float64) - np.median(profile)
    total = np.concatenate([[0.0], np.cumsum(x)])
    best, span = -np.inf, (0, 1)
    for width in _WIDTHS:
        if width > x.size:
            break
        snr = (total[width:] - total[:-width]) / np.sqrt(width)
        k = int(snr.argmax())
        if snr[k] > best:
            best, span = float(snr[k]), (k, k + width)
    return span[0] + int(x[span[0] : span[1]].argmax())


def pulse_of(spectra: Spectra, time_s: float | None = None) -> tuple[int, float]:
    """Width and S/N of the pulse that a boxcar finds best, each in the noise of its own width.

    Parameters
    ----------
    spectra : dedispersed
    time_s : only boxcars that cover it count

    Returns
    -------
    width, snr
        samples; 1 and 0 of data that are too short to tell
    """
    profile = np.nan_to_num(np.nansum(_masked(spectra), axis=0, dtype=np.float64))
    total = np.concatenate([[0.0], np.cumsum(profile - np.median(profile))])
    at = None if time_s is None else int(time_s / spectra.dt_s + 1e-6)
    best, found = 0.0, 1
    for width in (1 << k for k in range(_LONGEST_BOXCAR.bit_length())):
        if 16 * width > profile.size:  # fewer do not tell the noise
            break
        sums = total[width:] - total[:-width]
        level = np.median(sums)
        noise = 1.4826 * float(np.median(np.abs(sums - level)))
        near = sums if at is None else sums[max(0, at - width) : at + 2]
        snr = float(near.max() - level) / noise if noise > 0 and near.size else 0.0
        if snr > best:
            best, found = snr, width
    return found, best


def limits(
    shown: npt.NDArray[np.float32], first: int, last: int, percentiles: tuple[float, float]
) -> tuple[float, float]:
    """Limits of the colours: the lower from what is shown, the upper from before the pulse, which it outshines.

    Parameters
    ----------
    shown : (n_chan, n_times) NaN where masked
    first, last : what is shown
    percentiles : lower, upper

    Raises
    ------
    InputError : percentiles outside 0 to 100
    """
    if not 0 <= percentiles[0] < percentiles[1] <= 100:
        raise InputError(
            f"percentiles {percentiles[0]:g} and {percentiles[1]:g}: expected two of 0 to 100, ascending"
        )
    inside = shown[:, first:last]
    off = [shown[:, max(0, first - _OFF) : first], shown[:, last : last + _OFF], inside]
    source = next((part for part in off if part.shape[1] > 4 and np.isfinite(part).any()), inside)
    if not np.isfinite(inside).any():
        inside = source
    low = float(np.nanpercentile(inside, percentiles[0]))
    high = float(np.nanpercentile(source, percentiles[1]))
    if not high > low:
        high = float(np.nanmax(inside))
    return low, high if high > low else low + 1


def masked_figure(masked: Masked, freq_mhz: npt.NDArray[np.float64]) -> Figure:
    """Draw what cleaning masked, by channel and time.

    Parameters
    ----------
    masked : of `Search.masked`
    freq_mhz : (n_chan) centres of the channels
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(7.0, 3.2))
        main = figure.add_axes((0.09, 0.135, 0.8, 0.77))
        image = main.pcolormesh(
            masked.edges_s, _edges(freq_mhz), masked.part, vmin=0, vmax=1, cmap="magma_r", rasterized=True
        )
        main.set_xlabel("Time (s)")
        main.set_ylabel("Frequency (MHz)")
        main.set_title(
            f"Masked: {100 * masked.whole_part:.2g} %, {masked.channels.size} channels altogether; "
            f"{masked.n_impulses} impulses at DM 0",
            fontsize=_FONT,
        )
        figure.colorbar(image, cax=figure.add_axes((0.91, 0.135, 0.02, 0.77)), label="part masked")
    return figure


def completeness_figure(result: Completeness) -> Figure:
    """Draw the part of injected pulses that was found, against S/N, width and DM.

    Parameters
    ----------
    result : of `transients.completeness.completeness`
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    axes_of: tuple[tuple[str, Callable[[Injected], float], bool], ...] = (
        ("S/N of the matched filter", lambda p: p.snr, False),
        ("Width (ms)", lambda p: 1e3 * p.width_s, True),
        ("DM (pc/cm$^3$)", lambda p: p.dm, False),
    )
    with rc_context(STYLE):
        figure = Figure(figsize=(7.0, 2.6))
        grid = figure.add_gridspec(1, 3, left=0.075, right=0.985, top=0.96, bottom=0.2, wspace=0.12)
        for k, (name, of, is_log) in enumerate(axes_of):
            x = np.array([of(p) for p in result.pulses])
            ends = float(x.min()), float(x.max()) * (1 + 1e-9)
            edges = np.geomspace(*ends, 9) if is_log else np.linspace(*ends, 9)
            found, n = np.array(result.part(of, edges)).T
            middle = np.sqrt(edges[1:] * edges[:-1]) if is_log else (edges[1:] + edges[:-1]) / 2
            part = found / np.maximum(n, 1)
            # standard deviation of a binomial, of the part about which one more of each is known
            error = np.sqrt((found + 1) * (n - found + 1) / (n + 2) ** 2 / (n + 3))
            axes = figure.add_subplot(grid[0, k])
            axes.errorbar(middle[n > 0], part[n > 0], error[n > 0], fmt="o-", color=_LINE, ms=3, lw=1)
            axes.set_xlabel(name)
            axes.set_ylim(-0.05, 1.05)
            if is_log:
                axes.set_xscale("log")
            if k == 0:
                axes.set_ylabel("part found")
                axes.axvline(result.threshold, color="0.6", lw=0.8)
            else:
                axes.tick_params(labelleft=False)
    return figure


def _edges(freq_mhz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(n + 1) borders of channels, half way between their centres."""
    if freq_mhz.size < 2:
        return np.array([freq_mhz[0] - 0.5, freq_mhz[0] + 0.5])
    middles = (freq_mhz[1:] + freq_mhz[:-1]) / 2
    return np.concatenate([[2 * freq_mhz[0] - middles[0]], middles, [2 * freq_mhz[-1] - middles[-1]]])


def candidate_figure(stream: Stream, row: Candidate, prepare: Preparation | None = None) -> Figure:
    """Draw a candidate: its waterfall below the profile; S/N against DM and time, and against width, beside it.

    Near an end of the file the window is moved, so that it is full.

    Parameters
    ----------
    stream : where it was found
    row : the candidate
    prepare : what is done to the spectra before
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator

    near = _surroundings(stream, row, prepare)
    begin_ms, end_ms = near.edges_ms
    panel = Panel(near.falls, peak_s=-begin_ms / 1e3)
    with rc_context(STYLE):
        figure = Figure(figsize=(7.0, 3.8))
        left = _left_in([panel]) / 7
        sides = {"hspace": 0, "left": left, "right": 0.475, "top": 0.865, "bottom": 0.115}
        grid = figure.add_gridspec(2, 1, height_ratios=[1, 3], **sides)
        top, main = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[1, 0])
        draw_panel(
            top,
            main,
            panel,
            Look(window_s=max(-begin_ms, end_ms) / 1e3 + stream.dt_s, percentiles=(2.5, 99.0)),
        )
        for ax in (top, main):
            ax.set_xlim(begin_ms, end_ms)
        right = figure.add_gridspec(
            2, 1, height_ratios=[2.2, 1], hspace=0.42, left=0.475 + left, right=0.985, top=0.865, bottom=0.115
        )
        side, below = figure.add_subplot(right[0, 0]), figure.add_subplot(right[1, 0])
        noise = np.median(np.abs(near.plane - np.median(near.plane))) * 1.4826
        side.imshow(
            (near.plane - np.median(near.plane)) / (noise if noise > 0 else 1),
            origin="lower",
            aspect="auto",
            interpolation="nearest",
            extent=(begin_ms, end_ms, near.dms[0], near.dms[-1]),
            cmap="viridis",
        )
        side.axhline(row.dm, color="white", lw=0.5, ls=":")
        side.set_xlabel("Time [ms]", labelpad=1)
        side.set_ylabel("DM [pc cm$^{-3}$]")
        below.plot(1e3 * near.widths_s, near.snrs, ".-", lw=1, ms=4, color=_LINE)
        below.axvline(1e3 * row.width_s, color="0.6", lw=0.5, ls=":")
        below.set_xscale("log")
        below.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        below.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        below.xaxis.set_minor_locator(NullLocator())
        below.set_xlabel("Width of the boxcar [ms]", labelpad=1)
        below.set_ylabel("S/N")
        figure.suptitle(_candidate_title(stream, row), fontsize=_FONT, y=0.985)
    return figure


def _candidate_title(stream: Stream, row: Candidate) -> str:
    """Where it was found, when, and what it is, in two lines."""
    names = [stream.path.name] + ([stream.source] if stream.source else [])
    if row.mjd is not None:
        names.append(f"MJD {row.mjd:.8f} ({stream.recording.frame.words})")
    beam = row.beam or stream.recording.beam
    if beam:
        names.append(f"beam {beam}")
    error = f" $\\pm$ {row.dm_err:.2f}" if np.isfinite(row.dm_err) else ""
    return (
        ", ".join(names).replace("$", r"\$")
        + f"\nt = {row.time_s:.4f} s, DM = {row.dm:.2f}{error}, S/N = {row.snr:.1f}, width = {1e3 * row.width_s:.3g} ms"
    )


@dataclass(frozen=True, eq=False)
class _Surroundings:
    """What is about a candidate."""

    falls: Spectra  #: dedispersed and averaged
    plane: npt.NDArray[np.float32]  #: (n_dm, n_times) sums over the channels
    dms: npt.NDArray[np.float64]  #: pc/cm^3
    edges_ms: tuple[float, float]  #: of both, from the pulse
    widths_s: npt.NDArray[np.float64]  #: of boxcars
    snrs: npt.NDArray[np.float64]  #: of the best boxcar of each width that covers the pulse


def _surroundings(stream: Stream, row: Candidate, prepare: Preparation | None) -> _Surroundings:
    dt_s = stream.dt_s
    width = max(1, round(row.width_s / dt_s))
    factor = max(1, width // 4)
    half = max(_BINS // 2 * factor, 6 * width)
    per_dm = delay_per_dm(stream.freq_mhz, "top", stream.k_dm)
    reach = max(
        8 * row.width_s / max(float(per_dm.max()), 1e-12), 3 * row.dm_err if np.isfinite(row.dm_err) else 0
    )
    dms = np.linspace(max(stream.dm, row.dm - reach), row.dm + reach, 65)
    sweep = int(delay_samples(dms[-1] - stream.dm, per_dm / dt_s).max())
    middle = round(row.time_s / dt_s)
    low, high = _within(middle - half, middle + half, stream.n_times)
    piece = piece_of(stream, low, high + sweep, prepare)
    n_sub = max(n for n in range(1, min(128, stream.n_chan) + 1) if stream.n_chan % n == 0)
    count = (high - low) // factor * factor
    plan = plan_dedispersion(
        ArrayStream(piece, stream.path, stream.kind), row.dm, n_sub=n_sub, tscrunch=factor, gulp=count
    )
    falls = next(iter(plan.blocks(range(count))))
    plane = piece.series(dms)[:, :count].reshape(len(dms), -1, factor).mean(2)
    profile = piece.series([row.dm])[0, : high - low]
    seen = piece.weights if piece.weights is not None else np.ones((1, 1), np.float32)
    noise = np.sqrt(max(1, int((seen > 0).any(1).sum())))  # channels are scaled to a deviation of 1
    widths, snrs = _snr_by_width(profile, middle - low, 8 * width, float(noise))
    edges_ms = (1e3 * dt_s * (low - middle - 0.5), 1e3 * dt_s * (low + count - middle - 0.5))
    return _Surroundings(falls, plane, dms, edges_ms, dt_s * widths, snrs)


def _within(low: int, high: int, n_times: int) -> tuple[int, int]:
    """A window moved into the file, or cut if it is longer."""
    shift = max(0, -low) - max(0, high - n_times)
    return max(0, low + shift), min(n_times, high + shift)


def _snr_by_width(
    profile: npt.NDArray[np.float32], at: int, widest: int, noise: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """S/N of the best boxcar of each width that covers a sample, in white noise of a known deviation."""
    total = np.concatenate([[0.0], np.cumsum(profile, dtype=np.float64)])
    most = max(1, min(widest, profile.size // 4))
    widths = np.unique(np.geomspace(1, most, 25).round().astype(int))
    snrs = []
    for width in widths:
        sums = total[width:] - total[:-width]
        covering = sums[max(0, at - 2 * width) : at + width + 1]
        snrs.append((covering.max() - np.median(sums)) / (noise * np.sqrt(width)) if covering.size else 0.0)
    return widths.astype(np.float64), np.array(snrs)


def save_figure(figure: Figure, path: Path, *, overwrite: bool = False, dpi: int = 300) -> None:
    """Write a figure; the same figure gives the same bytes.

    Parameters
    ----------
    figure : of matplotlib
    path : .pdf, .png or .svg
    overwrite : replace an existing file
    dpi : of .png

    Raises
    ------
    InputError : another ending
    """
    from matplotlib import rc_context

    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise InputError(f"{path}: expected a name that ends in {', '.join(SUFFIXES)}")
    timeless = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}, ".png": {"Software": None}}[kind]
    with StagedPath(path, overwrite) as staged, rc_context(STYLE):
        figure.savefig(staged.temporary, format=kind[1:], dpi=dpi, metadata=timeless)


def _masked(spectra: Spectra) -> npt.NDArray[np.float32]:
    """Values with NaN where the weight is 0."""
    values = spectra.data.astype(np.float32)
    if spectra.weights is not None:
        weights = spectra.weights if spectra.weights.ndim == 2 else spectra.weights[:, None]
        values[np.broadcast_to(weights <= 0, values.shape)] = np.nan
    return values


def _round_down(value: float) -> float:
    """The largest of 1, 2, 2.5, 4, 5, 8 times a power of ten that is not above."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(max(step * power for step in (1, 2, 2.5, 4, 5, 8) if step * power <= value * (1 + 1e-9)))


def _frequency_ticks(spectra: Spectra) -> tuple[list[float], list[str]]:
    """Round frequencies and their names; the edges of the band too if they are nearly round, as 400.2 and 800.2 MHz."""
    from matplotlib.ticker import MaxNLocator

    low, high = _band(spectra)
    ticks = np.array(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high))
    slack = 0.002 * (high - low)
    ticks = ticks[(ticks >= low - slack) & (ticks <= high + slack)]
    return np.clip(ticks, low, high).tolist(), [f"{tick:.6g}" for tick in ticks]


def _band(spectra: Spectra) -> tuple[float, float]:
    """Edges of the band; of a single channel, whose width is not known, half a MHz to either side."""
    half = spectra.df_mhz / 2 or 0.5
    return float(spectra.freq_mhz[0]) - half, float(spectra.freq_mhz[-1]) + half


def _left_in(panels: Sequence[Panel]) -> float:
    """Inches left of the axes, for a label and the longest name of a tick."""
    longest = max(len(name) for panel in panels for name in _frequency_ticks(panel.spectra)[1] or [""])
    return 0.37 + 0.07 * longest
