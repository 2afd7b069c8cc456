"""Dedispersion of files in gulps: bit for bit what comes out of memory."""

import numpy as np
import pytest
from filterbanks import pulse, write_fil

from mwaconvert.errors import InputError
from mwaconvert.spectra.stream import ArrayStream
from mwaconvert.transients import Spectra, open, open_stream
from mwaconvert.transients.dedispersion import plan_dedispersion
from mwaconvert.transients.prepare import Preparation, channel_statistics, select_channels

FREQS = 1500 - np.arange(16.0) * 10
DT = 1e-3


@pytest.fixture
def file(tmp_path):
    return write_fil(tmp_path / "a.fil", pulse(FREQS, 3000, DT, 200.0, 0.5, 5e-3, 30.0), FREQS, DT)


def floats(path, *, weights: bool) -> ArrayStream:
    """The same as float32, with a few that are not finite, and with weights of all sizes."""
    spectra = open(path)
    rng = np.random.default_rng(1)
    data = spectra.data + rng.normal(0, 0.3, spectra.data.shape).astype(np.float32)
    data[3, 100:130] = np.nan
    data[7, 2500] = np.inf
    w = rng.random(data.shape, np.float32) if weights else None
    return ArrayStream(Spectra(data, spectra.freq_mhz, DT, weights=w), path, "test")


@pytest.mark.parametrize("gulp", [1, 7, 640, None])
@pytest.mark.parametrize("dm", [200.0, -150.0, 0.0])
@pytest.mark.parametrize("kind", ["bytes", "floats", "weights"])
def test_gulps_make_no_difference(file, kind, dm, gulp):
    stream = open_stream(file) if kind == "bytes" else floats(file, weights=kind == "weights")
    if gulp == 1:  # many steps: a short piece
        stream = ArrayStream(stream.spectra(0, 420), file, "test")
    want = stream.spectra().dedisperse(dm).subband(4).downsample(3)
    got = plan_dedispersion(stream, dm, n_sub=4, tscrunch=3, gulp=gulp).spectra()
    np.testing.assert_array_equal(got.data, want.data)
    ones = np.ones(want.data.shape, np.float32)
    np.testing.assert_array_equal(
        ones if got.weights is None else got.weights, ones if want.weights is None else want.weights
    )
    assert (got.dm, got.dt_s, got.n_times) == (dm, 3 * DT, stream.n_times // 3)


@pytest.mark.parametrize("gulp", [5, 1000, None])
def test_series_is_that_of_the_spectra(file, gulp):
    stream = open_stream(file)
    plan = plan_dedispersion(stream, 200.0, gulp=gulp)
    got = np.concatenate(list(plan.series()))
    np.testing.assert_array_equal(got, open(file).series([200.0])[0])
    assert got.size == len(plan.complete)


def test_series_with_weights(file):
    stream = floats(file, weights=True)
    whole, parts = (
        np.concatenate(list(plan_dedispersion(stream, 120.0, gulp=gulp).series())) for gulp in (None, 64)
    )
    np.testing.assert_array_equal(whole, parts)
    moved = stream.spectra().dedisperse(120.0)
    mean = (moved.data * moved.weights).sum(0, dtype=float) / moved.weights.sum(0, dtype=float)
    np.testing.assert_allclose(whole, 16 * mean[: whole.size], rtol=1e-5)


def test_scaled_and_masked(file):
    stream = open_stream(file)
    mean, std = channel_statistics(stream)
    x = open(file).data.astype(float)
    np.testing.assert_allclose(mean, x.mean(1), rtol=1e-12)
    np.testing.assert_allclose(std, x.std(1), rtol=1e-9)
    masked = select_channels(stream.freq_mhz, [(2, 3)], [(1390.0, 1400.0)])
    assert np.flatnonzero(masked).tolist() == [2, 3, 4, 5]
    prepare = Preparation(masked, mean, std)
    one, other = (plan_dedispersion(stream, 200.0, prepare=prepare, gulp=g).spectra() for g in (None, 99))
    np.testing.assert_array_equal(one.data, other.data)
    want = open(file).masked([2, 3, 4, 5]).scale().dedisperse(200.0)
    np.testing.assert_allclose(one.data * (one.weights > 0), want.data * (want.weights > 0), atol=1e-5)
    np.testing.assert_array_equal(one.weights, want.weights)


def test_a_flat_channel_is_masked():
    data = np.random.default_rng(1).integers(0, 9, (4, 50), dtype=np.uint8)
    data[1] = 7
    stream = ArrayStream(Spectra(data, [1.0, 2, 3, 4], DT), "a", "test")
    assert channel_statistics(stream)[1][1] == 0
    assert Preparation(None, *channel_statistics(stream))(stream.spectra()).weights.tolist() == [1, 0, 1, 1]


def test_what_is_refused(file):
    stream = open_stream(file)
    for options, message in [
        ({"dm": np.nan}, "DM of nan"),
        ({"dm": 1, "n_sub": 5}, "5 sub-bands do not divide 16 channels: take 4 or 8"),
        ({"dm": 1, "tscrunch": 0}, "cannot average 0"),
        ({"dm": 1, "tscrunch": 3001}, "3001 of 3000 samples"),
        ({"dm": 1, "gulp": 0}, "gulp of 0"),
    ]:
        with pytest.raises(InputError, match=message):
            plan_dedispersion(stream, **options)
    with pytest.raises(InputError, match="crosses the band"):
        plan_dedispersion(stream, 1e5).need_complete()
    for channels, bands, message in [
        ([(0, 16)], [], "channels 0 to 15"),
        ([], [(10.0, 20.0)], "no channel"),
        ([(0, 15)], [], "all channels are masked"),
    ]:
        with pytest.raises(InputError, match=message):
            select_channels(stream.freq_mhz, channels, bands)


def test_memory_is_stated(file):
    plan = plan_dedispersion(open_stream(file), 200.0, gulp=100)
    kernels = 24 << 20
    assert 100 * 16 < plan.memory_bytes - kernels < 100_000
    assert 100 * 16 < plan.series_memory_bytes - kernels < 100_000
