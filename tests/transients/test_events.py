"""Detections gathered into pulses: the Crab as AMBER saw it, where every pulse is known by its phase."""

import numpy as np
import pytest

from mwaconvert.spectra.dispersion import K_DM
from mwaconvert.transients import open
from mwaconvert.transients.events import pulses

BAND = (1220.0, 1520.0)
PERIOD = 33.76385e-3  # s
ACROSS = K_DM * (1220.0**-2 - 1520.0**-2)


def table(rows) -> np.ndarray:
    out = np.empty(len(rows), [(name, "f8") for name in ("dm", "time_s", "snr", "width_s")])
    for name, column in zip(out.dtype.names, np.asarray(rows, float).reshape(-1, 4).T, strict=True):
        out[name] = column
    return out


@pytest.fixture(scope="module")
def crab(darc) -> np.ndarray:
    x = np.loadtxt(darc / "amber" / "CB00_step1.trigger")
    width = x[:, 3] * 81.92e-6
    return table(np.stack([x[:, 7], x[:, 5] + width / 2, x[:, 9], width], axis=1))


def number(time_s, phase):
    return np.round(np.asarray(time_s) / PERIOD - phase)


def on_phase(time_s, phase):
    return abs((np.asarray(time_s) / PERIOD - phase + 0.5) % 1 - 0.5) < 0.025


@pytest.mark.parametrize(("dms", "width", "most"), [((46.8, 66.8), 8.2e-3, 120), ((0, 200), 1.0, 500)])
def test_every_pulse_of_the_crab_is_an_event(crab, dms, width, most):
    near = (crab["dm"] >= 46.8) & (crab["dm"] <= 66.8) & (crab["width_s"] <= 8.2e-3)
    best = crab[(crab["dm"] >= 56) & (crab["dm"] <= 57.6) & (crab["width_s"] <= 0.9e-3)]
    phase = np.angle(np.exp(2j * np.pi * best["time_s"] / PERIOD).sum()) / (2 * np.pi)
    truth = crab["time_s"][near]
    wanted = set(number(truth[on_phase(truth, phase)], phase))
    assert len(wanted) == 110

    given = crab[(crab["dm"] >= dms[0]) & (crab["dm"] <= dms[1]) & (crab["width_s"] <= width)]
    events = pulses(given, BAND)
    assert sum(e.n_detections for e in events) == len(given)
    assert len(events) <= most
    times = np.array([e.time_s for e in events if 46.8 <= e.dm <= 66.8])
    assert wanted <= set(number(times[on_phase(times, phase)], phase))


def test_a_bow_tie_is_one_event():
    """What one pulse gives at other DMs: later below its own, earlier above, weaker and wider."""
    rows = []
    for off in np.linspace(-100, 100, 81):
        sweep = off * ACROSS
        width = np.hypot(1e-3, sweep)
        rows.append((500 + off, 3 - sweep / 2, 40 * (1e-3 / width) ** 0.5, width))
    events = pulses(table([r for r in rows if r[2] >= 7]), BAND)
    assert len(events) == 1
    assert (events[0].dm, events[0].snr) == (500, 40)
    # the range of times goes with the DM: the same ones at the strong one's DM are others
    others = pulses(
        table([(500, 3, 40, 1e-3), *((500, r[1], r[2], 1e-3) for r in rows if abs(r[1] - 3) > 0.01)]), BAND
    )
    assert len(others) > 10


def test_close_pulses_and_wide_disturbances():
    narrow, later = (500, 1.0, 12, 1e-3), (500, 1.01, 11, 1e-3)
    wide = (20, 1.0, 15, 80e-3)
    assert len(pulses(table([narrow, later]), BAND)) == 2
    assert len(pulses(table([narrow, wide, later]), BAND)) == 3
    assert pulses(table([]), BAND) == []
    shuffled = pulses(table([later, wide, narrow]), BAND)
    assert [e.snr for e in shuffled] == [15, 12, 11]


def test_a_pulse_in_part_of_the_band_is_one_event():
    """It fades more slowly with DM than the whole band would, and noise makes a few maxima of it."""
    rng = np.random.default_rng(3)
    late, across = ACROSS / 3, ACROSS / 8  # of the middle of the pulse, and over it, for a unit of DM
    off = np.arange(-200, 200, 0.5)
    width = np.hypot(1e-3, off * across)
    snr = 14 * (1e-3 / width) ** 0.5 + rng.normal(0, 0.5, off.size)
    flank = np.stack([500 + off, 3 - off * late, snr, width], axis=1)
    flank = flank[flank[:, 2] >= 7]
    events = pulses(table(flank), BAND)
    assert len(events) == 1
    assert events[0].n_detections == len(flank)
    # beyond a gap, and where it stands out, there are others
    far = pulses(table(flank[abs(flank[:, 0] - 510) > 6]), BAND)
    assert len(far) == 2
    k = int(np.argmin(abs(flank[:, 0] - 520)))
    flank[k, 2] += 4
    assert len(pulses(table(flank), BAND)) == 2


def test_bursts_of_repeaters_are_one_event_each(filterbanks):
    """FRB 20121102A at Arecibo, in half of the band; the burst of 28.fil."""
    for name, low, high, dm, time_s in (
        ("tcand_2_dm_565.30000_snr_11.92560.fil", 400, 800, 565.3, 2.0),
        ("frb_dm475_28.fil", 400, 600, 475.284, 2.029),
    ):
        events = open(filterbanks / "frb" / name).search(low, high).candidates()
        assert len(events) == 1
        assert events[0].dm == pytest.approx(dm, abs=1)
        assert events[0].time_s == pytest.approx(time_s, abs=2e-3)
