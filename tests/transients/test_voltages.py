"""Coherent dedispersion, finer channels and detection of voltages whose answer is known."""

import numpy as np
import pytest

from mwaconvert import _core
from mwaconvert.errors import InputError
from mwaconvert.spectra.dispersion import K_DM
from mwaconvert.spectra.voltages import Voltages

RATE = 200e3
FREQS = np.array([150.0, 151.5])


def dispersed(voltages: np.ndarray, f0: float, dm: float, sideband: int = 1) -> np.ndarray:
    """The whole series through the interstellar medium, by one transform."""
    n = voltages.size
    sky = voltages if sideband > 0 else voltages.conj()
    f = np.fft.fftfreq(n, 1e6 / RATE)
    h = np.exp(2j * np.pi * K_DM * 1e6 * dm * f**2 / ((f0 + f) * f0**2))
    out = np.fft.ifft(np.fft.fft(sky.astype(complex)) * h)
    return out if sideband > 0 else out.conj()


def noise(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=n) + 1j * rng.normal(size=n)


@pytest.mark.parametrize("sideband", [1, -1])
@pytest.mark.parametrize("n", [60_000, 150_000])
def test_impulses_come_back(sideband, n):
    original = np.zeros((2, 2, n), complex)
    original[0, 0, n // 2] = original[0, 1, n // 2 - 777] = 1
    original[1, 0] = noise(n)
    original[1, 1] = noise(n, 1)
    received = np.array(
        [[dispersed(x, f, 10.0, sideband) for x, f in zip(r, FREQS, strict=True)] for r in original]
    )
    assert abs(received[0, 0]).max() < 0.1  # the impulse is all over the place
    v = Voltages(received, FREQS, RATE, sideband, start_mjd=58000.0)
    got = v.dedisperse(10.0)
    first = round((got.start_mjd - 58000) * 86400 * RATE)
    want = original[:, :, first : first + got.n_times]
    assert abs(got.data[0] - want[0]).max() < 1e-2
    assert np.argmax(abs(got.data[0, 0])) + first == n // 2
    inner = slice(2000, -2000)  # white noise fills the band to its edges, which ring
    assert np.abs(got.data[1, :, inner] - want[1, :, inner]).std() < 0.02 * want[1].std()
    assert got.dm == 10


def test_twin_of_one_transform():
    """Against the whole series in one transform, segments differ by what rings at the edges of the channel."""
    x = noise(100_000, 3)
    v = Voltages(x[None, None], FREQS[:1], RATE)
    got = v.dedisperse(-8.0)
    want = dispersed(x, 150.0, 8.0)
    first = int(
        np.argmin([abs(got.data[0, 0, 5000:5100] - want[5000 + k : 5100 + k]).sum() for k in range(3000)])
    )
    rest = want[first : first + got.n_times] - got.data[0, 0]
    assert np.abs(rest[2000:-2000]).std() < 0.02
    assert v.dedisperse(0.0) is v


@pytest.mark.parametrize("n_fft", [1 << 12, 1 << 15])
@pytest.mark.parametrize("sideband", [1, -1])
def test_segments_are_those_of_double_precision(n_fft, sideband):
    """Every segment, the last one filled up with zeros."""
    before, after, n = 300, 201, 40_000
    data = np.array([noise(n, 5), noise(n, 6)]).reshape(2, 1, n).astype(np.complex64)
    out = np.full((2, 1, n - before - after), np.nan, np.complex64)
    _core.dedisperse_coherent(
        data=data,
        freqs=FREQS[:1],
        rate_mhz=RATE / 1e6,
        k_dm=30 * K_DM,
        sideband=sideband,
        n_fft=n_fft,
        before=before,
        after=after,
        out=out,
        threads=2,
    )
    f = sideband * np.fft.fftfreq(n_fft, 1e6 / RATE)
    spectrum = np.exp(-2j * np.pi * sideband * K_DM * 30e6 * f**2 / ((FREQS[0] + f) * FREQS[0] ** 2))
    step = n_fft - before - after
    for begin in range(0, out.shape[2], step):
        piece = data[:, 0, begin : begin + n_fft].astype(complex)
        want = np.fft.ifft(np.fft.fft(piece, n_fft) * spectrum)[:, before : before + step]
        got = out[:, 0, begin : begin + step]
        assert np.abs(got - want[:, : got.shape[1]]).max() < 3e-6


def test_segments_that_do_not_fit():
    data = np.zeros((1, 1, 9000), np.complex64)
    for n_fft, before, after, n_out in ((5000, 9, 9, 8982), (8192, 9, 9, 9000), (4096, 4000, 99, 4901)):
        with pytest.raises(InputError):
            _core.dedisperse_coherent(
                data=data,
                freqs=FREQS[:1],
                rate_mhz=0.2,
                k_dm=1.0,
                sideband=1,
                n_fft=n_fft,
                before=before,
                after=after,
                out=np.empty((1, 1, n_out), np.complex64),
            )


def test_there_and_back():
    x = noise(80_000, 4)
    v = Voltages(x[None, None], FREQS[:1], RATE)
    back = v.dedisperse(5.0).dedisperse(0.0)
    lost = (v.n_times - back.n_times) // 2
    power = np.abs(back.data[0, 0, 2000:-2000] - x[lost + 2000 : lost + 2000 + back.n_times - 4000]).std()
    assert power < 0.03
    assert back.dm == 0


def test_threads_do_not_matter():
    v = Voltages(noise(200_000).reshape(2, 2, -1), FREQS, RATE)
    np.testing.assert_array_equal(v.dedisperse(3.0, 1).data, v.dedisperse(3.0, 3).data)


def test_frequencies_may_be_a_view():
    data = np.stack([noise(1 << 15), noise(1 << 15, 1)])[None]
    view = Voltages(data, FREQS[::-1].copy()[::-1], RATE).dedisperse(2.0)
    np.testing.assert_array_equal(view.data, Voltages(data, FREQS, RATE).dedisperse(2.0).data)


@pytest.mark.parametrize("sideband", [1, -1])
def test_channelize_finds_tones(sideband):
    n, t = 16, np.arange(4096) / RATE
    sky_offset = 3 * RATE / n
    tone = np.exp(2j * np.pi * sideband * sky_offset * t)
    fine = Voltages(tone[None, None], FREQS[:1], RATE, sideband).channelize(n)
    power = fine.detect().data.mean(1)
    assert fine.freq_mhz[np.argmax(power)] == pytest.approx(150.0 + sky_offset / 1e6)
    assert power.max() == pytest.approx(n**2, rel=1e-5)
    assert np.sort(power)[-2] < 1e-3
    assert (np.diff(fine.freq_mhz) > 0).all()
    assert fine.rate_hz == RATE / n


def test_detection_is_the_weighted_sum():
    x = noise(3 * 2 * 1001).reshape(3, 2, 1001).astype(np.complex64)
    spectra = Voltages(x, FREQS, RATE, start_mjd=1.0, source="a").detect(10, [1, 0, 2])
    want = np.abs(x[0, :, :1000].astype(complex)) ** 2 + 2 * np.abs(x[2, :, :1000].astype(complex)) ** 2
    np.testing.assert_allclose(spectra.data, want.reshape(2, 100, 10).mean(2), rtol=1e-5)
    assert (spectra.dt_s, spectra.start_mjd, spectra.source, spectra.n_times) == (10 / RATE, 1.0, "a", 100)
    plain = Voltages(x, FREQS, RATE).detect()
    np.testing.assert_allclose(plain.data, (np.abs(x.astype(complex)) ** 2).sum(0), rtol=1e-5)


def test_pulse_of_voltages_is_found():
    """Coherent within channels, incoherent between: the pulse is as short as it was."""
    n, dm = 120_000, 10.0
    rng = np.random.default_rng(5)
    freq_mhz = 150 + 0.2 * np.arange(8)
    pulse = np.zeros(n)
    pulse[50_000:50_040] = 4.0
    data = np.empty((1, 8, n), complex)
    for channel, f in enumerate(freq_mhz):
        late = round(K_DM * dm * (f**-2 - freq_mhz[-1] ** -2) * RATE)
        data[0, channel] = dispersed(noise(n, channel) * np.roll(1 + pulse, late), f, dm) + 0.1 * rng.normal(
            size=n
        )
    v = Voltages(data, freq_mhz, RATE)
    sharp = v.dedisperse(dm).detect(8).search(dm, dm, dms=np.array([dm]), loss=0)
    blurred = v.detect(8).search(dm, dm, dms=np.array([dm]), loss=0)
    assert sharp.best.snr > 3 * blurred.best.snr
    assert sharp.best.width_s <= 16 * 8 / RATE


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": np.zeros((2, 9))}, "inputs, channels"),
        ({"freq_mhz": FREQS[::-1]}, "ascend"),
        ({"rate_hz": -1.0}, "samples a second"),
        ({"sideband": 0}, "sideband"),
    ],
)
def test_refusals(change, message):
    with pytest.raises(InputError, match=message):
        Voltages(**({"data": np.zeros((1, 2, 9)), "freq_mhz": FREQS, "rate_hz": RATE} | change))


def test_what_cannot_be_done():
    v = Voltages(np.zeros((1, 2, 900)), FREQS, RATE)
    for call in (
        lambda: v.dedisperse(50.0),
        lambda: v.dedisperse(np.nan),
        lambda: v.detect(901),
        lambda: v.detect(0),
        lambda: v.detect(1, [1, 2]),
        lambda: v.detect(1, [0]),
        lambda: v.channelize(1000),
    ):
        with pytest.raises(InputError):
            call()
    broken = np.zeros((1, 2, 90_000), complex)
    broken[0, 0, 5] = np.nan
    with pytest.raises(InputError, match="finite"):
        Voltages(broken, FREQS, RATE).dedisperse(1.0)
