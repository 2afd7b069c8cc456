"""Candidates of one pulse, found as friends of friends, over batches as they come.

Two candidates are friends if they are near in time, in DM, in width and in beam; a pulse is what friends of friends
reach. There are no boxes, so no edges: two pulses of a pulsar stay two, and a batch boundary parts nothing.

Times of candidates are of the highest channel, and a DM that is too high makes them too early. So times are compared
in the middle of the band and in the middle of the boxcar, where this error is smallest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.live.amber import ROW, Rows

_CLASSES = 12
_EDGES = (5 ** np.arange(1, _CLASSES)).astype(np.int32)
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Links:
    """How near friends are.

    Parameters
    ----------
    dt_s : seconds per sample; widths are in samples
    delay_s_per_dm : from the top of the band to its middle
    time_s : between the middles of two boxcars, beside half the longest width of the class of widths
    dm : pc/cm^3, beside what the width allows
    dm_per_s : DM by which the S/N of a pulse of that width falls to about half
    beams : difference of beam numbers; None: any, as sidelobes reach all beams of a compound beam
    """

    dt_s: float = 81.92e-6
    delay_s_per_dm: float = 4.2e-4
    time_s: float = 0.01
    dm: float = 1.0
    dm_per_s: float = 1000.0
    beams: int | None = None


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A pulse; what is not said to be of all members is of the brightest.

    Parameters
    ----------
    id : stays the same while the cluster grows
    time_s : start of the boxcar at the highest channel, from the start of the observation
    dm, snr, width, beam, instance : of the brightest member, width in samples
    n_members : candidates
    n_beams : different beams among the members that are kept
    first_s, last_s : earliest and latest time of members
    dm_low, dm_high : of members
    grown_by : members that the last batch added
    """

    id: int
    time_s: float
    dm: float
    snr: float
    width: int
    beam: int
    instance: int
    n_members: int
    n_beams: int
    first_s: float
    last_s: float
    dm_low: float
    dm_high: float
    grown_by: int


def width_class(width: npt.NDArray[np.int32]) -> Ints:
    """0 for 1 to 4 samples, 1 for 5 to 24, 2 for 25 to 124 and so on."""
    return np.searchsorted(_EDGES, width, "right").astype(np.int64)


def friends_of_friends(rows: Rows, links: Links | None = None) -> Ints:
    """Cluster of each candidate.

    Friends are in the same class of widths (powers of 5) or in neighbouring ones, and at most so far apart as the
    wider class allows. Candidates in a cell of half of that are joined first; then cells are, if the boxes around their
    members are within a link.

    Parameters
    ----------
    rows : (n) of `amber.ROW`
    links : how near; None: for ARTS

    Returns
    -------
    (n) number of the cluster, from 0, in the order of their first members

    Examples
    --------
    >>> rows = np.array([(1.0, 50.0, 12.0, 5, 0, 1), (1.001, 50.2, 10.0, 1, 3, 1), (2.0, 50, 9.0, 5, 0, 1)], ROW)
    >>> friends_of_friends(rows)
    array([0, 0, 1])
    """
    return _linked(rows, links or Links())[0]


def _linked(rows: Rows, links: Links) -> tuple[Ints, int, npt.NDArray[np.bool_]]:
    """Cluster of each candidate, how many clusters, and which candidates a later batch may still reach."""
    label, keep = np.empty(rows.size, np.int64), np.empty(rows.size, np.uint8)
    beam = rows["beam"].astype(np.int64) if links.beams is not None else np.zeros(rows.size, np.int64)
    n = _core.friends_of_friends(
        middle_s=_middles_s(rows, links),
        dm=np.ascontiguousarray(rows["dm"]),
        snr=np.ascontiguousarray(rows["snr"]),
        kind=width_class(rows["width"]),
        beam=beam,
        reach=_reach(links),
        beams=links.beams or 0,
        label=label,
        keep=keep,
    )
    return label, n, keep.view(np.bool_)


def _reach(links: Links) -> Floats:
    """(12, 2) how far apart in time and DM friends of a class may be."""
    longest_s = (5.0 ** np.arange(1, _CLASSES + 1) - 1) * links.dt_s
    return np.stack([links.time_s + longest_s / 2, links.dm + links.dm_per_s * longest_s], axis=-1)


def _middles_s(rows: Rows, links: Links) -> Floats:
    return np.asarray(rows["time_s"] + 0.5 * links.dt_s * rows["width"] + links.delay_s_per_dm * rows["dm"])


@dataclass(frozen=True)
class Changes:
    """What a batch changed.

    Parameters
    ----------
    clusters : that are new or have grown, in the order of their ids
    merged : id -> id of the cluster that it is part of now
    left_out : candidates that were too many to look at, the faintest of the batch
    """

    clusters: tuple[Cluster, ...]
    merged: dict[int, int]
    left_out: int = 0


