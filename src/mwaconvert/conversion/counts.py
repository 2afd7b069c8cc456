"""What a plan lets one count: cells that the data made flagged, and statistics of what no rule flags."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.conversion.plan import Plan
from mwaconvert.conversion.rfi.mask import FlagMask
from mwaconvert.visibilities.statistics import DataFlags, QualityStatistics


def data_flags(plan: Plan, mask: FlagMask | None) -> DataFlags:
    """Count the cells of a mask; None: nothing was found."""
    n_fine, factor = plan.metadata.n_fine, plan.selection.time_factor
    rows = plan.rows.cross & (plan.rows.flagged == 0)
    channels = plan.flags.channels == 0
    chunks = plan.flags.chunks == _core.CHUNK_GOOD
    first = np.arange(0, len(channels), n_fine)[:, None] + np.arange(0, n_fine, plan.selection.freq_factor)

    n_chunks = np.add.reduceat(chunks.astype(np.int32), np.arange(0, len(chunks), factor), axis=0)
    n_kept = np.add.reduceat(channels, first.ravel(), dtype=np.int32)
    per_row = np.repeat(n_chunks, first.shape[1], axis=1) * n_kept
    row_flagged, flagged = np.zeros(len(rows), np.int64), np.zeros_like(per_row)
    if mask is not None:
        row_flagged, by_channel = mask.count(rows, channels, chunks, factor, plan.resources.threads)
        flagged = np.add.reduceat(by_channel, first.ravel(), axis=1)
    return DataFlags(row_flagged, rows * per_row.sum(), flagged, per_row * np.int32(rows.sum()))


def quality_statistics(plan: Plan) -> QualityStatistics:
    """Empty sums, to be filled with the blocks of a plan."""
    return QualityStatistics(plan.header, plan.rows.flagged, channel_static(plan), plan.resources.threads)


def channel_static(plan: Plan) -> npt.NDArray[np.uint8]:
    """(n_times, n_channels) output channels in which no cell can be unflagged, whatever the data show."""
    n_fine, factor = plan.metadata.n_fine, plan.selection.freq_factor
    starts = np.arange(0, n_fine, factor)
    flagged = plan.flags.channels.reshape(-1, n_fine) != 0
    by_channel = np.logical_and.reduceat(flagged, starts, axis=1)
    bad = plan.flags.chunks != _core.CHUNK_GOOD
    by_time = np.logical_and.reduceat(bad, np.arange(0, len(bad), plan.selection.time_factor), axis=0)
    return np.asarray((by_time[:, :, None] | by_channel).reshape(len(by_time), -1), np.uint8)
