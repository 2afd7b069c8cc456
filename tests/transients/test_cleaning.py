"""Cleaning takes interference away and leaves pulses; kernels against twins that read like the text."""

from dataclasses import replace

import numpy as np
import pytest
from filterbanks import pulse
from hypothesis import given, settings
from hypothesis import strategies as st

from mwaconvert import _core
from mwaconvert.errors import InputError
from mwaconvert.spectra.stream import ArrayStream
from mwaconvert.transients import Spectra
from mwaconvert.transients.clean.cleaning import ORIGIN, STRETCH, UNIT, Cleaning, clean
from mwaconvert.transients.clean.impulses import find_impulses
from mwaconvert.transients.clean.levels import level_steps
from mwaconvert.transients.clean.losses import without_lost
from mwaconvert.transients.clean.scales import Pieces, block_moments
from mwaconvert.transients.masking import zero_dm
from mwaconvert.transients.search import search
from mwaconvert.transients.survey import plan_survey

FREQS = 1220 + 300 / 128 * (np.arange(128) + 0.5)
DT = 256e-6
N = 12000


def burst(dm, fwhm=2e-3, snr=15.0, t0=1.0, seed=1):
    return pulse(FREQS, N, DT, dm, t0, fwhm, snr, seed=seed)


def found(data, low=0, high=300, threshold=7.0, steps=None):
    """Candidates of a cleaned search in memory."""
    cleaned = clean(Spectra(data, FREQS, DT), steps)
    return search(cleaned.spectra, low, high, kept=cleaned.kept, threshold=threshold).candidates()


# --- kernels ---


