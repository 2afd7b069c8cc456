"""Pulses that are added have the S/N that was asked for; what a search misses is counted."""

import numpy as np
import pytest
from filterbanks import pulse

from mwaconvert.errors import InputError
from mwaconvert.spectra.dispersion import delay_per_dm, delay_samples
from mwaconvert.spectra.stream import ArrayStream
from mwaconvert.transients import Spectra
from mwaconvert.transients.clean.cleaning import Cleaning
from mwaconvert.transients.completeness import completeness
from mwaconvert.transients.injection import (
    Injected,
    InjectedStream,
    channel_noise,
    random_pulses,
    truth_table,
)
from mwaconvert.transients.survey import plan_survey

FREQS = 1220 + 300 / 64 * (np.arange(64) + 0.5)
DT = 512e-6
N = 8000


def noise_stream(dtype=np.uint8, seed=0):
    data = np.random.default_rng(seed).normal(100, 12, (64, N))
    data = np.rint(data).clip(0, 255) if dtype == np.uint8 else data
    return ArrayStream(Spectra(data.astype(dtype), FREQS, DT), "a", "test")


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize(
    ("dm", "width_s", "tau"), [(0.0, 5e-3, 0.0), (200.0, 1e-3, 0.0), (200.0, 4e-3, 6e-3)]
)
def test_strength_and_place(dtype, dm, width_s, tau):
    """What is added, without the noise: the matched filter's S/N, and channels that arrive when they should."""
    stream = noise_stream(dtype)
    one = Injected(time_s=1.0, dm=dm, width_s=width_s, snr=40.0, scattering_s=tau)
    noise = np.full(64, 12.0)
    flat = ArrayStream(Spectra(np.full((64, N), 100, dtype), FREQS, DT), "a", "test")
    added = InjectedStream(flat, [one], noise).spectra().data.astype(float) - 100
    if dtype == np.float32:
        assert np.sqrt((added**2).sum()) / 12 == pytest.approx(40, rel=1e-3)
        middles = (added * (np.arange(N) + 0.5)).sum(1) / added.sum(1) * DT
        late = 1.0 + dm * delay_per_dm(FREQS, "top")
        np.testing.assert_allclose(middles - late, tau * (FREQS / 1000) ** -4, atol=0.6 * DT + 0.1 * tau)
    series = InjectedStream(stream, [one], noise).spectra()
    delays = delay_samples(dm, delay_per_dm(FREQS, "top") / DT)[0]
    total = sum(row[d : d + 6000].astype(float) for row, d in zip(series.data, delays, strict=True))
    assert abs((np.argmax(np.convolve(total, np.ones(4), "same")) + 0.5) * DT - 1.0) < 3e-3 + 2 * tau


def test_rounding_keeps_the_mean():
    """A tenth of a step a channel is there on average, whatever is read at a time."""
    flat = ArrayStream(Spectra(np.full((64, N), 100, np.uint8), FREQS, DT), "a", "test")
    one = Injected(time_s=2.0, dm=100.0, width_s=0.2, snr=1.0)
    stream = InjectedStream(flat, [one], np.full(64, 12.0), seed=3)
    whole = stream.spectra().data
    assert whole.max() <= 101
    exact = InjectedStream(
        ArrayStream(Spectra(np.full((64, N), 100, np.float32), FREQS, DT), "a", "test"),
        [one],
        np.full(64, 12.0),
    )
    want = exact.spectra().data.astype(float).sum() - 100 * 64 * N
    got = whole.astype(float).sum() - 100 * 64 * N
    assert got == pytest.approx(want, abs=5 * np.sqrt(want))
    parts = [stream.spectra(k, min(777, N - k)).data for k in range(0, N, 777)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


def test_channels_that_hold_nothing():
    stream = noise_stream()
    noise = channel_noise(stream)
    np.testing.assert_allclose(noise, 12, rtol=0.05)
    one = Injected(time_s=1.0, dm=10, width_s=2e-3, snr=30.0)
    noise[:32] = 0
    data = InjectedStream(stream, [one], noise).spectra().data
    np.testing.assert_array_equal(data[:32], stream.spectra().data[:32])
    with pytest.raises(InputError, match="no channel"):
        InjectedStream(stream, [one], np.zeros(64))
    with pytest.raises(InputError, match="cannot be added"):
        InjectedStream(stream, [Injected(time_s=1.0, dm=10, width_s=0.0, snr=30.0)], noise)


def test_random_pulses_fit():
    stream = noise_stream()
    pulses = random_pulses(stream, 30, (10, 300), (1e-3, 2e-2), (5, 9), seed=4)
    assert pulses == random_pulses(stream, 30, (10, 300), (1e-3, 2e-2), (5, 9), seed=4)
    across = delay_per_dm(FREQS, "top").max()
    assert all(p.time_s + p.dm * across < N * DT for p in pulses)
    assert np.all(np.diff([p.time_s for p in pulses]) > 0)
    assert len(truth_table(pulses).splitlines()) == 32
    with pytest.raises(InputError, match="too short"):
        random_pulses(stream, 1, (10, 30000), (1e-3, 2e-2), (5, 9))


def test_completeness_counts():
    """Strong pulses are found, weak ones are not; S/N are those that were asked for."""
    survey = plan_survey(noise_stream(), 20, 300, width_min_s=2e-3, cleaning=Cleaning())
    result = completeness(survey, 40, seed=5)
    assert len(result.pulses) == 40
    parts = result.part(lambda p: p.snr, np.array([4.0, 6.0, 9.0, 21.0]))
    assert parts[0][0] <= 1
    assert parts[2][0] >= 0.95 * parts[2][1] > 10
    assert 6 < result.half_snr() <= 9
    strong = np.array([p.snr for p in result.pulses]) > 10
    ratio = (
        result.snr[strong & result.found] / np.array([p.snr for p in result.pulses])[strong & result.found]
    )
    assert 0.86 < np.median(ratio) < 1.02
    assert result.table().count("\n") == 42
    again = completeness(survey, 40, seed=5)
    np.testing.assert_array_equal(again.snr, result.snr)
    with pytest.raises(InputError, match="0 pulses"):
        completeness(survey, 0)


def test_a_real_pulse_is_not_counted():
    data = pulse(FREQS, N, DT, 150.0, 1.0, 4e-3, 60.0)
    stream = ArrayStream(Spectra(data, FREQS, DT), "a", "test")
    survey = plan_survey(stream, 20, 300, width_min_s=2e-3, cleaning=Cleaning(), threshold=30.0)
    assert completeness(survey, 10, seed=1).found.sum() <= 1
