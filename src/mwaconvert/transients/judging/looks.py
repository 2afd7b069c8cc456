"""How a pulse looks in cleaned data: in which parts of the band it is, and whether a single channel makes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mwaconvert.spectra.dispersion import delay_per_dm, delay_samples
from mwaconvert.transients.clean.cleaning import ORIGIN, STRETCH, UNIT

if TYPE_CHECKING:
    from mwaconvert.spectra.candidate import Candidate
    from mwaconvert.transients.clean.cleaning import Cleaned

N_BANDS = 8  #: parts of the band
_HALF = 0.5


@dataclass(frozen=True)
class Look:
    """A pulse, part by part.

    Parameters
    ----------
    bands : S/N in each part of the band, from the lowest; 0 where nothing is left of it
    channel : the largest S/N of a single channel
    there : part of its samples that are in the data and not masked
    taken : part of its samples from which an impulse was taken away
    """

    bands: tuple[float, ...]
    channel: float
    there: float
    taken: float = 0.0

    @property
    def spread(self) -> float:
        """Part of the band that holds the pulse: 1 if all parts have as much of it, 1 / N_BANDS if one has all.

        It is (sum of S)^2 / (N sum of S^2) of the S/N of the parts, less what the noise adds to S^2; at most 1.

        Examples
        --------
        >>> Look((4.0,) * 8, 2.0, 1.0).spread, round(Look((0.1,) * 7 + (9.0,), 2.0, 1.0).spread, 2)
        (1.0, 0.16)
        """
        s = np.array([b for b in self.bands if b != 0])
        if not s.size or s.sum() <= 0:
            return 0.0
        return float(min(1.0, s.sum() ** 2 / (s.size * max((s**2).sum() - s.size, s.sum() ** 2 / s.size))))


def look_at(cleaned: Cleaned, candidate: Candidate) -> Look:
    """Look at a pulse, in the boxcar that found it.

    Parameters
    ----------
    cleaned : spectra with the noise of each channel brought to one scale
    candidate : with a time from the start of these
    """
    spectra = cleaned.spectra
    dt_s, n_times = spectra.dt_s, spectra.n_times
    width = max(1, round(candidate.width_s / dt_s))
    start = round((candidate.time_s - candidate.width_s / 2) / dt_s)
    per_dm = delay_per_dm(spectra.freq_mhz, "top", spectra.k_dm) / dt_s
    delays = delay_samples(candidate.dm - spectra.dm, per_dm)[0]
    use = np.flatnonzero(cleaned.kept.any(1))
    impulses = cleaned.impulses
    taken = np.zeros(n_times, bool) if impulses is None else impulses.inside
    sums, number, lost = np.zeros(use.size), np.zeros(use.size), 0
    for part in np.array_split(np.arange(use.size), N_BANDS):  # not all of it in memory at once
        rows = use[part, None]
        at = start + delays[rows] + np.arange(width)
        inside = (at >= 0) & (at < n_times)
        at = at.clip(0, n_times - 1)
        share = np.where(inside, cleaned.kept[rows, at // STRETCH] / STRETCH, 0.0)
        sums[part] = np.where(share > 0, (spectra.data[rows, at] - ORIGIN) / UNIT, 0.0).sum(1)
        number[part] = share.sum(1)
        lost += int((taken[at] & inside).sum())
    bands = []
    for part in np.array_split(np.arange(use.size), N_BANDS):
        n = float(number[part].sum())
        bands.append(float(sums[part].sum()) / n**_HALF if n > 0 else 0.0)
    single = sums / np.sqrt(np.maximum(number, 1))
    there = float(number.sum()) / (width * spectra.n_chan)
    return Look(tuple(bands), float(single.max()), there, lost / (width * use.size))
