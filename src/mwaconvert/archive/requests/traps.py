"""What a pipeline silently makes of an unsound request, each trap by its name.

Found by running the public reader on generated requests: it seldom complains, it puts execution blocks into the
first session, stops at a gap, or takes the last of two keys.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from mwaconvert.archive.identifiers import SdmName, Uid, safe_name, stem_of_ms
from mwaconvert.archive.requests.model import SEPARATOR, Request, Telescope, read_value
from mwaconvert.errors import FormatError, InputError


class Trap(Enum):
    """Kinds of unsound requests, with what a pipeline does to them."""

    SESSION_GAP = "session numbers have a gap; reading stops there and later execution blocks go to session_1"
    SESSION_TWICE = (
        "a session is given twice; the last one wins and the other's execution blocks go to session_1"
    )
    WITHOUT_SESSION = "an execution block is in no session; it silently goes to session_1"
    TWO_SESSIONS = "an execution block is in two sessions; the first wins"
    SEPARATOR = "execution blocks of a session must be joined by blank, bar, blank, with nothing around them"
    NOT_IN_DATA = "a session names an execution block that is not in the data set; it is ignored"
    SEVERAL_BLOCKS = (
        "several scheduling blocks are named; the reader aborts: put all execution blocks under one"
    )
    NO_EXECUTIONS = "no execution block is named; the run stops with an error-exit file"
    EXECUTION_TWICE = "an execution block is named twice"
    DISK_NAME = "the name on disk is not the file form of the uid; it matches no session"
    BAD_UID = "an identifier is malformed"
    SEVERAL_REQUESTS = "several processing requests are given; only the first is processed"
    SEVERAL_SDMS = "several SDMs are named; the VLA reader takes exactly one and finds none"
    NO_COMMANDS = "no command is given; the run stops with an error-exit file"
    NO_DATA_COMMAND = "the first command neither imports nor restores data; the others find nothing"
    PARAMETER_TWICE = "a parameter is given twice; the last one wins"
    INTENT_TWICE = "an intent is given twice; the last one wins"
    RELATIVE_PATH = "the relative path is empty or leaves the root folder"
    SPECTRAL_MODE = "SPECTRAL_MODE skips Hanning smoothing for any text but false and 0"
    MISSING_SUMMARY = "the project summary lacks an element the reader requires"


@dataclass(frozen=True, slots=True)
class Problem:
    """A trap and where it is."""

    trap: Trap
    where: str

    def __str__(self) -> str:
        return f"{self.where}: {self.trap.value}"


def problems(request: Request) -> tuple[Problem, ...]:
    """Everything that a pipeline would silently get wrong or stop at; empty for a sound request."""
    found = [*_of_sessions(request), *_of_data(request), *_of_commands(request), *_of_project(request)]
    return tuple(dict.fromkeys(found))


def check(request: Request, name: str = "request") -> None:
    """Refuse an unsound request, naming every trap.

    Raises
    ------
    FormatError
        With one sentence for each problem.
    """
    found = problems(request)
    if found:
        raise FormatError(f"{name}: " + "; ".join(str(problem) for problem in found))


def sessions_as_read(request: Request) -> dict[str, str]:
    """The session the public reader gives each execution block, by disk name; what is unsound is not refused.

    Raises
    ------
    FormatError
        Several scheduling blocks or SDMs: the reader gives up.
    """
    several = len(request.blocks) > 1 or (request.telescope is Telescope.VLA and len(request.executions) > 1)
    if several:
        raise FormatError("the reader gives up on several scheduling blocks or SDMs")
    values = dict(request.intents)
    sessions: dict[str, list[str]] = {}
    number = 1
    while request.telescope is Telescope.ALMA and f"SESSION_{number}" in values:
        parts = values[f"SESSION_{number}"].split(SEPARATOR)
        sessions[f"session_{number}"] = [part.translate(str.maketrans(":/", "__")) for part in parts]
        number += 1
    return {
        execution.disk_name: next(
            (name for name, parts in sessions.items() if stem_of_ms(execution.disk_name) in parts),
            "session_1",
        )
        for execution in request.executions
    }


def _twice(values: tuple[str, ...]) -> list[str]:
    return [value for value, n in Counter(values).items() if n > 1]


def _of_sessions(request: Request) -> Iterator[Problem]:
    numbers = [number for number, _ in request.session_intents]
    for twice in _twice(tuple(f"SESSION_{n}" for n in numbers)):
        yield Problem(Trap.SESSION_TWICE, twice)
    if request.telescope is Telescope.VLA:
        return
    present = set(numbers)
    for number in sorted(present):
        if number != 1 and number - 1 not in present:
            yield Problem(Trap.SESSION_GAP, f"SESSION_{number}")
    if 0 in present:
        yield Problem(Trap.SESSION_GAP, "SESSION_0")
    yield from _of_session_values(request)


def _of_session_values(request: Request) -> Iterator[Problem]:
    known = {execution.uid for execution in request.executions}
    holders: dict[str, set[int]] = {uid: set() for uid in known}
    for number, value in request.session_intents:
        uids = [uid.strip() for uid in value.split("|")]
        if value != SEPARATOR.join(uids) or (len(uids) > 1 and "" in uids) or any(" " in uid for uid in uids):
            yield Problem(Trap.SEPARATOR, f"SESSION_{number}")
        for uid in filter(None, uids):
            if uid in known:
                holders[uid].add(number)
            elif " " not in uid:
                yield Problem(Trap.NOT_IN_DATA, f"SESSION_{number}, {uid}")
    for uid, numbers in holders.items():
        if not numbers:
            yield Problem(Trap.WITHOUT_SESSION, uid)
        if len(numbers) > 1:
            yield Problem(Trap.TWO_SESSIONS, uid)


def _of_data(request: Request) -> Iterator[Problem]:
    if not request.executions:
        yield Problem(Trap.NO_EXECUTIONS, "data set")
    if len(request.blocks) > 1:
        yield Problem(Trap.SEVERAL_BLOCKS, "data set")
    for uid in _twice(tuple(execution.uid for execution in request.executions)):
        yield Problem(Trap.EXECUTION_TWICE, uid)
    for block in request.blocks:
        parts = block.relative_path.split("/")
        if not block.relative_path or block.relative_path.startswith("/") or ".." in parts:
            yield Problem(Trap.RELATIVE_PATH, f"'{block.relative_path}'")
    if request.telescope is Telescope.VLA:
        yield from _of_sdms(request)
    else:
        yield from _of_executions(request)


def _of_sdms(request: Request) -> Iterator[Problem]:
    if len(request.executions) > 1:
        yield Problem(Trap.SEVERAL_SDMS, "data set")
    for execution in request.executions:
        if _refused(SdmName.parse, execution.disk_name):
            yield Problem(Trap.BAD_UID, f"'{execution.disk_name}'")


def _of_executions(request: Request) -> Iterator[Problem]:
    for block in request.blocks:
        for uid in (block.sched_block, block.sb_status):
            if _refused(Uid.parse, uid):
                yield Problem(Trap.BAD_UID, f"scheduling block '{uid}'")
    for execution in request.executions:
        if not execution.uid.startswith("uid://") or _refused(Uid.parse, execution.uid):
            yield Problem(Trap.BAD_UID, f"execution block '{execution.uid}'")
        elif _refused(safe_name, execution.disk_name) or (
            stem_of_ms(execution.disk_name) != Uid.parse(execution.uid).file_form
        ):
            yield Problem(Trap.DISK_NAME, f"'{execution.disk_name}' of {execution.uid}")


def _of_commands(request: Request) -> Iterator[Problem]:
    if not request.commands:
        yield Problem(Trap.NO_COMMANDS, "procedure")
    elif not request.begins_with_data:
        yield Problem(Trap.NO_DATA_COMMAND, request.commands[0].name)
    for command in request.commands:
        for keyword in _twice(tuple(keyword for keyword, _ in command.parameters)):
            yield Problem(Trap.PARAMETER_TWICE, f"{command.name} {keyword}")
    others = tuple(keyword for keyword, _ in request.intents if not keyword.startswith("SESSION_"))
    for keyword in _twice(others):
        yield Problem(Trap.INTENT_TWICE, keyword)
    mode = dict(request.intents).get("SPECTRAL_MODE")
    if mode is not None and read_value(mode) is not True and bool(read_value(mode)):
        yield Problem(Trap.SPECTRAL_MODE, f"'{mode}'")


def _of_project(request: Request) -> Iterator[Problem]:
    if request.n_requests > 1:
        yield Problem(Trap.SEVERAL_REQUESTS, f"{request.n_requests} requests")
    summary = request.summary
    needed = {"ProposalCode": summary.proposal_code, "Observatory": summary.observatory}
    needed["Telescope"] = summary.telescope
    if request.telescope is Telescope.VLA:
        needed |= {
            "ProcessingSite": summary.processing_site,
            "Operator": summary.operator,
            "Mode": summary.mode,
        }
    for element, value in needed.items():
        if not value:
            yield Problem(Trap.MISSING_SUMMARY, element)
    if request.telescope is Telescope.ALMA:
        if request.structure is None:
            yield Problem(Trap.MISSING_SUMMARY, "ProjectStructure")
        elif _refused(Uid.parse, request.structure.ous_status):
            yield Problem(Trap.BAD_UID, f"unit set '{request.structure.ous_status}'")


def _refused(parse: Callable[[str], object], value: str) -> bool:
    try:
        parse(value)
    except InputError:
        return True
    return False
