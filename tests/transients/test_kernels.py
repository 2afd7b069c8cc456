"""Kernels of the transient search against their slow twins."""

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

from mwaconvert import _core
from mwaconvert.errors import InputError


def noise_data(dtype: str, shape: tuple[int, int], seed: int = 5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if dtype == "u1":
        return rng.integers(0, 256, shape, dtype=np.uint8)
    return rng.normal(10, 3, shape).astype(np.float32)


def dedisperse(data, delays, n_out, threads=1):
    out = np.full((len(delays), n_out), np.nan, np.float32)
    _core.dedisperse(data, delays, out, threads)
    return out


@given(
    dm=st.floats(-1e3, 1e3),
    per_dm=st.one_of(st.floats(-50, 50), st.integers(-100, 100).map(lambda n: n / 2)),
)
def test_delays_round_half_away(dm, per_dm):
    out = np.empty((1, 1), np.int32)
    _core.round_delays(np.array([dm]), np.array([per_dm]), out)
    assert out[0, 0] == reference.rounded_delay(dm, per_dm)


@pytest.mark.parametrize(
    ("value", "want"), [(0.49999999999999994, 0), (0.5, 1), (-0.5, -1), (2.5, 3), (-1.5, -2)]
)
def test_delays_at_halves(value, want):
    out = np.empty((1, 1), np.int32)
    _core.round_delays(np.array([1.0]), np.array([value]), out)
    assert out[0, 0] == want


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e12])
def test_absurd_delays(value):
    with pytest.raises(InputError, match="2\\^30"):
        _core.round_delays(np.array([1.0]), np.array([value]), np.empty((1, 1), np.int32))


