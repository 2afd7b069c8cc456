"""What makes candidates doubtful."""

from pathlib import Path

import numpy as np
import pytest
from filterbanks import pulse

from mwaconvert.spectra.candidate import Candidate, Flag
from mwaconvert.spectra.dispersion import delay_per_dm
from mwaconvert.spectra.stream import ArrayStream
from mwaconvert.transients import Spectra, open_stream
from mwaconvert.transients.clean.cleaning import Cleaning
from mwaconvert.transients.judging.flags import Doubts
from mwaconvert.transients.survey import plan_survey

FREQS = 1220 + 300 / 128 * (np.arange(128) + 0.5)
DOUBTS = Doubts(np.arange(10, 301.0), FREQS, 1e-3, 0.256, 20.0)
ACROSS = float(delay_per_dm(FREQS, "top").max())


@pytest.mark.parametrize(
    ("dm", "time_s", "width_s", "flags"),
    [
        (150, 5, 4e-3, []),
        (300, 5, 4e-3, [Flag.DM_EDGE]),
        (10, 5, 4e-3, [Flag.DM_EDGE]),
        (20, 5, 19 * ACROSS, []),
        (20, 5, 21 * ACROSS, [Flag.NEAR_ZERO]),
        (300 - 1, 5, 0.256, [Flag.WIDEST]),
        (150, -0.01, 4e-3, [Flag.OUTSIDE]),
        (150, 20 - 0.9 * 150 * ACROSS, 4e-3, [Flag.OUTSIDE]),
        (299, 5, 1e-3, [Flag.TOO_NARROW]),
    ],
)
def test_flags(dm, time_s, width_s, flags):
    candidate = Candidate(time_s=time_s, dm=dm, snr=9.0, width_s=width_s)
    assert list(DOUBTS.of(candidate)) == flags
    assert all(flag.words for flag in flags)


def test_a_range_from_zero_has_no_lower_edge():
    doubts = Doubts(np.arange(0, 301.0), FREQS, 1e-3, 0.256)
    assert doubts.of(Candidate(time_s=5, dm=0.0, snr=9.0, width_s=1e-3)) == (Flag.NEAR_ZERO,)


def test_a_search_flags():
    data = pulse(FREQS, 8000, 256e-6, 200.0, 0.5, 3e-3, 25.0)
    found = Spectra(data, FREQS, 256e-6).search(0, 195)
    assert Flag.DM_EDGE in found.candidates()[0].flags
    assert found.best.flags == ()


def test_interference_of_a_real_file_is_gone_or_flagged(filterbanks):
    """The burst of 28.fil, and something of S/N 7.2 that is 324 ms long."""
    stream = open_stream(filterbanks / "frb" / "frb_dm475_28.fil")
    raw = plan_survey(stream, 0, 700, cleaning=None).run().candidates()
    assert any(c.width_s > 0.3 for c in raw)
    burst, *rest = plan_survey(stream, 0, 700, cleaning=Cleaning()).run().candidates()
    assert burst.dm == pytest.approx(475.284, abs=3 * burst.dm_err)
    assert burst.flags == ()
    assert burst.snr > 15
    assert all(c.flags for c in rest)


@pytest.mark.parametrize(("begin", "flagged"), [(3930, True), (4200, False)])
def test_a_pulse_that_impulses_were_taken_from(begin, flagged):
    """A pulse at DM 25 sweeps from sample 3906 to 4004, and is 12 samples wide."""
    data = pulse(FREQS, 16384, 256e-6, 25.0, 1.0, 3e-3, 25.0).astype(int)
    data[:, begin : begin + 40] += 6
    stream = ArrayStream(Spectra(data.astype(np.uint8), FREQS, 256e-6), Path("a"), "memory")
    search = plan_survey(stream, 0, 200, cleaning=Cleaning()).run()
    assert search.masked.n_impulses >= 1
    best = max(search.candidates(), key=lambda c: c.snr)
    assert best.dm == pytest.approx(25, abs=3)
    assert (Flag.IMPULSE in best.flags) == flagged
