"""What was done for a request: inputs, numbers, outputs; as JSON too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import Enum
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mwaconvert import __version__
from mwaconvert.spectra.candidate import Candidate, to_pandas, to_table
from mwaconvert.spectra.recording import Frame
from mwaconvert.spectra.stream import Stream
from mwaconvert.text import plain
from mwaconvert.transients.periodicity.candidate import PeriodCandidate
from mwaconvert.transients.periodicity.candidate import to_table as periods_to_table
from mwaconvert.transients.products.period_requests import PeriodRequest
from mwaconvert.transients.products.requests import SpectraRequest

if TYPE_CHECKING:
    from astropy.table import QTable


_SEARCHES = ("search", "period")
#: numbers of which there is one for each candidate
MEASURES = ("mjd_barycentric", "flux_density_jy", "fluence_jy_ms")


class FileKind(Enum):
    """What is written."""

    CANDIDATES = "candidates"
    FIGURE = "figure"
    WATERFALL = "waterfall"
    FILTERBANK = "filterbank"
    SERIES = "time series"
    MASK = "mask"
    CUTOUT = "cut-out"
    FOLD = "fold"


@dataclass(frozen=True)
class ProductFile:
    """A file that was written."""

    path: Path
    kind: FileKind
    bytes: int

    @classmethod
    def of(cls, path: Path, kind: FileKind) -> ProductFile:
        """A file that is there."""
        return cls(path, kind, path.stat().st_size)


@dataclass(frozen=True)
class InputFile:
    """A file that was read."""

    path: Path
    format: str
    source: str
    n_chan: int
    n_times: int
    freq_low_mhz: float
    freq_high_mhz: float
    dt_s: float
    dm: float
    start_mjd: float | None
    frame: Frame
    telescope: str
    ra_deg: float | None
    dec_deg: float | None
    beam: int
    notes: tuple[str, ...]

    @classmethod
    def of(cls, stream: Stream) -> InputFile:
        """What an open file says."""
        return cls(
            stream.path,
            stream.kind,
            stream.source,
            stream.n_chan,
            stream.n_times,
            float(stream.freq_mhz[0]),
            float(stream.freq_mhz[-1]),
            stream.dt_s,
            stream.dm,
            stream.start_mjd,
            stream.recording.frame,
            stream.recording.telescope,
            stream.recording.ra_deg,
            stream.recording.dec_deg,
            stream.recording.beam,
            stream.notes,
        )


@dataclass(frozen=True, repr=False)
class ProductReport:
    """What was done.

    Attributes
    ----------
    request : what was asked for
    inputs : files that were read
    numbers : what was decided and found, by name
    outputs : files that were written
    candidates : of a search for pulses or periods, best first
    notes : what the user should know
    wall_s : from start to end
    peak_memory_bytes : largest resident size of the process
    """

    request: SpectraRequest
    inputs: tuple[InputFile, ...]
    numbers: Mapping[str, Any]
    outputs: tuple[ProductFile, ...]
    candidates: tuple[Candidate, ...] | tuple[PeriodCandidate, ...]
    notes: tuple[str, ...]
    wall_s: float
    peak_memory_bytes: int

    @property
    def verb(self) -> str:
        """search, dedisperse, waterfall, inject, period or fold."""
        return type(self.request).__name__.removesuffix("Request").lower()

    def to_dict(self) -> dict[str, Any]:
        """The report as strict JSON takes it; numbers that are not finite are None."""
        facts: dict[str, Any] = plain(
            {
                "format": f"mwaconvert {self.verb}",
                "software": {"mwaconvert": __version__},
                "request": _by_name(self.request),
                "inputs": [_by_name(file) for file in self.inputs],
                "numbers": dict(self.numbers),
                "outputs": [_by_name(file) | {"kind": file.kind.value} for file in self.outputs],
                "notes": self.notes,
                "performance": {"wall_s": self.wall_s, "peak_memory_bytes": self.peak_memory_bytes},
            }
        )
        if self.verb in _SEARCHES:
            facts["candidates"] = plain([_by_name(candidate) for candidate in self.candidates])
        return facts

    def to_table(self) -> QTable:
        """The candidates of a search as a table of astropy, see `mwaconvert.spectra.candidate.to_table`.

        Barycentric times, flux densities and fluences are columns too, where they were asked for.
        """
        if isinstance(self.request, PeriodRequest):
            return periods_to_table([c for c in self.candidates if isinstance(c, PeriodCandidate)])
        table = to_table([c for c in self.candidates if isinstance(c, Candidate)])
        for name in MEASURES:
            if name in self.numbers:
                table[name] = self.numbers[name]
        return table

    def to_pandas(self) -> Any:
        """`to_table` as a pandas.DataFrame (extra `pandas`).

        Raises
        ------
        InputError : pandas is not installed
        """
        return to_pandas(self.to_table())

    def _repr_html_(self) -> str:
        found = self.to_table()._repr_html_() if self.verb in _SEARCHES else ""
        return f"<p>{escape(repr(self))}</p>{found}"

    def __repr__(self) -> str:
        found = f", {len(self.candidates)} candidates" if self.verb in _SEARCHES else ""
        names = ", ".join(file.path.name for file in self.outputs) or "no file"
        return f"<ProductReport: {self.verb}{found}, wrote {names} in {self.wall_s:.3g} s>"


def _by_name(held: Any) -> dict[str, Any]:
    return {f.name: getattr(held, f.name) for f in fields(held)}
