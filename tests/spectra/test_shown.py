"""What a user sees who types the name of a thing: one line, and a table in a notebook. Examples run."""

import doctest
import importlib
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from mwaconvert.spectra.candidate import Candidate
from mwaconvert.spectra.spectra import Spectra
from mwaconvert.spectra.stream import ArrayStream, StreamPart
from mwaconvert.spectra.voltages import Voltages
from mwaconvert.transients.dedispersion import plan_dedispersion
from mwaconvert.transients.prepare import Preparation
from mwaconvert.transients.survey import plan_survey

SPECTRA = Spectra(
    np.random.default_rng(1).normal(0, 1, (16, 2000)),
    1200 + np.arange(16.0),
    1e-3,
    weights=np.ones(16, np.float32),
    source="<B0355+54>",
    start_mjd=58000.0,
)
STREAM = ArrayStream(SPECTRA, Path("x.fil"), "SIGPROC", {"telescope": "x" * 500})
SHOWN = [
    SPECTRA,
    STREAM,
    StreamPart(STREAM, 10, 20),
    Voltages(np.ones((1, 16, 64), np.complex64), SPECTRA.freq_mhz, 1e5),
    Candidate(time_s=1.0, dm=10.0, snr=8.0, width_samples=3.0, beam=2),
    SPECTRA.search(0, 10),
    plan_survey(STREAM, 0, 10),
    plan_dedispersion(STREAM, 10),
    Preparation(np.ones(16, bool), np.zeros(16), np.ones(16)),
]


@pytest.mark.parametrize("held", SHOWN, ids=lambda held: type(held).__name__)
def test_one_line(held):
    text = repr(held)
    assert text.startswith(f"<{type(held).__name__}")
    assert "\n" not in text
    assert len(text) < 200


@pytest.mark.parametrize(
    "held", [s for s in SHOWN if hasattr(s, "_repr_html_")], ids=lambda h: type(h).__name__
)
def test_tables_of_notebooks(held):
    table = ET.fromstring(held._repr_html_())
    assert table.tag == "table"
    assert all(row.tag == "tr" and len(row) >= 2 for row in table)


def test_what_a_candidate_does_not_know_is_not_shown():
    assert repr(SHOWN[4]) == "<Candidate: t = 1.00000 s, DM = 10.000, S/N = 8.00, width = 3 samples, beam 2>"


@pytest.mark.parametrize(
    "name",
    [
        "spectra.aliases",
        "spectra.candidate",
        "spectra.describe",
        "spectra.dispersion",
        "spectra.joined",
        "spectra.recording",
        "spectra.spectra",
        "spectra.stream",
        "spectra.voltages",
        "formats.spectra.candidate_lists",
        "formats.spectra.choices",
        "formats.spectra.sigproc",
        "formats.spectra.psrfits_writer",
        "formats.spectra.reader",
        "formats.spectra.sigproc_writer",
        "formats.spectra.wfall",
        "transients.trials.dm_plan",
        "transients.figures",
        "transients.search",
        "transients.survey",
        "transients.dedispersion",
        "transients.prepare",
    ],
)
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(importlib.import_module(f"mwaconvert.{name}"))
    assert found.attempted > 0
    assert found.failed == 0
