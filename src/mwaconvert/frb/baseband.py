"""Voltages of an event to a waterfall: coherent dedispersion, Stokes parameters, finer channels, channels aligned."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from mwaconvert.errors import InputError, ResourceError
from mwaconvert.formats.spectra.chime_baseband import (
    FRAME_S,
    TOP_MHZ,
    WIDTH_MHZ,
    ArrayBaseband,
    Baseband,
    Complex,
    Of,
)
from mwaconvert.machine import free_bytes
from mwaconvert.spectra.dispersion import K_DM
from mwaconvert.spectra.recording import Recording
from mwaconvert.spectra.spectra import Spectra
from mwaconvert.spectra.voltages import Voltages
from mwaconvert.text import size_text

_RATE_HZ = 1 / FRAME_S
_SIDEBAND = -1  # within a channel frequencies run against those of the sky: second Nyquist zone
Floats = npt.NDArray[np.float32]


class Stokes(StrEnum):
    """Of the polarisations X (S) and Y (E), in the signs of CHIME/FRB's programs."""

    I = "I"  # noqa: E741  #: |X|^2 + |Y|^2
    Q = "Q"  #: |X|^2 - |Y|^2
    U = "U"  #: 2 Re(X Y*)
    V = "V"  #: -2 Im(X Y*)


@dataclass(frozen=True, kw_only=True)
class Making:
    """How voltages become a waterfall.

    Parameters
    ----------
    stokes : which parameter; of inputs only I, their incoherent sum
    pointing : of beams: which, counted from 0
    upchannels : each channel is split into so many: a transform of twice as many samples, the mean of pairs
    average : samples that become one
    """

    stokes: Stokes = Stokes.I
    pointing: int = 0
    upchannels: int = 1
    average: int = 1


def good_span(values: Complex) -> tuple[int, int]:
    """The samples from the first that is there to the next that is not.

    Parameters
    ----------
    values : (n_input, n)

    Examples
    --------
    >>> good_span(np.array([[np.nan, 1, 2, np.nan, 3]], np.complex64))
    (1, 3)
    """
    there: npt.NDArray[np.bool_] = np.asarray(np.isfinite(values).all(axis=0))
    if not there.any():
        return 0, 0
    first = int(there.argmax())
    gone = ~there[first:]
    return first, first + int(gone.argmax()) if gone.any() else int(there.size)


def dedisperse_channel(
    values: Complex, freq_mhz: float, dm: float, *, published: bool = False, threads: int = 0
) -> Complex:
    """Remove the dispersion within a channel; what its centre receives stays where it is.

    Parameters
    ----------
    values : (n_input, n); used from the first sample that is there to the next NaN
    freq_mhz : its centre
    dm : pc/cm^3 to remove
    published : multiply as CHIME/FRB's public programs do, by exp(2 pi i K DM f^2 / ((f0 + f) f0^2)) of one transform:
        its denominator is that of the other sense of frequency, and what leaves one end comes in at the other
    threads : 0 for all cores

    Returns
    -------
    (n_input, n) NaN where the pulse is not whole
    """
    out = np.full_like(values, np.nan)
    first, last = good_span(values)
    if first == last:
        return out
    if published:
        f = np.fft.fftfreq(last - first, FRAME_S) * 1e-6
        phase = 2e6 * np.pi * K_DM * dm * f**2 / ((freq_mhz + f) * freq_mhz**2)
        spectrum = np.fft.fft(values[:, first:last], axis=1) * np.exp(1j * phase)
        out[:, first:last] = np.fft.ifft(spectrum, axis=1)
        return out
    voltages = Voltages(values[:, None, first:last], np.array([freq_mhz]), _RATE_HZ, sideband=_SIDEBAND)
    before, after = voltages.margins(dm)
    if before + after < last - first:
        out[:, first + before : last - after] = voltages.dedisperse(dm, threads).data[:, 0]
    return out


