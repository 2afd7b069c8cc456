"""DM-time transforms: exact delays, two stages, or a tree, whichever is cheapest within the loss that is allowed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.spectra.dispersion import delay_samples
from mwaconvert.transients.trials.subbands import SubbandPlan, plan_subbands
from mwaconvert.transients.trials.tree import plan_tree

Data = npt.NDArray[np.uint8] | npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

_TRIALS = 256  # whose series are in memory at a time
_TREE_TRIALS, _TREE_BYTES = (
    1024,
    128 << 20,
)  # the same of a tree, of which more trials share more; with its sums
_TREE_SUMS = 2.5  # that a tree keeps, over its series (measured)
_TREE_COST = 2.5  # an addition in a tree takes as long as so many in two stages (measured)


@dataclass(frozen=True)
class Part:
    """Some trials of a transform."""

    trials: slice
    lead: int  #: samples by which series begin later than at delay 0
    reach: int  #: samples by which series are shorter than the data
    fill: Callable[[Data, npt.NDArray[np.float32], int], None]  #: (data, out (n_trial, n_out), threads)


@dataclass(frozen=True, eq=False)
class Transform:
    """How to sum the channels at many DMs: made by `plan_transform`."""

    method: str  #: exact, two-stage or tree
    loss: float  #: bound of the S/N lost against exact delays
    cost: float  #: additions per output sample
    dms: Floats  #: (n_trial) pc/cm^3
    per_dm_samples: Floats  #: (n_chan)
    two_stage: SubbandPlan | None
    tree_options: (
        tuple[int, float, float, bool] | None
    )  #: trials at a time, width in samples, loss, whether bytes

    def parts(self) -> Iterator[Part]:
        """All trials, some at a time."""
        if self.two_stage is not None:
            return self._two_stages(self.two_stage)
        if self.tree_options is not None:
            return self._trees(*self.tree_options)
        return self._exact(0, self.dms.size)

    def _exact(self, begin: int, end: int) -> Iterator[Part]:
        for first in range(begin, end, _TRIALS):
            part = slice(first, min(first + _TRIALS, end))
            delays = delay_samples(self.dms[part], self.per_dm_samples)

            def fill(
                data: Data,
                out: npt.NDArray[np.float32],
                threads: int,
                delays: npt.NDArray[np.int32] = delays,
            ) -> None:
                _core.dedisperse(data, delays, out, threads)

            yield Part(part, 0, int(delays.max()), fill)

    def _two_stages(self, plan: SubbandPlan) -> Iterator[Part]:
        group = plan.trials_per_group
        per_call = -(-_TRIALS // group) * group
        for first in range(0, self.dms.size, per_call):
            part = slice(first, min(first + per_call, self.dms.size))
            within = np.ascontiguousarray(plan.within[first // group : -(-part.stop // group)])
            across = np.ascontiguousarray(plan.across[part])

            def fill(
                data: Data,
                out: npt.NDArray[np.float32],
                threads: int,
                within: npt.NDArray[np.int32] = within,
                across: npt.NDArray[np.int32] = across,
            ) -> None:
                _core.dedisperse_subbands(
                    data=data,
                    edges=plan.edges,
                    within=within,
                    across=across,
                    trials_per_group=group,
                    out=out,
                    threads=threads,
                )

            yield Part(part, plan.lead, int(across.max()) + int(within.max()), fill)

    def _trees(self, per_call: int, width: float, loss: float, is_bytes: bool) -> Iterator[Part]:
        memory = _core.TreeMemory()
        for first in range(0, self.dms.size, per_call):
            part = slice(first, min(first + per_call, self.dms.size))
            plan = plan_tree(self.dms[part], self.per_dm_samples, width, loss, is_bytes=is_bytes)
            if plan is None:
                yield from self._exact(part.start, part.stop)
            else:
                yield Part(part, plan.lead, plan.reach, partial(plan.run, memory=memory))


def plan_transform(
    dms: Floats,
    per_dm_samples: Floats,
    width_samples: float,
    max_loss: float,
    *,
    is_bytes: bool,
    n_times: int,
) -> Transform:
    """Choose how to sum the channels.

    Parameters
    ----------
    dms : (n_trial) ascending, evenly spaced unless max_loss is 0, pc/cm^3
    per_dm_samples : (n_chan) samples of delay per unit of DM; not negative, monotonic unless max_loss is 0
    width_samples : full width at half maximum of the narrowest Gaussian pulse of interest
    max_loss : fraction of its S/N that may be lost, against exact delays; 0: exact delays
    is_bytes : the data are 8-bit integers
    n_times : samples of the data, which limit the trials that are in memory at a time
    """
    exact = Transform("exact", 0.0, float(per_dm_samples.size), dms, per_dm_samples, None, None)
    if max_loss <= 0:
        return exact
    two_stage = plan_subbands(dms, per_dm_samples, width_samples, max_loss, is_bytes=is_bytes)
    cost = exact.cost if two_stage is None else two_stage.cost
    per_call = int(min(_TREE_TRIALS, max(64, _TREE_BYTES / (4 * n_times * (1 + _TREE_SUMS)))))
    last = dms[-per_call:]  # errors are largest where delays are
    tree = plan_tree(
        last,
        per_dm_samples,
        width_samples,
        max_loss,
        is_bytes=is_bytes,
        most_cost=cost / _TREE_COST,
    )
    if tree is not None:
        options = (per_call, width_samples, max_loss, is_bytes)
        return Transform("tree", max_loss, tree.cost, dms, per_dm_samples, None, options)
    if two_stage is not None:
        return Transform("two-stage", two_stage.loss, two_stage.cost, dms, per_dm_samples, two_stage, None)
    return exact