class StreamClusters:
    """Clusters that grow over batches.

    Parameters
    ----------
    links : how near friends are
    keep_s : how far back a batch may reach: the AMBER processes report a pulse at different times, up to 8.2 s apart
    most : candidates of one batch that are looked at, the brightest; and places that are kept
    snr_min : of candidates

    Examples
    --------
    >>> stream = StreamClusters()
    >>> stream.add(np.array([(1.0, 50.0, 12.0, 5, 0, 1)], ROW)).clusters[0].id
    1
    >>> stream.add(np.array([(1.0, 50.2, 14.0, 5, 0, 1)], ROW)).clusters[0].n_members
    2
    """

    def __init__(
        self, links: Links | None = None, *, keep_s: float = 12.0, most: int = 200_000, snr_min: float = 8.0
    ) -> None:
        self.links, self.keep_s, self.most, self.snr_min = links or Links(), keep_s, most, snr_min
        self._clusters: dict[int, Cluster] = {}
        self._rows, self._ids = np.empty(0, ROW), np.empty(0, np.int64)
        self._newest_s, self._next_id = -np.inf, 1

    def add(self, rows: Rows) -> Changes:
        """Cluster a batch with what is kept.

        Parameters
        ----------
        rows : (n) of `amber.ROW`
        """
        rows = rows[rows["snr"] >= self.snr_min]
        left_out = max(0, rows.size - self.most)
        if left_out:
            rows = rows[np.argsort(-rows["snr"], kind="stable")[: self.most]]
        if not rows.size:
            return Changes((), {})
        together = np.concatenate([self._rows, rows])
        label, n, keep = _linked(together, self.links)
        ids, merged = self._identify(label, n)
        changed = self._update(together, label, ids, merged)
        changes = Changes(tuple(self._clusters[i] for i in sorted(changed)), merged, left_out)
        self._keep(together, ids[label], keep)
        return changes

    def _identify(self, label: Ints, n: int) -> tuple[Ints, dict[int, int]]:
        """Id of each label: the oldest of its members, or a new one."""
        ids = np.full(n, np.iinfo(np.int64).max)
        old = label[: self._ids.size]
        np.minimum.at(ids, old, self._ids)
        fresh = np.flatnonzero(ids == np.iinfo(np.int64).max)
        ids[fresh] = self._next_id + np.arange(fresh.size)
        self._next_id += fresh.size
        swallowed = self._ids != ids[old]
        return ids, dict(zip(self._ids[swallowed].tolist(), ids[old][swallowed].tolist(), strict=True))

    def _update(self, rows: Rows, label: Ints, ids: Ints, merged: dict[int, int]) -> set[int]:
        """Bring the clusters up to date; the ids of those that are new or have grown."""
        best, count, n_beams = (np.empty(ids.size, np.int64) for _ in range(3))
        box = np.empty((ids.size, 4))
        _core.summarise_clusters(
            label=label,
            first_new=self._ids.size,
            time_s=np.ascontiguousarray(rows["time_s"]),
            dm=np.ascontiguousarray(rows["dm"]),
            snr=np.ascontiguousarray(rows["snr"]),
            beam=rows["beam"].astype(np.int64),
            best=best,
            count=count,
            n_beams=n_beams,
            box=box,
        )
        changed = set()
        touched = np.flatnonzero(best >= 0)
        columns = (ids[touched], rows[best[touched]], count[touched], n_beams[touched], box[touched])
        for number, row, members, beams, edges in zip(*(column.tolist() for column in columns), strict=True):
            time_s, dm, snr, width, beam, instance = row
            cluster = Cluster(
                id=number,
                time_s=time_s,
                dm=dm,
                snr=snr,
                width=width,
                beam=beam,
                instance=instance,
                n_members=members,
                n_beams=beams,
                first_s=edges[0],
                last_s=edges[1],
                dm_low=edges[2],
                dm_high=edges[3],
                grown_by=members,
            )
            before = self._clusters.get(number)
            self._clusters[number] = cluster if before is None else _joined(before, cluster)
            changed.add(number)
        for old, into in merged.items():
            self._clusters[into] = _joined(self._clusters[into], replace(self._clusters.pop(old), grown_by=0))
        return changed

    def _keep(self, rows: Rows, ids: Ints, keep: npt.NDArray[np.bool_]) -> None:
        """Keep what a later batch may still reach, as far back as one reaches."""
        self._newest_s = max(self._newest_s, float(rows["time_s"].max()))
        kept = np.flatnonzero(keep & (rows["time_s"] >= self._newest_s - self.keep_s))
        if kept.size > self.most:
            kept = np.sort(kept[np.argsort(-rows["time_s"][kept], kind="stable")[: self.most]])
        self._rows, self._ids = rows[kept], ids[kept]
        alive = set(self._ids.tolist())
        self._clusters = {number: c for number, c in self._clusters.items() if number in alive}


def _joined(one: Cluster, other: Cluster) -> Cluster:
    """Both under the id of the first; the brighter stands for them."""
    best = other if other.snr > one.snr else one
    return replace(
        best,
        id=one.id,
        n_members=one.n_members + other.n_members,
        n_beams=max(one.n_beams, other.n_beams),
        first_s=min(one.first_s, other.first_s),
        last_s=max(one.last_s, other.last_s),
        dm_low=min(one.dm_low, other.dm_low),
        dm_high=max(one.dm_high, other.dm_high),
        grown_by=other.grown_by or one.grown_by,
    )
