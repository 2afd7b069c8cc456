"""The clusters of DARC and arts-analysis, bit for bit: for comparisons with lists that they made.

Boxes of time and DM, fixed from the first candidate on; the brightest member of a box stands for it. Bursts that share
a box are lost but for one, and what lies on an edge is lost (11 to 24 % of the pulses of the Crab in the reference
data). `mwaconvert.live.clusters` is what we use.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mwaconvert.live.amber import Rows
from mwaconvert.live.clusters import Changes, Cluster
from mwaconvert.live.settings import Clustering

_BEAMS = 71
#: candidates of one pulse in other beams, for the filter: DMs this near, pc/cm^3
_DM_NEAR = 20.0


@dataclass(frozen=True)
class BoxClusters:
    """Parameters
    ----------
    winners : (n) indices into the rows
    n_members : (n) candidates in the box of each
    """

    winners: npt.NDArray[np.intp]
    n_members: npt.NDArray[np.int64]


def dm_windows(dm_low: float, dm_high: float) -> list[tuple[int, int]]:
    """Windows from the top down: to 2/3 of the upper edge, below 100 to 3/7, below 50 to 0; edges cut to integers.

    Examples
    --------
    >>> dm_windows(50.0, 120.0)
    [(80, 120), (34, 80)]
    """
    windows = []
    high = dm_high
    while high > dm_low:
        part = 0.0 if high < 50 else (1 - 0.4) / (1 + 0.4) if high < 100 else (1 - 0.2) / (1 + 0.2)
        windows.append((int(part * high), int(high)))
        high = int(part * high)
    return windows


def box_clusters(
    rows: Rows,
    *,
    snr_min: float = 8.0,
    window_s: float = 0.5,
    dm_min: float = 0.0,
    dm_max: float = np.inf,
    beam_period: tuple[float, float] | None = None,
) -> BoxClusters:
    """Cluster candidates in boxes.

    Parameters
    ----------
    rows : (n) of `amber.ROW`
    snr_min : of candidates
    window_s : length of boxes
    dm_min, dm_max : of clusters; 0: 0.9 of the lowest DM
    beam_period : lowest and highest period of a sidelobe pattern over synthesised beams, both excluded; None: any

    Returns
    -------
    BoxClusters : DMs descending by windows, then times ascending
    """
    kept = np.flatnonzero(rows["snr"] >= snr_min)
    none = BoxClusters(np.empty(0, np.intp), np.empty(0, np.int64))
    if not kept.size:
        return none
    snr, dm, time_s = (rows[name][kept] for name in ("snr", "dm", "time_s"))
    window = _dm_window(dm, dm_windows(0.9 * dm.min(), 1.1 * dm.max()))
    n_windows = int((time_s.max() - time_s.min()) // window_s) + 2
    edges = window_s * np.arange(n_windows + 1) + (time_s.min() - 0.5 * window_s)
    box = np.searchsorted(edges, time_s, "right") - 1
    inside = (window >= 0) & (np.searchsorted(edges, time_s, "left") > box) & (box < n_windows)
    candidates = np.flatnonzero(inside)
    key = window[candidates] * n_windows + box[candidates]
    # the first of the brightest of each box
    order = np.lexsort((candidates, -snr[candidates], key))
    _, first, counts = np.unique(key[order], return_index=True, return_counts=True)
    winners = candidates[order][first]
    lowest = dm_min or 0.9 * dm.min()
    fits = (dm[winners] >= lowest) & (dm[winners] <= dm_max)
    winners, counts = winners[fits], counts[fits]
    if beam_period is not None:
        periods = np.array([_beam_period(rows[kept], int(i)) for i in winners])
        has = (periods > beam_period[0]) & (periods < beam_period[1]) if winners.size else fits[:0]
        winners, counts = winners[has], counts[has]
    return BoxClusters(kept[winners], counts)


class BoxStream:
    """Clusters of boxes, each batch by itself, in the place of `clusters.StreamClusters`.

    Parameters
    ----------
    settings : window and filter; None: the defaults
    """

    def __init__(self, settings: Clustering | None = None) -> None:
        self.settings = settings or Clustering()
        self._next_id = 1

    def add(self, rows: Rows) -> Changes:
        """Cluster a batch."""
        settings = self.settings
        found = box_clusters(
            rows,
            snr_min=settings.snr_min_global,
            window_s=settings.clustering_window,
            dm_min=settings.dm_min_global,
            beam_period=(settings.sb_filter_period_min, settings.sb_filter_period_max)
            if settings.sb_filter
            else None,
        )
        clusters = []
        for winner, n_members in zip(rows[found.winners], found.n_members.tolist(), strict=True):
            facts = {
                name: winner[name].item() for name in ("time_s", "dm", "snr", "width", "beam", "instance")
            }
            clusters.append(
                Cluster(
                    id=self._next_id,
                    **facts,
                    n_members=n_members,
                    n_beams=1,
                    first_s=facts["time_s"],
                    last_s=facts["time_s"],
                    dm_low=facts["dm"],
                    dm_high=facts["dm"],
                    grown_by=n_members,
                )
            )
            self._next_id += 1
        return Changes(tuple(clusters), {})


def _dm_window(dm: npt.NDArray[np.float64], windows: list[tuple[int, int]]) -> npt.NDArray[np.int64]:
    """Number of the window, edges excluded; -1: in none."""
    found = np.full(dm.size, -1)
    for i, (low, high) in enumerate(windows):
        found[(dm > low) & (dm < high)] = i
    return found


def _beam_period(rows: Rows, winner: int) -> int:
    """The lag at which S/N over beams at the time of the winner repeats best."""
    same = (rows["time_s"] == rows["time_s"][winner]) & (np.abs(rows["dm"] - rows["dm"][winner]) < _DM_NEAR)
    series = np.zeros(_BEAMS)
    series[rows["beam"][same] % _BEAMS] = rows["snr"][same]
    correlation = np.correlate(series, series, "full")[_BEAMS - 1 :]
    return int(np.flatnonzero(correlation == correlation[2:].max())[0])
