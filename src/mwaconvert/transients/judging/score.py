"""A score of candidates: how much they are like pulses that were injected, and unlike what interference and noise leave.

A logistic model of a few numbers and their squares. Its weights are in `score.json`, which `benchmarks/train_score.py`
makes from injections into simulated noise and interference. Nothing is dropped because of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from math import exp, log
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from mwaconvert.spectra.candidate import Candidate
    from mwaconvert.transients.judging.looks import Look

#: what the model looks at, in this order
FEATURES = ("snr", "spread", "weakest", "channel", "there", "sweep", "width", "members")
_LEAST = 1e-3


def features(candidate: Candidate, look: Look, across_s: float, smear_s: float) -> npt.NDArray[np.float64]:
    """Numbers that tell pulses from interference, in the order of `FEATURES`.

    Parameters
    ----------
    candidate : a pulse
    look : at it
    across_s : seconds that its DM takes to cross the band
    smear_s : over which it smears a channel in the middle of the band, and the length of a sample at least

    Returns
    -------
    (8) logarithm of S/N; part of the band that holds it; second weakest part of the band over what it should be;
    largest S/N of a channel over that of the pulse; part of its samples that are there; logarithms of sweep over width,
    width over smear, and of the number of detections that belong to it
    """
    snr = max(candidate.snr, 1.0)
    width = max(candidate.width_s, _LEAST * smear_s)
    even = snr / max(1, len(look.bands)) ** 0.5
    return np.array(
        [
            log(snr),
            look.spread,
            sorted(look.bands)[1] / even,
            look.channel / snr,
            look.there,
            log(max(across_s / width, 0.1)),
            log(width / smear_s),
            log(candidate.n_detections),
        ]
    )


@dataclass(frozen=True)
class Model:
    """A logistic model.

    Parameters
    ----------
    middle, scale : of each feature
    weights : of the features in these units, then of their squares
    offset : added to the sum
    """

    middle: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    offset: float

    def terms(self, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """What the weights multiply: (n, 16) of (n, 8) features, within four scales of their middle."""
        z = ((x - self.middle) / self.scale).clip(-4, 4)
        return np.concatenate([z, z**2], axis=-1)

    def score(self, x: npt.NDArray[np.float64]) -> float:
        """From 0, interference or noise, to 1, a pulse.

        Examples
        --------
        >>> Model((0.0,) * 8, (1.0,) * 8, (0.0,) * 16, 0.0).score(np.zeros(8))
        0.5
        """
        return 1 / (1 + exp(-float(self.terms(x) @ np.array(self.weights)) - self.offset))


@cache
def model() -> Model:
    """The model with the weights that come with this package.

    Examples
    --------
    >>> len(model().weights) == 2 * len(FEATURES)
    True
    """
    held = json.loads(Path(__file__).with_name("score.json").read_text("utf-8"))
    return Model(tuple(held["middle"]), tuple(held["scale"]), tuple(held["weights"]), held["offset"])
