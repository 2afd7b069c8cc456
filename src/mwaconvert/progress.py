"""How far work is: what every long-running function of the library tells its caller."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol


class Stage(StrEnum):
    """What is done now, with a word for it; what is counted meanwhile is `unit`."""

    CONVERTING = "converting"
    FINISHING = "finishing the outputs"
    FLAGGING = "looking for interference"
    READING = "reading"
    SIMULATING = "simulating"
    SCALING = "scaling"
    SEARCHING = "searching"
    DEDISPERSING = "dedispersing"
    DRAWING = "drawing"
    COMPARING = "comparing"

    @property
    def unit(self) -> str:
        """What is counted."""
        return _UNITS.get(self, "samples")


_UNITS = {
    Stage.CONVERTING: "bytes",
    Stage.FLAGGING: "bytes",
    Stage.READING: "rows",
    Stage.SIMULATING: "integrations",
    Stage.DRAWING: "figures",
    Stage.COMPARING: "columns",
}


class Progress(Protocol):
    """A function that is told how far a stage of some work is.

    Parameters
    ----------
    stage : what is done now: a `Stage`
    done, total : in the unit of the stage; `done` does not fall within a stage; total 0: nothing to count
    """

    def __call__(self, stage: Stage, done: int, total: int) -> None:
        """Tell."""
