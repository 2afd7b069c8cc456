"""Names of the ALMA and VLA archives: uids in both forms, project codes, SDM names, file names.

One uid is spelled ``uid://A001/X1284/X265f`` in documents and ``uid___A001_X1284_X265f`` in file names; one
member set is a MOUS_ID, a STATUS_ENTITY_ID or an ASA_OUS_ID, after the table it is read from. Everything behind
this module knows `Uid` only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NewType

from mwaconvert.errors import InputError

_PARTS = r"(A[0-9a-fA-F]{1,8})@(X[0-9a-fA-F]{1,16})@(X[0-9a-fA-F]{1,16})"
_URI = re.compile("uid://" + _PARTS.replace("@", "/"))
_FILE = re.compile("uid___" + _PARTS.replace("@", "_"))
_FILE_WITHIN = re.compile(_FILE.pattern + r"(?![0-9a-fA-F])")
_PART_ID = re.compile(r"X[0-9a-fA-F]{1,16}")
_ALMA_PROJECT = re.compile(r"\d{4}\.[0-9A]\.\d{5}\.[A-Z]{1,3}")
_VLA_PROJECT = re.compile(r"\d{2}[A-D]-\d{3}|A[A-Z]{1,2}\d{3,4}[A-Z]?|VLASS\d\.\d|T[A-Z]{3}\d{4}")
_VLA_SDM = re.compile(
    rf"(?P<project>{_VLA_PROJECT.pattern})(?:_[A-Za-z0-9_]+)?"
    r"\.sb(?P<block>\d+)\.eb(?P<execution>\d+)\.(?P<mjd>\d{5}(?:\.\d+)?)"
)
#: what a pipeline appends to the name of an execution block, longest first
_MS_ENDINGS = ("_targets_line.ms", "_imaging_line.ms", "_targets.ms", "_target.ms", "_imaging.ms", ".ms")
_RAW_ENDINGS = (".asdm.sdm.tar", ".asdm.sdm", ".sdm", ".tar")


@dataclass(frozen=True, order=True, slots=True)
class Uid:
    """An identifier of the ALMA archive: archive, document, part. Upper and lower case are kept.

    Examples
    --------
    >>> mous = Uid.parse("uid://A001/X1284/X265f")
    >>> mous.file_form
    'uid___A001_X1284_X265f'
    >>> Uid.parse(mous.file_form) == mous
    True
    """

    archive: str
    document: str
    part: str

    def __post_init__(self) -> None:
        if _URI.fullmatch(str(self)) is None:
            raise InputError(f"'{self}' is not an archive uid; expected uid://A001/X12/X34")

    def __str__(self) -> str:
        return f"uid://{self.archive}/{self.document}/{self.part}"

    __repr__ = __str__

    @property
    def file_form(self) -> str:
        """The uid as part of a file name: ``uid___A001_X12_X34``."""
        return f"uid___{self.archive}_{self.document}_{self.part}"

    @classmethod
    def parse(cls, text: str) -> Uid:
        """Read a uid in either form, and nothing beside it.

        Raises
        ------
        InputError
            Text that is not a uid: blanks around it, parts missing, a path behind it.
        """
        return _parsed(text)

    @classmethod
    def within(cls, name: str) -> Uid | None:
        """The first uid in a file name such as ``member.uid___A001_X12_X34.s1.caltables.tgz``, or None."""
        match = _FILE_WITHIN.search(name)
        return None if match is None else cls(*match.groups())


@lru_cache(4096)  # tables and documents name the same few again and again
def _parsed(text: str) -> Uid:
    match = _URI.fullmatch(text) or _FILE.fullmatch(text)
    if match is None:
        raise InputError(
            f"'{text}' is not an archive uid; expected uid://A001/X12/X34 or, as in file names, uid___A001_X12_X34"
        )
    return Uid(*match.groups())


# Four families of uids that must never be mixed: a document of the observing tool (ObsProject, SchedBlock), the
# status of such a document (the "MOUS id" everybody uses is one), and an execution block.
EntityUid = NewType("EntityUid", Uid)
StatusUid = NewType("StatusUid", Uid)
ExecBlockUid = NewType("ExecBlockUid", Uid)


@dataclass(frozen=True, slots=True)
class UnitRef:
    """What a unit set is in the observing tool: its project and a part id, unique in that project alone."""

    project: EntityUid
    part_id: str

    def __post_init__(self) -> None:
        if _PART_ID.fullmatch(self.part_id) is None:
            raise InputError(
                f"'{self.part_id}' is no part id; expected X and hexadecimal digits, as in X23868574"
            )


@dataclass(frozen=True, slots=True)
class SdmName:
    """The name of a VLA science data model: project, scheduling block, execution block, start (MJD).

    Examples
    --------
    >>> SdmName.parse("13A-537.sb24066356.eb24324502.56514.05971091435").execution
    24324502
    """

    text: str
    project: str
    block: int
    execution: int
    mjd: float

    def __str__(self) -> str:
        return self.text

    @classmethod
    def parse(cls, text: str) -> SdmName:
        """Read a name of the form project.sbN.ebM.mjd; `InputError` for any other."""
        match = _VLA_SDM.fullmatch(text)
        if match is None:
            raise InputError(
                f"'{text}' is not an SDM name; expected project.sbN.ebM.mjd, as 13A-537.sb24066356.eb24324502.56514.06"
            )
        return cls(text, match["project"], int(match["block"]), int(match["execution"]), float(match["mjd"]))


def is_alma_project(code: str) -> bool:
    """Whether `code` has the form of an ALMA project code, as 2017.1.00886.L."""
    return _ALMA_PROJECT.fullmatch(code) is not None


def is_vla_project(code: str) -> bool:
    """Whether `code` has the form of a VLA project code, as 13A-537, AB1234 or VLASS1.1."""
    return _VLA_PROJECT.fullmatch(code) is not None


def delivery_name(project: str, mous: StatusUid) -> str:
    """The DELIVERY_NAME of a member set: project code, underscore, file form of its uid."""
    if not is_alma_project(project):
        raise InputError(f"'{project}' is no ALMA project code; expected four parts, as in 2017.1.00886.L")
    return f"{project}_{mous.file_form}"


def safe_name(name: str) -> str:
    """`name` if it names one file of one folder, else `InputError`.

    Names come from manifests, tar files and requests: none of them may leave the folder they are joined to.
    """
    bad = not name or name in (".", "..") or len(name.encode()) > 255
    if bad or any(c in "/\\" or ord(c) < 32 or ord(c) == 127 for c in name):
        raise InputError(
            f"{name!r} cannot be a file name; expected one part, without / and control characters"
        )
    return name


def _without(name: str, endings: tuple[str, ...]) -> str:
    for ending in endings:
        if name.endswith(ending) and name != ending:
            return _without(name.removesuffix(ending), endings)
    return name


def stem_of_ms(name: str) -> str:
    """The name of a measurement set without what pipelines append to it, as often as it stands there."""
    return _without(name, _MS_ENDINGS)


def execution_name(name: str) -> str:
    """The name of the execution block behind the name of a raw or derived file.

    Pipelines rename measurement sets from version to version (``_target.ms``, ``_targets.ms``).

    Examples
    --------
    >>> execution_name("uid___A002_Xc7111c_X3979_targets_line.ms")
    'uid___A002_Xc7111c_X3979'
    >>> execution_name("uid___A002_Xc7111c_X3979.asdm.sdm.tar")
    'uid___A002_Xc7111c_X3979'
    """
    return _without(name, _MS_ENDINGS + _RAW_ENDINGS)


def disk_name(execution: ExecBlockUid | SdmName) -> str:
    """The name of an execution block on disk: the file form of an ALMA uid, a VLA SDM name as it is."""
    return execution.file_form if isinstance(execution, Uid) else str(execution)


def parse_execution(text: str) -> ExecBlockUid | SdmName:
    """Read an execution block of either telescope: a uid in either form or an SDM name."""
    if text.startswith("uid"):
        return ExecBlockUid(Uid.parse(text))
    return SdmName.parse(text)
