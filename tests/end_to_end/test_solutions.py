"""Conversions with calibration solutions, against the slow twin and against what is known without them."""

import functools
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from conversion_twin import Choices, convert_slowly
from conversions import NOTHING, UNFLAGGED, collect, read_with_mwalib
from solution_files import add_calibdata, write_aocal, write_hyperdrive

import mwaconvert
from mwaconvert.conversion.tables.channels import fine_channel_frequencies_hz

SPEED_OF_LIGHT_M_S = 299792458.0
read = functools.cache(read_with_mwalib)
PLAIN = {"flag_edge_width_khz": 0.0, "flag_init_s": 0.0, "flag_dc": False}


def facts(metafits):
    """Metadata, and (n_coarse, n_fine) frequencies."""
    meta = mwaconvert.open(metafits).metadata
    return meta, np.array([fine_channel_frequencies_hz(meta, c.index) for c in meta.coarse_channels])


def random_jones(seed, *shape):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 1, (*shape, 4)) + 1j * rng.normal(0, 1, (*shape, 4))


def assert_as_twin(metafits, options, choices):
    """Against the twin; the values of its flagged cells without solution are 0."""
    plan = mwaconvert.open(metafits).plan(**PLAIN, **options)
    found = collect(plan)
    expected = convert_slowly(read(metafits), metafits, choices)
    np.testing.assert_array_equal(found.flags, np.signbit(expected.weight))
    np.testing.assert_allclose(found.weight, expected.weight, rtol=2e-6)
    assert (abs(found.vis - expected.vis) <= 3e-6 * expected.scale).all()
    return plan, found


def base(metafits, **more):
    raw = read(metafits)
    meta = mwaconvert.open(metafits).metadata
    flagged = tuple(a.index for a in meta.antennas if a.flagged)
    coarse = tuple(np.flatnonzero(raw.there.any(axis=0)).tolist())
    return Choices(times=range(len(raw.unix_ms)), coarse=coarse, flagged_antennas=flagged, **more)


@pytest.mark.parametrize("kind", ["bin", "fits"])
def test_identity_leaves_data_untouched(observation, tmp_path, kind):
    """A14, first part: bit for bit where nothing else is done."""
    meta, freq = facts(observation.metafits)
    jones = np.zeros((1, meta.n_antennas, freq.size, 4), complex)
    jones[..., [0, 3]] = 1
    path = tmp_path / f"x.{kind}"
    write_aocal(path, jones) if kind == "bin" else write_hyperdrive(path, jones, freq.ravel())
    for options in (NOTHING | UNFLAGGED, {"time_factor": 2, "freq_factor": 2}):
        before = collect(mwaconvert.open(observation.metafits).plan(**options))
        after = collect(mwaconvert.open(observation.metafits).plan(**options, apply_solutions=path))
        np.testing.assert_array_equal(after.weight, before.weight)
        tolerance = 0 if options.get("time_factor") is None else 1e-6
        np.testing.assert_allclose(after.vis, before.vis, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("time_factor", "freq_factor"), [(1, 1), (2, 4), (3, 3)])
@pytest.mark.parametrize("per_solution", [1, 4, 16])
def test_random_matrices(mwax, tmp_path, time_factor, freq_factor, per_solution):
    check_random_matrices(mwax, tmp_path, time_factor, freq_factor, per_solution)


@pytest.mark.parametrize(("time_factor", "freq_factor", "per_solution"), [(1, 1, 2), (3, 4, 8), (3, 4, 1)])
def test_random_matrices_of_legacy_data(legacy, tmp_path, time_factor, freq_factor, per_solution):
    check_random_matrices(legacy, tmp_path, time_factor, freq_factor, per_solution)


