"""A fold from a request to a figure and an archive."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from mwaconvert import __version__
from mwaconvert.errors import InputError
from mwaconvert.extras import need
from mwaconvert.machine import own_memory_bytes
from mwaconvert.progress import Progress
from mwaconvert.staging import Kind, StagedPath
from mwaconvert.text import size_text
from mwaconvert.transients.periodicity.folding import BestFold, Folded, Rotation, fold
from mwaconvert.transients.periodicity.source import Source
from mwaconvert.transients.periodicity.survey import doppler
from mwaconvert.transients.products import common
from mwaconvert.transients.products.period_requests import FoldRequest
from mwaconvert.transients.products.periods import parts_of, source_of
from mwaconvert.transients.products.report import FileKind, ProductFile, ProductReport

_DRAWING_BYTES = 70 << 20  # of matplotlib
_CUBES = 12  # arrays of its size that a fold takes
_FIGURES = (".png", ".pdf", ".svg")


@dataclass(frozen=True, eq=False)
class FoldPlan:
    """How a file is folded, and what is written: made by `plan_fold`."""

    request: FoldRequest
    source: Source
    rotation: Rotation
    dm: float
    shape: tuple[int, int, int]  #: bins, parts of time, parts of the band
    memory_bytes: int  #: with that of the process

    def lines(self) -> dict[str, str]:
        """What would be done, by name."""
        n_bin, n_part, n_band = self.shape
        stream, rotation = self.source.stream, self.rotation
        where = "at the barycentre" if rotation.barycentric else "at the telescope"
        return stream.facts() | {
            "period": f"{rotation.period_s:.12g} s {where}"
            + (f", {rotation.pdot:g} s/s" if rotation.pdot else ""),
            "DM": f"{self.dm:g} pc/cm^3 (K = {stream.k_dm:.9g} MHz^2 s cm^3 / pc)",
            "fold": f"{n_bin} bins, {n_part} parts of the time, {n_band} sub-bands",
            "output": str(self.request.target),
            "memory": f"about {size_text(self.memory_bytes)}",
        }

    def run(self, progress: Progress | None = None) -> ProductReport:
        """Fold, draw and report.

        Parameters
        ----------
        progress : told of the stage dedispersing

        Raises
        ------
        InputError : all channels are masked, or an output exists
        ResourceError : it takes more memory than is allowed, or an output cannot be written
        """
        from mwaconvert.transients.figures import save_figure
        from mwaconvert.transients.periodicity.figure import fold_figure

        started = time.perf_counter()
        request, stream = self.request, self.source.stream
        common.check_memory(
            request.path, self.memory_bytes, request, "take fewer parts, see `n_part` and `n_band`"
        )
        n_bin, n_part, n_band = self.shape
        folded = fold(
            self.source, self.rotation, self.dm, n_bin=n_bin, n_part=n_part, n_band=n_band, progress=progress
        )
        best = folded.best(folded.diagram())
        save_figure(fold_figure(folded, stream), request.target, overwrite=request.overwrite)
        outputs = [ProductFile.of(request.target, FileKind.FIGURE)]
        if request.archive is not None:
            self._write(folded, best)
            outputs.append(ProductFile.of(request.archive, FileKind.FOLD))
        return common.finish(request, (stream,), self._numbers(folded, best), tuple(outputs), started)

    def _numbers(self, folded: Folded, best: BestFold) -> dict[str, Any]:
        stream = self.source.stream
        numbers: dict[str, Any] = {
            "period_s": best.period_s,
            "period_err_s": best.period_err_s,
            "dm": best.dm,
            "dm_err": best.dm_err,
            "snr": best.snr,
            "width_s": best.width_s,
            "phase": best.phase,
            "profile": best.profile.tolist(),
            "length_s": folded.length_s,
            "memory_bytes": self.memory_bytes,
        }
        factor = doppler(stream, folded.length_s / 2)
        if not self.rotation.barycentric and np.isfinite(factor):
            numbers["period_barycentric_s"] = best.period_s * factor
        return numbers

    def _write(self, folded: Folded, best: BestFold) -> None:
        archive, stream = self.request.archive, self.source.stream
        assert archive is not None
        facts: dict[str, Any] = {
            "cube": folded.cube,
            "counts": folded.counts,
            "freq_mhz": folded.freq_mhz,
            "period_s": folded.rotation.period_s,
            "pdot": folded.rotation.pdot,
            "barycentric": folded.rotation.barycentric,
            "dm": folded.dm,
            "k_dm": stream.k_dm,
            "length_s": folded.length_s,
            "start_mjd": np.nan if stream.start_mjd is None else stream.start_mjd,
            "source": stream.source,
            "best_period_s": best.period_s,
            "best_dm": best.dm,
            "profile": best.profile,
            "version": __version__,
        }
        with (
            StagedPath(archive, self.request.overwrite, Kind.NPZ) as staged,
            staged.temporary.open("wb") as file,
        ):
            np.savez(file, **facts)


def plan_fold(request: FoldRequest) -> FoldPlan:
    """Decide how to fold, and refuse what cannot be done.

    Parameters
    ----------
    request : what is asked for

    Raises
    ------
    InputError : a value that makes no sense, or an output that exists
    FormatError : the file is damaged
    """
    request.check()
    period_s = request.known_period_s
    common.check_suffix(request.target, _FIGURES)
    need("matplotlib", "plot", "drawing")
    outputs = [request.target]
    if request.archive is not None:
        if request.archive.suffix.lower() != ".npz":
            raise InputError(
                f"{request.archive}: expected a name that ends in .npz",
                option="archive",
                path=request.archive,
            )
        outputs.append(request.archive)
    common.check_outputs(request, [request.path, *request.mask_files], outputs)
    source = source_of(request, request.path, period_s)
    stream = source.stream
    if request.barycentric:
        common.check_barycentric(stream)
    length_s = stream.n_times * stream.dt_s
    if not 2 * stream.dt_s <= period_s <= length_s:
        raise InputError(
            f"{stream.path}: `period_s={period_s:g}`: expected from two samples, {2 * stream.dt_s:g} s, to the length "
            f"of the data, {length_s:.6g} s",
            option="period_s",
            path=stream.path,
        )
    dm = stream.dm if request.dm is None else request.dm
    n_bin, n_part, n_band = parts_of(stream, period_s)
    shape = (request.n_bin or n_bin, min(request.n_part, n_part), request.n_band or n_band)
    if shape[2] > stream.n_chan:
        raise InputError(
            f"{stream.path}: `n_band={shape[2]}`: the file has {stream.n_chan} channels",
            option="n_band",
            path=stream.path,
        )
    cubes = _CUBES * 8 * shape[0] * shape[1] * shape[2]
    needed = source.memory_bytes(0) + cubes + own_memory_bytes() + _DRAWING_BYTES
    rotation = Rotation(period_s, request.pdot, request.barycentric)
    return FoldPlan(request, source, rotation, dm, shape, needed)
