"""Names of the last release still work, and say what they are called now."""

from pathlib import Path

import numpy as np
import pytest

from mwaconvert.formats.spectra.sigproc_writer import FilterbankWriter
from mwaconvert.spectra.spectra import Spectra
from mwaconvert.spectra.stream import ArrayStream
from mwaconvert.spectra.voltages import Voltages
from mwaconvert.transients.dedispersion import plan_dedispersion
from mwaconvert.transients.survey import plan_survey
from mwaconvert.transients.trials.dm_plan import plan_dms

FREQ_MHZ, DT_S = 1200 + np.arange(8.0), 1e-3
SPECTRA = Spectra(np.random.default_rng(1).normal(0, 1, (8, 600)), FREQ_MHZ, DT_S)
STREAM = ArrayStream(SPECTRA, Path("x"), "memory")
VOLTAGES = Voltages(np.ones((1, 8, 64), np.complex64), FREQ_MHZ, 1e5)

ATTRIBUTES = [
    (SPECTRA, "nchan", "n_chan"),
    (SPECTRA, "nsamp", "n_times"),
    (SPECTRA, "freqs", "freq_mhz"),
    (SPECTRA, "dt", "dt_s"),
    (SPECTRA, "df", "df_mhz"),
    (STREAM, "nchan", "n_chan"),
    (STREAM, "nsamp", "n_times"),
    (STREAM, "freqs", "freq_mhz"),
    (STREAM, "dt", "dt_s"),
    (STREAM, "df", "df_mhz"),
    (VOLTAGES, "freqs", "freq_mhz"),
    (VOLTAGES, "nsamp", "n_times"),
    (plan_dedispersion(STREAM, 1.0), "nsub", "n_sub"),
    (plan_dedispersion(STREAM, 1.0), "nthreads", "threads"),
]


@pytest.mark.parametrize(("held", "old", "new"), ATTRIBUTES)
def test_attributes(held, old, new):
    with pytest.warns(DeprecationWarning, match=f"{type(held).__name__}.{old} is now {new}") as caught:
        found = getattr(held, old)
    assert found is getattr(held, new) or found == getattr(held, new)
    assert caught[0].filename == __file__  # it points at who uses the old name


def test_keywords(tmp_path):
    """Each call by old names does what the call by new ones does."""
    with pytest.warns(DeprecationWarning, match="Spectra.__init__: freqs is now freq_mhz"):
        made = Spectra(SPECTRA.data, freqs=FREQ_MHZ, dt_s=DT_S)  # type: ignore[call-arg]
    np.testing.assert_array_equal(made.freq_mhz, FREQ_MHZ)
    with pytest.warns(DeprecationWarning, match="subband: nsub is now n_sub"):
        assert SPECTRA.subband(nsub=4).n_chan == 4  # type: ignore[call-arg]
    with pytest.warns(DeprecationWarning, match="series: nthreads is now threads"):
        series = SPECTRA.series([0.0], nthreads=1)  # type: ignore[call-arg]
    np.testing.assert_array_equal(series, SPECTRA.series([0.0], threads=1))
    with pytest.warns(DeprecationWarning, match="search: nthreads is now threads"):
        found = SPECTRA.search(0, 10, nthreads=1)  # type: ignore[call-arg]
    np.testing.assert_array_equal(found.snr, SPECTRA.search(0, 10).snr)
    with pytest.warns(DeprecationWarning, match="plan_survey: nthreads is now threads"):
        assert plan_survey(STREAM, 0, 10, nthreads=1).options["threads"] == 1
    with pytest.warns(DeprecationWarning, match="plan_dedispersion: nsub is now n_sub"):
        assert plan_dedispersion(STREAM, 1.0, nsub=4).n_sub == 4  # type: ignore[call-arg]
    with pytest.warns(DeprecationWarning, match="plan_dms: freqs is now freq_mhz"):
        assert plan_dms(freqs=FREQ_MHZ, dt_s=DT_S, dm_min=0, dm_max=10, width_s=DT_S)  # type: ignore[call-arg]
    with (
        pytest.warns(DeprecationWarning, match="dt is now dt_s"),
        FilterbankWriter(tmp_path / "a.fil", FREQ_MHZ, dt=DT_S, nbits=8) as writer,  # type: ignore[call-arg]
    ):
        writer.write(np.zeros((8, 2)))


def test_an_old_and_a_new_name_together_are_refused():
    with pytest.raises(TypeError, match="n_sub are the same"):
        SPECTRA.subband(nsub=4, n_sub=4)  # type: ignore[call-arg]
