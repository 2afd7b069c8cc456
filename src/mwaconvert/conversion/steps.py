"""What a plan decided, for people and machines: each step, whether it is applied, and why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any


class StepKind(Enum):
    """The corrections and rules of a conversion. Values are what people read."""

    VAN_VLECK = "Van Vleck correction"
    CABLE_DELAYS = "cable delays"
    GEOMETRIC_DELAYS = "geometric delays"
    DIGITAL_GAINS = "digital gains"
    PASSBAND = "coarse passband"
    SOLUTIONS = "calibration solutions"
    DUT1 = "UT1-UTC"
    ANTENNA_FLAGS = "antenna flags"
    AUTO_FLAGS = "autocorrelation flags"
    EDGE_FLAGS = "edge channel flags"
    DC_FLAGS = "DC channel flags"
    FINE_FLAGS = "fine channel flags"
    COARSE_FLAGS = "coarse channel flags"
    QUACK_FLAGS = "quack flags"
    END_FLAGS = "end flags"
    TIME_FLAGS = "timestep flags"
    PARTIAL_FLAGS = "partial timestep flags"
    BAD_TILES = "bad tile flags"
    FLAG_FILES = "flag files"
    RFI = "RFI detection"
    WEIGHTS = "MWAX weights"
    ARRAY_RFI = "array RFI"
    AVERAGING = "averaging"


class State(Enum):
    """What becomes of a step."""

    APPLIED = "applied"
    #: left out although the data would want it: by an option, or because it was done before
    SKIPPED = "skipped"
    #: neither asked for nor usual
    UNASKED = "not asked for"
    #: there is nothing to apply it to
    IDLE = "nothing to do"


@dataclass(frozen=True)
class Step:
    """One correction or rule.

    Attributes
    ----------
    why : words
    """

    kind: StepKind
    state: State
    why: str

    @property
    def name(self) -> str:
        return self.kind.value

    @property
    def applied(self) -> bool:
        return self.state is State.APPLIED

    @property
    def reason(self) -> str:
        """`why`, and of what is skipped that it is."""
        return f"skipped: {self.why}" if self.state is State.SKIPPED else self.why

    def facts(self) -> dict[str, Any]:
        """As reports give it (layout: docs/report.md)."""
        return {"name": self.name, "applied": self.applied, "reason": self.reason}


def unasked(kind: StepKind) -> Step:
    """A step that nobody asked for."""
    return Step(kind, State.UNASKED, "not asked for")


def applied_if(applied: bool, kind: StepKind, why: str, otherwise: State = State.IDLE) -> Step:
    """A step that is applied or not for the same words."""
    return Step(kind, State.APPLIED if applied else otherwise, why)
