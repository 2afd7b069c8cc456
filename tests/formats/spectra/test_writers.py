"""What is written reads back: SIGPROC of all numbers of bits, PRESTO, waterfalls, lists of candidates."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.table import QTable
from filterbanks import pulse

from mwaconvert.errors import FormatError, InputError
from mwaconvert.formats.spectra import candidate_lists
from mwaconvert.formats.spectra.candidate_lists import csv_text, list_text, read_list, write_candidates
from mwaconvert.formats.spectra.fitburst import read_parameters, write_fitburst
from mwaconvert.formats.spectra.presto import SeriesInfo, read_info, read_series, write_series
from mwaconvert.formats.spectra.sigproc import read_header
from mwaconvert.formats.spectra.sigproc import read_series as read_tim
from mwaconvert.formats.spectra.sigproc_writer import FilterbankWriter
from mwaconvert.formats.spectra.wfall import write_wfall
from mwaconvert.spectra.candidate import Candidate, Flag
from mwaconvert.spectra.stream import ArrayStream
from mwaconvert.transients import Spectra, candidates, open, open_stream

FREQS = 400 + np.arange(16.0)
DT = 1e-3


def write(
    path: Path, data: np.ndarray, nbits: int, freq_mhz: np.ndarray = FREQS, **options
) -> FilterbankWriter:
    with FilterbankWriter(path, freq_mhz, DT, nbits, **options) as writer:
        writer.write(data[:, :30])
        writer.write(data[:, 30:])
    return writer


@pytest.mark.parametrize("nbits", [1, 2, 4, 8, 16, 32])
def test_filterbank_of_any_bits(tmp_path, nbits):
    rng = np.random.default_rng(1)
    data = rng.integers(0, 1 << min(nbits, 16), (16, 70)).astype(np.uint8 if nbits <= 8 else np.float32)
    if nbits == 32:
        data -= np.float32(0.25)
    head = {"telescope_id": 7, "src_raj": 122637.6, "az_start": 1.5, "nbits": 99, "rubbish": 3}
    writer = write(
        tmp_path / "a.fil",
        data.astype(np.uint8 if nbits <= 8 else np.float32),
        nbits,
        start_mjd=58000.5,
        source="x",
        header=head,
    )
    read = open_stream(tmp_path / "a.fil")
    np.testing.assert_array_equal(read.spectra().data, data)
    np.testing.assert_array_equal(read.freq_mhz, FREQS)
    assert (read.dt_s, read.start_mjd, read.source, read.descending) == (DT, 58000.5, "x", True)
    assert (read.fields["telescope_id"], read.fields["src_raj"], read.fields["nbits"]) == (7, 122637.6, nbits)
    assert writer.clipped == 0


def test_what_does_not_fit_is_clipped_and_counted(tmp_path):
    data = np.full((16, 60), 100.0)
    data[3, :4] = [-5, 255.4, 256, np.nan]
    assert write(tmp_path / "a.fil", data, 8).clipped == 2
    np.testing.assert_array_equal(open(tmp_path / "a.fil").data[3, :5], [0, 255, 255, 0, 100])


def test_uneven_channels_are_a_table(tmp_path):
    freq_mhz = np.sort(400 + np.arange(16) ** 1.4)
    write(tmp_path / "a.fil", np.zeros((16, 50), np.uint8), 8, freq_mhz)
    np.testing.assert_array_equal(open(tmp_path / "a.fil").freq_mhz, freq_mhz)


def test_writer_refuses_and_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match="7 bits"):
        FilterbankWriter(tmp_path / "a.fil", FREQS, DT, 7)
    with pytest.raises(InputError, match="15 channels of 1 bits"):
        FilterbankWriter(tmp_path / "a.fil", FREQS[:15], DT, 1)
    with pytest.raises(ZeroDivisionError), FilterbankWriter(tmp_path / "a.fil", FREQS, DT, 8):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_series(tmp_path):
    values = np.arange(50, dtype=np.float32)[None]
    write(tmp_path / "a.tim", values, 32, FREQS[-1:], series=True, dm=12.5)
    head, read = read_tim(tmp_path / "a.tim")
    np.testing.assert_array_equal(read, values[0])
    assert (head.values["refdm"], head.freq_mhz[0]) == (12.5, 415.0)
    stream = open_stream(tmp_path / "a.tim")
    assert (stream.dm, stream.n_chan) == (12.5, 1)


INFO = SeriesInfo(DT, 0, 112.38, 1200.5, 0.25, 1024, 55000.25, "J1807-0847", notes="K = 4149.377593361")


def test_presto(tmp_path):
    path = tmp_path / "a.dat"
    parts = [np.arange(7, dtype=np.float32), np.arange(5, dtype=np.float32)]
    assert write_series(path, INFO, parts) == 12
    info, read = read_series(path)
    np.testing.assert_array_equal(read, np.concatenate(parts))
    assert info == replace(INFO, n_times=12, telescope="unknown")
    spectra = open(path)
    np.testing.assert_array_equal(spectra.data[0], read)
    assert (spectra.dm, spectra.dt_s, spectra.start_mjd) == (112.38, DT, 55000.25)
    assert spectra.freq_mhz[0] == pytest.approx(1200.5 + 0.25 * 1023)
    path.write_bytes(path.read_bytes()[:-2])
    assert open(path).notes == ("the .inf file promises 12 values, the .dat file holds 11: all were read",)
    path.unlink()
    with pytest.raises(FormatError, match="no such file"):
        open(tmp_path / "a.inf")


OTHER_SPELLING = """ Data file name without suffix          =  x
 Telescope used                         =  GBT
 Object being observed                  =  Mystery = PSR
 Epoch of observation (MJD)             =  55000.5
 Barycentered?           (1 yes, 0 no)  =  1
 Number of bins in the time series      =  4
 Width of each time series bin (sec)    =  6.4e-05
 Any breaks in the data? (1 yes, 0 no)  =  1
 On/Off bin pair #  1                   =  0          , 2
 On/Off bin pair #  2                   =  3          , 3
 Dispersion measure (cm-3 pc)           =  30
 Central freq of low channel (MHz)      =  1300
 Channel bandwidth (MHz)                =  1
