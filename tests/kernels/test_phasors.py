"""Phase factors of antennas against exp(-2 pi i w f / c) in extended precision."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import phasor

from mwaconvert import _core
from mwaconvert.errors import InputError

FLOAT32_ROUNDING = 2.0**-24 * np.sqrt(2)


def kernel(w_m, start_hz, step_hz, n_fine, *, by_channel=False, threads=1):
    """(n_time, n_coarse, n_column, n_fine) complex64, whatever the layout of the kernel."""
    n_time, n_column = w_m.shape
    shape = (n_fine, n_column) if by_channel else (n_column, n_fine)
    out = np.full((n_time, len(start_hz), *shape), np.nan, np.complex64)
    _core.antenna_phasors(w_m, start_hz, step_hz, by_channel, out, threads)
    return out.swapaxes(2, 3) if by_channel else out


def largest_error(out, w_m, start_hz, step_hz):
    channel_hz = np.asarray(start_hz)[:, None] + step_hz * np.arange(out.shape[3])
    expected = phasor(w_m[:, None, :, None], channel_hz[None, :, None, :])
    return np.abs(out - expected).max()


@settings(deadline=None)
@given(
    n_time=st.integers(1, 3),
    n_coarse=st.integers(1, 3),
    n_column=st.integers(1, 5),
    n_fine=st.integers(1, 40),
    step_hz=st.sampled_from([200.0, 1e4, 4e4, 1.28e6 / 9]),
    by_channel=st.booleans(),
    seed=st.integers(0, 1 << 30),
)
def test_twin(n_time, n_coarse, n_column, n_fine, step_hz, by_channel, seed):
    rng = np.random.default_rng(seed)
    w_m = rng.normal(0, 1500, (n_time, n_column))
    start_hz = rng.uniform(70e6, 320e6, n_coarse)
    out = kernel(w_m, start_hz, step_hz, n_fine, by_channel=by_channel)
    assert largest_error(out, w_m, start_hz, step_hz) < FLOAT32_ROUNDING + 1e-11


@pytest.mark.parametrize("by_channel", [False, True])
def test_the_recurrence_holds_out(by_channel):
    """6400 channels of 200 Hz at 6 km: no more than the rounding to float32."""
    w_m, start_hz = np.array([[6000.0, -5999.9, 0.0]]), np.array([299.52e6])
    out = kernel(w_m, start_hz, 200.0, 6400, by_channel=by_channel)
    assert largest_error(out, w_m, start_hz, 200.0) < FLOAT32_ROUNDING + 1e-11
    np.testing.assert_array_equal(out[0, 0, 2], 1)


def test_sign():
    """A path longer by a quarter of a wavelength delays the phase by a quarter of a turn: -i."""
    wavelength = 299792458.0 / 150e6
    out = kernel(np.array([[wavelength / 4]]), np.array([150e6]), 1e4, 1)
    np.testing.assert_allclose(out.ravel(), [-1j], atol=1e-7)


def test_layouts_and_threads_change_no_bit():
    rng = np.random.default_rng(1)
    w_m, start_hz = rng.normal(0, 900, (4, 7)), np.array([150e6, 151.28e6, 200e6])
    one = kernel(w_m, start_hz, 1e4, 33)
    for by_channel in (False, True):
        for threads in (1, 2, 5):
            other = kernel(w_m, start_hz, 1e4, 33, by_channel=by_channel, threads=threads)
            np.testing.assert_array_equal(one.view(np.uint64), np.ascontiguousarray(other).view(np.uint64))


def test_bad_arrays():
    w_m, start_hz, out = np.zeros((2, 3)), np.zeros(1), np.zeros((2, 1, 3, 4), np.complex64)
    _core.antenna_phasors(w_m, start_hz, 1e4, False, out)
    np.testing.assert_array_equal(out, 1)
    for bad in (w_m[0], w_m[:1], w_m[:, :2].copy()):
        with pytest.raises(InputError, match="expected shape"):
            _core.antenna_phasors(bad, start_hz, 1e4, False, out)
    with pytest.raises(InputError, match="array 'out': expected shape"):
        _core.antenna_phasors(w_m, start_hz, 1e4, True, out)
    for bad in (w_m.astype(np.float32), w_m.tolist(), np.asfortranarray(w_m)):
        with pytest.raises(TypeError, match="incompatible function arguments"):
            _core.antenna_phasors(bad, start_hz, 1e4, False, out)
    with pytest.raises(TypeError, match="incompatible function arguments"):
        _core.antenna_phasors(w_m, start_hz, 1e4, False, out.astype(np.complex128))
    out.flags.writeable = False
    with pytest.raises(InputError, match="'out' is read-only"):
        _core.antenna_phasors(w_m, start_hz, 1e4, False, out)