def check_random_matrices(observation, tmp_path, time_factor, freq_factor, per_solution):
    """A14, second part: full matrices, one for each so many channels of a coarse channel."""
    meta, freq = facts(observation.metafits)
    n = meta.n_fine // per_solution
    jones = random_jones(1, 1, meta.n_antennas, len(freq) * n)
    path = write_aocal(tmp_path / "x.bin", jones)
    each = np.repeat(jones, per_solution, axis=2)
    choices = base(observation.metafits, time_factor=time_factor, freq_factor=freq_factor)
    channels = np.concatenate([np.arange(c * meta.n_fine, (c + 1) * meta.n_fine) for c in choices.coarse])
    n_times = -(-len(choices.times) // time_factor)
    choices = replace(choices, jones=np.repeat(each[:, :, channels], n_times, axis=0))
    options = {"time_factor": time_factor, "freq_factor": freq_factor, "apply_solutions": path}
    plan, _ = assert_as_twin(observation.metafits, options, choices)
    (step,) = (s for s in plan.steps if s.name == "calibration solutions")
    assert step.applied
    assert step.reason.startswith(f"x.bin (AOCal, as asked): {jones.shape[2]} channels, nearest, one time")


@pytest.mark.parametrize("diagonal", [True, False])
@pytest.mark.parametrize("time_factor", [1, 3])
def test_products_of_different_weight(simulated, tmp_path, diagonal, time_factor):
    """A product without data flags the others where matrices mix them, and only there."""
    weights = np.random.default_rng(1).uniform(0.2, 1, (15, 4)).astype(np.float32)
    weights[3, 1] = weights[7, [0, 3]] = 0
    sim = simulated(
        like="mwax-128", n_tiles=5, fine_khz=80.0, duration_s=12.0, coarse_channels=2, noise_jy=3.0, weights=weights
    )  # fmt: skip
    meta, freq = facts(sim.metafits)
    jones = random_jones(8, 1, meta.n_antennas, freq.size)
    if diagonal:
        jones[..., 1:3] = 0
    path = write_aocal(tmp_path / "x.bin", jones)
    choices = base(sim.metafits, time_factor=time_factor, jones=np.repeat(jones, 6 // time_factor, axis=0))
    _, found = assert_as_twin(sim.metafits, {"time_factor": time_factor, "apply_solutions": path}, choices)
    without = weights == 0 if diagonal else (weights == 0).any(axis=1, keepdims=True).repeat(4, axis=1)
    np.testing.assert_array_equal(found.flags, np.broadcast_to(without[:, None], found.flags.shape))


@pytest.mark.parametrize("freq_factor", [1, 2])
def test_missing_solutions_flag(mwax, tmp_path, freq_factor):
    """A14, third part: NaN of a tile, of channels, of single tiles and channels."""
    meta, freq = facts(mwax.metafits)
    jones = random_jones(2, 1, meta.n_antennas, freq.size)
    jones[0, 1] = np.nan
    jones[0, :, 5:8] = np.nan
    jones[0, 2, 11] = np.nan
    jones[0, 3, 20:24, 1] = np.nan  # one element is enough
    path = write_hyperdrive(tmp_path / "x.fits", jones, freq.ravel(), tiles=[a.name for a in meta.antennas])
    choices = base(mwax.metafits, freq_factor=freq_factor)
    n_times = len(choices.times)
    flagged = (*choices.flagged_antennas, 1)
    choices = replace(choices, jones=np.repeat(jones, n_times, axis=0), flagged_antennas=flagged)
    plan, found = assert_as_twin(
        mwax.metafits, {"freq_factor": freq_factor, "apply_solutions": path}, choices
    )
    assert np.isfinite(found.vis).all()
    assert plan.header.antenna_flagged[1]
    (step,) = (s for s in plan.steps if s.name == "calibration solutions")
    assert f"flagged for want of a solution: 1 tile ({meta.antennas[1].name}) and 3 channels" in step.reason


@pytest.mark.parametrize("interpolation", ["nearest", "linear"])
@pytest.mark.parametrize("freq_factor", [1, 3])
def test_in_time_and_frequency(mwax, tmp_path, interpolation, freq_factor):
    """Blocks of channels and of time; a neighbour without solution leaves the nearest alone."""
    meta, freq = facts(mwax.metafits)
    grid = freq[:, ::4].ravel() + 0.9e5
    times = meta.obsid + np.array([1.0, 5.0, 8.0])
    jones = random_jones(3, 3, meta.n_antennas, len(grid))
    jones[1, 2, 3] = np.nan
    jones[0, :, 6] = np.nan
    path = write_hyperdrive(tmp_path / "x.fits", jones, grid, times)
    choices = base(mwax.metafits, time_factor=2, freq_factor=freq_factor)
    centres = [
        meta.obsid + np.mean(read(mwax.metafits).unix_ms[t : t + 2]) / 1e3 + meta.int_time_s / 2
        - meta.sched_start_unix_s
        for t in range(0, len(choices.times), 2)
    ]  # fmt: skip
    by_block = interpolate(jones.swapaxes(0, 1), grid, freq.ravel(), interpolation)
    expected = np.array([interpolate(by_block, times, t, interpolation) for t in centres])
    expected[np.isnan(expected).any(axis=3)] = np.nan
    options = {
        "time_factor": 2,
        "freq_factor": freq_factor,
        "apply_solutions": path,
        "solutions_freq": interpolation,
        "solutions_time": interpolation,
    }
    assert_as_twin(mwax.metafits, options, replace(choices, jones=expected))


def interpolate(values, grid, point, kind):
    """Along the first axis for one point; for several along the third, (antenna, time, channel) -> (time,
    antenna, channel).
    """
    if np.ndim(point):
        by_channel = np.moveaxis(values, 2, 0)
        return np.stack([interpolate(by_channel, grid, p, kind) for p in point], axis=2).swapaxes(0, 1)
    order = np.argsort(np.abs(grid - point), kind="stable")
    nearest = values[order[0]]
    if kind == "nearest" or not grid[0] < point < grid[-1]:
        return nearest
    other = order[0] + (1 if point > grid[order[0]] else -1)
    share = abs(point - grid[order[0]]) / abs(grid[other] - grid[order[0]])
    complete = np.isfinite(values[other]).all(axis=-1, keepdims=True)
    return np.where(complete, (1 - share) * nearest + share * values[other], nearest)


def test_tiles_are_found_by_name(mwax, tmp_path):
    """hyperdrive names its tiles: their order may differ, and some may be missing."""
    meta, freq = facts(mwax.metafits)
    jones = random_jones(4, 1, meta.n_antennas, freq.size)
    order = np.random.default_rng(1).permutation(meta.n_antennas)[1:]
    names = [meta.antennas[k].name for k in order]
    path = write_hyperdrive(tmp_path / "x.fits", jones[:, order], freq.ravel(), tiles=names)
    missing = set(range(meta.n_antennas)) - set(order.tolist())
    for k in missing:
        jones[:, k] = np.nan
    choices = base(mwax.metafits)
    choices = replace(
        choices,
        jones=np.repeat(jones, len(choices.times), axis=0),
        flagged_antennas=(*choices.flagged_antennas, *missing),
    )
    assert_as_twin(mwax.metafits, {"apply_solutions": path}, choices)


def test_partial_band(mwax, tmp_path):
    """Solutions of one of two coarse channels: the other is flagged, and that is said."""
    meta, freq = facts(mwax.metafits)
    jones = random_jones(5, 1, meta.n_antennas, meta.n_fine)
    full = np.full((1, meta.n_antennas, freq.size, 4), np.nan, complex)
    full[:, :, meta.n_fine :] = jones
    number = meta.coarse_channels[1].number
    choices = base(mwax.metafits)
    choices = replace(choices, jones=np.repeat(full, len(choices.times), axis=0))
    for path in (
        write_aocal(tmp_path / f"{meta.obsid}_ch{number}_solutions.bin", jones),
        write_hyperdrive(tmp_path / "x.fits", jones, freq[1]),
    ):
        plan, _ = assert_as_twin(mwax.metafits, {"apply_solutions": path}, choices)
        assert any(f"{path.name} covers 16 of 32 channels" in note for note in plan.notes)


@pytest.mark.parametrize("kind", ["bin", "fits", "metafits"])
def test_sign_of_the_phase(observation, tmp_path, kind):
    """Cable lengths taken out by solutions, J = exp(2 pi i L f / c), are what the correction of cables takes out;
    in CALIBDATA, delays are negative lengths and gains are what signals were amplified by.
    """
    meta, freq = facts(observation.metafits)
    length_m = np.array([a.electrical_length_m for a in meta.antennas])
    gains = meta.digital_gains
    phase = 2 * np.pi * length_m[:, :, None, None] * freq / SPEED_OF_LIGHT_M_S
    path = tmp_path / f"x.{kind}"
    if kind == "metafits":
        add_calibdata(observation.metafits, path, -length_m, 0 * length_m, gains)
    else:
        jones = np.zeros((1, meta.n_antennas, freq.size, 4), complex)
        jones[0, :, :, [0, 3]] = (
            (np.exp(1j * phase) / gains[..., None]).reshape(*length_m.shape, -1).swapaxes(0, 1)
        )
        write_aocal(path, jones) if kind == "bin" else write_hyperdrive(path, jones, freq.ravel())
    wanted = collect(mwaconvert.open(observation.metafits).plan())
    plan = mwaconvert.open(observation.metafits).plan(
        cable_delay=False, digital_gains=False, apply_solutions=path
    )
    found = collect(plan)
    scale = np.abs(wanted.vis).max()
    np.testing.assert_array_equal(found.flags, wanted.flags)
    # the delays of CALIBDATA are float32
    np.testing.assert_allclose(found.vis, wanted.vis, atol=(1e-4 if kind == "metafits" else 1e-6) * scale)


def test_calibdata(mwax, tmp_path):
    """Gains, delays and intercepts against the formula; NaN flags the tile."""
    meta, freq = facts(mwax.metafits)
    rng = np.random.default_rng(6)
    delay, intercept = (rng.normal(0, 3, (meta.n_antennas, 2)).astype(np.float32) for _ in range(2))
    gains = rng.uniform(0.5, 2, (meta.n_antennas, 2, len(freq))).astype(np.float32)
    delay[2, 1] = np.nan
    path = add_calibdata(mwax.metafits, tmp_path / "with.metafits", delay, intercept, gains)
    jones = np.zeros((1, meta.n_antennas, *freq.shape, 4), complex)
    for antenna, pol, coarse in np.ndindex(gains.shape):
        cycles = float(delay[antenna, pol]) * freq[coarse] / SPEED_OF_LIGHT_M_S
        turn = np.exp(1j * (float(intercept[antenna, pol]) - 2 * np.pi * cycles))
        jones[0, antenna, coarse, :, 3 * pol] = turn / float(gains[antenna, pol, coarse])
    choices = base(mwax.metafits)
    choices = replace(
        choices,
        jones=np.repeat(jones.reshape(1, meta.n_antennas, -1, 4), len(choices.times), axis=0),
        flagged_antennas=(*choices.flagged_antennas, 2),
    )
    plan, _ = assert_as_twin(mwax.metafits, {"apply_solutions": path}, choices)
    assert any("(CALIBDATA, as asked)" in step.reason for step in plan.steps)


def test_calibration_of_the_correlator(mwax, link_files, tmp_path):
    """CALIBDEL: delays and gains of CALIBDATA are in the data already; they must not count twice."""
    metafits = link_files(mwax, tmp_path / "obs")
    with fits.open(metafits, mode="update") as hdus:
        hdus[0].header["CALIBDEL"] = 1
        hdus[0].header["SIGCHDEL"] = 1
        hdus[0].header["CHANGAIN"] = "64,64"
    meta, freq = facts(metafits)
    assert (meta.calibration_applied, meta.signal_chain_applied, meta.has_global_gains) == (True, True, True)
    ones = np.ones((meta.n_antennas, 2))
    path = add_calibdata(
        metafits, tmp_path / "with.metafits", 3 * ones, ones, 2 * np.ones((*ones.shape, len(freq)))
    )
    plain = collect(mwaconvert.open(metafits).plan())
    plan = mwaconvert.open(metafits).plan(apply_solutions=path)
    np.testing.assert_array_equal(collect(plan).vis, plain.vis)
    (step,) = (s for s in plan.steps if s.name == "calibration solutions")
    assert not step.applied
    assert "the correlator applied delays and gains of CALIBDATA (CALIBDEL=1)" in step.reason
    path = write_aocal(tmp_path / "x.bin", random_jones(1, 1, meta.n_antennas, freq.size))
    plan = mwaconvert.open(metafits).plan(apply_solutions=path)
    assert any(
        "delays and gains (CALIBDEL=1) and the phases of the signal chains (SIGCHDEL=1): x.bin fits only"
        in note
        for note in plan.notes
    )
    assert not any(
        "CALIBDEL" in note for note in mwaconvert.open(mwax.metafits).plan(apply_solutions=path).notes
    )


def test_phases_only(mwax, tmp_path):
    meta, freq = facts(mwax.metafits)
    jones = random_jones(7, 1, meta.n_antennas, freq.size)
    path = write_aocal(tmp_path / "x.bin", jones)
    choices = base(mwax.metafits)
    scaled = (
        jones.reshape(-1, 2, 2) / np.abs(np.diagonal(jones.reshape(-1, 2, 2), axis1=1, axis2=2))[:, :, None]
    )
    choices = replace(choices, jones=np.repeat(scaled.reshape(jones.shape), len(choices.times), axis=0))
    assert_as_twin(mwax.metafits, {"apply_solutions": path, "solution_amplitudes": False}, choices)


def test_other_corrections_than_the_solutions_had(mwax, tmp_path):
    meta, freq = facts(mwax.metafits)
    jones = random_jones(8, 1, meta.n_antennas, freq.size)
    path = write_hyperdrive(
        tmp_path / "x.fits", jones, freq.ravel(), D_GAINS=True, CABLELEN=True, GEOMETRY=True
    )
    plan = mwaconvert.open(mwax.metafits).plan(apply_solutions=path, digital_gains=False)
    (note,) = (n for n in plan.notes if "may not fit" in n)
    assert "x.fits was made from data with digital gains taken out, this conversion leaves them in" in note


def test_blocks_and_threads_change_no_bit(mwax, tmp_path):
    meta, freq = facts(mwax.metafits)
    jones = random_jones(9, 2, meta.n_antennas, freq.size)
    jones[0, 1, 3:9] = np.nan
    path = write_aocal(tmp_path / "x.bin", jones)
    options = {"apply_solutions": path, "solutions_time": "linear", "time_factor": 2, "freq_factor": 2}
    plans = [
        mwaconvert.open(mwax.metafits).plan(**options, threads=threads, max_memory_gib=memory)
        for threads, memory in ((1, None), (2, None), (1, 0.2187))
    ]
    first, *others = [collect(plan) for plan in plans]
    for other in others:
        np.testing.assert_array_equal(other.vis, first.vis)
        np.testing.assert_array_equal(other.weight, first.weight)
