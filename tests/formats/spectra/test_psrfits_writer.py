"""PSRFITS that is written: our reader and astropy read what was given; references of dedispersed files."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from filterbanks import pulse

from mwaconvert import transients
from mwaconvert.errors import InputError
from mwaconvert.formats.spectra.psrfits_writer import SearchWriter
from mwaconvert.formats.spectra.reader import open_stream
from mwaconvert.formats.spectra.sigproc_writer import FilterbankWriter
from mwaconvert.spectra.recording import Frame, Recording
from mwaconvert.transients import products
from mwaconvert.transients.products import DedisperseRequest

FREQ_MHZ, DT_S = 1200.0 + 4 * np.arange(64), 1e-3
KNOWN = Recording(
    telescope="MeerKAT",
    backend="PTUSE",
    ra_deg=243.90925,
    dec_deg=-0.25,
    beam=3,
    n_beams=9,
    frame=Frame.BARYCENTRIC,
)


def write(path: Path, data: np.ndarray, n_bits: int, cut: int = 700, **facts) -> None:
    with SearchWriter(path, FREQ_MHZ, DT_S, n_bits, **facts) as writer:
        for first in range(0, data.shape[1], cut):
            writer.write(data[:, first : first + cut])


@pytest.mark.parametrize("n_bits", [1, 2, 4, 8])
@pytest.mark.parametrize("n", [5, 4096, 9001])
def test_whole_numbers_are_kept(tmp_path, n_bits, n):
    data = np.random.default_rng(n).integers(0, 1 << n_bits, (64, n)).astype(np.uint8)
    write(tmp_path / "a.sf", data, n_bits)
    read = transients.open(tmp_path / "a.sf")
    np.testing.assert_array_equal(read.data, data)
    assert (read.data.dtype, read.weights, read.notes) == (np.uint8, None, ())


@pytest.mark.parametrize(("n_bits", "error"), [(4, 1 / 30), (8, 1 / 510), (16, 1 / 131070), (32, 0)])
def test_numbers_of_any_size_are_scaled(tmp_path, n_bits, error):
    scale = 10.0 ** np.random.default_rng(1).uniform(-20, 20, (64, 1))
    data = (scale * np.random.default_rng(2).normal(3, 1, (64, 5000))).astype(np.float32)
    write(tmp_path / "a.sf", data, n_bits)
    read = transients.open(tmp_path / "a.sf").data
    extent = np.ptp(data, axis=1, keepdims=True)
    assert (np.abs(read - data) <= 1.01 * error * extent + 1e-6 * np.abs(data)).all()


def test_astropy_reads_it(tmp_path):
    data = np.random.default_rng(3).integers(0, 256, (64, 9001)).astype(np.uint8)
    write(
        tmp_path / "a.sf", data, 8, start_mjd=59000.25 + 0.5 / 86400, dm=12.5, source="J1234", recording=KNOWN
    )
    with fits.open(tmp_path / "a.sf") as hdus:
        hdus.verify("exception")
        primary, table = hdus[0].header, hdus["SUBINT"]
        n_row, n_block = table.header["NAXIS2"], table.header["NSBLK"]
        values = table.data["DATA"].reshape(n_row * n_block, 64)
        np.testing.assert_array_equal(values[:9001, ::-1].T, data)
        np.testing.assert_array_equal(table.data["DAT_FREQ"][-1], FREQ_MHZ[::-1])
        assert table.data["OFFS_SUB"] == pytest.approx((np.arange(n_row) + 0.5) * n_block * DT_S)
        assert (table.header["NSTOT"], table.header["POL_TYPE"], table.header["CHAN_BW"]) == (
            9001,
            "AA+BB",
            -4.0,
        )
        assert (primary["STT_IMJD"], primary["STT_SMJD"]) == (59000, 21600)
        assert primary["STT_OFFS"] == pytest.approx(0.5, abs=1e-5)
        assert (primary["RA"], primary["DEC"]) == ("16:15:38.2200", "-00:15:00.0000")
        assert (primary["TREFPOS"], primary["OBSFREQ"], primary["OBSBW"]) == ("BARYCENTER", 1326.0, -256.0)
    assert (tmp_path / "a.sf").stat().st_size % 2880 == 0
    stream = open_stream(tmp_path / "a.sf")
    assert (stream.dm, stream.source, stream.n_times) == (12.5, "J1234", 9001)
    assert stream.start_mjd == pytest.approx(59000.25 + 0.5 / 86400, abs=2e-10)
    said = stream.recording
    assert (said.telescope, said.backend, said.beam, said.n_beams, said.frame) == (
        "MeerKAT",
        "PTUSE",
        3,
        9,
        KNOWN.frame,
    )
    assert (said.ra_deg, said.dec_deg) == (pytest.approx(243.90925, abs=1e-9), -0.25)


def test_weights_are_those_of_rows(tmp_path):
    data, weights = np.ones((64, 8192), np.float32), np.ones((64, 8192), np.float32)
    weights[5, :2048] = 0
    weights[6] = 0
    with SearchWriter(tmp_path / "a.sf", FREQ_MHZ, DT_S, 8) as writer:
        writer.write(data, weights)
    read = transients.open(tmp_path / "a.sf").weights
    assert (read[5, 0], read[5, -1], read[6].max(), read[7].min()) == (0.5, 1, 0, 1)


def test_what_is_refused_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match="7 bits"):
        SearchWriter(tmp_path / "a.sf", FREQ_MHZ, DT_S, 7)
    with pytest.raises(InputError, match="15 channels of 1 bits"):
        SearchWriter(tmp_path / "a.sf", FREQ_MHZ[:15], DT_S, 1)
    with pytest.raises(ZeroDivisionError), SearchWriter(tmp_path / "a.sf", FREQ_MHZ, DT_S, 8):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


# -- dedispersed files at a reference of choice

DM, WHEN = 100.0, 0.5  # at the highest channel


@pytest.fixture
def burst(tmp_path) -> Path:
    path = tmp_path / "burst.fil"
    data = pulse(FREQ_MHZ, 2000, DT_S, DM, WHEN, 3e-3, 100.0)
    with FilterbankWriter(path, FREQ_MHZ, DT_S, 8, start_mjd=59000.0, source="burst") as writer:
        writer.write(data)
    return path


@pytest.mark.parametrize("suffix", [".fil", ".sf", ".h5", ".npz", ".tim", ".dat"])
@pytest.mark.parametrize("reference", ["top", "centre", "bottom", "infinity", 1300.0, 5000.0])
def test_a_pulse_is_when_it_passes_the_reference(tmp_path, burst, suffix, reference):
    out = tmp_path / f"out{suffix}"
    report = products.run(DedisperseRequest(path=burst, dm=DM, reference=reference, output=out))
    read = transients.open(out)
    at_mhz = {"top": FREQ_MHZ[-1], "centre": 1326.0, "bottom": 1200.0, "infinity": np.inf}.get(
        reference, reference
    )
    want = WHEN + DM / 2.41e-4 * (at_mhz**-2 - FREQ_MHZ[-1] ** -2)
    weights = 1 if read.weights is None else read.weights
    profile = (read.data.astype(float) * weights).sum(0) / np.maximum(
        np.broadcast_to(weights, read.data.shape).sum(0), 1
    )
    seen = (read.start_mjd - 59000) * 86400 + (np.argmax(profile) + 0.5) * DT_S
    assert seen == pytest.approx(want, abs=2.5e-3)
    assert read.dm == DM
    assert report.numbers["reference_mhz"] == pytest.approx(at_mhz)


def test_every_complete_sample_is_there_at_any_reference(tmp_path, burst):
    lengths = set()
    for reference in ("top", "centre", "bottom", "infinity"):
        out = tmp_path / f"{reference}.fil"
        products.run(DedisperseRequest(path=burst, dm=DM, reference=reference, output=out))
        lengths.add(transients.open(out).n_times)
    assert max(lengths) - min(lengths) <= 1  # delays are rounded


def test_a_reference_that_is_none(burst):
    with pytest.raises(InputError, match=r"`reference=middle`: .*top, bottom, centre, infinity"):
        products.run(DedisperseRequest(path=burst, dm=DM, reference="middle"))
