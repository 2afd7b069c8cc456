"""A search from a request to a list of candidates and their figures."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np

from mwaconvert.errors import InputError
from mwaconvert.extras import need
from mwaconvert.formats.spectra.candidate_lists import SUFFIXES, write_candidates
from mwaconvert.formats.spectra.masks import read_mask, write_mask
from mwaconvert.machine import own_memory_bytes
from mwaconvert.progress import Progress, Stage
from mwaconvert.spectra.candidate import NOT_KNOWN, Candidate
from mwaconvert.staging import StagedPath
from mwaconvert.text import size_text
from mwaconvert.transients import masking
from mwaconvert.transients.clean.cleaning import Cleaning
from mwaconvert.transients.clean.impulses import among_impulses
from mwaconvert.transients.clean.masked import Masked
from mwaconvert.transients.completeness import completeness
from mwaconvert.transients.judging.classifiers import Classifier
from mwaconvert.transients.judging.cutouts import cut_out, write_cutout
from mwaconvert.transients.products import common
from mwaconvert.transients.products.report import FileKind, ProductFile, ProductReport
from mwaconvert.transients.products.requests import SearchRequest
from mwaconvert.transients.search import Search
from mwaconvert.transients.survey import LOOKED_AT, Clean, Survey, plan_survey

_DRAWING_BYTES = 70 << 20  # of matplotlib


@dataclass(frozen=True, eq=False)
class Found:
    """What a search found, before anything is written."""

    took_s: float
    survey: Survey  #: with its scales
    search: Search
    candidates: list[Candidate]  #: best first
    beam: int = 0  #: its number, where beams were compared
    n_beams: int = 1  #: that were compared


@dataclass(frozen=True, eq=False)
class SearchPlan:
    """How a file is searched, and what is written: made by `plan_search`."""

    request: SearchRequest
    survey: Survey  #: its scales are not known yet
    memory_bytes: int  #: with that of the process
    classifier: Classifier | None = None

    def lines(self) -> dict[str, str]:
        """What would be done, by name."""
        survey, stream = self.survey, self.survey.stream
        longest = max(map(len, survey.segments))
        return stream.facts() | {
            "DMs": f"{survey.dm_min:g} to {survey.dm_max:g} pc/cm^3 (K = {stream.k_dm:.9g} MHz^2 s cm^3 / pc)",
            "sweep": f"{survey.sweep} samples, {survey.sweep * stream.dt_s:.6g} s",
            "segments": f"{len(survey.segments)} of up to {longest} samples ({longest * stream.dt_s:.4g} s)",
            "gulps": f"{min(survey.gulp, longest)} samples",
            "memory": f"about {size_text(self.memory_bytes)}",
        }

    def run(self, progress: Progress | None = None) -> ProductReport:
        """Search, write and report.

        Parameters
        ----------
        progress : told of the stages scaling, searching and drawing

        Raises
        ------
        InputError : all channels are masked, or an output exists
        ResourceError : it takes more memory than is allowed, or an output cannot be written
        """
        return self.written(self.found(progress), progress)

    def found(self, progress: Progress | None = None) -> Found:
        """Search alone.

        Parameters
        ----------
        progress : told of the stages scaling and searching

        Raises
        ------
        InputError : all channels are masked
        ResourceError : it takes more memory than is allowed
        """
        started = time.perf_counter()
        request, survey = self.request, self.survey
        common.check_memory(request.path, self.memory_bytes, request)
        if request.scale:
            survey = replace(
                survey,
                prepare=common.found_scales(survey.prepare, survey.stream, request.threads, progress),
            )
        search = survey.run(progress)
        candidates = search.candidates()
        if self.classifier is not None:
            candidates = _classified(survey, candidates, self.classifier, request.max_plots)
        return Found(time.perf_counter() - started, survey, search, candidates)

    def written(self, found: Found, progress: Progress | None = None) -> ProductReport:
        """Outputs and the report of what was found.

        Parameters
        ----------
        found : by this plan; its candidates may have been compared with those of other beams
        progress : told of the stage drawing

        Raises
        ------
        InputError : an output exists
        ResourceError : an output cannot be written
        """
        started = time.perf_counter() - found.took_s
        request, survey, search, candidates = self.request, found.survey, found.search, found.candidates
        outputs = []
        if request.output is not None:
            facts = search.facts(survey.stream, request.threshold, found.n_beams)
            write_candidates(request.output, candidates, facts, overwrite=request.overwrite)
            outputs.append(ProductFile.of(request.output, FileKind.CANDIDATES))
        if request.write_mask is not None and search.masked is not None:
            mask = search.masked.mask(survey.stream.dt_s)
            write_mask(request.write_mask, mask, survey.stream, overwrite=request.overwrite)
            outputs.append(ProductFile.of(request.write_mask, FileKind.MASK))
        if request.plots is not None:
            drawn = candidates[: request.max_plots]
            outputs += _draw(survey, drawn, request.plots, overwrite=request.overwrite, progress=progress)
            if search.masked is not None:
                outputs.append(
                    _draw_masked(survey, search.masked, request.plots, overwrite=request.overwrite)
                )
        numbers = self._numbers(search, len(candidates))
        if found.n_beams > 1:
            numbers |= {"beam": found.beam, "n_beams": found.n_beams}
        if request.cutouts is not None:
            outputs += self._cut(survey, candidates[: request.max_plots], request.cutouts)
        notes = _notes(search)
        if request.completeness:
            numbers |= self._complete(survey, outputs, notes, progress)
        return common.finish(
            request,
            (survey.stream,),
            numbers,
            tuple(outputs),
            started,
            candidates=tuple(candidates),
            notes=tuple(notes),
        )

    def _numbers(self, search: Search, n_candidates: int) -> dict[str, Any]:
        numbers: dict[str, Any] = {
            "n_candidates": n_candidates,
            "n_dms": int(search.dms.size),
            "dm_min": float(search.dms[0]),
            "dm_max": float(search.dms[-1]),
            "loss": search.loss,
            "n_segments": len(self.survey.segments),
            "sweep_s": self.survey.sweep * self.survey.stream.dt_s,
            "memory_bytes": self.memory_bytes,
        }
        if search.masked is not None:
            numbers |= {
                "masked_part": search.masked.whole_part,
                "masked_channels": search.masked.channels.tolist(),
                "n_impulses": search.masked.n_impulses,
                "n_dispersed": search.masked.n_dispersed,
            }
        return numbers

    def _cut(self, survey: Survey, candidates: list[Candidate], folder: Path) -> list[ProductFile]:
        """Cut-outs of candidates."""
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for k, candidate in enumerate(candidates):
            path = folder / f"{_name(survey, k, candidate)}.h5"
            piece = cut_out(survey.stream, candidate, survey.prepare)
            write_cutout(path, piece, survey.stream, k, overwrite=self.request.overwrite)
            written.append(ProductFile.of(path, FileKind.CUTOUT))
        return written

    def _complete(
        self, survey: Survey, outputs: list[ProductFile], notes: list[str], progress: Progress | None
    ) -> dict[str, Any]:
        """What this search misses: numbers, a sentence, and, where figures are drawn, one of them with its table."""
        request = self.request
        result = completeness(survey, request.completeness, progress=progress)
        found, n = int(result.found.sum()), len(result.pulses)
        from_snr = result.half_snr()
        notes.append(
            f"of {n} pulses injected at S/N 4 to 20 the search found {found}"
            + (f"; from S/N {from_snr:g} on, half or more" if np.isfinite(from_snr) else "")
        )
        if request.plots is not None:
            from mwaconvert.transients.figures import completeness_figure, save_figure

            path = request.plots / f"{survey.stream.path.stem}_completeness.png"
            save_figure(completeness_figure(result), path, overwrite=request.overwrite)
            outputs.append(ProductFile.of(path, FileKind.FIGURE))
            table = path.with_suffix(".csv")
            with StagedPath(table, request.overwrite) as staged:
                staged.temporary.write_text(result.table(), "utf-8")
            outputs.append(ProductFile.of(table, FileKind.CANDIDATES))
        return {"n_injected": n, "n_injected_found": found, "half_found_snr": from_snr}


def _notes(search: Search) -> list[str]:
    """What the user should know."""
    notes = []
    if search.masked is not None:
        notes.append(search.masked.words())
        sweep_s = search.doubts.across_s
        notes += filter(
            None, [among_impulses(search.masked.widths_s, sweep_s, search.dms[0] - search.dm_data)]
        )
    if search.too_many:
        notes.append(
            f"{search.too_many} candidates have no score: beyond the best {LOOKED_AT} of a segment none is looked at"
        )
    if search.thinned:
        notes.append(
            f"a storm: {search.thinned} detections were left out where better ones of the same width were "
            "no more than 1024 samples and a 64th of the DMs away, most of them much less"
        )
    return notes


def plan_search(request: SearchRequest) -> SearchPlan:
    """Decide how to search, and refuse what cannot be done.

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
    classifier = None if request.classifier is None else Classifier(request.classifier)
    if request.cutouts is not None:
        need("h5py", "hdf5", "writing cut-outs")
    if request.plots is not None:
        need("matplotlib", "plot", "drawing")
        if request.plots.exists() and not request.plots.is_dir():
            raise InputError(
                f"{request.plots}: exists and is not a directory", option="plots", path=request.plots
            )
    for option, folder in (("plots", request.plots), ("cutouts", request.cutouts)):
        if folder is not None and not request.overwrite:
            _check_folder(folder, request.path.stem, option)
    outputs = [path for path in (request.output, request.write_mask) if path is not None]
    common.check_outputs(request, [request.path, *request.mask_files], outputs)
    stream = common.open_file(request.path, request)
    options: dict[str, Any] = {
        "threshold": request.threshold,
        "loss": request.loss,
        "n_width": request.n_width,
        "downsample": request.downsample,
        "width_min_s": request.width_min_s,
        "threads": request.threads,
    }
    survey = plan_survey(
        stream,
        *request.dm_range,
        gulp=request.gulp,
        clean=_masks(request),
        cleaning=_cleaning(request),
        **options,
    )
    prepare = common.masked_channels(stream, request)
    if request.scale:
        prepare = common.planned_scales(prepare, stream)
    masks = tuple(read_mask(path, stream) for path in request.mask_files)
    survey = replace(survey, prepare=prepare, masks=masks)
    needed = survey.memory_bytes + own_memory_bytes()
    if request.plots is not None:
        needed = max(needed, _figure_bytes(survey, request) + own_memory_bytes()) + _DRAWING_BYTES
    return SearchPlan(request, survey, needed, classifier)


