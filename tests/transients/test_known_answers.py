"""Answers that are known from elsewhere, and defects of other programs that ours must not have."""

import csv

import numpy as np
import pytest
import reference
from filterbanks import pulse

from mwaconvert import _core
from mwaconvert.spectra.dispersion import K_DM, delay_per_dm, delay_samples
from mwaconvert.transients import Spectra, open
from mwaconvert.transients.trials.subbands import plan_subbands

# --- the same sums as numpy's, in bands as they are observed ---


@pytest.mark.parametrize(
    ("n_chan", "low", "high", "dt_s", "dm", "dtype"),
    [
        (3072, 139.28, 170.0, 512e-6, 100.0, "u1"),
        (1536, 1220.0, 1520.0, 81.92e-6, 3000.0, "u1"),
        (16384, 400.0, 800.0, 0.98304e-3, 40.0, "f4"),
    ],
)
def test_exact_sums_are_those_of_numpy(n_chan, low, high, dt_s, dm, dtype):
    width = (high - low) / n_chan
    per_dm = delay_per_dm(low + width * (np.arange(n_chan) + 0.5)) / dt_s
    delays = delay_samples(np.array([0.0, dm / 3, dm]), per_dm)
    n_out = 700
    rng = np.random.default_rng(2)
    shape = (n_chan, n_out + int(delays.max()))
    data = (
        rng.integers(0, 256, shape, dtype=np.uint8)
        if dtype == "u1"
        else rng.standard_normal(shape, dtype=np.float32)
    )
    results = []
    for threads in (1, 2):
        results.append(np.empty((3, n_out), np.float32))
        _core.dedisperse(data, delays, results[-1], threads)
    np.testing.assert_array_equal(*results)
    for trial in range(3):
        want = np.zeros(n_out, np.float32)
        for row, delay in zip(data, delays[trial], strict=True):
            want += row[delay : delay + n_out]
        np.testing.assert_array_equal(results[0][trial], want)


# --- measured by others ---


def test_bursts_of_the_synthetic_filterbank(darc):
    spectra = open(darc / "synthetic" / "synthetic_CB00_00.fil")
    found = spectra.search(0, 100, dms=np.arange(0, 100, 0.25), width_min_s=2e-4).candidates()
    first, second = sorted(found[:2], key=lambda c: -c.dm)
    assert first.dm == pytest.approx(50, abs=0.3)
    assert first.time_s == pytest.approx(0.12, abs=4e-4)
    assert second.dm == pytest.approx(20, abs=0.3)
    assert second.time_s == pytest.approx(0.24, abs=4e-4)
    assert all(c.snr < 0.5 * second.snr for c in found[2:])


def test_arrival_times_of_the_chime_catalogue(filterbanks):
    """Times at the bottom of the band and at infinite frequency, of 600 bursts."""
    with (filterbanks / "frb" / "chimefrbcat.csv").open() as file:
        rows = list(csv.DictReader(file))
    late = np.array([(float(r["mjd_400"]) - float(r["mjd_inf"])) * 86400 for r in rows])
    dm = np.array([float(r["dm_fitb"]) for r in rows])
    rest = late - dm * delay_per_dm(np.array([400.1953125]), "infinity")[0]
    assert len(rows) >= 600
    assert np.median(abs(rest)) < 1e-5
    assert (abs(rest) > 3e-4).sum() <= 10  # dates that are cut short
    other = late - dm * delay_per_dm(np.array([400.1953125]), "infinity", 4148.808)[0]
    assert np.median(abs(other)) > 1e-3


# --- defects of others ---

FREQS = 1220 + 300 / 256 * (np.arange(256) + 0.5)
DT = 200e-6


def test_the_plane_is_sheared_the_right_way(filterbanks):
    """sigpyproc 2.0.0 shifts against the dispersion: it finds S/N 4.7 here."""
    spectra = open(filterbanks / "frb" / "frb_dm475_28.fil")
    found = spectra.search(475.284, 475.284, dms=np.array([475.284]), loss=0)
    assert found.best.width_s == pytest.approx(2 * spectra.dt_s)
    # S/N is in units of the noise of single samples, times the root of the width: (x - 2 mean) / (sqrt(2) sigma).
    # Neighbouring samples of this file go up and down together, so that sums of two are 8 % noisier than that:
    # against the spread of such sums the burst has the 15.5 to 16.8 that others measure
    series = spectra.series([475.284])
    mean, sigma = np.empty(1, np.float32), np.empty(1, np.float32)
    _core.noise(series, mean, sigma)
    pairs = series[0, 1:].astype(np.float64) + series[0, :-1]
    assert found.best.snr == pytest.approx((pairs.max() - 2 * mean[0]) / (2**0.5 * sigma[0]), rel=1e-5)
    low, middle, high = np.percentile(pairs, [25, 50, 75])
    assert 15.5 < (pairs.max() - middle) / ((high - low) / 1.349) < 16.8
    assert (high - low) / 1.349 / (2**0.5 * sigma[0]) == pytest.approx(1.078, abs=0.005)


