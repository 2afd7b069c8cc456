"""How sure a candidate is: errors of its time, DM and width, and when it came."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf, sqrt

import numpy as np
import numpy.typing as npt

from mwaconvert.spectra.candidate import Candidate
from mwaconvert.spectra.dispersion import delay_per_dm

_GRID = 12**-0.5  # standard deviation of what is uniform over one step
_SIGMA = 1 / 2.354820045  # of a Gaussian, over its full width at half maximum
_SHARP = 2.0  # a boxcar finds the time of a Gaussian so many times worse than the matched filter (measured)
_BOXCAR = 0.20  # of the width between two boxcars, each twice as long as the last, over the width


@dataclass(frozen=True, eq=False)
class Precision:
    """What errors of candidates follow from.

    Parameters
    ----------
    dms : (n_trial) pc/cm^3, ascending
    freq_mhz : (n_chan) centres of the channels
    dt_s : seconds per sample
    k_dm : dispersion constant, MHz^2 s cm^3 / pc
    start_mjd : UTC of the beginning of the data

    Notes
    -----
    For a Gaussian pulse of standard deviation s in white noise the matched filter finds the time to
    sqrt(2) s / (S/N), a boxcar to twice that. Its DM follows from the times of the channels, so its error is that over
    the standard deviation of their delays per unit of DM; and the time at the highest channel has that of the DM in
    it, times the mean delay. The steps of the DMs, samples and boxcars add what is uniform over a step.
    """

    dms: npt.NDArray[np.float64]
    freq_mhz: npt.NDArray[np.float64]
    dt_s: float
    k_dm: float
    start_mjd: float | None = None

    def measured(self, candidates: list[Candidate]) -> list[Candidate]:
        """The candidates with their errors and MJD, in the order they come."""
        per_dm = delay_per_dm(self.freq_mhz, "top", self.k_dm)
        spread, mean = float(per_dm.std()), float(per_dm.mean())
        return [self._one(c, spread, mean) for c in candidates]

    def _one(self, c: Candidate, spread: float, mean: float) -> Candidate:
        if not c.snr > 0:
            return replace(c, time_err_s=inf, dm_err=inf, width_err_s=inf, mjd=self._mjd(c.time_s))
        timing = _SHARP * sqrt(2) * c.width_s * _SIGMA / c.snr
        if spread > 0:
            dm_err = sqrt((timing / spread) ** 2 + (self._step(c.dm) * _GRID) ** 2)
            time_err = sqrt(timing**2 + (mean * dm_err) ** 2 + (self.dt_s * _GRID) ** 2)
        else:
            dm_err, time_err = inf, timing
        return replace(
            c,
            time_err_s=time_err,
            dm_err=dm_err,
            width_err_s=c.width_s * sqrt(_BOXCAR**2 + 1 / c.snr**2),
            mjd=self._mjd(c.time_s),
        )

    def _mjd(self, time_s: float) -> float | None:
        return None if self.start_mjd is None else self.start_mjd + time_s / 86400

    def _step(self, dm: float) -> float:
        """Distance of the trials about a DM."""
        if self.dms.size < 2:
            return 0.0
        k = int(np.clip(np.searchsorted(self.dms, dm), 1, self.dms.size - 1))
        return float(self.dms[k] - self.dms[k - 1])
