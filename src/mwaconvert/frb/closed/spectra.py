"""iautils.spectra: a waterfall that is changed in place."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mwaconvert.errors import InputError
from mwaconvert.spectra.dispersion import K_DM, Reference, delay_per_dm
from mwaconvert.spectra.spectra import indivisible

_Array = npt.NDArray[Any]


class Spectra:
    """Intensity by channel and time, from the lowest channel. Methods change it.

    Parameters
    ----------
    intensity : (nchan, nsamp)
    fbottom : MHz, lower edge of the band
    df : MHz per channel
    tstart : s, beginning of the first sample
    dt : s per sample
    weights : (nchan, nsamp), 0 is masked; default 1
    dm : pc/cm^3, to which the intensity is dedispersed

    Examples
    --------
    >>> spectra = Spectra(np.ones((8, 100)), 400.0, 50.0, 0.0, 1e-3)
    >>> spectra.dedisperse(1.0)
    >>> spectra.subband(4)
    >>> spectra.intensity.shape, spectra.df, int((spectra.weights < 1).sum())
    ((4, 100), 100.0, 30)
    """

    def __init__(
        self,
        intensity: npt.ArrayLike,
        fbottom: float,
        df: float,
        tstart: float,
        dt: float,
        weights: npt.ArrayLike | None = None,
        dm: float = 0.0,
    ) -> None:
        values = np.asarray(intensity)
        self.intensity: _Array = values if values.dtype.kind == "f" else values.astype(np.float64)
        if self.intensity.ndim != 2 or 0 in self.intensity.shape:
            raise InputError(f"intensity of the shape {self.intensity.shape}: expected (channels, samples)")
        self.weights = (
            np.ones_like(self.intensity) if weights is None else np.array(weights, self.intensity.dtype)
        )
        if self.weights.shape != self.intensity.shape:
            raise InputError(
                f"weights of the shape {self.weights.shape} for intensity of {self.intensity.shape}"
            )
        self.fbottom, self.df, self.tstart, self.dt, self.dm = map(float, (fbottom, df, tstart, dt, dm))

    @property
    def nchan(self) -> int:
        """Number of channels."""
        return int(self.intensity.shape[0])

    @property
    def nsamp(self) -> int:
        """Number of samples."""
        return int(self.intensity.shape[1])

    @property
    def ftop(self) -> float:
        """MHz, upper edge of the band."""
        return self.fbottom + self.nchan * self.df

    @property
    def tend(self) -> float:
        """s, end of the last sample."""
        return self.tstart + self.nsamp * self.dt

    @property
    def frequencies(self) -> npt.NDArray[np.float64]:
        """(nchan) MHz, lower edges."""
        return self.fbottom + self.df * np.arange(self.nchan, dtype=np.float64)

    @property
    def center_frequencies(self) -> npt.NDArray[np.float64]:
        """(nchan) MHz, centres."""
        return self.frequencies + self.df / 2

    @property
    def times(self) -> npt.NDArray[np.float64]:
        """(nsamp) s, beginnings."""
        return self.tstart + self.dt * np.arange(self.nsamp, dtype=np.float64)

    @property
    def center_times(self) -> npt.NDArray[np.float64]:
        """(nsamp) s, middles."""
        return self.times + self.dt / 2

    def dedisperse(self, dm: float, padval: float | None = None, reference: Reference = "top") -> None:
        """Shift channels by whole samples to another DM, relative to the one they have.

        Parameters
        ----------
        dm : pc/cm^3
        padval : what samples become that come round from the other end; None: they stay; their weight is 0
        reference : the frequency that stays where it is: top, bottom, centre, infinity or MHz
        """
        if not np.isfinite(dm):
            raise InputError(f"a DM of {dm}: expected a finite number, pc/cm^3")
        per_dm = delay_per_dm(self.center_frequencies, reference)
        self._shift(np.rint((float(dm) - self.dm) * per_dm / self.dt), padval)
        self.dm = float(dm)

    def _shift(self, shifts: npt.NDArray[np.float64], padval: float | None) -> None:
        """Each channel to the left; what comes round has weight 0."""
        n = self.nsamp
        intensity, weights = np.empty_like(self.intensity), np.empty_like(self.weights)
        for k, shift in enumerate(shifts):
            whole = int(np.clip(shift, -n, n))
            intensity[k] = np.roll(self.intensity[k], -int(shift % n))
            weights[k] = np.roll(self.weights[k], -int(shift % n))
            gone = slice(n - whole, n) if whole >= 0 else slice(0, -whole)
            weights[k, gone] = 0
            if padval is not None:
                intensity[k, gone] = padval
        self.intensity, self.weights = intensity, weights

    def subband(self, nsub: int, dm: float | None = None, apply_weights: bool = True) -> None:
        """Average channels: weighted means, 0 where nothing has weight; weights are averaged.

        Values that are not finite have weight 0. With as many sub-bands as channels nothing is done.

        Parameters
        ----------
        nsub : divides the number of channels
        dm : pc/cm^3, at which the channels of a sub-band are aligned to its centre before
        apply_weights : False: plain means
        """
        if nsub < 1 or self.nchan % nsub:
            raise InputError(indivisible(int(nsub), self.nchan))
        if nsub == self.nchan:
            return
        group = self.nchan // nsub
        if dm is not None:
            freq_mhz = self.center_frequencies
            middle = np.repeat(freq_mhz.reshape(nsub, group).mean(1), group)
            delays = K_DM * (float(dm) - self.dm) * (freq_mhz**-2.0 - middle**-2.0)
            self._shift(np.rint(delays / self.dt), None)
        shape = (nsub, group, self.nsamp)
        self.intensity, self.weights = _means(self.intensity, self.weights, shape, 1, apply_weights)
        self.df *= group

    def downsample(self, factor: int) -> None:
        """Average samples; what is left over at the end is dropped.

        Parameters
        ----------
        factor : number of samples that become one
        """
        n = self.nsamp // factor if factor >= 1 else 0
        if n < 1:
            raise InputError(f"cannot average {factor} of {self.nsamp} samples")
        if factor == 1:
            return
        whole = slice(0, n * factor)
        shape = (self.nchan, n, factor)
        self.intensity, self.weights = _means(
            self.intensity[:, whole], self.weights[:, whole], shape, 2, True
        )
        self.dt *= factor

    def zerodm(self) -> None:
        """Take the mean over the channels off each sample."""
        mean, _ = _means(self.intensity, self.weights, (1, *self.intensity.shape), 1, True)
        self.intensity = self.intensity - mean


def _means(
    intensity: _Array, weights: _Array, shape: tuple[int, int, int], axis: int, apply_weights: bool
) -> tuple[_Array, _Array]:
    seen = np.where(np.isfinite(intensity), weights, 0)
    use = seen if apply_weights else (seen > 0).astype(seen.dtype)
    values = np.where(use > 0, intensity, 0) * use
    total = use.reshape(shape).sum(axis)
    summed = values.reshape(shape).sum(axis)
    mean = np.divide(summed, total, out=np.zeros_like(summed), where=total > 0)
    return mean, seen.reshape(shape).mean(axis)