def test_sums_do_not_overflow():
    """16-bit sums of sigproc's dedisperse_all wrap for 1536 channels."""
    data = np.full((1536, 300), 255, np.uint8)
    out = np.empty((1, 300), np.float32)
    _core.dedisperse(data, np.zeros((1, 1536), np.int32), out)
    assert (out == 1536 * 255).all()


@pytest.mark.parametrize("n_times", [16383, 16384, 16385, 10007])
def test_any_length_and_every_sample(n_times):
    """Others lose pulses, samples or everything at lengths that are not whole blocks."""
    spectra = Spectra(pulse(FREQS, n_times, DT, 150.0, 1.0, 2e-3, 25.0), FREQS, DT)
    per_dm = delay_per_dm(FREQS) / DT
    series = spectra.series([150.0])
    assert series.shape[1] == n_times - int(delay_samples(150.0, per_dm).max())
    delays = delay_samples(150.0, per_dm)[0]
    np.testing.assert_array_equal(series[0], reference.dedispersed(spectra.data, delays, series.shape[1]))
    best = spectra.search(100, 200, width_min_s=2e-3).best
    assert best.snr > 22
    assert best.time_s == pytest.approx(1.0, abs=2e-3)


def test_pulse_at_either_end():
    for t0 in (0.01, 1.98):
        data = np.random.default_rng(0).normal(100, 12, (256, 10000 + 900))
        late = delay_samples(150.0, delay_per_dm(FREQS) / DT)[0] + round(t0 / DT)
        for channel, at in enumerate(late):
            data[channel, at : at + 10] += 20
        best = Spectra(np.rint(data).clip(0, 255).astype(np.uint8), FREQS, DT).search(100, 200, loss=0).best
        assert best.dm == pytest.approx(150, abs=2)
        assert best.time_s == pytest.approx(t0 + 5 * DT, abs=1e-3)


def test_a_bright_pulse_does_not_raise_its_own_noise():
    """TransientX divides by the rms of the segment, pulse included: 55-61 % of the S/N in 1000-2000 samples."""
    bright = Spectra(pulse(FREQS, 2500, DT, 50.0, 0.2, 4e-3, 200.0), FREQS, DT).search(
        50, 50, dms=np.array([50.0])
    )
    assert 0.85 * 200 < bright.best.snr < 200  # of the matched filter: boxcars double in length


def test_short_series():
    """PRESTO's single_pulse_search.py dies of series shorter than two blocks."""
    spectra = Spectra(pulse(FREQS, 200, DT, 10.0, 0.02, 1e-3, 20.0), FREQS, DT)
    best = spectra.search(0, 20).best
    assert best.dm == pytest.approx(10, abs=4)
    assert best.snr > 10


@pytest.mark.parametrize("step", [0.1, 1.4656])
def test_groups_go_with_the_step(step):
    """Groups of a fixed number of trials lose 59 % of a one-sample pulse at the wider of these steps."""
    freq_mhz = 1220 + 300 / 1536 * (np.arange(1536) + 0.5)
    per_dm = delay_per_dm(freq_mhz) / 81.92e-6
    plan = plan_subbands(step * np.arange(512), per_dm, 1.0, 0.05)
    if plan is None:
        return  # exact delays are taken
    assert plan.loss <= 0.05
    assert plan.trials_per_group * step < 12


def test_delays_of_any_order_of_channels():
    """Delays built upwards from the lowest frequency are negative, and wrap in unsigned numbers."""
    data = pulse(FREQS, 4000, DT, 100.0, 0.2, 2e-3, 25.0)
    up, down = Spectra(data, FREQS, DT), Spectra(data[::-1], FREQS[::-1], DT)
    np.testing.assert_array_equal(up.series([100.0]), down.series([100.0]))
    assert delay_samples(100.0, delay_per_dm(FREQS) / DT).min() == 0
    assert pytest.approx(4149.377593360996, rel=1e-15) == K_DM
