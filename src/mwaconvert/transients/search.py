"""Search a range of DMs for pulses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.errors import InputError
from mwaconvert.spectra.aliases import old_keywords
from mwaconvert.spectra.candidate import Candidate, SearchFacts, html_table
from mwaconvert.spectra.dispersion import delay_per_dm, delay_samples
from mwaconvert.transients.dm_plan import dm_trials, plan_dms
from mwaconvert.transients.events import pulses
from mwaconvert.transients.precision import Precision
from mwaconvert.transients.transform import plan_transform

if TYPE_CHECKING:
    from mwaconvert.spectra.spectra import Spectra
    from mwaconvert.spectra.stream import Stream

_BLOCK = 1024  # samples of which the best boxcar is kept
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
        """Pulses, best first, with errors and MJD; see `mwaconvert.transients.events.pulses`."""
        found = pulses(self.detections, self.band_mhz, self.k_dm, np.unique(self.dms))
        return self.precision.measured(found)

    def facts(self, stream: Stream, threshold: float) -> SearchFacts:
        """What a list of the candidates has to say of the search.

        Parameters
        ----------
        stream : what was searched
        threshold : S/N of detections
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
        )

    def __repr__(self) -> str:
        return (
            f"<Search: {self.dms.size} DMs from {self.dms[0]:g} to {self.dms[-1]:g} pc/cm^3, "
            f"{len(self.detections)} detections, best S/N {float(self.snr.max()):.2f}>"
        )

    def _repr_html_(self) -> str:
        return html_table(self.candidates())


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
        if dms is not None or not 0 < loss < 1:
            raise InputError("to average samples where channels smear, give a loss and no DMs")
        return _search_stages(
            spectra, dm_min, dm_max, threshold, width_min_s or spectra.dt_s, n_width, loss, threads
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
    data, per_sample, norm = _usable(spectra, per_dm / spectra.dt_s)
    sweep = int(delay_samples(trials.max() - spectra.dm, per_sample).max())
    if spectra.n_times - sweep < _SHORTEST:
        raise InputError(
            f"a pulse of DM {trials.max():g} crosses the band in {sweep * spectra.dt_s:.4g} s, which leaves less "
            f"than {_SHORTEST} of the {spectra.n_times} samples ({spectra.n_times * spectra.dt_s:.4g} s): take "
            "lower DMs or more data"
        )
    n_width = min(n_width, int(np.log2(spectra.n_times - sweep)))
    shifts = trials - spectra.dm
    transform = plan_transform(
        shifts,
        per_sample,
        width_s / spectra.dt_s,
        loss,
        is_bytes=data.dtype == np.uint8,
        n_times=spectra.n_times,
    )
    best_snr = np.empty(trials.size, np.float32)
    best_time, best_width = np.empty(trials.size), np.empty(trials.size)
    found = []
    memory = np.empty(0, np.float32)
    for chunk in transform.parts():
        part = chunk.trials
        n_trial, n_out = part.stop - part.start, spectra.n_times - chunk.reach
        if memory.size < n_trial * n_out:
            memory = np.empty(n_trial * n_out, np.float32)
        series = memory[: n_trial * n_out].reshape(n_trial, n_out)
        chunk.fill(data, series, threads)
        if norm is not None:
            total = np.empty_like(series)
            chunk.fill(norm, total, threads)
            series = np.divide(series, np.sqrt(total), out=np.zeros_like(series), where=total > 0)

        mean, sigma = np.empty(n_trial, np.float32), np.empty(n_trial, np.float32)
        shape = (n_trial, -(-n_out // _BLOCK))
        snr, start, width = np.empty(shape, np.float32), np.empty(shape, np.int32), np.empty(shape, np.int32)
        _core.search_series(
            series=series,
            n_width=n_width,
            block=_BLOCK,
            mean=mean,
            sigma=sigma,
            snr=snr,
            start=start,
            width=width,
            threads=threads,
        )
        time_s = (start + width / 2 + chunk.lead) * spectra.dt_s
        column = (np.arange(n_trial), snr.argmax(1))
        best_snr[part], best_time[part], best_width[part] = (
            snr[column],
            time_s[column],
            width[column] * spectra.dt_s,
        )
        over = np.nonzero(snr >= threshold)
        found.append(
            np.stack([trials[part][over[0]], time_s[over], snr[over], width[over] * spectra.dt_s], axis=1)
        )

    table = np.concatenate(found)
    table = table[np.argsort(-table[:, 2], kind="stable")]
    detections = np.empty(len(table), [(name, "f8") for name in ("dm", "time_s", "snr", "width_s")])
    for k, name in enumerate(("dm", "time_s", "snr", "width_s")):
        detections[name] = table[:, k]
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
    )


def _search_stages(
    spectra: Spectra,
    dm_min: float,
    dm_max: float,
    threshold: float,
    width_s: float,
    n_width: int,
    loss: float,
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
        dt_s=dt_s,
    )


def _usable(
    spectra: Spectra, per_sample: npt.NDArray[np.float64]
) -> tuple[
    npt.NDArray[np.uint8] | npt.NDArray[np.float32], npt.NDArray[np.float64], npt.NDArray[np.float32] | None
]:
    """Channels to sum, their delays, and the squared weights where they change with time."""
    weights = spectra.weights
    if weights is None:
        return spectra.data, per_sample, None
    use = weights > 0 if weights.ndim == 1 else (weights > 0).any(1)
    if not use.any():
        raise InputError("all channels are masked, or hold no number: there is nothing to search")
    data, weights, per_sample = spectra.data[use], weights[use], per_sample[use]
    if weights.ndim == 1:
        if (weights == weights[0]).all():
            return data, per_sample, None
        return data * weights[:, None], per_sample, None
    # about the mean of each channel, so that a masked sample takes nothing away
    x = data.astype(np.float32)
    x -= ((x * weights).sum(1, dtype=np.float64) / weights.sum(1, dtype=np.float64))[:, None].astype(
        np.float32
    )
    return x * weights, per_sample, weights**2
