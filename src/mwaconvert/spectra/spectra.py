"""Spectra over time: the waterfall of a filterbank."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.errors import InputError
from mwaconvert.quantities import bare, takes_quantities
from mwaconvert.spectra.aliases import old_keywords, old_names
from mwaconvert.spectra.describe import facts_of, in_a_line
from mwaconvert.spectra.dispersion import K_DM, Reference, delay_per_dm, delay_samples
from mwaconvert.spectra.recording import NOT_RECORDED, Recording
from mwaconvert.text import html_facts

if TYPE_CHECKING:
    from mwaconvert.transients.search import Search

Floats = npt.NDArray[np.float32]


@old_names("nchan", "nsamp", "freqs", "dt", "df")
@dataclass(frozen=True, eq=False, repr=False)
class Spectra:
    """Total intensity by channel and time. Methods return new spectra and leave their own as they are.

    Frequencies, times and DMs may be quantities of astropy, here and in methods, and `start_mjd` a Time.

    Parameters
    ----------
    data : (n_chan, n_times) uint8 or float32; other numbers are converted to float32, values that are not finite get
        weight 0
    freq_mhz : (n_chan) MHz, centres of the channels, ascending or descending; kept ascending
    dt_s : seconds per sample
    weights : None (all 1), (n_chan) or (n_chan, n_times), not negative; 0 is masked
    dm : pc/cm^3, to which the data are dedispersed already
    start_mjd : of the beginning of the first sample; UTC unless the frame of the recording says otherwise
    source : name
    k_dm : dispersion constant, MHz^2 s cm^3 / pc
    notes : what the reader has to say of the file
    recording : telescope, direction, beam and frame of time

    Raises
    ------
    InputError : shapes that do not fit, frequencies or dt_s that make no sense

    Examples
    --------
    >>> noise = np.random.default_rng(1).normal(100, 10, (8, 1000))
    >>> spectra = Spectra(noise, 1200 + 10 * np.arange(8), 1e-3)
    >>> spectra
    <Spectra: 8 channels, 1200 to 1270 MHz, 1000 samples of 1000 us, DM 0>
    >>> spectra.dedisperse(50).subband(4).downsample(2).data.shape
    (4, 500)
    """

    data: npt.NDArray[Any]
    freq_mhz: npt.NDArray[np.float64]
    dt_s: float
    weights: Floats | None = None
    dm: float = 0.0
    start_mjd: float | None = None
    source: str = ""
    k_dm: float = K_DM
    notes: tuple[str, ...] = field(default=())
    recording: Recording = NOT_RECORDED

    def __post_init__(self) -> None:
        for name in ("freq_mhz", "dt_s", "dm", "start_mjd"):
            object.__setattr__(self, name, bare(name, getattr(self, name)))
        data, freq_mhz = np.asarray(self.data), np.ascontiguousarray(self.freq_mhz, np.float64)
        weights = None if self.weights is None else np.ascontiguousarray(self.weights, np.float32)
        if data.ndim != 2 or 0 in data.shape:
            raise InputError(f"spectra: expected data of (channels, samples), found the shape {data.shape}")
        if freq_mhz.shape != data.shape[:1]:
            raise InputError(
                f"spectra: {data.shape[0]} channels, but frequencies of the shape {freq_mhz.shape}"
            )
        steps = np.diff(freq_mhz)
        if not (
            np.isfinite(freq_mhz).all() and (freq_mhz > 0).all() and (np.all(steps > 0) or np.all(steps < 0))
        ):
            raise InputError("spectra: frequencies must be positive and ascend or descend")
        if not (np.isfinite(self.dt_s) and self.dt_s > 0):
            raise InputError(f"spectra: a sample of {self.dt_s} s")
        if weights is not None:
            if weights.shape not in (data.shape, data.shape[:1]):
                raise InputError(
                    f"spectra: weights of the shape {weights.shape} do not fit data of {data.shape}"
                )
            if not (weights >= 0).all():
                raise InputError("spectra: weights must be numbers that are not negative")
        if steps.size and steps[0] < 0:
            data, freq_mhz = data[::-1], np.ascontiguousarray(freq_mhz[::-1])
            weights = None if weights is None else np.ascontiguousarray(weights[::-1])
        data = np.ascontiguousarray(data, np.uint8 if data.dtype == np.uint8 else np.float32)
        if data.dtype != np.uint8 and not np.isfinite(data.sum(dtype=np.float64)):
            bad = ~np.isfinite(data)
            weights = np.where(bad, np.float32(0), _whole(weights, data.shape))
            data = np.where(bad, np.float32(0), data)
        for name, value in (("data", data), ("freq_mhz", freq_mhz), ("weights", weights)):
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return f"<Spectra: {in_a_line(self)}>"

    def _repr_html_(self) -> str:
        weights = "all 1" if self.weights is None else f"{(self.weights > 0).mean():.1%} above 0"
        return html_facts(facts_of(self) | {"values": str(self.data.dtype), "weights": weights})

    @property
    def n_chan(self) -> int:
        """Number of channels."""
        return int(self.data.shape[0])

    @property
    def n_times(self) -> int:
        """Number of samples."""
        return int(self.data.shape[1])

    @property
    def df_mhz(self) -> float:
        """MHz per channel (of a single channel: 0)."""
        return float(self.freq_mhz[-1] - self.freq_mhz[0]) / max(1, self.n_chan - 1)

    @property
    def fbottom(self) -> float:
        """MHz, lower edge of the band."""
        return float(self.freq_mhz[0]) - self.df_mhz / 2

    @property
    def ftop(self) -> float:
        """MHz, upper edge of the band."""
        return float(self.freq_mhz[-1]) + self.df_mhz / 2

    @property
    def intensity(self) -> npt.NDArray[Any]:
        """The data, by the name that CHIME/FRB's programs give them."""
        return self.data

    @property
    def center_frequencies(self) -> npt.NDArray[np.float64]:
        """(n_chan) MHz, centres of the channels: `freq_mhz`."""
        return self.freq_mhz

    @property
    def frequencies(self) -> npt.NDArray[np.float64]:
        """(n_chan) MHz, lower edges of the channels."""
        return self.freq_mhz - self.df_mhz / 2

    @property
    def tstart(self) -> float:
        """Seconds, beginning of the first sample: 0."""
        return 0.0

    @property
    def tend(self) -> float:
        """Seconds, end of the last sample."""
        return self.n_times * self.dt_s

    @property
    def times(self) -> npt.NDArray[np.float64]:
        """(n_times) seconds, beginnings of the samples."""
        return np.arange(self.n_times, dtype=np.float64) * self.dt_s

    @property
    def center_times(self) -> npt.NDArray[np.float64]:
        """(n_times) seconds, middles of the samples."""
        return self.times + self.dt_s / 2

    def masked(self, channels: npt.ArrayLike | slice) -> Spectra:
        """Spectra of which some channels have weight 0.

        Parameters
        ----------
        channels : numbers of channels, a slice, or (n_chan) of which True is masked
        """
        gone = np.zeros(self.n_chan, bool)
        gone[channels if isinstance(channels, slice) else np.asarray(channels)] = True
        weights = np.ones(self.n_chan, np.float32) if self.weights is None else self.weights.copy()
        weights[gone] = 0
        return replace(self, weights=weights)

    @takes_quantities
    def dedisperse(self, dm: float, reference: Reference = "top") -> Spectra:
        """Shift every channel by whole samples so that a pulse of this DM arrives in all at once.

        Samples that come round from the other end have weight 0.

        Parameters
        ----------
        dm : pc/cm^3; the shift is that of the difference to the DM the data have
        reference : the frequency that stays where it is: top, bottom, centre, infinity or MHz

        Raises
        ------
        InputError
        """
        per_dm = delay_per_dm(self.freq_mhz, reference, self.k_dm) / self.dt_s
        return replace(self._shifted(delay_samples(_finite(dm) - self.dm, per_dm)[0]), dm=dm)

    def _shifted(self, shifts: npt.NDArray[np.int32]) -> Spectra:
        """Each channel moved ahead; samples that come round from the other end have weight 0."""
        if not shifts.any():
            return self
        data = np.empty_like(self.data)
        weights = _whole(self.weights, self.data.shape)
        for channel, shift in enumerate(shifts):
            data[channel] = np.roll(self.data[channel], -shift)
            weights[channel] = np.roll(weights[channel], -shift)
            if shift > 0:
                weights[channel, max(0, self.n_times - shift) :] = 0
            else:
                weights[channel, : min(self.n_times, -shift)] = 0
        return replace(self, data=data, weights=weights)

    @old_keywords("nsub")
    @takes_quantities
    def subband(self, n_sub: int, dm: float | None = None) -> Spectra:
        """Average channels: weighted means, 0 where nothing has weight; weights are averaged.

        Parameters
        ----------
        n_sub : number of channels that are left; divides the number of channels
        dm : pc/cm^3, at which the channels of each sub-band are aligned before, to its mean frequency; the sub-bands
            stay at the DM the data have

        Raises
        ------
        InputError
        """
        if n_sub < 1 or self.n_chan % n_sub:
            raise InputError(indivisible(n_sub, self.n_chan))
        if n_sub == self.n_chan:
            return self
        if dm is not None:
            middle = np.repeat(self.freq_mhz.reshape(n_sub, -1).mean(1), self.n_chan // n_sub)
            per_dm = self.k_dm * (self.freq_mhz**-2.0 - middle**-2.0) / self.dt_s
            return self._shifted(delay_samples(_finite(dm) - self.dm, per_dm)[0]).subband(n_sub)
        data, weights = _averaged(
            self.data.reshape(n_sub, -1, self.n_times), _grouped(self.weights, self.data.shape, n_sub)
        )
        return replace(self, data=data, weights=weights, freq_mhz=self.freq_mhz.reshape(n_sub, -1).mean(1))

    def downsample(self, factor: int) -> Spectra:
        """Average samples in time; what is left over at the end is dropped.

        Parameters
        ----------
        factor : number of samples that become one

        Raises
        ------
        InputError
        """
        n_out = self.n_times // factor if factor >= 1 else 0
        if n_out < 1:
            raise InputError(
                f"cannot average {factor} of {self.n_times} samples: take a number from 1 to {self.n_times}"
            )
        if factor == 1:
            return self

        def folded(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
            return np.moveaxis(x[:, : n_out * factor].reshape(self.n_chan, n_out, factor), 2, 1)

        weights = None if self.weights is None else folded(_whole(self.weights, self.data.shape))
        data, weights = _averaged(folded(self.data), weights)
        return replace(self, data=data, weights=weights, dt_s=self.dt_s * factor)

    def scale(self) -> Spectra:
        """Each channel to mean 0 and standard deviation 1, by its samples of weight above 0.

        A channel without variation, or with fewer than two such samples, gets weight 0.
        """
        count, total, _ = channel_sums(self.data, self.weights, np.zeros(self.n_chan)).T
        mean = total / np.maximum(count, 1)
        _, total, squares = channel_sums(self.data, self.weights, mean).T
        if self.data.dtype == np.uint8:  # summed as they are
            squares = squares - total * mean
        usable = (count > 1) & (squares > 0)
        std = np.sqrt(np.maximum(squares, 0) / np.maximum(count, 1))
        scale = np.divide(1.0, std, out=np.zeros_like(std), where=usable)
        data = np.empty(self.data.shape, np.float32)
        _core.scale_channels(self.data, mean, scale, data)
        if self.weights is not None:
            data[np.broadcast_to(_by_sample(self.weights) <= 0, data.shape)] = 0
        scaled = replace(self, data=data)
        return scaled if usable.all() else scaled.masked(~usable)

    @old_keywords("nthreads")
    @takes_quantities
    def series(self, dms: npt.ArrayLike, reference: Reference = "top", threads: int = 0) -> Floats:
        """Sum over the channels at each DM, with exact delays: the DM-time plane.

        Parameters
        ----------
        dms : (n_trial) pc/cm^3, not below the DM of the data
        reference : frequency that stays where it is, at or above all channels: top, infinity or MHz
        threads : 0 for all cores

        Returns
        -------
        (n_trial, n_out) sums of (weight * value), as long as all channels of all trials are within the data

        Raises
        ------
        InputError : the pulse sweeps out of the data
        """
        per_dm = delay_per_dm(self.freq_mhz, reference, self.k_dm) / self.dt_s
        delays = delay_samples(np.asarray(dms, np.float64) - self.dm, per_dm)
        n_out = self.n_times - int(delays.max())
        if n_out < 1 or delays.min() < 0:
            raise InputError(
                f"DMs up to {np.max(dms):g} sweep over {delays.max() * self.dt_s:.4g} s, the data last "
                f"{self.n_times * self.dt_s:.4g} s from DM {self.dm:g}: take lower DMs, or more data"
            )
        data = self.data
        if self.weights is not None:
            weights = self.weights if self.weights.ndim == 2 else self.weights[:, None]
            if weights.shape[1] == 1 and ((weights == 0) | (weights == 1)).all():
                use = weights[:, 0] > 0
                if not use.any():
                    raise InputError("all channels are masked")
                data, delays = data[use], np.ascontiguousarray(delays[:, use])
            else:
                data = data * weights
        out = np.empty((len(delays), n_out), np.float32)
        _core.dedisperse(np.ascontiguousarray(data), delays, out, threads)
        return out

    @old_keywords("nthreads")
    @takes_quantities
    def search(
        self,
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
        """Search for dispersed pulses; see `mwaconvert.transients.search.search`."""
        from mwaconvert.transients.search import search

        return search(
            self,
            dm_min,
            dm_max,
            dms=dms,
            threshold=threshold,
            width_min_s=width_min_s,
            n_width=n_width,
            loss=loss,
            downsample=downsample,
            threads=threads,
        )


def channel_sums(
    data: npt.NDArray[Any], weights: Floats | None, about: npt.NDArray[np.float64], threads: int = 0
) -> npt.NDArray[np.float64]:
    """Number, sum and sum of squares of the samples of each channel that have weight.

    Parameters
    ----------
    data : (n_chan, n_times) uint8 or float32
    weights : None, (n_chan) or (n_chan, n_times)
    about : (n_chan) is taken off before, but not off bytes
    threads : 0 for all cores

    Returns
    -------
    (n_chan, 3)
    """
    sums = np.empty((len(data), 3))
    by_sample = weights if weights is not None and weights.ndim > 1 else None
    _core.channel_sums(data, by_sample, about, sums, threads)
    if weights is not None and weights.ndim == 1:
        sums[weights <= 0] = 0
    return sums


def _by_sample(weights: Floats) -> Floats:
    """Of (n_chan, 1) or (n_chan, n_times)."""
    return weights if weights.ndim > 1 else weights[:, None]


def _finite(dm: float) -> float:
    if not np.isfinite(dm):
        raise InputError(f"a DM of {dm}: expected a finite number, pc/cm^3")
    return dm


def indivisible(n_sub: int, n_chan: int) -> str:
    """What is wrong with a number of sub-bands, and the nearest ones that are right."""
    right = [n for n in range(1, n_chan + 1) if n_chan % n == 0]
    near = [max((n for n in right if n < n_sub), default=0), min((n for n in right if n > n_sub), default=0)]
    take = " or ".join(str(n) for n in near if n)
    return f"{n_sub} sub-bands do not divide {n_chan} channels: take {take}"


def _whole(weights: Floats | None, shape: tuple[int, ...]) -> Floats:
    """A copy of the weights, one for each sample."""
    if weights is None:
        return np.ones(shape, np.float32)
    return np.array(np.broadcast_to(weights[:, None] if weights.ndim == 1 else weights, shape))


def _grouped(weights: Floats | None, shape: tuple[int, ...], n_sub: int) -> Floats | None:
    if weights is None:
        return None
    return np.broadcast_to(weights[:, None] if weights.ndim == 1 else weights, shape).reshape(
        n_sub, -1, shape[1]
    )


def _averaged(data: npt.NDArray[Any], weights: npt.NDArray[Any] | None) -> tuple[Floats, Floats | None]:
    """Weighted mean over axis 1 of (n, group, m), and the mean weight.

    Added up member by member, so that the mean of a sample does not depend on how many others there are.
    """
    group = data.shape[1]
    summed = np.zeros(data.shape[::2])
    if weights is None:
        for member in range(group):
            summed += data[:, member]
        return (summed / group).astype(np.float32), None
    total = np.zeros(data.shape[::2])
    for member in range(group):
        summed += data[:, member] * weights[:, member].astype(np.float64)
        total += weights[:, member]
    mean = np.divide(summed, total, out=np.zeros_like(total), where=total > 0)
    return mean.astype(np.float32), (total / group).astype(np.float32)