def dedisperse(baseband: Baseband, dm: float, *, published: bool = False, threads: int = 0) -> Baseband:
    """Voltages of which dispersion within channels is removed; those given stay as they are.

    Parameters
    ----------
    baseband : whatever DM is removed of them already
    dm : pc/cm^3, the sum of what is removed then
    published : see `dedisperse_channel`
    threads : 0 for all cores
    """
    if not np.isfinite(dm):
        raise InputError(f"a DM of {dm}: expected a finite number, pc/cm^3", option="dm")
    _check_memory(baseband, 8 * baseband.freq_id.size * baseband.n_input * baseband.n_times)
    data = np.full((baseband.freq_id.size, baseband.n_input, baseband.n_times), np.nan, np.complex64)
    for k, freq_mhz in enumerate(baseband.freq_mhz):
        values = baseband.read(k)
        if dm != baseband.dm:
            values = dedisperse_channel(
                values, freq_mhz, dm - baseband.dm, published=published, threads=threads
            )
        data[k, :, : values.shape[1]] = values
    return ArrayBaseband(
        data,
        of=baseband.of,
        freq_id=baseband.freq_id,
        time0=baseband.time0,
        dm=dm,
        event=baseband.event,
        locations=baseband.locations,
    )


def waterfall(
    baseband: Baseband, dm: float, making: Making | None = None, *, published: bool = False, threads: int = 0
) -> Spectra:
    """Power of an event, dedispersed within and between channels; a channel at a time is in memory.

    Parameters
    ----------
    baseband : of an event
    dm : pc/cm^3
    making : how
    published : see `dedisperse_channel`
    threads : 0 for all cores

    Returns
    -------
    Spectra
        from the lowest channel that is there to the highest; channels between that are missing have weight 0. Its start
        is that of the first sample at the centre of the highest channel

    Raises
    ------
    InputError : numbers that make no sense
    FormatError : a file is damaged
    ResourceError : there is no memory for it
    """
    making = making or Making()
    _check(baseband, dm, making)
    n_up, n_fft = making.upchannels, _transform(making)
    dt_s = FRAME_S * n_fft
    ids = baseband.freq_id
    rows = (int(ids[-1] - ids[0]) + 1) * n_up
    # what was dedispersed coherently arrives in all finer channels when it arrives at the centre of their channel
    delays = K_DM * dm * (baseband.freq_mhz**-2.0 - float(baseband.freq_mhz[0]) ** -2.0)
    starts = baseband.starts_s() - delays
    first_s = float(starts.min())
    places = np.rint((starts - first_s) / dt_s).astype(np.int64)
    n_out = -(-(int(places.max()) + baseband.n_times // n_fft) // making.average)
    _check_memory(baseband, 8 * rows * n_out)
    data, weights = (np.zeros((rows, n_out), np.float32) for _ in range(2))
    for k in range(ids.size):
        values = _polarisations(baseband, k, making)
        if dm != baseband.dm:
            values = dedisperse_channel(
                values, baseband.freq_mhz[k], dm - baseband.dm, published=published, threads=threads
            )
        power = _power(_channelized(values, n_fft), making, of_inputs=baseband.of is Of.INPUTS)
        row = (int(ids[-1] - ids[k])) * n_up
        for j, series in enumerate(power):
            _place(series, int(places[k]), making.average, data[row + j], weights[row + j])
    grid = (np.arange(ids[-1], ids[0] - 1, -1)[:, None] * -WIDTH_MHZ + TOP_MHZ + _fine_mhz(n_up)).ravel()
    return Spectra(
        data,
        grid,
        dt_s * making.average,
        weights=weights,
        dm=dm,
        start_mjd=baseband.start_mjd + first_s / 86400,
        source="" if baseband.event is None else f"event {baseband.event}",
        recording=Recording(telescope="CHIME"),
    )


def _check(baseband: Baseband, dm: float, making: Making) -> None:
    n = baseband.n_times // _transform(making) if making.upchannels >= 1 else 0
    if not np.isfinite(dm):
        raise InputError(f"a DM of {dm}: expected a finite number, pc/cm^3", option="dm")
    if making.upchannels < 1 or n < 1:
        raise InputError(
            f"`upchannels={making.upchannels}`: {baseband.n_times} samples cannot be split so",
            option="upchannels",
        )
    if not 1 <= making.average <= n:
        raise InputError(f"`average={making.average}`: expected 1 to {n} samples", option="average")
    if baseband.of is Of.INPUTS and making.stokes is not Stokes.I:
        raise InputError(
            f"`stokes={making.stokes}`: of inputs there is only the sum of their power, I", option="stokes"
        )
    if baseband.of is Of.BEAMS and not 0 <= making.pointing < baseband.n_input // 2:
        raise InputError(
            f"`pointing={making.pointing}`: there are {baseband.n_input // 2}, counted from 0",
            option="pointing",
        )


def _check_memory(baseband: Baseband, needed: int) -> None:
    free = free_bytes()
    if needed > free:
        raise ResourceError(
            f"{baseband.path}: this takes {size_text(needed)} of memory, this machine has {size_text(free)} free: "
            "average more samples",
            option="average",
        )


def _transform(making: Making) -> int:
    """Samples of a transform."""
    return 1 if making.upchannels == 1 else 2 * making.upchannels


def _fine_mhz(n_up: int) -> npt.NDArray[np.float64]:
    """(n_up) MHz from the centre of a channel to those of the finer ones, ascending: pairs of 2 n_up bins."""
    if n_up == 1:
        return np.zeros(1)
    bins = np.arange(2 * n_up) - (n_up - 1)  # against the sky
    return np.asarray(bins.reshape(n_up, 2).mean(1) * WIDTH_MHZ / (2 * n_up))


def _polarisations(baseband: Baseband, channel: int, making: Making) -> Complex:
    values = baseband.read(channel)
    if baseband.of is Of.INPUTS:
        return values
    return values[2 * making.pointing : 2 * making.pointing + 2]


def _channelized(values: Complex, n_fft: int) -> Complex:
    """(n_input, n_fft, n) bins of ascending frequency of the sky."""
    n = values.shape[1] // n_fft
    if n_fft == 1:
        return values[:, None, :]
    folded = values[:, : n * n_fft].reshape(len(values), n, n_fft)
    bins = np.fft.fftshift(np.fft.fft(folded, axis=2), axes=2)[..., ::-1]
    return np.asarray(np.moveaxis(bins, 2, 1), np.complex64)


def _power(bins: Complex, making: Making, *, of_inputs: bool) -> Floats:
    """(n_up, n) of a Stokes parameter: the mean of pairs of bins."""
    power = (np.abs(bins) ** 2).sum(0) if of_inputs else stokes_of(bins[0], bins[1], making.stokes)
    if making.upchannels > 1:
        power = power.reshape(making.upchannels, 2, -1).mean(1)
    return np.asarray(power, np.float32)


def stokes_of(x: Complex, y: Complex, stokes: Stokes) -> Floats:
    """A Stokes parameter of two polarisations.

    Examples
    --------
    >>> [float(stokes_of(np.complex64(1), np.complex64(1j), s)) for s in Stokes]
    [2.0, 0.0, 0.0, 2.0]
    """
    if stokes is Stokes.U:
        return np.asarray(2 * (x * np.conj(y)).real, np.float32)
    if stokes is Stokes.V:
        return np.asarray(-2 * (x * np.conj(y)).imag, np.float32)
    sign = 1 if stokes is Stokes.I else -1
    return np.asarray(np.abs(x) ** 2 + sign * np.abs(y) ** 2, np.float32)


def _place(series: Floats, first: int, average: int, data: Floats, weights: Floats) -> None:
    """Add a series to the samples in which it falls: their mean, and the part of them that is there."""
    seen = np.isfinite(series)
    before = first % average
    n = -(-(before + series.size) // average)
    padded = np.zeros((2, n * average))
    padded[0, before : before + series.size] = np.where(seen, series, 0)
    padded[1, before : before + series.size] = seen
    total, count = padded.reshape(2, n, average).sum(2)
    at = slice(first // average, first // average + n)
    room = data[at].size  # an end that falls beyond has nothing of its own
    data[at] = np.divide(total, count, out=np.zeros(n), where=count > 0)[:room]
    weights[at] = (count / average)[:room]