@settings(max_examples=25, deadline=None)
@given(
    n_chan=st.integers(1, 5),
    n_times=st.integers(2, 300),
    block=st.sampled_from([2, 32, 64]),
    dtype=st.sampled_from([np.uint8, np.float32]),
    some=st.booleans(),
    seed=st.integers(0, 99),
)
def test_block_moments(n_chan, n_times, block, dtype, some, seed):
    rng = np.random.default_rng(seed)
    data = rng.integers(0, 256, (n_chan, n_times)).astype(dtype)
    used = rng.integers(0, 2, data.shape, dtype=np.uint8) if some else np.empty((0, 0), np.uint8)
    count, mean, std = (np.empty((n_chan, -(-n_times // block)), np.float32) for _ in range(3))
    _core.block_moments(data=data, used=used, block=block, count=count, mean=mean, std=std)
    for c in range(n_chan):
        for b in range(count.shape[1]):
            part = slice(b * block, (b + 1) * block)
            x = data[c, part].astype(float)
            x = x[used[c, part] > 0] if some else x
            assert count[c, b] == x.size
            if x.size > 1:
                assert mean[c, b] == pytest.approx(x.mean(), rel=1e-6, abs=1e-6)
                assert std[c, b] == pytest.approx(x.std(ddof=1), rel=1e-5, abs=1e-5)
            else:
                assert (mean[c, b], std[c, b]) == (0, 0)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 60), half=st.integers(0, 70), least=st.integers(0, 70), seed=st.integers(0, 99))
def test_running_median(n, half, least, seed):
    least = min(half, least)
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 9, (2, n)).astype(np.float32)
    x[rng.random(x.shape) < 0.2] = np.nan
    out = np.empty_like(x)
    _core.running_median(x, half, least, out, 2)
    for row, got in zip(x, out, strict=True):
        for k in range(n):
            reach = max(least, min(half, k, n - 1 - k))
            window = row[max(0, k - reach) : k + reach + 1]
            window = window[np.isfinite(window)]
            assert got[k] == np.median(window) if window.size else np.isnan(got[k])


def scaled(data, used, base, inverse, block):
    """(n_chan, n_times) in units of the noise, by the equation."""
    n_times, n_block = data.shape[1], base.shape[1]
    at = np.arange(n_times) + 0.5
    middles = block * (np.arange(n_block) + 0.5)
    line = np.array([np.interp(at, middles, row) for row in base])
    z = (data - line) * np.repeat(inverse, block, axis=1)[:, :n_times]
    return z if used is None else np.where(used > 0, z, 0)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("some", [False, True])
@pytest.mark.parametrize("n_times", [64, 1000, 2500])
def test_sums_and_bytes(dtype, some, n_times):
    rng = np.random.default_rng(4)
    n_chan, block = 6, 64
    data = rng.normal(100, 12, (n_chan, n_times)).astype(dtype)
    used = rng.integers(0, 2, data.shape, dtype=np.uint8) if some else np.empty((0, 0), np.uint8)
    shape = (n_chan, -(-n_times // block))
    base = rng.normal(100, 2, shape).astype(np.float32)
    inverse = (1 / rng.uniform(10, 14, shape)).astype(np.float32)
    inverse[rng.random(shape) < 0.2] = 0
    edges = np.array([0, 1, 4, 6], np.int32)
    scales = {"data": data, "used": used, "base": base, "inverse": inverse, "block": block, "edges": edges}
    z = scaled(data.astype(float), used if some else None, base.astype(float), inverse.astype(float), block)
    for threads in (1, 3):
        sums, squares = np.empty((3, n_times), np.float32), np.empty(n_times, np.float32)
        _core.band_sums(**scales, sums=sums, squares=squares, threads=threads)
        np.testing.assert_allclose(sums, np.add.reduceat(z, edges[:-1], axis=0), atol=1e-4)
        np.testing.assert_allclose(squares, (z**2).sum(0), rtol=1e-4, atol=1e-4)
        common = rng.normal(0, 0.3, (3, n_times)).astype(np.float32)
        keep = (rng.random(n_times) < 0.9).astype(np.uint8)
        out = np.empty(data.shape, np.uint8)
        kept = np.empty((n_chan, -(-n_times // 50)), np.uint8)
        _core.cleaned_bytes(
            **scales,
            common=common,
            keep=keep,
            origin=60,
            unit=10,
            stretch=50,
            out=out,
            kept=kept,
            threads=threads,
        )
        good = (np.repeat(inverse, block, axis=1)[:, :n_times] > 0) & (keep > 0)
        if some:
            good &= used > 0
        want = np.where(good, 60 + 10 * (z - common[np.repeat([0, 1, 2], np.diff(edges))]), 60).clip(0, 255)
        assert abs(out - want).max() <= 0.501
        padded = np.zeros((n_chan, kept.shape[1] * 50), int)
        padded[:, :n_times] = good
        np.testing.assert_array_equal(kept, padded.reshape(n_chan, -1, 50).sum(2))


# --- what it takes away, and what it leaves ---


def test_noise_stays_noise():
    cleaned = clean(Spectra(burst(0, snr=0.0), FREQS, DT))
    assert cleaned.masked_part < 0.002
    x = cleaned.spectra.data.astype(float)
    assert abs(x.mean() - ORIGIN) < 0.1
    np.testing.assert_allclose(x.std(1), UNIT, rtol=0.04)
    assert not found(burst(0, snr=0.0))


@pytest.mark.parametrize("dm", [3.0, 20.0, 150.0])
@pytest.mark.parametrize("snr", [12.0, 100.0, 2000.0])
def test_pulses_stay(dm, snr):
    """Bright ones of low DM too: a sweep of 1.6 widths, and more."""
    data = burst(dm, snr=snr)
    before = Spectra(data, FREQS, DT).search(0, 300, loss=0).best
    after = found(data)[0]
    assert after.dm == pytest.approx(before.dm, abs=2)
    assert after.snr > 0.93 * before.snr if snr < 1000 else after.snr > 300


def test_nothing_is_left_at_dm_0():
    """Neither an impulse nor rounding noise in units of itself."""
    data = burst(0, snr=0.0)
    data[:, 3000:3004] = np.minimum(255, data[:, 3000:3004].astype(int) + 40)
    data[:, 5000] = np.minimum(255, data[:, 5000].astype(int) + 6)
    assert Spectra(data, FREQS, DT).search(0, 300).best.snr > 50
    assert not found(data)
    impulses = clean(Spectra(data, FREQS, DT)).impulses
    assert any(first <= 3000 < end for first, end in impulses.spans)


def test_impulses_that_overlap_are_taken_away_once():
    rng = np.random.default_rng(9)
    n_sub, n = 8, 6000
    sums = rng.normal(0, 4, (n_sub, n)).astype(np.float32)
    for _ in range(25):  # strokes, on a level that is too high by what they add to it
        at, length = int(rng.integers(2000, 2700)), int(rng.integers(1, 12))
        sums[:, at : at + length] += 16 * rng.exponential(2.0)
    sums[:, 2000:2700] -= 10
    n_used = np.full((n_sub, n), 16, np.float32)
    before = sums.copy()
    squares = (before**2 / 16).sum(0) + 15 * n_sub
    impulses = find_impulses(sums, squares, n_used, np.linspace(1, 0, n_sub), n_width=9, sweep=1000)
    common, times = np.zeros((n_sub, n), np.float32), np.zeros(n, int)
    impulses.subtract_from(common)
    for first, end in impulses.spans:
        times[first:end] += 1
    assert times.max() > 1
    left = (before - n_used * common).sum(0)
    assert abs(left[times > 0]).max() < 0.05


def test_nothing_is_taken_away_where_zero_dm_left_nothing():
    data = burst(0, snr=0.0)
    data[:, 3000:3004] = np.minimum(255, data[:, 3000:3004].astype(int) + 40)
    cleaned = clean(zero_dm(Spectra(data, FREQS, DT)))
    assert len(cleaned.impulses.spans) == cleaned.impulses.dispersed == 0
    assert cleaned.impulses.keep.all()


@pytest.mark.parametrize("dm_max", [0, 100])
def test_what_zero_dm_leaves_at_dm_0_is_not_searched(dm_max):
    """The sum over all channels is rounding noise: in units of itself it has excesses."""
    data = burst(0, snr=0.0)
    data = np.clip(data + 4 * np.sin(np.arange(data.shape[1]) / 300), 0, 255).astype(np.uint8)
    cleaned = clean(zero_dm(Spectra(data, FREQS, DT)))
    cleaned.spectra.data[:3, 9000:9256] += 1  # as steps of a rounded baseline are
    found = search(cleaned.spectra, 0, dm_max, threshold=6.75)
    assert found.snr[0] == 0
    assert not (found.detections["dm"] == 0).any()


@pytest.mark.parametrize("edges", [(0, 16384), (0, 9000, 16384)], ids=["steady", "with a step of the gain"])
def test_impulses_do_not_bend_baselines(edges):
    """Sums over many samples of a part of the band have the mean of those that are masked, or outside."""
    rng = np.random.default_rng(7)
    data = rng.normal(96, 12, (256, 16384))
    # strong in the lower half of the band, weak in the upper one
    for begin in range(100, data.shape[1], 700):
        data[:128, begin : begin + 60] += 11
        data[128:, begin : begin + 60] += 3
    data[:, edges[-2] :] += 30 if len(edges) > 2 else 0
    cleaned = clean(Spectra(np.rint(data).astype(np.uint8), 1220 + np.arange(256.0), 256e-6), sweep=3000)
    assert len(cleaned.impulses.spans) > 20
    left = (cleaned.spectra.data.astype(float) - ORIGIN) / UNIT
    for half in (left[:128], left[128:]):
        for part in (half, half[:, :1024], half[:, -1024:]):
            assert abs(part.sum()) < 6 * part.size**0.5


def test_blocks_of_pieces():
    pieces = Pieces((0, 10, 17), 4)
    x = np.arange(17, dtype=np.float32)[None]
    means = pieces.block_means(x)
    np.testing.assert_allclose(means[0], [1.5, 5.5, 8.5, 11.5, 15])
    lines = pieces.joined(np.array([[0, 4, 8, 1, 5]], np.float32))
    middles = {
        0: 0,
        2: 0.5,
        6: 4.5,
        9: 7.5,
        10: 1,
        12: 1.5,
        16: 5,
    }  # a sample is half a sample behind its beginning
    np.testing.assert_allclose(lines[0, list(middles)], list(middles.values()))


def test_a_pulse_within_a_wide_disturbance():
    data = burst(100, snr=11.0, t0=1.0).astype(int)
    data[:, 3000:6500] += 4
    best = found(data.clip(0, 255).astype(np.uint8))
    assert best[0].dm == pytest.approx(100, abs=3)
    assert best[0].time_s == pytest.approx(1.0, abs=3e-3)


def test_bad_channels_and_times():
    rng = np.random.default_rng(2)
    data = burst(150).astype(float)
    data[17] += 60 * (np.arange(N) % 1500 < 700)  # on and off
    data[40] = rng.normal(100, 80, N)
    data[60] = 7
    data[80, 4096:5120] += 30  # for a while
    cleaned = clean(Spectra(data.clip(0, 255).astype(np.uint8), FREQS, DT))
    assert {17, 40, 60} <= set(cleaned.bad_channels.tolist())
    assert cleaned.bad_channels.size <= 5
    assert cleaned.kept[80, 4096 // STRETCH : 5120 // STRETCH].max() == 0
    assert cleaned.kept[80, : 3000 // STRETCH].min() == STRETCH
    best = found(data.clip(0, 255).astype(np.uint8))
    assert len(best) == 1
    assert best[0].dm == pytest.approx(150, abs=2)


@pytest.mark.parametrize("factor", [1e-20, 1.0, 1e20])
def test_any_scale(factor):
    data = burst(150).astype(np.float32) * np.float32(factor)
    best = found(data)[0]
    assert best.snr == pytest.approx(found(burst(150))[0].snr, rel=0.03)


def test_steps_can_be_left_out():
    data = burst(0, snr=0.0).astype(int)
    data[:, 3000:3004] += 20
    data[17] += 60 * (np.arange(N) % 1500 < 700)
    data = data.clip(0, 255).astype(np.uint8)
    whole = clean(Spectra(data, FREQS, DT))
    assert 17 in whole.bad_channels
    assert len(whole.impulses.spans) == 1
    assert clean(Spectra(data, FREQS, DT), Cleaning(channels=False)).bad_channels.size == 0
    some = clean(Spectra(data, FREQS, DT), Cleaning(impulses=False))
    assert some.impulses is None
    assert found(data, steps=Cleaning(impulses=False))[0].dm < 5


def test_weights_are_kept_apart():
    data = burst(150)
    weights = np.ones(data.shape, np.float32)
    weights[10:20] = 0
    weights[:, 2000:2200] = 0
    data[10:20] = 255
    data[:, 2000:2200] = 0
    cleaned = clean(Spectra(data, FREQS, DT, weights=weights))
    assert set(range(10, 20)) <= set(cleaned.bad_channels.tolist())
    assert (cleaned.spectra.data[:, 2000:2200] == ORIGIN).all()
    best = search(cleaned.spectra, 0, 300, kept=cleaned.kept).candidates()
    assert len(best) == 1
    assert best[0].dm == pytest.approx(150, abs=2)
    with pytest.raises(InputError, match="all channels are masked"):
        clean(Spectra(data, FREQS, DT, weights=np.zeros(128, np.float32)))


@pytest.mark.parametrize("n_times", [2, 40, 300, 1000])
def test_short_data(n_times):
    cleaned = clean(Spectra(burst(0)[:, :n_times], FREQS, DT))
    assert cleaned.spectra.data.shape == (128, n_times)


# --- surveys ---


def stream_of(data):
    return ArrayStream(Spectra(data, FREQS, DT), "a", "test")


def test_gulps_and_threads_make_no_difference():
    data = burst(150).astype(int)
    data[:, 3000:3004] += 20
    data[17] += 60 * (np.arange(N) % 1500 < 700)
    data[:, 9000:] += 15  # a step of the gain
    data[32:64, 7000:7300] = 0  # lost packets
    stream = stream_of(data.clip(0, 255).astype(np.uint8))
    results = [
        plan_survey(stream, 0, 300, segment=4096, cleaning=Cleaning(), gulp=gulp, threads=threads).run()
        for gulp, threads in ((100000, 1), (777, 1), (100000, 3))
    ]
    for other in results[1:]:
        np.testing.assert_array_equal(results[0].detections, other.detections)
        np.testing.assert_array_equal(results[0].masked.part, other.masked.part)
    masked = results[0].masked
    assert masked.part.shape == (128, masked.edges_s.size - 1)
    assert masked.edges_s[[0, -1]] == pytest.approx([0, N * DT])
    assert masked.channels.tolist() == [17]
    assert masked.n_impulses >= 1
    assert "1 of 128 channels" in masked.words()


@pytest.mark.parametrize("t0", [-0.04, N * DT - 0.17])
def test_sweeps_that_leave_the_file(t0):
    """A pulse of which two thirds are there: the S/N of these."""
    dm = 300.0
    data = pulse(FREQS, N, DT, dm, t0, 3e-3, 30.0)
    stream = stream_of(data)
    assert not [c for c in plan_survey(stream, 0, 400, cleaning=None).run().candidates() if c.snr > 12]
    best = plan_survey(stream, 0, 400, cleaning=Cleaning()).run().candidates()[0]
    assert best.dm == pytest.approx(dm, abs=5)
    assert best.time_s == pytest.approx(t0, abs=5e-3)
    delays = 4149.377593 * dm * (FREQS**-2 - FREQS[-1] ** -2)
    there = ((t0 + delays > 0) & (t0 + delays < N * DT)).mean()
    assert 0.5 < there < 0.9
    assert best.snr == pytest.approx(30 * there**0.5 * 0.94, rel=0.12)


def test_a_sweep_longer_than_the_file():
    data = pulse(FREQS, 2000, DT, 300.0, 0.1, 3e-3, 30.0)
    stream = stream_of(data)
    with pytest.raises(InputError, match=r"sweep|crosses"):
        plan_survey(stream, 0, 2500, cleaning=None)
    best = plan_survey(stream, 0, 2500, cleaning=Cleaning()).run().candidates()[0]
    assert best.dm == pytest.approx(300, abs=5)


@pytest.mark.parametrize("downsample", [False, True])
def test_a_gap_in_the_sweep(downsample):
    data = burst(300, snr=30.0)
    weights = np.ones(data.shape, np.float32)
    gap = slice(round(1.05 / DT), round(1.15 / DT))
    weights[:, gap] = 0
    data[:, gap] = 0
    stream = ArrayStream(replace(Spectra(data, FREQS, DT), weights=weights), "a", "test")
    best = plan_survey(stream, 0, 400, cleaning=Cleaning(), downsample=downsample).run().candidates()[0]
    delays = 4149.377593 * 300 * (FREQS**-2 - FREQS[-1] ** -2)
    there = ((delays < 0.05) | (delays > 0.15)).mean()
    assert best.dm == pytest.approx(300, abs=5)
    assert best.snr == pytest.approx(30 * there**0.5 * 0.94, rel=0.12)


# --- losses and steps of the gain ---


@settings(max_examples=40, deadline=None)
@given(
    n_chan=st.integers(1, 20),
    n_times=st.integers(1, 40),
    run=st.integers(1, 8),
    dtype=st.sampled_from([np.uint8, np.float32]),
    seed=st.integers(0, 99),
)
def test_runs_over_channels(n_chan, n_times, run, dtype, seed):
    data = np.random.default_rng(seed).integers(0, 2, (n_chan, n_times)).astype(dtype)
    longest, used = np.empty(n_times, np.uint8), np.ones((n_chan, n_times), np.uint8)
    live = np.random.default_rng(seed + 1).integers(0, 4, n_chan, np.uint8) > 0
    _core.longest_runs(data, live.view(np.uint8), 0.0, longest, 2)
    _core.mark_runs(data, live.view(np.uint8), 0.0, run, used, 2)
    for t in range(n_times):
        runs = [0]
        want = np.ones(n_chan, np.uint8)
        for c in range(n_chan):
            runs.append(runs[-1] + 1 if live[c] and data[c, t] == 0 else 0)
            if runs[-1] >= run:
                want[c - runs[-1] + 1 : c + 1] = 0
        assert longest[t] == max(runs)
        np.testing.assert_array_equal(used[:, t], want)


@pytest.mark.parametrize("bits", [8, 2])
def test_lost_packets_are_masked_and_nothing_else(bits):
    rng = np.random.default_rng(3)
    x = rng.normal(0, 1, (128, N))
    data = (np.rint(100 + 12 * x) if bits == 8 else np.rint(1.5 + x).clip(0, 3)).astype(np.uint8)
    lost = np.zeros(data.shape, bool)
    lost[:, 5000:5005] = True
    lost[32:64, 7000:7700] = True
    data[lost] = 0
    lost[100:128] = False  # dead channels are not loss of packets
    data[100:128] = 0
    used = without_lost(data, np.empty((0, 0), np.uint8))
    assert (used[lost] == 0).all()
    chance = 0.2 * 700 * 2 if bits == 2 else 0  # zeros of the neighbours
    assert (used[~lost] == 0).sum() <= 1.3 * chance
    cleaned = clean(Spectra(data, FREQS, DT))
    assert cleaned.kept[40, 7000 // STRETCH] == 7000 % STRETCH
    assert cleaned.kept[40, 7500 // STRETCH] == 0
    assert cleaned.kept[90, 7000 // STRETCH] == STRETCH


def test_channels_that_are_always_zero_are_no_loss():
    data = burst(150)
    data[100:128] = 0
    assert without_lost(data, np.empty((0, 0), np.uint8)).size == 0


@pytest.mark.parametrize("step", [0.03, 0.15, -0.15])
def test_a_step_of_the_gain(step):
    """It bends no baseline, and a pulse beside it stays."""
    data = burst(60, snr=14.0, t0=1.0).astype(float)
    at = round(1.02 / DT)
    data[:, at:] *= 1 + step
    data = np.rint(data).clip(0, 255).astype(np.uint8)
    steps = level_steps(
        data, *block_moments(data, np.empty((0, 0), np.uint8), Pieces((0, N), 256), 0), 256, 64
    )
    assert [abs(s - at) <= 64 for s in steps] == [True]
    best = found(data)
    assert best[0].dm == pytest.approx(60, abs=4)
    assert best[0].time_s == pytest.approx(1.0, abs=3e-3)
    assert best[0].snr > 0.85 * found(burst(60, snr=14.0, t0=1.0))[0].snr
    assert len(best) == 1


def test_drifts_and_impulses_are_no_steps():
    data = burst(0, snr=0.0).astype(float) + 20 * np.sin(2 * np.pi * np.arange(N) / N)
    data[:, 4000:4600] += 30
    data = np.rint(data).clip(0, 255).astype(np.uint8)
    moments = block_moments(data, np.empty((0, 0), np.uint8), Pieces((0, N), 256), 0)
    assert level_steps(data, *moments, 256, 64) == ()
