"""Searches for periods, and folds: against scipy, astropy and riptide, and what was put in."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from mwaconvert import _core
from mwaconvert.errors import InputError
from mwaconvert.spectra.candidate import Flag
from mwaconvert.spectra.dispersion import K_DM
from mwaconvert.spectra.recording import Recording
from mwaconvert.spectra.spectra import Spectra
from mwaconvert.spectra.stream import ArrayStream
from mwaconvert.transients.clean.cleaning import Cleaning
from mwaconvert.transients.periodicity import hits as searches
from mwaconvert.transients.periodicity import significance
from mwaconvert.transients.periodicity.folding import Rotation, fold
from mwaconvert.transients.periodicity.hits import Method, Range
from mwaconvert.transients.periodicity.profiles import boxcar_snr, refine, widths_of
from mwaconvert.transients.periodicity.source import Source
from mwaconvert.transients.periodicity.survey import doppler, plan_periods, with_barycentric
from mwaconvert.transients.periodicity.whitening import block_edges, whiten_powers, whiten_series
from mwaconvert.transients.prepare import Preparation

FREQ_MHZ = 1400.0 + 4 * np.arange(32)
DT_S = 1e-3


def profile(phase: np.ndarray, duty: float) -> np.ndarray:
    """A Gaussian of this full width at half maximum, in periods, about phase 0."""
    off = (phase + 0.5) % 1 - 0.5
    return np.exp(-4 * np.log(2) * (off / duty) ** 2)


def pulsar(
    period_s=0.21, dm=60.0, snr=30.0, duty=0.06, n_times=30000, seed=1, pdot=0.0, noise=10.0, **about
) -> ArrayStream:
    """Noise with a pulsar whose folded profile has this S/N, of the matched filter; bytes."""
    rng = np.random.default_rng(seed)
    times = (np.arange(n_times) + 0.5) * DT_S
    delays = K_DM * dm * (FREQ_MHZ**-2 - FREQ_MHZ[-1] ** -2)
    at = times - delays[:, None]
    phase = at / period_s - pdot * (at / period_s) ** 2 / 2
    shape = profile(phase + 0.3, duty)
    shape -= shape.mean()
    amplitude = snr * noise / np.sqrt((shape**2).sum())
    data = rng.normal(100, noise, (FREQ_MHZ.size, n_times)) + amplitude * shape
    spectra = Spectra(np.clip(np.rint(data), 0, 255).astype(np.uint8), FREQ_MHZ, DT_S, **about)
    return ArrayStream(spectra, Path("pulsar"), "memory")


def source(stream: ArrayStream, longest_s=2.0, cleaning=None, **more) -> Source:
    return Source(stream, longest_s, Preparation(), cleaning, **more)


# -- significance


@pytest.mark.parametrize("sigma", [-3, 0, 1, 5, 12, 19.99, 20.01, 60])
def test_the_tail_of_a_gaussian_is_that_of_scipy(sigma):
    stats = pytest.importorskip("scipy.stats")
    assert significance.log_gaussian_tail(sigma) == pytest.approx(stats.norm.logsf(sigma), rel=1e-6)
    assert significance.gaussian_sigma(stats.norm.logsf(sigma)) == pytest.approx(sigma, abs=1e-4)


@pytest.mark.parametrize("n", [1, 2, 4, 8, 16])
def test_the_tail_of_sums_of_powers_is_that_of_scipy(n):
    stats = pytest.importorskip("scipy.stats")
    x = np.array([0.1, n, 3 * n, 60, 300])
    np.testing.assert_allclose(
        significance.log_power_tail(x, n), stats.gamma.logsf(x, n), rtol=1e-9, atol=1e-14
    )
    assert significance.power_threshold(6, n) == pytest.approx(stats.gamma.isf(stats.norm.sf(6), n), rel=1e-9)


def test_the_probability_of_a_false_alarm_holds_in_noise():
    """Of 40 noise series, spectra find as many trials above 4.5 sigma as the number of trials says, or fewer."""
    rng = np.random.default_rng(11)
    series = rng.normal(0, 1, (40, 1 << 14)).astype(np.float32)
    span = Range(4e-3, 1.0, DT_S, 1 << 14)
    found = searches.spectral_hits(series, span, 4.5)
    expected = 40 * searches.n_spectral_trials(span) * np.exp(significance.log_gaussian_tail(4.5))
    assert 0.2 * expected < len(np.unique(found[["trial", "n_harmonic"]])) < 2 * expected
    folded = searches.folded_hits(series, dataclasses.replace(span, period_min_s=0.3), 4.5)
    bound = 40 * searches.n_folded_trials(dataclasses.replace(span, period_min_s=0.3))
    assert 0 < len(folded) < bound * np.exp(significance.log_gaussian_tail(4.5))


# -- red noise


def test_series_lose_slow_changes_and_keep_pulses():
    rng = np.random.default_rng(2)
    n = 40000
    slow = 30 * np.sin(np.arange(n) / 9000) + np.cumsum(rng.normal(0, 0.02, n))
    pulses = np.zeros(n)
    pulses[500::2000] = 8
    series = np.stack([7 + 3 * (slow + rng.normal(0, 1, n) + pulses), rng.normal(0, 1, n)]).astype(np.float32)
    whiten_series(series, 4000)
    for row in series:
        assert np.median(row) == pytest.approx(0, abs=0.03)
        assert 1.4826 * np.median(np.abs(row)) == pytest.approx(1, abs=0.03)
    assert series[0, 500::2000].mean() == pytest.approx(8, abs=1)


def test_a_series_without_noise_is_left_at_zero():
    series = np.full((1, 1000), 3, np.float32)
    whiten_series(series, 100)
    assert not series.any()


def test_powers_of_red_noise_have_mean_1():
    rng = np.random.default_rng(3)
    n = 1 << 15
    level = 1 + (300 / np.maximum(np.arange(n), 1)) ** 1.5
    power = (rng.exponential(1, n) * level).astype(np.float32)
    power[5000] = 1e6
    whiten_powers(power)
    assert power[100:300].mean() == pytest.approx(1, abs=0.2)
    assert power[10000:].mean() == pytest.approx(1, abs=0.02)
    assert power[5000] == pytest.approx(1e6, rel=0.2)
    edges = block_edges(n)
    assert np.diff(edges)[:-1].max() == 2048
    assert (edges[0], edges[-1]) == (0, n)


def test_the_spectrum_is_that_of_scipy():
    fft = pytest.importorskip("scipy.fft")
    x = np.random.default_rng(4).normal(0, 1, 5000).astype(np.float32)
    power = searches.spectrum(x)
    want = np.abs(fft.rfft(x.astype(np.float64), 2 * fft.next_fast_len(5000, real=True))) ** 2
    want[0] = 0
    want = want.astype(np.float32)
    whiten_powers(want)
    np.testing.assert_allclose(power, want, rtol=2e-3, atol=1e-4)
    assert [searches.fast_length(n) for n in range(1, 3000)] == [
        fft.next_fast_len(n, real=True) for n in range(1, 3000)
    ]


# -- oracles: programs nobody here wrote


def test_the_transform_and_the_snr_of_riptide():
    riptide = pytest.importorskip("riptide")
    rng = np.random.default_rng(5)
    for m, p in ((64, 50), (100, 33), (37, 128)):
        rows = rng.normal(0, 1, (m, p)).astype(np.float32)
        out = np.empty_like(rows)
        _core.ffa_transform(rows, out)
        np.testing.assert_array_equal(out, riptide.ffa2(rows))
        widths = np.array(widths_of(p))
        want = riptide.boxcar_snr(out, widths, stdnoise=1.0)
        np.testing.assert_allclose(boxcar_snr(out.astype(np.float64))[0], want.max(1), rtol=1e-4)


def test_riptide_finds_the_same_period():
    riptide = pytest.importorskip("riptide")
    stream = pulsar(period_s=0.7, duty=0.03, snr=20)
    found = plan_periods(source(stream), 60, 60, period_min_s=0.5, methods=[Method.FFA]).run().candidates[0]
    series = source(stream).series(np.array([60.0]), source(stream).sweep(np.array([60.0])))[0]
    _, theirs = riptide.ffa_search(
        riptide.TimeSeries.from_numpy_array(series, DT_S),
        period_min=0.5,
        period_max=2.0,
        bins_min=128,
        bins_max=160,
    )
    k = int(theirs.snrs.max(1).argmax())
    assert theirs.periods[k] == pytest.approx(found.period_s, rel=2e-4)
    assert found.ffa_snr == pytest.approx(float(theirs.snrs.max()), rel=0.08)


def test_astropy_finds_the_same_period():
    timeseries = pytest.importorskip("astropy.timeseries")
    stream = pulsar(period_s=0.2137, duty=0.1, snr=25)
    found = plan_periods(source(stream), 60, 60, methods=[Method.FFT]).run().candidates[0]
    whole = source(stream)
    series = whole.series(np.array([60.0]), whole.sweep(np.array([60.0])))[0].astype(np.float64)
    times = (np.arange(series.size) + 0.5) * DT_S
    periods = 1 / np.linspace(1 / 0.2137 - 0.05, 1 / 0.2137 + 0.05, 81)
    power = timeseries.BoxLeastSquares(times, -series).power(periods, 0.02, method="fast").power
    assert periods[int(np.argmax(power))] == pytest.approx(found.period_s, rel=5e-4)
    assert found.period_s == pytest.approx(0.2137, abs=4 * found.period_err_s)


# -- folds that are planned


def test_steps_of_the_fast_folding_algorithm_cover_all_periods():
    for span in (Range(0.5, 2.0, 1e-3, 10000), Range(0.02, 0.3, 1e-3, 3000), Range(1.0, 2.0, 0.1, 999)):
        edge = span.period_min_s
        for step in searches.plan_folds(span):
            assert step.first_bin * step.factor * span.dt_s <= edge * 1.000001
            edge = (step.last_bin - 1) * step.factor * span.dt_s
        assert edge >= span.period_max_s * 0.999999


@pytest.mark.parametrize(("width", "n_bin"), [(1, 20), (3, 64), (9, 64)])
def test_the_snr_of_a_boxcar(width, n_bin):
    shape = np.zeros(n_bin)
    shape[:width] = 5.0
    shape = np.roll(shape, -1)
    snr, first, found = boxcar_snr(shape)
    assert (first, found) == (n_bin - 1, width)
    assert snr == pytest.approx(np.linalg.norm(shape - shape.mean()))


# -- what was put in is found


def test_periods_within_their_errors():
    """Periods of many simulated series lie within the stated errors, folded at a period that is a bit off."""
    rng = np.random.default_rng(6)
    off = []
    for _ in range(60):
        n, period_s = 30000, rng.uniform(0.05, 0.5)
        phase = (np.arange(n) + 0.5) * DT_S / period_s + rng.random()
        series = rng.normal(0, 1, n) + rng.uniform(0.3, 1.2) * profile(phase, rng.uniform(0.04, 0.15))
        series = series[None].astype(np.float32)
        whiten_series(series, 4000)
        found = refine(series[0], DT_S, period_s * (1 + rng.uniform(-0.4, 0.4) * period_s / (n * DT_S)))
        if found.snr > 8:
            off.append((found.period_s - period_s) / found.period_err_s)
    assert len(off) > 50
    assert 0.6 < np.std(off) < 1.4
    assert np.abs(off).max() < 5


@pytest.mark.parametrize("cleaning", [None, Cleaning(impulses=False)])
@pytest.mark.parametrize(
    ("period_s", "duty", "found_by"), [(0.0331, 0.1, "fft"), (0.21, 0.06, "fft"), (1.37, 0.02, "ffa")]
)
def test_a_pulsar_is_found_once(cleaning, period_s, duty, found_by):
    stream = pulsar(period_s=period_s, duty=duty, snr=25)
    search = plan_periods(source(stream, cleaning=cleaning), 0, 200, period_min_s=0.01).run()
    (found,) = search.candidates
    assert found.period_s == pytest.approx(period_s, abs=5 * found.period_err_s)
    assert found.dm == pytest.approx(60, abs=5 * found.dm_err)
    assert 18 < found.snr < 27
    assert found_by in found.methods
    assert found.log10_fap < -10
    assert found.flags == (() if period_s < 1 else (Flag.NEAR_ZERO,))  # a pulse of 27 ms, over 20 ms of sweep


def test_noise_has_no_period():
    stream = pulsar(snr=0)
    assert plan_periods(source(stream, cleaning=Cleaning()), 0, 200).run().candidates == ()


def test_two_pulsars_are_two_candidates():
    spectra = pulsar(period_s=0.21, snr=30).spectra()
    weak = pulsar(period_s=0.337, dm=120, snr=20, seed=2).spectra().data.astype(int)
    noise = pulsar(snr=0, seed=2).spectra().data.astype(int)
    both = np.clip(spectra.data + (weak - noise), 0, 255).astype(np.uint8)
    stream = ArrayStream(dataclasses.replace(spectra, data=both), Path("two"), "memory")
    first, second = plan_periods(source(stream), 0, 200).run().candidates
    for found, period_s in ((first, 0.21), (second, 0.337)):
        assert found.period_s == pytest.approx(period_s, abs=4 * found.period_err_s)
    assert second.dm == pytest.approx(120, abs=5 * second.dm_err)


def test_interference_at_dm_0_is_flagged():
    (found,) = plan_periods(source(pulsar(dm=0, period_s=0.02, duty=0.3)), 0, 200).run().candidates
    assert Flag.NEAR_ZERO in found.flags
    (found,) = plan_periods(source(pulsar(dm=60)), 0, 60).run().candidates
    assert Flag.DM_EDGE in found.flags


def test_interference_at_dm_0_is_listed_last():
    spectra = pulsar(period_s=0.21, snr=20).spectra()
    strong = pulsar(period_s=0.0437, dm=0, duty=0.3, snr=40, seed=2).spectra().data.astype(int)
    noise = pulsar(snr=0, seed=2).spectra().data.astype(int)
    both = np.clip(spectra.data + (strong - noise), 0, 255).astype(np.uint8)
    stream = ArrayStream(dataclasses.replace(spectra, data=both), Path("both"), "memory")
    found = plan_periods(source(stream), 0, 200).run().candidates
    assert found[0].period_s == pytest.approx(0.21, abs=5 * found[0].period_err_s)
    assert found[-1].flags == (Flag.NEAR_ZERO,)
    assert found[-1].snr > found[0].snr


def test_results_do_not_depend_on_threads_and_batches():
    stream = pulsar(snr=15)
    runs = [
        plan_periods(source(stream, cleaning=Cleaning(), threads=threads), 0, 200, memory_bytes=memory).run()
        for threads, memory in ((1, None), (2, 1 << 20))
    ]
    assert runs[0].survey.batch > runs[1].survey.batch
    assert runs[0].candidates == runs[1].candidates != ()


def test_averaged_samples_and_weights(monkeypatch):
    stream = pulsar(snr=25)
    monkeypatch.setattr("mwaconvert.transients.cleaned._PIECE", (1 << 12, 1 << 12))
    weights = np.ones((FREQ_MHZ.size, stream.n_times), np.float32)
    weights[:, 5000:7000] = 0
    weights[3] = 0
    spectra = dataclasses.replace(stream.spectra(), weights=weights)
    gappy = ArrayStream(spectra, Path("gaps"), "memory")
    for plan in (source(gappy, tscrunch=3), source(gappy, cleaning=Cleaning(impulses=False), tscrunch=3)):
        (found,) = plan_periods(plan, 0, 200).run().candidates
        assert found.period_s == pytest.approx(0.21, abs=5 * found.period_err_s)
        assert 17 < found.snr < 27


def test_periods_at_the_barycentre():
    where = Recording(telescope="Parkes", ra_deg=83.63, dec_deg=22.01)
    stream = pulsar(start_mjd=58000.0, recording=where)
    # the Earth moves at up to 30 km/s: a part in ten thousand
    factor = doppler(stream, 15.0)
    assert 1e-6 < abs(factor - 1) < 1.02e-4
    found = plan_periods(source(stream), 60, 60).run().candidates
    assert with_barycentric(found, stream, 30.0)[0].period_barycentric_s == found[0].period_s * factor
    assert np.isnan(doppler(pulsar(), 15.0))
    assert np.isnan(doppler(pulsar(start_mjd=58000.0), 15.0))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"period_min_s": 1e-3}, "2 samples or more"),
        ({"period_max_s": 9.0}, "a quarter of the data"),
        ({"period_min_s": 1.0, "period_max_s": 0.5}, "more than the shortest"),
    ],
)
def test_ranges_that_make_no_sense(options, sentence):
    with pytest.raises(InputError, match=sentence):
        plan_periods(source(pulsar()), 0, 10, **options)
    with pytest.raises(InputError, match="cannot search DMs"):
        plan_periods(source(pulsar()), 10, 0)
    with pytest.raises(InputError, match="crosses the band"):
        plan_periods(source(pulsar(n_times=500)), 0, 3000)


# -- folds


def test_a_fold_tells_the_period_and_the_dm():
    stream = pulsar(snr=40)
    folded = fold(source(stream), Rotation(0.21003), 40, n_bin=64, n_part=32, n_band=16)
    best = folded.best(folded.diagram())
    assert best.period_s == pytest.approx(0.21, abs=5 * best.period_err_s)
    assert best.dm == pytest.approx(60, abs=5 * best.dm_err)
    assert 33 < best.snr < 42
    assert best.phase == pytest.approx(0.7, abs=0.05)
    assert best.profile.argmax() / 64 == pytest.approx(0.7, abs=0.05)


def test_errors_of_dms_of_folds():
    off = []
    for seed in range(12):
        stream = pulsar(snr=20, seed=seed)
        folded = fold(source(stream), Rotation(0.21), 50, n_bin=64, n_part=16, n_band=16)
        best = folded.best(folded.diagram())
        off.append((best.dm - 60) / best.dm_err)
    assert 0.4 < np.std(off) < 1.8
    assert abs(np.mean(off)) < 1


def test_folds_follow_a_period_that_changes():
    stream = pulsar(snr=40, pdot=2e-5, period_s=0.1)
    straight, bent = (
        fold(source(stream), Rotation(0.1, pdot), 60, n_bin=64, n_part=16, n_band=4) for pdot in (0.0, 2e-5)
    )
    snr = [folded.best(folded.diagram()).snr for folded in (straight, bent)]
    assert snr[1] > 36 > 1.3 * snr[0]


def test_folds_at_the_barycentre():
    where = Recording(telescope="Parkes", ra_deg=83.63, dec_deg=22.01)
    stream = pulsar(start_mjd=58000.0, recording=where, snr=40)
    factor = doppler(stream, 15.0)
    folded = fold(
        source(stream), Rotation(0.21 * factor, barycentric=True), 60, n_bin=64, n_part=16, n_band=4
    )
    best = folded.best(folded.diagram())
    assert best.period_s == pytest.approx(0.21 * factor, abs=5 * best.period_err_s)
    plain = fold(source(stream), Rotation(0.21), 60, n_bin=64, n_part=16, n_band=4)
    np.testing.assert_allclose(folded.cube.sum(), plain.cube.sum(), rtol=1e-3)


def test_a_fold_does_not_depend_on_threads_and_pieces(monkeypatch):
    stream = pulsar()
    given = {"n_bin": 32, "n_part": 8, "n_band": 5}
    one = fold(source(stream, threads=1), Rotation(0.21), 60, **given)
    two = fold(source(stream, threads=2), Rotation(0.21), 60, **given)
    np.testing.assert_array_equal(one.cube, two.cube)
    assert one.counts.sum() == stream.n_times * stream.n_chan
    monkeypatch.setattr("mwaconvert.transients.cleaned._PIECE", (1 << 12, 1 << 12))
    three = fold(source(stream), Rotation(0.21), 60, **given)
    assert np.abs(three.counts - one.counts).sum() < 1e-3 * one.counts.sum()  # phases at the edges of bins
    with pytest.raises(InputError, match="33 sub-bands of 32 channels"):
        fold(source(stream), Rotation(0.21), 60, n_bin=32, n_part=8, n_band=33)


def test_data_without_noise_have_no_period():
    data = np.full((FREQ_MHZ.size, 4000), 7, np.uint8)
    stream = ArrayStream(Spectra(data, FREQ_MHZ, DT_S), Path("dead"), "memory")
    assert plan_periods(source(stream, 0.5), 0, 100).run().candidates == ()
    values = pulsar(snr=25, n_times=20000).spectra().data.astype(np.float32)
    values[5, 100:9000] = np.nan
    stream = ArrayStream(Spectra(values, FREQ_MHZ, DT_S), Path("nan"), "memory")
    (found,) = plan_periods(source(stream), 50, 70).run().candidates
    assert found.period_s == pytest.approx(0.21, abs=5 * found.period_err_s)


# -- real data


def test_the_crab_in_pulses_that_amber_saw(darc):
    """Times of 412 detections in 299 s, one sample each: their period."""
    from mwaconvert.formats.spectra.candidate_lists import read_list

    rows = read_list(darc / "amber" / "CB00_step1.trigger", 81.92e-6)
    times_s = np.array([row.time_s for row in rows if 50 < row.dm < 64])
    series = np.zeros((1, 300000), np.float32)
    series[0, np.unique((times_s / DT_S).astype(int))] = 1
    series = ((series - series.mean()) / series.std()).astype(np.float32)
    hits = searches.spectral_hits(series, Range(0.01, 1.0, DT_S, series.shape[1]), 7.0)
    best = hits[hits["score"].argmax()]
    found = refine(series[0], DT_S, 1 / float(best["freq_hz"]))
    assert found.period_s == pytest.approx(33.76385e-3, abs=2e-7)
    assert best["n_harmonic"] == 16


def test_known_pulsars():
    """A simulated pulsar of sigpyproc's tests, and PSR J1807-0847 at the GBT."""
    from mwaconvert.formats.spectra.reader import open_stream

    folder = Path(__file__).parents[3] / "shared" / "data" / "fil"
    wanted = {"tutorial.fil": (0.25, 30, 96), "GBT_J1807-0847.tim": (0.163712, 112.38, 242)}
    if not all((folder / name).is_file() for name in wanted):
        pytest.skip(f"reference data not found at {folder}")
    for name, (period_s, dm, snr) in wanted.items():
        stream = open_stream(folder / name)
        low, high = (0, 100) if stream.n_chan > 1 else (stream.dm, stream.dm)
        (found,) = plan_periods(source(stream, 10.0), low, high).run().candidates
        assert found.period_s == pytest.approx(period_s, abs=1e-5)
        assert found.dm == pytest.approx(dm, abs=5)
        assert found.snr == pytest.approx(snr, rel=0.05)


@pytest.mark.parametrize("cleaning", [None, Cleaning()], ids=["raw", "cleaned"])
@pytest.mark.parametrize("tscrunch", [1, 4])
def test_what_zero_dm_leaves_at_dm_0_is_not_searched(cleaning, tscrunch):
    """Of a file in which the sum over the channels was taken away: steps of rounded baselines have periods."""
    rng = np.random.default_rng(1)
    n = 32768
    data = rng.normal(100, 10, (64, n)) + 25 * (np.arange(n) % 700 < 20)
    data += 100 - data.mean(0)
    spectra = Spectra(
        np.rint(data).clip(0, 255).astype(np.uint8), 1220 + 300 / 64 * (np.arange(64) + 0.5), 1e-3
    )
    stream = ArrayStream(spectra, Path("a"), "memory")
    source = Source(stream, 5.0, Preparation(), cleaning, tscrunch=tscrunch)
    dms = np.array([0.0, 20.0])
    series = source.series(dms, source.sweep(dms))
    assert not series[0].any()
    assert series[1].std() > 0
