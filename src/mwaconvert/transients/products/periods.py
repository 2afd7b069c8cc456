"""A search for periods from a request to a list of candidates and their folds."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mwaconvert.errors import InputError
from mwaconvert.extras import need
from mwaconvert.formats.spectra.masks import read_mask
from mwaconvert.machine import free_bytes, own_memory_bytes
from mwaconvert.progress import Progress, Stage
from mwaconvert.spectra.stream import Stream
from mwaconvert.text import size_text
from mwaconvert.transients.clean.cleaning import Cleaning
from mwaconvert.transients.periodicity.candidate import SUFFIXES, PeriodCandidate, write_list
from mwaconvert.transients.periodicity.folding import Rotation, fold
from mwaconvert.transients.periodicity.hits import Method
from mwaconvert.transients.periodicity.source import Source
from mwaconvert.transients.periodicity.survey import PeriodSurvey, plan_periods, with_barycentric
from mwaconvert.transients.products import common
from mwaconvert.transients.products.period_requests import CleanedRequest, How, PeriodRequest
from mwaconvert.transients.products.report import FileKind, ProductFile, ProductReport

_LONGEST_S = 10.0  # period, by default
_DRAWING_BYTES = 70 << 20  # of matplotlib
_PART = 0.25  # of the memory that is free, for series


@dataclass(frozen=True, eq=False)
class PeriodPlan:
    """How a file is searched for periods, and what is written: made by `plan_period`."""

    request: PeriodRequest
    survey: PeriodSurvey
    memory_bytes: int  #: with that of the process

    def lines(self) -> dict[str, str]:
        """What would be done, by name."""
        survey, stream = self.survey, self.survey.source.stream
        span, folded = survey.span, survey.folded
        made = f"{span.period_min_s:g} to {span.period_max_s:g} s"
        if Method.FFA in survey.methods:
            made += f", those of the fast folding algorithm from {folded.period_min_s:g} s on"
        passes = -(-survey.dms.size // survey.batch)
        return stream.facts() | {
            "DMs": f"{survey.dms.size} from {survey.dms[0]:g} to {survey.dms[-1]:g} pc/cm^3 (K = {stream.k_dm:.9g} "
            "MHz^2 s cm^3 / pc)",
            "periods": made,
            "trials": ", ".join(f"{name} {n:.3g}" for name, n in survey.n_trials().items()),
            "series": f"{span.n_times} samples of {1e6 * span.dt_s:g} us, {survey.batch} at a time, in {passes} passes",
            "memory": f"about {size_text(self.memory_bytes)}",
        }

    def run(self, progress: Progress | None = None) -> ProductReport:
        """Search, write and report.

        Parameters
        ----------
        progress : told of the stages dedispersing, searching and drawing

        Raises
        ------
        InputError : all channels are masked, or an output exists
        ResourceError : it takes more memory than is allowed, or an output cannot be written
        """
        started = time.perf_counter()
        request, survey = self.request, self.survey
        stream = survey.source.stream
        common.check_memory(
            request.path, self.memory_bytes, request, "take lower DMs, or average samples with `tscrunch`"
        )
        search = survey.run(progress)
        candidates = with_barycentric(search.candidates, stream, survey.span.length_s)
        outputs = []
        if request.output is not None:
            write_list(request.output, candidates, search.facts(), overwrite=request.overwrite)
            outputs.append(ProductFile.of(request.output, FileKind.CANDIDATES))
        if request.plots is not None:
            outputs += self._draw(candidates[: request.max_plots], request.plots, progress)
        numbers: dict[str, Any] = {
            "n_candidates": len(candidates),
            "n_dms": int(survey.dms.size),
            "dm_min": float(survey.dms[0]),
            "dm_max": float(survey.dms[-1]),
            "period_min_s": survey.span.period_min_s,
            "period_max_s": survey.span.period_max_s,
            "n_trials": {method.value: n for method, n in survey.n_trials().items()},
            "length_s": survey.span.length_s,
            "memory_bytes": self.memory_bytes,
        }
        notes = tuple(filter(None, [survey.source.among_impulses(float(survey.dms[0]))]))
        return common.finish(
            request, (stream,), numbers, tuple(outputs), started, candidates=candidates, notes=notes
        )

    def _draw(
        self, candidates: tuple[PeriodCandidate, ...], folder: Path, progress: Progress | None
    ) -> list[ProductFile]:
        from mwaconvert.transients.figures import save_figure
        from mwaconvert.transients.periodicity.figure import fold_figure

        folder.mkdir(parents=True, exist_ok=True)
        source, drawn = self.survey.source, []
        stream = source.stream
        for k, c in enumerate(candidates):
            n_bin, n_part, n_band = parts_of(stream, c.period_s)
            folded = fold(source, Rotation(c.period_s), c.dm, n_bin=n_bin, n_part=n_part, n_band=n_band)
            path = folder / f"{stream.path.stem}_{k + 1:04d}_p{c.period_s:.6f}_dm{c.dm:.1f}.png"
            save_figure(fold_figure(folded, stream), path, overwrite=self.request.overwrite)
            drawn.append(ProductFile.of(path, FileKind.FIGURE))
            if progress is not None:
                progress(Stage.DRAWING, k + 1, len(candidates))
        return drawn


def parts_of(stream: Stream, period_s: float) -> tuple[int, int, int]:
    """Bins, parts of time and parts of the band of a fold, by default."""
    n_bin = max(4, min(64, int(period_s / stream.dt_s)))
    n_part = max(1, min(64, int(stream.n_times * stream.dt_s / period_s)))
    return n_bin, n_part, min(32, stream.n_chan)


def source_of(request: CleanedRequest, path: Path, longest_s: float, tscrunch: int = 1) -> Source:
    """The file of a request, and what is done to it."""
    stream = common.open_file(path, request)
    cleaning = None
    if not request.raw and stream.n_chan > 1:
        cleaning = Cleaning(
            baseline=request.baseline, channels=request.bad_channels, impulses=request.impulses
        )
    masks = tuple(read_mask(mask, stream) for mask in request.mask_files)
    return Source(
        stream,
        longest_s,
        common.masked_channels(stream, request),
        cleaning,
        masks,
        tscrunch,
        request.threads,
    )


def plan_period(request: PeriodRequest) -> PeriodPlan:
    """Decide how to search for periods, and refuse what cannot be done.

    Parameters
    ----------
    request : what is asked for

    Raises
    ------
    InputError : a value that makes no sense, or an output that exists
    FormatError : the file is damaged
    """
    request.check()
    common.check_one(request)
    if request.output is not None:
        common.check_suffix(request.output, SUFFIXES)
    if request.plots is not None:
        need("matplotlib", "plot", "drawing")
        if request.plots.exists() and not request.plots.is_dir():
            raise InputError(
                f"{request.plots}: exists and is not a directory", option="plots", path=request.plots
            )
    outputs = [] if request.output is None else [request.output]
    common.check_outputs(request, [request.path, *request.mask_files], outputs)
    source = source_of(request, request.path, request.period_max_s or _LONGEST_S, request.tscrunch)
    dms = (request.dm_min, request.dm_max)
    if dms == (None, None) and (source.stream.dm > 0 or source.stream.n_chan == 1):
        dms = (source.stream.dm, source.stream.dm)
    low, high = request.dm_range if dms[0] is None or dms[1] is None else (dms[0], dms[1])
    free = int(request.max_memory_gib * 2**30) if request.max_memory_gib is not None else free_bytes()
    survey = plan_periods(
        source,
        low,
        high,
        period_min_s=request.period_min_s,
        period_max_s=request.period_max_s,
        ffa_min_s=request.ffa_min_s,
        width_min_s=request.width_min_s,
        methods=tuple(Method) if request.how is How.BOTH else (Method(request.how.value),),
        threshold=request.threshold,
        memory_bytes=max(1 << 26, min(1 << 30, int(_PART * free))),
    )
    needed = survey.memory_bytes + own_memory_bytes() + (0 if request.plots is None else _DRAWING_BYTES)
    return PeriodPlan(request, survey, needed)
