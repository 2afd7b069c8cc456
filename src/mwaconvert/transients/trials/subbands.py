"""How many sub-bands, and how many trials share them: the cheapest plan whose loss of S/N stays below a bound.

Within a group of neighbouring trials the channels of a sub-band are aligned once, for the DM in the middle of the
group. A pulse at the edge of the group is then smeared by what remains. Its S/N follows from the error of each
channel's delay alone, so it is computed, with all rounding, rather than estimated.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import erf

import numpy as np
import numpy.typing as npt

from mwaconvert.spectra.dispersion import delay_samples

_STAGE_SAMPLES = 4096  # output samples that share one alignment in the kernel
_MOST_BYTES = 257  # channels of 8 bits in a sub-band
_BINS = 16  # of the delay error, per sample
_GROUPS, _FEW_GROUPS = 64, 8  # of which the edges are tried: for the bound, and for a first look
_FWHM = 2.354820045  # of a Gaussian of unit standard deviation


@dataclass(frozen=True)
class SubbandPlan:
    """Delays of the two stages, in samples (see cpp/include/mwaconvert/dedisperse.hpp)."""

    trials_per_group: int
    edges: npt.NDArray[np.int32]  #: (n_sub + 1) first channel of each sub-band, and the number of channels
    within: npt.NDArray[np.int32]  #: (n_group, n_chan)
    across: npt.NDArray[np.int32]  #: (n_trial, n_sub), of which `lead` is an offset
    lead: int  #: samples by which series begin later than at delay 0
    loss: float  #: largest loss of S/N against exact delays
    cost: float  #: additions per output sample

    @property
    def n_sub(self) -> int:
        """Number of sub-bands."""
        return self.edges.size - 1


def plan_subbands(
    dms: npt.NDArray[np.float64],
    per_dm_samples: npt.NDArray[np.float64],
    width_samples: float,
    max_loss: float,
    *,
    is_bytes: bool = True,
) -> SubbandPlan | None:
    """Find the cheapest two-stage plan.

    Parameters
    ----------
    dms : (n_trial) evenly spaced, pc/cm^3
    per_dm_samples : (n_chan) samples of delay per unit of DM; monotonic
    width_samples : full width at half maximum of the narrowest Gaussian pulse of interest
    max_loss : fraction of its S/N that may be lost, against exact delays
    is_bytes : the data are 8-bit integers

    Returns
    -------
    SubbandPlan or None
        None where nothing is cheaper than exact delays
    """
    n_chan, n_trial = per_dm_samples.size, dms.size
    if n_trial < 4 or n_chan < 8:
        return None
    step = (dms[-1] - dms[0]) / (n_trial - 1)
    tolerated = max_loss * 1.5 * (width_samples**2 + 1) / 1.386  # mean square of errors, samples^2
    options: list[tuple[float, int, int]] = []
    for trials in (4, 8, 16, 32, 64, 128):
        if trials > 2 * n_trial:
            break
        halo = float(np.abs(per_dm_samples).mean()) * step * (trials - 1) / _STAGE_SAMPLES
        for n_sub in sorted({int(8 * 2 ** (k / 4)) for k in range(40)}):
            if n_sub > n_chan // 2:
                break
            cost = n_chan / trials * (1 + halo) + n_sub
            smear = (
                abs(per_dm_samples[0] - per_dm_samples[-1]) / n_sub * step * trials
            )  # over a sub-band at the edge
            if cost < 0.8 * n_chan and smear**2 / 48 < tolerated:
                options.append((cost, trials, n_sub))
    for cost, trials, n_sub in sorted(options)[:12]:
        for n_group in (_FEW_GROUPS, _GROUPS):
            plan = _make_plan(
                dms, per_dm_samples, width_samples, step, trials, n_sub, cost, is_bytes, n_group
            )
            if plan.loss > max_loss:
                break
        else:
            return plan
    return None


def _make_plan(
    dms: npt.NDArray[np.float64],
    per_dm: npt.NDArray[np.float64],
    width: float,
    step: float,
    trials: int,
    n_sub: int,
    cost: float,
    is_bytes: bool,
    groups_tried: int,
) -> SubbandPlan:
    edges = equal_delays(per_dm, n_sub, _MOST_BYTES if is_bytes else per_dm.size)
    sizes = np.diff(edges)
    middle = np.add.reduceat(per_dm, edges[:-1]) / sizes
    n_group = -(-dms.size // trials)
    centres = dms[0] + step * (np.arange(n_group) * trials + (trials - 1) / 2)
    within = delay_samples(centres, per_dm - np.repeat(middle, sizes))
    across = delay_samples(dms, middle)

    # pulses at the edges of groups, and half a step beyond them
    groups = np.unique(np.linspace(0, n_group - 1, groups_tried).astype(int))
    first, last = groups * trials, np.minimum(groups * trials + trials, dms.size) - 1
    trial = np.concatenate([first, last, first, last])
    off = np.repeat([0.0, 0.0, -step / 2, step / 2], groups.size)
    true = (dms[trial] + off)[:, None] * per_dm
    exact = delay_samples(dms[trial], per_dm) - true
    used = np.repeat(across[trial], sizes, axis=1) + within[trial // trials] - true
    loss = 1 - float((best_snr(used, width) / best_snr(exact, width)).min())

    lowest = np.minimum.reduceat(across, np.arange(n_group) * trials, axis=0)
    low = int((lowest + np.minimum.reduceat(within, edges[:-1], axis=1)).min())
    lead = max(0, -low)
    return SubbandPlan(trials, edges, within, across + np.int32(lead), lead, max(loss, 0.0), cost)


def equal_delays(per_dm: npt.NDArray[np.float64], n_sub: int, most: int) -> npt.NDArray[np.int32]:
    """First channels of sub-bands that are equal in delay, none of more than `most` channels."""
    place = (per_dm - per_dm[0]) / (per_dm[-1] - per_dm[0]) * n_sub
    edges = np.unique(np.concatenate([[0], np.searchsorted(place, np.arange(1, n_sub)), [per_dm.size]]))
    if np.diff(edges).max() <= most:
        return edges.astype(np.int32)
    pieces = [np.linspace(a, b, -(-(b - a) // most) + 1)[:-1] for a, b in pairwise(edges)]
    return np.concatenate([*pieces, [per_dm.size]]).astype(np.int32)


def best_snr(errors: npt.NDArray[np.float64], width: float) -> npt.NDArray[np.float64]:
    """S/N of a Gaussian pulse of which each channel comes too late by its error, wherever within a sample it arrives.

    Parameters
    ----------
    errors : (n, n_chan) samples
    width : full width at half maximum, samples

    Returns
    -------
    (n) S/N of the best boxcar, the mean over phases, in units of (area of the pulse) / (noise of a sample)
    """
    reach = int(np.ceil(min(np.abs(errors).max(), 4 * width + 4))) + 1
    n_bin = 2 * reach * _BINS + 1
    place = np.clip(np.rint(errors * _BINS) + reach * _BINS, 0, n_bin - 1).astype(np.int64)
    place += (np.arange(len(errors)) * n_bin)[:, None]
    share = np.bincount(place.ravel(), minlength=n_bin * len(errors)).reshape(-1, n_bin) / errors.shape[1]

    sigma = width / _FWHM
    at = (np.arange(n_bin) - reach * _BINS) / _BINS
    phases = np.arange(-4, 4) / 4  # a boxcar begins at whole samples: the best of two for each of four phases
    boxcars = [
        b for b in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256) if b <= max(1.0, 3 * width)
    ][-5:]
    best = np.zeros((len(errors), 4))
    end = int(np.ceil(6 * sigma * _BINS))  # every argument is a whole number of bins
    table = np.array([0.5 * erf(k / (_BINS * sigma * 2**0.5)) for k in range(-end, end + 1)])

    def edge(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return table[np.clip(np.rint(x * _BINS).astype(np.int64) + end, 0, 2 * end)]

    for boxcar in boxcars:
        centre = at[:, None] + phases[None, :]
        response = (edge(centre + boxcar / 2) - edge(centre - boxcar / 2)) / np.sqrt(boxcar)
        snr = share @ response
        best = np.maximum(best, np.maximum(snr[:, :4], snr[:, 4:]))
    mean: npt.NDArray[np.float64] = best.mean(1)
    return mean
