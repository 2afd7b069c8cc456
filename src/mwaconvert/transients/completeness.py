"""What a search of the user's own data would have missed: pulses are injected, searched and counted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mwaconvert.errors import InputError
from mwaconvert.spectra.candidate import Candidate
from mwaconvert.spectra.dispersion import delay_per_dm
from mwaconvert.transients.injection import (
    Injected,
    InjectedStream,
    channel_noise,
    random_pulses,
    truth_table,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from mwaconvert.progress import Progress
    from mwaconvert.transients.survey import Survey

PER_ROUND = 20  #: pulses that share a search
_SNRS = (4.0, 20.0)  # of the matched filter
_MOST_OF_FILE = 0.8  # that the sweep of a pulse may take


@dataclass(frozen=True, eq=False)
class Completeness:
    """Pulses that were injected, and what came back.

    Parameters
    ----------
    pulses : (n) what was injected
    snr : (n) S/N with which each was found; 0 if it was not
    threshold : S/N of the search
    """

    pulses: list[Injected]
    snr: npt.NDArray[np.float64]
    threshold: float

    @property
    def found(self) -> npt.NDArray[np.bool_]:
        """(n) whether each was found."""
        return self.snr > 0

    def part(self, of: Callable[[Injected], float], edges: npt.NDArray[np.float64]) -> list[tuple[int, int]]:
        """Found, and injected, between edges of some property.

        Examples
        --------
        >>> pulses = [Injected(time_s=1, dm=10, width_s=1e-3, snr=s) for s in (5, 9, 15)]
        >>> result = Completeness(pulses, np.array([0, 8.5, 14.0]), 7.0)
        >>> result.part(lambda p: p.snr, np.array([4, 8, 16.0]))
        [(0, 1), (2, 2)]
        """
        x = np.array([of(p) for p in self.pulses])
        bins = [(x >= low) & (x < high) for low, high in pairwise(edges)]
        return [(int(self.found[b].sum()), int(b.sum())) for b in bins]

    def half_snr(self) -> float:
        """S/N of the matched filter from which on at least half of the pulses are found, by steps of 1; NaN: none."""
        edges = np.arange(np.floor(_SNRS[0]), np.ceil(_SNRS[1]) + 1)
        parts = self.part(lambda p: p.snr, edges)
        low = [bool(n) and 2 * k < n for k, n in parts]
        last = max((k for k, below in enumerate(low) if below), default=-1)
        return float(edges[last + 1]) if last + 1 < len(parts) else float("nan")

    def table(self) -> str:
        """All pulses as CSV, with what was found."""
        return truth_table(self.pulses, found_snr=[f"{x:.2f}" if x > 0 else "" for x in self.snr])


def completeness(survey: Survey, n: int, *, seed: int = 0, progress: Progress | None = None) -> Completeness:
    """Inject pulses into what is searched, search, and count.

    Parameters
    ----------
    survey : the search; its file is read once for the noise, and once for each 20 pulses
    n : pulses
    seed : of the random numbers
    progress : told of each search

    Raises
    ------
    InputError : the file is too short for any pulse of these DMs
    """
    if n < 1:
        raise InputError(f"{n} pulses cannot be injected")
    stream = survey.stream
    per_dm = delay_per_dm(stream.freq_mhz, "top", stream.k_dm)
    across = float(per_dm.max())
    longest = _MOST_OF_FILE * stream.n_times * stream.dt_s
    low = max(survey.dm_min, stream.dm + (survey.dm_max - stream.dm) / 20)
    high = min(survey.dm_max, stream.dm + longest / across)
    if not low < high:
        raise InputError(
            f"{stream.path}: too short to inject pulses of DM {survey.dm_min:g} to {survey.dm_max:g}"
        )
    n_width = int(survey.options.get("n_width", 9))
    narrowest = survey.options.get("width_min_s") or stream.dt_s
    widths = (narrowest, max(2 * narrowest, stream.dt_s * 2 ** max(1, n_width - 3)))
    noise = channel_noise(stream, threads=int(survey.options.get("threads", 0)))
    pulses: list[Injected] = []
    snr: list[float] = []
    for first in range(0, n, PER_ROUND):
        some = random_pulses(
            stream,
            min(PER_ROUND, n - first),
            (low - stream.dm, high - stream.dm),
            widths,
            _SNRS,
            seed + first,
        )
        injected = InjectedStream(stream, some, noise, seed + first)
        rows = replace(survey, stream=injected).run(progress).candidates()
        pulses += some
        snr += recovered(some, rows, stream.dm, across, stream.dt_s)
    return Completeness(pulses, np.array(snr), float(survey.options.get("threshold", 7.0)))


def recovered(
    pulses: list[Injected], rows: list[Candidate], dm_data: float, across: float, dt_s: float
) -> list[float]:
    """S/N of the best candidate that is each pulse; 0 where none is.

    Parameters
    ----------
    pulses : what was injected
    rows : what was found, best first
    dm_data : of the data, above which pulses have their DM
    across : seconds across the band for each unit of DM
    dt_s : seconds per sample
    """
    out = []
    for pulse in pulses:
        best = 0.0
        for c in rows:
            width = max(c.width_s, pulse.width_s, 2 * dt_s)
            off = c.dm - dm_data - pulse.dm
            # a DM that is off moves a pulse along its sweep, and widens it
            late = c.time_s - pulse.time_s + off * across / 2
            if abs(off) < 2 * width / across + 3 * c.dm_err and abs(late) < 2 * width + abs(off) * across / 2:
                best = max(best, c.snr)
        out.append(best)
    return out
