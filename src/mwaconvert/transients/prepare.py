"""What is done to spectra before they are summed: channels that are left out, and channels brought to one scale."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.errors import InputError
from mwaconvert.progress import Progress, Stage
from mwaconvert.spectra.aliases import old_keywords, old_names
from mwaconvert.spectra.spectra import Spectra, channel_sums
from mwaconvert.spectra.stream import Stream

_BLOCK = 4096  # samples of which sums are added at a time, whatever is read at a time


@old_names("nthreads")
@dataclass(frozen=True, eq=False, repr=False)
class Preparation:
    """Steps that treat every sample alike, so that it does not matter in which pieces the data come."""

    masked: npt.NDArray[np.bool_] | None = None  #: (n_chan) channels that get weight 0
    mean: npt.NDArray[np.float64] | None = None  #: (n_chan) to subtract
    std: npt.NDArray[np.float64] | None = None  #: (n_chan) to divide by; 0: the channel gets weight 0
    threads: int = 0

    def __repr__(self) -> str:
        n_masked = 0 if self.masked is None else int(self.masked.sum())
        return f"<Preparation: {n_masked} channels masked, {'not ' if self.mean is None else ''}scaled>"

    def __call__(self, spectra: Spectra) -> Spectra:
        """The spectra with these steps done."""
        gone = self.masked
        if self.mean is not None and self.std is not None:
            flat = self.std <= 0
            gone = flat if gone is None else gone | flat
            scale = np.divide(1.0, self.std, out=np.zeros_like(self.std), where=~flat)
            data = np.empty(spectra.data.shape, np.float32)
            _core.scale_channels(spectra.data, self.mean, scale, data, self.threads)
            spectra = replace(spectra, data=data)
        return spectra if gone is None or not gone.any() else spectra.masked(gone)


def select_channels(
    freq_mhz: npt.NDArray[np.float64],
    channels: list[tuple[int, int]],
    bands_mhz: list[tuple[float, float]],
) -> npt.NDArray[np.bool_] | None:
    """Channels by number or frequency.

    Parameters
    ----------
    freq_mhz : (n_chan) MHz, ascending
    channels : first and last, counted from 0 at the lowest frequency
    bands_mhz : lowest and highest frequency; channels whose centres are within

    Returns
    -------
    (n_chan) True where selected, or None if nothing was asked for

    Raises
    ------
    InputError : there is no such channel, or none is left

    Examples
    --------
    >>> select_channels(np.array([400.0, 500.0, 600.0]), [(0, 0)], [(550, 700)])
    array([ True, False,  True])
    """
    if not channels and not bands_mhz:
        return None
    chosen = np.zeros(freq_mhz.size, bool)
    for first, last in channels:
        if not 0 <= first <= last < freq_mhz.size:
            raise InputError(
                f"channels {first} to {last} cannot be masked: there are channels 0 to {freq_mhz.size - 1}"
            )
        chosen[first : last + 1] = True
    for low, high in bands_mhz:
        within = (freq_mhz >= low) & (freq_mhz <= high)
        if not within.any():
            raise InputError(
                f"{low:g} to {high:g} MHz cannot be masked: no channel of the band, {freq_mhz[0]:g} to "
                f"{freq_mhz[-1]:g} MHz, is within"
            )
        chosen |= within
    if chosen.all():
        raise InputError(f"all channels are masked, {freq_mhz.size} of {freq_mhz.size}: mask fewer")
    return chosen


@old_keywords("nthreads")
def channel_statistics(
    stream: Stream, progress: Progress | None = None, threads: int = 0
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and standard deviation of each channel over the whole file, of samples with weight above 0.

    Parameters
    ----------
    stream : is read once
    progress : told of the stage scaling, in samples
    threads : 0 for all cores; the result does not depend on it

    Returns
    -------
    mean, std
        (n_chan); std is 0 of a channel that does not vary or has fewer than two samples
    """
    sums = np.zeros((stream.n_chan, 3))
    about = np.zeros(stream.n_chan)  # numbers near zero keep their digits when squared
    for first in range(0, stream.n_times, _BLOCK):
        spectra = stream.spectra(first, min(_BLOCK, stream.n_times - first), threads)
        new = sums[:, 0] == 0
        if new.any() and spectra.data.dtype != np.uint8:
            found = channel_sums(spectra.data, spectra.weights, np.zeros(stream.n_chan), threads)
            about[new] = (found[:, 1] / np.maximum(found[:, 0], 1))[new]
        sums += channel_sums(spectra.data, spectra.weights, about, threads)
        if progress is not None:
            progress(Stage.SCALING, first + spectra.n_times, stream.n_times)
    count, total, squares = sums.T
    mean = total / np.maximum(count, 1)
    variance = squares / np.maximum(count, 1) - mean**2
    std = np.sqrt(np.where((count > 1) & (variance > 1e-12 * (mean**2 + about**2)), variance, 0))
    return about + mean, std
