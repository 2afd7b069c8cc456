"""Quantity, SkyCoord and Time of astropy as the bare numbers that names with a unit in them hold."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

from mwaconvert.errors import InputError

Function = TypeVar("Function", bound=Callable[..., Any])

#: a whole name -> its unit, as astropy writes it
_NAMES = {
    "dm": "pc / cm3",
    "dm_min": "pc / cm3",
    "dm_max": "pc / cm3",
    "dms": "pc / cm3",
    "k_dm": "MHz2 s cm3 / pc",
    "phase_centre": "deg",
}
#: how any other name ends -> its unit; the first that fits
_ENDS = {
    "_s": "s",
    "_ms": "ms",
    "_khz": "kHz",
    "_mhz": "MHz",
    "_hz": "Hz",
    "_deg": "deg",
    "_k_jy": "K / Jy",
    "_jy": "Jy",
    "_k": "K",
    "_gib": "Gibyte",
    "_mjd": "d",
}
#: how a name ends -> the attributes of a Time that hold it
_TIMES = {"mjd": ("utc", "mjd"), "_unix_s": ("unix",), "obsid": ("gps",)}
_DIRECTIONS = ("_deg", "phase_centre")


class Measured(Protocol):
    """A number, or several, with a unit: `astropy.units.Quantity`."""

    def to_value(self, unit: Any = ..., equivalencies: Any = ...) -> Any:
        """The number in a unit."""


class Direction(Protocol):
    """A direction in the sky: `astropy.coordinates.SkyCoord`."""

    def transform_to(self, frame: Any, merge_attributes: bool = ...) -> Any:
        """The same in another frame; `icrs` is right ascension and declination."""


def bare(name: str, value: Any) -> Any:
    """A value as the number, or numbers, in the unit that a name has in it; what has no unit stays as it is.

    Parameters
    ----------
    name : such as time_res_s, phase_centre_deg, start_mjd; dm is in pc/cm^3, obsid in GPS seconds
    value : Quantity, SkyCoord (right ascension and declination in degrees), Time, a sequence of quantities, or anything
        else

    Raises
    ------
    InputError : a quantity of another kind; several times or directions

    Examples
    --------
    >>> from astropy import units
    >>> bare("time_res_s", 500 * units.ms), bare("freq_res_khz", 0.04 * units.MHz), bare("threads", 2)
    (0.5, 40.0, 2)
    """
    if hasattr(value, "jd1"):
        attributes = next((found for end, found in _TIMES.items() if name.endswith(end)), None)
        if attributes is None:
            raise InputError(f"`{name}` is the time {value}; expected no time", option=name)
        _refuse_several(name, value)
        for attribute in attributes:
            value = getattr(value, attribute)
        return round(float(value)) if name == "obsid" else float(value)
    if hasattr(value, "icrs"):
        if not name.endswith(_DIRECTIONS):
            raise InputError(f"`{name}` is the direction {value}; expected no direction", option=name)
        _refuse_several(name, value)
        return float(value.icrs.ra.deg), float(value.icrs.dec.deg)
    if hasattr(value, "to_value"):
        return _number(name, value)
    if isinstance(value, tuple | list) and any(hasattr(item, "to_value") for item in value):
        return tuple(bare(name, item) for item in value)
    return value


def _refuse_several(name: str, value: Any) -> None:
    if not value.isscalar:
        raise InputError(f"`{name}` has {value.size} values; expected one", option=name)


def _number(name: str, value: Any) -> Any:
    unit = _NAMES.get(name) or next((unit for end, unit in _ENDS.items() if name.endswith(end)), None)
    try:
        number = value.to_value(unit or "")
    except ValueError:  # astropy's UnitConversionError is one
        raise InputError(
            f"`{name}` is {value}; expected {unit or 'a number without unit'}", option=name
        ) from None
    return number if number.ndim else float(number)


def takes_quantities(function: Function) -> Function:
    """Let a function take quantities of astropy for arguments whose names have a unit in them."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def taking(*args: Any, **more: Any) -> Any:
        given = signature.bind(*args, **more)
        for name, value in given.arguments.items():
            given.arguments[name] = bare(name, value)
        return function(*given.args, **given.kwargs)

    return cast(Function, taking)
