"""Antenna positions, uvw and the delays that the correlator already took out.

Frames: the local frame has x towards the local meridian at the equator, y east, z to the pole. uvw are
projections of antenna positions, so a baseline has uvw[i] - uvw[j], and phase tracking multiplies V_ij by
exp(-2 pi i (w_i - w_j) f / c).

Two recipes turn a time and a direction into uvw:

"standard" is what cotter, Birli and hyperdrive do, so that their sky models and calibration solutions fit:
one time UTC + DUT1 serves as UT1 and as TT, Greenwich *mean* sidereal time turns the Earth, precession,
nutation and annual aberration are applied, polar motion and diurnal aberration are not. Mean instead of
apparent sidereal time turns the whole sky about the pole by the equation of the equinoxes, up to 17 arcsec.

"exact" is the IAU 2006/2000A chain of ERFA with true time scales, polar motion, annual and diurnal aberration
and light deflection by the Sun: what astropy's ICRS to AltAz gives without refraction.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import erfa
import numpy as np

from mwaconvert.arrays import FloatArray
from mwaconvert.constants import JD_OF_MJD_ZERO, SECONDS_PER_DAY
from mwaconvert.conversion.options import Geometry, Options
from mwaconvert.observation.model import ArrayPosition, Metadata

#: 1 au/day in units of the speed of light
AU_PER_DAY = 0.00577551833


def antenna_xyz_m(metadata: Metadata, position: ArrayPosition) -> FloatArray:
    """Antenna positions in the local frame.

    Heights are taken as the metafits has them, above sea level and not above the array centre: an offset
    common to all antennas, which cancels on every baseline. Peers write these numbers.

    Returns
    -------
    (n_antenna, 3) metres
    """
    east, north, height = _east_north_height_m(metadata)
    sin_lat, cos_lat = np.sin(position.latitude_rad), np.cos(position.latitude_rad)
    return np.stack(
        [-north * sin_lat + height * cos_lat, east, north * cos_lat + height * sin_lat],
        axis=-1,
    )


def antenna_itrf_m(metadata: Metadata, position: ArrayPosition) -> FloatArray:
    """Geocentric antenna positions (ITRF, WGS84 ellipsoid): local positions turned by the longitude and added
    to the array centre, as peers do. The heights of `antenna_xyz_m` stay in, so all antennas stand one array
    height too far out; baselines are right.

    Returns
    -------
    (n_antenna, 3) metres
    """
    centre = erfa.gd2gc(1, position.longitude_rad, position.latitude_rad, position.height_m)
    itrf: FloatArray = centre + erfa.rxp(_earth_from_local(position), antenna_xyz_m(metadata, position))
    return itrf


def phase_centre_rad(metadata: Metadata, options: Options) -> tuple[float, float]:
    """RA and Dec (J2000) that the output is phased to: the user's, the tile pointing if asked for, otherwise
    the phase centre of the metafits and, where there is none, its pointing."""
    if options.phase_centre_deg is not None:
        return _radians(options.phase_centre_deg)
    if options.pointing_centre:
        return _radians(metadata.pointing_deg)
    return tracked_centre_rad(metadata)


def tracked_centre_rad(metadata: Metadata) -> tuple[float, float]:
    """RA and Dec (J2000) that the metafits names for tracking: RAPHASE and DECPHASE, else RA and DEC."""
    return _radians(metadata.phase_centre_deg or metadata.pointing_deg)


def antenna_uvw_m(
    mjd_utc: FloatArray,
    centre_rad: tuple[float, float],
    xyz_m: FloatArray,
    position: ArrayPosition,
    dut1_s: float | None = None,
    geometry: Geometry = "standard",
) -> FloatArray:
    """uvw of antennas for a phase centre. Each time is computed for itself: results do not depend on how many
    are asked for at once.

    Parameters
    ----------
    mjd_utc : (n_times,) UTC as MJD, days
    centre_rad : RA and Dec, ICRS
    xyz_m : (n_antenna, 3) from `antenna_xyz_m`
    position : array centre
    dut1_s : UT1 - UTC. None is 0 in the standard recipe and that of the IERS tables in the exact one
    geometry : recipe, see the head of this module

    Returns
    -------
    (n_times, n_antenna, 3) metres
    """
    recipe = _standard_frames if geometry == "standard" else _exact_frames
    direction, celestial_from_local = recipe(np.asarray(mjd_utc, np.float64), centre_rad, position, dut1_s)
    uvw_from_local = erfa.rxr(_uvw_axes(direction), celestial_from_local)
    uvw: FloatArray = erfa.rxp(uvw_from_local[:, None], xyz_m)
    return uvw


def delivered_w_m(
    metadata: Metadata,
    mjd_utc: FloatArray,
    position: ArrayPosition,
    dut1_s: float | None = None,
    geometry: Geometry = "standard",
) -> FloatArray | None:
    """w that the correlator already took out of the data; what is left to take out is w of the wanted phase
    centre minus this.

    By GEODEL (MWA documentation, "MWAX Metafits Changes"): 0 nothing, 1 zenith, 2 tile pointing, constant
    during an observation, 3 a table of azimuth and elevation. The correlator projects East, North and Height
    on each direction and interpolates over 8 s. Taken here to be:

    - 1: towards altitude 90 degrees;
    - 2: towards AZIMUTH, ALTITUDE of the metafits;
    - 3: towards RAPHASE, DECPHASE (RA, DEC where absent) by the same recipe as the output, so that the
      difference is exactly 0 where the output has that centre. The one table at hand (observation 1447048976)
      agrees with astropy's AltAz of that centre to 0.05 arcsec for UT1 = UTC: the correlator leaves out DUT1.

    Returns
    -------
    (n_times, n_antenna) metres, or None if the correlator took out nothing
    """
    if metadata.geodel == 0:
        return None
    if metadata.geodel == 3:
        xyz_m = antenna_xyz_m(metadata, position)
        centre = tracked_centre_rad(metadata)
        return antenna_uvw_m(mjd_utc, centre, xyz_m, position, dut1_s, geometry)[..., 2]
    east, north, height = _east_north_height_m(metadata)
    if metadata.geodel == 1:
        w = height
    else:
        azimuth, altitude = _radians(metadata.az_alt_deg)
        w = (east * np.sin(azimuth) + north * np.cos(azimuth)) * np.cos(altitude) + height * np.sin(altitude)
    return np.tile(w, (len(mjd_utc), 1))


@dataclass(frozen=True)
class EarthOrientation:
    """Orientation of the Earth at some times: UT1 - UTC in seconds and the pole's coordinates in radians,
    each (n_times,). `known` is False if the tables do not cover the times; then all are 0."""

    dut1_s: FloatArray
    pole_x_rad: FloatArray
    pole_y_rad: FloatArray
    known: bool


def earth_orientation(mjd_utc: FloatArray) -> EarthOrientation:
    """Earth orientation from the IERS tables that came with astropy; the network is never asked."""
    mjd = np.asarray(mjd_utc, np.float64)
    table = _iers_table()
    dut1, dut1_status = table.ut1_utc(JD_OF_MJD_ZERO, mjd, return_status=True)
    pole_x, pole_y, pole_status = table.pm_xy(JD_OF_MJD_ZERO, mjd, return_status=True)
    # a negative status marks times before or after the table
    if np.any(dut1_status < 0) or np.any(pole_status < 0):
        zero = np.zeros_like(mjd)
        return EarthOrientation(zero, zero, zero, known=False)
    return EarthOrientation(dut1.to_value("s"), pole_x.to_value("rad"), pole_y.to_value("rad"), known=True)


def choose_dut1(metadata: Metadata, options: Options, mjd_utc: float) -> tuple[float, str]:
    """UT1 - UTC in seconds for the run, and where it is from."""
    if options.ignore_dut1:
        return 0.0, "`ignore_dut1`"
    if options.dut1_s is not None:
        return options.dut1_s, "given with `dut1_s`"
    exact = options.geometry == "exact"
    if metadata.dut1_s is not None and not exact:
        return metadata.dut1_s, "DUT1 of the metafits"
    orientation = earth_orientation(np.array([mjd_utc]))
    if orientation.known:
        why = "IERS table of astropy" + ("" if exact else ", as the metafits has no DUT1")
        return float(orientation.dut1_s[0]), why
    outside = "the IERS table of astropy does not cover the date: upgrade the package astropy-iers-data"
    if exact:
        outside = f"polar motion left out, as {outside}"
    if metadata.dut1_s is not None:
        return metadata.dut1_s, f"DUT1 of the metafits; {outside}"
    return 0.0, f"the metafits has no DUT1; {outside}"


def _standard_frames(
    mjd_utc: FloatArray, centre_rad: tuple[float, float], position: ArrayPosition, dut1_s: float | None
) -> tuple[FloatArray, FloatArray]:
    """(n_times, 3) direction in J2000 axes and (n_times, 3, 3) rotation from the local frame to them."""
    mjd = mjd_utc + (dut1_s or 0.0) / SECONDS_PER_DAY
    lmst = erfa.gmst06(JD_OF_MJD_ZERO, mjd, JD_OF_MJD_ZERO, mjd) + position.longitude_rad
    j2000_from_date = erfa.tr(erfa.pnm06a(JD_OF_MJD_ZERO, mjd))
    rotation = erfa.rxr(j2000_from_date, erfa.rz(-lmst, np.eye(3)))

    barycentric = erfa.epv00(JD_OF_MJD_ZERO, mjd)[1]["v"] * AU_PER_DAY
    return _aberrate(erfa.s2c(*centre_rad), barycentric), rotation


def _exact_frames(
    mjd_utc: FloatArray, centre_rad: tuple[float, float], position: ArrayPosition, dut1_s: float | None
) -> tuple[FloatArray, FloatArray]:
    """The same with all effects; axes of the geocentric celestial reference system."""
    orientation = earth_orientation(mjd_utc)
    dut1 = orientation.dut1_s if dut1_s is None else np.full_like(mjd_utc, dut1_s)
    pole = orientation.pole_x_rad, orientation.pole_y_rad
    with _quiet_erfa():
        tt = erfa.taitt(*erfa.utctai(JD_OF_MJD_ZERO, mjd_utc))
        ut1 = erfa.utcut1(JD_OF_MJD_ZERO, mjd_utc, dut1)
        # pressure 0 and so no refraction
        observer, _ = erfa.apco13(
            JD_OF_MJD_ZERO,
            mjd_utc,
            dut1,
            position.longitude_rad,
            position.latitude_rad,
            position.height_m,
            *pole,
            0.0,
            0.0,
            0.0,
            1.0,
        )
    celestial_from_earth = erfa.tr(erfa.c2t06a(*tt, *ut1, *pole))
    rotation = erfa.rxr(celestial_from_earth, _earth_from_local(position))

    direction = erfa.ldsun(erfa.s2c(*centre_rad), observer["eh"], observer["em"])
    return _aberrate(direction, observer["v"]), rotation


def _aberrate(direction: FloatArray, velocity: FloatArray) -> FloatArray:
    """Unit vector as seen by an observer at a velocity (units of c)."""
    inverse_lorentz = np.sqrt(1 - erfa.pdp(velocity, velocity))
    # distance to the Sun infinite: without its (sub-microarcsecond) potential
    aberrated: FloatArray = erfa.ab(direction, velocity, np.inf, inverse_lorentz)
    return aberrated


def _uvw_axes(direction: FloatArray) -> FloatArray:
    """(n_times, 3, 3) rows u, v, w: w along the direction, u east, v north."""
    ra, _ = erfa.c2s(direction)
    east = erfa.s2c(ra + np.pi / 2, 0.0)
    return np.stack([east, erfa.pxp(direction, east), direction], axis=-2)


def _earth_from_local(position: ArrayPosition) -> FloatArray:
    """(3, 3) rotation from the local frame to ITRF axes."""
    rotation: FloatArray = erfa.rz(-position.longitude_rad, np.eye(3))
    return rotation


def _east_north_height_m(metadata: Metadata) -> tuple[FloatArray, FloatArray, FloatArray]:
    antennas = metadata.antennas
    return (
        np.array([antenna.east_m for antenna in antennas]),
        np.array([antenna.north_m for antenna in antennas]),
        np.array([antenna.height_m for antenna in antennas]),
    )


def _radians(degrees: tuple[float, float]) -> tuple[float, float]:
    return float(np.radians(degrees[0])), float(np.radians(degrees[1]))


@functools.cache
def _iers_table() -> Any:
    # opened by name: astropy's own choice of table may go to the network
    from astropy.utils import iers

    return iers.IERS_A.open(iers.IERS_A_FILE)


@contextmanager
def _quiet_erfa() -> Iterator[None]:
    # ERFA calls years "dubious" for which leap seconds were not announced when it was released
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", erfa.ErfaWarning)
        yield
