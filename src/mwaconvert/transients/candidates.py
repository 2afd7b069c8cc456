"""The table of candidates: what was found, how sure it is, and what a search was."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import numpy as np

from mwaconvert import __version__
from mwaconvert.spectra.dispersion import delay_per_dm
from mwaconvert.spectra.stream import Stream
from mwaconvert.staging import StagedPath
from mwaconvert.transients.events import Candidate
from mwaconvert.transients.search import Search

_GRID = 12**-0.5  # standard deviation of what is uniform over one step
_SIGMA = 1 / 2.354820045  # of a Gaussian, over its full width at half maximum
_SHARP = 2.0  # a boxcar finds the time of a Gaussian so many times worse than the matched filter (measured)
_BOXCAR = 0.20  # of the width between two boxcars, each twice as long as the last, over the width


@dataclass(frozen=True)
class Row:
    """A candidate as the table has it; errors are standard deviations."""

    time_s: float  #: middle of the pulse at the highest channel, from the start of the data
    time_err_s: float
    dm: float  #: pc/cm^3
    dm_err: float
    snr: float
    width_s: float  #: of the best boxcar
    width_err_s: float
    n_detections: int  #: that belong to it
    mjd: float | None  #: of time_s, UTC


def candidate_rows(search: Search, stream: Stream, candidates: list[Candidate] | None = None) -> list[Row]:
    """Rows of the table, best first.

    Parameters
    ----------
    search : what was found
    stream : in which
    candidates : default those of the search

    Notes
    -----
    For a Gaussian pulse of standard deviation s in white noise the matched filter finds the time to
    sqrt(2) s / (S/N), a boxcar to twice that. Its DM follows from the times of the channels, so its error is that over
    the standard deviation of their delays per unit of DM; and the time at the highest channel has that of the DM in
    it, times the mean delay. The steps of the DMs, samples and boxcars add what is uniform over a step.
    """
    rows = []
    per_dm = delay_per_dm(stream.freq_mhz, "top", stream.k_dm)
    spread, mean = float(per_dm.std()), float(per_dm.mean())
    for c in search.candidates() if candidates is None else candidates:
        timing = _SHARP * sqrt(2) * c.width_s * _SIGMA / c.snr
        step = _step(search.dms, c.dm)
        dm_err = sqrt((timing / spread) ** 2 + (step * _GRID) ** 2) if spread > 0 else float("inf")
        time_err = (
            sqrt(timing**2 + (mean * dm_err) ** 2 + (stream.dt_s * _GRID) ** 2) if spread > 0 else timing
        )
        width_err = c.width_s * sqrt(_BOXCAR**2 + 1 / c.snr**2)
        mjd = None if stream.start_mjd is None else stream.start_mjd + c.time_s / 86400
        rows.append(Row(c.time_s, time_err, c.dm, dm_err, c.snr, c.width_s, width_err, c.n_detections, mjd))
    return rows


def _step(dms: np.ndarray[tuple[int, ...], np.dtype[np.float64]], dm: float) -> float:
    """Distance of the trials about a DM."""
    if dms.size < 2:
        return 0.0
    k = int(np.clip(np.searchsorted(dms, dm), 1, dms.size - 1))
    return float(dms[k] - dms[k - 1])


def facts(search: Search, stream: Stream, threshold: float) -> dict[str, str]:
    """What has to be known of a search to judge its candidates."""
    low, high = search.band_mhz
    return {
        "program": f"mwaconvert {__version__}",
        "file": str(stream.path),
        "source": stream.source,
        "dms": f"{search.dms[0]:g} to {search.dms[-1]:g} pc/cm^3, {search.dms.size} trials",
        "threshold": f"S/N {threshold:g}",
        "loss": f"at most {100 * search.loss:.2g} % of the S/N against exact delays",
        "k_dm": f"{search.k_dm:.9f} MHz^2 s cm^3 / pc",
        "reference": f"times at {high:.6f} MHz, the centre of the highest channel (lowest {low:.6f} MHz)",
    }


def csv_text(rows: list[Row], about: dict[str, str]) -> str:
    """The table as text: comments that begin with #, names of the columns, rows."""
    out = io.StringIO()
    for key, value in about.items():
        out.write(f"# {key}: {' '.join(value.split())}\n")
    table = csv.writer(out, lineterminator="\n")
    table.writerow(Row.__dataclass_fields__)
    for row in rows:
        table.writerow(
            [
                f"{row.time_s:.6f}",
                f"{row.time_err_s:.6f}",
                f"{row.dm:.4f}",
                f"{row.dm_err:.4f}",
                f"{row.snr:.2f}",
                f"{row.width_s:.6f}",
                f"{row.width_err_s:.6f}",
                row.n_detections,
                "" if row.mjd is None else f"{row.mjd:.10f}",
            ]
        )
    return out.getvalue()


def write_candidates(
    path: Path, rows: list[Row], search: Search, stream: Stream, threshold: float, *, overwrite: bool = False
) -> None:
    """Write candidates; the name decides how.

    Parameters
    ----------
    path : .csv, or .singlepulse (PRESTO), .cand (heimdall), .trigger (AMBER)
    rows : of `candidate_rows`
    search, stream : where they are from
    threshold : S/N of detections
    overwrite : replace an existing file

    Raises
    ------
    InputError : the ending is not one of these
    """
    from mwaconvert.formats.spectra.candidate_lists import list_text

    about = facts(search, stream, threshold)
    text = csv_text(rows, about) if path.suffix == ".csv" else list_text(path, rows, search, stream)
    with StagedPath(path, overwrite) as staged:
        staged.temporary.write_text(text, "utf-8", "backslashreplace")
