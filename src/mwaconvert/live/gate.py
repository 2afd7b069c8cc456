"""The last gate before anything leaves the house: armed or not, within rates and quotas, and not twice.

All states are plain data. Whoever sends keeps them, and asks the gate first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from mwaconvert.errors import FormatError, InputError
from mwaconvert.live.triggers import Trigger

_HOUR_S, _DAY_S = 3600.0, 86400.0
#: nobody arms for longer at once, s
LONGEST_S = 24 * _HOUR_S
#: two triggers of one pulse, from different beams or batches: s, and pc/cm^3 beside a tenth of the DM
_SAME_S, _SAME_DM = 0.5, 10.0


class State(Enum):
    """Of one way out; the value is what is said of it."""

    OFF = "nothing is sent"
    TEST = "what is sent is marked as a test"
    OBSERVE = "triggers are real"


class Admission(Enum):
    """What the gate says; the value is what is said of it."""

    SEND = "sent"
    OFF = "not sent: the way is switched off"
    DUPLICATE = "not sent: this pulse went out before"
    RATE = "not sent: too many in the last hour"
    QUOTA = "not sent: too many of this source in a day"
    CANNOT = "not sent: it cannot be written"


@dataclass(frozen=True, kw_only=True)
class Arming:
    """Who has armed a way, when, and until when; after that its triggers are tests again.

    Examples
    --------
    >>> armed = Arming().armed("jansen", now_s=0.0, until_s=3600.0)
    >>> armed.state(1800.0).name, armed.state(3600.0).name
    ('OBSERVE', 'TEST')
    """

    wanted: State = State.OFF
    who: str = ""
    since_s: float = 0.0
    until_s: float = 0.0

    def state(self, now_s: float) -> State:
        """A clock that went back behind `since_s` arms nothing."""
        if self.wanted is State.OBSERVE and not self.since_s <= now_s < self.until_s:
            return State.TEST
        return self.wanted

    def armed(self, who: str, *, now_s: float, until_s: float) -> Arming:
        """Real triggers, for at most a day.

        Raises
        ------
        InputError
            Nobody's name, or an end that is past or too far.
        """
        if not who.strip():
            raise InputError("`who`: expected a name of who arms triggers")
        if not now_s < until_s <= now_s + LONGEST_S:
            raise InputError(
                f"`until`: {until_s - now_s:g} s from now; expected up to {LONGEST_S:g} s: arm again after that"
            )
        return Arming(wanted=State.OBSERVE, who=who, since_s=now_s, until_s=until_s)

    def set(self, wanted: State, who: str, *, now_s: float) -> Arming:
        """Off, or tests only; needs no end.

        Raises
        ------
        InputError
        """
        if wanted is State.OBSERVE:
            raise InputError("real triggers are armed with an end")
        return Arming(wanted=wanted, who=who, since_s=now_s)

    def facts(self) -> dict[str, Any]:
        """As JSON keeps it."""
        return {**asdict(self), "wanted": self.wanted.name.lower()}

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Arming:
        """Of what `facts` gave.

        Raises
        ------
        FormatError
        """
        try:
            seen = cls(**{**facts, "wanted": State[str(facts["wanted"]).upper()]})
            return cls(**{**vars(seen), "since_s": float(seen.since_s), "until_s": float(seen.until_s)})
        except (KeyError, TypeError, ValueError):
            raise FormatError(f"no state of a way out: {dict(facts)}; switch it off and on again") from None


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What went out. `is_test` ones use up no rates of real ones."""

    id: str
    name: str
    time_s: float
    dm: float
    snr: float
    sent_s: float
    is_test: bool


class Gate:
    """Of one way out.

    Parameters
    ----------
    per_hour, per_source_per_day : triggers at most; new sources count as one source
    sent : what went out before, kept from an earlier run
    """

    def __init__(self, per_hour: int, per_source_per_day: int, sent: tuple[Sent, ...] = ()) -> None:
        self.per_hour, self.per_source_per_day = per_hour, per_source_per_day
        self._sent = list(sent)

    @property
    def sent(self) -> tuple[Sent, ...]:
        """Of the last day; keep it, so that nothing goes out twice after a restart."""
        return tuple(self._sent)

    def admit(self, trigger: Trigger, state: State, now_s: float) -> Admission:
        """Whether a trigger may go out now. If so it counts as sent: a failure after this is not tried again blindly."""
        if state is State.OFF:
            return Admission.OFF
        is_test = state is State.TEST
        self._sent = [s for s in self._sent if abs(now_s - s.sent_s) < _DAY_S]
        like = [s for s in self._sent if s.is_test == is_test]
        if any(_is_same(s, trigger) for s in like):
            return Admission.DUPLICATE
        # a clock that went back must not open the gate, so what lies in its future counts, too
        if sum(now_s - s.sent_s < _HOUR_S for s in like) >= self.per_hour:
            return Admission.RATE
        if sum(s.name == trigger.name for s in like) >= self.per_source_per_day:
            return Admission.QUOTA
        self._sent.append(
            Sent(
                id=trigger.id,
                name=trigger.name,
                time_s=trigger.time_s,
                dm=trigger.dm,
                snr=trigger.snr,
                sent_s=now_s,
                is_test=is_test,
            )
        )
        return Admission.SEND

    def withdraw(self, id: str) -> None:
        """What was admitted did not begin to go out."""
        self._sent = [s for s in self._sent if s.id != id]


def _is_same(sent: Sent, trigger: Trigger) -> bool:
    near_dm = _SAME_DM + 0.1 * trigger.dm
    return sent.id == trigger.id or (
        abs(sent.time_s - trigger.time_s) <= _SAME_S and abs(sent.dm - trigger.dm) <= near_dm
    )
