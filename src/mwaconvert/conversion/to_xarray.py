"""Conversion in memory into an xarray.Dataset."""

from __future__ import annotations

from typing import Any

import numpy as np

from mwaconvert.constants import SECONDS_PER_DAY, UNIX_EPOCH_MJD
from mwaconvert.conversion.pipeline import stream_blocks
from mwaconvert.conversion.plan import Plan
from mwaconvert.errors import ResourceError
from mwaconvert.extras import need
from mwaconvert.machine import free_bytes
from mwaconvert.text import size_text

_POLARISATIONS = ("XX", "XY", "YX", "YY")
_CUBE = ("time", "baseline_id", "frequency", "polarization")


def to_xarray(plan: Plan) -> Any:
    """See `Plan.to_xarray`."""
    xarray = need("xarray", "xarray", "to_xarray")
    header = plan.header
    shape = (plan.n_times, plan.n_rows, plan.n_channels, len(_POLARISATIONS))
    n_bytes = int(np.prod(shape)) * (8 + 4 + 1)
    if n_bytes > free_bytes():
        raise ResourceError(
            f"to_xarray needs {size_text(n_bytes)} of memory, {size_text(free_bytes())} are free; average more, take "
            "fewer channels or timesteps, or read them block by block (`Plan.blocks`)"
        )
    vis, weight = np.empty(shape, np.complex64), np.empty(shape, np.float32)
    uvw_m = np.empty((*shape[:2], 3))
    for block in stream_blocks(plan):
        vis[block.time_index, block.rows] = block.vis
        weight[block.time_index, block.rows] = block.weight
        uvw_m[block.time_index, block.rows] = block.uvw_m
    flag = np.signbit(weight)  # before the weights lose it, in place
    names = np.array([antenna.name for antenna in header.metadata.antennas])
    return xarray.Dataset(
        {
            "VISIBILITY": (_CUBE, vis),
            "WEIGHT": (_CUBE, np.abs(weight, out=weight)),
            "FLAG": (_CUBE, flag),
            "UVW": ((*_CUBE[:2], "uvw_label"), uvw_m, {"units": "m"}),
        },
        {
            "time": (
                "time",
                (header.time_mjd - UNIX_EPOCH_MJD) * SECONDS_PER_DAY,
                {"units": "s", "format": "unix", "scale": "utc"},
            ),
            "baseline_id": np.arange(plan.n_rows),
            "baseline_antenna1_name": ("baseline_id", names[header.antenna1]),
            "baseline_antenna2_name": ("baseline_id", names[header.antenna2]),
            "frequency": (
                "frequency",
                np.concatenate([window.freq_hz for window in header.spectral_windows]),
                {"units": "Hz"},
            ),
            "polarization": list(_POLARISATIONS),
            "uvw_label": ["u", "v", "w"],
        },
        {
            "obsid": header.metadata.obsid,
            "phase_centre_deg": np.degrees(header.phase_centre_rad).tolist(),
            "software": header.software,
            "history": list(header.history),
        },
    )
