"""Search a range of DMs for pulses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.errors import InputError
from mwaconvert.spectra.aliases import old_keywords
from mwaconvert.spectra.candidate import Candidate, SearchFacts, html_table, to_pandas, to_table
from mwaconvert.spectra.dispersion import delay_per_dm, delay_samples
from mwaconvert.transients.clean.cleaning import ORIGIN, STRETCH
from mwaconvert.transients.clean.masked import Masked
from mwaconvert.transients.clean.precision import Precision
from mwaconvert.transients.events import pulses
from mwaconvert.transients.judging.flags import Doubts, Place
from mwaconvert.transients.judging.looks import Look
from mwaconvert.transients.rounding import ROUNDED, independent_noise
from mwaconvert.transients.trials.dm_plan import dm_trials, plan_dms
from mwaconvert.transients.trials.transform import plan_transform

if TYPE_CHECKING:
    from astropy.table import QTable

    from mwaconvert.spectra.spectra import Spectra
    from mwaconvert.spectra.stream import Stream

_COVER_STEP = STRETCH  # samples of a series that have one cover, as in boxcar.hpp
_WHOLE = 0.998  # of the samples: as good as all
_NO_COVER = np.empty((0, 0), np.float32), np.empty(0, np.int32)
_MOST = 1 << 15  # detections in a segment; beyond, in a storm, they are thinned out
#: samples, and parts of the range of DMs, of which the best are kept then: the first that leave few enough, or the last
_STORM = ((64, 1024), (256, 256), (1024, 64))
_SHORTEST = 64  # samples that every series must have


@dataclass(frozen=True, eq=False, repr=False)
class Search:
    """What was found, with the best pulse of each trial."""

    dms: npt.NDArray[np.float64]  #: (n_trial) pc/cm^3
    snr: npt.NDArray[np.float32]  #: (n_trial)
    time_s: npt.NDArray[np.float64]  #: (n_trial) middle of the boxcar, at the highest channel
    width_s: npt.NDArray[np.float64]  #: (n_trial)
    detections: npt.NDArray[np.void]  #: all above the threshold: dm, time_s, snr, width_s; best first
    loss: float  #: bound of the S/N lost against exact delays, for pulses of width_min_s or wider
    k_dm: float  #: dispersion constant, MHz^2 s cm^3 / pc
    freq_mhz: npt.NDArray[np.float64]  #: (n_chan) centres of the channels
    dt_s: float  #: seconds per sample
    start_mjd: float | None = None  #: UTC of the beginning of the data
    widest_s: float = float("inf")  #: the widest boxcar
    length_s: float | None = None  #: of the data
    dm_data: float = 0.0  #: pc/cm^3, to which the data were dedispersed already
    thinned: int = 0  #: detections that were left out, of storms
    masked: Masked | None = None  #: what cleaning masked
    looks: Mapping[Place, Look] = field(default_factory=dict)  #: at candidates, in cleaned data
    too_many: int = 0  #: candidates that were not looked at, beyond the best of each segment

    @property
    def band_mhz(self) -> tuple[float, float]:
        """Lowest and highest channel."""
        return float(self.freq_mhz[0]), float(self.freq_mhz[-1])

    @property
    def precision(self) -> Precision:
        """What errors of candidates follow from."""
        return Precision(self.dms, self.freq_mhz, self.dt_s, self.k_dm, self.start_mjd)

    @property
    def best(self) -> Candidate:
        """The best of all trials, whether above the threshold or not."""
        k = int(np.argmax(self.snr))
        found = Candidate(
            time_s=float(self.time_s[k]),
            dm=float(self.dms[k]),
            snr=float(self.snr[k]),
            width_s=float(self.width_s[k]),
        )
        return self.precision.measured([found])[0]

    def candidates(self) -> list[Candidate]:
        """Pulses, best first, with errors, MJD, flags and scores; see `mwaconvert.transients.events.pulses`."""
        return self.doubts.judged(self.precision.measured(self.found()), self.looks)

    def found(self) -> list[Candidate]:
        """Pulses, best first, as the detections have them."""
        return pulses(self.detections, self.band_mhz, self.k_dm, np.unique(self.dms))

    @property
    def doubts(self) -> Doubts:
        """What flags and scores follow from."""
        return Doubts(
            self.dms, self.freq_mhz, self.dt_s, self.widest_s, self.length_s, self.dm_data, self.k_dm
        )

    def facts(self, stream: Stream, threshold: float, n_beams: int = 1) -> SearchFacts:
        """What a list of the candidates has to say of the search.

        Parameters
        ----------
        stream : what was searched
        threshold : S/N of detections
        n_beams : of which the candidates were compared
        """
        return SearchFacts(
            path=stream.path,
            source=stream.source,
            dms=self.dms,
            dt_s=stream.dt_s,
            band_mhz=self.band_mhz,
            threshold=threshold,
            loss=self.loss,
            k_dm=self.k_dm,
            frame=stream.recording.frame,
            n_beams=n_beams,
        )

    def __repr__(self) -> str:
        return (
            f"<Search: {self.dms.size} DMs from {self.dms[0]:g} to {self.dms[-1]:g} pc/cm^3, "
            f"{len(self.detections)} detections, best S/N {float(self.snr.max()):.2f}>"
        )

    def to_table(self) -> QTable:
        """The candidates as a table of astropy, with units."""
        return to_table(self.candidates())

    def to_pandas(self) -> Any:
        """The candidates as a pandas.DataFrame (extra `pandas`).

        Raises
        ------
        InputError : pandas is not installed
        """
        return to_pandas(self.to_table())

    def _repr_html_(self) -> str:
        return html_table(self.candidates())


# One function: the parts of the transform share one buffer, and each fills its rows of the same tables.
@old_keywords("nthreads")
def search(
    spectra: Spectra,
    dm_min: float,
    dm_max: float,
    *,
    dms: npt.ArrayLike | None = None,
    threshold: float = 7.0,
    width_min_s: float | None = None,
    n_width: int = 9,
    loss: float = 0.01,
    downsample: bool = False,
    kept: npt.NDArray[np.uint8] | None = None,
    beyond: tuple[int, int] = (0, 0),
    threads: int = 0,
) -> Search:
    """Dedisperse at many DMs and keep the best boxcars.

    Parameters
    ----------
    spectra : the data
    dm_min, dm_max : pc/cm^3
    dms : the trials themselves, evenly spaced; by default such that none loses more than 5 % to its neighbour
    threshold : S/N of detections
    width_min_s : full width at half maximum of the narrowest pulse for which losses are bounded; default a sample
    n_width : boxcars of 1, 2, 4, ... 2^(n_width - 1) samples
    loss : S/N that approximate delays may cost, at most; 0 for exact delays
    downsample : where channels smear pulses, average samples and take wider steps of DM (`dm_plan.plan_dms`), at a
        further loss of at most `loss`; takes the place of `dms`
    kept : (n_chan, n_stretch) of `cleaning.Cleaned`: samples of each stretch that are not masked, of cleaned spectra
    beyond : samples before and after the data that are searched with the channels whose samples are there (of cleaned
        spectra)
    threads : 0 for all cores; the result does not depend on it

    Returns
    -------
    Search

    Raises
    ------
    InputError : the pulse of the highest DM sweeps out of the data, or all channels are masked

    Examples
    --------
    >>> from mwaconvert.spectra.spectra import Spectra
    >>> noise = np.random.default_rng(1).normal(0, 1, (16, 3000))
    >>> noise[:, 1000:1004] += 3
    >>> found = search(Spectra(noise, 1200.0 + 10 * np.arange(16), 1e-3), 0, 100)
    >>> [round(pulse.time_s, 3) for pulse in found.candidates()]
    [1.002]
    """
    if downsample:
        if dms is not None or any(beyond) or not 0 < loss < 1:
            raise InputError(
                "to average samples where channels smear, give a loss, no DMs and nothing beyond the data"
            )
        return _search_stages(
            spectra, dm_min, dm_max, threshold, width_min_s or spectra.dt_s, n_width, loss, kept, threads
        )
    per_dm = delay_per_dm(spectra.freq_mhz, "top", spectra.k_dm)
    width_s = spectra.dt_s if width_min_s is None else width_min_s
    if not (np.isfinite([dm_min, dm_max]).all() and spectra.dm <= dm_min <= dm_max and width_s > 0):
        raise InputError(
            f"cannot search DMs from {dm_min} to {dm_max} for pulses of {width_s} s: give the lower one first, neither "
            f"below that of the data, {spectra.dm:g}, and a positive width"
        )
    trials = (
        dm_trials(dm_min, dm_max, float(per_dm.max()), width_s)
        if dms is None
        else np.asarray(dms, np.float64)
    )
    given = (
        _usable(spectra, per_dm / spectra.dt_s)
        if kept is None
        else _cleaned(spectra, per_dm / spectra.dt_s, kept, beyond)
    )
    n_times = given.data.shape[1]
    sweep = int(delay_samples(trials.max() - spectra.dm, given.per_sample).max())
    if n_times - sweep < _SHORTEST:
        raise InputError(
            f"a pulse of DM {trials.max():g} crosses the band in {sweep * spectra.dt_s:.4g} s, which leaves less "
            f"than {_SHORTEST} of the {spectra.n_times} samples ({spectra.n_times * spectra.dt_s:.4g} s): take "
            "lower DMs or more data"
        )
    n_width = min(n_width, int(np.log2(n_times - sweep)))
    transform = plan_transform(
        trials - spectra.dm,
        given.per_sample,
        width_s / spectra.dt_s,
        loss,
        is_bytes=given.data.dtype == np.uint8,
        n_times=n_times,
    )
    best_snr = np.empty(trials.size, np.float32)
    best_time, best_width = np.empty(trials.size), np.empty(trials.size)
    least_noise = ROUNDED * independent_noise(given.data, given.norm)
    found = []
    thinned = 0
    memory = np.empty(0, np.float32)
    for part in transform.parts():
        n_trial, n_out = part.trials.stop - part.trials.start, n_times - part.reach
        if memory.size < n_trial * n_out:
            memory = np.empty(n_trial * n_out, np.float32)
        series = memory[: n_trial * n_out].reshape(n_trial, n_out)
        part.fill(given.data, series, threads)
        if given.norm is not None:
            total = np.empty_like(series)
            part.fill(given.norm, total, threads)
            series = np.divide(series, np.sqrt(total), out=np.zeros_like(series), where=total > 0)
        share, row = given.cover(trials[part.trials] - spectra.dm, part.lead, n_out)
        mean, sigma = np.empty(n_trial, np.float32), np.empty(n_trial, np.float32)
        snr, start, width = np.empty(n_trial, np.float32), *(np.empty(n_trial, np.int32) for _ in range(2))
        boxcars = _core.search_series(
            series=series,
            share=share,
            row=row,
            n_width=n_width,
            threshold=threshold,
            mean=mean,
            sigma=sigma,
            snr=snr,
            start=start,
            width=width,
            threads=threads,
        )
        first = part.lead - given.before
        snr[sigma < least_noise] = 0
        boxcars = boxcars[sigma[boxcars["trial"]] >= least_noise]
        best_snr[part.trials] = snr
        best_time[part.trials] = (start + width / 2 + first) * spectra.dt_s
        best_width[part.trials] = width * spectra.dt_s
        every = _detections(boxcars, trials[part.trials], first, spectra.dt_s)
        fewer = _thin(every, spectra.dt_s, float(np.ptp(trials)))
        thinned += every.size - fewer.size
        found.append(fewer)
    every = np.concatenate(found)
    detections = _thin(every, spectra.dt_s, float(np.ptp(trials)))
    thinned += every.size - detections.size
    detections = detections[np.argsort(-detections["snr"], kind="stable")]
    return Search(
        trials,
        best_snr,
        best_time,
        best_width,
        detections,
        transform.loss,
        spectra.k_dm,
        spectra.freq_mhz,
        spectra.dt_s,
        spectra.start_mjd,
        spectra.dt_s * 2 ** (n_width - 1),
        spectra.n_times * spectra.dt_s,
        spectra.dm,
        thinned,
    )


def _detections(
    boxcars: npt.NDArray[np.void], trials: npt.NDArray[np.float64], first: int, dt: float
) -> npt.NDArray[np.void]:
    """Boxcars of series that begin at sample `first`, in units of the sky."""
    table = np.empty(boxcars.size, [(name, "f8") for name in ("dm", "time_s", "snr", "width_s")])
    table["dm"] = trials[boxcars["trial"]]
    table["time_s"] = (boxcars["start"] + boxcars["width"] / 2 + first) * dt
    table["snr"] = boxcars["snr"]
    table["width_s"] = boxcars["width"] * dt
    return table


def _thin(table: npt.NDArray[np.void], dt_s: float, dm_range: float) -> npt.NDArray[np.void]:
    """In a storm, of each width in each stretch of time and step of DM the best; stretches as short as they may be."""
    for samples, n_dm in _STORM:
        if table.size > _MOST:
            table = _best_of_cells(table, samples * dt_s, dm_range / n_dm)
    return table


def _best_of_cells(table: npt.NDArray[np.void], time_step_s: float, dm_step: float) -> npt.NDArray[np.void]:
    """Of each width in each stretch of time and step of DM the best."""
    keys = (
        table["width_s"],
        np.floor(table["time_s"] / time_step_s),
        np.floor(table["dm"] / dm_step) if dm_step > 0 else np.zeros(table.size),
    )
    order = np.lexsort((-table["snr"], *keys))
    same = np.ones(table.size - 1, bool)
    for key in keys:
        same &= np.diff(key[order]) == 0
    best: npt.NDArray[np.void] = table[order[np.concatenate([[True], ~same])]]
    return best


def _search_stages(
    spectra: Spectra,
    dm_min: float,
    dm_max: float,
    threshold: float,
    width_s: float,
    n_width: int,
    loss: float,
    kept: npt.NDArray[np.uint8] | None,
    threads: int,
) -> Search:
    stages = plan_dms(
        spectra.freq_mhz,
        spectra.dt_s,
        dm_min,
        dm_max,
        width_s,
        average_loss=loss,
        k_dm=spectra.k_dm,
        dm_data=spectra.dm,
    )
    parts = []
    dt_s, factor = spectra.dt_s, 1
    for stage in stages:
        if stage.downsample > factor:
            spectra = spectra.downsample(stage.downsample // factor)
            if kept is not None:
                kept = _coarser(kept, stage.downsample // factor, spectra.n_times)
            factor = stage.downsample
        part = search(
            spectra,
            float(stage.dms[0]),
            float(stage.dms[-1]),
            dms=stage.dms,
            threshold=threshold,
            width_min_s=stage.width_s,
            n_width=max(1, n_width - factor.bit_length() + 1),
            loss=loss,
            kept=kept,
            threads=threads,
        )
        parts.append(replace(part, loss=1 - (1 - part.loss) * (1 - stage.loss)))
    table = np.concatenate([part.detections for part in parts])
    return replace(
        parts[0],
        dms=np.concatenate([part.dms for part in parts]),
        snr=np.concatenate([part.snr for part in parts]),
        time_s=np.concatenate([part.time_s for part in parts]),
        width_s=np.concatenate([part.width_s for part in parts]),
        detections=table[np.argsort(-table["snr"], kind="stable")],
        loss=max(part.loss for part in parts),
        thinned=sum(part.thinned for part in parts),
        widest_s=max(part.widest_s for part in parts),
        dt_s=dt_s,
    )


def _coarser(kept: npt.NDArray[np.uint8], factor: int, n_times: int) -> npt.NDArray[np.uint8]:
    """Samples of each stretch that count, where `factor` samples have become one and `n_times` are left."""
    n_stretch = -(-n_times // _COVER_STEP)
    whole = np.zeros((kept.shape[0], max(n_stretch * factor, kept.shape[1])), np.float32)
    whole[:, : kept.shape[1]] = kept
    out = whole[:, : n_stretch * factor].reshape(kept.shape[0], n_stretch, factor).sum(2) / factor
    length = (n_times - np.arange(n_stretch) * _COVER_STEP).clip(0, _COVER_STEP)
    # an average of samples of which any is left holds something
    return np.asarray(np.minimum(np.ceil(out), length), np.uint8)


@dataclass(frozen=True, eq=False)
class _Given:
    """Channels to sum, and what is known of their weights."""

    data: npt.NDArray[np.uint8] | npt.NDArray[np.float32]  #: (n_used, n_times)
    per_sample: npt.NDArray[np.float64]  #: (n_used) samples of delay per unit of DM
    norm: npt.NDArray[np.float32] | None = (
        None  #: (n_used, n_times) squared weights, where they change with time
    )
    before: int = 0  #: samples before the data, that were added
    kept: npt.NDArray[np.uint8] | None = None  #: (n_used, n_stretch) samples that count, where some do not

    def cover(
        self, shifts: npt.NDArray[np.float64], lead: int, n_out: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
        """(n_row, n_stretch) part of the samples that count, of the sums of some trials, and (n_trial) their rows.

        Counted by stretches: delays are rounded to these, and trials that differ by less than half of one share a row.
        """
        if self.kept is None:
            return _NO_COVER
        per_stretch = self.per_sample / _COVER_STEP
        across = abs(shifts[-1] - shifts[0]) * float(per_stretch.max())
        n_row = min(shifts.size, 1 + int(np.ceil(2 * across)))
        row = (np.arange(shifts.size) * n_row // shifts.size).astype(np.int32)
        middles = np.array([shifts[row == r].mean() for r in range(n_row)])
        delays = delay_samples(middles, per_stretch) + round(lead / _COVER_STEP)
        n_stretch = -(-n_out // _COVER_STEP)
        missing = int(delays.max()) + n_stretch - self.kept.shape[1]
        kept = np.pad(self.kept, ((0, 0), (0, max(0, missing))), mode="edge")
        share = np.empty((n_row, n_stretch), np.float32)
        _core.dedisperse(kept, delays, share, 0)
        share /= _COVER_STEP * kept.shape[0]
        # a boxcar may lie where its stretch has all, beside a gap that takes the rest of the stretch: the larger of
        # neighbours makes S/N too small there, never too large
        beside = np.pad(share, ((0, 0), (1, 1)), mode="edge")
        share = np.maximum(np.maximum(beside[:, :-2], beside[:, 2:]), share)
        return (share, row) if share.min() < _WHOLE else _NO_COVER


def _cleaned(
    spectra: Spectra,
    per_sample: npt.NDArray[np.float64],
    kept: npt.NDArray[np.uint8],
    beyond: tuple[int, int],
) -> _Given:
    """Cleaned spectra, without channels of which nothing is kept, and with samples of their mean on either side."""
    use = kept.any(1)
    if not use.any():
        raise InputError("all channels are masked, or hold no number: there is nothing to search")
    before, after = (-(-n // _COVER_STEP) * _COVER_STEP for n in beyond)  # whole stretches
    data = spectra.data if use.all() else spectra.data[use]
    kept = kept[use].copy()
    last = spectra.n_times % _COVER_STEP
    if last:  # as if it were a whole stretch
        kept[:, -1] = np.rint(kept[:, -1] * (_COVER_STEP / last))
    if before or after:
        whole = np.full((data.shape[0], before + spectra.n_times + after), ORIGIN, np.uint8)
        whole[:, before : before + spectra.n_times] = data
        data = whole
        kept = np.pad(kept, ((0, 0), (before // _COVER_STEP, after // _COVER_STEP)))
    some = bool((kept < _COVER_STEP).any())
    return _Given(data, per_sample[use], before=before, kept=kept if some else None)


def _usable(spectra: Spectra, per_sample: npt.NDArray[np.float64]) -> _Given:
    """Channels to sum, their delays, and the squared weights where they change with time."""
    weights = spectra.weights
    if weights is None:
        return _Given(spectra.data, per_sample)
    use = weights > 0 if weights.ndim == 1 else (weights > 0).any(1)
    if not use.any():
        raise InputError("all channels are masked, or hold no number: there is nothing to search")
    data, weights, per_sample = spectra.data[use], weights[use], per_sample[use]
    if weights.ndim == 1:
        if (weights == weights[0]).all():
            return _Given(data, per_sample)
        return _Given(data * weights[:, None], per_sample)
    # about the mean of each channel, so that a masked sample takes nothing away
    x = data.astype(np.float32)
    x -= ((x * weights).sum(1, dtype=np.float64) / weights.sum(1, dtype=np.float64))[:, None].astype(
        np.float32
    )
    return _Given(x * weights, per_sample, weights**2)
