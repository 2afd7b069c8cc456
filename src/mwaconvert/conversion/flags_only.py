"""Runs that write flag files and nothing else: flags are found, visibilities are not converted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.conversion.flag_files import is_flag_file
from mwaconvert.conversion.plan import Plan
from mwaconvert.conversion.rfi.array import array_rfi_bytes
from mwaconvert.conversion.rfi.mask import FlagMask, mask_bytes
from mwaconvert.conversion.steps import State, Step, StepKind
from mwaconvert.conversion.tables import axes
from mwaconvert.machine import BASE_BYTES
from mwaconvert.visibilities.quality import FlagCounts

WHY = "only flag files are written"
#: what detection does not look at
_NEVER = {
    StepKind.CABLE_DELAYS,
    StepKind.GEOMETRIC_DELAYS,
    StepKind.DUT1,
    StepKind.WEIGHTS,
    StepKind.AVERAGING,
}
#: what it looks at, where it runs
_FOR_DETECTION = {StepKind.VAN_VLECK, StepKind.DIGITAL_GAINS, StepKind.PASSBAND}


def writes_only_flags(outputs: Sequence[Path], *, picture: bool = False) -> bool:
    """Whether no visibilities are asked for.

    Parameters
    ----------
    picture : whether one is to be drawn
    """
    return not picture and bool(outputs) and all(map(is_flag_file, outputs))


def without_conversion(plan: Plan) -> Plan:
    """The same plan as far as flags are concerned: of input cells, the rest said not to be applied."""
    meta, selection = plan.metadata, plan.selection
    times = axes.output_times(selection.input_mjd(), meta.int_time_s, 1, plan.flags.chunks)
    return replace(
        plan,
        header=replace(
            plan.header,
            spectral_windows=axes.spectral_windows(
                meta, selection.bands, selection.freqs_hz, plan.flags.channels != 0, factor=1
            ),
            time_mjd=times.time_mjd,
            centroid_mjd=times.centroid_mjd,
            interval_s=times.interval_s,
            exposure_s=times.exposure_s,
        ),
        options=replace(plan.options, statistics=False),
        steps=tuple(_step(step, plan.detection is not None) for step in plan.steps),
        selection=replace(selection, time_factor=1, freq_factor=1),
    )


def _step(step: Step, detects: bool) -> Step:
    if not step.applied:
        return step
    if step.kind is StepKind.SOLUTIONS:
        return Step(step.kind, State.SKIPPED, f"{WHY}; what has no solution is flagged")
    if step.kind in _NEVER or (step.kind in _FOR_DETECTION and not detects):
        return Step(step.kind, State.SKIPPED, WHY)
    if step.kind in _FOR_DETECTION:
        return replace(step, why=f"for the detection of RFI: {step.why}")
    return step


def memory_bytes(plan: Plan) -> int:
    """Estimate of the peak memory."""
    needed = BASE_BYTES
    if (plan.detection or plan.options.rfi_array or plan.flag_files) and not plan.resources.mask_in_file:
        needed += mask_bytes(plan.selection, plan.n_rows)
    if plan.detection is not None:
        needed = max(needed, plan.detection.peak_bytes)
    if plan.options.rfi_array:
        needed = max(needed, array_rfi_bytes(len(plan.timesteps), len(plan.selection.freqs_hz)))
    return needed


def count_cells(counts: FlagCounts, plan: Plan, mask: FlagMask | None) -> None:
    """Take the flags of input cells into the counts."""
    for time_index, channels, flags in cells(plan, mask):
        by_row = 4 * flags.sum(axis=1)
        counts.by_row += by_row
        counts.by_channel[channels] += 4 * flags.sum(axis=0)
        counts.by_time[time_index] += by_row.sum()


def cells(plan: Plan, mask: FlagMask | None) -> Iterator[tuple[int, slice, npt.NDArray[np.bool_]]]:
    """Flags (n_rows, n_fine) of each timestep and coarse channel: timestep, channels, flags."""
    n_fine = plan.metadata.n_fine
    always = (plan.rows.flagged != 0)[:, None] | (plan.flags.channels != 0)
    for (time, coarse), chunk in np.ndenumerate(plan.flags.chunks):
        channels = slice(coarse * n_fine, (coarse + 1) * n_fine)
        flags = always[:, channels] | bool(chunk != _core.CHUNK_GOOD)
        if mask is not None:
            flags |= mask.unpacked(slice(time, time + 1), coarse)[0]
        yield time, channels, flags
