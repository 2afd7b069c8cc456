"""Interference is masked, pulses are not; every step against a twin that reads like the text."""

import numpy as np
import pytest
from filterbanks import pulse
from hypothesis import given, settings
from hypothesis import strategies as st

from mwaconvert.errors import InputError
from mwaconvert.transients import Spectra
from mwaconvert.transients.masking import iqrm, mask_channels, mask_iqrm, zero_dm

FREQS = 1220 + 300 / 256 * (np.arange(256) + 0.5)
DT = 200e-6


@pytest.fixture(scope="module")
def burst() -> Spectra:
    return Spectra(pulse(FREQS, 8192, DT, 150.0, 0.5, 2e-3, 25.0), FREQS, DT)


def slow_iqrm(x, radius, threshold):
    """Vote by vote."""
    n = len(x)
    voters = [set() for _ in range(n)]
    cast = [set() for _ in range(n)]
    lags, k = [], 1
    while k <= min(radius, n - 1):
        lags += [k, -k]
        k = max(int(k * 1.5), k + 1)
    for lag in lags:
        other = [min(max(i - lag, 0), n - 1) for i in range(n)]
        d = [x[i] - x[j] for i, j in zip(range(n), other, strict=True)]
        q1, q2, q3 = np.percentile(d, [25, 50, 75])
        for i, j in zip(range(n), other, strict=True):
            if d[i] - q2 > threshold * (q3 - q1) / 1.349:
                voters[i].add(j)
                cast[j].add(i)
    return np.array([any(len(cast[j]) < len(voters[i]) for j in voters[i]) for i in range(n)])


@settings(max_examples=40, deadline=None)
@given(n=st.integers(2, 60), radius=st.integers(1, 70), threshold=st.floats(0.5, 5), seed=st.integers(0, 99))
def test_iqrm_is_its_twin(n, radius, threshold, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n).round(2) + 10 * (rng.random(n) < 0.1) - 10 * (rng.random(n) < 0.05)
    np.testing.assert_array_equal(iqrm(x, radius, threshold), slow_iqrm(x, radius, threshold))


def test_iqrm_finds_high_values_on_a_slope():
    rng = np.random.default_rng(1)
    x = np.linspace(0, 50, 400) + rng.normal(size=400)
    x[[30, 200, 201, 202, 390]] += 15
    x[100] -= 30  # a low value does not spoil its neighbours
    bad = iqrm(x, 40)
    assert bad[[30, 200, 201, 202, 390]].all()
    assert bad.sum() <= 9
    assert not bad[[99, 100, 101]].any()


def test_impulses_at_all_frequencies(burst):
    data = burst.data.astype(np.float32)
    data[:, 2000:2040] += 30
    dirty = Spectra(data, FREQS, DT)
    assert dirty.search(0, 300, loss=0).best.dm < 100
    clean = zero_dm(dirty)
    np.testing.assert_allclose(
        clean.data, data - (data.mean(0, dtype=float) - data.mean(dtype=float)), atol=1e-3
    )
    best = clean.search(0, 300, loss=0).best
    assert best.dm == pytest.approx(150, abs=3)
    assert best.snr > 0.9 * burst.search(0, 300, loss=0).best.snr
    np.testing.assert_allclose(clean.data.mean(1), data.mean(1), atol=0.2)


def test_zero_dm_by_weights(burst):
    data = burst.data.astype(np.float32)
    weights = np.ones(data.shape, np.float32)
    weights[:100, 500:] = 0
    data[:100, 500:] = 1e4
    clean = zero_dm(Spectra(data, FREQS, DT, weights=weights))
    level = np.array([np.average(d, weights=w) for d, w in zip(data, weights, strict=True)])
    want = data[:, 700] - np.average((data[:, 700] - level), weights=weights[:, 700])
    np.testing.assert_allclose(clean.data[:, 700], want, rtol=1e-5)
    np.testing.assert_array_equal(clean.weights, weights)


def test_bad_channels(burst):
    data = burst.data.astype(np.float32) * np.linspace(1, 1.4, 256, dtype=np.float32)[:, None]
    data[17] += 400
    data[90:92] += np.random.default_rng(0).normal(0, 100, (2, 8192))
    data[200] = 7
    masked = mask_channels(Spectra(data, FREQS, DT))
    gone = np.flatnonzero(masked.weights == 0)
    assert {17, 90, 91, 200} <= set(gone)
    assert gone.size <= 8
    assert mask_channels(burst, 50) is burst


def test_bad_blocks(burst):
    data = burst.data.astype(np.float32)
    rng = np.random.default_rng(0)
    data[40:44, 2048:3072] += rng.normal(0, 60, (4, 1024))
    masked = mask_iqrm(Spectra(data, FREQS, DT))
    assert (masked.weights[40:44, 2048:3072] == 0).all()
    assert (masked.weights == 0).mean() < 0.01
    found = masked.search(100, 200, loss=0)
    assert found.best.dm == pytest.approx(150, abs=3)
    assert found.best.snr > 0.9 * burst.search(100, 200, loss=0).best.snr
    always = Spectra(np.where(np.arange(256)[:, None] == 9, rng.normal(0, 200, 8192), data), FREQS, DT)
    assert (mask_iqrm(always, 8192).weights == (np.arange(256) != 9)).mean() > 0.95


def test_masks_add_up(burst):
    weights = np.ones((256, 8192), np.float32)
    weights[3] = 0
    weights[5, :4000] = 0.5
    data = burst.data.astype(np.float32)
    data[60:64, :2048] += np.random.default_rng(0).normal(0, 90, (4, 2048))
    masked = mask_iqrm(Spectra(data, FREQS, DT, weights=weights))
    assert (masked.weights[3] == 0).all()
    assert (masked.weights[5, :4000] <= 0.5).all()
    assert (masked.weights[60:64, :2048] == 0).all()
    everything = Spectra(data, FREQS, DT, weights=np.zeros(256))
    assert (mask_channels(everything).weights == 0).all()


def test_refusals(burst):
    for call in (
        lambda: iqrm([1.0], 3),
        lambda: iqrm([1.0, np.nan], 3),
        lambda: iqrm([1.0, 2], 0),
        lambda: iqrm([1.0, 2], 3, 0),
        lambda: mask_iqrm(burst, 1),
        lambda: mask_channels(burst, 0),
    ):
        with pytest.raises(InputError):
            call()
