"""Search a file for periods: series at many DMs, two searches of each, one candidate for all trials of a period."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mwaconvert.errors import InputError
from mwaconvert.progress import Progress, Stage
from mwaconvert.spectra.candidate import Flag
from mwaconvert.spectra.dispersion import delay_per_dm
from mwaconvert.spectra.stream import Stream
from mwaconvert.transients.dedispersion import too_long
from mwaconvert.transients.periodicity import hits as searches
from mwaconvert.transients.periodicity.candidate import PeriodCandidate
from mwaconvert.transients.periodicity.hits import HIT, Hits, Method, Range
from mwaconvert.transients.periodicity.profiles import Refined, refine
from mwaconvert.transients.periodicity.sifting import Group, sift
from mwaconvert.transients.periodicity.significance import (
    log10_of_any,
    log_gaussian_tail,
    log_power_tail,
)
from mwaconvert.transients.periodicity.source import Source
from mwaconvert.transients.periodicity.whitening import whiten_series
from mwaconvert.transients.trials.dm_plan import dm_trials

_WINDOW = 2.0  # longest periods in the running median of a series
_LEAST_PERIODS = 4  # of the longest one in the data
_BATCH_BYTES = 1 << 30  # of series in memory at a time
_SERIES_BYTES = 48  # of a spectrum in work, for each sample of a series and each thread
_RATIOS = (1.0, 0.5, 2.0, 1 / 3, 3.0)  # of periods at which a candidate is folded too
_CLEARLY = 1.05  # times the S/N, by which such a period must be better


@dataclass(frozen=True, eq=False, repr=False)
class PeriodSurvey:
    """How a file is searched for periods: made by `plan_periods`."""

    source: Source
    dms: npt.NDArray[np.float64]
    sweep: int  #: samples that the highest DM takes to cross the band
    span: Range
    methods: tuple[Method, ...]
    ffa_min_s: float  #: the shortest period of the fast folding algorithm
    threshold: float
    batch: int  #: DMs whose series are in memory at a time; results do not depend on it

    def __repr__(self) -> str:
        return (
            f"<PeriodSurvey of {self.source.stream.path}: {self.dms.size} DMs, P = {self.span.period_min_s:g} to "
            f"{self.span.period_max_s:g} s, {' and '.join(self.methods)}>"
        )

    @property
    def memory_bytes(self) -> int:
        """Largest memory, about."""
        threads = self.source.threads or _threads()
        series = min(self.batch, self.dms.size) * self.span.n_times * 4
        one_more = series // 4 + threads * self.span.n_times * _SERIES_BYTES
        block = min(self.batch, self.dms.size) * self.source.piece * 8
        return self.source.memory_bytes(self.sweep) + series + max(one_more, block) + (24 << 20)

    @property
    def folded(self) -> Range:
        """Periods of the fast folding algorithm."""
        return replace(self.span, period_min_s=max(self.span.period_min_s, self.ffa_min_s))

    def n_trials(self) -> dict[Method, float]:
        """Trials of each method, of all DMs."""
        made: dict[Method, float] = {}
        if Method.FFT in self.methods:
            made[Method.FFT] = self.dms.size * searches.n_spectral_trials(self.span)
        if Method.FFA in self.methods:
            made[Method.FFA] = self.dms.size * searches.n_folded_trials(self.folded)
        return made

    def run(self, progress: Progress | None = None, most: int = 100) -> PeriodSearch:
        """Search all DMs.

        Parameters
        ----------
        progress : told of the stages dedispersing (samples of a pass through the file) and searching (DMs)
        most : candidates, of which the best are kept
        """
        parts: list[Hits] = [np.empty(0, HIT)]
        series = np.empty((0, 0), np.float32)
        for first in range(0, self.dms.size, self.batch):
            series = self._series(self.dms[first : first + self.batch], progress)
            found = self._hits(series)
            found["trial"] += first
            parts.append(found)
            if progress is not None:
                progress(Stage.SEARCHING, first + len(series), self.dms.size)
        groups = sift(np.concatenate(parts), self.dms, self.span.length_s, self._across_s, most=most)
        trials = np.unique([int(group.best["trial"]) for group in groups])
        if self.dms.size > self.batch:  # series of the candidates' DMs again
            series = self._series(self.dms[trials], progress) if trials.size else series
            row = {int(trial): k for k, trial in enumerate(trials)}
        else:
            row = {int(trial): int(trial) for trial in trials}
        found_all = [
            self._candidate(group, series[row[int(group.best["trial"])]], self.n_trials()) for group in groups
        ]
        return PeriodSearch(self, tuple(_alone(found_all, self.span.length_s)))

    @property
    def _across_s(self) -> float:
        stream = self.source.stream
        return float(delay_per_dm(stream.freq_mhz, "top", stream.k_dm).max())

    def _series(self, dms: npt.NDArray[np.float64], progress: Progress | None) -> npt.NDArray[np.float32]:
        series = self.source.series(dms, self.sweep, progress)
        window = int(_WINDOW * self.span.period_max_s / self.span.dt_s)
        whiten_series(series, window, self.source.threads)
        return series

    def _hits(self, series: npt.NDArray[np.float32]) -> Hits:
        parts = []
        if Method.FFT in self.methods:
            parts.append(searches.spectral_hits(series, self.span, self.threshold, self.source.threads))
        if Method.FFA in self.methods and self.folded.period_min_s < self.folded.period_max_s:
            parts.append(searches.folded_hits(series, self.folded, self.threshold, self.source.threads))
        return np.concatenate(parts) if parts else np.empty(0, HIT)

    def _candidate(
        self, group: Group, series: npt.NDArray[np.float32], n_trials: dict[Method, float]
    ) -> PeriodCandidate:
        best = _best_fold(series, self.span, 1 / float(group.best["freq_hz"]))
        members = group.members
        statistics: dict[str, Any] = {}
        spectral, folded = members[members["n_harmonic"] > 0], members[members["n_harmonic"] == 0]
        log_fap = math.inf
        if spectral.size:
            top = spectral[spectral["score"].argmax()]
            n = int(top["n_harmonic"])
            log_fap = log10_of_any(float(log_power_tail(float(top["statistic"]), n)), n_trials[Method.FFT])
            statistics |= {"fft_sigma": float(top["score"]), "n_harmonic": n}
        if folded.size:
            top = folded[folded["score"].argmax()]
            own = log10_of_any(log_gaussian_tail(float(top["score"])), n_trials[Method.FFA])
            log_fap = min(log_fap, own)
            statistics["ffa_snr"] = float(top["score"])
        dm = float(self.dms[int(group.best["trial"])])
        time_err = best.width_s / max(best.snr, 1.0)
        dm_err = time_err * math.sqrt(12) / self._across_s if self._across_s > 0 else math.nan
        if self.dms.size > 1:
            dm_err = math.hypot(dm_err, float(self.dms[1] - self.dms[0]) / math.sqrt(12))
        return PeriodCandidate(
            period_s=best.period_s,
            period_err_s=best.period_err_s,
            dm=dm,
            dm_err=dm_err,
            snr=best.snr,
            width_s=best.width_s,
            methods=tuple(m for m, own in ((Method.FFT, spectral), (Method.FFA, folded)) if own.size),
            log10_fap=min(0.0, log_fap + math.log10(len(self.methods))),
            n_detections=int(members.size),
            n_related=group.n_harmonics,
            flags=self._flags(dm, dm_err, best),
            **statistics,
        )

    def _flags(self, dm: float, dm_err: float, best: Refined) -> tuple[Flag, ...]:
        flags = []
        if self.dms.size > 1 and self.dms[-1] - dm < dm_err:
            flags.append(Flag.DM_EDGE)
        if (dm - self.source.stream.dm) * self._across_s < best.width_s and self.source.stream.dm == 0:
            flags.append(Flag.NEAR_ZERO)
        return tuple(flags)


@dataclass(frozen=True, eq=False, repr=False)
class PeriodSearch:
    """What a search found."""

    survey: PeriodSurvey
    candidates: tuple[PeriodCandidate, ...]  #: best S/N first

    def __repr__(self) -> str:
        return f"<PeriodSearch of {self.survey.source.stream.path}: {len(self.candidates)} candidates>"

    def facts(self) -> dict[str, str]:
        """The search in words, by name."""
        survey, stream = self.survey, self.survey.source.stream
        span = survey.span
        return {
            "file": str(stream.path),
            "source": stream.source,
            "dms": f"{survey.dms[0]:g} to {survey.dms[-1]:g} pc/cm^3, {survey.dms.size} trials",
            "periods": f"{span.period_min_s:g} to {span.period_max_s:g} s",
            "methods": ", ".join(survey.methods),
            "trials": ", ".join(f"{name} {n:.3g}" for name, n in survey.n_trials().items()),
            "threshold": f"S/N {survey.threshold:g} in a single trial",
            "length": f"{span.length_s:.6g} s, {span.n_times} samples of {1e6 * span.dt_s:g} us",
            "k_dm": f"{stream.k_dm:.9f} MHz^2 s cm^3 / pc",
        }


def _best_fold(series: npt.NDArray[np.float32], span: Range, period_s: float) -> Refined:
    """The fold at a period, or at a simple fraction or multiple of it that is clearly better."""
    folds = [
        refine(series, span.dt_s, ratio * period_s)
        for ratio in _RATIOS
        if 2 * span.dt_s <= ratio * period_s <= span.length_s / _LEAST_PERIODS
    ]
    best = folds[0]
    for fold in folds[1:]:
        if fold.snr > _CLEARLY * best.snr:
            best = fold
    return best


def _alone(candidates: Sequence[PeriodCandidate], length_s: float) -> list[PeriodCandidate]:
    """Each period once, the best S/N first: folds may have led two candidates to the same one."""
    kept: list[PeriodCandidate] = []
    for candidate in sorted(candidates, key=lambda c: -c.snr):
        if all(abs(candidate.freq_hz - other.freq_hz) * length_s > 1 for other in kept):
            kept.append(candidate)
    return kept


def plan_periods(
    source: Source,
    dm_min: float,
    dm_max: float,
    *,
    period_min_s: float | None = None,
    period_max_s: float | None = None,
    ffa_min_s: float = 0.5,
    width_min_s: float | None = None,
    methods: Sequence[Method] = tuple(Method),
    threshold: float = 8.0,
    memory_bytes: int | None = None,
) -> PeriodSurvey:
    """Prepare to search a file for periods.

    Parameters
    ----------
    source : what is searched
    dm_min, dm_max : pc/cm^3
    period_min_s, period_max_s : default: 1 ms, or 4 samples if that is more, to `source.period_max_s`
    ffa_min_s : the shortest period of the fast folding algorithm, which takes longer the shorter it is
    width_min_s : narrowest pulse, by which the steps of DM are chosen; default a tenth of the shortest period, or a
        sample if that is more
    methods : one or both
    threshold : S/N in a single trial
    memory_bytes : for the series of many DMs; what does not fit takes more passes through the file

    Raises
    ------
    InputError : ranges that make no sense, or too few samples
    """
    stream = source.stream
    dt_s = stream.dt_s * source.tscrunch
    if not (np.isfinite([dm_min, dm_max]).all() and stream.dm <= dm_min <= dm_max):
        raise InputError(
            f"{stream.path}: cannot search DMs from {dm_min:g} to {dm_max:g}: give the lower one first, neither below "
            f"that of the data, {stream.dm:g}",
            option="dm_min",
        )
    shortest = max(1e-3, 4 * dt_s) if period_min_s is None else period_min_s
    across = float(delay_per_dm(stream.freq_mhz, "top", stream.k_dm).max())
    width_s = width_min_s or max(dt_s, shortest / 10)
    one = dm_min == dm_max or across == 0
    dms = np.array([dm_min]) if one else dm_trials(dm_min, dm_max, across, width_s)
    if (dm_max - stream.dm) * across >= stream.n_times * stream.dt_s:
        raise InputError(
            too_long(stream, dm_max, (dm_max - stream.dm) * across / stream.dt_s), option="dm_max"
        )
    sweep = source.sweep(dms)
    n_times = (stream.n_times - sweep) // source.tscrunch
    longest = (
        min(source.period_max_s, n_times * dt_s / _LEAST_PERIODS) if period_max_s is None else period_max_s
    )
    _check_span(stream, shortest, longest, dt_s, n_times)
    batch = int(max(1, (memory_bytes or _BATCH_BYTES) // (n_times * 5)))
    return PeriodSurvey(
        source,
        dms,
        sweep,
        Range(shortest, longest, dt_s, n_times),
        tuple(methods),
        ffa_min_s,
        threshold,
        min(batch, dms.size),
    )


def _check_span(stream: Stream, shortest: float, longest: float, dt_s: float, n_times: int) -> None:
    """Refuse periods that the data cannot show."""
    if not 2 * dt_s <= shortest:
        raise InputError(
            f"{stream.path}: `period_min_s={shortest:g}`: expected 2 samples or more, {2 * dt_s:g} s",
            option="period_min_s",
        )
    if not shortest < longest:
        raise InputError(
            f"{stream.path}: `period_max_s={longest:g}`: expected more than the shortest period, {shortest:g} s; the "
            f"data last {n_times * dt_s:.4g} s",
            option="period_max_s",
        )
    if longest * _LEAST_PERIODS > n_times * dt_s * 1.000001:
        raise InputError(
            f"{stream.path}: `period_max_s={longest:g}`: expected a quarter of the data at most, "
            f"{n_times * dt_s / _LEAST_PERIODS:.4g} s",
            option="period_max_s",
        )


def _threads() -> int:
    from mwaconvert import _core

    return int(_core.available_threads())


def with_barycentric(
    candidates: Sequence[PeriodCandidate], stream: Stream, length_s: float
) -> tuple[PeriodCandidate, ...]:
    """The same candidates with their periods at the barycentre, where the file has all that takes.

    Parameters
    ----------
    candidates : of `stream`
    stream : the file, for its start, its telescope and its direction
    length_s : of what was searched; the Doppler shift is that of its middle
    """
    factor = doppler(stream, length_s / 2)
    return tuple(replace(c, period_barycentric_s=c.period_s * factor) for c in candidates)


def doppler(stream: Stream, at_s: float) -> float:
    """Seconds at the barycentre in a second at the telescope; NaN where the file does not say what that takes.

    Parameters
    ----------
    stream : start, telescope and direction
    at_s : from the start of the file
    """
    from mwaconvert.transients.barycentre import barycentric_mjd, check_known

    if stream.start_mjd is None:
        return math.nan
    try:
        check_known(stream.recording)
    except InputError:
        return math.nan
    if stream.recording.frame.value != "topocentric":
        return 1.0
    middle = stream.start_mjd + at_s / 86400
    half = 0.02  # days: MJDs are known to a microsecond, over this a part in 3e9
    early, late = barycentric_mjd(np.array([middle - half, middle + half]), stream.recording)
    return float((late - early) / (2 * half))
