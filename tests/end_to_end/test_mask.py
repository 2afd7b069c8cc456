"""What conversions make of flags of single input cells."""

import numpy as np
import pytest
from conversion_twin import Choices, convert_slowly
from conversions import collect, read_with_mwalib

import mwaconvert
from mwaconvert.conversion.rfi.mask import FlagMask


def add_cells(mask, cells):
    """`cells`: (n_times, n_rows, n_coarse * n_fine)."""
    for coarse in range(cells.shape[2] // mask.n_fine):
        mask.add_coarse(coarse, cells[:, :, coarse * mask.n_fine : (coarse + 1) * mask.n_fine])


def some_cells(plan):
    """Flags (n_times, n_rows, n_chan): single cells, channels for long, a timestep as a whole."""
    rng = np.random.default_rng(1)
    shape = (len(plan.timesteps), plan.n_rows, len(plan.selection.freqs_hz))
    cells = rng.random(shape) < 0.2
    cells[:, ::5] |= rng.random((shape[2],)) < 0.5
    cells[0] = True
    return cells


def mask_of(plan, cells):
    mask = FlagMask.for_plan(plan)
    add_cells(mask, cells)
    return mask


@pytest.mark.parametrize(("time_factor", "freq_factor"), [(1, 1), (3, 4), (1, 5), (2, 1)])
def test_flagged_cells_are_left_out_of_averages(observation, time_factor, freq_factor):
    plan = mwaconvert.open(observation.metafits).plan(
        time_factor=time_factor, freq_factor=freq_factor, flag_init_s=0.0
    )
    cells = some_cells(plan)
    found = collect(plan, mask_of(plan, cells))
    choices = Choices(
        times=plan.timesteps,
        coarse=plan.coarse,
        time_factor=time_factor,
        freq_factor=freq_factor,
        flagged_fine=np.flatnonzero(plan.flags.channels[: plan.metadata.n_fine]),
        flagged_antennas=np.flatnonzero(plan.header.antenna_flagged),
        mask=cells,
    )
    expected = convert_slowly(read_with_mwalib(observation.metafits), observation.metafits, choices)
    np.testing.assert_array_equal(found.flags, np.signbit(expected.weight))
    np.testing.assert_allclose(found.weight, expected.weight, rtol=2e-6)
    assert (abs(found.vis - expected.vis) <= 3e-6 * expected.scale).all()


def test_the_rest_stays_as_it_is(observation):
    """Bit by bit: values without flagged cells, and without averaging all values."""
    options = {"flag_init_s": 0.0}
    for factor in (1, 2):
        plan = mwaconvert.open(observation.metafits).plan(**options, time_factor=factor, freq_factor=factor)
        cells = some_cells(plan)
        with_mask, without = collect(plan, mask_of(plan, cells)), collect(plan)
        lost = cells
        for axis in (0, 2):
            lost = np.logical_or.reduceat(lost, np.arange(0, lost.shape[axis], factor), axis=axis)
        same = ~lost
        for name in ("vis", "weight"):
            np.testing.assert_array_equal(getattr(with_mask, name)[same], getattr(without, name)[same])
        if factor == 1:
            np.testing.assert_array_equal(with_mask.vis, without.vis)
            np.testing.assert_array_equal(abs(with_mask.weight), abs(without.weight))


def test_threads_blocks_and_files_change_no_bit(observation):
    reference = None
    for options in ({"threads": 1}, {"threads": 3}, {"threads": 2, "max_memory_gib": 0.35}):
        plan = mwaconvert.open(observation.metafits).plan(time_factor=2, freq_factor=4, **options)
        cells = some_cells(plan)
        shape = len(plan.timesteps), len(plan.coarse), plan.n_rows, plan.metadata.n_fine
        with FlagMask(*shape, in_file="max_memory_gib" in options) as mask:
            add_cells(mask, cells)
            found = collect(plan, mask)
        reference = reference or found
        np.testing.assert_array_equal(found.vis.view(np.uint8), reference.vis.view(np.uint8))
        np.testing.assert_array_equal(found.weight.view(np.uint8), reference.weight.view(np.uint8))
