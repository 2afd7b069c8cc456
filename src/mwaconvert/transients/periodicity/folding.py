"""Fold spectra at a period: by parts of time and of the band, and what period and DM they fit best."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.errors import InputError
from mwaconvert.progress import Progress
from mwaconvert.spectra.dispersion import delay_per_dm
from mwaconvert.spectra.recording import Frame
from mwaconvert.spectra.stream import Stream
from mwaconvert.transients.periodicity.profiles import boxcar_snr, drifted, likeliest_drift
from mwaconvert.transients.periodicity.source import Source

Floats = npt.NDArray[np.float64]

_NO_WEIGHTS = np.empty((0, 0), np.float32)
_STRAIGHT_S = 8.0  # for which a phase may be taken as a straight line
_HALF = 32  # steps of a diagram on either side, each of a bin of drift or of delay


@dataclass(frozen=True)
class Rotation:
    """How the phase goes on.

    Parameters
    ----------
    period_s : at the start of the data
    pdot : s/s
    barycentric : whether the period is that at the barycentre of the solar system, not at the telescope
    """

    period_s: float
    pdot: float = 0.0
    barycentric: bool = False

    def phase(self, times_s: npt.ArrayLike, stream: Stream) -> Floats:
        """Cycles since the start of the data.

        Parameters
        ----------
        times_s : from the start of the file
        stream : the file, for its start, its telescope and its direction
        """
        times = np.asarray(times_s, np.float64)
        if self.barycentric and stream.recording.frame is Frame.TOPOCENTRIC:
            times = _at_barycentre(times, stream)
        freq_hz = 1 / self.period_s
        return np.asarray(freq_hz * times - self.pdot * (freq_hz * times) ** 2 / 2)


def _at_barycentre(times: Floats, stream: Stream) -> Floats:
    """Seconds at the barycentre since the start of the file, by straight lines over 8 s at most."""
    from mwaconvert.transients.barycentre import barycentric_mjd

    assert stream.start_mjd is not None  # checked by who plans the fold
    last = stream.n_times * stream.dt_s
    knots = np.linspace(0, last, max(2, int(last / _STRAIGHT_S) + 2))
    delays = (barycentric_mjd(stream.start_mjd + knots / 86400, stream.recording) - stream.start_mjd) * 86400
    # MJDs are known to a microsecond: what is left of it is a smooth curve
    slow = np.polynomial.Polynomial.fit(knots, delays - knots, min(5, knots.size - 1))
    return np.asarray(times + slow(times) - slow(0.0))


@dataclass(frozen=True, eq=False, repr=False)
class Folded:
    """A fold, by parts.

    Attributes
    ----------
    cube : (n_part, n_band, n_bin) means; parts of time, and of the band from the lowest
    counts : of the same shape: samples
    rotation, dm : at which it was folded; pc/cm^3
    length_s : of the data
    freq_mhz : (n_band) centres, weighted by nothing
    across_s : (n_band) delay of each part of the band against the highest channel per unit of DM
    """

    cube: Floats
    counts: Floats
    rotation: Rotation
    dm: float
    length_s: float
    freq_mhz: Floats
    across_s: Floats
    noise: Floats = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "noise", _band_noise(self.cube, self.counts))

    def __repr__(self) -> str:
        n_part, n_band, n_bin = self.cube.shape
        return (
            f"<Folded: P = {self.rotation.period_s:.9g} s, DM = {self.dm:g}, {n_part} parts, {n_band} sub-bands, "
            f"{n_bin} bins>"
        )

    @property
    def scaled(self) -> Floats:
        """(n_part, n_band, n_bin) about 0, in units in which the sum of all has noise of variance 1 in each bin."""
        used = self.noise > 0
        means = self.cube - self.cube.mean(2, keepdims=True)
        units = np.divide(1, self.noise, out=np.zeros_like(self.noise), where=used)[None, :, None]
        # by the number of samples: as their sum would have it
        weights = self.counts.mean(2, keepdims=True)
        total = (weights * used[None, :, None]).sum()
        return np.asarray(means * units * weights / math.sqrt(max(total, 1e-30)))

    def at_dm(self, dm: float) -> Floats:
        """(n_part, n_bin) parts of time at another DM, by whole bins."""
        n_bin = self.cube.shape[2]
        shifts = np.rint((dm - self.dm) * self.across_s / self.rotation.period_s * n_bin).astype(np.int64)
        bins = np.arange(n_bin)
        scaled = self.scaled
        out = np.zeros((scaled.shape[0], n_bin))
        for band, shift in enumerate(shifts):
            out += scaled[:, band, (bins + shift) % n_bin]
        return out

    def diagram(self) -> Diagram:
        """S/N about the period and the DM of the fold: steps of a bin of drift, or of delay across the band."""
        n_bin = self.cube.shape[2]
        period_s = self.rotation.period_s
        drifts = np.arange(-_HALF, _HALF + 1, dtype=np.float64) * max(1, n_bin // (2 * _HALF))
        widest = float(self.across_s.max())
        step = 0.0 if widest == 0 else period_s / n_bin / widest
        dms = self.dm + step * np.arange(-_HALF, _HALF + 1) if widest else np.array([self.dm])
        dms = dms[dms >= 0]
        snr = np.stack([boxcar_snr(drifted(self.at_dm(float(dm)), drifts))[0] for dm in dms])
        periods_s: Floats = 1 / (1 / period_s - drifts / n_bin / self.length_s)
        return Diagram(periods_s, np.asarray(dms, np.float64), snr)

    def best(self, diagram: Diagram) -> BestFold:
        """The period and the DM at which the pulse is strongest."""
        n_bin = self.cube.shape[2]
        period_s = self.rotation.period_s
        row, column = np.unravel_index(int(diagram.snr.argmax()), diagram.snr.shape)
        dm = float(diagram.dms[row])
        parts = self.at_dm(dm)
        start = (1 / period_s - 1 / float(diagram.periods_s[column])) * n_bin * self.length_s
        width = int(boxcar_snr(drifted(parts, np.array([start])))[2][0])
        drift, drift_err = likeliest_drift(parts, start, n_bin / width)
        dm_shift, shift_err = self._band_shift(dm, drift, n_bin / width)
        dm += dm_shift
        profile = drifted(self.at_dm(dm), np.array([drift]))[0]
        snr, first, width_bins = boxcar_snr(profile)
        freq_hz = 1 / period_s - drift / n_bin / self.length_s
        return BestFold(
            period_s=1 / freq_hz,
            period_err_s=drift_err / n_bin / self.length_s / freq_hz**2,
            dm=dm,
            dm_err=shift_err,
            snr=float(snr),
            width_s=int(width_bins) / n_bin / freq_hz,
            phase=(int(first) + int(width_bins) / 2) / n_bin % 1,
            profile=profile,
        )

    def _band_shift(self, dm: float, drift: float, n_harmonic: float) -> tuple[float, float]:
        """What is to be added to a DM, and its error, by the phases of the sub-bands."""
        n_bin = self.cube.shape[2]
        reach = float(np.ptp(self.across_s))
        if self.cube.shape[1] < 2 or reach == 0:
            return 0.0, math.nan
        # what drifts in time is aligned; then delays across the band are a drift too, not an even one
        scaled = self.scaled
        shifts = np.rint((dm - self.dm) * self.across_s / self.rotation.period_s * n_bin).astype(np.int64)
        bins = np.arange(n_bin)
        bands = np.stack(
            [
                drifted(scaled[:, band, (bins + shift) % n_bin], np.array([drift]))[0]
                for band, shift in enumerate(shifts)
            ]
        )
        at = (self.across_s - self.across_s.mean()) / reach
        shift, err = likeliest_drift(bands, 0.0, n_harmonic, at)
        per_bin = self.rotation.period_s / n_bin / reach
        return max(shift * per_bin, -dm), err * per_bin


@dataclass(frozen=True, eq=False)
class Diagram:
    """S/N for periods and DMs.

    Attributes
    ----------
    periods_s : (n_period) ascending
    dms : (n_dm) pc/cm^3
    snr : (n_dm, n_period)
    """

    periods_s: Floats
    dms: Floats
    snr: Floats


@dataclass(frozen=True, eq=False)
class BestFold:
    """Where a fold is strongest; errors are standard deviations.

    Attributes
    ----------
    period_s, dm : of the middle of the data; s, pc/cm^3
    snr, width_s : best boxcar
    phase : of the middle of this boxcar
    profile : (n_bin) noise has variance 1
    """

    period_s: float
    period_err_s: float
    dm: float
    dm_err: float
    snr: float
    width_s: float
    phase: float
    profile: Floats


def _band_noise(cube: Floats, counts: Floats) -> Floats:
    """(n_band) standard deviation of a sample: of what is left without the mean profile of the band and slow changes."""
    n_part, _, n_bin = cube.shape
    left = cube - cube.mean(2, keepdims=True)
    if n_part > 1:
        left = left - left.mean(0, keepdims=True)
        freedom = n_part - 1
        variance = (counts * left**2).sum(0) / freedom * (n_bin / (n_bin - 1))
        # the median over the bins: pulses may vary; that of chi^2 by Wilson and Hilferty
        return np.asarray(np.sqrt(np.median(variance, axis=1) / (1 - 2 / (9 * freedom)) ** 3))
    # of one part: differences of neighbouring bins
    steps = np.diff(left, axis=2, append=left[:, :, :1])
    return np.asarray(np.sqrt((counts * steps**2).mean((0, 2)) / 2))


def fold(
    source: Source,
    rotation: Rotation,
    dm: float,
    *,
    n_bin: int,
    n_part: int,
    n_band: int,
    progress: Progress | None = None,
) -> Folded:
    """Fold a file.

    Parameters
    ----------
    source : the file, and what is done to it
    rotation : phases, at the highest channel
    dm : pc/cm^3
    n_bin : of a period
    n_part, n_band : parts of the time, of the band
    progress : told of the stage dedispersing, in samples

    Raises
    ------
    InputError : numbers that make no sense
    """
    stream = source.stream
    if not 1 <= n_band <= stream.n_chan or not 1 <= n_part <= stream.n_times:
        raise InputError(
            f"{stream.path}: {n_band} sub-bands of {stream.n_chan} channels, {n_part} parts of {stream.n_times} samples"
        )
    delays = (dm - stream.dm) * delay_per_dm(stream.freq_mhz, "top", stream.k_dm)
    shift = delays / rotation.period_s
    edges = np.linspace(0, stream.n_chan, n_band + 1).astype(np.int32)
    marks = np.linspace(0, stream.n_times, n_part + 1).astype(np.int64)
    sums, counts = np.zeros((2, n_part, n_band, n_bin))
    straight = max(1, int(_STRAIGHT_S / stream.dt_s))
    for first, data, weights in source.pieces(0, progress):
        for begin, end, part in _stretches(first, first + data.shape[1], marks, straight):
            place = slice(begin - first, end - first)
            low, high = rotation.phase((np.array([begin, end]) + 0.5) * stream.dt_s, stream)
            _core.fold(
                data=np.ascontiguousarray(data[:, place]),
                weights=_NO_WEIGHTS if weights is None else np.ascontiguousarray(weights[:, place]),
                phase=float(low),
                step=float(high - low) / (end - begin),
                shift=shift,
                edges=edges,
                sums=sums[part],
                counts=counts[part],
                threads=source.threads,
            )
    means = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
    per_dm = delay_per_dm(stream.freq_mhz, "top", stream.k_dm)
    across = np.array([per_dm[a:b].mean() for a, b in pairwise(edges)])
    freq_mhz = np.array([stream.freq_mhz[a:b].mean() for a, b in pairwise(edges)])
    return Folded(means, counts, rotation, dm, stream.n_times * stream.dt_s, freq_mhz, across)


def _stretches(first: int, stop: int, marks: npt.NDArray[np.int64], most: int) -> list[tuple[int, int, int]]:
    """Samples of a piece of the file that have one part and a straight phase: (first, end, part)."""
    out = []
    begin = first
    while begin < stop:
        part = int(np.searchsorted(marks, begin, "right")) - 1
        end = min(stop, int(marks[part + 1]), begin + most)
        out.append((begin, end, part))
        begin = end
    return out
