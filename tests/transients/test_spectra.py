"""What Spectra do, on data where the answer is known."""

import numpy as np
import pytest
import reference
from filterbanks import K_DM, pulse

from mwaconvert import _core
from mwaconvert.errors import InputError
from mwaconvert.spectra.dispersion import delay_per_dm, delay_samples
from mwaconvert.transients import Spectra, open

FREQS = 1200 + 300 / 64 * (np.arange(64) + 0.5)
DT = 1e-3


def burst(**keys) -> Spectra:
    return Spectra(pulse(FREQS, 4000, DT, dm=300.0, t0=1.0, fwhm=4e-3, snr=40.0), FREQS, DT, **keys)


def test_order_types_and_names():
    up = Spectra(np.arange(12).reshape(3, 4), [10.0, 11, 12], 0.5)
    down = Spectra(np.arange(12).reshape(3, 4)[::-1], [12.0, 11, 10], 0.5, weights=[3, 2, 1])
    np.testing.assert_array_equal(up.data, down.data)
    np.testing.assert_array_equal(down.weights, [1, 2, 3])
    assert up.data.dtype == np.float32
    assert (up.n_chan, up.n_times, up.df_mhz, up.fbottom, up.ftop, up.times[-1]) == (3, 4, 1, 9.5, 12.5, 1.5)


def test_values_that_are_not_finite_are_masked():
    data = np.ones((2, 3))
    data[0, 1], data[1, 2] = np.nan, np.inf
    spectra = Spectra(data, [1.0, 2], 1.0, weights=[2, 1])
    np.testing.assert_array_equal(spectra.weights, [[2, 0, 2], [1, 1, 0]])
    assert np.isfinite(spectra.data).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": np.zeros(3)}, "channels, samples"),
        ({"data": np.zeros((3, 0))}, "channels, samples"),
        ({"freq_mhz": [1.0, 2]}, "frequencies"),
        ({"freq_mhz": [1.0, 3, 2]}, "ascend"),
        ({"freq_mhz": [-1.0, 1, 2]}, "positive"),
        ({"dt_s": 0.0}, "sample of 0"),
        ({"weights": np.ones(2)}, "do not fit"),
        ({"weights": -np.ones(3)}, "negative"),
    ],
)
def test_refusals(change, message):
    with pytest.raises(InputError, match=message):
        Spectra(**({"data": np.zeros((3, 4)), "freq_mhz": [1.0, 2, 3], "dt_s": 1.0} | change))


def test_delays_are_the_formula():
    per_dm = delay_per_dm(FREQS)
    assert per_dm[-1] == 0
    want = K_DM * 300 * (FREQS[0] ** -2 - FREQS[-1] ** -2)
    assert per_dm[0] * 300 == pytest.approx(want, rel=1e-14)
    delays = delay_samples(300.0, per_dm / DT)[0]
    assert delays.tolist() == [reference.rounded_delay(300.0, p / DT) for p in per_dm]
    assert delay_per_dm(FREQS, "infinity")[0] == K_DM / FREQS[0] ** 2
    assert delay_per_dm(FREQS, "bottom")[0] == 0
    assert delay_per_dm(FREQS, 1350.0).min() < 0 < delay_per_dm(FREQS, "centre").max()
    for bad in ("middle", -3.0):
        with pytest.raises(InputError):
            delay_per_dm(FREQS, bad)


def test_other_constant():
    other = burst(k_dm=4150.0)
    assert np.argmax(other.series([300 * K_DM / 4150])[0]) == np.argmax(burst().series([300.0])[0])


def test_dedisperse_shifts_and_masks_what_comes_round():
    spectra = burst()
    aligned = spectra.dedisperse(300.0)
    delays = delay_samples(300.0, delay_per_dm(FREQS) / DT)[0]
    assert aligned.dm == 300
    for channel, delay in enumerate(delays):
        np.testing.assert_array_equal(aligned.data[channel], np.roll(spectra.data[channel], -delay))
        np.testing.assert_array_equal(aligned.weights[channel], np.arange(4000) < 4000 - delay)
    n_out = 4000 - delays.max()
    np.testing.assert_array_equal(aligned.data.sum(0, dtype=float)[:n_out], spectra.series([300.0])[0])
    assert abs(int(np.argmax(aligned.data[:, :n_out].sum(0))) - 1000) <= 3
    assert spectra.dm == 0  # untouched


