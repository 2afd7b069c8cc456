"""Conversion in memory into pyuvdata's object."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from mwaconvert.conversion.plan import Plan
from mwaconvert.errors import InputError, ResourceError


def to_uvdata(plan: Plan) -> Any:
    """See `Plan.to_uvdata`. Goes through a temporary uvfits file, so that it holds exactly what the file would.

    Raises
    ------
    InputError : several frequency ranges; convert them one by one with `sel_chan_ranges`
    ResourceError : pyuvdata is not installed
    """
    try:
        from pyuvdata import UVData
    except ImportError:
        raise ResourceError("to_uvdata needs pyuvdata: pip install 'mwaconvert[pyuvdata]'") from None
    if len(plan.header.spectral_windows) > 1:
        raise InputError(
            f"to_uvdata: the data have {len(plan.header.spectral_windows)} separate frequency ranges; "
            "choose one with sel_chan_ranges"
        )
    with tempfile.TemporaryDirectory(prefix="mwaconvert-") as folder:
        path = Path(folder) / "vis.uvfits"
        plan.run([path])
        data = UVData()
        data.read_uvfits(path)
        return data
