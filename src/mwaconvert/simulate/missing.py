"""What is left out of a simulation: whole files, single integrations, the tail of a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mwaconvert.errors import InputError

GRAMMAR = "expected ch=N or t=N or both (N or FIRST-LAST, counted from 0), or last=N with or without ch=N"


@dataclass(frozen=True)
class Present:
    """What is written.

    Attributes
    ----------
    hdus : (n_times, n_coarse) True where the integration is in a file
    cut : (n_coarse,) the last file of the channel breaks off in the middle of this integration, counted from
        its end; 0 = it is whole
    """

    hdus: npt.NDArray[np.bool_]
    cut: tuple[int, ...]


def parse_missing(specs: Sequence[str], n_times: int, n_coarse: int) -> Present:
    """Apply descriptions of missing data.

    Parameters
    ----------
    specs : each one of
        `ch=3` : coarse channel 3 has no files;
        `t=5` : no channel has integration 5;
        `ch=2,t=0-3` : channel 2 lacks integrations 0 to 3 (at the start: its file begins late);
        `last=1`, `last=1,ch=2` : files broken off in the middle of their last integration (2: of the last
        but one)
    n_times, n_coarse : number of integrations and of simulated coarse channels; indices count from 0

    Raises
    ------
    InputError : a description that cannot be understood or is out of range
    """
    hdus = np.ones((n_times, n_coarse), dtype=np.bool_)
    cut = [0] * n_coarse
    for spec in specs:
        found: dict[str, str] = {}
        for part in spec.split(","):
            key, equals, value = (word.strip() for word in part.partition("="))
            if key not in ("ch", "t", "last") or not equals or key in found:
                raise InputError(f"missing data '{spec}': {GRAMMAR}")
            found[key] = value
        if "last" in found and "t" in found:
            raise InputError(f"missing data '{spec}': {GRAMMAR}")
        channels = _indices(spec, found["ch"], n_coarse) if "ch" in found else slice(None)
        if "last" in found:
            count = _indices(spec, found["last"], n_times + 1).start
            for coarse in range(n_coarse)[channels]:
                cut[coarse] = count
        else:
            times = _indices(spec, found["t"], n_times) if "t" in found else slice(None)
            hdus[times, channels] = False
    if not hdus.any():
        raise InputError(f"missing data {list(specs)}: nothing is left to write")
    return Present(hdus, tuple(cut))


def _indices(spec: str, text: str, size: int) -> slice:
    first, dash, last = text.partition("-")
    try:
        start = int(first)
        stop = int(last) if dash else start
    except ValueError:
        raise InputError(f"missing data '{spec}': {GRAMMAR}") from None
    if not 0 <= start <= stop < size:
        raise InputError(f"missing data '{spec}': {text} is outside 0-{size - 1}")
    return slice(start, stop + 1)
