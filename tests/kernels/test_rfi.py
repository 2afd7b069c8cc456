"""RFI kernels against their slow twins, and the whole detection against AOFlagger."""

import numpy as np
import pytest
import reference_rfi as twin
from numpy.testing import assert_allclose, assert_array_equal

from mwaconvert import _core
from mwaconvert.conversion.rfi.strategy import RfiStrategy, flag_baselines
from mwaconvert.errors import InputError

PARAMETERS = RfiStrategy().parameters()

#: name: shape, share of cells missing at random, timesteps and channels missing as a whole, a block missing
GAPS = {
    "none": ((40, 70), 0.0, [], [], None),
    "edges": ((33, 64), 0.0, [0, 1, 32], [0, 1, 31, 32, 33, 63], None),
    "timesteps within": ((37, 40), 0.0, [7, 15, 20, 21], [5], None),
    "block": ((36, 48), 0.0, [], [16, 31], np.s_[10:13, 16:32]),
    "one cell before a power of two": ((40, 30), 0.0, [], [], np.s_[15, 4:9]),
    "scattered": ((45, 50), 0.15, [3], [20], None),
    "nearly all": ((20, 20), 0.95, [], [], None),
    "short": ((3, 90), 0.0, [], [], None),
    "narrow": ((90, 2), 0.0, [], [], None),
}


