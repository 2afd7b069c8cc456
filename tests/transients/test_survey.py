"""Searches of files in segments, and the table of what they find."""

from dataclasses import replace

import numpy as np
import pytest
from filterbanks import pulse, write_fil

from mwaconvert.errors import InputError
from mwaconvert.spectra.stream import ArrayStream
from mwaconvert.transients import Spectra, open, open_stream
from mwaconvert.transients.survey import plan_survey

FREQS = 1500 - np.arange(64.0) * 5
DT = 1e-3
WHEN = (0.8, 4.094, 4.5, 11.0)  # s; the second and third are at a border of segments of 4096
DMS = np.linspace(0, 400, 41)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    total = np.zeros((64, 16000))
    for k, t0 in enumerate(WHEN):
        total += pulse(FREQS, 16000, DT, 200.0, t0, 8e-3, 25.0, seed=k).astype(float) - 100
    data = np.clip(total / 2 + 100, 0, 255).astype(np.uint8)
    return write_fil(tmp_path_factory.mktemp("survey") / "a.fil", data, FREQS, DT)


def survey(stream, **options):
    return plan_survey(stream, 0, 400, dms=DMS, width_min_s=8e-3, segment=4096, cleaning=None, **options)


def test_pulses_at_borders_are_found_once(file):
    plan = survey(open_stream(file))
    assert [s.start for s in plan.segments] == [0, 4096, 8192, 12288][: len(plan.segments)]
    assert plan.segments[-1].stop == 16000 - plan.sweep
    found = plan.run()
    rows = sorted(found.candidates(), key=lambda row: row.time_s)
    assert [row.time_s for row in rows] == pytest.approx(WHEN, abs=8e-3)
    assert [row.dm for row in rows] == pytest.approx([200.0] * 4, abs=10)
    # a pulse at a border is in two segments, each with a noise level of its own: a median of variances of blocks, known
    # to 0.63 sqrt(2 / n) of n samples, 1.3 % of 5000; of two segments, half of which they share, to 1.3 %
    assert found.best.snr == pytest.approx(found.detections["snr"].max(), rel=0.02)


@pytest.mark.parametrize("gulp", [1000, 5000, 100_000])
@pytest.mark.parametrize("kind", ["bytes", "weights"])
def test_gulps_make_no_difference(file, kind, gulp):
    stream = open_stream(file)
    if kind == "weights":
        weights = np.ones((64, 16000), np.float32)
        weights[5, 6000:9000] = 0
        stream = ArrayStream(replace(stream.spectra(), weights=weights), file, "test")
    one, other = survey(stream).run(), survey(stream, gulp=gulp).run()
    np.testing.assert_array_equal(one.detections, other.detections)
    np.testing.assert_array_equal(one.snr, other.snr)


def test_a_short_file_is_searched_as_in_memory(file):
    stream = ArrayStream(open_stream(file).spectra(0, 5000), file, "test")
    got = plan_survey(stream, 0, 400, dms=DMS, width_min_s=8e-3, cleaning=None).run()
    want = stream.spectra().search(0, 400, dms=DMS, width_min_s=8e-3)
    np.testing.assert_array_equal(got.detections, want.detections)


def test_errors_are_those_of_many_pulses():
    """Means of many noisy pulses about the truth, in units of the stated error."""
    off = []
    for seed in range(40):
        data = pulse(FREQS, 1500, DT, 200.0, 0.3, 8e-3, 20.0, seed=seed)
        stream = ArrayStream(Spectra(data, FREQS, DT), "a", "test")
        found = stream.spectra().search(100, 300, dms=np.arange(100, 300, 1.0), loss=0)
        best = found.best
        off.append([(best.time_s - 0.3) / best.time_err_s, (best.dm - 200) / best.dm_err])
    rms = np.sqrt(np.mean(np.square(off), axis=0))
    assert (rms > 0.5).all()
    assert (rms < 1.7).all()


def test_what_is_refused(file):
    stream = open_stream(file)
    with pytest.raises(InputError, match="crosses the band"):
        plan_survey(stream, 0, 1e6, cleaning=None)
    with pytest.raises(InputError, match="cannot search DMs"):
        plan_survey(stream, 10, 5)
    with pytest.raises(InputError, match="gulp of 0"):
        plan_survey(stream, 0, 5, gulp=0)


def test_memory_is_stated(file):
    plan = plan_survey(open_stream(file), 0, 100)
    assert 1e6 < plan.memory_bytes < 300e6


@pytest.mark.parametrize("name", ["frb/frb_dm475_28.fil", "fil/28.fits"])
def test_known_burst(filterbanks, name):
    stream = open_stream(filterbanks / name)
    row = plan_survey(stream, 300, 700).run().candidates()[0]
    assert row.dm == pytest.approx(475.284, abs=3 * row.dm_err)
    assert row.time_s == pytest.approx(2.029, abs=3 * row.time_err_s)
    assert 15 < row.snr < 17.5
    assert row.mjd == pytest.approx(open(filterbanks / name).start_mjd + row.time_s / 86400, abs=1e-9)


def test_two_bursts_of_the_synthetic_apertif_file(filterbanks):
    """DM 50 at 0.12 s, 5 samples wide; DM 20 at 0.24 s, one sample; in 1536 channels."""
    path = filterbanks / "darc" / "synthetic" / "synthetic_CB00_00.fil"
    if not path.is_file():
        pytest.skip("not among the reference data")
    stream = open_stream(path)
    rows = plan_survey(stream, 0, 120, threshold=20.0).run().candidates()
    strong = {round(row.dm / 10) * 10: row for row in reversed(rows)}
    for dm, when, width in ((50, 0.12, 4.1e-4), (20, 0.24, 8.2e-5)):
        assert strong[dm].time_s == pytest.approx(when, abs=4 * width)
        assert strong[dm].dm == pytest.approx(dm, abs=0.5)
