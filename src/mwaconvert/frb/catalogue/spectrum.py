"""The spectrum of a burst as fitburst describes it: (f/f0)^(index + running ln(f/f0)), f0 the bottom of the band."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mwaconvert.frb.catalogue.model import number_or_none

_BOTTOM_MHZ, _BAND_MHZ = 400.1953125, 400.0
_N_CHAN = 1024


def expected_spectrum(measured: Mapping[str, Any]) -> dict[str, list[float]] | None:
    """Frequencies (MHz, centres of channels) and the spectrum relative to its greatest value; None if none was fitted.

    Examples
    --------
    >>> flat = expected_spectrum({"spectral_index": 0.0, "spectral_running": 0.0})
    >>> len(flat["freqs"]), set(flat["expected_spectrum"])
    (1024, {1.0})
    """
    index, running = _first(measured.get("spectral_index")), _first(measured.get("spectral_running"))
    if index is None or running is None:
        return None
    step = _BAND_MHZ / _N_CHAN
    freqs = [_BOTTOM_MHZ + (k + 0.5) * step for k in range(_N_CHAN)]
    logs = [math.log(freq / _BOTTOM_MHZ) for freq in freqs]
    exponents = [(index + running * x) * x for x in logs]
    greatest = max(exponents)
    return {"freqs": freqs, "expected_spectrum": [math.exp(value - greatest) for value in exponents]}


def _first(value: object) -> float | None:
    return number_or_none(value[0] if isinstance(value, list) and value else value)
