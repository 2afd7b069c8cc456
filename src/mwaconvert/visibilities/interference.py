"""Interference as it was found: fractions of cells, and shapes that all baselines share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mwaconvert.arrays import BoolArray, FloatArray
from mwaconvert.text import percent


@dataclass(frozen=True)
class Interference:
    """Fractions that are flagged because of what the data showed; NaN where nothing is left by the rules.

    Attributes
    ----------
    of_input : whether they are of the input of a conversion, or else of a file that exists
    antenna, channel, timestep : (n_antenna,), (n_channel,) and (n_time,) of the output
    """

    of_input: bool
    total: float
    antenna: FloatArray
    channel: FloatArray
    timestep: FloatArray


@dataclass(frozen=True)
class Event:
    """Interference of one shape in consecutive integrations.

    Attributes
    ----------
    low_hz, high_hz : edges of the channels
    timesteps : first and last of the observation
    sigma : largest significance
    polarisation : that has it
    """

    shape: str
    low_hz: float
    high_hz: float
    timesteps: tuple[int, int]
    sigma: float
    polarisation: str


@dataclass(frozen=True)
class ArrayRfi:
    """What was found.

    Attributes
    ----------
    significance : (n_times - 1, n_channel) of each difference of integrations in standard deviations, all
        polarisations together; NaN where there is none
    flags : (n_times, n_channel) integrations and channels to flag on all baselines
    events : strongest first
    n_baselines : that entered
    first_timestep : of the observation that the flags begin at
    fraction : of the cells that no rule flags
    """

    significance: npt.NDArray[np.float32]
    flags: BoolArray
    events: tuple[Event, ...]
    n_baselines: int
    first_timestep: int
    fraction: float

    def summary(self) -> str:
        """In one line."""
        if not self.n_baselines:
            return "nothing to look at: no baseline between unflagged tiles"
        if not self.events:
            return f"nothing found over {self.n_baselines} baselines"
        counts: dict[str, int] = {}
        for event in self.events:
            counts[event.shape] = counts.get(event.shape, 0) + 1
        shapes = ", ".join(f"{n} x {shape}" for shape, n in sorted(counts.items(), key=lambda c: -c[1]))
        return f"{shapes}; {percent(self.fraction)} of the cells, up to {self.events[0].sigma:.0f} sigma"