def _classified(
    survey: Survey, candidates: list[Candidate], classifier: Classifier, most: int
) -> list[Candidate]:
    """The candidates, with scores by a model of others for the first of them, and none for the rest."""
    scores = [classifier.score(cut_out(survey.stream, c, survey.prepare)) for c in candidates[:most]]
    scores += [NOT_KNOWN] * (len(candidates) - len(scores))
    return [replace(c, score=score) for c, score in zip(candidates, scores, strict=True)]


def _check_folder(folder: Path, stem: str, option: str) -> None:
    """Refuse a folder with figures or cut-outs of this file before the work: names follow from what is found."""
    number = "[0-9]" * 4
    held = [folder / f"{stem}_{name}" for name in ("masked.png", "completeness.png", "completeness.csv")]
    held = [path for path in held if option == "plots" and path.exists()]
    held += folder.glob(f"{escape(stem)}_{number}_t*{'.png' if option == 'plots' else '.h5'}")
    if held:
        raise InputError(
            f"{min(held)}: exists, from another search of this file: choose another folder, or `overwrite`",
            option=option,
            path=min(held),
        )


def _cleaning(request: SearchRequest) -> Cleaning | None:
    """What is done to the data by default."""
    if request.raw:
        return None
    return Cleaning(baseline=request.baseline, channels=request.bad_channels, impulses=request.impulses)


