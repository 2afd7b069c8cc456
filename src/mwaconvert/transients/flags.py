"""What makes candidates doubtful, as far as their DM, time and width tell."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite

import numpy as np
import numpy.typing as npt

from mwaconvert.spectra.candidate import Candidate, Flag
from mwaconvert.spectra.dispersion import K_DM, delay_per_dm


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

    def flagged(self, candidates: list[Candidate]) -> list[Candidate]:
        """The candidates with their flags, in the order they come."""
        return [replace(c, flags=self.of(c)) for c in candidates]

    def of(self, c: Candidate) -> tuple[Flag, ...]:
        """Flags of a candidate."""
        across = float(delay_per_dm(self.freq_mhz, "top", self.k_dm).max())
        dm = c.dm - self.dm_data
        sweep = dm * across
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
        }
        return tuple(flag for flag, is_so in judged.items() if is_so)

    def _smear(self, dm: float) -> float:
        """Seconds over which a channel in the middle of the band is smeared."""
        if self.freq_mhz.size < 2:
            return 0.0
        middle = self.freq_mhz.size // 2
        step = float(self.freq_mhz[-1] - self.freq_mhz[0]) / (self.freq_mhz.size - 1)
        return 2 * self.k_dm * dm * step / float(self.freq_mhz[middle]) ** 3
