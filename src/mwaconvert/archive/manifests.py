"""Pipeline manifests and AQUA reports: what a run made, by which programs, and how the pipeline scored it.

The attributes of images grew from 2 to 58 over the years: the layer that is stable is read, the bytes are kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mwaconvert.archive.identifiers import execution_name, safe_name
from mwaconvert.archive.xml import Element, attribute, child, children, read_xml, text
from mwaconvert.errors import FormatError, InputError


@dataclass(frozen=True, slots=True)
class ManifestExecution:
    """Files of one execution block; `name` without the endings of measurement sets."""

    name: str
    ms_name: str
    flagversions: str = ""
    calapply: str = ""
    images: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ManifestSession:
    """A session: its archives of calibration tables and its execution blocks."""

    name: str
    caltables: str
    aux_caltables: str
    executions: tuple[ManifestExecution, ...]


@dataclass(frozen=True)
class Manifest:
    """A pipeline manifest.

    `mpi_servers` sums those of all nodes; 0 is serial. `files` maps the kind of a file of the whole run, as weblog or
    restorescript, to its name. An `ous` of "unknown" is the VLA's.
    """

    name: str
    ous: str
    casa_version: str
    pipeline_version: str
    procedure: str
    mpi_servers: int
    sessions: tuple[ManifestSession, ...]
    files: dict[str, str]
    images: tuple[str, ...]
    data: bytes

    @property
    def executions(self) -> dict[str, str]:
        """Session of each execution block."""
        return {e.name: session.name for session in self.sessions for e in session.executions}

    @property
    def names(self) -> tuple[str, ...]:
        """Every file the manifest names, once."""
        of_sessions = [
            name
            for session in self.sessions
            for name in (
                session.caltables,
                session.aux_caltables,
                *(n for e in session.executions for n in (e.flagversions, e.calapply, *e.images)),
            )
        ]
        return tuple(dict.fromkeys(filter(None, (*of_sessions, *self.images, *self.files.values()))))


#: files of the whole run, by the element that names them
_RUN_FILES = (
    "piperequest",
    "weblog",
    "casa_cmdlog",
    "pipescript",
    "restorescript",
    "aux_products_file",
    "aqua_report",
    "manifest",
)


def read_manifest(source: Path | bytes, name: str = "manifest") -> Manifest:
    """Read a pipeline manifest.

    Raises
    ------
    FormatError
        No manifest, a name that leaves its folder, an execution block in two sessions.
    """
    if isinstance(source, Path):
        name, source = str(source), source.read_bytes()
    top = read_xml(source, name, "piperesults", None)
    ous = child(top, "ous")
    if ous is None:
        raise FormatError(f"{name}: has no <ous>; expected a pipeline manifest")
    try:
        servers = sum(int(n.get("num_mpi_servers", 0)) for n in children(ous, "execution_environment/node"))
    except ValueError as error:
        raise FormatError(f"{name}: num_mpi_servers: {error}") from None
    manifest = Manifest(
        name=str(top.get("name", "")),
        ous=str(ous.get("name", "")),
        casa_version=attribute(ous, "casaversion", "name"),
        pipeline_version=attribute(ous, "pipeline_version", "name"),
        procedure=attribute(ous, "procedure_name", "name"),
        mpi_servers=servers,
        sessions=tuple(_session(session) for session in children(ous, "session")),
        files={kind: found for kind in _RUN_FILES if (found := attribute(ous, kind, "name"))},
        images=tuple(str(image.get("name")) for image in children(ous, "image")),
        data=source,
    )
    _check(manifest, name)
    return manifest


def _session(element: Element) -> ManifestSession:
    executions = [*children(element, "asdm"), *children(element, "aux_asdm")]
    return ManifestSession(
        str(element.get("name", "")),
        attribute(element, "caltables", "name"),
        attribute(element, "aux_caltables", "name"),
        tuple(_execution(e) for e in executions),
    )


def _execution(element: Element) -> ManifestExecution:
    ms_name = str(element.get("name", ""))
    return ManifestExecution(
        execution_name(ms_name),
        ms_name,
        attribute(element, "finalflags", "name"),
        attribute(element, "applycmds", "name"),
        tuple(str(image.get("name")) for image in children(element, "image")),
    )


def _check(manifest: Manifest, name: str) -> None:
    try:
        for file in manifest.names:
            safe_name(file)
    except InputError as error:
        raise FormatError(f"{name}: {error}") from None
    homes: dict[str, str] = {}
    for session in manifest.sessions:
        for execution in session.executions:
            home = homes.setdefault(execution.name, session.name)
            if home != session.name:
                raise FormatError(f"{name}: {execution.name} is in {home} and in {session.name}")


def choose_manifest(paths: Iterable[Path]) -> Path:
    """The manifest a restore uses: the only one, or the one whose recipe calibrates (``*cal*``).

    Raises
    ------
    InputError
        None, or several that calibrate.
    """
    found = sorted(paths)
    recipes = [p for p in found if "cal" in p.name.removesuffix(".pipeline_manifest.xml").rpartition(".")[2]]
    chosen = found if len(found) == 1 else recipes
    if len(chosen) != 1:
        names = ", ".join(p.name for p in found) or "none"
        raise InputError(f"one manifest of a calibration is needed to restore; found {names}")
    return chosen[0]


@dataclass(frozen=True, slots=True)
class StageScore:
    """A stage of a run and how the pipeline scored it, from 0 to 1; None where it gives no number."""

    number: int
    name: str
    score: float | None
    reason: str


@dataclass(frozen=True)
class AquaReport:
    """The pipeline's own scores of a run. They are not the QA status, which an analyst decides."""

    proposal_code: str
    procedure: str
    report_date: str
    casa_version: str
    pipeline_version: str
    final_score: float | None
    stages: tuple[StageScore, ...]

    @property
    def worst(self) -> StageScore | None:
        """The stage of the lowest score, None if no stage has one."""
        scored = [stage for stage in self.stages if stage.score is not None]
        return min(scored, key=lambda stage: stage.score or 0.0, default=None)


def read_aqua_report(source: Path | bytes, name: str = "AQUA report") -> AquaReport:
    """Read ``pipeline_aquareport.xml``; `FormatError` for anything else."""
    if isinstance(source, Path):
        name, source = str(source), source.read_bytes()
    top = read_xml(source, name, "PipelineAquaReport", None)
    try:
        stages = tuple(
            StageScore(
                int(stage.get("Number")),
                str(stage.get("Name", "")),
                _score(attribute(stage, "RepresentativeScore", "Score")),
                attribute(stage, "RepresentativeScore", "Reason"),
            )
            for stage in children(top, "QaPerStage/Stage")
        )
    except (TypeError, ValueError) as error:
        raise FormatError(f"{name}: a stage has no number: {error}") from None
    summary = child(top, "QaSummary")
    return AquaReport(
        proposal_code=text(top, "ProjectStructure/ProposalCode"),
        procedure=text(top, "ProjectStructure/ProcessingProcedure"),
        report_date=text(summary, "ReportDate"),
        casa_version=text(summary, "CasaVersion"),
        pipeline_version=text(summary, "PipelineVersion"),
        final_score=_score(text(summary, "FinalScore")),
        stages=stages,
    )


def _score(value: str) -> float | None:
    """A score; Undefined and None are written where there is none."""
    try:
        return float(value)
    except ValueError:
        return None