def _masks(request: SearchRequest) -> list[Clean]:
    """Masks that look at the data, in the order in which they are applied."""
    steps = (
        (request.mask_outliers, masking.mask_channels),
        (request.iqrm, masking.mask_iqrm),
        (request.zero_dm, masking.zero_dm),
    )
    return [step for wanted, step in steps if wanted]


def _figure_bytes(survey: Survey, request: SearchRequest) -> int:
    """Memory of the data about a candidate, scaled, as they are drawn."""
    widest = 1 << (request.n_width - 1)
    return 36 * survey.stream.n_chan * (survey.sweep + 24 * widest)


def _draw(
    survey: Survey, candidates: list[Candidate], folder: Path, *, overwrite: bool, progress: Progress | None
) -> list[ProductFile]:
    from mwaconvert.transients.figures import candidate_figure, save_figure

    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for k, candidate in enumerate(candidates):
        figure = candidate_figure(survey.stream, candidate, survey.prepare)
        name = f"{_name(survey, k, candidate)}.png"
        save_figure(figure, folder / name, overwrite=overwrite)
        drawn.append(ProductFile.of(folder / name, FileKind.FIGURE))
        if progress is not None:
            progress(Stage.DRAWING, k + 1, len(candidates))
    return drawn


def _name(survey: Survey, k: int, candidate: Candidate) -> str:
    """Of the figure and the cut-out of a candidate, without the ending."""
    return f"{survey.stream.path.stem}_{k + 1:04d}_t{candidate.time_s:.3f}_dm{candidate.dm:.1f}"


def _draw_masked(survey: Survey, masked: Masked, folder: Path, *, overwrite: bool) -> ProductFile:
    from mwaconvert.transients.figures import masked_figure, save_figure

    path = folder / f"{survey.stream.path.stem}_masked.png"
    save_figure(masked_figure(masked, survey.stream.freq_mhz), path, overwrite=overwrite)
    return ProductFile.of(path, FileKind.FIGURE)
