"""A dispersed pulse: as a search finds it, as lists keep it, as triggers are made of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mwaconvert.extras import need
from mwaconvert.spectra.dispersion import K_DM
from mwaconvert.spectra.recording import Frame

if TYPE_CHECKING:
    from astropy.table import QTable

NOT_KNOWN = math.nan
#: of the columns of a table
_UNITS = {
    "time_s": "s",
    "time_err_s": "s",
    "dm": "pc / cm3",
    "dm_err": "pc / cm3",
    "width_s": "s",
    "width_err_s": "s",
    "mjd": "d",
}


class Flag(StrEnum):
    """What makes a candidate doubtful."""

    DM_EDGE = "dm_edge"
    NEAR_ZERO = "near_zero"
    WIDEST = "widest"
    TOO_NARROW = "too_narrow"
    OUTSIDE = "outside"
    PART_OF_BAND = "part_of_band"
    IMPULSE = "impulse"
    MANY_BEAMS = "many_beams"

    @property
    def words(self) -> str:
        """What it means."""
        return _FLAG_WORDS[self]


_FLAG_WORDS = {
    Flag.DM_EDGE: "the best DM is, within its error, the last one searched: the pulse may be beyond",
    Flag.NEAR_ZERO: "it crosses the band in less than its width: it cannot be told from interference at DM 0",
    Flag.WIDEST: "the best boxcar is the widest that was searched: it may be a slow change",
    Flag.TOO_NARROW: "it is narrower than half of what its DM smears over a channel",
    Flag.OUTSIDE: "a part of the sweep is before or after the data",
    Flag.PART_OF_BAND: "a third of the band, or less, holds it",
    Flag.IMPULSE: "an impulse at DM 0 was taken away from a tenth of it or more: it is what is left of it, or lost S/N",
    Flag.MANY_BEAMS: "more beams have it than a source in the sky is in",
}


@dataclass(frozen=True, kw_only=True, repr=False)
class Candidate:
    """A pulse; errors are standard deviations, and NaN where they are not known.

    Parameters
    ----------
    time_s : middle of its best boxcar at the centre of the highest channel, from the start of the data
    dm : pc/cm^3
    snr : signal over noise
    width_s : of its best boxcar; NaN where a list states it in samples of unknown length
    n_detections : above the threshold that belong to it
    time_err_s, dm_err, width_err_s : errors
    mjd : of `time_s`, UTC; None where the start of the data is not known
    beam : number of the beam of a telescope with several
    width_samples : of its boxcar, in samples of the program that listed it; NaN of our own searches
    n_beams : that have it, of those that were compared
    score : from 0, like interference or noise, to 1, like a pulse; NaN where the data were not cleaned
    flags : what makes it doubtful; nothing is dropped because of them

    Examples
    --------
    >>> pulse = Candidate(time_s=0.7, dm=300.0, snr=14.2, width_s=4e-3, time_err_s=5e-4, dm_err=0.3)
    >>> pulse
    <Candidate: t = 0.70000 +- 0.00050 s, DM = 300.000 +- 0.300, S/N = 14.20, width = 4 ms>
    """

    time_s: float
    dm: float
    snr: float
    width_s: float = NOT_KNOWN
    n_detections: int = 1
    time_err_s: float = NOT_KNOWN
    dm_err: float = NOT_KNOWN
    width_err_s: float = NOT_KNOWN
    mjd: float | None = None
    beam: int = 0
    width_samples: float = NOT_KNOWN
    n_beams: int = 1
    score: float = NOT_KNOWN
    flags: tuple[Flag, ...] = ()

    def __repr__(self) -> str:
        time_err = "" if math.isnan(self.time_err_s) else f" +- {self.time_err_s:.5f}"
        dm_err = "" if math.isnan(self.dm_err) else f" +- {self.dm_err:.3f}"
        width = (
            f"{self.width_samples:g} samples" if math.isnan(self.width_s) else f"{1e3 * self.width_s:.4g} ms"
        )
        beam = f", beam {self.beam}" if self.beam else ""
        return (
            f"<Candidate: t = {self.time_s:.5f}{time_err} s, DM = {self.dm:.3f}{dm_err}, S/N = {self.snr:.2f}, "
            f"width = {width}{beam}>"
        )

    def to_table(self) -> QTable:
        """The candidate as a table of one row, see `to_table`."""
        return to_table([self])


@dataclass(frozen=True, kw_only=True, eq=False)
class SearchFacts:
    """What has to be known of a search to judge its candidates, and to list them as other programs do.

    Parameters
    ----------
    path : the file that was searched
    source : its name in the file
    dms : (n_trial) pc/cm^3
    dt_s : seconds per sample
    band_mhz : centres of the lowest and the highest channel
    threshold : S/N of detections
    loss : bound of the S/N lost against exact delays
    k_dm : dispersion constant, MHz^2 s cm^3 / pc
    frame : what MJDs refer to
    n_beams : of which the candidates were compared
    """

    path: Path
    source: str
    dms: npt.NDArray[np.float64]
    dt_s: float
    band_mhz: tuple[float, float]
    threshold: float
    loss: float
    k_dm: float = K_DM
    frame: Frame = Frame.TOPOCENTRIC
    n_beams: int = 1

    def lines(self) -> dict[str, str]:
        """The facts in words, by name."""
        low, high = self.band_mhz
        beams = {"beams": f"{self.n_beams} were compared"} if self.n_beams > 1 else {}
        return {
            "file": str(self.path),
            "source": self.source,
            "dms": f"{self.dms[0]:g} to {self.dms[-1]:g} pc/cm^3, {self.dms.size} trials",
            "threshold": f"S/N {self.threshold:g}",
            "loss": f"at most {100 * self.loss:.2g} % of the S/N against exact delays",
            "k_dm": f"{self.k_dm:.9f} MHz^2 s cm^3 / pc",
            "mjd": self.frame.words,
            "reference": f"times at {high:.6f} MHz, the centre of the highest channel (lowest {low:.6f} MHz)",
        } | beams


def to_table(candidates: Sequence[Candidate], facts: SearchFacts | None = None) -> QTable:
    """Candidates as a table of astropy.

    Parameters
    ----------
    candidates : one row each
    facts : of the search, become metadata

    Returns
    -------
    QTable
        a column for each field of `Candidate`, with units; what is not known is NaN

    Examples
    --------
    >>> table = to_table([Candidate(time_s=1.0, dm=10.0, snr=8.0, width_s=1e-3)])
    >>> print(table["dm"][0], table["snr"][0], table["mjd"][0])
    10.0 pc / cm3 8.0 nan d
    """
    from astropy.table import QTable

    table = QTable(meta=dict(facts.lines()) if facts is not None else {})
    for field in fields(Candidate):
        held = [getattr(candidate, field.name) for candidate in candidates]
        if isinstance(field.default, int):
            table[field.name] = np.array(held, np.int64)
        elif isinstance(field.default, tuple):  # names
            table[field.name] = np.array([" ".join(names) for names in held], str)
        else:
            values = np.array([NOT_KNOWN if value is None else value for value in held], np.float64)
            table[field.name] = values if field.name not in _UNITS else values * _unit(_UNITS[field.name])
    return table


def to_pandas(table: QTable) -> Any:
    """A table of candidates as a pandas.DataFrame (extra `pandas`); names of columns have the units.

    Raises
    ------
    InputError : pandas is not installed
    """
    need("pandas", "pandas", "to_pandas")
    return table.to_pandas()


def _unit(name: str) -> Any:
    from astropy import units

    return units.Unit(name)


def html_table(candidates: list[Candidate]) -> str:
    """Candidates as a table for a notebook.

    Examples
    --------
    >>> html_table([Candidate(time_s=1.0, dm=10.0, snr=8.0, width_s=1e-3)]).count("<tr>")
    2
    """
    names = ("time (s)", "DM (pc/cm³)", "S/N", "width (ms)", "detections", "MJD")
    rows = ["".join(f"<th>{name}</th>" for name in names)]
    for c in candidates:
        cells = (
            _with_error(c.time_s, c.time_err_s, 5),
            _with_error(c.dm, c.dm_err, 3),
            f"{c.snr:.2f}",
            _with_error(1e3 * c.width_s, 1e3 * c.width_err_s, 3),
            str(c.n_detections),
            "" if c.mjd is None else f"{c.mjd:.10f}",
        )
        rows.append("".join(f"<td>{cell}</td>" for cell in cells))
    return "<table>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>"


def _with_error(value: float, error: float, digits: int) -> str:
    return f"{value:.{digits}f}" + ("" if math.isnan(error) else f" ± {error:.{digits}f}")
