"""Events, sources, candidates and votes: what is checked before the catalogue takes it in."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from mwaconvert.errors import InputError
from mwaconvert.frb.archive import event_number

Facts = Mapping[str, Any]
#: the pipeline whose measurements stand for the event in tables
REALTIME = "realtime"
_TNS = re.compile(r"(?i)(?:FRB)?\s*(\d{6,8}[A-Z]{1,4})")
_TEXT = 256
_NOT_ENTRY = "measured parameters: a list of objects is expected, each with a pipeline that has a name"


class Classification(StrEnum):
    """What people call an event."""

    NEW_SOURCE = "NEW SOURCE"
    NEW_CANDIDATE = "NEW CANDIDATE"
    KNOWN_SOURCE = "KNOWN SOURCE"
    KNOWN_CANDIDATE = "KNOWN CANDIDATE"
    FAINT = "FAINT"
    RFI = "RFI"
    UNCLASSIFIED = "UNCLASSIFIED"
    TODELETE = "TODELETE"


class SourceType(StrEnum):
    """Kinds of sources."""

    FRB = "FRB"
    FRB_REPEATER = "FRB_REPEATER"
    PULSAR = "PULSAR"
    STEADY = "STEADY"
    RRAT = "RRAT"


class Kind(StrEnum):
    """Records that are kept as they came."""

    VOEVENT = "voevent"
    SUBSCRIBER = "subscriber"
    INJECTION = "injection"
    DETECTION = "detection"
    PROGRAM = "program"
    CALIBRATION = "calibration"


@dataclass(frozen=True)
class Event:
    """An event. `facts` is the rest of what clients see, without the measurements."""

    id: int
    facts: Facts
    measurements: tuple[Facts, ...] = ()


@dataclass(frozen=True)
class Source:
    """A source, and its candidates: by the id of each, the numbers of its events."""

    name: str
    type: SourceType
    facts: Facts
    candidates: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Vote:
    """What one person calls an event."""

    event_id: int
    user: str
    classification: Classification
    facts: Facts = field(default_factory=dict)


@dataclass(frozen=True)
class Holdings:
    """What was loaded together.

    Attributes
    ----------
    status : by event, which data there are
    measured : by event, what is added to it
    left_out : what could not be used, a sentence each
    """

    events: tuple[Event, ...] = ()
    sources: tuple[Source, ...] = ()
    votes: tuple[Vote, ...] = ()
    status: Mapping[int, Facts] = field(default_factory=dict)
    measured: Mapping[int, tuple[Facts, ...]] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


def classification(word: object) -> Classification:
    """A classification, whatever its case.

    Examples
    --------
    >>> str(classification("New CANDIDATE"))
    'NEW CANDIDATE'
    """
    text = " ".join(str(word).upper().replace("_", " ").split())
    try:
        return Classification(text)
    except ValueError:
        known = ", ".join(Classification)
        raise InputError(f"{str(word)[:80]!r} is not a classification; there are {known}") from None


def standings(votes: Sequence[tuple[str, str]]) -> tuple[str | None, str | None]:
    """What an event is called: by its last vote, and by those who agree.

    Parameters
    ----------
    votes : (user, classification), the oldest first; of a user the last counts

    Returns
    -------
    classification of the last vote, and the one that no second contests: of a single vote, or of the one that alone
    has the most, two at least; None if people disagree

    Examples
    --------
    >>> standings([("a", "RFI"), ("b", "FAINT")])
    ('FAINT', None)
    >>> standings([("a", "RFI"), ("b", "FAINT"), ("c", "RFI")])
    ('FAINT', 'RFI')
    >>> standings([("a", "RFI")])
    ('RFI', 'RFI')
    """
    if not votes:
        return None, None
    last = votes[-1][1]
    of_users = dict(votes)
    counts = Counter(of_users.values()).most_common(2)
    best, n_best = counts[0]
    if len(of_users) == 1:
        return last, best
    is_clear = n_best >= 2 and (len(counts) == 1 or counts[1][1] < n_best)
    return last, best if is_clear else None


def read_event(given: object) -> Event:
    """An event as clients send it.

    Raises
    ------
    InputError : with what is wrong
    """
    if not isinstance(given, dict):
        raise InputError("an event: an object with an id is expected")
    facts = {str(key): value for key, value in given.items() if key != "measured_parameters"}
    number = event_number(_whole(facts.pop("id", None)))
    beams = facts.setdefault("beam_numbers", [])
    if not isinstance(beams, list) or not all(isinstance(b, int) and not isinstance(b, bool) for b in beams):
        raise InputError(f"event {number}: beam_numbers: a list of whole numbers is expected")
    return Event(number, facts, read_measurements(given.get("measured_parameters", [])))


def read_measurements(given: object) -> tuple[Facts, ...]:
    """Measured parameters, one entry for each pipeline.

    Raises
    ------
    InputError : they have another form
    """
    entries = given if isinstance(given, list) else [given]
    for entry in entries:
        if not isinstance(entry, dict):
            raise InputError(_NOT_ENTRY)
        pipeline = entry.get("pipeline", {"name": ""})
        if not isinstance(pipeline, dict) or not isinstance(pipeline.get("name", ""), str):
            raise InputError(_NOT_ENTRY)
    return tuple(entries)


def read_vote(event_id: int, given: object, user: str) -> Vote:
    """A classification by a person.

    Parameters
    ----------
    user : who sent it, unless it names somebody

    Raises
    ------
    InputError : no classification, or another form
    """
    if not isinstance(given, dict) or "classification" not in given:
        raise InputError("a verification: an object with a classification is expected")
    name = given.get("user", user)
    if not isinstance(name, str) or not 0 < len(name) <= _TEXT:
        raise InputError("a verification: user is the name of a person")
    facts = {str(key): value for key, value in given.items() if key not in ("classification", "user")}
    return Vote(event_id, name, classification(given["classification"]), facts)


def pipeline_of(measurement: Facts) -> str:
    """The name of the pipeline that measured."""
    pipeline = measurement.get("pipeline") or {}
    return str(pipeline.get("name", ""))[:_TEXT]


def best_measurement(measurements: Sequence[Facts]) -> Facts:
    """What stands for the event in a table: what was measured at once, else the first."""
    of_realtime = [facts for facts in measurements if pipeline_of(facts) == REALTIME]
    return next(iter([*of_realtime, *measurements]), {})


def source_name(text: str) -> str:
    """A name of the TNS in one form; others as they are.

    Examples
    --------
    >>> source_name("20180916B"), source_name("FRB 20180916b"), source_name("CAS_A")
    ('FRB20180916B', 'FRB20180916B', 'CAS_A')
    """
    found = _TNS.fullmatch(text.strip())
    return f"FRB{found[1].upper()}" if found else text.strip()


def _whole(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | str):
        return repr(value)
    return str(value)


def number_or_none(value: object) -> float | None:
    """A finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e300 else None
