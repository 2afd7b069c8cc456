"""What an ideal array sees: visibilities of point sources and interference through the instrument.

The model is the textbook one and shares nothing with the converter: the signal of source s reaches antenna i
early by w_i/c, with w_i the dot product of the antenna's East, North, Up position and the unit vector to the
source, so that

    V_ij(f) = sum over s of S_s(f) exp(+2 pi i (w_i - w_j) f / c).

The sky is that of the middle of each integration and of the centre of each fine channel: nothing is smeared.
Beams are isotropic and unpolarised (XX = YY = S, XY = YX = 0).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mwaconvert.arrays import FloatArray
from mwaconvert.observation.model import MWA_POSITION
from mwaconvert.simulate.metafits import Instrument
from mwaconvert.simulate.passband import passband
from mwaconvert.simulate.sky import REFERENCE_HZ, Source, directions, enu_from_alt_az

LIGHT_MS = 299792458.0

ComplexArray = npt.NDArray[np.complex128]


@dataclass(frozen=True)
class Sky:
    """Directions of everything that radiates, at the middle of each integration.

    Attributes
    ----------
    sources : the point sources
    source_enu : (n_times, n_sources, 3) unit vectors East, North, Up
    track_enu : (n_times, 3) direction the correlator tracked; zeros if it did not
    """

    sources: tuple[Source, ...]
    source_enu: FloatArray
    track_enu: FloatArray

    def flux_jy(self, time: int, freq_hz: FloatArray) -> FloatArray:
        """(n_freq, n_sources) flux densities; sources below the horizon have none."""
        flux = np.array([s.flux_jy for s in self.sources])
        index = np.array([s.spectral_index for s in self.sources])
        up = self.source_enu[time, :, 2] > 0
        spectrum: FloatArray = (freq_hz[:, None] / REFERENCE_HZ) ** index[None, :] * (flux * up)[None, :]
        return spectrum


def make_sky(instrument: Instrument, sources: tuple[Source, ...], centroids_unix_s: FloatArray) -> Sky:
    """Directions of the sources and of the correlator's tracking (GEODEL) at each time."""
    n_times = len(centroids_unix_s)
    ra = np.array([s.ra_deg for s in sources])
    dec = np.array([s.dec_deg for s in sources])
    source_enu = directions(ra, dec, centroids_unix_s) if sources else np.zeros((n_times, 0, 3))
    track = np.zeros((n_times, 3))
    if instrument.geodel == 1:
        track[:] = [0, 0, 1]
    elif instrument.geodel == 2:
        alt, az = np.radians(instrument.alt_az_deg)
        track[:] = enu_from_alt_az(alt, az)
    elif instrument.geodel == 3:
        centre = np.array(instrument.phase_centre_deg)
        track = directions(centre[:1], centre[1:], centroids_unix_s)[:, 0]
    return Sky(sources, source_enu, track)


def enu_positions(instrument: Instrument) -> FloatArray:
    """(n_ant, 3) East, North, Up from the array centre, metres."""
    return instrument.position_m - [0.0, 0.0, MWA_POSITION.height_m]


def cable_phasors(instrument: Instrument, freq_hz: FloatArray) -> ComplexArray:
    """(n_ant, 2 pol, n_freq) delay of each input's cable, ones where CABLEDEL says it is out."""
    shape = (*instrument.cable_m.shape, len(freq_hz))
    if instrument.cabledel:
        return np.ones(shape, dtype=np.complex128)
    phasors: ComplexArray = np.exp(-2j * np.pi / LIGHT_MS * instrument.cable_m[:, :, None] * freq_hz)
    return phasors


def digital_gains(instrument: Instrument, coarse: int) -> FloatArray:
    """(n_ant, 2 pol) gain of each input, ones where the correlator took it out."""
    gains: FloatArray = instrument.gains[:, :, coarse]
    return np.ones_like(gains) if instrument.gains_applied else gains


def coarse_passband(instrument: Instrument) -> FloatArray:
    """(n_fine,) power response, ones where the correlator took it out (DR_FLAG)."""
    if instrument.deripple:
        return np.ones(instrument.n_fine)
    return passband(instrument.correlator, instrument.oversampled, instrument.n_fine)


def fringes(position_m: FloatArray, enu: FloatArray, freq_hz: FloatArray) -> ComplexArray:
    """exp(+2 pi i w f / c) for each frequency, antenna and direction.

    Parameters
    ----------
    position_m : (n_ant, 3)
    enu : (n_dir, 3)
    freq_hz : (n_freq,)

    Returns
    -------
    (n_freq, n_ant, n_dir)
    """
    w = position_m @ enu.T
    phasors: ComplexArray = np.exp(2j * np.pi / LIGHT_MS * freq_hz[:, None, None] * w)
    return phasors


def signal_factors(instrument: Instrument, coarse: int) -> ComplexArray:
    """(n_freq, n_ant, 2 pol) what the instrument multiplies each input's voltage with."""
    cable = cable_phasors(instrument, instrument.fine_freq_hz[coarse])
    amplitude = np.sqrt(coarse_passband(instrument))
    factors: ComplexArray = cable * digital_gains(instrument, coarse)[:, :, None] * amplitude
    return np.ascontiguousarray(np.moveaxis(factors, 2, 0))
