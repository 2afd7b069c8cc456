"""Which CASA runs what, how it is started, and how it is judged.

CASA runs as a child process with an environment of its own. Its exit status proves nothing: a pipeline leaves an
empty ``errorexit-*.txt`` in the working folder and returns as if all were well.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import Enum
from importlib import resources
from pathlib import Path

from mwaconvert.archive.identifiers import execution_name
from mwaconvert.archive.layouts import Layout, LayoutKind
from mwaconvert.archive.requests.model import Telescope
from mwaconvert.archive.units import Calibrated
from mwaconvert.errors import FormatError, InputError

_VERSION = re.compile(r"(?<![\d.])(\d{1,2})\.(\d+)\.(\d+)(?:[-.](\d+))?")  # years are no majors
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
    packaged = resources.files("mwaconvert.archive") / "casa_versions.txt"
    telescopes = {"alma": Telescope.ALMA, "vla": Telescope.VLA}
    rows = []
    for number, line in enumerate((path or packaged).read_text().splitlines(), 1):
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


@dataclass(frozen=True)
class CasaRun:
    """A child process to start: arguments, folder, environment. Nothing is inherited."""

    argv: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str]


def delivery_run(layout: Layout, casa: Path, home: Path, *, mpi_servers: int = 0) -> CasaRun:
    """The restore of a delivered package: its own script, started in the folder ``script``, as it must be.

    The script finds the method; extra steps in it are its own business. `home` keeps CASA's settings and logs.

    Raises
    ------
    InputError
        Not one script, or no delivered package.
    """
    scripts = sorted(layout.script.glob("*scriptForPI.py")) if layout.kind is LayoutKind.DELIVERY else []
    if len(scripts) != 1:
        raise InputError(
            f"{layout.script}: has {len(scripts)} files *scriptForPI.py; a delivered package has one"
        )
    words = ("--nologger", "--nogui", "--pipeline", "-c", scripts[0].name)
    return CasaRun(_launch(casa, mpi_servers) + words, layout.script, _environment(casa, home, layout))


def request_run(
    layout: Layout, casa: Path, home: Path, request: str, telescope: Telescope, *, mpi_servers: int = 0
) -> CasaRun:
    """The run of a request, by its name in the working folder."""
    module = "executeppr" if telescope is Telescope.ALMA else "executevlappr"
    program = f"import pipeline.infrastructure.{module} as ppr; ppr.executeppr({request!r}, importonly=False)"
    words = ("--nologger", "--nogui", "--pipeline", "-c", program)
    return CasaRun(_launch(casa, mpi_servers) + words, layout.working, _environment(casa, home, layout))


def _launch(casa: Path, mpi_servers: int) -> tuple[str, ...]:
    """CASA, or with servers its launcher: one client more than servers."""
    program = str(casa / "bin" / "casa")
    if mpi_servers == 0:
        return (program,)
    return (str(casa / "bin" / "mpicasa"), "-n", str(mpi_servers + 1), program)


def _environment(casa: Path, home: Path, layout: Layout) -> dict[str, str]:
    root = layout.root
    for _ in Path(layout.relative_path).parts:
        root = root.parent
    return {
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "MPLBACKEND": "Agg",
        "OMP_NUM_THREADS": "1",
        "PATH": f"{casa / 'bin'}:/usr/bin:/bin",
        "SCIPIPE_ROOTDIR": str(root),
        "TZ": "UTC",
    }


_SEVERE = re.compile(r"\tSEVERE\t|^Traceback \(most recent call last\)|^\*\*\* Error", re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    """How a run ended. `reasons` say why it failed; `severe` are the log lines worth reading, the first few."""

    reasons: tuple[str, ...]
    severe: tuple[str, ...] = ()

    @property
    def success(self) -> bool:
        """Whether everything that proves success is there."""
        return not self.reasons


def judge_pipeline_run(layout: Layout, logs: Sequence[Path] = ()) -> Outcome:
    """Judge the run of a request: no errorexit file, a manifest and products are there. Exit status is not asked."""
    reasons = _error_exits(layout)
    products = [p for p in layout.products.glob("*") if p.is_file()] if layout.products.is_dir() else []
    if not any(p.name.endswith("pipeline_manifest.xml") for p in products):
        reasons.append(f"no pipeline manifest in {layout.products.name}")
    if all(p.name.endswith(("pipeline_manifest.xml", ".txt")) for p in products):
        reasons.append(f"no products in {layout.products.name}")
    return Outcome(tuple(reasons), _severe_lines(logs))


def judge_restore(layout: Layout, executions: Collection[str], logs: Sequence[Path] = ()) -> Outcome:
    """Judge a restore: no errorexit file, and a measurement set of each execution block, whatever its ending.

    Parameters
    ----------
    executions : names on disk of the execution blocks that had to be restored
    """
    reasons = _error_exits(layout)
    if not executions:
        reasons.append("no execution block was to be restored")
    folder = layout.measurement_sets
    found = (
        {execution_name(p.parent.name) for p in folder.rglob("*.ms/table.dat")} if folder.is_dir() else set()
    )
    reasons += [f"no measurement set of {name} in {folder.name}" for name in executions if name not in found]
    return Outcome(tuple(reasons), _severe_lines(logs))


def _error_exits(layout: Layout) -> list[str]:
    folders = dict.fromkeys((layout.working, layout.products, layout.script))
    marks = [mark for folder in folders if folder.is_dir() for mark in sorted(folder.glob("errorexit-*.txt"))]
    return [f"{mark.parent.name}/{mark.name}: the pipeline stopped with an error" for mark in marks]


def _severe_lines(logs: Sequence[Path], most: int = 20) -> tuple[str, ...]:
    lines: list[str] = []
    for log in logs:
        with log.open(errors="replace") as file:
            for line in file:
                if _SEVERE.search(line) and len(lines) < most:
                    lines.append(line.rstrip("\n"))
    return tuple(lines)
