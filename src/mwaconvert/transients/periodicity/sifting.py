"""From trials above the threshold to candidates: one for all its DMs, neighbouring periods and harmonics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mwaconvert.transients.periodicity.hits import Hits

Floats = npt.NDArray[np.float64]

_MOST_PARTS = 16  # of a frequency, of which a harmonic is a multiple: as many powers are summed
_NEAR = 1.5  # cycles by which periods may drift apart over the data, that are the same
_NEAR_HARMONIC = 1.0  # the same of what is an harmonic
_BETTER, _MORE = 1.5, 2.0  # how much better than expected a trial may be that still belongs to a stronger one


@dataclass(frozen=True, eq=False)
class Group:
    """Trials that belong to one candidate.

    Attributes
    ----------
    best : the strongest one
    members : all of them
    n_harmonics : multiples of parts of its frequency, other than itself, at which there are some
    """

    best: np.void
    members: Hits
    n_harmonics: int


def sift(hits: Hits, dms: Floats, length_s: float, across_s: float, *, most: int = 200) -> list[Group]:
    """Give each trial to the strongest one that explains it.

    Parameters
    ----------
    hits : trials above the threshold, of all methods
    dms : (n_trial) pc/cm^3
    length_s : of the series
    across_s : delay across the band per unit of DM, s cm^3 / pc
    most : candidates, of which the strongest are kept

    Returns
    -------
    list of Group
        the strongest first

    Notes
    -----
    A trial at a / b of a candidate's frequency meets every a-th of its harmonics, or a fold every b-th of its
    pulses: its score is that of the candidate over sqrt(a), or sqrt(a b). If its period drifts by c cycles against that
    over the data, and its DM is off by d, its pulse is smeared over c + d across_s / P more periods than it is wide. It
    is explained if its score is at most 1.5 times what is left, and 2 more. a or b is up to 16, as many harmonics as
    are summed, the other one is any number. A sum of n harmonics is taken for a pulse that fills 1 / n of the period.
    """
    rest = hits[np.argsort(-hits["score"], kind="stable")]
    groups: list[Group] = []
    while rest.size and len(groups) < most:
        best = rest[0]
        explained = np.zeros(rest.size, bool)
        ratios: set[float] = set()
        ratio = rest["freq_hz"] / float(best["freq_hz"])
        for n in range(1, _MOST_PARTS + 1):
            for top, bottom in (
                (np.maximum(np.rint(ratio * n), 1), np.full(rest.size, float(n))),
                (np.full(rest.size, float(n)), np.maximum(np.rint(n / ratio), 1)),
            ):
                ours = _explained(rest, best, top, bottom, dms, length_s, across_s)
                explained |= ours
                ratios.update(np.round(top[ours] / bottom[ours], 6).tolist())
        explained[0] = True
        groups.append(Group(best, rest[explained], len(ratios - {1.0})))
        rest = rest[~explained]
    return groups


def _explained(
    rest: Hits, best: np.void, top: Floats, bottom: Floats, dms: Floats, length_s: float, across_s: float
) -> npt.NDArray[np.bool_]:
    """Which trials are at top / bottom of a candidate's frequency and no better than that makes them."""
    freq_hz = float(best["freq_hz"])
    duty = float(best["width_s"]) * freq_hz or 1 / max(1, int(best["n_harmonic"]))
    drift = np.abs(rest["freq_hz"] - top / bottom * freq_hz) * length_s
    off = np.abs(dms[rest["trial"]] - dms[int(best["trial"])]) * across_s * freq_hz
    itself = (top == 1) & (bottom == 1)
    near = np.where(itself, _NEAR, _NEAR_HARMONIC / bottom * np.maximum(1, top / bottom))
    smeared = np.maximum(drift - near, 0) + off
    shared = np.where(rest["n_harmonic"] == 0, top * bottom, top)
    expected = float(best["score"]) * np.sqrt(duty / (duty + smeared) / shared)
    return np.asarray(rest["score"] <= _BETTER * expected + _MORE)
