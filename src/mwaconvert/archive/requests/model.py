"""A pipeline processing request (PPR) as data: what its document says, before anything is judged."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, replace
from enum import Enum

from mwaconvert.archive.identifiers import StatusUid, Uid
from mwaconvert.errors import InputError

NAMESPACE = "Alma/pipelinescience/SciPipeRequest"
SEPARATOR = " | "  # between the execution blocks of a session
_SESSION = re.compile(r"SESSION_(\d+)")

_IMPORTS = {"h_importdata", "hifa_importdata", "hifv_importdata", "hsd_importdata", "hsdn_importdata"}
_RESTORES = {"h_restoredata", "hifa_restoredata", "hifv_restoredata", "hsd_restoredata", "hsdn_restoredata"}
_IMAGING = {"hif_makeimages", "hsd_imaging"}


class Telescope(Enum):
    """Whose form a request has: one scheduling block with its executions, or one SDM."""

    ALMA = "ALMA"
    VLA = "EVLA"


class Purpose(Enum):
    """What the commands of a request do."""

    CALIBRATION = "calibration"
    IMAGING = "imaging"
    CALIBRATION_AND_IMAGING = "calibration and imaging"
    RESTORE = "restore"


@dataclass(frozen=True, slots=True)
class ProjectSummary:
    """Who asked for what on which telescope."""

    proposal_code: str
    observatory: str = "ALMA Joint Observatory"
    telescope: str = "ALMA"
    processing_site: str = "Undefined"
    operator: str = "Anonymous"
    mode: str = "CSV"
    version: str = "Undefined"
    creation_time: str = "1970-01-01T00:00:00.000"


@dataclass(frozen=True, slots=True)
class ProjectStructure:
    """The unit set a request belongs to. The "MOUS id" everybody uses is `ous_status`."""

    project: str
    part_id: str
    project_status: str
    ous_status: str
    title: str = "Undefined"
    kind: str = "Member"


@dataclass(frozen=True, slots=True)
class Command:
    """A pipeline task and its parameters, in order."""

    name: str
    parameters: tuple[tuple[str, str], ...] = ()

    def with_parameter(self, keyword: str, value: str) -> Command:
        """This command with one parameter set, in its place if it is there."""
        names = [name for name, _ in self.parameters]
        if keyword in names:
            changed = tuple((n, value if n == keyword else v) for n, v in self.parameters)
            return replace(self, parameters=changed)
        return replace(self, parameters=(*self.parameters, (keyword, value)))


@dataclass(frozen=True, slots=True)
class Execution:
    """An execution block of a request: uid and name on disk."""

    uid: str
    disk_name: str


@dataclass(frozen=True, slots=True)
class DataBlock:
    """A scheduling block and its executions; for the VLA a path and SDM names alone."""

    relative_path: str
    executions: tuple[Execution, ...]
    sched_block: str = ""
    sb_status: str = ""
    title: str = "Undefined"


@dataclass(frozen=True, slots=True)
class ResultsProcessing:
    """What shall happen to results: text of the document, true or false. `operator_address` keeps no secret."""

    archive_results: str = "false"
    clean_up_disk: str = "false"
    update_project_life_cycle: str = "false"
    notify_operator_when_done: str = "false"
    operator_address: str = "Unknown"


@dataclass(frozen=True, slots=True)
class Request:
    """A processing request.

    Parameters
    ----------
    intents : pairs of keyword and value in the order of the document; SESSION_n among them
    blocks : one for a sound request
    n_requests : processing requests in the document; a pipeline processes the first alone
    """

    telescope: Telescope
    summary: ProjectSummary
    structure: ProjectStructure | None
    intents: tuple[tuple[str, str], ...]
    title: str
    commands: tuple[Command, ...]
    blocks: tuple[DataBlock, ...]
    results: ResultsProcessing = ResultsProcessing()
    n_requests: int = 1

    @property
    def mous(self) -> StatusUid:
        """The member set, by its status uid; `InputError` for requests that name none."""
        if self.structure is None:
            raise InputError("the request names no unit set; requests of the VLA do not")
        return StatusUid(Uid.parse(self.structure.ous_status))

    @property
    def executions(self) -> tuple[Execution, ...]:
        """The execution blocks of all data blocks."""
        return tuple(execution for block in self.blocks for execution in block.executions)

    @property
    def session_intents(self) -> tuple[tuple[int, str], ...]:
        """Number and value of each SESSION_n, in the order of the document."""
        found = ((_SESSION.fullmatch(keyword), value) for keyword, value in self.intents)
        return tuple((int(match[1]), value) for match, value in found if match)

    @property
    def sessions(self) -> dict[int, tuple[str, ...]]:
        """Uids of each session as they are meant: the bar separates, blanks do not count."""
        found: dict[int, tuple[str, ...]] = {}
        for number, value in self.session_intents:
            uids = tuple(uid.strip() for uid in value.split("|") if uid.strip())
            found[number] = found.get(number, ()) + uids
        return found

    @property
    def purpose(self) -> Purpose:
        """What the commands do, by their names."""
        names = {command.name for command in self.commands}
        images = bool(names & _IMAGING)
        if names & _IMPORTS:
            return Purpose.CALIBRATION_AND_IMAGING if images else Purpose.CALIBRATION
        return Purpose.IMAGING if images else Purpose.RESTORE

    @property
    def begins_with_data(self) -> bool:
        """Whether the first command, breakpoints aside, brings data in: import or restore."""
        names = [command.name for command in self.commands if command.name != "breakpoint"]
        return bool(names) and names[0] in _IMPORTS | _RESTORES


def read_value(value: str) -> object:
    """A parameter or intent as the public reader hands it to a task: many texts become other things.

    Digits become an integer or a float, true and false in any case booleans, bracketed literals a list, tuple or
    dictionary; None, uids and the rest stay text.

    Examples
    --------
    >>> [read_value(v) for v in ("True", "1e3", "[1, 2]", "1,2", "None", "no")]
    [True, 1000.0, [1, 2], '1,2', 'None', 'no']
    """
    for number in (int, float):
        try:
            return number(value)
        except ValueError:
            continue
    if value.lower() in ("true", "false"):
        return value.lower() == "true"
    if value.strip()[:1] in ("[", "(", "{"):
        try:
            literal: object = ast.literal_eval(value)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return value
        kinds: dict[str, type] = {"[": list, "(": tuple, "{": dict}
        if isinstance(literal, kinds[value.strip()[0]]):
            return literal
    return value
