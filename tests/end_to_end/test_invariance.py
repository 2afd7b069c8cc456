"""The same output, to the last bit, for any number of threads and any size of blocks."""

from dataclasses import replace

import numpy as np
import pytest
from conversion_twin import Choices, convert_slowly
from conversions import collect, read_with_mwalib, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mwaconvert
from mwaconvert.conversion import converter
from mwaconvert.observation.timemap import common_run

AVERAGES = [{}, {"time_factor": 2, "freq_factor": 4}]


@pytest.mark.parametrize("average", AVERAGES, ids=["plain", "averaged"])
def test_threads_and_blocks(observation, tmp_path, monkeypatch, average):
    raw = mwaconvert.open(observation.metafits)
    reference = None
    for threads, rows in [(1, None), (2, None), (1, 1 / 3), (2, 1 / 7)]:
        plan = raw.plan(threads=threads, **average)
        if rows is not None:
            # room for two blocks of a part of the rows, so that they do not divide evenly
            block = 2 * int(plan.n_rows * rows) * plan.n_channels * 4 * converter.VALUE_BYTES
            gib = (converter.fixed_bytes(plan) + block) / 2**30
            plan = raw.plan(threads=threads, max_memory_gib=gib, **average)
            assert converter.rows_per_block(plan) == pytest.approx(plan.n_rows * rows, abs=1)
        else:
            assert converter.rows_per_block(plan) == plan.n_rows
        converted = collect(plan)
        path = tmp_path / f"{threads}_{rows}.uvfits"
        write(plan, path)
        found = (
            converted.vis.tobytes(),
            converted.weight.tobytes(),
            converted.uvw_m.tobytes(),
            path.read_bytes(),
        )
        path.unlink()
        reference = reference or found
        for one, other in zip(found, reference, strict=True):
            assert one == other


def test_small_blocks_by_default(mwax, monkeypatch):
    """Observations are far larger than a block: MWAX files are read in many."""
    plan = mwaconvert.open(mwax.metafits).plan(time_factor=3)
    whole = collect(plan)
    monkeypatch.setattr(converter, "BLOCK_BYTES", 2 * plan.n_channels * 4 * converter.VALUE_BYTES)
    assert converter.rows_per_block(plan) == 2
    blocks = collect(plan)
    np.testing.assert_array_equal(blocks.vis.view(np.uint32), whole.vis.view(np.uint32))
    np.testing.assert_array_equal(blocks.weight.view(np.uint32), whole.weight.view(np.uint32))


def test_too_little_memory(observation):
    raw = mwaconvert.open(observation.metafits)
    with pytest.raises(
        mwaconvert.InputError, match=r"`max_memory_gib=0\.01` GiB is too little: .* at least 0\.\d\d GiB"
    ):
        collect(raw.plan(max_memory_gib=0.01))


# any selection, gaps and averages: the slow twin's output


@pytest.fixture(scope="module")
def tiny(simulated):
    sim = simulated(
        like="mwax-128",
        n_tiles=4,
        fine_khz=256.0,
        duration_s=12.0,
        coarse_channels=(120, 121, 125),
        noise_jy=1.0,
    )
    return sim, mwaconvert.open(sim.metafits), read_with_mwalib(sim.metafits)


def subsets(n, minimum=0):
    return st.lists(st.integers(0, n - 1), min_size=minimum, max_size=n, unique=True).map(sorted).map(tuple)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    gaps=st.sets(st.tuples(st.integers(0, 5), st.integers(0, 2)), max_size=14),
    ends=st.tuples(st.integers(0, 5), st.integers(0, 5)).map(sorted),
    time_factor=st.integers(1, 7),
    freq_factor=st.integers(1, 5),
    antennas=subsets(4, 1),
    coarse=subsets(3, 1),
    flagged=st.fixed_dictionaries(
        {
            "flag_times": subsets(6),
            "flag_fine_chans": subsets(5),
            "flag_coarse_chans": subsets(3),
            "flag_antennas": subsets(4),
            "flag_autos": st.booleans(),
        }
    ),
)
def test_any_choice(tiny, gaps, ends, time_factor, freq_factor, antennas, coarse, flagged):
    sim, observation, raw = tiny
    hole = np.zeros((6, 3), bool)
    hole[tuple(np.array(sorted(gaps), int).reshape(-1, 2).T)] = True
    index = np.where(hole, -1, observation.hdu_index)
    observation = replace(observation, hdu_index=index, common=common_run(index >= 0, np.ones(6, bool)))
    raw = replace(raw, there=raw.there & ~hole, vis=raw.vis * ~hole[:, :, None, None, None])
    plan = observation.plan(
        flag_edge_width_khz=0.0,
        sel_time=tuple(ends),
        time_factor=time_factor,
        freq_factor=freq_factor,
        sel_ants=antennas,
        sel_chan_ranges=tuple((c, c) for c in coarse),
        **flagged,
    )
    found = collect(plan)
    expected = convert_slowly(
        raw,
        sim.metafits,
        Choices(
            times=range(ends[0], ends[1] + 1),
            coarse=coarse,
            time_factor=time_factor,
            freq_factor=freq_factor,
            antennas=antennas,
            flagged_times=flagged["flag_times"],
            flagged_fine=flagged["flag_fine_chans"],
            flagged_coarse=flagged["flag_coarse_chans"],
            flagged_antennas=flagged["flag_antennas"],
            flag_autos=flagged["flag_autos"],
        ),
    )
    np.testing.assert_array_equal(found.flags, np.signbit(expected.weight))
    np.testing.assert_allclose(found.weight, expected.weight, rtol=2e-6)
    assert (abs(found.vis - expected.vis) <= 3e-6 * expected.scale).all()
    np.testing.assert_allclose(
        (plan.header.centroid_mjd - 40587) * 86400, expected.centroid_s, rtol=0, atol=2e-6
    )
    np.testing.assert_allclose(plan.header.exposure_s, expected.exposure_s)
