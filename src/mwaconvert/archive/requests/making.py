"""Requests made from the tables of an archive and the procedure of a pipeline; execution blocks added, taken away.

A multi-block member set goes under one scheduling block with the path cut back to the member set, as operators
do: the reader takes no two.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime

from mwaconvert.archive.identifiers import ExecBlockUid, SdmName, StatusUid, Uid, UnitRef
from mwaconvert.archive.requests.document import Procedure
from mwaconvert.archive.requests.model import (
    SEPARATOR,
    Command,
    DataBlock,
    Execution,
    ProjectStructure,
    ProjectSummary,
    Request,
    Telescope,
)
from mwaconvert.archive.requests.traps import check
from mwaconvert.archive.times import utc
from mwaconvert.archive.units import SchedBlock, Session, check_sessions
from mwaconvert.errors import InputError

#: calibration files wait in rawdata already
_RESTORE = {
    Telescope.ALMA: Command("hifa_restoredata", (("copytoraw", "False"),)),
    Telescope.VLA: Command("hifv_restoredata", (("copytoraw", "False"),)),
}
_MODE = {
    Telescope.ALMA: "INTERFEROMETRY_STANDARD_OBSERVING_MODE",
    Telescope.VLA: "VLA_INTERFEROMETRY_STANDARD_OBSERVING_MODE",
}


def restore_procedure(telescope: Telescope) -> Procedure:
    """The procedure that restores a calibration and does nothing else."""
    command = _RESTORE[telescope]
    return Procedure(command.name, (command,))


def restore_first(procedure: Procedure, telescope: Telescope) -> Procedure:
    """`procedure` with a restore before its first command, unless it begins with one."""
    command = _RESTORE[telescope]
    if any(given.name == command.name for given in procedure.commands):
        return procedure
    return replace(procedure, commands=(command, *procedure.commands))


def with_parameter(procedure: Procedure, command: str, keyword: str, value: str) -> Procedure:
    """`procedure` with one parameter of one command set, such as ``gainmap`` of ``hifv_restoredata``.

    Raises
    ------
    InputError
        The procedure has no such command.
    """
    if all(given.name != command for given in procedure.commands):
        names = ", ".join(given.name for given in procedure.commands)
        raise InputError(f"{procedure.title} has no command {command}; it has {names}")
    changed = tuple(c.with_parameter(keyword, value) if c.name == command else c for c in procedure.commands)
    return replace(procedure, commands=changed)


def make_alma_request(
    *,
    proposal_code: str,
    unit: UnitRef,
    project_status: StatusUid,
    mous: StatusUid,
    blocks: Sequence[SchedBlock],
    sessions: Sequence[Session],
    procedure: Procedure,
    relative_path: str,
    created: datetime,
    intents: Sequence[tuple[str, str]] = (),
) -> Request:
    """A sound request for a member set of ALMA.

    Parameters
    ----------
    unit : the member set in the observing tool
    blocks : its scheduling blocks; of several the first is named
    sessions : with their numbers; empty ones keep theirs
    relative_path : of the member set below the root of the pipeline; scheduling block folders are cut off
    intents : beside PROCESS, sessions and observing mode; one that names the mode replaces the standard one

    Raises
    ------
    InputError, MetadataError, FormatError
        No scheduling block, sessions with gaps, or any trap of `check`.
    """
    if not blocks or blocks[0].status_uid is None:
        raise InputError(f"{mous} has no scheduling block with a status uid; a request names one")
    check_sessions(sessions)
    path = relative_path.split("/SBS_", maxsplit=1)[0] if len(blocks) > 1 else relative_path
    uids = [block for session in sessions for block in session.exec_blocks]
    summary = ProjectSummary(proposal_code, creation_time=_stamp(created))
    structure = ProjectStructure(str(unit.project), unit.part_id, str(project_status), str(mous))
    request = Request(
        telescope=Telescope.ALMA,
        summary=summary,
        structure=structure,
        intents=(
            ("PROCESS", "true"),
            *((s.name.upper(), SEPARATOR.join(str(uid) for uid in s.exec_blocks)) for s in sessions),
            *_with_mode(intents, Telescope.ALMA),
        ),
        title=procedure.title,
        commands=procedure.commands,
        blocks=(
            DataBlock(
                path,
                tuple(_execution(uid) for uid in uids),
                str(blocks[0].uid),
                str(blocks[0].status_uid),
                blocks[0].name or "Undefined",
            ),
        ),
    )
    check(request, str(mous))
    return request


def make_vla_request(
    *,
    sdm: SdmName,
    procedure: Procedure,
    relative_path: str,
    created: datetime,
    intents: Sequence[tuple[str, str]] = (),
) -> Request:
    """A sound request for one execution block of the VLA; errors as in `make_alma_request`."""
    summary = ProjectSummary(sdm.project, "NRAO", Telescope.VLA.value, creation_time=_stamp(created))
    request = Request(
        telescope=Telescope.VLA,
        summary=summary,
        structure=None,
        intents=(("PROCESS", "true"), *_with_mode(intents, Telescope.VLA)),
        title=procedure.title,
        commands=procedure.commands,
        blocks=(DataBlock(relative_path, (Execution(str(sdm), str(sdm)),)),),
    )
    check(request, str(sdm))
    return request


def with_executions(
    request: Request,
    *,
    add: Collection[tuple[int, ExecBlockUid]] = (),
    remove: Collection[ExecBlockUid] = (),
) -> Request:
    """A request with execution blocks added to sessions (number, uid) or taken away.

    Sessions keep their numbers; one that lost its last execution block stays, empty.

    Raises
    ------
    InputError
        A block to take away that is not there, to add that is, or a session number with a gap before it.
    """
    present = {execution.uid for execution in request.executions}
    gone = {str(uid) for uid in remove}
    if gone - present:
        raise InputError(
            f"{', '.join(sorted(gone - present))}: not in the request, so it cannot be taken away"
        )
    sessions = {n: tuple(uid for uid in uids if uid not in gone) for n, uids in request.sessions.items()}
    for number, uid in add:
        if str(uid) in present - gone or any(str(uid) in uids for uids in sessions.values()):
            raise InputError(f"{uid}: in the request already")
        if number < 1 or number > len(sessions) + 1:
            raise InputError(f"session {number} would leave a gap; the request has {len(sessions)} sessions")
        sessions[number] = (*sessions.get(number, ()), str(uid))
    block = request.blocks[0]
    kept = tuple(execution for execution in block.executions if execution.uid not in gone)
    changed = replace(
        request,
        intents=_with_sessions(request.intents, sessions),
        blocks=(
            replace(block, executions=(*kept, *(_execution(uid) for _, uid in add))),
            *request.blocks[1:],
        ),
    )
    check(changed)
    return changed


def _with_sessions(
    intents: tuple[tuple[str, str], ...], sessions: dict[int, tuple[str, ...]]
) -> tuple[tuple[str, str], ...]:
    """Intents with new session values in their places; new sessions follow the last one."""
    values = {f"SESSION_{n}": SEPARATOR.join(uids) for n, uids in sorted(sessions.items())}
    changed = [(keyword, values.pop(keyword, value)) for keyword, value in intents]
    last = max((i for i, (keyword, _) in enumerate(changed) if keyword.startswith("SESSION_")), default=-1)
    return (*changed[: last + 1], *values.items(), *changed[last + 1 :])


def _with_mode(intents: Sequence[tuple[str, str]], telescope: Telescope) -> tuple[tuple[str, str], ...]:
    """Intents that are given, but for those that are made here; with the standard mode if they name none."""
    given = tuple(i for i in intents if i[0] != "PROCESS" and not i[0].startswith("SESSION_"))
    named = any(keyword.endswith("_OBSERVING_MODE") for keyword, _ in given)
    return given if named else ((_MODE[telescope], "Undefined"), *given)


def _execution(uid: ExecBlockUid | SdmName) -> Execution:
    if not isinstance(uid, Uid):
        raise InputError(f"{uid} is an SDM of the VLA; a request of ALMA takes uids")
    return Execution(str(uid), uid.file_form)


def _stamp(time: datetime) -> str:
    return utc(time).strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03d}"
