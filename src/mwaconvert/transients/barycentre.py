"""Arrival times at the barycentre of the solar system, at infinite frequency."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mwaconvert.errors import InputError
from mwaconvert.spectra.dispersion import K_DM
from mwaconvert.spectra.recording import Frame, Recording

#: metres from the centre of the Earth (ITRF), as pulsar timing has them (TEMPO2, PINT)
_SITES = {
    "arecibo": (2390490.0, -5564764.0, 1994727.0),
    "chime": (-2059166.313, -3621302.972, 4814304.113),
    "effelsberg": (4033949.5, 486989.4, 4900430.8),
    "fast": (-1668557.0, 5506838.0, 2744934.0),
    "gbt": (882589.65, -4924872.32, 3943729.348),
    "gmrt": (1656342.3, 5797947.77, 2073243.16),
    "jodrell": (3822626.04, -154105.65, 5086486.04),
    "lofar": (3826577.462, 461022.624, 5064892.526),
    "meerkat": (5109360.133, 2006852.586, -3238948.127),
    "mwa": (-2559454.08, 5095372.14, -2849057.18),
    "nancay": (4324165.81, 165927.11, 4670132.83),
    "parkes": (-4554231.5, 2816759.1, -3454036.3),
    "srt": (4865182.766, 791922.689, 4035137.174),
    "vla": (-1601192.0, -5041981.4, 3554871.4),
    "wsrt": (3828445.659, 445223.6, 5064921.568),
}


def barycentric_mjd(
    mjd: npt.ArrayLike,
    recording: Recording,
    *,
    dms: npt.ArrayLike = 0.0,
    freq_mhz: float = np.inf,
    k_dm: float = K_DM,
) -> npt.NDArray[np.float64]:
    """Times at the barycentre (TDB) and at infinite frequency.

    Parameters
    ----------
    mjd : UTC at the telescope
    recording : telescope, and direction of the source
    dms : pc/cm^3, of each pulse
    freq_mhz : at which the times were taken
    k_dm : dispersion constant, MHz^2 s cm^3 / pc

    Returns
    -------
    MJD (TDB); times that are barycentric already are only brought to infinite frequency

    Raises
    ------
    InputError : the telescope or the direction is not known

    Notes
    -----
    The Roemer delay by astropy with its built-in ephemeris (ERFA's epv00, good to 15 us), without the Shapiro delay of
    the Sun (at most 0.1 ms at its limb). The Doppler shift of the dispersion is left out: it is at most 1e-4 of the
    delay.

    Examples
    --------
    TDB is 69.184 s ahead of UTC here:

    >>> parkes = Recording(telescope="Parkes", ra_deg=83.6331, dec_deg=22.0145)
    >>> seconds = 86400 * (barycentric_mjd(59000.0, parkes) - 59000.0)
    >>> print(f"{seconds:.1f}")
    -417.6
    """
    from astropy import units
    from astropy.coordinates import EarthLocation, SkyCoord
    from astropy.time import Time
    from astropy.utils import iers

    times = np.asarray(mjd, np.float64)
    dispersed_days = k_dm * np.asarray(dms, np.float64) / freq_mhz**2 / 86400
    if recording.frame is not Frame.TOPOCENTRIC:
        return np.asarray(times - dispersed_days)
    check_known(recording)
    place = EarthLocation.from_geocentric(*_SITES[recording.telescope.strip().lower()], unit=units.m)
    towards = SkyCoord(recording.ra_deg, recording.dec_deg, unit="deg")
    with iers.conf.set_temp("auto_download", False), iers.conf.set_temp("auto_max_age", None):
        utc = Time(times, format="mjd", scale="utc", location=place)
        roemer = utc.light_travel_time(towards, kind="barycentric", ephemeris="builtin")
        tdb = utc.tdb.mjd + roemer.to_value("day")
    return np.asarray(tdb - dispersed_days)


def check_known(recording: Recording) -> None:
    """Refuse what barycentric times cannot be made of.

    Raises
    ------
    InputError : the telescope or the direction is not known
    """
    if recording.frame is not Frame.TOPOCENTRIC:
        return
    if recording.telescope.strip().lower() not in _SITES:
        raise InputError(
            f"the place of the telescope {recording.telescope or '(not named)'} is not known: expected "
            f"{', '.join(sorted(_SITES))}"
        )
    if recording.ra_deg is None or recording.dec_deg is None:
        raise InputError("the direction of the source is not in the file: barycentric times need it")
