"""Candidates of one pulse, found as friends of friends, over batches as they come.

Two candidates are friends if they are near in time, in DM, in width and in beam; a pulse is what friends of friends
reach. There are no boxes, so no edges: two pulses of a pulsar stay two, and a batch boundary parts nothing.

Times of candidates are of the highest channel, and a DM that is too high makes them too early. So times are compared
in the middle of the band and in the middle of the boxcar, where this error is smallest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mwaconvert.live.amber import ROW, Rows

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


class _Nodes(NamedTuple):
    """Candidates of one class of widths and one cell of half a link: friends without more ado."""

    member: Ints  # (n) node of each candidate
    kind: Ints  # class of widths
    beam: Ints
    first_s: Floats  # box around the members
    last_s: Floats
    dm_low: Floats
    dm_high: Floats


def width_class(width: npt.NDArray[np.int32]) -> Ints:
    """0 for 1 to 4 samples, 1 for 5 to 24, 2 for 25 to 124 and so on."""
    edges = 5 ** np.arange(1, 12)
    return np.searchsorted(edges, width, "right").astype(np.int64)


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
    if not rows.size:
        return np.empty(0, np.int64)
    links = links or Links()
    nodes = _nodes(rows, links)
    return _labels(nodes, links)[nodes.member]


def _labels(nodes: _Nodes, links: Links) -> Ints:
    """Number of the cluster of each node, in the order of the first members."""
    label = np.arange(nodes.kind.size)
    for kind in np.unique(nodes.kind):
        _join_class(label, nodes, kind, links)
    _, first, of_member = np.unique(label[nodes.member], return_index=True, return_inverse=True)
    rank = np.empty(first.size, np.int64)
    rank[np.argsort(first)] = np.arange(first.size)
    of_node = np.empty(nodes.kind.size, np.int64)
    of_node[nodes.member] = rank[of_member]
    return of_node


def _reach(kind: Ints | int, links: Links) -> Floats:
    """(..., 2) how far apart in time and DM friends of a class may be."""
    longest_s = (5.0 ** (np.asarray(kind) + 1) - 1) * links.dt_s
    return np.stack([links.time_s + longest_s / 2, links.dm + links.dm_per_s * longest_s], axis=-1)


def _middles_s(rows: Rows, links: Links) -> Floats:
    return np.asarray(rows["time_s"] + 0.5 * links.dt_s * rows["width"] + links.delay_s_per_dm * rows["dm"])


def _nodes(rows: Rows, links: Links) -> _Nodes:
    kinds = width_class(rows["width"])
    middle_s, dm = _middles_s(rows, links), np.ascontiguousarray(rows["dm"])
    half = _reach(np.arange(12), links)[kinds] / 2
    beam = rows["beam"].astype(np.int64) if links.beams is not None else np.zeros(rows.size, np.int64)
    key = (beam * 16 + kinds << 48) + _cell(middle_s, dm, half)
    order = np.argsort(key, kind="stable")
    sorted_key = key[order]
    first = np.flatnonzero(np.concatenate([[True], sorted_key[1:] != sorted_key[:-1]]))
    member = np.empty(rows.size, np.int64)
    member[order] = np.repeat(np.arange(first.size), np.diff(np.append(first, rows.size)))
    middle_s, dm = middle_s[order], dm[order]
    boxes = [step.reduceat(values, first) for values in (middle_s, dm) for step in (np.minimum, np.maximum)]
    return _Nodes(member, kinds[order][first], beam[order][first], *boxes)


def _cell(middle_s: Floats, dm: Floats, size: Floats) -> Ints:
    """One number for a cell of time and DM; neighbours in DM have neighbouring numbers."""
    return ((middle_s / size[..., 0]).astype(np.int64) << 20) + (dm / size[..., 1]).astype(np.int64)


def _join_class(label: Ints, nodes: _Nodes, kind: int, links: Links) -> None:
    """Join friends among the nodes of a class, and of them with the class below."""
    reach = _reach(kind, links)
    span = links.beams or 0
    sides = []
    for of in (np.flatnonzero(nodes.kind == k) for k in (kind, kind - 1)):
        key = (nodes.beam[of] << 48) + _cell(nodes.first_s[of], nodes.dm_low[of], reach / 2)
        order = np.argsort(key, kind="stable")  # sorted needles are found faster, too
        sides += [of[order], key[order]]
    own, own_key, below, below_key = sides
    # members are in the cell of their lower corner, those of the class below perhaps in the next one, too
    searches = [(own, own_key, beam, range(-2 if beam else 0, 3), 2) for beam in range(span + 1)]
    searches += [(below, below_key, beam, range(-2, 4), 3) for beam in range(-span, span + 1)]
    for side, side_key, beam, steps, last in searches:
        from_, key = side, side_key
        for step in sorted(
            steps, key=abs
        ):  # near cells first: where many are friends, little is left to look for
            if own.size and (label[own] == label[own[0]]).all():
                left = label[from_] != label[own[0]]
                from_, key = from_[left], key[left]
            if not from_.size:
                break
            low = key + (beam << 48) + (step << 20)
            start = np.searchsorted(own_key, low - 2)
            count = np.searchsorted(own_key, low + last, "right") - start
            for k in range(count.max()):
                inside = count > k
                a, b = from_[inside], own[start[inside] + k]
                apart = label[a] != label[b]
                _join(label, *_within(nodes, a[apart], b[apart], reach))


def _within(nodes: _Nodes, a: Ints, b: Ints, reach: Floats) -> tuple[Ints, Ints]:
    """The pairs whose boxes are within reach."""
    near = np.maximum(nodes.first_s[a] - nodes.last_s[b], nodes.first_s[b] - nodes.last_s[a]) <= reach[0]
    a, b = a[near], b[near]
    near = np.maximum(nodes.dm_low[a] - nodes.dm_high[b], nodes.dm_low[b] - nodes.dm_high[a]) <= reach[1]
    return a[near], b[near]


def _join(label: Ints, a: Ints, b: Ints) -> None:
    """Give what is connected the smallest of its labels (hooking and jumping)."""
    while a.size:
        x, y = label[a], label[b]
        apart = x != y
        if not apart.any():
            return
        a, b, x, y = a[apart], b[apart], x[apart], y[apart]
        np.minimum.at(label, np.maximum(x, y), np.minimum(x, y))
        while ((jumped := label[label]) != label).any():
            label[:] = jumped


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
        is_new = np.arange(together.size) >= self._rows.size
        nodes = _nodes(together, self.links)
        label = _labels(nodes, self.links)[nodes.member]
        ids, merged = self._identify(label, is_new)
        changed = self._update(together, label, ids, is_new, merged)
        changes = Changes(tuple(self._clusters[i] for i in sorted(changed)), merged, left_out)
        self._keep(together, ids[label], nodes)
        return changes

    def _identify(self, label: Ints, is_new: npt.NDArray[np.bool_]) -> tuple[Ints, dict[int, int]]:
        """Id of each label: the oldest of its members, or a new one."""
        n = int(label.max()) + 1
        ids = np.full(n, np.iinfo(np.int64).max)
        old = label[~is_new]
        np.minimum.at(ids, old, self._ids)
        fresh = np.flatnonzero(ids == np.iinfo(np.int64).max)
        ids[fresh] = self._next_id + np.arange(fresh.size)
        self._next_id += fresh.size
        swallowed = self._ids != ids[old]
        return ids, dict(zip(self._ids[swallowed].tolist(), ids[old][swallowed].tolist(), strict=True))

    def _update(
        self, rows: Rows, label: Ints, ids: Ints, is_new: npt.NDArray[np.bool_], merged: dict[int, int]
    ) -> set[int]:
        """Bring the clusters up to date; the ids of those that are new or have grown."""
        new = np.flatnonzero(is_new)
        of = label[new]
        by_snr = new[np.lexsort((new, -rows["snr"][new], of))]
        touched, first, counts = np.unique(label[by_snr], return_index=True, return_counts=True)
        beams = np.unique((label << 11) + rows["beam"])
        n_beams = np.bincount(beams >> 11, minlength=ids.size)
        ordered = rows[by_snr]
        low, high = (
            {name: step.reduceat(ordered[name], first) for name in ("time_s", "dm")}
            for step in (np.minimum, np.maximum)
        )
        changed = set()
        for i, (number, count) in enumerate(zip(ids[touched].tolist(), counts.tolist(), strict=True)):
            best = ordered[first[i]]
            cluster = Cluster(
                id=number,
                **{name: best[name].item() for name in ("time_s", "dm", "snr", "width", "beam", "instance")},
                n_members=count,
                n_beams=int(n_beams[touched[i]]),
                first_s=float(low["time_s"][i]),
                last_s=float(high["time_s"][i]),
                dm_low=float(low["dm"][i]),
                dm_high=float(high["dm"][i]),
                grown_by=count,
            )
            before = self._clusters.get(number)
            self._clusters[number] = cluster if before is None else _joined(before, cluster)
            changed.add(number)
        for old, into in merged.items():
            self._clusters[into] = _joined(self._clusters[into], replace(self._clusters.pop(old), grown_by=0))
        return changed

    def _keep(self, rows: Rows, ids: Ints, nodes: _Nodes) -> None:
        """Keep what a later batch may still reach: of each cell the brightest, and the corners of its box."""
        self._newest_s = max(self._newest_s, float(rows["time_s"].max()))
        values = (_middles_s(rows, self.links), rows["dm"])
        boxes = ((nodes.first_s, nodes.last_s), (nodes.dm_low, nodes.dm_high))
        keep = np.zeros(rows.size, np.bool_)
        one = np.empty(nodes.kind.size, np.int64)
        by_snr = np.argsort(rows["snr"], kind="stable")
        one[nodes.member[by_snr]] = by_snr  # the last to be written stays
        keep[one] = True
        for value, edges in zip(values, boxes, strict=True):
            for edge in edges:
                at_edge = np.flatnonzero(value == edge[nodes.member])
                one[nodes.member[at_edge]] = at_edge
                keep[one] = True
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
