"""Pulses added to spectra of any file, and how many of them a search finds."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from math import erf, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mwaconvert import __version__
from mwaconvert.errors import InputError
from mwaconvert.spectra.dispersion import delay_per_dm
from mwaconvert.spectra.stream import Data, Stream, Weights
from mwaconvert.transients.prepare import channel_statistics

if TYPE_CHECKING:
    from mwaconvert.progress import Progress

Floats = npt.NDArray[np.float64]

_SIGMA = 1 / 2.354820045  # of a Gaussian, over its full width at half maximum
_REACH = 6.0  # standard deviations on either side at which a pulse ends
_TAIL = 12.0  # scattering times after which its tail ends
_DITHER_BLOCK = 4096  # samples whose rounding has one seed
_GRID = np.linspace(-8, 8, 1601)
_NORMAL = np.array([0.5 * (1 + erf(x / sqrt(2))) for x in _GRID])


@dataclass(frozen=True, kw_only=True)
class Injected:
    """A pulse to add.

    Parameters
    ----------
    time_s : middle at the centre of the highest channel, from the start of the data
    dm : pc/cm^3, above that of the data
    width_s : full width at half maximum, without the smear of the channels
    snr : of the matched filter, in channels that have the noise of the data
    scattering_s : 1/e time of a one-sided exponential at 1 GHz; it goes with frequency^-4
    index : of the spectrum, a power law
    """

    time_s: float
    dm: float
    width_s: float
    snr: float
    scattering_s: float = 0.0
    index: float = 0.0


class InjectedStream(Stream):
    """A file with pulses added, as if it held them; whole numbers stay such, rounded at random so that means stay.

    Parameters
    ----------
    whole : the file
    pulses : what to add
    noise : (n_chan) standard deviation of each channel; channels where it is 0 get nothing
    seed : of the rounding
    """

    def __init__(self, whole: Stream, pulses: list[Injected], noise: Floats, seed: int = 0) -> None:
        names = [f.name for f in fields(Stream)]
        super().__init__(**{name: getattr(whole, name) for name in names})
        self._whole, self._seed = whole, seed
        self.pulses = pulses
        self._shapes = [_Shape(whole, pulse, noise) for pulse in pulses]
        self.most = 255

    def read(self, first: int, count: int, threads: int = 0) -> tuple[Data, Weights]:
        data, weights = self._whole.read(first, count, threads)
        added = np.zeros(data.shape, np.float32)
        for shape in self._shapes:
            shape.add(added, first)
        if data.dtype != np.uint8:
            return np.asarray(data + added, np.float32), weights
        touched = np.asarray(added.any(axis=0))
        out = np.array(data, np.uint8)
        for begin in range(first // _DITHER_BLOCK * _DITHER_BLOCK, first + count, _DITHER_BLOCK):
            low, high = max(begin, first) - first, min(begin + _DITHER_BLOCK, first + count) - first
            if not touched[low:high].any():
                continue
            rng = np.random.default_rng([self._seed, begin])
            dither = rng.random((_DITHER_BLOCK, data.shape[0]))
            dither = dither[max(begin, first) - begin : min(begin + _DITHER_BLOCK, first + count) - begin].T
            more = added[:, low:high]
            part = np.floor(out[:, low:high] + more + dither).clip(0, self.most)
            out[:, low:high] = np.where(more != 0, part, out[:, low:high])
        return out, weights

    def close(self) -> None:
        self._whole.close()


class _Shape:
    """One pulse, channel by channel."""

    def __init__(self, stream: Stream, pulse: Injected, noise: Floats) -> None:
        if not (pulse.width_s > 0 and pulse.dm >= 0 and np.isfinite([pulse.snr, pulse.time_s]).all()):
            raise InputError(f"a pulse of DM {pulse.dm:g} and {pulse.width_s:g} s cannot be added")
        freqs, dt_s = stream.freq_mhz, stream.dt_s
        half = abs(stream.df_mhz) / 2
        smear = stream.k_dm * pulse.dm * ((freqs - half) ** -2.0 - (freqs + half) ** -2.0)
        self._sigma = np.hypot(pulse.width_s * _SIGMA, smear / sqrt(12)) / dt_s
        self._middle = (pulse.time_s + pulse.dm * delay_per_dm(freqs, "top", stream.k_dm)) / dt_s
        self._tau = pulse.scattering_s * (freqs / 1000) ** -4.0 / dt_s
        spectrum = np.where(noise > 0, (freqs / freqs.mean()) ** pulse.index, 0.0)
        self._amplitude = spectrum
        energy = sum(
            (self._channel(c)[1] ** 2).sum() / noise[c] ** 2 for c in range(freqs.size) if noise[c] > 0
        )
        if not energy > 0:
            raise InputError("there is no channel that a pulse can be added to")
        self._amplitude = spectrum * (pulse.snr / sqrt(energy))

    def _channel(self, c: int) -> tuple[int, Floats]:
        """First sample, and what is added from there on."""
        sigma, tau = float(self._sigma[c]), float(self._tau[c])
        first = int(np.floor(self._middle[c] - _REACH * sigma))
        end = int(np.ceil(self._middle[c] + _REACH * sigma + _TAIL * tau)) + 1
        edges = (np.arange(first, end + 1) - self._middle[c]) / sigma
        shape = np.diff(np.interp(edges, _GRID, _NORMAL))
        if tau > 0.05:
            tail = -np.diff(np.exp(-np.arange(shape.size + 1) / tau))
            shape = np.convolve(shape, tail)[: shape.size]
        return first, shape * self._amplitude[c]

    def add(self, out: npt.NDArray[np.float32], first: int) -> None:
        """Add to samples from `first` on, (n_chan, n)."""
        n = out.shape[1]
        reach = _REACH * self._sigma + _TAIL * self._tau + 2
        near = (self._middle + reach > first) & (self._middle - reach < first + n)
        for c in np.flatnonzero(near & (self._amplitude != 0)):
            begin, values = self._channel(int(c))
            low, high = max(begin, first), min(begin + values.size, first + n)
            if low < high:
                out[c, low - first : high - first] += values[low - begin : high - begin]


def channel_noise(stream: Stream, progress: Progress | None = None, threads: int = 0) -> Floats:
    """(n_chan) standard deviation of each channel over the file; 0 of channels that are much noisier than most."""
    _, std = channel_statistics(stream, progress, threads)
    typical = np.median(std[std > 0]) if (std > 0).any() else 0.0
    return np.where(std < 5 * typical, std, 0.0)


def random_pulses(
    stream: Stream,
    n: int,
    dms: tuple[float, float],
    widths_s: tuple[float, float],
    snrs: tuple[float, float],
    seed: int = 0,
) -> list[Injected]:
    """Pulses at random times, evenly spread in DM and S/N, and in the logarithm of the width.

    Each has a stretch of the file for itself.

    Parameters
    ----------
    stream : the file
    n : pulses
    dms, widths_s, snrs : ranges
    seed : of the random numbers

    Raises
    ------
    InputError : the file is too short for a sweep
    """
    rng = np.random.default_rng([seed, n])
    across = float(delay_per_dm(stream.freq_mhz, "top", stream.k_dm).max())
    last = stream.n_times * stream.dt_s - dms[1] * across - 6 * widths_s[1]
    if last <= 0:
        raise InputError(f"{stream.path}: too short for a pulse of DM {dms[1]:g}")
    out = []
    for k in range(n):
        out.append(
            Injected(
                time_s=float(last * (k + rng.uniform(0.2, 0.8)) / n),
                dm=float(rng.uniform(*dms)),
                width_s=float(np.exp(rng.uniform(*np.log(widths_s)))),
                snr=float(rng.uniform(*snrs)),
            )
        )
    return out


def truth_table(pulses: list[Injected], **more: Any) -> str:
    """Pulses as CSV.

    Parameters
    ----------
    more : further columns, a value for each pulse
    """
    names = [f.name for f in fields(Injected)]
    lines = [f"# program: mwaconvert {__version__}", ",".join([*names, *more])]
    for k, pulse in enumerate(pulses):
        cells = [f"{getattr(pulse, name):.9g}" for name in names]
        lines.append(",".join([*cells, *(str(column[k]) for column in more.values())]))
    return "\n".join(lines) + "\n"


def with_dm(pulses: list[Injected], dm_data: float) -> list[Injected]:
    """The same pulses, at DMs above that of the data."""
    return [replace(p, dm=p.dm - dm_data) for p in pulses]
