"""From the arguments of `simulate` to a metafits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mwaconvert.errors import InputError
from mwaconvert.observation.model import Correlator
from mwaconvert.simulate import metafits as mf


@dataclass(frozen=True)
class BuiltIn:
    """Defaults of an array that `like` names."""

    correlator: Correlator
    n_tiles: int
    radius_m: float
    #: an evening with RA 0 in the zenith
    obsid: int
    int_time_s: float
    fine_khz: float


BUILT_IN = {
    "legacy-128": BuiltIn("legacy", 128, 1500.0, 1254668512, 2.0, 40.0),
    "mwax-128": BuiltIn("mwax", 128, 2600.0, 1412607288, 2.0, 40.0),
    "mwax-256": BuiltIn("mwax", 256, 2900.0, 1412607288, 2.0, 40.0),
}
FIRST_CHANNEL = 131


def prepare_metafits(
    like: str | Path,
    obsid: int | None,
    duration_s: float,
    int_time_s: float | None,
    fine_khz: float | None,
    coarse_channels: int | Sequence[int] | None,
    n_tiles: int | None,
    geodel: int | None,
    cabledel: int | None,
    quack_s: float | None,
    phase_centre: tuple[float, float] | None,
) -> tuple[Any, int]:
    """The metafits and the number of integrations."""
    base = _base(like, obsid, coarse_channels, n_tiles)
    if not 10**9 <= base.obsid < 10**10:
        raise InputError(f"obsid {base.obsid}: must be a GPS second of ten digits")
    if phase_centre is not None and not (abs(phase_centre[0]) <= 360 and abs(phase_centre[1]) <= 90):
        raise InputError(f"phase_centre {phase_centre}: RA must be within +-360, Dec within +-90 degrees")
    defaults = base.defaults
    int_time_s = float(defaults["INTTIME"] if int_time_s is None else int_time_s)
    fine_khz = float(defaults["FINECHAN"] if fine_khz is None else fine_khz)
    geodel = int(defaults.get("GEODEL", 0) if geodel is None else geodel)
    cabledel = int(defaults.get("CABLEDEL", 0) if cabledel is None else cabledel)
    quack_s = float(defaults.get("QUACKTIM", 0) if quack_s is None else quack_s)
    _check_correlation(duration_s, int_time_s, fine_khz, geodel, cabledel, quack_s)
    n_times = max(1, int(np.ceil(duration_s / int_time_s - 1e-9)))
    mf.set_correlation(base.hdus, int_time_s, n_times, fine_khz, quack_s, geodel, cabledel)
    mf.set_times(base.hdus, base.obsid, phase_centre, base.keep_pointing)
    return base.hdus, n_times


class _Base(NamedTuple):
    """A metafits whose times and correlation are still those of its model."""

    hdus: Any
    obsid: int
    keep_pointing: bool  # the model's own, as the time is its own
    defaults: dict[str, Any]  # cards of the model


def _base(
    like: str | Path, obsid: int | None, coarse_channels: int | Sequence[int] | None, n_tiles: int | None
) -> _Base:
    array = BUILT_IN.get(str(like))
    if array is not None:
        channels = _channel_list(coarse_channels)
        if n_tiles is not None and array.correlator == "legacy" and n_tiles != array.n_tiles:
            raise InputError(f"n_tiles {n_tiles}: the legacy correlator always has 128 tiles")
        n_tiles = array.n_tiles if n_tiles is None else n_tiles
        if not 1 <= n_tiles <= 1024:
            raise InputError(f"n_tiles {n_tiles}: must be between 1 and 1024")
        obsid = array.obsid if obsid is None else obsid
        hdus = mf.built_in(array.correlator, n_tiles, array.radius_m, channels, obsid)
        return _Base(hdus, obsid, False, {"INTTIME": array.int_time_s, "FINECHAN": array.fine_khz})
    if not Path(like).exists():
        raise InputError(f"like {like}: expected {', '.join(BUILT_IN)} or an existing metafits")
    hdus = mf.open_like(Path(like))
    header = hdus[0].header
    obsid = header["GPSTIME"] if obsid is None else obsid
    if n_tiles is not None:
        if mf.read_correlator(header) == "legacy" and n_tiles != 128:
            raise InputError(f"n_tiles {n_tiles}: the legacy correlator always has 128 tiles")
        mf.keep_tiles(hdus, n_tiles)
    kept = {
        key: header[key] for key in ("INTTIME", "FINECHAN", "QUACKTIM", "GEODEL", "CABLEDEL") if key in header
    }
    return _Base(hdus, obsid, obsid == header["GPSTIME"], kept)


def _check_correlation(
    duration_s: float, int_time_s: float, fine_khz: float, geodel: int, cabledel: int, quack_s: float
) -> None:
    if not (int_time_s > 0 and float(int_time_s * 1000).is_integer()):
        raise InputError(f"int_time_s {int_time_s}: must be a positive number of milliseconds")
    if not fine_khz > 0 or abs(1280 / fine_khz - round(1280 / fine_khz)) > 1e-9:
        raise InputError(f"fine_khz {fine_khz}: must divide the coarse channel of 1280 kHz")
    if not duration_s > 0 or not np.isfinite(duration_s):
        raise InputError(f"duration_s {duration_s}: must be positive")
    if geodel not in range(4) or cabledel not in range(3):
        raise InputError(f"geodel {geodel}, cabledel {cabledel}: expected 0..3 and 0..2")
    if quack_s < 0:
        raise InputError(f"quack_s {quack_s}: must not be negative")


def _channel_list(coarse_channels: int | Sequence[int] | None) -> list[int]:
    if coarse_channels is None:
        return [FIRST_CHANNEL]
    if isinstance(coarse_channels, int):
        if not 1 <= coarse_channels <= 24:
            raise InputError(f"coarse_channels {coarse_channels}: their number must be between 1 and 24")
        return list(range(FIRST_CHANNEL, FIRST_CHANNEL + coarse_channels))
    channels = sorted(int(c) for c in coarse_channels)
    if not channels or len(set(channels)) < len(channels) or channels[0] < 1 or channels[-1] > 255:
        raise InputError(f"coarse_channels {coarse_channels}: expected different numbers from 1 to 255")
    return channels


def chosen_channels(instrument: mf.Instrument, wanted: int | Sequence[int] | None) -> tuple[int, ...]:
    """Indices of the simulated channels among those of the metafits."""
    n = len(instrument.channels)
    if wanted is None:
        return tuple(range(n))
    if isinstance(wanted, int):
        if not 1 <= wanted <= n:
            raise InputError(f"coarse_channels {wanted}: the metafits has {n}")
        return tuple(range(wanted))
    unknown = set(wanted) - set(instrument.channels)
    if unknown:
        raise InputError(
            f"coarse_channels {sorted(unknown)}: not in the metafits, which has {list(instrument.channels)}"
        )
    return tuple(i for i, c in enumerate(instrument.channels) if c in set(wanted))


def checked_tiles(flagged: Sequence[int], hdus: Any) -> Sequence[int]:
    n = hdus[0].header["NINPUTS"] // 2
    if any(not 0 <= tile < n for tile in flagged):
        raise InputError(f"flagged_tiles {list(flagged)}: antennas count from 0 to {n - 1}")
    return flagged