@settings(max_examples=60, deadline=None)
@given(
    dtype=st.sampled_from(["u1", "f4"]),
    n_chan=st.integers(1, 600),
    n_trial=st.integers(1, 70),
    n_out=st.integers(1, 700),
    reach=st.integers(0, 300),
    seed=st.integers(0, 99),
)
def test_brute_force_is_the_numpy_sum(dtype, n_chan, n_trial, n_out, reach, seed):
    data = noise_data(dtype, (n_chan, n_out + reach), seed)
    if seed % 3 == 0 and dtype == "u1":
        data[:] = 255  # sums of 16 bits are full
    delays = np.random.default_rng(seed).integers(0, reach + 1, (n_trial, n_chan), dtype=np.int32)
    out = dedisperse(data, delays, n_out)
    for trial in {0, n_trial // 2, n_trial - 1}:
        np.testing.assert_array_equal(out[trial], reference.dedispersed(data, delays[trial], n_out))


@pytest.mark.parametrize("dtype", ["u1", "f4"])
@pytest.mark.parametrize("n_out", [4095, 4096, 8192, 8193, 20011])
@pytest.mark.parametrize("n_trial", [1, 4, 5])
def test_few_long_series(dtype, n_out, n_trial):
    data = noise_data(dtype, (300, n_out + 500))
    if n_out == 8193 and dtype == "u1":
        data[:] = 255
    delays = np.random.default_rng(n_out).integers(0, 501, (n_trial, 300), dtype=np.int32)
    one = dedisperse(data, delays, n_out)
    np.testing.assert_array_equal(one, dedisperse(data, delays, n_out, 3))
    for trial in range(n_trial):
        np.testing.assert_array_equal(one[trial], reference.dedispersed(data, delays[trial], n_out))


@pytest.mark.parametrize("dtype", ["u1", "f4"])
def test_threads_do_not_matter(dtype):
    data = noise_data(dtype, (100, 9000))
    delays = np.random.default_rng(1).integers(0, 50, (300, 100), dtype=np.int32)
    np.testing.assert_array_equal(dedisperse(data, delays, 8900), dedisperse(data, delays, 8900, 4))


@pytest.mark.parametrize("delay", [-1, 11])
def test_delays_outside_the_data(delay):
    data = noise_data("u1", (3, 100))
    delays = np.zeros((2, 3), np.int32)
    delays[1, 2] = delay
    with pytest.raises(InputError, match="leave no room"):
        dedisperse(data, delays, 90)


def test_too_many_channels_of_bytes():
    data = np.zeros((65794, 4), np.uint8)
    with pytest.raises(InputError, match="65793"):
        dedisperse(data, np.zeros((1, 65794), np.int32), 4)


@settings(max_examples=40, deadline=None)
@given(
    dtype=st.sampled_from(["u1", "f4"]),
    n_sub=st.integers(1, 9),
    group=st.integers(1, 9),
    n_trial=st.integers(1, 40),
    n_out=st.sampled_from([1, 100, 256, 300, 4096, 5000]),
    seed=st.integers(0, 99),
)
def test_two_stages_are_the_sum_with_added_delays(dtype, n_sub, group, n_trial, n_out, seed):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 258, n_sub)
    edges = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    data = noise_data(dtype, (int(edges[-1]), n_out + 60), seed)
    if seed % 3 == 0 and dtype == "u1":
        data[:] = 255
    n_group = -(-n_trial // group)
    within = rng.integers(-5, 6, (n_group, edges[-1]), dtype=np.int32)
    across = rng.integers(5, 56, (n_trial, n_sub), dtype=np.int32)
    results = []
    for threads in (1, 3):
        out = np.full((n_trial, n_out), np.nan, np.float32)
        _core.dedisperse_subbands(
            data=data,
            edges=edges,
            within=within,
            across=across,
            trials_per_group=group,
            out=out,
            threads=threads,
        )
        results.append(out)
    np.testing.assert_array_equal(*results)
    for trial in {0, n_trial - 1}:
        delays = np.repeat(across[trial], sizes) + within[trial // group]
        want = reference.dedispersed(data, delays, n_out)
        if dtype == "u1":
            np.testing.assert_array_equal(results[0][trial], want)
        else:
            np.testing.assert_allclose(results[0][trial], want, rtol=1e-5)


def test_two_stages_refuse():
    data = noise_data("u1", (300, 100))

    def run(edges, within=0, group=1):
        n_sub = len(edges) - 1
        _core.dedisperse_subbands(
            data=data,
            edges=np.array(edges, np.int32),
            within=np.full((1, 300), within, np.int32),
            across=np.zeros((2, n_sub), np.int32),
            trials_per_group=group,
            out=np.empty((2, 100), np.float32),
            threads=1,
        )

    for edges, within, group, message in [
        ([0, 300], 0, 2, "257"),
        ([0, 150, 299], 0, 2, "cover"),
        ([0, 150, 150, 300], 0, 2, "without channels"),
        ([0, 150, 300], 1, 2, "no room"),
        ([0, 150, 300], 0, 1, "groups"),
    ]:
        with pytest.raises(InputError, match=message):
            run(edges, within, group)


def unpack(packed, n_chan, n_bits, first_high=False, reverse=False, offset=0, threads=1):
    out = np.full((n_chan, len(packed)), 99, np.uint8)
    _core.unpack(
        spectra=packed,
        offset=offset,
        n_bits=n_bits,
        first_high=first_high,
        reverse=reverse,
        out=out,
        threads=threads,
    )
    return out


@settings(max_examples=60, deadline=None)
@given(
    n_bits=st.sampled_from([1, 2, 4, 8]),
    first_high=st.booleans(),
    reverse=st.booleans(),
    n_bytes=st.integers(1, 90),
    n_times=st.sampled_from([1, 15, 16, 63, 64, 65, 200, 2100]),
    offset=st.integers(0, 3),
)
def test_unpack(n_bits, first_high, reverse, n_bytes, n_times, offset):
    packed = np.random.default_rng(n_bytes).integers(0, 256, (n_times, offset + n_bytes), dtype=np.uint8)
    bits = np.unpackbits(packed[:, offset:], axis=1, bitorder="big" if first_high else "little")
    weights = 2 ** np.arange(n_bits)
    fields = bits.reshape(n_times, -1, n_bits) @ (weights[::-1] if first_high else weights)
    want = fields.T[::-1] if reverse else fields.T
    for threads in (1, 3):
        got = unpack(packed, n_bytes * 8 // n_bits, n_bits, first_high, reverse, offset, threads)
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("dtype", ["i1", "u2", "f4"])
@pytest.mark.parametrize("reverse", [False, True])
def test_transpose_numbers(dtype, reverse):
    numbers = np.random.default_rng(0).normal(0, 40, (131, 37)).astype(dtype)
    out = np.empty((33, 131), np.float32)
    _core.unpack_numbers(numbers, 3, reverse, out, 2)
    want = numbers[:, 3:36].T
    np.testing.assert_array_equal(out, want[::-1] if reverse else want)


def test_unpack_refuses():
    packed = np.zeros((10, 4), np.uint8)
    for n_chan, n_bits, offset, message in [
        (4, 3, 0, "bits"),
        (3, 4, 0, "whole"),
        (5, 8, 0, "short"),
        (4, 8, 1, "short"),
    ]:
        with pytest.raises(InputError, match=message):
            unpack(packed, n_chan, n_bits, offset=offset)


def noise(series):
    mean, sigma = np.empty(len(series), np.float32), np.empty(len(series), np.float32)
    _core.noise(series, mean, sigma, 1)
    return mean, sigma


def boxcars(series, n_width, threshold=7.0, share=None, row=None, threads=1):
    """Table of those above the threshold, (mean, sigma), and (snr, start, width) of the best."""
    n = len(series)
    mean, sigma, snr = (np.empty(n, np.float32) for _ in range(3))
    start, width = (np.empty(n, np.int32) for _ in range(2))
    table = _core.search_series(
        series=series,
        share=np.empty((0, 0), np.float32) if share is None else share,
        row=np.empty(0, np.int32) if row is None else row,
        n_width=n_width,
        threshold=threshold,
        mean=mean,
        sigma=sigma,
        snr=snr,
        start=start,
        width=width,
        threads=threads,
    )
    return table, (mean, sigma), (snr, start, width)


def slow_boxcars(series, mean, sigma, n_width, threshold, share=None):
    """Of each group of starts of each width the best boxcar, if it is above the threshold: (snr, start, width)."""
    n, found = series.size, []
    for first in range(0, n, 1024):
        for width in 2 ** np.arange(n_width):
            starts = range(first, min(first + 1024, n - width + 1))
            group = min(1024 if share is None else 64, max(16, int(width)))
            for k in range(0, len(starts), group):
                sums = [(series[i : i + width].astype(float) - mean).sum() for i in starts[k : k + group]]
                i = starts[k + int(np.argmax(sums))]
                cover = (
                    1.0
                    if share is None
                    else share[0, i // 64 : (i + width - 1) // 64 + 1].astype(float).mean()
                )
                snr = max(sums) / sigma / np.sqrt(width * cover) if cover >= 0.25 else 0.0
                if snr >= threshold:
                    found.append((snr, i, int(width)))
    return found


def test_noise_of_blocks():
    series = np.random.default_rng(0).normal(1e6, 20, (3, 20 * 1024 + 7)).astype(np.float32)
    series[1, 3000:9000] += 1e5  # a burst of a third of the series
    mean, sigma = noise(series)
    assert abs(mean - 1e6).max() < 1
    np.testing.assert_allclose(sigma, 20, rtol=0.03)
    blocks = series[0, : 20 * 1024].reshape(20, 1024).astype(float)
    assert mean[0] == pytest.approx(np.median(blocks.mean(1)), rel=1e-7)
    bias = (1 - 2 / (9 * 1023)) ** 3  # of the median of chi^2
    assert sigma[0] == pytest.approx(np.sqrt(np.median(blocks.var(1, ddof=1)) / bias), rel=1e-5)


@pytest.mark.parametrize("n_times", [128, 200, 1000, 3000, 16383])
def test_noise_of_short_series_with_a_pulse(n_times):
    series = np.random.default_rng(1).normal(50, 20, (400, n_times)).astype(np.float32)
    clean = noise(series)
    assert clean[1].mean() == pytest.approx(20, rel=0.02)
    series[:, 40:48] += 1000
    mean, sigma = noise(series)
    assert mean.mean() == pytest.approx(50, abs=20 * 0.12)
    assert sigma.mean() == pytest.approx(20, rel=0.12)


def test_noise_of_odd_series():
    flat, short = np.full((1, 5), 3, np.float32), np.array([[1, 2, 3, 4]], np.float32)
    assert [float(v[0]) for v in noise(flat)] == [3, 0]
    assert float(noise(short)[1][0]) == pytest.approx(np.std([1, 2, 3, 4], ddof=1))
    broken = np.random.default_rng(0).normal(0, 1, (2, 4096)).astype(np.float32)
    broken[0, 5] = np.nan
    broken[1] = np.nan
    mean, sigma = noise(broken)
    assert sigma[0] == pytest.approx(1, rel=0.1)
    assert (mean[1], sigma[1]) == (0, 0)
    assert boxcars(broken, 3)[2][0][1] == 0


@settings(max_examples=40, deadline=None)
@given(
    n_times=st.integers(1, 2500), n_width=st.integers(1, 9), seed=st.integers(0, 99), covered=st.booleans()
)
def test_boxcars(n_times, n_width, seed, covered):
    """Bit by bit the twin's table; and no boxcar above the threshold is far from one in the table that is as good."""
    rng = np.random.default_rng(seed)
    series = rng.integers(-50, 50, (1, n_times)).astype(np.float32)
    series[0, n_times // 3 : n_times // 3 + 4] += 200
    share = rng.choice([1.0, 0.5, 0.25, 0.01], (1, -(-n_times // 64))).astype(np.float32) if covered else None
    row = np.zeros(1, np.int32) if covered else None
    table, (mean, sigma), (snr, _, _) = boxcars(series, n_width, 3.0, share, row)
    if not sigma[0] > 0:
        assert not table.size
        return
    even = covered and np.ptp(share) == 0
    want = slow_boxcars(
        series[0], mean[0], sigma[0], n_width, 3.0, None if even and share[0, 0] == 1 else share
    )
    if not covered:
        np.testing.assert_array_equal(table["start"], [i for _, i, _ in want])
        np.testing.assert_array_equal(table["width"], [w for _, _, w in want])
        np.testing.assert_allclose(table["snr"], [x for x, _, _ in want], rtol=1e-5)
        assert snr[0] >= max((x for x, _, _ in want), default=0) * (1 - 1e-6)
    for value, start, width in want:
        near = table[(table["width"] == width) & (abs(table["start"] - start) < max(64, width))]
        assert (near["snr"] >= value * (1 - 1e-5)).any() or covered
    for boxcar in table:
        part = series[0, boxcar["start"] : boxcar["start"] + boxcar["width"]]
        assert part.size == boxcar["width"]


def test_every_boxcar_above_the_threshold_has_one_as_good_nearby():
    """The bound that nothing strong hides anything weak rests on."""
    rng = np.random.default_rng(3)
    series = rng.normal(0, 1, (1, 6000)).astype(np.float32)
    series[0, 2000:2300] += 3  # a wide disturbance
    series[0, [2100, 2140, 3000, 3020]] += 12
    table, (mean, sigma), _ = boxcars(series, 9, 6.0)
    for width in 2 ** np.arange(9):
        sums = (
            np.convolve(series[0].astype(float) - mean[0], np.ones(width), "valid")
            / sigma[0]
            / np.sqrt(width)
        )
        mine = table[table["width"] == width]
        for i in np.flatnonzero(sums >= 6.001):
            near = mine[abs(mine["start"] - i) < min(1024, max(16, width))]
            assert (near["snr"] >= sums[i] - 1e-3).any()
    narrow = table[table["width"] == 1]["start"]
    assert {2100, 2140, 3000, 3020} <= set(narrow)


def test_cover_scales_the_noise():
    rng = np.random.default_rng(5)
    series = rng.normal(0, 1, (1, 20480)).astype(np.float32)
    series[0, 10240:] *= 0.5  # a quarter of the channels
    share = np.ones((1, 320), np.float32)
    share[0, 160:] = 0.25
    series[0, 15000] = 5.0
    table, (_, sigma), (snr, start, _) = boxcars(series, 1, 6.0, share, np.zeros(1, np.int32))
    assert sigma[0] == pytest.approx(1, rel=0.03)
    assert (start[0], table["start"].tolist()) == (15000, [15000])
    assert snr[0] == pytest.approx(10, rel=0.04)


def test_boxcars_threads():
    series = noise_data("f4", (7, 5000))
    one, three = boxcars(series, 9, 2.0), boxcars(series, 9, 2.0, threads=3)
    np.testing.assert_array_equal(one[0], three[0])
    for a, b in zip((*one[1], *one[2]), (*three[1], *three[2]), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(one[1], noise(series), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("n_fine", "n_spectrum"), [(1, 17), (128, 16), (100, 33), (6, 5), (64, 1)])
def test_power_of_channels(n_fine, n_spectrum):
    """Any length, any number of spectra, and a choice of inputs."""
    volts = np.random.default_rng(3).integers(-128, 128, (5, n_spectrum * n_fine, 2)).astype(np.int8)
    used = np.array([0, 3], np.int32)
    found = [np.empty((n_spectrum, n_fine), np.float32) for _ in range(2)]
    for threads, power in enumerate(found, 1):
        _core.detect_channels(volts, used, power, threads)
    np.testing.assert_array_equal(*found)
    complex_volts = (volts[..., 0] + 1j * volts[..., 1])[used].reshape(2, n_spectrum, n_fine)
    want = (np.abs(np.fft.fft(complex_volts, axis=2)) ** 2).sum(0)
    np.testing.assert_allclose(found[0], want, atol=1e-6 * want.max())
    for bad in (np.array([5], np.int32), np.array([-1], np.int32)):
        with pytest.raises(InputError, match="not there"):
            _core.detect_channels(volts, bad, found[0])
    with pytest.raises(InputError, match="as many samples"):
        _core.detect_channels(volts[:, 1:].copy(), used, found[0])


def test_power_of_nibbles():
    rng = np.random.default_rng(4)
    volts = rng.integers(0, 256, (300, 77), dtype=np.uint8)
    used = np.where(rng.random(77) > 0.3, 255, 0).astype(np.uint8)
    power = np.empty(300, np.uint32)
    _core.detect_nibbles(volts, used, power)
    real, imaginary = (volts.view(np.int8) >> 4).astype(int), ((volts << 4).view(np.int8) >> 4).astype(int)
    np.testing.assert_array_equal(power, ((real**2 + imaginary**2) * (used > 0)).sum(1))
