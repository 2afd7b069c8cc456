"""The sky of a simulation: point sources, and where astropy sees them from the site."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mwaconvert.arrays import FloatArray
from mwaconvert.errors import InputError
from mwaconvert.observation.model import MWA_POSITION
from mwaconvert.staging import check_input

REFERENCE_HZ = 150e6  #: frequency of the flux densities


@dataclass(frozen=True)
class Source:
    """An unpolarised point source: J2000 position and flux density at 150 MHz, S ~ f**spectral_index."""

    ra_deg: float
    dec_deg: float
    flux_jy: float
    spectral_index: float = 0.0

    def __post_init__(self) -> None:
        values = (self.ra_deg, self.dec_deg, self.flux_jy, self.spectral_index)
        if not np.all(np.isfinite(values)):
            raise InputError(f"source {values}: all four numbers must be finite")
        if not (-360 <= self.ra_deg <= 360 and -90 <= self.dec_deg <= 90):
            raise InputError(
                f"source at RA {self.ra_deg}, Dec {self.dec_deg}: RA must be within +-360 degrees and Dec "
                "within +-90 degrees"
            )


def as_sources(items: Sequence[Source | Sequence[float]]) -> tuple[Source, ...]:
    """Sources from tuples (ra_deg, dec_deg, flux_jy[, spectral_index]).

    Raises
    ------
    InputError : a tuple of another length, or numbers out of range
    """
    sources = []
    for item in items:
        if isinstance(item, Source):
            sources.append(item)
        elif len(item) in (3, 4):
            sources.append(Source(*(float(value) for value in item)))
        else:
            raise InputError(f"source {tuple(item)}: expected RA, Dec, flux and optionally a spectral index")
    return tuple(sources)


def read_sky(path: Path) -> tuple[Source, ...]:
    """Sources of a text file: `ra_deg dec_deg flux_jy [spectral_index]` a line.

    Columns are separated by blanks or commas; what follows a `#` is a comment, and a first line of column
    names is passed over.

    Raises
    ------
    InputError : the file cannot be read, or a line is not three or four numbers
    """
    check_input(path, "list of sources")
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a text file of sources ({error})") from error
    sources: list[Source] = []
    first = True
    for number, line in enumerate(lines, start=1):
        words = line.partition("#")[0].replace(",", " ").split()
        if not words:
            continue
        try:
            values = [float(word) for word in words]
        except ValueError:
            if first and all(word[:1].isalpha() for word in words):
                first = False
                continue
            values = []
        first = False
        if len(values) not in (3, 4):
            raise InputError(
                f"{path}, line {number}: expected 'ra_deg dec_deg flux_jy [spectral_index]', found {line!r}"
            )
        sources.extend(as_sources([values]))
    if not sources:
        raise InputError(f"{path}: holds no source; expected lines 'ra_deg dec_deg flux_jy [spectral_index]'")
    return tuple(sources)


@contextmanager
def offline() -> Iterator[None]:
    """Astropy without the network: Earth orientation comes from the tables it has."""
    from astropy.utils import iers

    with iers.conf.set_temp("auto_download", False), iers.conf.set_temp("auto_max_age", None):
        yield


def site() -> Any:
    """The array centre as an astropy EarthLocation."""
    from astropy import units
    from astropy.coordinates import EarthLocation

    return EarthLocation.from_geodetic(
        lon=MWA_POSITION.longitude_rad * units.rad,
        lat=MWA_POSITION.latitude_rad * units.rad,
        height=MWA_POSITION.height_m * units.m,
    )


def enu_from_alt_az(alt_rad: FloatArray, az_rad: FloatArray) -> FloatArray:
    """Unit vectors (..., 3) East, North, Up."""
    return np.stack(
        [np.cos(alt_rad) * np.sin(az_rad), np.cos(alt_rad) * np.cos(az_rad), np.sin(alt_rad)], axis=-1
    )


def directions(ra_deg: FloatArray, dec_deg: FloatArray, unix_s: FloatArray) -> FloatArray:
    """Unit vectors East, North, Up of J2000 directions, without refraction.

    astropy's full transformation ICRS to AltAz: precession, nutation, annual and diurnal aberration, light
    deflection, polar motion, UT1.

    Parameters
    ----------
    ra_deg, dec_deg : (n,) ICRS
    unix_s : (n_times,) UTC as Unix time

    Returns
    -------
    (n_times, n, 3)
    """
    from astropy import units
    from astropy.coordinates import AltAz, SkyCoord
    from astropy.time import Time

    with offline():
        sky = SkyCoord(ra_deg[None, :] * units.deg, dec_deg[None, :] * units.deg)
        frame = AltAz(obstime=Time(unix_s[:, None], format="unix"), location=site(), pressure=0 * units.hPa)
        horizontal = sky.transform_to(frame)
    return enu_from_alt_az(horizontal.alt.rad, horizontal.az.rad)
