"""Names of earlier releases: candidates are `mwaconvert.spectra.candidate.Candidate` now, and know their errors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from mwaconvert.formats.spectra import candidate_lists
from mwaconvert.spectra.aliases import warn_renamed
from mwaconvert.spectra.candidate import Candidate
from mwaconvert.spectra.stream import Stream
from mwaconvert.transients.search import Search


def __getattr__(name: str) -> Any:
    if name == "Row":
        warn_renamed("transients.candidates.Row", "spectra.candidate.Candidate")
        return Candidate
    raise AttributeError(f"module {__name__} has no attribute {name}")


def candidate_rows(
    search: Search, stream: Stream, candidates: list[Candidate] | None = None
) -> list[Candidate]:
    """The old name of `Search.candidates`, which knows errors and MJD by itself.

    Parameters
    ----------
    search : what was found
    stream : in which
    candidates : default those of the search
    """
    warn_renamed("candidate_rows(search, stream)", "search.candidates()")
    search = replace(search, start_mjd=stream.start_mjd)
    return search.candidates() if candidates is None else search.precision.measured(candidates)


def write_candidates(
    path: Path,
    rows: list[Candidate],
    search: Search,
    stream: Stream,
    threshold: float,
    *,
    overwrite: bool = False,
) -> None:
    """The old name of `formats.spectra.candidate_lists.write_candidates`.

    Parameters
    ----------
    path : .csv, or .singlepulse (PRESTO), .cand (heimdall), .trigger (AMBER)
    rows : candidates
    search, stream : where they are from
    threshold : S/N of detections
    overwrite : replace an existing file
    """
    warn_renamed("transients.candidates.write_candidates", "formats.spectra.candidate_lists.write_candidates")
    facts = search.facts(stream, threshold)
    candidate_lists.write_candidates(path, rows, facts, overwrite=overwrite)
