"""Which CASA belongs to which pipeline, and which of the installed ones may restore a set."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from enum import Enum
from importlib import resources
from pathlib import Path

from mwaconvert.archive.requests.model import Telescope
from mwaconvert.archive.texts import read_text
from mwaconvert.archive.units import Calibrated
from mwaconvert.errors import FormatError, InputError

_VERSION = re.compile(r"(?<![\d.])(\d{1,2})\.(\d+)\.(\d+)(?:[-.](\d+))?")  # a year is not a major version
_PIPELINE = re.compile(r"(?<!\d)(\d{4}\.\d+\.\d+[.-]\d+|\d{5})(?!\d)")


@dataclass(frozen=True, order=True, slots=True)
class CasaVersion:
    """A version of CASA. The build is None where a document does not tell it.

    Examples
    --------
    >>> CasaVersion.parse("6.5.4.9") == CasaVersion.parse("CASA 6.5.4-9")
    True
    """

    numbers: tuple[int, int, int]
    build: int | None = None

    def __str__(self) -> str:
        return ".".join(map(str, self.numbers)) + ("" if self.build is None else f"-{self.build}")

    @classmethod
    def parse(cls, text: str) -> CasaVersion:
        """Read a version from a table, a manifest, a log or the name of an installation."""
        match = _VERSION.search(text)
        if match is None:
            raise InputError(f"'{text}' names no CASA version; expected one such as 6.5.4-9")
        build = None if match[4] is None else int(match[4])
        return cls((int(match[1]), int(match[2]), int(match[3])), build)

    def is_same(self, other: CasaVersion) -> bool:
        """Whether both are one version; a build nobody tells fits any."""
        if self.build is None or other.build is None:
            return self.numbers == other.numbers
        return (self.numbers, self.build) == (other.numbers, other.build)

    @property
    def key(self) -> tuple[int, ...]:
        """For sorting: an unknown build comes first."""
        return (*self.numbers, -1 if self.build is None else self.build)


@dataclass(frozen=True, slots=True)
class OperationsRow:
    """A pipeline in operations: its CASA and the days it was used, None where they are not known."""

    telescope: Telescope
    casa: CasaVersion
    pipeline: str
    since: date | None
    until: date | None


@dataclass(frozen=True)
class VersionTable:
    """The approved versions; read from a text file."""

    rows: tuple[OperationsRow, ...]

    def casa_of(self, telescope: Telescope, pipeline: str) -> CasaVersion:
        """The CASA that belongs to a pipeline version, as manifests and reports spell it.

        Raises
        ------
        InputError
            A version the table does not list.
        """
        for word in _PIPELINE.findall(pipeline):
            for row in self.rows:
                if row.telescope is telescope and row.pipeline == word.replace("-", "."):
                    return row.casa
        raise InputError(
            f"pipeline '{pipeline}' of {telescope.name} is not in the table of versions; add a line to it"
        )

    def doubt(self, casa: CasaVersion, pipeline: str) -> str:
        """That the table gives a pipeline another CASA than a document does, in words; empty if it does not."""
        names = [word.replace("-", ".") for word in _PIPELINE.findall(pipeline)]
        listed = [row.casa for row in self.rows if row.pipeline in names]
        if not listed or any(casa.is_same(known) for known in listed):
            return ""
        return f"pipeline {pipeline} belongs to CASA {listed[0]} by the table of versions, not to {casa}"

    def casa_on(self, telescope: Telescope, day: date) -> CasaVersion:
        """The latest CASA known to have been in operations on a day; `InputError` for a day before the table."""
        fitting = [
            row.casa
            for row in self.rows
            if row.telescope is telescope
            and row.since is not None
            and row.since <= day
            and (row.until is None or day <= row.until)
        ]
        if not fitting:
            raise InputError(f"the table of versions has none for {telescope.name} on {day}")
        return max(fitting, key=lambda version: version.key)


def read_version_table(path: Path | None = None) -> VersionTable:
    """Read a table of versions; the packaged one by default.

    Raises
    ------
    FormatError
        A line that is not telescope, CASA, pipeline, first and last day.
    """
    name = str(path or "casa_versions.txt")
    packaged = resources.files("mwaconvert.archive.casa") / "casa_versions.txt"
    telescopes = {"alma": Telescope.ALMA, "vla": Telescope.VLA}
    rows = []
    for number, line in enumerate(
        (packaged.read_text() if path is None else read_text(path)).splitlines(), 1
    ):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            telescope, casa, pipeline, since, until = words
            days = [None if day == "-" else date.fromisoformat(day) for day in (since, until)]
            rows.append(OperationsRow(telescopes[telescope], CasaVersion.parse(casa), pipeline, *days))
        except (ValueError, KeyError, InputError):
            raise FormatError(
                f"{name}: line {number}: '{line.strip()}'; expected alma or vla, CASA, pipeline, first and last day"
            ) from None
    return VersionTable(tuple(rows))


class Verdict(Enum):
    """Whether a CASA may restore a set."""

    SAME = "the version of the calibration"
    LATER = "a later version than that of the calibration; pipeline calibrations tolerate it"
    EARLIER = "an earlier version than that of the calibration; results may differ"


@dataclass(frozen=True, slots=True)
class CasaChoice:
    """The CASA to use and how it compares with the one that calibrated; warnings are empty if all is the same."""

    version: CasaVersion
    verdict: Verdict
    warnings: tuple[str, ...]


def approved_casa(
    table: VersionTable, telescope: Telescope, day: date, installed: Collection[CasaVersion]
) -> tuple[CasaVersion, tuple[str, ...]]:
    """The CASA for a new calibration: that in operations on a day, else the newest that is installed, with a warning.

    Raises
    ------
    InputError
        Nothing is installed, or the table has none for the day.
    """
    if not installed:
        raise InputError("the site has no CASA; name its folder under [casa]")
    approved = table.casa_on(telescope, day)
    same = [version for version in installed if version.is_same(approved)]
    if same:
        return max(same, key=lambda version: version.key), ()
    newest = max(installed, key=lambda version: version.key)
    return newest, (f"CASA {approved} is in operations and not installed; CASA {newest} was used",)


def choose_casa(
    wanted: CasaVersion,
    calibrated: Calibrated,
    installed: Collection[CasaVersion],
    *,
    mpi_servers: int = 0,
    parallel: bool = False,
) -> CasaChoice:
    """Choose among the installed versions: the same, else the next later, else the latest earlier one.

    Parameters
    ----------
    wanted : the version that calibrated
    mpi_servers : that calibrated, 0 for serial
    parallel : whether the restore runs on several

    Raises
    ------
    InputError
        Nothing is installed, or a hand calibration, which another version would do differently.
    """
    if not installed:
        raise InputError("no CASA is installed; expected at least one version")
    same = [version for version in installed if version.is_same(wanted)]
    if calibrated is Calibrated.HAND and not same:
        have = ", ".join(str(v) for v in sorted(installed, key=lambda v: v.key))
        raise InputError(f"a hand calibration needs CASA {wanted}, exactly; installed are {have}")
    later = [version for version in installed if version.key > wanted.key]
    if same:
        chosen, verdict = max(same, key=lambda v: v.key), Verdict.SAME
    elif later:
        chosen, verdict = min(later, key=lambda v: v.key), Verdict.LATER
    else:
        chosen, verdict = max(installed, key=lambda v: v.key), Verdict.EARLIER
    warnings = [] if verdict is Verdict.SAME else [f"CASA {chosen} is {verdict.value} (CASA {wanted})"]
    if parallel != (mpi_servers > 0):
        was, now = ("on several processes", "in one") if mpi_servers else ("in one process", "on several")
        warnings.append(f"calibrated {was} and restored {now}: measurement sets can differ")
    return CasaChoice(chosen, verdict, tuple(warnings))