def image(name: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Noise with lines, bursts and dips; missing cells; cells to ignore."""
    shape, share, timesteps, channels, block = GAPS[name]
    rng = np.random.default_rng([seed, *name.encode()])
    x = rng.normal(size=shape)
    for _ in range(8):
        t, c = rng.integers(shape[0]), rng.integers(shape[1])
        x[t : t + rng.integers(1, shape[0] + 1), c] += rng.choice([-3, 2, 4, 9])
        t, c = rng.integers(shape[0]), rng.integers(shape[1])
        x[t, c : c + rng.integers(1, shape[1] + 1)] += rng.choice([-3, 2, 4, 9])
    missing = rng.random(shape) < share
    missing[timesteps] = True
    missing[:, channels] = True
    if block is not None:
        missing[block] = True
    return x.astype(np.float32), missing, rng.random(shape) < 0.1


def visibilities(name: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A baseline (n_time, n_chan, 4) with a source, noise and RFI, and its missing cells, which hold zeros."""
    x, missing, _ = image(name, seed)
    rng = np.random.default_rng([seed, 1])
    noise = rng.normal(size=(*x.shape, 4, 2)) @ [1, 1j]
    t, c = np.ogrid[: x.shape[0], : x.shape[1]]
    source = 4 * np.exp(1j * (0.2 * t + 0.1 * c))[..., None] * [1, 0.1, 0.1, 1]
    rfi = np.where(np.abs(x) > 4, 3 * x, 0)[..., None] * np.exp(2j * np.pi * rng.random(4))
    vis = (noise + source + rfi).astype(np.complex64)
    vis[missing] = 0
    return vis, missing


def u8(mask: np.ndarray) -> np.ndarray:
    return mask.astype(np.uint8)


@pytest.mark.parametrize("threshold", [(1.0, 1.0), (0.4, 0.4), (0.3, 100.0), (100.0, 0.3)])
@pytest.mark.parametrize("name", GAPS)
def test_sum_threshold(name, threshold):
    x, missing, ignored = image(name)
    out = np.full(x.shape, 9, np.uint8)
    _core.rfi_sum_threshold(
        x=x,
        missing=u8(missing),
        ignored=u8(ignored),
        time_threshold=threshold[0],
        freq_threshold=threshold[1],
        parameters=PARAMETERS,
        out=out,
    )
    assert_array_equal(out, twin.sum_threshold(x, missing, ignored, *threshold))


def test_sum_threshold_without_noise_estimate():
    x, missing, _ = image("edges")
    out = np.full(x.shape, 9, np.uint8)
    _core.rfi_sum_threshold(
        x=x,
        missing=u8(missing),
        ignored=np.ones(x.shape, np.uint8),
        time_threshold=1.0,
        freq_threshold=1.0,
        parameters=PARAMETERS,
        out=out,
    )
    assert not out.any()


def test_thresholds_are_those_of_the_paper():
    # windows whose mean is just below and just above chi_M = 6 1.5^log2(M) / M
    for length in (1, 2, 4, 8):
        for scale, expected in ((0.999, 0), (1.001, length)):
            x = np.where(np.indices((40, 400)).sum(axis=0) % 2, 1, -1).astype(np.float32)
            x[12:28, 190:230] = 0
            x[20, 200 : 200 + length] = scale * twin.window_level(6, 1.5, length)
            mode = twin.noise_mode(x.ravel())
            out = np.empty(x.shape, np.uint8)
            none = np.zeros(x.shape, np.uint8)
            _core.rfi_sum_threshold(
                x=x,
                missing=none,
                ignored=none,
                time_threshold=99.0,
                freq_threshold=1 / mode,
                parameters=PARAMETERS,
                out=out,
            )
            assert out.sum() == expected


@pytest.mark.parametrize("name", GAPS)
def test_residual(name):
    x, missing, ignored = image(name)
    out = np.empty_like(x)
    _core.rfi_residual(x, u8(missing | ignored), PARAMETERS, out)
    assert_allclose(out, twin.residual(x, missing | ignored), atol=2e-6)


@pytest.mark.parametrize("name", GAPS)
@pytest.mark.parametrize("n_bands", [1, 7, 48])
def test_normalize(name, n_bands):
    x, missing, ignored = image(name)
    out = np.empty_like(x)
    strategy = RfiStrategy(subbands=n_bands)
    _core.rfi_normalize(x, u8(missing | ignored), strategy.parameters(), out)
    expected = twin.normalized(x, missing | ignored, n_bands)
    good = ~(missing | ignored).all(axis=0)
    assert_allclose(out[:, good], expected[:, good], rtol=2e-6)


@pytest.mark.parametrize("name", GAPS)
@pytest.mark.parametrize("threshold", [1.2, 2.0, 3.5])
@pytest.mark.parametrize("along_time", [True, False])
def test_reject(name, threshold, along_time):
    x, _, ignored = image(name)
    flags = u8(ignored)
    _core.rfi_reject(x, along_time, threshold, flags)
    expected = ignored.copy()
    found = twin.rms_outliers(x, ignored, along_time, threshold)
    expected[(found,) if along_time else (slice(None), found)] = True
    assert_array_equal(flags, expected)


@pytest.mark.parametrize("name", GAPS)
@pytest.mark.parametrize("eta", [(0.2, 0.2), (0.0, 0.35), (0.5, 0.1)])
def test_rank_operator(name, eta):
    _, missing, flags = image(name)
    flags[2] = flags[:, 1] = np.random.default_rng(3).random() < 0.7
    flags |= np.random.default_rng(4).random(flags.shape) < 0.3
    out = u8(flags)
    _core.rfi_rank(u8(missing), *eta, 0.1, out)
    assert_array_equal(out, twin.rank_operator(flags, missing, *eta, 0.1))


def test_rank_operator_closes_gaps():
    flags = np.zeros((30, 1), np.uint8)
    flags[5:13] = flags[14:20] = 1
    _core.rfi_rank(np.zeros_like(flags), 0.2, 0.2, 0.1, flags)
    assert flags[2:23, 0].tolist() == [0, *[1] * 19, 0]  # 14 flags close one gap and reach out by 2


@pytest.mark.parametrize("n_flags", [0, 3, 4, 400])
def test_rank_operator_with_few_flags_and_many(n_flags):
    flags, missing = np.zeros((2, 20, 500), np.bool_)
    flags[::3, 40 : 40 + n_flags + 1] = True
    flags[::3, 42 : 42 + n_flags : 5] = False
    out = u8(flags)
    _core.rfi_rank(u8(missing), 0.2, 0.2, 0.1, out)
    assert_array_equal(out, twin.rank_operator(flags, missing, 0.2, 0.2, 0.1))


@pytest.mark.parametrize("name", GAPS)
def test_detection(name):
    vis, missing = (part[:26, :34].copy() for part in visibilities(name))
    out = flag_baselines(vis[None], missing, RfiStrategy(), 1)
    assert_array_equal(out[0], twin.detect(vis, missing))


@pytest.mark.parametrize("seed", range(6))
def test_large_images_take_percentiles_from_a_sample(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(90, 512)).astype(np.float32)
    x *= np.repeat(rng.lognormal(sigma=2, size=(90, 32)), 16, axis=1)  # the sample, vectors of 16, misleads
    none = np.zeros(x.shape, np.uint8)
    out = np.empty(x.shape, np.uint8)
    level = 6 * twin.noise_mode(x.ravel())
    _core.rfi_sum_threshold(
        x=x,
        missing=none,
        ignored=none,
        time_threshold=1.0,
        freq_threshold=1.0,
        parameters=RfiStrategy(longest_window=1).parameters(),
        out=out,
    )
    assert_array_equal(out, np.abs(x) > level)


def test_threads_and_masks_of_baselines():
    names = [name for name in GAPS if GAPS[name][0] == (40, 70)] * 5
    vis = np.stack([visibilities(name, seed)[0] for seed, name in enumerate(names)])
    missing = np.random.default_rng(1).random(vis.shape[:3]) < 0.02
    one, two = (flag_baselines(vis, missing, RfiStrategy(), threads) for threads in (1, 2))
    assert_array_equal(one, two)
    for b in range(len(vis)):
        assert_array_equal(flag_baselines(vis[b : b + 1], missing[b], RfiStrategy(), 1)[0], one[b])
    assert (one & ~missing).any()


def test_values_that_are_not_finite_count_as_missing():
    vis, missing = visibilities("edges")
    bad = np.zeros_like(missing)
    bad[10, 12] = bad[20, 40:43] = True
    broken = vis.copy()
    broken[10, 12, 2] = np.nan
    broken[20, 40:43, 0] = np.inf
    both = np.stack([broken, vis])
    out = flag_baselines(both, missing, RfiStrategy(), 1)
    zeroed = vis.copy()
    zeroed[10, 12, 2] = zeroed[20, 40:43, 0] = 0
    assert_array_equal(out[0], flag_baselines(zeroed[None], missing | bad, RfiStrategy(), 1)[0])
    assert_array_equal(out[1], flag_baselines(vis[None], missing, RfiStrategy(), 1)[0])
    assert out[0][bad].all()


@pytest.mark.parametrize("shape", [(0, 5, 6), (2, 1, 1), (1, 1, 40), (1, 40, 1), (1, 17, 16)])
def test_shapes(shape):
    vis = np.random.default_rng(0).normal(size=(*shape, 4)).astype(np.complex64)
    missing = np.zeros(shape[1:], np.bool_)
    out = flag_baselines(vis, missing, RfiStrategy(), 2)
    for b in range(shape[0]):
        assert_array_equal(out[b], twin.detect(vis[b], missing))
    assert flag_baselines(vis, ~missing, RfiStrategy(), 1).all()


def test_zeros_are_not_interference():
    assert not flag_baselines(
        np.zeros((1, 50, 60, 4), np.complex64), np.zeros((50, 60), bool), RfiStrategy()
    ).any()


def test_sensitivity():
    vis, missing = visibilities("none", 5)
    counts = [flag_baselines(vis[None], missing, RfiStrategy(sensitivity=s)).sum() for s in (0.5, 1.0, 2.0)]
    assert counts[0] < counts[1] < counts[2]


def test_refusals():
    vis = np.zeros((2, 3, 4, 4), np.complex64)
    mask = np.zeros((3, 4), np.bool_)
    for arguments, message in (
        ((vis.astype(np.complex128), mask), "array 'vis': expected contiguous complex64, found complex128"),
        ((vis, u8(mask)), "array 'mask': expected contiguous bool, found uint8"),
        ((vis[0], mask), "4 dimensions and a mask of 2 or 3, found 3 and 2"),
        ((vis, mask[:2]), "array 'missing'"),
        ((vis[..., :2].copy(), mask), "array 'vis'"),
        ((vis, np.zeros((3, 3, 4), np.bool_)), "one mask, or one for each baseline"),
    ):
        with pytest.raises(InputError, match=message):
            flag_baselines(*arguments, RfiStrategy())


@pytest.mark.parametrize("name", ["none", "edges", "timesteps within", "block", "scattered"])
def test_agreement_with_aoflagger(name):
    aoflagger = pytest.importorskip("aoflagger", reason="optional: pip install mwaconvert[aoflagger]")
    vis, missing = visibilities(name, 1)
    vis, missing = np.tile(vis, (2, 1, 1)), np.tile(missing, (2, 1))
    vis += (
        0.1 * np.random.default_rng(2).normal(size=(*vis.shape, 2)) @ [1, 1j] * ~missing[..., None]
    ).astype(np.complex64)
    flagger = aoflagger.AOFlagger()
    n_time, n_chan = missing.shape
    images = flagger.make_image_set(n_time, n_chan, 8)
    for k, part in enumerate(np.moveaxis(vis.view(np.float32), 2, 0)):
        images.set_image_buffer(k, np.ascontiguousarray(part.T))
    before = flagger.make_flag_mask(n_time, n_chan, False)
    before.set_buffer(np.ascontiguousarray(missing.T))
    strategy = flagger.load_strategy_file(flagger.find_strategy_file(aoflagger.TelescopeId.MWA))
    theirs = strategy.run(images, before).get_buffer().T
    ours = flag_baselines(vis[None], missing, RfiStrategy())[0]
    assert np.mean(ours == theirs) >= 0.998
    assert theirs.sum() > missing.sum()
