"""Voltages in VDIF frames, detected to total power; the frames are read by the package `baseband`."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from mwaconvert.errors import FormatError, InputError
from mwaconvert.extras import need
from mwaconvert.spectra.stream import Data, Stream, Weights

_HEADER = 32


def looks_like_vdif(path: Path) -> bool:
    """Whether two headers of VDIF frames follow each other at the distance that the first one states."""
    with path.open("rb") as file:
        first = file.read(_HEADER)
        if len(first) < _HEADER:
            return False
        words = np.frombuffer(first, "<u4")
        length = int(words[2] & 0xFFFFFF) * 8
        legacy = bool(words[0] >> 30 & 1)
        least = 16 if legacy else _HEADER
        if (
            length <= least
            or int(words[2] >> 29) > 1
            or (not legacy and words[4] >> 24 > 4 and words[4] >> 24 != 0xAB)
        ):
            return False
        file.seek(length)
        second = file.read(_HEADER)
    if len(second) < _HEADER:
        return path.stat().st_size == length
    after = np.frombuffer(second, "<u4")
    same = (words[2] & 0x1FFFFFFF) == (after[2] & 0x1FFFFFFF)
    return bool(
        same
        and (words[1] >> 24) == (after[1] >> 24)
        and 0 <= int(after[0] & 0x3FFFFFFF) - int(words[0] & 0x3FFFFFFF) <= 1
    )


def _band(path: Path, band_mhz: tuple[float, float] | None) -> tuple[float, float]:
    """The edges of the band, which make sense."""
    if band_mhz is None:
        raise InputError(
            f"{path}: VDIF does not say at which frequencies it was recorded: give the edges of the band, "
            "see `band_mhz`",
            option="band_mhz",
            path=path,
        )
    low, high = band_mhz
    if not (np.isfinite(band_mhz).all() and low > 0 and high > 0 and low != high):
        raise InputError(f"{path}: a band from {low:g} to {high:g} MHz")
    return band_mhz


def _check_frame(path: Path) -> None:
    """Refuse a frame that cannot hold a sample of the channels that its header states.

    Raises
    ------
    FormatError
    """
    with path.open("rb") as file:
        words = np.frombuffer(file.read(_HEADER).ljust(_HEADER, b"\0"), "<u4")
    header = 16 if words[0] >> 30 & 1 else _HEADER
    length = int(words[2] & 0xFFFFFF) * 8
    n_chan = 1 << int(words[2] >> 24 & 0x1F)
    bits = int(words[3] >> 26 & 0x1F) + 1
    sample = n_chan * bits * (2 if words[3] >> 31 else 1)
    if sample > 8 * (length - header):
        raise FormatError(
            f"{path}: not valid VDIF: a frame of {length} bytes cannot hold {n_chan} channels of {bits} bits",
            path=path,
        )
    if length > path.stat().st_size:
        raise FormatError(
            f"{path}: not valid VDIF: a frame takes {length} bytes, the file has {path.stat().st_size}",
            path=path,
        )


class VdifStream(Stream):
    """Power of VDIF voltages, summed over the threads (polarisations).

    Parameters
    ----------
    path : .vdif
    band_mhz : edges of the band, the first one that of the first channel (or of the lower sideband's zero frequency)
    channels : split each channel of the file into this many, by a Fourier transform without window
    average : samples of power that become one

    Raises
    ------
    InputError : the package for it is not installed, or numbers that make no sense
    FormatError : a frame is damaged
    """

    def __init__(
        self, path: Path, band_mhz: tuple[float, float] | None, channels: int = 1, average: int = 1
    ) -> None:
        vdif = need("baseband.vdif", "vdif", f"reading {path.name}")
        units = need("astropy.units", "vdif", "VDIF")
        low, high = _band(path, band_mhz)
        if channels < 1 or average < 1:
            raise InputError(f"{path}: {channels} channels, averages of {average}: expected positive numbers")
        _check_frame(path)
        raw = path.open("rb")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                head = vdif.open(raw, "rb").read_frame().header
                raw.seek(0)
                n_in, is_complex = int(head.nchan), bool(head["complex_data"])
                rate = abs(high - low) * 1e6 / n_in * (1 if is_complex else 2)
                self._file = vdif.open(raw, "rs", sample_rate=rate * units.Hz, squeeze=False)
                n_times, start = int(self._file.shape[0]), float(self._file.start_time.mjd)
        except Exception as error:  # the package raises whatever a damaged header leads to
            raw.close()
            raise FormatError(f"{path}: not valid VDIF: {str(error) or type(error).__name__}") from error
        take = channels * average * (1 if is_complex else 2)
        if n_times < take:
            raw.close()
            raise InputError(
                f"{path}: {n_times} voltages are too few for {channels} channels averaged over {average}"
            )
        self._complex, self._n_in = is_complex, n_in
        self._split, self._average, self._take = channels, average, take
        n_out = n_in * channels
        step = (high - low) / n_out
        # the bins of a transform are centred on multiples of their width from zero frequency
        whole = channels > 1 and (not is_complex or channels % 2 == 0)
        freq_mhz = low + step * (np.arange(n_out, dtype=np.float64) + (0 if whole else 0.5))
        super().__init__(
            path=path,
            kind="VDIF",
            freq_mhz=freq_mhz,
            dt_s=take / rate,
            n_times=n_times // take,
            dtype=np.float32,
            start_mjd=start,
            fields={
                "nchan": n_in,
                "complex": is_complex,
                "bits": int(head.bps),
                "station": str(head.station),
            },
        )

    def read(self, first: int, count: int, threads: int = 0) -> tuple[Data, Weights]:  # noqa: ARG002
        out = np.empty((self.n_chan, count), np.float32)
        step = max(1, (1 << 22) // (self._take * self._n_in))
        for begin in range(0, count, step):
            n = min(step, count - begin)
            out[:, begin : begin + n] = self._power(first + begin, n)
        return out[::-1] if self.descending else out, None

    def _power(self, first: int, n: int) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._file.seek(first * self._take)
                volts = self._file.read(n * self._take)
        except Exception as error:
            raise FormatError(
                f"{self.path}: a damaged frame near voltage {first * self._take}: {error}"
            ) from error
        volts = volts.reshape(n, self._average, -1, volts.shape[1], self._n_in)
        if self._split == 1:
            spectrum = volts
        elif not self._complex:
            spectrum = np.fft.rfft(volts, axis=2)[:, :, : self._split]
        else:
            spectrum = np.fft.fftshift(np.fft.fft(volts, axis=2), axes=2)
        power = (spectrum.real**2 + spectrum.imag**2).mean(1, dtype=np.float64)
        power = power.sum(2)  # over the threads: (n, split, n_in)
        if self._split == 1:  # of real voltages there are two
            power = power.sum(1, keepdims=True)
        return power.transpose(2, 1, 0).reshape(-1, n)

    def close(self) -> None:
        self._file.close()
