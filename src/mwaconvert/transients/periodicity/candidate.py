"""A period: as a search finds it, and lists of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mwaconvert import __version__
from mwaconvert.errors import InputError
from mwaconvert.spectra.candidate import Flag
from mwaconvert.staging import StagedPath
from mwaconvert.text import json_text, plain
from mwaconvert.transients.periodicity.hits import Method

if TYPE_CHECKING:
    from astropy.table import QTable

NOT_KNOWN = math.nan
#: endings of lists of periods
SUFFIXES = (".csv", ".ecsv", ".json")
_UNITS = {
    "period_s": "s",
    "period_err_s": "s",
    "period_barycentric_s": "s",
    "freq_hz": "Hz",
    "dm": "pc / cm3",
    "dm_err": "pc / cm3",
    "width_s": "s",
}


@dataclass(frozen=True, kw_only=True, repr=False)
class PeriodCandidate:
    """Something that repeats; errors are standard deviations, and NaN where they are not known.

    Parameters
    ----------
    period_s : at the telescope, of the middle of the data
    period_err_s, dm_err : errors
    dm : pc/cm^3
    snr : of the folded profile, best boxcar
    width_s : of this boxcar
    methods : that found it
    fft_sigma : of its best sum of harmonics in a single trial, as a Gaussian's standard deviations
    n_harmonic : powers in this sum
    ffa_snr : of its best trial of the fast folding algorithm
    log10_fap : decimal logarithm of the probability that noise has as good a trial in the whole search, at most
    n_detections : trials above the threshold that belong to it
    n_related : harmonics, other than itself, that were found with it
    period_barycentric_s : at the barycentre of the solar system
    flags : what makes it doubtful; nothing is dropped because of them

    Examples
    --------
    >>> PeriodCandidate(period_s=0.156384, dm=57.2, snr=20.1, width_s=8e-3, methods=(Method.FFT,))
    <PeriodCandidate: P = 0.156384 s, DM = 57.200, S/N = 20.10, width = 8 ms>
    """

    period_s: float
    dm: float
    snr: float
    width_s: float
    methods: tuple[Method, ...]
    period_err_s: float = NOT_KNOWN
    dm_err: float = NOT_KNOWN
    fft_sigma: float = NOT_KNOWN
    n_harmonic: int = 0
    ffa_snr: float = NOT_KNOWN
    log10_fap: float = NOT_KNOWN
    n_detections: int = 1
    n_related: int = 0
    period_barycentric_s: float = NOT_KNOWN
    flags: tuple[Flag, ...] = ()

    @property
    def freq_hz(self) -> float:
        """1 / period."""
        return 1 / self.period_s

    def __repr__(self) -> str:
        return (
            f"<PeriodCandidate: P = {self.period_s:.9g} s, DM = {self.dm:.3f}, S/N = {self.snr:.2f}, "
            f"width = {1e3 * self.width_s:.4g} ms>"
        )


def to_table(candidates: Sequence[PeriodCandidate], facts: Mapping[str, str] | None = None) -> QTable:
    """Candidates as a table of astropy, with units.

    Parameters
    ----------
    candidates : one row each
    facts : of the search, by name; become metadata
    """
    from astropy import units
    from astropy.table import QTable

    table = QTable(meta=dict(facts or {}))
    for field in fields(PeriodCandidate):
        held = [getattr(candidate, field.name) for candidate in candidates]
        if field.name in ("methods", "flags"):
            held = [" ".join(names) for names in held]
        kind: Any = {"methods": str, "flags": str, "n_harmonic": int, "n_detections": int, "n_related": int}
        unit = _UNITS.get(field.name)
        column = _column(held, kind.get(field.name, float))
        table[field.name] = column if unit is None else column * units.Unit(unit)
    return table


def _column(held: list[Any], kind: Any) -> Any:
    import numpy as np

    return np.array(held, kind)


def write_list(
    path: Path, candidates: Sequence[PeriodCandidate], facts: Mapping[str, str], *, overwrite: bool = False
) -> None:
    """Write candidates; the ending of the name decides how.

    Parameters
    ----------
    path : .csv, .ecsv or .json
    candidates : best first
    facts : of the search, by name
    overwrite : replace an existing file

    Raises
    ------
    InputError : another ending, or the file exists
    """
    suffix = path.suffix.lower()
    facts = {"program": f"mwaconvert {__version__}", **facts}
    names = [field.name for field in fields(PeriodCandidate)]
    if suffix == ".csv":
        lines = [f"# {name}: {value}" for name, value in facts.items()] + [",".join(names)]
        lines += [",".join(_cell(getattr(c, name)) for name in names) for c in candidates]
        text = "\n".join(lines) + "\n"
    elif suffix == ".json":
        rows = [{name: getattr(c, name) for name in names} for c in candidates]
        text = json_text(plain({"format": "mwaconvert periods", "search": facts, "candidates": rows})) + "\n"
    elif suffix == ".ecsv":
        from io import StringIO

        held = StringIO()
        to_table(candidates, facts).write(held, format="ascii.ecsv")
        text = held.getvalue()
    else:
        raise InputError(f"{path}: expected a name that ends in {', '.join(SUFFIXES)}", option="output")
    with StagedPath(path, overwrite) as staged:
        staged.temporary.write_text(text, "utf-8", "backslashreplace")


def _cell(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(value)
    return "" if isinstance(value, float) and math.isnan(value) else f"{value:.12g}"
