"""Waterfalls from a request to a figure."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from mwaconvert.errors import InputError
from mwaconvert.extras import need
from mwaconvert.machine import own_memory_bytes
from mwaconvert.progress import Progress
from mwaconvert.spectra.candidate import Candidate
from mwaconvert.spectra.dispersion import delay_per_dm, delay_samples
from mwaconvert.spectra.spectra import Spectra, channel_sums
from mwaconvert.spectra.stream import Stream, StreamPart
from mwaconvert.text import size_text
from mwaconvert.transients.clean.cleaning import Cleaning
from mwaconvert.transients.dedispersion import Dedispersion, plan_dedispersion, too_long
from mwaconvert.transients.figures import SUFFIXES, Look, Panel, pulse_of, save_figure, waterfall_figure
from mwaconvert.transients.prepare import Preparation, channel_statistics
from mwaconvert.transients.products import common
from mwaconvert.transients.products.report import FileKind, ProductFile, ProductReport
from mwaconvert.transients.products.requests import Auto, WaterfallRequest
from mwaconvert.transients.survey import Survey, plan_survey

_MOST_SUBBANDS = 128
_DRAWING_BYTES = 40 << 20  # of matplotlib
_AROUND = 4096  # samples beyond what is shown
_DRAWN_BYTES = 28  # of a value of a panel
_WINDOW_S = 0.025  # of burst figures of CHIME/FRB
_WIDTHS_SHOWN = 8  # of a pulse, on either side
_STANDS_OUT = 1.0  # S/N of a value of the picture
_CERTAIN = 7.0  # S/N above which there is a pulse to be shown
_UNEVEN = 3.0  # levels of channels that differ by more than this times their noise hide a pulse
_HIGHEST_DM = 3000.0  # that is looked for


@dataclass(frozen=True, eq=False)
class PanelPlan:
    """How one file becomes a panel."""

    work: Dedispersion  #: channels by number are masked; others, and scales, are not known yet
    title: str
    time_s: float | None  #: that becomes 0, in the part of the file that is read
    scale: bool
    memory_bytes: int  #: with the panels before it, and that of the process
    survey: Survey | None = None  #: finds the DM first
    notes: tuple[str, ...] = ()


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
                "DM": _dm_text(panel),
                "panel": f"{panel.work.n_sub} sub-bands of {panel.work.tscrunch * panel.work.stream.dt_s * 1e6:g} us"
                + (", or of more samples" if self.request.tscrunch is None else ""),
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
        drawn = [_draw_panel(panel, request, k, progress) for k, panel in enumerate(self.panels)]
        window_s = request.window_s or max([_WINDOW_S, *(_WIDTHS_SHOWN * each.width_s for each in drawn)])
        look = Look(
            window_s,
            request.percentiles,
            request.size_in,
            request.cmap,
            request.label,
            request.columns,
        )
        target = request.target
        figure = waterfall_figure([each.panel for each in drawn], look)
        save_figure(figure, target, overwrite=request.overwrite, dpi=request.dpi)
        numbers = {
            "panels": [
                {
                    "dm": each.panel.spectra.dm,
                    "n_sub": each.panel.spectra.n_chan,
                    "dt_s": each.panel.spectra.dt_s,
                    "window_s": window_s,
                }
                for each in drawn
            ],
            "memory_bytes": self.memory_bytes,
        }
        output = ProductFile.of(target, FileKind.FIGURE)
        streams = tuple(panel.work.stream for panel in self.panels)
        notes = tuple(note for each in drawn for note in each.notes)
        return common.finish(request, streams, numbers, (output,), started, notes=notes)


@dataclass(frozen=True, eq=False)
class _Drawn:
    """A panel that is ready, and what there is to say of it."""

    panel: Panel
    width_s: float  #: of the pulse
    notes: tuple[str, ...] = field(default=())


def _draw_panel(plan: PanelPlan, request: WaterfallRequest, k: int, progress: Progress | None) -> _Drawn:
    """Dedisperse and average a file."""
    stream = plan.work.stream
    common.check_memory(stream.path, plan.memory_bytes, request)
    notes: tuple[str, ...] = ()
    found = None
    if plan.survey is not None:
        found = _brightest(plan, progress)
        notes = (f"{stream.path}: the brightest pulse is {found!r}",)
        own = request.times_s or (found.time_s + (request.start_s or 0.0),)
        dms = tuple(found.dm if j == k else 0.0 for j in range(len(request.paths)))
        plan, _ = _plan_panel(replace(request, dms=dms, times_s=own), k, 0)
    prepare = _preparation(plan, request, progress)
    spectra = replace(plan.work, prepare=prepare).spectra(progress)
    width, snr = pulse_of(spectra, plan.time_s)
    if found is not None:
        width, snr = max(1, round(found.width_s / spectra.dt_s)), found.snr
    width_s = width * spectra.dt_s if snr > _CERTAIN else 0.0
    if request.tscrunch is None and snr > _CERTAIN:
        factor = _averaged_samples(width, snr, spectra.n_chan)
        spectra = spectra.downsample(min(factor, spectra.n_times))
    if not plan.scale and _levels_differ(spectra):
        notes += (
            f"{stream.path}: the levels of the channels differ by more than their noise, and may hide a pulse; see "
            "`scale`",
        )
    panel = Panel(spectra, plan.title, plan.time_s)
    return _Drawn(panel, width_s, (*plan.notes, *notes))


def _brightest(plan: PanelPlan, progress: Progress | None) -> Candidate:
    """The pulse that a search finds, of any DM that the file can hold.

    Raises
    ------
    InputError : there is none
    """
    assert plan.survey is not None
    survey, stream = plan.survey, plan.work.stream
    found = replace(survey, prepare=plan.work.prepare).run(progress).candidates()
    if not found:
        raise InputError(
            f"{stream.path}: no pulse above S/N {survey.options['threshold']:g} from DM {survey.dm_min:g} to "
            f"{survey.dm_max:g}: give its DM with `dms`",
            option="dms",
            path=stream.path,
        )
    return found[0]


def _averaged_samples(width: int, snr: float, n_chan: int) -> int:
    """Samples that become one: a pulse is shown by as many as four, if its values then still stand out."""
    shown = min(4.0, (snr / _STANDS_OUT) ** 2 / n_chan)
    return max(1, int(width / max(1.0, shown)))


def _levels_differ(spectra: Spectra) -> bool:
    data = spectra.data.astype(np.float32)
    count, total, _ = channel_sums(data, spectra.weights, np.zeros(spectra.n_chan)).T
    used = count > 1
    if used.sum() < 2:
        return False
    mean = total / np.maximum(count, 1)
    _, _, squares = channel_sums(data, spectra.weights, mean).T
    noise = np.sqrt(np.maximum(squares, 0) / np.maximum(count, 1))
    return bool(np.std(mean[used]) > _UNEVEN * np.median(noise[used]))


def _dm_text(panel: PanelPlan) -> str:
    constant = f"(K = {panel.work.stream.k_dm:.9g} MHz^2 s cm^3 / pc)"
    if panel.survey is not None:
        return f"that of the brightest pulse up to {panel.survey.dm_max:.4g} pc/cm^3 {constant}"
    return f"{panel.work.dm:g} pc/cm^3 {constant}"


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
    looked_for = isinstance(given, Auto)
    dm = stream.dm if given is None or isinstance(given, Auto) else given
    time_s = _of_file(request.times_s, k)
    tscrunch = request.tscrunch or 1
    if request.window_s is not None and request.window_s < tscrunch * stream.dt_s:
        raise InputError(
            f"{path}: `window_s={request.window_s:g}`: a sample takes {tscrunch * stream.dt_s * 1e3:g} ms: take "
            "a longer window",
            option="window_s",
            path=path,
        )
    whole = stream
    survey = _survey(stream, request) if looked_for else None
    notes = () if looked_for or request.dms else _not_dedispersed(stream)
    if time_s is not None and not looked_for:
        time_s -= (request.start_s or 0.0) // stream.dt_s * stream.dt_s
        stream, time_s = _about(stream, time_s, dm, request.window_s or _WINDOW_S)
    work = plan_dedispersion(
        stream,
        dm,
        n_sub=request.n_sub or _subbands(whole),
        tscrunch=tscrunch,
        prepare=common.masked_channels(whole, request),
        gulp=request.gulp,
        threads=request.threads,
    )
    if work.sweep >= whole.n_times:
        notes = (
            *notes,
            f"{too_long(whole, dm, work.sweep)}, to see it in all channels at once; now parts of the band are empty",
        )
    drawn_bytes = _DRAWN_BYTES * work.n_sub * (stream.n_times // tscrunch)
    # the panels that are there already, this one, and what drawing takes
    needed = work.spectra_memory_bytes + held + drawn_bytes + _DRAWING_BYTES + own_memory_bytes()
    several = whole.source or path.stem if len(request.paths) > 1 else ""
    title = request.titles[k] if request.titles else several
    if survey is not None:
        needed = max(needed, survey.memory_bytes + held + own_memory_bytes())
    return PanelPlan(work, title, time_s, scale, needed, survey, notes), drawn_bytes


def _survey(stream: Stream, request: WaterfallRequest) -> Survey:
    """A search of all DMs whose sweep is at most half of the file."""
    per_dm = float(delay_per_dm(stream.freq_mhz, "top", stream.k_dm).max())
    most = stream.dm + stream.n_times * stream.dt_s / 2 / max(per_dm, 1e-12)
    return plan_survey(
        stream,
        stream.dm,
        min(most, max(_HIGHEST_DM, 2 * stream.dm)),
        cleaning=Cleaning(),
        threshold=_CERTAIN,
        threads=request.threads,
        gulp=request.gulp,
    )


def _not_dedispersed(stream: Stream) -> tuple[str, ...]:
    """What to say of a file that is drawn as it is."""
    if stream.dm or stream.n_chan == 1:
        return ()
    return (
        f"{stream.path}: the data are not dedispersed, and are drawn as they are: give the DM of the pulse with `dms`, "
        "or auto",
    )


_Value = TypeVar("_Value")


def _of_file(values: tuple[_Value, ...], k: int) -> _Value | None:
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
