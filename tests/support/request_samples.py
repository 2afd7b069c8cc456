"""Requests of the cases of the notes, and unsound ones of each kind, for the tests."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from mwaconvert.archive.identifiers import EntityUid, ExecBlockUid, SdmName, StatusUid, Uid, UnitRef
from mwaconvert.archive.requests import (
    Command,
    Execution,
    Procedure,
    Request,
    Trap,
    make_alma_request,
    make_vla_request,
    restore_first,
)
from mwaconvert.archive.requests.model import Telescope
from mwaconvert.archive.units import SchedBlock, Session

CREATED = datetime(2018, 6, 1, 12, 30, 0, 250000, tzinfo=UTC)
MOUS = StatusUid(Uid.parse("uid://A001/X1284/X266"))
EBS = tuple(ExecBlockUid(Uid.parse(f"uid://A002/Xc7111c/X{part}")) for part in ("3979", "409e", "86a7"))
BLOCK = SchedBlock(
    EntityUid(Uid.parse("uid://A001/X1284/X260")),
    StatusUid(Uid.parse("uid://A001/X1284/X267")),
    "target_a_06_TM1",
)
SDM = SdmName.parse("13A-537.sb24066356.eb24324502.56514.05971091435")

CALIBRATION = Procedure(
    "hifa_cal",
    (
        Command("hifa_importdata", (("dbservice", "True"),)),
        Command("hifa_flagdata"),
        Command("hifa_exportdata"),
    ),
)
IMAGING = restore_first(
    Procedure("hifa_image", (Command("hif_makeimlist", (("specmode", "mfs"),)), Command("hif_makeimages"))),
    Telescope.ALMA,
)
BOTH = Procedure("hifa_calimage", (*CALIBRATION.commands[:2], *IMAGING.commands[1:], CALIBRATION.commands[2]))
VLA = Procedure("hifv", (Command("hifv_importdata"), Command("hifv_hanning"), Command("hifv_exportdata")))


def alma(*sessions: tuple[ExecBlockUid, ...], procedure: Procedure = CALIBRATION, blocks: int = 1) -> Request:
    return make_alma_request(
        proposal_code="2017.1.00886.L",
        unit=UnitRef(EntityUid(Uid.parse("uid://A001/X1284/X250")), "X23868574"),
        project_status=StatusUid(Uid.parse("uid://A001/X1284/X251")),
        mous=MOUS,
        blocks=[BLOCK] * blocks,
        sessions=[Session(n, uids) for n, uids in enumerate(sessions, 1)],
        procedure=procedure,
        relative_path="2017.1.00886.L_2018_06_01T12_30_00.250/SOUS_x/GOUS_y/MOUS_z/SBS_uid___A001_X1284_X267",
        created=CREATED,
    )


def vla(procedure: Procedure = VLA) -> Request:
    return make_vla_request(sdm=SDM, procedure=procedure, relative_path="13A-537_run1", created=CREATED)


def with_intents(*pairs: tuple[str, str]) -> Request:
    """Three execution blocks and the intents given, unjudged."""
    return replace(alma(EBS), intents=(("PROCESS", "true"), *pairs))


def unsound() -> dict[str, tuple[Request, Trap]]:
    """A request for each trap, by a short name."""
    one, two, three = (str(uid) for uid in EBS)
    sound = alma(EBS)
    block = sound.blocks[0]
    calibrate = sound.commands[0]

    def with_block(**changed: object) -> Request:
        return replace(sound, blocks=(replace(block, **changed),))

    return {
        "gap": (with_intents(("SESSION_1", f"{one} | {two}"), ("SESSION_3", three)), Trap.SESSION_GAP),
        "not from one": (with_intents(("SESSION_2", f"{one} | {two} | {three}")), Trap.SESSION_GAP),
        "left out": (with_intents(("SESSION_1", one), ("SESSION_2", two)), Trap.WITHOUT_SESSION),
        "same key": (
            with_intents(("SESSION_1", one), ("SESSION_2", two), ("SESSION_2", three)),
            Trap.SESSION_TWICE,
        ),
        "bar alone": (with_intents(("SESSION_1", one), ("SESSION_2", f"{two}|{three}")), Trap.SEPARATOR),
        "trailing": (with_intents(("SESSION_1", one), ("SESSION_2", f"{two} | {three} ")), Trap.SEPARATOR),
        "two blanks": (with_intents(("SESSION_1", one), ("SESSION_2", f"{two}  | {three}")), Trap.SEPARATOR),
        "line break": (with_intents(("SESSION_1", one), ("SESSION_2", f"\n{two} | {three}")), Trap.SEPARATOR),
        "two homes": (
            with_intents(("SESSION_1", f"{one} | {two}"), ("SESSION_2", f"{two} | {three}")),
            Trap.TWO_SESSIONS,
        ),
        "stranger": (
            with_intents(("SESSION_1", f"{one} | {two} | {three} | uid://A002/X1/X2")),
            Trap.NOT_IN_DATA,
        ),
        "two scheduling blocks": (replace(sound, blocks=(block, block)), Trap.SEVERAL_BLOCKS),
        "no data": (with_block(executions=()), Trap.NO_EXECUTIONS),
        "twice": (with_block(executions=(*block.executions, block.executions[0])), Trap.EXECUTION_TWICE),
        "disk name": (
            with_block(executions=(Execution(one, EBS[0].file_form.lower()), *block.executions[1:])),
            Trap.DISK_NAME,
        ),
        "file form": (
            with_block(executions=(Execution(EBS[0].file_form, EBS[0].file_form), *block.executions[1:])),
            Trap.BAD_UID,
        ),
        "path of the root": (with_block(relative_path="/etc"), Trap.RELATIVE_PATH),
        "path up": (with_block(relative_path="a/../../b"), Trap.RELATIVE_PATH),
        "no path": (with_block(relative_path=""), Trap.RELATIVE_PATH),
        "no commands": (replace(sound, commands=()), Trap.NO_COMMANDS),
        "no import": (replace(sound, commands=sound.commands[1:]), Trap.NO_DATA_COMMAND),
        "parameter": (
            replace(sound, commands=(replace(calibrate, parameters=(("a", "1"), ("a", "2"))),)),
            Trap.PARAMETER_TWICE,
        ),
        "intent": (replace(sound, intents=(*sound.intents, ("PROCESS", "false"))), Trap.INTENT_TWICE),
        "two requests": (replace(sound, n_requests=2), Trap.SEVERAL_REQUESTS),
        "no code": (replace(sound, summary=replace(sound.summary, proposal_code="")), Trap.MISSING_SUMMARY),
        "no unit set": (replace(sound, structure=None), Trap.MISSING_SUMMARY),
        "two sdms": (
            replace(vla(), blocks=(replace(vla().blocks[0], executions=vla().executions * 2),)),
            Trap.SEVERAL_SDMS,
        ),
        "hanning": (replace(vla(), intents=(("SPECTRAL_MODE", "no"),)), Trap.SPECTRAL_MODE),
        "vla operator": (
            replace(vla(), summary=replace(vla().summary, operator="")),
            Trap.MISSING_SUMMARY,
        ),
    }
