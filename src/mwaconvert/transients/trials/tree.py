"""Dedispersion by a tree: trials share sums over sub-bands, those share sums over smaller ones, down to channels.

A row of a sub-band stands for all trials at which the delay across the sub-band is about the same. It adds rows of the
sub-bands below, each later by whole samples. Two things set its error: `quantum`, the samples of delay across the
sub-band that neighbouring rows differ by, and `phases`, in how many fractions of a sample rows are kept, so that what is
lost by rounding at each level is 1 / `phases` of a sample. The tree of Zackay & Ofek (2017, ApJ 835, 11) has two
children, quantum 1 and one phase; with more children fewer roundings add up, and less memory is read and written.

The delay that each channel has in each trial follows from the tree itself. Its mean square error is summed over the
tree, exactly and for every trial; the loss of S/N is computed, with all rounding, for the trials where that is largest
and for others between.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import exp, sqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.spectra.dispersion import delay_samples
from mwaconvert.transients.trials.subbands import best_snr, equal_delays

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]

_MOST_BYTES = 257  # channels of 8 bits in a sum of 16 bits
_BLOCK = 256  # rows of the highest level that are computed together
_GOLDEN = 0.6180339887498949
_FWHM = 2.354820045  # of a Gaussian of unit standard deviation
_WORST, _OTHERS = 8, 24  # trials of which the loss is computed
_UNEVEN = 1.35  # largest mean square error of a trial over that of the average trial (measured)
_PER_ROW = 1.5  # a row costs as much as so many additions more
_TRIES = 6  # of plans, until one keeps the bound
_BOLDER = 1.17  # quantum that is tried besides the first within the loss, over that one
_DENSE = 4.0  # samples of delay between trials, below which it is better to store sums over sub-bands


class Level(NamedTuple):
    """See cpp/include/mwaconvert/tree.hpp."""

    first: Ints
    child: Ints
    offset: Ints
    blocks: Ints


@dataclass(frozen=True, eq=False)
class TreePlan:
    """A tree for some trials, and what it costs."""

    levels: list[Level]
    kept: int  #: level that is stored between two passes; -1: none
    lead: int  #: samples by which series begin later than with exact delays
    reach: int  #: series are shorter than the data by so many samples
    loss: float  #: largest loss of S/N against exact delays
    loss_ideal: float  #: the same against unrounded delays, of a matched filter: holds for every trial
    cost: float  #: additions per output sample

    def run(
        self,
        data: npt.NDArray[np.uint8] | npt.NDArray[np.float32],
        out: npt.NDArray[np.float32],
        threads: int = 0,
        memory: _core.TreeMemory | None = None,
    ) -> None:
        """Fill out (n_trial, n_out) from data (n_chan, n_times); n_out at most n_times - reach.

        `memory` is for one run at a time: who runs trees one after the other saves the time that new memory takes.
        """
        _core.dedisperse_tree(data, self.levels, self.kept, out, memory, threads)


class _Shape(NamedTuple):
    """How channels are grouped."""

    edges: list[Ints]  #: by level: first node of the level below of each node, and their number
    middle: list[Floats]  #: by level, of its nodes: mean samples of delay per unit of DM
    span: list[Floats]  #: and the difference across it


def _shape(per_dm: Floats, nodes: list[int], is_bytes: bool) -> _Shape:
    channel_edges = [equal_delays(per_dm, nodes[0], _MOST_BYTES if is_bytes else per_dm.size)]
    for n in nodes[1:]:
        # a boundary of the level below is nearest to each wanted one
        below = channel_edges[-1]
        wanted = equal_delays(per_dm, n, per_dm.size)[1:-1]
        nearest = below[np.searchsorted(below, wanted).clip(0, below.size - 1)]
        channel_edges.append(np.unique(np.concatenate([[0], nearest, [per_dm.size]])).astype(np.int32))
    channel_edges.append(np.array([0, per_dm.size], np.int32))
    edges, middle, span = [channel_edges[0]], [], []
    for lower, upper in pairwise(channel_edges):
        edges.append(np.searchsorted(lower, upper).astype(np.int32))
    for at in channel_edges:
        middle.append(np.add.reduceat(per_dm, at[:-1]) / np.diff(at))
        span.append(np.abs(per_dm[at[1:] - 1] - per_dm[at[:-1]]))
    return _Shape(edges, middle, span)


def plan_tree(
    dms: Floats,
    per_dm_samples: Floats,
    width_samples: float,
    max_loss: float,
    *,
    is_bytes: bool = True,
    most_cost: float = np.inf,
) -> TreePlan | None:
    """Find a cheap tree.

    Parameters
    ----------
    dms : (n_trial) evenly spaced, pc/cm^3
    per_dm_samples : (n_chan) samples of delay per unit of DM; monotonic, 0 where series are not delayed
    width_samples : full width at half maximum of the narrowest Gaussian pulse of interest
    max_loss : fraction of its S/N that may be lost, against exact delays
    is_bytes : the data are 8-bit integers
    most_cost : additions per output sample above which a tree is of no interest

    Returns
    -------
    TreePlan or None
        None where no tree is within the loss and the cost
    """
    n_chan, n_trial = per_dm_samples.size, dms.size
    if n_trial < 16 or n_chan < 64 or max_loss <= 0:
        return None
    sweep = abs(float(per_dm_samples[0] - per_dm_samples[-1])) * float(dms[-1] - dms[0])
    # loss of S/N of a Gaussian: 4 ln 2 / 2 times mean square error over squared width
    tolerated = max_loss * (width_samples**2 + 1) / 1.386 / _UNEVEN
    for _ in range(_TRIES):
        option = _cheapest(n_chan, n_trial, sweep, tolerated, is_bytes)
        if option is None or option[0] > most_cost:
            return None
        _, nodes, quantum, phases = option
        kept = 1 if sweep < _DENSE * n_trial and len(nodes) > 1 else -1
        make = partial(
            make_tree, dms, per_dm_samples, nodes, kept=kept, is_bytes=is_bytes, width_samples=width_samples
        )
        plan = make(quantum=quantum, phases=phases)
        if plan.loss <= max_loss:
            # the loss also depends on how roundings fall: more may be within it
            bolder = make(quantum=quantum * _BOLDER, phases=phases)
            return bolder if bolder.loss <= max_loss and bolder.cost < plan.cost else plan
        tolerated *= min(0.95, 0.97 * (max_loss / plan.loss) ** 1.5)
    return None


def _cheapest(
    n_chan: int, n_trial: int, sweep: float, tolerated: float, is_bytes: bool
) -> tuple[float, list[int], float, int] | None:
    """Cost, nodes, quantum and phases such that the mean square error is about `tolerated` (samples^2)."""
    best = None
    for nodes in _groupings(n_chan, is_bytes):
        for phases in (1, 2, 3):
            # a level whose rows differ by more than the quantum has a row for each trial, without this error
            for quantized in range(len(nodes), 0, -1):
                quantum2 = 144 * (tolerated - len(nodes) / (12 * phases**2)) / quantized
                if quantum2 < 0.5:
                    break
                quantum = min(sqrt(quantum2), 32.0)
                if sum(sweep / n < quantum * n_trial for n in nodes) > quantized:
                    break
                cost = float(nodes[-1]) + _PER_ROW
                for n, below in zip(nodes, [n_chan, *nodes[:-1]], strict=True):
                    rows = n * min(n_trial, (sweep / n / quantum + 1) * phases)
                    cost += rows * (below / n + _PER_ROW) / n_trial
                if best is None or cost < best[0]:
                    best = (cost, nodes, quantum, phases)
    return best


def _groupings(n_chan: int, is_bytes: bool) -> list[list[int]]:
    """Numbers of sub-bands by level that are worth a try."""
    lowest = [n_chan // k for k in (4, 6, 8, 12, 16, 24, 32) if n_chan // k >= 8]
    found = [[n] for n in lowest]
    for n in lowest:
        for second in (4, 8, 16):
            found.append([n, n // second])
            found += [[n, n // second, n // second // third] for third in (4, 8, 16)]
    small = [f for f in found if f[-1] >= 2 and all(a > b for a, b in pairwise(f))]
    most = 200 if is_bytes else n_chan  # sub-bands of equal delay differ in channels
    return [f for f in small if n_chan / f[0] <= most / 2]


# One function: the levels are made from the top down, then numbered from the bottom up, on the same lists.
def make_tree(
    dms: Floats,
    per_dm_samples: Floats,
    nodes: list[int],
    quantum: float,
    phases: int,
    *,
    kept: int = -1,
    is_bytes: bool = True,
    width_samples: float = 1.0,
) -> TreePlan:
    """Build the tree for given sub-bands.

    Parameters
    ----------
    dms : (n_trial) ascending, pc/cm^3
    per_dm_samples : (n_chan) samples of delay per unit of DM, monotonic, 0 where series are not delayed
    nodes : number of sub-bands of each level, from the lowest, without the highest level
    quantum : samples of delay across a sub-band by which its rows differ
    phases : fractions of a sample of which rows are kept
    kept : see `TreePlan`
    is_bytes : the data are 8-bit integers
    width_samples : full width at half maximum of the Gaussian pulse for which losses are computed
    """
    shape = _shape(per_dm_samples, nodes, is_bytes)
    n_level = len(shape.edges)
    # from the top down: which rows are needed; a row is a node, a DM and a phase
    node, dm, phase = np.zeros(dms.size, np.int64), dms, np.zeros(dms.size)
    reference = np.zeros(1)
    raw: list[tuple[Ints, npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]] = []
    for level in range(n_level - 1, -1, -1):
        edges = shape.edges[level]
        count = np.diff(edges)[node].astype(np.int64)
        first = np.concatenate([[0], np.cumsum(count)])
        row = np.repeat(np.arange(node.size), count)
        child = edges[node][row] + np.arange(first[-1]) - first[row]
        below = per_dm_samples if level == 0 else shape.middle[level - 1]
        target = dm[row] * (below[child] - reference[node][row]) + phase[row]
        if level == 0:
            offset = np.floor(target + 0.5).astype(np.int64)
            raw.append((first.astype(np.int32), child, offset, node))
            break
        fine = np.floor(target * phases + 0.5).astype(np.int64)
        offset, part = fine // phases, fine % phases
        # sub-bands of the same span must not all be half a quantum off in the same trial: each begins elsewhere
        begin = child * _GOLDEN % 1
        step = np.floor(dm[row] * shape.span[level - 1][child] / quantum + begin).astype(np.int64)
        key = (child * (int(step.max()) + 1) + step) * phases + part
        unique, index = np.unique(key, return_inverse=True)
        raw.append((first.astype(np.int32), index, offset, node))
        members = np.bincount(index)
        dm = np.bincount(index, dm[row]) / members
        node, phase = unique // phases // (int(step.max()) + 1), unique % phases / phases
        reference = shape.middle[level - 1]
    raw.reverse()

    # from the bottom up: no offset below 0, and the sums over channels of delay, its square, and its product with per_dm
    earlier = np.zeros(per_dm_samples.size, np.int64)
    reach = earlier
    total, square, product = (np.zeros(per_dm_samples.size) for _ in range(3))
    number, with_per_dm = np.ones(per_dm_samples.size), per_dm_samples
    levels: list[Level] = []
    for level, (first, child, relative, node) in enumerate(raw):
        if level == n_level - 1:
            shift = np.full(first.size - 1, max(0, int((earlier[child] - relative).max())))
        else:
            shift = np.maximum.reduceat(earlier[child] - relative, first[:-1])
        offset = relative + np.repeat(shift, np.diff(first)) - earlier[child]
        reach = np.maximum.reduceat(reach[child] + offset, first[:-1])
        square = np.add.reduceat(
            square[child] + 2 * offset * total[child] + offset**2 * number[child], first[:-1]
        )
        product = np.add.reduceat(product[child] + offset * with_per_dm[child], first[:-1])
        total = np.add.reduceat(total[child] + offset * number[child], first[:-1])
        number = np.add.reduceat(number[child], first[:-1])
        with_per_dm = np.add.reduceat(with_per_dm[child], first[:-1])
        earlier = shift
        ends = np.arange(0, node.size, _BLOCK)
        new_node = np.flatnonzero(np.diff(node)) + 1
        blocks = np.unique(np.concatenate([ends, new_node, [node.size]])).astype(np.int32)
        levels.append(Level(first, child.astype(np.int32), offset.astype(np.int32), blocks))
    lead = int(earlier[0])

    n = per_dm_samples.size
    mean = total - dms * per_dm_samples.sum()  # of the error
    variance = (square - 2 * dms * product + dms**2 * (per_dm_samples**2).sum()) / n - (mean / n) ** 2
    sigma2 = (width_samples / _FWHM) ** 2
    lengths = [level.child.size for level in levels]
    return TreePlan(
        levels,
        kept,
        lead,
        int(reach.max()),
        _loss(levels, dms, per_dm_samples, variance, width_samples, lead),
        1 - exp(-max(0.0, float(variance.max())) / (4 * sigma2)),
        sum(lengths) / dms.size,
    )


def composite_delays(levels: list[Level], trials: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """(n_trial, n_chan) delays that the tree gives to the channels in some trials, samples."""
    rows = trials.reshape(-1, 1).astype(np.int64)
    delays = np.zeros_like(rows)
    for level in reversed(levels):
        count = np.diff(level.first)[rows[0]]  # the same for all: rows of a node have the same children
        begin = np.repeat(level.first[:-1][rows], count, axis=1)
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        at = begin + within
        delays = np.repeat(delays, count, axis=1) + level.offset[at]
        rows = level.child[at]
    return delays


def _loss(
    levels: list[Level], dms: Floats, per_dm: Floats, variance: Floats, width: float, lead: int
) -> float:
    """Largest loss among the worst trials and some between, each at its DM and half a step beyond."""
    worst = np.argsort(-variance, kind="stable")[:_WORST]
    others = np.linspace(0, dms.size - 1, min(_OTHERS, dms.size)).astype(np.int64)
    trials = np.unique(np.concatenate([worst, others]))
    used = composite_delays(levels, trials) - lead
    exact = delay_samples(dms[trials], per_dm)
    half = np.gradient(dms)[trials] / 2 if dms.size > 1 else np.zeros(1)
    loss = 0.0
    for off in (0.0, -1.0, 1.0):
        true = (dms[trials] + off * half)[:, None] * per_dm
        loss = max(loss, 1 - float((best_snr(used - true, width) / best_snr(exact - true, width)).min()))
    return loss
