"""Waterfalls from a request to a figure."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from mwaconvert.errors import InputError
from mwaconvert.extras import need
from mwaconvert.machine import own_memory_bytes
from mwaconvert.progress import Progress
from mwaconvert.spectra.dispersion import delay_per_dm, delay_samples
from mwaconvert.spectra.stream import Stream, StreamPart
from mwaconvert.text import size_text
from mwaconvert.transients.dedispersion import Dedispersion, plan_dedispersion
from mwaconvert.transients.figures import SUFFIXES, Look, Panel, save_figure, waterfall_figure
from mwaconvert.transients.prepare import Preparation, channel_statistics
from mwaconvert.transients.products import common
from mwaconvert.transients.products.report import FileKind, ProductFile, ProductReport
from mwaconvert.transients.products.requests import WaterfallRequest

_MOST_SUBBANDS = 128
_DRAWING_BYTES = 40 << 20  # of matplotlib
_AROUND = 4096  # samples beyond what is shown
_DRAWN_BYTES = 28  # of a value of a panel


@dataclass(frozen=True, eq=False)
class PanelPlan:
    """How one file becomes a panel."""

    work: Dedispersion  #: channels by number are masked; others, and scales, are not known yet
    title: str
    time_s: float | None  #: that becomes 0, in the part of the file that is read
    scale: bool
    memory_bytes: int  #: with the panels before it, and that of the process


@dataclass(frozen=True, eq=False)
class WaterfallPlan:
    """How files are drawn: made by `plan_waterfall`."""

    request: WaterfallRequest
    panels: tuple[PanelPlan, ...]

    @property
    def memory_bytes(self) -> int:
        """Of the panel that takes most, with that of the process."""
        return max(panel.memory_bytes for panel in self.panels)

    def lines(self) -> list[dict[str, str]]:
        """What would be done, by name, for each file."""
        return [
            panel.work.stream.facts()
            | {
                "DM": f"{panel.work.dm:g} pc/cm^3 (K = {panel.work.stream.k_dm:.9g} MHz^2 s cm^3 / pc)",
                "panel": f"{panel.work.n_sub} sub-bands of {panel.work.tscrunch * panel.work.stream.dt_s * 1e6:g} us",
                "memory": f"about {size_text(panel.memory_bytes)}",
            }
            for panel in self.panels
        ]

    def run(self, progress: Progress | None = None) -> ProductReport:
        """Draw and report.

        Parameters
        ----------
        progress : told of the stages scaling and dedispersing, for each file

        Raises
        ------
        InputError : there is nothing to draw, or the output exists
        ResourceError : it takes more memory than is allowed, or the output cannot be written
        """
        started = time.perf_counter()
        request = self.request
        drawn = []
        for panel in self.panels:
            stream = panel.work.stream
            common.check_memory(stream.path, panel.memory_bytes, request)
            prepare = _preparation(panel, request, progress)
            spectra = replace(panel.work, prepare=prepare).spectra(progress)
            drawn.append(Panel(spectra, panel.title, panel.time_s))
        look = Look(
            request.window_s,
            request.percentiles,
            request.size_in,
            request.cmap,
            request.label,
            request.columns,
        )
        target = request.target
        save_figure(waterfall_figure(drawn, look), target, overwrite=request.overwrite, dpi=request.dpi)
        numbers = {
            "panels": [
                {"dm": p.work.dm, "n_sub": p.work.n_sub, "dt_s": p.work.tscrunch * p.work.stream.dt_s}
                for p in self.panels
            ],
            "memory_bytes": self.memory_bytes,
        }
        output = ProductFile.of(target, FileKind.FIGURE)
        streams = tuple(panel.work.stream for panel in self.panels)
        return common.finish(request, streams, numbers, (output,), started)


def plan_waterfall(request: WaterfallRequest) -> WaterfallPlan:
    """Decide how to draw, and refuse what cannot be done.

    Parameters
    ----------
    request : what is asked for

    Raises
    ------
    InputError : a value that makes no sense, an output that exists, a time that is not in the file
    FormatError : a file is damaged
    """
    request.check()
    _check_colours(request.cmap)
    common.check_suffix(request.target, SUFFIXES)
    common.check_outputs(request, request.paths, [request.target])
    panels: list[PanelPlan] = []
    held = 0
    for k in range(len(request.paths)):
        panel, drawn_bytes = _plan_panel(request, k, held)
        panels.append(panel)
        held += drawn_bytes
    return WaterfallPlan(request, tuple(panels))


def _plan_panel(request: WaterfallRequest, k: int, held: int) -> tuple[PanelPlan, int]:
    """The panel of a file, and the memory that it takes once it is made; `held` is that of those before."""
    path = request.paths[k]
    stream = common.open_file(path, request)
    scale = (
        stream.kind not in ("waterfall", "CHIME/FRB waterfall") if request.scale is None else request.scale
    )
    given = _of_file(request.dms, k)
    dm = stream.dm if given is None else given
    time_s = _of_file(request.times_s, k)
    if request.window_s < request.tscrunch * stream.dt_s:
        raise InputError(
            f"{path}: `window_s={request.window_s:g}`: a sample takes {request.tscrunch * stream.dt_s * 1e3:g} ms: take "
            "a longer window",
            option="window_s",
            path=path,
        )
    whole = stream
    if time_s is not None:
        time_s -= (request.start_s or 0.0) // stream.dt_s * stream.dt_s
        stream, time_s = _about(stream, time_s, dm, request.window_s)
    work = plan_dedispersion(
        stream,
        dm,
        n_sub=request.n_sub or _subbands(whole),
        tscrunch=request.tscrunch,
        prepare=common.masked_channels(whole, request),
        gulp=request.gulp,
        threads=request.threads,
    )
    drawn_bytes = _DRAWN_BYTES * work.n_sub * (stream.n_times // request.tscrunch)
    # the panels that are there already, this one, and what drawing takes
    needed = work.spectra_memory_bytes + held + drawn_bytes + _DRAWING_BYTES + own_memory_bytes()
    several = whole.source or path.stem if len(request.paths) > 1 else ""
    title = request.titles[k] if request.titles else several
    return PanelPlan(work, title, time_s, scale, needed), drawn_bytes


def _of_file(values: tuple[float, ...], k: int) -> float | None:
    """The value of a file: one for all, one for each, or none."""
    if not values:
        return None
    return values[0] if len(values) == 1 else values[k]


def _subbands(stream: Stream) -> int:
    """The largest divisor of the channels that is drawn in one figure."""
    return max(n for n in range(1, min(_MOST_SUBBANDS, stream.n_chan) + 1) if stream.n_chan % n == 0)


def _about(stream: Stream, time_s: float, dm: float, window_s: float) -> tuple[Stream, float]:
    """The part of a file that holds a pulse, with enough about it for scales, and the time of the pulse in it."""
    if not 0 <= time_s < stream.n_times * stream.dt_s:
        raise InputError(
            f"{stream.path}: no samples within {1e3 * window_s:g} ms of {time_s:g} s: the data last "
            f"{stream.n_times * stream.dt_s:.6g} s",
            option="times_s",
            path=stream.path,
        )
    delays = delay_samples(dm - stream.dm, delay_per_dm(stream.freq_mhz, "top", stream.k_dm) / stream.dt_s)
    around = int(np.ceil(window_s / stream.dt_s)) + _AROUND
    at = int(time_s / stream.dt_s + 1e-6)
    first = max(0, at + min(0, int(delays.min())) - around)
    last = min(stream.n_times, at + max(0, int(delays.max())) + around)
    return StreamPart(stream, first, last - first), time_s - first * stream.dt_s


def _preparation(panel: PanelPlan, request: WaterfallRequest, progress: Progress | None) -> Preparation:
    """Masks by number, then by what the channels hold; scales."""
    stream, named = panel.work.stream, panel.work.prepare
    most_sum, most_var = request.mask_sum, request.mask_var
    if not panel.scale and most_sum is None and most_var is None:
        return named
    mean, std = channel_statistics(stream, progress, request.threads)
    gone = np.zeros(stream.n_chan, bool) if named.masked is None else named.masked
    if most_sum is not None:
        gone = gone | (np.abs(mean) * stream.n_times > most_sum)
    if most_var is not None:
        gone = gone | (std**2 > most_var)
    if gone.all():
        raise InputError(
            f"{stream.path}: all channels are masked; see `mask`, `mask_sum` and `mask_var`",
            option="mask",
            path=stream.path,
        )
    return Preparation(gone, mean, std, request.threads) if panel.scale else Preparation(gone)


def _check_colours(name: str) -> None:
    colormaps = need("matplotlib", "plot", "drawing").colormaps
    if name not in colormaps:
        raise InputError(
            f"`cmap={name}`: matplotlib has no such colours; viridis, magma or Greys, for example",
            option="cmap",
        )
