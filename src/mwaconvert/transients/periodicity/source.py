"""A file, cleaned piece by piece, and time series of it at many DMs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.progress import Progress, Stage
from mwaconvert.spectra.dispersion import delay_per_dm, delay_samples
from mwaconvert.spectra.mask import TimeMask
from mwaconvert.spectra.stream import Data, Stream
from mwaconvert.transients.clean.cleaning import Cleaning
from mwaconvert.transients.clean.impulses import among_impulses
from mwaconvert.transients.cleaned import CleanedStream, piece_samples
from mwaconvert.transients.prepare import Preparation
from mwaconvert.transients.rounding import ROUNDED, independent_noise

_WIDEST = 0.25  # of the longest period: baselines are eight times as long
_MOST_WIDTHS = 20


@dataclass(frozen=True, eq=False)
class Source:
    """What is searched, or folded.

    Parameters
    ----------
    stream : the file
    period_max_s : the longest period of interest; baselines are twice as long
    prepare : what is done to the spectra first
    cleaning : what is done to them then; None: nothing
    masks : of files
    tscrunch : samples of a series that become one
    threads : 0 for all cores; results do not depend on it
    impulse_widths : samples of impulses that were taken away, by piece, of those that were read so far
    """

    stream: Stream
    period_max_s: float
    prepare: Preparation
    cleaning: Cleaning | None
    masks: tuple[TimeMask, ...] = ()
    tscrunch: int = 1
    threads: int = 0
    impulse_widths: dict[int, npt.NDArray[np.int64]] = field(default_factory=dict)

    @property
    def piece(self) -> int:
        """Samples that are read together; a multiple of `tscrunch`."""
        return piece_samples(self.stream) // self.tscrunch * self.tscrunch

    def _cleaned(self, sweep: int) -> CleanedStream | None:
        if self.cleaning is None:
            return None
        widest = max(1, int(_WIDEST * self.period_max_s / self.stream.dt_s))
        return CleanedStream(
            self.stream,
            self.cleaning,
            self.prepare,
            self.masks,
            n_width=min(_MOST_WIDTHS, widest.bit_length()),
            sweep=sweep,
            threads=self.threads,
        )

    def memory_bytes(self, sweep: int) -> int:
        """Of a piece with what follows it, about."""
        n = min(self.piece + sweep, self.stream.n_times)
        cleaned = self._cleaned(sweep)
        if cleaned is not None:
            return cleaned.memory_bytes + 2 * n * self.stream.n_chan
        held = 3 * np.dtype(self.stream.dtype).itemsize + (24 if self.stream.weighted or self.masks else 0)
        return n * self.stream.n_chan * held

    def pieces(
        self, sweep: int, progress: Progress | None = None
    ) -> Iterator[tuple[int, Data, npt.NDArray[np.float32] | None]]:
        """Go through the file.

        Parameters
        ----------
        sweep : samples after a piece that come with it, as far as there are any
        progress : told of the stage dedispersing, in samples

        Yields
        ------
        first, data, weights
            first sample of the piece; (n_chan, samples of the piece and what follows); weights None: all 1
        """
        n_times = self.stream.n_times
        cleaned = self._cleaned(sweep)
        for first in range(0, n_times, self.piece):
            count = min(first + self.piece + sweep, n_times) - first
            if cleaned is not None:
                data = cleaned.read(first, count)[0]
                self.impulse_widths.update(cleaned.impulse_widths)
                yield first, data, None
            else:
                spectra = self.prepare(self.stream.spectra(first, count, self.threads))
                for mask in self.masks:
                    spectra = mask.applied(spectra, first)
                weights = spectra.weights
                if weights is not None:
                    whole = weights if weights.ndim == 2 else weights[:, None]
                    weights = np.ascontiguousarray(np.broadcast_to(whole, spectra.data.shape))
                yield first, np.ascontiguousarray(spectra.data), weights
            if progress is not None:
                progress(Stage.DEDISPERSING, min(first + self.piece, n_times), n_times)

    def among_impulses(self, dm_min: float) -> str:
        """What pulses may have been taken away as impulses, of what was read so far; see `clean.impulses`."""
        stream = self.stream
        widths = np.concatenate([np.empty(0), *self.impulse_widths.values()]) * stream.dt_s
        sweep_s = float(delay_per_dm(stream.freq_mhz, "top", stream.k_dm).max())
        return among_impulses(widths, sweep_s, dm_min - stream.dm)

    def sweep(self, dms: npt.NDArray[np.float64]) -> int:
        """Samples that the highest DM takes to cross the band."""
        return int(self._delays(dms[-1:]).max())

    def _delays(self, dms: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
        stream = self.stream
        per_dm = delay_per_dm(stream.freq_mhz, "top", stream.k_dm) / stream.dt_s
        return delay_samples(dms - stream.dm, per_dm)

    def series(
        self, dms: npt.NDArray[np.float64], sweep: int, progress: Progress | None = None
    ) -> npt.NDArray[np.float32]:
        """Sums over the channels, as far as all of them are in the file at the highest DM of the search.

        Parameters
        ----------
        dms : (n_trial) pc/cm^3, ascending
        sweep : samples that the highest DM of the search takes
        progress : told of the stage dedispersing

        Returns
        -------
        (n_trial, (n_times - sweep) // tscrunch)
            0 where nothing but rounding noise is left of a trial, see `transients.rounding`
        """
        delays = self._delays(dms)
        n_out = (self.stream.n_times - sweep) // self.tscrunch
        out = np.empty((dms.size, n_out), np.float32)
        expected = []
        for first, data, weights in self.pieces(sweep, progress):
            n = min(self.piece, n_out * self.tscrunch - first)
            if n <= 0:
                break
            sums = np.empty((dms.size, n), np.float32)
            summable = _summable(data, weights)
            expected.append(independent_noise(summable))
            _core.dedisperse(summable, delays, sums, self.threads)
            begin = first // self.tscrunch
            out[:, begin : begin + n // self.tscrunch] = sums.reshape(dms.size, -1, self.tscrunch).sum(2)
        mean, sigma = np.empty((2, dms.size), np.float32)
        _core.noise(out, mean, sigma, self.threads)
        out[sigma < ROUNDED * np.median(expected) * np.sqrt(self.tscrunch)] = 0
        return out


def _summable(data: Data, weights: npt.NDArray[np.float32] | None) -> Data:
    """Data that may be summed without weights: what has none holds the mean of its channel, 0 here."""
    if weights is None:
        return data
    total = weights.sum(1, keepdims=True, dtype=np.float64)
    mean = (data * weights).sum(1, keepdims=True, dtype=np.float64) / np.maximum(total, 1e-30)
    return np.ascontiguousarray((data - mean) * weights, np.float32)
