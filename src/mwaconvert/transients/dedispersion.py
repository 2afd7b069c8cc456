"""One DM, of a file of any length: gulps overlap by the sweep, and what comes out does not depend on their size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.errors import InputError
from mwaconvert.progress import Progress, Stage
from mwaconvert.spectra.aliases import old_keywords, old_names
from mwaconvert.spectra.dispersion import Reference, delay_per_dm, delay_samples
from mwaconvert.spectra.spectra import Spectra, indivisible
from mwaconvert.spectra.stream import Stream
from mwaconvert.transients.prepare import Preparation

_LONGEST = 1 << 30  # samples, of a delay
_WORK_BYTES = 24 << 20  # of what does not grow with a gulp
GULP_BYTES = 64 << 20  # of input, unless a sample or the sweep takes more


@old_names("nsub", "nthreads")
@dataclass(frozen=True, eq=False, repr=False)
class Dedispersion:
    """How a file is dedispersed: made by `plan_dedispersion`."""

    stream: Stream
    dm: float
    n_sub: int
    tscrunch: int
    prepare: Preparation
    shifts: npt.NDArray[np.int64]  #: (n_chan) samples by which each channel is moved ahead
    gulp: int  #: samples of output, before they are averaged in time, that are made at a time
    threads: int = 0

    def __repr__(self) -> str:
        return (
            f"<Dedispersion of {self.stream.path} at DM {self.dm:g}: {self.n_sub} sub-bands, {self.tscrunch} samples "
            f"become one, gulps of {self.gulp}>"
        )

    @property
    def complete(self) -> range:
        """Samples of output, before they are averaged in time, for which all channels are within the file.

        Sample 0 is that of the file at the reference frequency: the first may be before it if that is above the band.
        """
        return range(-int(self.shifts.min()), self.stream.n_times - int(self.shifts.max()))

    @property
    def first(self) -> int:
        """First sample of `spectra`: 0, unless the reference frequency is outside of the band."""
        return -max(0, int(self.shifts.min())) + max(0, -int(self.shifts.max()))

    @property
    def sweep(self) -> int:
        """Samples by which gulps overlap."""
        return int(self.shifts.max() - self.shifts.min())

    @property
    def memory_bytes(self) -> int:
        """Memory of a gulp of `blocks`, within the samples that are `complete`."""
        prepare = self.prepare
        return self._block_bytes(
            weighted=self.stream.weighted or prepare.mean is not None or prepare.masked is not None
        )

    @property
    def series_memory_bytes(self) -> int:
        """Memory of a gulp of `series` where it is largest."""
        item, prepare = np.dtype(self.stream.dtype).itemsize, self.prepare
        summed = 4 if prepare.mean is not None else item * (prepare.masked is not None)
        summed = 8 if self.stream.weighted else summed
        held = (self.gulp + self.sweep) * self.stream.n_chan * summed
        return self._read_bytes + held + 40 * self.gulp + _WORK_BYTES

    @property
    def spectra_memory_bytes(self) -> int:
        """Memory of `spectra`: all of it, with its weights, twice for a moment."""
        whole = self.n_sub * (self.stream.n_times // self.tscrunch) * 8
        return max(2 * whole + _WORK_BYTES, whole + self._block_bytes(weighted=True))

    def _block_bytes(self, *, weighted: bool) -> int:
        """Of a gulp where it is largest: read and shifted, averaged, or written."""
        n = self.gulp
        data = np.dtype(self.stream.dtype).itemsize if self.prepare.mean is None else 4
        full, out = self.stream.n_chan * n, self.n_sub * (n // self.tscrunch)
        held = full * (data + (4 if weighted else 0))
        averaged = held + (36 * self.n_sub * n if self.n_sub < self.stream.n_chan else 0)
        if self.tscrunch > 1:
            averaged += 36 * out + (4 * self.n_sub * n if weighted else 0)
        as_they_are = self.n_sub == self.stream.n_chan and self.tscrunch == 1
        written = held + (6 if data == 1 else 8) * full if as_they_are else 16 * out
        return max(self._read_bytes + held, averaged, written) + _WORK_BYTES

    @property
    def _read_bytes(self) -> int:
        """Of a gulp as it is in the file, turned to channels, and prepared."""
        stream, prepare = self.stream, self.prepare
        held = np.dtype(stream.dtype).itemsize * (1 if stream.frugal else 2)
        held += 4 if stream.weighted else 0
        if prepare.mean is not None:
            held += 4
        if stream.weighted and (prepare.mean is not None or prepare.masked is not None):
            held += 4
        return (self.gulp + self.sweep) * stream.n_chan * held

    def need_complete(self) -> range:
        """`complete`, if there is any.

        Raises
        ------
        InputError : the pulse sweeps out of the file
        """
        if len(self.complete) < self.tscrunch:
            raise InputError(too_long(self.stream, self.dm, self.sweep))
        return self.complete

    def blocks(self, span: range, progress: Progress | None = None) -> Iterator[Spectra]:
        """Dedispersed, averaged spectra, gulp by gulp.

        Parameters
        ----------
        span : samples of output before they are averaged in time; what is left over at its end is dropped
        progress : told of the stage dedispersing, in samples

        Yields
        ------
        Spectra
            what lies beyond the ends of the file has weight 0
        """
        stop = span.start + len(span) // self.tscrunch * self.tscrunch
        step = max(1, self.gulp // self.tscrunch) * self.tscrunch
        for begin in range(span.start, stop, step):
            end = min(begin + step, stop)
            yield self._shifted(begin, end).subband(self.n_sub).downsample(self.tscrunch)
            if progress is not None:
                progress(Stage.DEDISPERSING, end - span.start, stop - span.start)

    def series(self, progress: Progress | None = None) -> Iterator[npt.NDArray[np.float32]]:
        """The sum over the channels, gulp by gulp, where all channels are within the file.

        Where weights are not 1 it is the weighted mean times the number of channels; 0 where all weights are 0.

        Parameters
        ----------
        progress : told of the stage dedispersing, in samples

        Raises
        ------
        InputError : the pulse sweeps out of the file
        """
        span = self.need_complete()
        stop = span.start + len(span) // self.tscrunch * self.tscrunch
        step = max(1, self.gulp // self.tscrunch) * self.tscrunch
        lowest = int(self.shifts.min())
        delays = np.ascontiguousarray((self.shifts - lowest)[None], np.int32)
        for begin in range(span.start, stop, step):
            end = min(begin + step, stop)
            read = self.prepare(
                self.stream.spectra(begin + lowest, end - begin + int(delays.max()), self.threads)
            )
            out = np.empty((1, end - begin), np.float32)
            if read.weights is None:
                _core.dedisperse(read.data, delays, out, self.threads)
            elif read.weights.ndim == 1 and np.isin(read.weights, (0, 1)).all():
                use = read.weights > 0
                out[:] = 0
                if use.any():
                    _core.dedisperse(read.data[use], np.ascontiguousarray(delays[:, use]), out, self.threads)
                    out = out / np.float32(use.sum()) * np.float32(read.n_chan)
            else:
                weights = read.weights if read.weights.ndim == 2 else read.weights[:, None]
                weights = np.ascontiguousarray(np.broadcast_to(weights, read.data.shape))
                total = np.empty_like(out)
                _core.dedisperse(read.data * weights, delays, out, self.threads)
                _core.dedisperse(weights, delays, total, self.threads)
                mean = np.divide(out, total, out=np.zeros_like(out), where=total > 0)
                out = np.where(total == read.n_chan, out, mean * np.float32(read.n_chan))
            yield out[0].reshape(-1, self.tscrunch).sum(1, dtype=np.float64).astype(np.float32) / np.float32(
                self.tscrunch
            )
            if progress is not None:
                progress(Stage.DEDISPERSING, end - span.start, stop - span.start)

    def spectra(self, progress: Progress | None = None) -> Spectra:
        """All of it in memory, as long as the file: what lies beyond its ends has weight 0.

        Parameters
        ----------
        progress : told of the stage dedispersing, in samples

        Raises
        ------
        InputError : the file is shorter than one averaged sample
        """
        n_out = self.stream.n_times // self.tscrunch
        if n_out < 1:
            raise InputError(
                f"{self.stream.path}: cannot average {self.tscrunch} of {self.stream.n_times} samples: take fewer"
            )
        first = self.first
        parts = list(self.blocks(range(first, first + self.stream.n_times), progress))
        data = np.concatenate([part.data for part in parts], axis=1)
        weights = None
        if any(part.weights is not None for part in parts):
            weights = np.concatenate([_whole(part) for part in parts], axis=1)
        return replace(parts[0], data=data, weights=weights)

    def _shifted(self, begin: int, end: int) -> Spectra:
        """Dedispersed samples at full resolution."""
        stream, n = self.stream, end - begin
        low = min(max(0, begin + int(self.shifts.min())), stream.n_times - 1)
        high = max(min(stream.n_times, end + int(self.shifts.max())), low + 1)
        read = self.prepare(stream.spectra(low, high - low, self.threads))
        inside = begin + self.shifts.min() >= 0 and end + self.shifts.max() <= stream.n_times
        data = np.zeros((stream.n_chan, n), read.data.dtype)
        weights = None if inside and read.weights is None else np.zeros((stream.n_chan, n), np.float32)
        for channel, shift in enumerate(begin + self.shifts - low):
            first, last = max(0, int(shift)), min(read.n_times, int(shift) + n)
            if first >= last:
                continue
            place = slice(first - int(shift), last - int(shift))
            data[channel, place] = read.data[channel, first:last]
            if weights is not None:
                if read.weights is None:
                    weights[channel, place] = 1
                elif read.weights.ndim == 1:
                    weights[channel, place] = read.weights[channel]
                else:
                    weights[channel, place] = read.weights[channel, first:last]
        start = None if stream.start_mjd is None else stream.start_mjd + begin * stream.dt_s / 86400
        return replace(read, data=data, weights=weights, dm=self.dm, start_mjd=start)


@old_keywords("nsub", "nthreads")
def plan_dedispersion(
    stream: Stream,
    dm: float,
    *,
    n_sub: int | None = None,
    tscrunch: int = 1,
    prepare: Preparation | None = None,
    reference: Reference = "top",
    gulp: int | None = None,
    threads: int = 0,
) -> Dedispersion:
    """Prepare to dedisperse a file.

    Parameters
    ----------
    stream : the file
    dm : pc/cm^3
    n_sub : number of sub-bands that are left, divides the number of channels; default all
    tscrunch : number of samples that become one
    prepare : what is done to the spectra before
    reference : the frequency that stays where it is: top, bottom, centre, infinity or MHz
    gulp : samples that are made at a time; the result does not depend on it
    threads : 0 for all cores; the result does not depend on it

    Returns
    -------
    Dedispersion

    Raises
    ------
    InputError : numbers that make no sense

    Examples
    --------
    >>> from pathlib import Path
    >>> from mwaconvert.spectra.stream import ArrayStream
    >>> stream = ArrayStream(Spectra(np.ones((16, 3000)), 1200.0 + 10 * np.arange(16), 1e-3), Path("ones"), "memory")
    >>> plan_dedispersion(stream, 100, n_sub=4, tscrunch=2).spectra().data.shape
    (4, 1500)
    """
    if not np.isfinite(dm):
        raise InputError(f"a DM of {dm}: expected a finite number, pc/cm^3")
    n_sub = stream.n_chan if n_sub is None else n_sub
    if n_sub < 1 or stream.n_chan % n_sub:
        raise InputError(f"{stream.path}: {indivisible(n_sub, stream.n_chan)}")
    if not 1 <= tscrunch <= stream.n_times:
        raise InputError(
            f"{stream.path}: cannot average {tscrunch} of {stream.n_times} samples: take 1 to {stream.n_times}"
        )
    if gulp is not None and gulp < 1:
        raise InputError(f"a gulp of {gulp} samples: expected 1 or more")
    per_dm = delay_per_dm(stream.freq_mhz, reference, stream.k_dm) / stream.dt_s
    if not abs(dm - stream.dm) * float(abs(per_dm).max()) < _LONGEST:
        raise InputError(too_long(stream, dm, abs(dm - stream.dm) * float(np.ptp(per_dm))))
    shifts = delay_samples(dm - stream.dm, per_dm)[0].astype(np.int64)
    sweep = int(shifts.max() - shifts.min())
    if gulp is None:
        gulp = max(min(4096, stream.n_times), GULP_BYTES // stream.bytes_per_sample - sweep)
    gulp = min(gulp, stream.n_times)
    return Dedispersion(stream, float(dm), n_sub, tscrunch, prepare or Preparation(), shifts, gulp, threads)


def too_long(stream: Stream, dm: float, sweep: float) -> str:
    """What to say if a pulse takes longer to cross the band than a file lasts."""
    most = (
        stream.dm
        + (stream.n_times - 1) * stream.dt_s / delay_per_dm(stream.freq_mhz, "top", stream.k_dm).max()
    )
    return (
        f"{stream.path}: a pulse of DM {dm:g} crosses the band in {sweep * stream.dt_s:.4g} s, the file lasts "
        f"{stream.n_times * stream.dt_s:.4g} s: take DMs below {most:.4g}"
    )


def _whole(spectra: Spectra) -> npt.NDArray[np.float32]:
    if spectra.weights is None:
        return np.ones(spectra.data.shape, np.float32)
    weights = spectra.weights if spectra.weights.ndim == 2 else spectra.weights[:, None]
    return np.asarray(np.broadcast_to(weights, spectra.data.shape))
