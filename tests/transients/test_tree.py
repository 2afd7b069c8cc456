"""The tree transform: it sums what its plan says, and loses less than its plan says."""

from functools import cache

import numpy as np
import pytest
import reference
from filterbanks import channel_shapes, mean_best_snr
from hypothesis import given, settings
from hypothesis import strategies as st

from mwaconvert import _core
from mwaconvert.errors import InputError
from mwaconvert.spectra.dispersion import delay_per_dm, delay_samples
from mwaconvert.transients import Spectra
from mwaconvert.transients.trials.transform import plan_transform
from mwaconvert.transients.trials.tree import composite_delays, make_tree, plan_tree

FREQS = 400 + 400 / 512 * (np.arange(512) + 0.5)
DT = 1e-3
PER_DM = delay_per_dm(FREQS) / DT
ALL = np.arange(600) / PER_DM.max()  # every whole delay up to 599 samples


@settings(max_examples=25, deadline=None)
@given(
    dtype=st.sampled_from(["u1", "f4"]),
    nodes=st.sampled_from([[64], [128, 16], [64, 16, 4], [60, 7]]),
    quantum=st.floats(0.5, 9),
    phases=st.integers(1, 3),
    kept=st.integers(-1, 2),
    n_trial=st.sampled_from([1, 5, 40, 300]),
    n_out=st.sampled_from([1, 100, 700]),
    seed=st.integers(0, 9),
)
def test_tree_is_the_sum_of_its_delays(dtype, nodes, quantum, phases, kept, n_trial, n_out, seed):
    dms = np.linspace(5, 40, n_trial)
    is_bytes = dtype == "u1"
    plan = make_tree(dms, PER_DM, nodes, quantum, phases, kept=min(kept, len(nodes) - 1), is_bytes=is_bytes)
    rng = np.random.default_rng(seed)
    shape = (512, n_out + plan.reach)
    data = rng.integers(0, 256, shape, dtype=np.uint8) if is_bytes else rng.normal(9, 3, shape).astype("f4")
    if seed == 0 and is_bytes:
        data[:] = 255
    results = []
    memory = _core.TreeMemory()
    for threads in (1, 3):
        results.append(np.full((n_trial, n_out), np.nan, np.float32))
        plan.run(data, results[-1], threads, memory)
    np.testing.assert_array_equal(*results)
    some = np.array([0, n_trial // 2, n_trial - 1])
    delays = composite_delays(plan.levels, some)
    assert delays.min() >= 0
    assert delays.max() <= plan.reach
    for trial, delay in zip(some, delays, strict=True):
        want = reference.dedispersed(data, delay, n_out)
        if is_bytes:
            np.testing.assert_array_equal(results[0][trial], want)
        else:
            np.testing.assert_allclose(results[0][trial], want, rtol=1e-5)


def test_mean_square_error_is_that_of_the_delays():
    plan = make_tree(ALL, PER_DM, [64, 8], 2.0, 2, width_samples=3.0)
    trials = np.arange(600)
    errors = composite_delays(plan.levels, trials) - plan.lead - ALL[:, None] * PER_DM
    assert abs(errors).max() < 4
    want = 1 - np.exp(-errors.var(1).max() / (4 * (3 / 2.354820045) ** 2))
    assert plan.loss_ideal == pytest.approx(want, rel=1e-9)


@cache
def plan_for(width: float, loss: float):
    return plan_tree(ALL, PER_DM, width, loss, is_bytes=False)


@pytest.mark.parametrize(("width", "loss"), [(1.0, 0.10), (3.0, 0.02), (3.0, 0.05), (10.0, 0.01)])
def test_measured_loss_is_below_the_bound(width, loss):
    """At the DMs of trials, between them, and at the last; the mean over where in a sample the pulse arrives."""
    plan = plan_for(width, loss)
    assert plan is not None
    assert plan.loss <= loss
    assert plan.cost < 40
    rng = np.random.default_rng(3)
    step = ALL[1] - ALL[0]
    for trial in [1, 599, *rng.integers(0, 600, 6)]:
        for off in (0.0, 0.5, -0.5):
            dm = max(0.0, ALL[trial] + off * step)
            exact, used = [], []
            for phase in (0.0, 0.25, 0.5, 0.75):
                data = channel_shapes(PER_DM * dm + 50 + phase, width, 760)
                delays = delay_samples(ALL[trial], PER_DM)[0]
                exact.append(reference.dedispersed(data, delays, 120))
                at = composite_delays(plan.levels, np.array([trial]))[0]
                used.append(reference.dedispersed(data, at, 120))
            assert mean_best_snr(used) >= (1 - plan.loss - 2e-3) * mean_best_snr(exact)


def test_bounds_that_cannot_be_kept():
    assert plan_tree(ALL, PER_DM, 1.0, 1e-4) is None
    assert plan_tree(ALL[:10], PER_DM, 3.0, 0.02) is None
    assert plan_tree(ALL, PER_DM, 3.0, 0.02, most_cost=1.0) is None


def test_search_of_all_delays_takes_the_tree():
    transform = plan_transform(ALL, PER_DM, 3.0, 0.02, is_bytes=True, n_times=3000)
    assert transform.method == "tree"
    longer = plan_transform(ALL, PER_DM, 3.0, 0.02, is_bytes=True, n_times=70_000)
    parts = [part.trials for part in longer.parts()]
    assert [p.start for p in parts] == list(range(0, 600, parts[0].stop))
    assert parts[-1].stop == 600
    assert parts[0].stop < 200
    rng = np.random.default_rng(0)
    data = rng.normal(100, 12, (512, 3000))
    shape = channel_shapes(PER_DM * ALL[300] + 900, 3.0, 3000)
    data = np.rint(data + 40 * shape).clip(0, 255).astype(np.uint8)
    spectra = Spectra(data, FREQS, DT)
    fast, exact = (spectra.search(0, ALL[-1], dms=ALL, width_min_s=3 * DT, loss=loss) for loss in (0.02, 0.0))
    assert (fast.loss, exact.loss) == (0.02, 0.0)
    assert fast.best.dm == pytest.approx(ALL[300], abs=4 * ALL[1])
    assert fast.best.snr == pytest.approx(exact.best.snr, rel=0.05)
    assert fast.best.time_s == pytest.approx(0.9015, abs=5e-3)


def good_tree():
    plan = make_tree(np.linspace(0, 5, 9), PER_DM, [64, 8], 2.0, 1)
    return plan, [[x.copy() for x in level] for level in plan.levels]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[0][1].__setitem__(0, 512), "child"),
        (lambda t: t[1][1].__setitem__(0, -1), "child"),
        (lambda t: t[1][2].__setitem__(0, -1), "child"),
        (lambda t: t[1][2].__setitem__(0, 10**6), "no room"),
        (lambda t: t[0][0].__setitem__(1, 0), "0 children"),
        (lambda t: t[0][0].__setitem__(0, 1), "do not fit"),
        (lambda t: t[2][3].__setitem__(-1, 3), "blocks"),
        (lambda t: t.clear(), "0 levels"),
        (lambda t: t.pop(), "trials"),
    ],
)
def test_refusals(change, message):
    plan, tree = good_tree()
    data, out = np.zeros((512, 100 + plan.reach), np.uint8), np.empty((9, 100), np.float32)
    _core.dedisperse_tree(data, [tuple(x) for x in tree], -1, out, threads=1)
    change(tree)
    with pytest.raises(InputError, match=message):
        _core.dedisperse_tree(data, [tuple(x) for x in tree], -1, out, threads=1)


def test_rows_that_would_overflow():
    plan = make_tree(np.linspace(0, 5, 9), PER_DM, [1], 2.0, 1, is_bytes=False)
    with pytest.raises(InputError, match="257"):
        plan.run(np.zeros((512, 100 + plan.reach), np.uint8), np.empty((9, 100), np.float32))
    with pytest.raises(InputError, match="cannot keep"):
        _core.dedisperse_tree(np.zeros((512, 100), np.uint8), plan.levels, 1, np.empty((9, 9), np.float32))
