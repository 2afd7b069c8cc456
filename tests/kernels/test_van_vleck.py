"""Van Vleck correction: the quantiser's integrals, golden numbers, pyuvdata's result, and the converting kernel."""

import cotter_csv
import numpy as np
import pytest
import reference
from cases import Shape, legacy_case
from hypothesis import given, settings
from hypothesis import strategies as st

from mwaconvert import _core
from mwaconvert.errors import InputError

SAMPLES = 20000.0


def auto_index(slot: int) -> int:
    """Of the autocorrelation of a slot among the products of a channel."""
    return 2 * (slot // 2) * (slot // 2 + 1) + 4 * (slot // 2) + 3 * (slot % 2)


@pytest.mark.parametrize(
    ("sigma", "rms"),
    [
        (0.6, 0.6648829483),
        (1, 1.0408329945),
        (1.5, 1.5275223343),
        (2, 2.0199691447),
        (3, 2.9623897230),
        (5, 4.3011964041),
    ],
)
def test_golden_sigma(sigma, rms):
    assert _core.van_vleck_sigma(rms**2) == pytest.approx(sigma, rel=1e-9)


@pytest.mark.parametrize(
    ("rho", "sigma1", "sigma2", "k"),
    [(0.1, 2, 2, 0.3996754598), (0.5, 1.5, 1.5, 1.1249954120), (0.02, 1.5, 3, 0.0882836391)],
)
def test_golden_correlation(rho, sigma1, sigma2, k):
    for sign in (1, -1):
        found = _core.van_vleck_correlation(sign * k, sigma1, sigma2)
        assert found == pytest.approx(sign * rho, rel=1e-9)


@pytest.mark.parametrize("sigma", [0.44, 0.5, 0.7, 1.1, 2.3, 3.9, 5.5, 8, 12, 20, 60])
def test_sigma_sweep(sigma):
    """Against the sum over the levels, inverted by bisection; the table ends at 26."""
    variance = reference.quantised_variance(sigma)
    assert _core.van_vleck_sigma(variance) == pytest.approx(sigma, rel=3e-8)


@pytest.mark.parametrize("variance", [0.0, 0.2, 0.25, -3.0, 49.0, 1e9, np.nan])
def test_inputs_that_no_quantiser_made(variance):
    assert _core.van_vleck_sigma(variance) == 0


@pytest.mark.parametrize("rho", [1e-6, 0.01, 0.1, 0.29, 0.31, 0.5, 0.599, 0.601, 0.81, 0.9, 0.97, 0.999])
@pytest.mark.parametrize(
    ("sigma1", "sigma2"),
    [(0.5, 0.5), (0.6, 4), (1, 1.01), (1, 2), (2, 2), (2, 2.0003), (3, 3.3), (5, 1), (8, 8)],
)
def test_correlation_sweep(rho, sigma1, sigma2):
    """Against adaptive quadrature of the integral."""
    k = reference.quantised_correlation(rho, sigma1, sigma2)
    assert _core.van_vleck_correlation(k, sigma1, sigma2) == pytest.approx(rho, rel=1e-6)


def test_more_correlation_than_the_quantiser_can_show():
    assert _core.van_vleck_correlation(100.0, 1.0, 2.0) == 1


def channel(sigmas: list[float], rhos: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Products of slots as the quantiser gives them, and as they should be."""
    n = len(sigmas)
    measured = np.zeros(n // 2 * (n // 2 + 1) * 2, np.complex64)
    true = np.zeros_like(measured)
    for a in range(n // 2):
        for b in range(a + 1):
            for p, q in np.ndindex(2, 2):
                s, u, at = 2 * a + p, 2 * b + q, 2 * a * (a + 1) + 4 * b + 2 * p + q
                if s == u:
                    measured[at] = SAMPLES * reference.quantised_variance(sigmas[s]) + 0.5j
                    true[at] = SAMPLES * sigmas[s] ** 2
                    continue
                rho = rhos[at]
                k = [
                    np.sign(r) * reference.quantised_correlation(abs(r), sigmas[s], sigmas[u])
                    for r in (rho.real, rho.imag)
                ]
                measured[at] = SAMPLES * complex(*k)
                true[at] = SAMPLES * rho * sigmas[s] * sigmas[u]
    return measured, true


@pytest.mark.parametrize("largest", [0.03, 0.2, 0.35, 0.7, 0.999])
@pytest.mark.parametrize("spread", ["usual", "wide"])
def test_channels(largest, spread):
    """All tiers of the kernel: weak, middling and strong correlations, auto XY among them."""
    rng = np.random.default_rng(int(largest * 100))
    sigmas = rng.uniform(0.8, 3.5, 6) if spread == "usual" else rng.uniform(0.6, 8, 6)
    rhos = rng.uniform(-largest, largest, 24) + 1j * rng.uniform(-largest, largest, 24)
    measured, true = channel(list(sigmas), rhos)
    found = measured[None].copy()
    _core.van_vleck(found, 6, SAMPLES)
    tolerance = 1e-6 * SAMPLES * np.max(sigmas) ** 2
    np.testing.assert_allclose(found[0], true, atol=tolerance, rtol=3e-6)
    for slot in range(6):
        assert found[0, auto_index(slot)].imag == 0


def test_weak_inputs_and_bad_values_stay():
    """A dead input, a saturated one, NaN: what the other inputs give is corrected all the same."""
    rng = np.random.default_rng(5)
    measured, true = channel([1.5, 2.0, 2.5, 3.0], 0.02 * np.exp(2j * np.pi * rng.random(12)))
    dead, saturated = measured[None].copy(), measured[None].copy()
    dead[0, auto_index(2)] = 3 + 2j
    _core.van_vleck(dead, 4, SAMPLES)
    assert dead[0, auto_index(2)] == 3 + 2j
    np.testing.assert_allclose(dead[0, [2, auto_index(0)]], true[[2, auto_index(0)]], rtol=1e-6)
    gains = [
        np.sqrt(true[auto_index(s)].real / SAMPLES)
        / reference.van_vleck_coefficient(1, np.sqrt(true[auto_index(s)].real / SAMPLES))
        for s in (0, 1)
    ]
    np.testing.assert_allclose(dead[0, 4:6], measured[4:6] * gains, rtol=1e-6)
    saturated[0, auto_index(3)] = 1e9
    _core.van_vleck(saturated, 4, SAMPLES)
    assert saturated[0, auto_index(3)] == 1e9
    bad = measured[None].copy()
    bad[0, 5] = complex(np.nan, np.inf)
    _core.van_vleck(bad, 4, SAMPLES)
    assert np.isnan(bad[0, 5].real)
    assert np.isinf(bad[0, 5].imag)
    np.testing.assert_allclose(bad[0, 4], true[4], rtol=1e-6)


def test_pyuvdata(mwa_data):
    """A5: what pyuvdata makes of an observation of 2019; it interpolates in tables, to 5e-5 in the crosses."""
    folder = mwa_data / cotter_csv.FOLDER
    raw, theirs = (
        cotter_csv.read_dump(folder / f"pyuvdata_{cotter_csv.OBSID}.{name}.csv") for name in ("none", "vvnoc")
    )
    tiles = np.union1d(raw.antenna1, raw.antenna2)
    autos = {int(a): k for k, (a, b) in enumerate(zip(raw.antenna1, raw.antenna2, strict=True)) if a == b}
    tiles = [int(t) for t in tiles if int(t) in autos]
    n_slot = 2 * len(tiles)
    products = np.zeros((raw.vis.shape[2], n_slot // 2 * (n_slot // 2 + 1) * 2), np.complex64)
    expected = np.full(products.shape, np.nan, np.complex128)
    for k, pair in enumerate(zip(raw.antenna1, raw.antenna2, strict=True)):
        if not all(int(t) in autos for t in pair):
            continue
        b, a = (tiles.index(int(t)) for t in pair)  # the file holds the lower triangle
        at = 2 * a * (a + 1) + 4 * b + np.array([0, 2, 1, 3])  # the first letter is that of the first tile
        products[:, at] = np.conj(raw.vis[0, k])
        expected[:, at] = np.conj(theirs.vis[0, k])
    _core.van_vleck(products, n_slot, SAMPLES)
    known = np.isfinite(expected)
    is_auto = np.zeros(products.shape, bool)
    is_auto[:, [auto_index(s) for s in range(n_slot)]] = True
    scale = np.abs(expected[known & is_auto]).max()
    auto_error = np.abs(products - expected)[known & is_auto].max() / scale
    rounding = 1.2e-7 * np.abs(expected)  # of our float32
    cross_error = (np.abs(products - expected) - rounding)[known & ~is_auto].max()
    assert (known & ~is_auto).sum() == 32 * 8  # of two tiles the dump has the autos
    assert np.abs(raw.vis - theirs.vis).max() / scale > 1e-3
    assert auto_error < 5e-7
    assert cross_error < 5e-5


@settings(deadline=None, max_examples=40)
@given(
    n_time=st.integers(1, 3),
    storage=st.sampled_from(["float32", "int32", "rice"]),
    rotate=st.booleans(),
    bad_share=st.sampled_from([0.0, 0.02]),
    masked_share=st.sampled_from([None, 0.2]),
    seed=st.integers(0, 2**32 - 1),
)
def test_before_all_else(n_time, storage, rotate, bad_share, masked_share, seed):
    """The converting kernel corrects what it reads: the same as if the file held corrected values."""
    shape = Shape(
        n_time=n_time, n_fine=5, freq_factor=2, storage=(storage,), rotate=rotate, bad_share=bad_share,
        factors=True, masked_share=masked_share,
    )  # fmt: skip
    samples = 40.0 if storage == "float32" else 1e4
    quantised = legacy_case(shape, seed)
    corrected = legacy_case(shape, seed, samples=samples)
    arguments = quantised.arguments(van_vleck_samples=samples)
    quantised.call(**arguments)
    twin = corrected.twin()
    np.testing.assert_array_equal(np.signbit(arguments["weight"]), np.signbit(twin.weight))
    np.testing.assert_array_equal(arguments["bad_cells"], twin.bad_cells)
    error = np.abs(arguments["vis"] - twin.vis)
    assert np.max(error / np.where(twin.scale > 0, twin.scale, 1), initial=0) < 3e-7


@pytest.mark.parametrize("samples", [-1.0, np.nan, np.inf])
def test_refused(samples):
    case = legacy_case(Shape())
    with pytest.raises(InputError, match="van_vleck_samples must be finite and not negative"):
        case.call(**case.arguments(van_vleck_samples=samples))
    with pytest.raises(InputError, match="samples must be positive"):
        _core.van_vleck(np.zeros((1, 12), np.complex64), 4, samples)
    with pytest.raises(InputError, match=r"expected shape \(any,12,\), found \(1,13,\)"):
        _core.van_vleck(np.zeros((1, 13), np.complex64), 4, 1.0)
    with pytest.raises(InputError, match="n_slot must be even"):
        _core.van_vleck(np.zeros((1, 12), np.complex64), 3, 1.0)
    with pytest.raises(InputError, match="must be finite"):
        _core.van_vleck_correlation(np.nan, 1.0, 1.0)