"""


def test_the_other_spelling_of_inf(tmp_path):
    path = tmp_path / "x.inf"
    path.write_text(OTHER_SPELLING)
    info = read_info(path)
    assert (info.source, info.barycentric, info.low_mhz, info.n_chan) == ("Mystery = PSR", True, 1300, 1)
    assert info.on == ((0, 2), (3, 3))
    for line, other, message in [
        ("6.4e-05", "-1", "-1.0 s"),
        ("=  4", "= many", "expected a number, found 'many'"),
        ("0          , 2", "zero", "on/off pair"),
        (" Width of each time", "Breadth", "expected a line 'Width"),
    ]:
        path.write_text(OTHER_SPELLING.replace(line, other))
        with pytest.raises(FormatError, match=message):
            read_info(path)


@pytest.fixture
def dedispersed() -> Spectra:
    spectra = Spectra(pulse(FREQS, 500, DT, 5.0, 0.2, 5e-3, 30.0), FREQS, DT, start_mjd=58000.0, source="s")
    return spectra.masked([3]).scale().dedisperse(5.0)


def test_wfall(tmp_path, dedispersed):
    path = tmp_path / "a.npz"
    write_wfall(path, dedispersed)
    with np.load(path) as file:
        assert {"intensity", "dt", "df", "dm", "fbottom"} <= set(file.files)
        assert [file[name].shape for name in ("dt", "df", "dm", "fbottom")] == [()] * 4
        assert (file["df"], file["fbottom"], file["dm"], file["k_dm"]) == (1.0, 399.5, 5.0, 1 / 2.41e-4)
        np.testing.assert_array_equal(file["intensity"] == 0, dedispersed.weights == 0)
    read = open(path)
    used = dedispersed.weights > 0
    np.testing.assert_array_equal(read.data[used], dedispersed.data[used])
    np.testing.assert_array_equal(read.weights, dedispersed.weights)
    assert (read.dm, read.dt_s, read.start_mjd, read.source) == (5.0, DT, 58000.0, "s")


def test_other_waterfalls(tmp_path):
    data = np.random.default_rng(1).normal(0, 1, (64, 40)).astype(np.float32)
    data[5] = 0
    data[6, :7] = np.nan
    path = tmp_path / "a.npz"
    np.savez(path, intensity=data, dt=DT, df=400 / 64, dm=87.0, fbottom=400.1953125)  # of get_wfall.py
    read = open(path)
    assert (read.fbottom, read.ftop) == pytest.approx((400.1953125, 800.1953125))
    assert read.weights[5].max() == read.weights[6, :7].max() == 0
    assert read.weights.sum() == 64 * 40 - 47
    np.savez(path, wfall=data, dt_s=DT, center_freq_mhz=600.1953125)  # of a data release
    read = open(path)
    assert (read.fbottom, read.ftop) == pytest.approx((400.1953125, 800.1953125))
    np.savez(path, colours=data)
    with pytest.raises(FormatError, match="found colours"):
        open(path)
    np.savez(path, intensity=data, dt=DT, df=1.0, dm=1.0)
    with pytest.raises(FormatError, match="no array 'fbottom'"):
        open(path)
    np.savez(path, intensity=data[0], dt=DT, df=1.0, dm=1.0, fbottom=400.0)
    with pytest.raises(FormatError, match=r"expected \(channels, samples\)"):
        open(path)


def test_fitburst(tmp_path, dedispersed):
    path = tmp_path / "a.npz"
    write_fitburst(path, dedispersed, arrival_s=0.2, width_s=5e-3, dm=5.0)
    read = open(path)
    np.testing.assert_array_equal(read.data, dedispersed.data)
    np.testing.assert_array_equal(read.freq_mhz, dedispersed.freq_mhz)
    assert (read.dm, read.weights[3], read.weights.sum()) == (5.0, 0, 15)
    assert read_parameters(path)["arrival_time"] == [0.2]


def test_a_pickle_runs_nothing(tmp_path):
    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "harm",)

    path = tmp_path / "a.npz"
    np.savez(path, data_full=np.ones((4, 4)), metadata=np.array(Evil(), object))
    with pytest.raises(FormatError, match="is not data"):
        open(path)
    assert not (tmp_path / "harm").exists()


@pytest.fixture
def found():
    spectra = Spectra(pulse(FREQS, 2000, DT, 5.0, 0.5, 5e-3, 30.0), FREQS, DT)
    stream = ArrayStream(spectra, Path("a.fil"), "test")
    search = spectra.search(0, 10, dms=np.arange(0, 10, 0.5))
    return search.candidates(), search.facts(stream, 7.0)


@pytest.mark.parametrize("suffix", [".singlepulse", ".cand", ".trigger"])
def test_lists(tmp_path, found, suffix):
    rows, facts = found
    path = tmp_path / f"a{suffix}"
    path.write_text(list_text(path, rows, facts))
    read = read_list(path)
    assert len(read) == len(rows) > 0
    best = max(read, key=lambda c: c.snr)
    early = rows[0].width_s / 2 if suffix == ".trigger" else 0
    assert best.time_s == pytest.approx(rows[0].time_s - early, abs=1e-5)
    assert (best.dm, best.snr) == pytest.approx((rows[0].dm, rows[0].snr), abs=0.01)
    assert best.width_samples == pytest.approx(rows[0].width_s / DT)
    assert math.isnan(best.width_s)
    best = max(read_list(path, DT), key=lambda c: c.snr)  # what a sample takes makes seconds of samples
    assert best.time_s == pytest.approx(rows[0].time_s, abs=1e-5)
    assert best.width_s == pytest.approx(rows[0].width_s)


def test_our_table_is_read_as_it_was_written(tmp_path, found):
    rows, facts = found
    path = tmp_path / "A.CSV"
    write_candidates(path, rows, facts)
    read = read_list(path)
    assert csv_text(read, facts) == path.read_text()
    assert (read[0].n_detections, read[0].mjd) == (rows[0].n_detections, None)
    assert read[0].dm_err == pytest.approx(rows[0].dm_err, abs=1e-4)
    path.write_text(path.read_text() + "1,2,3\n")
    with pytest.raises(FormatError, match="expected 9 numbers"):
        read_list(path)


@pytest.mark.parametrize("suffix", [".json", ".ecsv"])
def test_tables_of_every_field_are_read_as_they_were_written(tmp_path, found, suffix):
    rows, facts = found
    rows = [
        replace(rows[0], mjd=59000.123456789012, beam=3, flags=(Flag.WIDEST, Flag.DM_EDGE)),
        *rows[1:],
        replace(rows[0], dm_err=math.nan),
    ]
    path = tmp_path / f"a{suffix}"
    for _ in range(2):  # it may replace its own
        write_candidates(path, rows, facts, overwrite=True)
    read = read_list(path)
    assert list(map(repr, read)) == list(map(repr, rows))
    assert (read[0].mjd, read[0].beam, read[1:][0].mjd) == (59000.123456789012, 3, None)
    assert math.isnan(read[-1].dm_err)
    assert (read[0].flags, read[-1].flags) == ((Flag.WIDEST, Flag.DM_EDGE), rows[-1].flags)
    assert isinstance(read[0].flags[0], Flag)
    other = tmp_path / f"other{suffix}"
    other.write_text("something else")
    with pytest.raises(InputError, match="is not"):
        write_candidates(other, rows, facts, overwrite=True)


def test_ecsv_is_a_table_of_astropy(tmp_path, found):
    rows, facts = found
    path = tmp_path / "a.ecsv"
    write_candidates(path, rows, facts)
    table = QTable.read(path)
    assert table.meta["program"].startswith("mwaconvert")
    assert table.meta["k_dm"].startswith("4149.37759")
    assert table["dm"].to_value("pc / cm3").tolist() == [c.dm for c in rows]
    one = rows[0].to_table()
    assert one["width_s"][0].to_value("ms") == pytest.approx(1e3 * rows[0].width_s)
    assert (len(one), np.isnan(one["mjd"][0].value)) == (1, True)
    json_path = tmp_path / "a.json"
    write_candidates(json_path, rows, facts)
    whole = json.loads(json_path.read_text())
    assert (whole["format"], whole["candidates"][0]["mjd"]) == ("mwaconvert candidates", None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ('{"format": "mwaconvert search"}', "expected JSON of the format 'mwaconvert candidates'"),
        (
            '{"format": "mwaconvert candidates", "candidates": [{"time_s": "x"}]}',
            "candidate 1: expected time_s, dm",
        ),
        ('{"format": "mwaconvert candidates", "candidates": [3]}', "candidate 1: expected time_s, dm"),
        ("# %ECSV 1.0\n# ---\nnonsense", "not a sound ECSV table"),
    ],
)
def test_damaged_tables(tmp_path, text, message):
    (tmp_path / "a").write_text(text)
    with pytest.raises(FormatError, match=message):
        read_list(tmp_path / "a")


def test_old_names_of_candidates(tmp_path, found):
    """Row, Listed and the functions about them are what they were, with a warning."""
    spectra = Spectra(pulse(FREQS, 2000, DT, 5.0, 0.5, 5e-3, 30.0), FREQS, DT, start_mjd=58000.0)
    stream, search = ArrayStream(spectra, Path("a.fil"), "test"), spectra.search(0, 10)
    with pytest.warns(DeprecationWarning, match="spectra.candidate.Candidate"):
        assert candidates.Row is Candidate
    with pytest.warns(DeprecationWarning, match="spectra.candidate.Candidate"):
        assert candidate_lists.Listed is Candidate
    with pytest.warns(DeprecationWarning, match=r"search\.candidates"):
        rows = candidates.candidate_rows(search, stream)
    assert rows == search.candidates()
    assert rows[0].mjd == 58000 + rows[0].time_s / 86400
    with pytest.warns(DeprecationWarning, match="candidate_lists"):
        candidates.write_candidates(tmp_path / "a.csv", rows, search, stream, 7.0)
    assert (tmp_path / "a.csv").read_text() == csv_text(rows, search.facts(stream, 7.0))


def test_lists_of_others(tmp_path, filterbanks):
    amber = filterbanks / "darc" / "amber"
    if not amber.is_dir():
        pytest.skip("not among the reference data")
    first = read_list(amber / "CB00_step1.trigger")
    assert len(first) == 2466
    assert (first[0].time_s, first[0].dm, first[0].snr, first[0].width_samples) == (
        0.0244941,
        56.6,
        18.4666,
        1,
    )
    assert read_list(amber / "CB00_step2.trigger") == []
    assert len(read_list(amber / "CB00_step3.trigger")) == 12


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no candidate"),
        ("# beam_id batch_id integration_step\n1 2 3\n", "its header names 3 columns"),
        ("12.0 3 four\n", "line 1: expected numbers"),
        ("12.0 3 4\n", "line 1: expected 9 or 14 or 15 numbers"),
        ("# DM Sigma Time Sample Downfact\n1 2 3 4 nan\n", "line 2"),
        ("\udcff", "not text"),
    ],
)
def test_damaged_lists(tmp_path, text, message):
    path = tmp_path / "a.cand"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(FormatError, match=message):
        read_list(path)


def test_table(found):
    rows, facts = found
    lines = csv_text(rows, facts).splitlines()
    head = next(k for k, line in enumerate(lines) if not line.startswith("#"))
    assert lines[head].startswith("time_s,time_err_s,dm,dm_err,snr,width_s,width_err_s,n_detections")
    assert any("k_dm: 4149.37759" in line for line in lines[:head])
    assert len(lines) - head - 1 == len(rows)


def test_header_of_what_we_write_is_complete(tmp_path):
    write(tmp_path / "a.fil", np.zeros((16, 60), np.uint8), 8, dm=30.0, rawdatafile="x" * 200)
    values = read_header(tmp_path / "a.fil").values
    assert {"nchans", "nbits", "nifs", "tsamp", "fch1", "foff", "tstart", "data_type"} <= values.keys()
    assert (len(values["rawdatafile"]), values["refdm"], values["foff"]) == (80, 30.0, -1.0)
    assert values["data_type"] == 6
    assert open_stream(tmp_path / "a.fil").dm == 30.0
