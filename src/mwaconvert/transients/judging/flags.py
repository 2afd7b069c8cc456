"""What makes candidates doubtful: their DM, time and width, how they look, and in how many beams they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite

import numpy as np
import numpy.typing as npt

from mwaconvert.spectra.candidate import NOT_KNOWN, Candidate, Flag
from mwaconvert.spectra.dispersion import K_DM, delay_per_dm
from mwaconvert.transients.judging.looks import Look
from mwaconvert.transients.judging.score import features, model

#: part of the band that holds a pulse, below which it gets a flag
_PART = 1 / 3
#: part of a pulse from which impulses were taken away, from which on it gets a flag
_TAKEN = 0.1

#: of a candidate: DM, time and width, as a search found them
Place = tuple[float, float, float]


def place_of(c: Candidate) -> Place:
    """What tells a candidate from others of the same search."""
    return c.dm, c.time_s, c.width_s


def across_beams(beams: Mapping[int, Sequence[Candidate]], most: int = 4) -> dict[int, list[Candidate]]:
    """Candidates of several beams, each with the number of beams that have it, and a flag if they are too many.

    Another beam has it if one of its candidates has the same DM and time within three errors of both, or their widths.

    Parameters
    ----------
    beams : candidates of each beam, of one observation
    most : beams that a source in the sky can be in

    Examples
    --------
    >>> pulse = Candidate(time_s=1.0, dm=50.0, snr=9.0, width_s=4e-3, time_err_s=1e-3, dm_err=1.0)
    >>> far = replace(pulse, time_s=3.0)
    >>> found = across_beams({b: [pulse] for b in range(6)} | {6: [far]})
    >>> found[0][0].n_beams, found[0][0].flags, found[6][0].n_beams
    (6, (<Flag.MANY_BEAMS: 'many_beams'>,), 1)
    """
    every = _ByTime(beams)
    out: dict[int, list[Candidate]] = {}
    for beam, candidates in beams.items():
        out[beam] = []
        for c in candidates:
            n = len(every.that_have(c) | {beam})
            flags = (*c.flags, Flag.MANY_BEAMS) if n > most else c.flags
            out[beam].append(replace(c, beam=beam, n_beams=n, flags=flags))
    return out


class _ByTime:
    """The candidates of all beams in the order of time: each is compared with those near it alone."""

    def __init__(self, beams: Mapping[int, Sequence[Candidate]]) -> None:
        table = _table([c for candidates in beams.values() for c in candidates])
        order = np.argsort(table[0], kind="stable")
        self._table = table[:, order]
        self._beams = np.repeat(np.array(list(beams), np.int64), [len(c) for c in beams.values()])[order]
        _, _, time_err_s, _, width_s = table
        self._time_err_s, self._width_s = (float(x.max(initial=0)) for x in (time_err_s, width_s))

    def that_have(self, c: Candidate) -> set[int]:
        """The beams one of whose candidates is this pulse."""
        at_s, at_dm, own_time_err_s, own_dm_err, own_width_s = _table([c])[:, 0]
        # no slack below is longer; with more than rounding takes
        reach_s = 1e-6 + max(3 * np.hypot(self._time_err_s, own_time_err_s), self._width_s, own_width_s)
        low, high = np.searchsorted(self._table[0], (at_s - reach_s, at_s + reach_s))
        time_s, dm, time_err_s, dm_err, width_s = self._table[:, low:high]
        slack_s = np.maximum(3 * np.hypot(time_err_s, own_time_err_s), np.maximum(width_s, own_width_s))
        same = (abs(time_s - at_s) <= slack_s) & (abs(dm - at_dm) <= 3 * np.hypot(dm_err, own_dm_err))
        return set(self._beams[low:high][same].tolist())


def _table(candidates: Sequence[Candidate]) -> npt.NDArray[np.float64]:
    """(5, n) times, DMs, their errors, and widths; what is not known is 0."""
    rows = [(c.time_s, c.dm, c.time_err_s, c.dm_err, c.width_s) for c in candidates]
    return np.nan_to_num(np.array(rows, np.float64).reshape(-1, 5).T, posinf=np.inf)


@dataclass(frozen=True, eq=False)
class Doubts:
    """What flags follow from.

    Parameters
    ----------
    dms : (n_trial) pc/cm^3, ascending
    freq_mhz : (n_chan) centres of the channels, ascending
    dt_s : seconds per sample
    widest_s : the widest boxcar
    length_s : of the data; None: not known, and sweeps are not compared with it
    dm_data : pc/cm^3, to which the data are dedispersed already, also within channels
    k_dm : dispersion constant, MHz^2 s cm^3 / pc

    Examples
    --------
    >>> doubts = Doubts(np.arange(0, 101.0), 1200 + np.arange(300.0), 1e-3, 0.256, 60.0)
    >>> [f.value for f in doubts.of(Candidate(time_s=1.0, dm=0.5, snr=9.0, width_s=0.256))]
    ['near_zero', 'widest']
    >>> doubts.of(Candidate(time_s=1.0, dm=50.0, snr=9.0, width_s=4e-3))
    ()
    """

    dms: npt.NDArray[np.float64]
    freq_mhz: npt.NDArray[np.float64]
    dt_s: float
    widest_s: float
    length_s: float | None = None
    dm_data: float = 0.0
    k_dm: float = K_DM

    def judged(self, candidates: list[Candidate], looks: Mapping[Place, Look]) -> list[Candidate]:
        """The candidates with their flags and scores, in the order they come.

        Parameters
        ----------
        candidates : of a search
        looks : at those that were looked at, by their DM, time and width
        """
        out = []
        for c in candidates:
            look = looks.get(place_of(c))
            score = NOT_KNOWN if look is None else self._score(c, look)
            out.append(replace(c, flags=self.of(c, look), score=score))
        return out

    def features(self, c: Candidate, look: Look) -> npt.NDArray[np.float64]:
        """What the score follows from, see `score.features`."""
        dm = c.dm - self.dm_data
        return features(c, look, dm * self.across_s, max(self._smear(dm), self.dt_s))

    def _score(self, c: Candidate, look: Look) -> float:
        return model().score(self.features(c, look))

    @property
    def across_s(self) -> float:
        """Seconds per unit of DM."""
        return float(delay_per_dm(self.freq_mhz, "top", self.k_dm).max())

    def of(self, c: Candidate, look: Look | None = None) -> tuple[Flag, ...]:
        """Flags of a candidate, and of a look at it."""
        dm = c.dm - self.dm_data
        sweep = dm * self.across_s
        step = float(self.dms[-1] - self.dms[-2]) if self.dms.size > 1 else 0.0
        near = max(step / 2, c.dm_err) if isfinite(c.dm_err) else step / 2
        edge = c.dm > self.dms[-1] - near or (self.dms[0] > self.dm_data and c.dm < self.dms[0] + near)
        outside = self.length_s is not None and (c.time_s < 0 or c.time_s + sweep > self.length_s)
        judged = {
            Flag.DM_EDGE: self.dms.size > 1 and edge,
            Flag.NEAR_ZERO: sweep < c.width_s,
            Flag.WIDEST: c.width_s > 0.75 * self.widest_s > self.dt_s,
            Flag.TOO_NARROW: c.width_s < self._smear(dm) / 2,
            Flag.OUTSIDE: outside,
            Flag.PART_OF_BAND: look is not None and look.spread < _PART,
            Flag.IMPULSE: look is not None and look.taken >= _TAKEN,
        }
        return tuple(flag for flag, is_so in judged.items() if is_so)

    def _smear(self, dm: float) -> float:
        """Seconds over which a channel in the middle of the band is smeared."""
        if self.freq_mhz.size < 2:
            return 0.0
        middle = self.freq_mhz.size // 2
        step = float(self.freq_mhz[-1] - self.freq_mhz[0]) / (self.freq_mhz.size - 1)
        return 2 * self.k_dm * dm * step / float(self.freq_mhz[middle]) ** 3