def test_dedisperse_back_and_reference():
    spectra = burst()
    back = spectra.dedisperse(300.0).dedisperse(0.0)
    good = back.weights > 0
    np.testing.assert_array_equal(back.data[good], spectra.data[good])
    low = spectra.dedisperse(300.0, "bottom")
    assert (low.weights[-1] == 0).any()
    assert (low.weights[0] == 1).all()
    nothing = spectra.dedisperse(1e6)
    assert (nothing.weights[:-1] == 0).all()
    with pytest.raises(InputError):
        spectra.dedisperse(np.nan)


def test_subband():
    spectra = burst().masked([0, 1, 2, 3, 9])
    coarse = spectra.subband(16)
    groups = spectra.data.reshape(16, 4, -1).astype(float)
    np.testing.assert_array_equal(coarse.data[0], 0)
    np.testing.assert_allclose(coarse.data[2], groups[2][[0, 2, 3]].mean(0), rtol=1e-6)
    np.testing.assert_allclose(coarse.weights[:4, 0], [0, 1, 0.75, 1])
    np.testing.assert_allclose(coarse.freq_mhz, FREQS.reshape(16, 4).mean(1))
    noise = Spectra(np.random.default_rng(0).normal(size=(64, 4000)), FREQS, DT).subband(8)
    assert noise.data.var() == pytest.approx(1 / 8, rel=0.03)
    assert spectra.subband(64) is spectra
    with pytest.raises(InputError, match="divide"):
        spectra.subband(17)


def test_downsample():
    spectra = burst()
    half = spectra.downsample(3)
    np.testing.assert_allclose(half.data, spectra.data[:, :3999].reshape(64, 1333, 3).mean(2), rtol=1e-6)
    assert half.dt_s == 3 * DT
    masked = spectra.dedisperse(300.0).downsample(3)
    assert ((masked.weights > 0) & (masked.weights < 1)).any()
    assert spectra.masked([1]).downsample(2).weights[:, 0].tolist() == [1, 0, *[1] * 62]
    for factor in (0, 4001):
        with pytest.raises(InputError):
            spectra.downsample(factor)


def test_scale():
    data = burst().data.copy()
    data[5] = 7
    scaled = Spectra(data, FREQS, DT).scale()
    good = np.arange(64) != 5
    np.testing.assert_allclose(scaled.data[good].mean(1), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.data[good].std(1), 1, rtol=1e-5)
    np.testing.assert_array_equal(scaled.weights > 0, good)
    aligned = burst().dedisperse(3000.0)
    x, weights = aligned.scale().data, aligned.weights > 0
    assert x[0][weights[0]].mean() == pytest.approx(0, abs=1e-5)
    assert (x[~weights] == 0).all()


def test_series_of_masked_channels_and_weights():
    spectra = burst()
    gone = np.arange(64) % 3 == 0
    delays = delay_samples(200.0, delay_per_dm(FREQS) / DT)[0]
    n_out = 4000 - delays.max()
    want = reference.dedispersed(spectra.data[~gone], delays[~gone], n_out)
    np.testing.assert_array_equal(spectra.masked(gone).series([200.0])[0][:n_out], want)
    weights = np.random.default_rng(0).random((64, 4000)).astype(np.float32)
    weighted = Spectra(spectra.data, FREQS, DT, weights=weights)
    want = reference.dedispersed(spectra.data * weights, delays, n_out)
    np.testing.assert_array_equal(weighted.series([200.0])[0], want)
    with pytest.raises(InputError, match="masked"):
        spectra.masked(slice(None)).series([200.0])
    with pytest.raises(InputError, match="sweep"):
        spectra.series([1e5])


