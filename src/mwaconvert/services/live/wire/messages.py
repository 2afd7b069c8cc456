"""What services and nodes say to each other: typed messages, JSON on the wire, nothing that could be executed."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mwaconvert.errors import FormatError
from mwaconvert.live.observation import Observation
from mwaconvert.live.triggers import Trigger

#: of one message on the wire
LARGEST = 1 << 20
#: the node of the senders, whatever its name
MASTER = "@master"


class Role(StrEnum):
    """What a peer may do; each may also do what those before it may."""

    VIEW = "view"
    OPERATE = "operate"
    ARM = "arm"
    NODE = "node"

    def may(self, needed: Role) -> bool:
        """Whether it covers another one.

        Examples
        --------
        >>> Role.ARM.may(Role.OPERATE), Role.VIEW.may(Role.OPERATE)
        (True, False)
        """
        order = list(Role)
        return order.index(self) >= order.index(needed)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


_Name = Annotated[str, Field(max_length=200)]


class StartObservation(_Part):
    """All that a service needs to know; `archived` is the master's copy of the configuration."""

    kind: Literal["start"] = "start"
    observation: Observation
    config: dict[str, Any]
    parset: dict[str, str]
    archived: str = ""
    galactic_dm: float | None = None


class StopObservation(_Part):
    """`abort`: what is still to be done is left undone."""

    kind: Literal["stop"] = "stop"
    abort: bool = False


class Reload(_Part):
    """Read the settings again."""

    kind: Literal["reload"] = "reload"


class Send(_Part):
    """A trigger for a sender; it says what became of it with `Done` under the same id, and takes it once."""

    kind: Literal["send"] = "send"
    way: Literal["iquv", "lofar", "voevent", "kafka"]
    triggers: tuple[Trigger, ...] = Field(min_length=1, max_length=200)
    start_s: float
    made_s: float


class Done(_Part):
    """What became of a trigger: the sender has it on disk, and nobody need say it again."""

    kind: Literal["done"] = "done"
    outcome: str


class Beat(_Part):
    """How a service is, every second. `trouble`: empty if it is well."""

    kind: Literal["beat"] = "beat"
    trouble: str = ""
    numbers: dict[str, float | int | str] = {}
    recent: tuple[dict[str, Any], ...] = ()


class Switch(_Part):
    """Off, tests, or real triggers until a moment, of one way out."""

    kind: Literal["switch"] = "switch"
    way: Literal["lofar", "voevent", "kafka"]
    wanted: Literal["off", "test", "observe"]
    who: _Name
    until_s: float = 0.0


class Changes(_Part):
    """What is better known of a pulse; None: as it was said. DMs in pc/cm^3, angles in degrees."""

    dm: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    dm_err: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    snr: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    flux_jy: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    name: _Name | None = None
    radec_deg: tuple[Annotated[float, Field(ge=0, lt=360)], Annotated[float, Field(ge=-90, le=90)]] | None = (
        None
    )


class Correct(_Part):
    """Take back an event that went out, or say what is better known now.

    Parameters
    ----------
    event : id of its trigger, or its ivorn
    reason : in words, for those who received it
    changes : of fields of the trigger, for an update
    """

    kind: Literal["correct"] = "correct"
    what: Literal["retract", "update"]
    way: Literal["voevent", "kafka"] = "voevent"
    event: _Name
    who: _Name
    reason: Annotated[str, Field(max_length=2000)] = ""
    changes: Changes = Changes()


class Command(_Part):
    """What an operator asks of a node."""

    kind: Literal["command"] = "command"
    command: _Name
    service: _Name | None = None
    payload: str | None = None
    until_s: float = 0.0


class Reply(_Part):
    """Of a command or a switch."""

    kind: Literal["reply"] = "reply"
    status: Literal["Success", "Error", "Warning"]
    message: str | dict[str, Any]


Body = Annotated[
    StartObservation | StopObservation | Reload | Send | Done | Beat | Switch | Correct | Command | Reply,
    Field(discriminator="kind"),
]


class Message(_Part):
    """One message.

    Parameters
    ----------
    sender, to : node/service; a `to` without a service is the node itself
    task_id : of the observation that it is about; empty: of none
    id : of an answer, that of the question
    """

    sender: _Name
    to: _Name
    body: Body
    task_id: _Name = ""
    id: _Name = ""

    def encoded(self) -> bytes:
        """As JSON. Raises FormatError if it is too large."""
        data = self.model_dump_json().encode()
        if len(data) > LARGEST:
            raise FormatError(f"a message of {len(data)} bytes to {self.to}; expected {LARGEST} at most")
        return data

    @classmethod
    def decoded(cls, data: bytes) -> Message:
        """Of JSON.

        Raises
        ------
        FormatError
        """
        try:
            return cls.model_validate_json(data)
        except (ValidationError, RecursionError) as error:
            words = str(error).splitlines()
            raise FormatError(f"no message: {'; '.join(words[:3])}") from None
