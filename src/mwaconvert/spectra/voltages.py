"""Complex voltages: coherent dedispersion within channels, finer channels, detection."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.errors import InputError
from mwaconvert.spectra.aliases import old_keywords, old_names
from mwaconvert.spectra.dispersion import K_DM
from mwaconvert.spectra.spectra import Spectra

Complex = npt.NDArray[np.complex64]

_SHORTEST = 1 << 14  # transforms shorter than this spend their time elsewhere
_MARGIN = 64  # samples by which the ends of segments overlap beyond the delays: edges of channels ring
_BLOCK = 1 << 20  # voltages that are detected at a time


@old_names("freqs", "nsamp")
@dataclass(frozen=True, eq=False, repr=False)
class Voltages:
    """Voltages of inputs (antennas, polarisations) by channel and time. Methods return new voltages.

    Parameters
    ----------
    data : (n_input, n_chan, n_times) complex64
    freq_mhz : (n_chan) MHz, centres of the channels, ascending
    rate_hz : samples per second of each channel, which is also its width
    sideband : 1, or -1 where the frequency within channels runs against that of the sky (as in the raw data of CHIME)
    dm : pc/cm^3 of which dispersion within channels is removed already
    start_mjd : UTC of the beginning of the first sample
    source : name
    k_dm : dispersion constant, MHz^2 s cm^3 / pc

    Raises
    ------
    InputError : shapes that do not fit, numbers that make no sense

    Examples
    --------
    >>> voltages = Voltages(np.ones((2, 4, 1000), np.complex64), 400 + np.arange(4), 1e6)
    >>> voltages
    <Voltages: 2 inputs, 4 channels, 400 to 403 MHz, 1000 samples at 1e+06 Hz, DM 0>
    >>> voltages.detect(average=10)
    <Spectra: 4 channels, 400 to 403 MHz, 100 samples of 10 us, DM 0>
    """

    data: Complex
    freq_mhz: npt.NDArray[np.float64]
    rate_hz: float
    sideband: int = 1
    dm: float = 0.0
    start_mjd: float | None = None
    source: str = ""
    k_dm: float = K_DM

    def __post_init__(self) -> None:
        data = np.ascontiguousarray(self.data, np.complex64)
        freq_mhz = np.ascontiguousarray(self.freq_mhz, np.float64)
        if data.ndim != 3 or 0 in data.shape or freq_mhz.shape != data.shape[1:2]:
            raise InputError(
                f"voltages: expected (inputs, channels, samples) and a frequency for each channel, found "
                f"{data.shape} and {freq_mhz.shape}"
            )
        if not (np.isfinite(freq_mhz).all() and (freq_mhz > 0).all() and (np.diff(freq_mhz) > 0).all()):
            raise InputError("voltages: frequencies must be positive and ascend")
        if not (np.isfinite(self.rate_hz) and 0 < self.rate_hz < 2e6 * freq_mhz[0]):
            raise InputError(f"voltages: {self.rate_hz} samples a second at {freq_mhz[0]} MHz")
        if self.sideband not in (1, -1):
            raise InputError(f"voltages: a sideband of {self.sideband}, expected 1 or -1")
        object.__setattr__(self, "data", data)
        object.__setattr__(self, "freq_mhz", freq_mhz)

    def __repr__(self) -> str:
        n_input, n_chan, n_times = self.data.shape
        return (
            f"<Voltages: {n_input} inputs, {n_chan} channels, {self.freq_mhz[0]:.6g} to {self.freq_mhz[-1]:.6g} MHz, "
            f"{n_times} samples at {self.rate_hz:.6g} Hz, DM {self.dm:g}>"
        )

    @property
    def n_times(self) -> int:
        """Number of samples."""
        return int(self.data.shape[2])

    def _delays_s(self, dm: float) -> tuple[float, float]:
        """Largest lead and lag of the edges of channels over their centres."""
        half = self.rate_hz / 2e6
        late = [self.k_dm * dm * ((f - half) ** -2 - f**-2) for f in self.freq_mhz]
        early = [self.k_dm * dm * (f**-2 - (f + half) ** -2) for f in self.freq_mhz]
        return max(0.0, *early, *(-x for x in late)), max(0.0, *late, *(-x for x in early))

    def margins(self, dm: float) -> tuple[int, int]:
        """Samples that `dedisperse` drops before and after what it returns.

        Parameters
        ----------
        dm : pc/cm^3, the sum of what is removed then
        """
        before_s, after_s = self._delays_s(dm - self.dm)
        return int(np.ceil(before_s * self.rate_hz)) + _MARGIN, int(np.ceil(after_s * self.rate_hz)) + _MARGIN

    @old_keywords("nthreads")
    def dedisperse(self, dm: float, threads: int = 0) -> Voltages:
        """Remove the dispersion within each channel; what a channel centre receives stays where it is in time.

        Multiplies the spectrum of overlapping segments by exp(-2 pi i K DM f^2 / ((f0 + f) f0^2)) (Lorimer & Kramer
        2004, eq. 5.17), f from the centre f0 of the channel. Samples at either end whose pulse is not whole are
        dropped, and the start moves with them.

        Parameters
        ----------
        dm : pc/cm^3, the sum of what is removed then
        threads : 0 for all cores; the result does not depend on it

        Raises
        ------
        InputError : the data are shorter than the sweep within a channel, or not finite
        """
        if not np.isfinite(dm):
            raise InputError(f"a DM of {dm}")
        change = dm - self.dm
        if change == 0:
            return self
        before, after = self.margins(dm)
        n_out = self.n_times - before - after
        if n_out < 1:
            raise InputError(
                f"a DM of {change:g} spreads over {before + after} samples within a channel, of the "
                f"{self.n_times} there are: take more data"
            )
        n_fft = 1 << max(_SHORTEST, 4 * (before + after)).bit_length()
        if n_fft // 2 >= max(_SHORTEST, self.n_times):
            n_fft = 1 << (max(_SHORTEST, self.n_times) - 1).bit_length()
        out = np.empty((*self.data.shape[:2], n_out), np.complex64)
        k_dm = self.k_dm * change
        rate_mhz = self.rate_hz / 1e6
        _core.dedisperse_coherent(
            data=self.data,
            freqs=self.freq_mhz,
            rate_mhz=rate_mhz,
            k_dm=k_dm,
            sideband=self.sideband,
            n_fft=n_fft,
            before=before,
            after=after,
            out=out,
            threads=threads,
        )
        start = None if self.start_mjd is None else self.start_mjd + before / self.rate_hz / 86400
        return replace(self, data=out, dm=dm, start_mjd=start)

    def channelize(self, n: int) -> Voltages:
        """Split each channel into n, by Fourier transforms of n samples; what is left over at the end is dropped.

        Channels touch: their centres are -n/2 ... n/2 - 1 times their width from the old centre.
        """
        n_out = self.n_times // n if n >= 1 else 0
        if n_out < 1:
            raise InputError(f"cannot split {self.n_times} samples into {n} channels")
        if n == 1:
            return self
        shape = (*self.data.shape[:2], n_out, n)
        spectra = np.fft.fftshift(np.fft.fft(self.data[:, :, : n_out * n].reshape(shape), axis=3), axes=3)
        offset = np.arange(n) - n // 2
        if self.sideband < 0:
            spectra, offset = spectra[..., ::-1], -offset[::-1]
        width = self.rate_hz / n / 1e6
        data = np.ascontiguousarray(np.moveaxis(spectra, 3, 2), np.complex64)
        data = data.reshape(self.data.shape[0], -1, n_out)
        freq_mhz = (self.freq_mhz[:, None] + offset * width).ravel()
        order = np.argsort(freq_mhz, kind="stable")
        return replace(self, data=data[:, order], freq_mhz=freq_mhz[order], rate_hz=self.rate_hz / n)

    def detect(self, average: int = 1, weights: npt.ArrayLike | None = None) -> Spectra:
        """Power: the weighted sum of |v|^2 over the inputs (the incoherent sum), averaged over samples.

        Parameters
        ----------
        average : number of samples that become one; what is left over at the end is dropped
        weights : (n_input), 0 for inputs to leave out; default all 1

        Returns
        -------
        Spectra
            not dedispersed between channels: its dm is 0
        """
        n_out = self.n_times // average if average >= 1 else 0
        if n_out < 1:
            raise InputError(f"cannot average {average} of {self.n_times} samples")
        w = np.ones(len(self.data), np.float32) if weights is None else np.asarray(weights, np.float32)
        if w.shape != self.data.shape[:1] or not (np.isfinite(w).all() and (w >= 0).all() and w.any()):
            raise InputError(
                f"weights of the shape {w.shape} for {len(self.data)} inputs: expected not negative"
            )
        power = np.empty((self.freq_mhz.size, n_out), np.float32)
        step = max(1, _BLOCK // average // len(self.data))
        for channel in range(self.freq_mhz.size):
            for begin in range(0, n_out, step):
                end = min(begin + step, n_out)
                v = self.data[:, channel, begin * average : end * average].view(np.float32)
                v = v.reshape(len(w), end - begin, 2 * average)
                power[channel, begin:end] = np.einsum("itk,itk,i->t", v, v, w, optimize=True) / average
        return Spectra(
            power,
            self.freq_mhz,
            average / self.rate_hz,
            start_mjd=self.start_mjd,
            source=self.source,
            k_dm=self.k_dm,
        )
