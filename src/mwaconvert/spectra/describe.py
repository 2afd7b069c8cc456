"""Spectra in a line, and as a table of facts."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from mwaconvert.spectra.recording import Frame, Recording


class Described(Protocol):
    """What spectra in memory and in a file have in common."""

    @property
    def freq_mhz(self) -> npt.NDArray[np.float64]: ...
    @property
    def dt_s(self) -> float: ...
    @property
    def n_times(self) -> int: ...
    @property
    def dm(self) -> float: ...
    @property
    def start_mjd(self) -> float | None: ...
    @property
    def source(self) -> str: ...
    @property
    def recording(self) -> Recording: ...


def in_a_line(spectra: Described) -> str:
    """Shape, band, time and DM.

    Examples
    --------
    >>> from mwaconvert.spectra.spectra import Spectra
    >>> in_a_line(Spectra(np.ones((4, 10)), 400.0 + np.arange(4), 1e-3))
    '4 channels, 400 to 403 MHz, 10 samples of 1000 us, DM 0'
    """
    freq_mhz = spectra.freq_mhz
    return (
        f"{freq_mhz.size} channels, {freq_mhz[0]:.6g} to {freq_mhz[-1]:.6g} MHz, {spectra.n_times} samples of "
        f"{spectra.dt_s * 1e6:.6g} us, DM {spectra.dm:g}"
    )


def facts_of(spectra: Described) -> dict[str, str]:
    """Source, band, time and DM, by name."""
    n_times, dt_s, freq_mhz = spectra.n_times, spectra.dt_s, spectra.freq_mhz
    frame = spectra.recording.frame
    scale = "" if frame is Frame.TOPOCENTRIC else f" ({frame.words})"
    return {
        "source": spectra.source or "not named",
        "channels": f"{freq_mhz.size}, {freq_mhz[0]:.6f} to {freq_mhz[-1]:.6f} MHz (centres)",
        "samples": f"{n_times} of {dt_s * 1e6:g} us: {n_times * dt_s:.6g} s",
        "start": "not in the file" if spectra.start_mjd is None else f"MJD {spectra.start_mjd:.10f}{scale}",
        "DM of the data": f"{spectra.dm:g} pc/cm^3",
    }
