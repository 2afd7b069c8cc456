"""How far work is: what every long-running function of the library tells its caller."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A function that is told how far a stage of some work is.

    Parameters
    ----------
    stage : name of what is done now: converting, scaling, searching, ...
    done, total : in the unit of the stage; `done` does not fall within a stage
    """

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Tell."""