def test_real_pulsar(filterbanks):
    """PSR B0355+54, dedispersed to 57.2403 already: the best DM is within 0.2 of 57.24."""
    data = np.load(filterbanks / "frb" / "B0355+54_DM57.2403.npy")
    freq_mhz = 400.1953125 + 400 / 128 * (np.arange(128) + 0.5)
    spectra = Spectra(data, freq_mhz, 0.98304e-3, dm=57.2403).scale()
    trials = np.arange(56.0, 58.5, 0.05)
    power = []
    for dm in trials:
        aligned = spectra.dedisperse(dm, "centre")
        profile = (aligned.data * (1 if aligned.weights is None else aligned.weights)).sum(0)
        power.append(np.convolve(profile, np.ones(4), "valid").max())
    assert trials[int(np.argmax(power))] == pytest.approx(57.24, abs=0.2)


def test_open_gives_spectra(filterbanks):
    assert isinstance(open(filterbanks / "frb" / "frb_dm475_28.fil"), Spectra)


def test_names_of_chime_programs():
    """The attributes of CHIME/FRB's spectra, as in its release of SGR 1935+2154."""
    spectra = Spectra(np.ones((4, 6)), 400 + 0.5 + np.arange(4.0), 2e-3, dm=5.0)
    assert spectra.intensity is spectra.data
    np.testing.assert_array_equal(spectra.frequencies, [400, 401, 402, 403])
    np.testing.assert_array_equal(spectra.center_frequencies, [400.5, 401.5, 402.5, 403.5])
    np.testing.assert_allclose(spectra.center_times - spectra.times, 1e-3)
    assert (spectra.fbottom, spectra.ftop, spectra.df_mhz, spectra.dm) == (400.0, 404.0, 1.0, 5.0)
    assert (spectra.tstart, spectra.tend, spectra.n_chan, spectra.n_times) == (0.0, 0.012, 4, 6)


def test_subbands_aligned_within():
    """An impulse swept over fine channels is one sample wide in each sub-band, at the delay of its mean frequency."""
    freq_mhz = 400 + np.arange(64) / 4
    delay = K_DM * 20.0 * (freq_mhz**-2 - freq_mhz[-1] ** -2) / 1e-3
    data = np.zeros((64, 600), np.float32)
    data[np.arange(64), np.rint(100 + delay).astype(int)] = 1
    few = Spectra(data, freq_mhz, 1e-3).subband(4, dm=20.0)
    assert (few.data.max(1) > 0.4).all()
    want = 100 + K_DM * 20.0 * (few.freq_mhz**-2 - freq_mhz[-1] ** -2) / 1e-3
    np.testing.assert_allclose(few.data.argmax(1), want, atol=1)
    assert few.dm == 0
    assert (Spectra(data, freq_mhz, 1e-3).subband(4).data.max(1) < 0.3).all()


@pytest.mark.parametrize("dtype", ["u1", "f4"])
@pytest.mark.parametrize("weighted", [None, "channels", "samples"])
def test_scales_are_those_of_numpy(dtype, weighted):
    rng = np.random.default_rng(6)
    data = rng.normal(100, 12, (7, 70001)).astype(dtype)
    data[3] = 9
    weights = None
    if weighted == "channels":
        weights = np.array([1, 0, 2, 1, 1, 1, 1], np.float32)
    elif weighted == "samples":
        weights = (rng.random(data.shape) > 0.3).astype(np.float32)
        weights[1] = 0
    spectra = Spectra(data, 100 + np.arange(7.0), 1e-3, weights=weights)
    scaled = spectra.scale()
    good = (
        np.ones(data.shape, bool)
        if weights is None
        else np.broadcast_to((weights if weights.ndim == 2 else weights[:, None]) > 0, data.shape)
    )
    dead = {3} if weighted is None else {1, 3}
    for c in range(7):
        x = data[c][good[c]].astype(np.float64)
        if c in dead:
            assert not scaled.weights[c].any()
            continue
        np.testing.assert_allclose(scaled.data[c][good[c]], (x - x.mean()) / x.std(), atol=2e-6)
        assert not scaled.data[c][~good[c]].any()
    one, two = np.empty((7, 3)), np.empty((7, 3))
    for threads, sums in ((1, one), (2, two)):
        _core.channel_sums(spectra.data, None, np.full(7, 50.0), sums, threads)
    np.testing.assert_array_equal(one, two)
    x = data.astype(np.float64) - (50 if dtype == "f4" else 0)
    np.testing.assert_allclose(
        one, np.stack([np.full(7, 70001), x.sum(1), (x**2).sum(1)], axis=1), rtol=1e-13
    )
