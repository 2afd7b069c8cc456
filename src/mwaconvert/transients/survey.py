"""Search a file of any length: segments of a length that follows from the data and the DMs alone, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from mwaconvert.errors import InputError
from mwaconvert.progress import Progress, Stage
from mwaconvert.spectra.aliases import old_keywords
from mwaconvert.spectra.dispersion import delay_per_dm, delay_samples
from mwaconvert.spectra.mask import TimeMask
from mwaconvert.spectra.spectra import Spectra
from mwaconvert.spectra.stream import Stream, Weights
from mwaconvert.transients.clean.cleaning import Cleaned, Cleaning, clean
from mwaconvert.transients.clean.masked import MaskedParts
from mwaconvert.transients.dedispersion import too_long
from mwaconvert.transients.judging.flags import Place, place_of
from mwaconvert.transients.judging.looks import Look, look_at
from mwaconvert.transients.prepare import Preparation
from mwaconvert.transients.search import Search, search
from mwaconvert.transients.trials.dm_plan import dm_trials

Clean = Callable[[Spectra], Spectra]

CLEANED = Cleaning()  #: what a search of a file does, unless it is told otherwise
_SEGMENT_BYTES = 128 << 20  # of input, unless the sweep is longer
_SEGMENT = (1 << 15, 1 << 17)  # samples, unless the sweep is longer; each has a noise level of its own
_SERIES = 384  # time series in memory at a time, at most, but for those of a tree
_TREE_BYTES = 128 << 20  # that those of a tree take, with its sums
_FARTHEST = 16  # files that the sweep may be long, where pulses are searched of which a part is there
_GULP_BYTES = 16 << 20
LOOKED_AT = 256  #: candidates of a segment that are looked at, the best
_WORK_BYTES = 24 << 20  # of the kernels' tables and buffers, about


@dataclass(frozen=True, eq=False, repr=False)
class Survey:
    """How a file is searched: made by `plan_survey`."""

    stream: Stream
    dm_min: float
    dm_max: float
    prepare: Preparation
    options: dict[str, Any]  #: of `search`
    sweep: int  #: samples that the highest DM takes to cross the band
    margin: int  #: samples on either side of a segment that are searched with it, for pulses at its border
    segments: tuple[range, ...]  #: samples at which pulses begin, at the highest channel
    gulp: int  #: samples read at a time
    clean: tuple[Clean, ...] = ()  #: masks that look at the data, of a segment and its margins
    cleaning: Cleaning | None = None  #: what is done after these; None: nothing
    masks: tuple[TimeMask, ...] = ()  #: of files, applied first
    beyond: tuple[int, int] = (
        0,
        0,
    )  #: samples before and after the file at which pulses may begin, in part outside

    def __repr__(self) -> str:
        return (
            f"<Survey of {self.stream.path}: DM {self.dm_min:g} to {self.dm_max:g}, {len(self.segments)} segments, "
            f"sweep of {self.sweep} samples>"
        )

    @property
    def memory_bytes(self) -> int:
        """Largest memory of a segment, about."""
        stream, prepare = self.stream, self.prepare
        item = np.dtype(stream.dtype).itemsize
        longest = max(len(segment) for segment in self.segments) + self.sweep + 2 * self.margin
        longest = min(longest, stream.n_times)
        weighted = stream.weighted or bool(self.clean) or bool(self.masks)
        # a segment as it is read: what the next shares with it is there twice for a moment
        held = item * (2 if len(self.segments) > 1 else 1) + (8 if stream.weighted else 0)
        held += 4 if prepare.mean is not None else 0
        longest += sum(self.beyond) if self.cleaning is not None else 0
        if self.clean:
            held += 28
        elif self.cleaning is not None:
            held += 7 if weighted else 2  # bytes that are cleaned, once more without masked channels; weights
        elif weighted:
            held += 20  # reduced by the means, times the weights, and their squares
        elif prepare.masked is not None or prepare.mean is not None or self.options.get("downsample"):
            held += 4 if prepare.mean is not None or self.options.get("downsample") else item
        gulp = min(longest, self.gulp) * item * (1 if stream.frugal else 2)
        per_dm = delay_per_dm(stream.freq_mhz, "top", stream.k_dm)
        width_s = self.options.get("width_min_s") or stream.dt_s
        trials = dm_trials(self.dm_min, self.dm_max, float(per_dm.max()), width_s).size
        series = longest * min(trials, _SERIES) * 4 * (3 if weighted else 1)
        series += min(longest * trials * 14, _TREE_BYTES)
        tables = (min(trials, 4096) + 4096) * stream.n_chan * 4
        return (longest * held + gulp) * stream.n_chan + series + tables + _WORK_BYTES

    def run(self, progress: Progress | None = None) -> Search:
        """Search all segments.

        Parameters
        ----------
        progress : told of the stage searching, in samples

        Returns
        -------
        Search
            the best of each trial is that of the best segment

        Raises
        ------
        InputError : all channels are masked
        """
        found: Search | None = None
        tables = []
        masked = MaskedParts(len(self.segments))
        looks: dict[Place, Look] = {}
        too_many = 0
        window = _Window(self.stream, self.prepare, self.gulp, int(self.options.get("threads", 0)))
        for k, segment in enumerate(self.segments):
            low = max(0, segment.start - self.margin)
            high = min(self.stream.n_times, segment.stop + self.sweep + self.margin)
            spectra = window.get(low, high)
            for mask in self.masks:
                spectra = mask.applied(spectra, low)
            for step in self.clean:
                spectra = step(spectra)
            dt_s = self.stream.dt_s
            if self.cleaning is None:
                cleaned, part = None, spectra.search(self.dm_min, self.dm_max, **self.options)
            else:
                cleaned = clean(
                    spectra,
                    self.cleaning,
                    n_width=int(self.options.get("n_width", 9)),
                    sweep=self.sweep,
                    threads=int(self.options.get("threads", 0)),
                )
                last = k == len(self.segments) - 1
                part = self._search(cleaned, (self.beyond[0] if k == 0 else 0, self.beyond[1] if last else 0))
                masked.add(cleaned, segment.start - low, len(segment) if not last else spectra.n_times, low)
            table = part.detections.copy()
            begin = np.rint((table["time_s"] - table["width_s"] / 2) / dt_s).astype(np.int64) + low
            use = np.ones(len(table), bool)
            if k > 0:
                use &= begin >= segment.start
            if k < len(self.segments) - 1:
                use &= begin < segment.stop
            table["time_s"] += low * dt_s
            tables.append(table[use])
            if cleaned is not None:
                too_many += self._look(cleaned, replace(part, detections=tables[-1]), low * dt_s, looks)
            part = replace(part, time_s=part.time_s + low * dt_s)
            found = part if found is None else _better(found, part)
            if progress is not None:
                progress(Stage.SEARCHING, segment.stop, self.segments[-1].stop)
        assert found is not None  # there is at least one segment
        detections = np.concatenate(tables)
        order = np.argsort(-detections["snr"], kind="stable")
        return replace(
            found,
            detections=detections[order],
            start_mjd=self.stream.start_mjd,
            length_s=self.stream.n_times * self.stream.dt_s,
            masked=masked.joined(self.stream.dt_s),
            looks=looks,
            too_many=too_many,
        )

    def _look(self, cleaned: Cleaned, part: Search, begin_s: float, looks: dict[Place, Look]) -> int:
        """Look at the best candidates of a segment that begins there; returns how many were not looked at.

        A candidate of the file is the best of its detections, and so a candidate of its segment as well.
        """
        found = part.found()
        for c in found[:LOOKED_AT]:
            looks[place_of(c)] = look_at(cleaned, replace(c, time_s=c.time_s - begin_s))
        return max(0, len(found) - LOOKED_AT)

    def _search(self, cleaned: Cleaned, beyond: tuple[int, int]) -> Search:
        return search(
            cleaned.spectra, self.dm_min, self.dm_max, kept=cleaned.kept, beyond=beyond, **self.options
        )


@old_keywords("nthreads")
def plan_survey(
    stream: Stream,
    dm_min: float,
    dm_max: float,
    *,
    prepare: Preparation | None = None,
    segment: int | None = None,
    gulp: int | None = None,
    clean: Sequence[Clean] = (),
    cleaning: Cleaning | None = CLEANED,
    **options: Any,
) -> Survey:
    """Prepare to search a file.

    Parameters
    ----------
    stream : the file
    dm_min, dm_max : pc/cm^3
    prepare : what is done to the spectra before
    segment : samples that share a noise level; by default it follows from the number of channels and the sweep
    gulp : samples read at a time; the result does not depend on it
    clean : masks that look at the data, such as those of `transients.masking`: functions of spectra, done in this order
    cleaning : what is done after these masks (`transients.clean.cleaning`), by default every step, as `mwaconvert
        search` does; then pulses that begin before the file or end after it are searched too, with the channels that
        are there. None: nothing, the data are searched as they are
    options : of `search`

    Returns
    -------
    Survey

    Raises
    ------
    InputError : DMs that make no sense, or a sweep that is longer than the file

    Examples
    --------
    >>> from pathlib import Path
    >>> from mwaconvert.spectra.stream import ArrayStream
    >>> noise = np.random.default_rng(1).normal(0, 1, (16, 3000))
    >>> noise[:, 1000:1004] += 3
    >>> stream = ArrayStream(Spectra(noise, 1200.0 + 10 * np.arange(16), 1e-3), Path("burst"), "memory")
    >>> plan = plan_survey(stream, 0, 100, cleaning=None)  # it would take away a pulse of DM 0
    >>> plan
    <Survey of burst: DM 0 to 100, 1 segments, sweep of 60 samples>
    >>> [round(pulse.time_s, 3) for pulse in plan.run().candidates()]
    [1.002]
    """
    if not (np.isfinite([dm_min, dm_max]).all() and stream.dm <= dm_min <= dm_max):
        raise InputError(
            f"{stream.path}: cannot search DMs from {dm_min:g} to {dm_max:g}: give the lower one first, neither below "
            f"that of the data, {stream.dm:g}"
        )
    if gulp is not None and gulp < 1:
        raise InputError(f"a gulp of {gulp} samples: expected 1 or more")
    per_dm = delay_per_dm(stream.freq_mhz, "top", stream.k_dm) / stream.dt_s
    longest = (dm_max - stream.dm) * float(per_dm.max())
    partly = cleaning is not None and not options.get("downsample")
    if longest > (_FARTHEST if partly else 1) * stream.n_times:
        raise InputError(too_long(stream, dm_max, longest))
    sweep = int(delay_samples(dm_max - stream.dm, per_dm).max())
    boxcar = 1 << (int(options.get("n_width", 9)) - 1)
    starts = stream.n_times - sweep
    if starts < 1:
        if not partly:
            raise InputError(too_long(stream, dm_max, sweep))
        starts = 1
    # pulses of which half of the channels are in the file
    half = int(np.median(delay_samples(dm_max - stream.dm, per_dm)))
    beyond = (half, sweep - half) if partly else (0, 0)
    if segment is None:
        least, most = _SEGMENT
        fits = max(1, _SEGMENT_BYTES // stream.bytes_per_sample)
        segment = max(least, min(most, 1 << (fits.bit_length() - 1)), 1 << sweep.bit_length())
    # delays within sub-bands shift the series by up to an eighth of the sweep
    margin = sweep // 8 + 2 * boxcar + 64
    n_segment = max(1, (starts + segment // 2) // segment)
    edges = [*range(0, n_segment * segment, segment), starts]
    return Survey(
        stream,
        float(dm_min),
        float(dm_max),
        prepare or Preparation(),
        options,
        sweep,
        margin,
        tuple(range(a, b) for a, b in pairwise(edges)),
        gulp or (stream.n_times if stream.frugal else max(1, _GULP_BYTES // stream.bytes_per_sample)),
        tuple(clean),
        cleaning,
        beyond=beyond,
    )


class _Window:
    """Samples that move along a file: what the next segment shares with this one is not read again."""

    def __init__(self, stream: Stream, prepare: Preparation, gulp: int, threads: int) -> None:
        self._stream, self._prepare, self._gulp, self._threads = stream, prepare, gulp, threads
        self._low = self._high = 0
        self._data: npt.NDArray[Any] = np.empty((stream.n_chan, 0), stream.dtype)
        self._weights: npt.NDArray[np.float32] | None = None

    def get(self, low: int, high: int) -> Spectra:
        """Samples low to high, neither of them lower than before."""
        shape = (self._stream.n_chan, high - low)
        kept = max(0, self._high - low)
        if not kept and self._gulp >= high - low:
            spectra = self._stream.spectra(low, high - low, self._threads)
            weights = spectra.weights
            if weights is not None and weights.ndim == 1:
                weights = np.ascontiguousarray(np.broadcast_to(weights[:, None], shape))
            self._data, self._weights, self._low, self._high = spectra.data, weights, low, high
            return self._prepare(replace(spectra, weights=_if_any(weights)))
        data = np.empty(shape, self._stream.dtype)
        weights = None if self._weights is None else np.ones(shape, np.float32)
        if kept:
            data[:, :kept] = self._data[:, low - self._low :]
            if weights is not None and self._weights is not None:
                weights[:, :kept] = self._weights[:, low - self._low :]
        self._data, self._weights = data, weights
        for first in range(low + kept, high, self._gulp):
            piece = self._stream.spectra(first, min(self._gulp, high - first), self._threads)
            place = slice(first - low, first - low + piece.n_times)
            data[:, place] = piece.data
            if piece.weights is not None:
                if weights is None:
                    weights = self._weights = np.ones(shape, np.float32)
                weights[:, place] = piece.weights if piece.weights.ndim == 2 else piece.weights[:, None]
            elif weights is not None:
                weights[:, place] = 1
        self._low, self._high = low, high
        stream = self._stream
        spectra = Spectra(
            data,
            stream.freq_mhz,
            stream.dt_s,
            weights=_if_any(weights),
            dm=stream.dm,
            source=stream.source,
            k_dm=stream.k_dm,
        )
        return self._prepare(spectra)


def _if_any(weights: Weights) -> Weights:
    """None where all weights are 1: what a segment holds decides, not how it was read."""
    return None if weights is None or (weights == 1).all() else weights


def _better(one: Search, other: Search) -> Search:
    """For each trial the better of two."""
    use = other.snr > one.snr
    return replace(
        one,
        snr=np.where(use, other.snr, one.snr),
        time_s=np.where(use, other.time_s, one.time_s),
        width_s=np.where(use, other.width_s, one.width_s),
        loss=max(one.loss, other.loss),
        thinned=one.thinned + other.thinned,
    )
