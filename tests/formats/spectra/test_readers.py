"""SIGPROC and PSRFITS readers: every number type, known files, damaged ones."""

import numpy as np
import pytest
from astropy.io import fits
from filterbanks import header, write_fil
from hypothesis import given
from hypothesis import strategies as st

from mwaconvert import transients
from mwaconvert.errors import Error, FormatError, InputError
from mwaconvert.formats.spectra.sigproc import read_header, read_series

FREQS = 1500 - np.arange(16.0)


def numbers(dtype: str) -> np.ndarray:
    return np.random.default_rng(3).normal(60, 20, (16, 70)).astype(dtype)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("descending", [True, False])
def test_both_band_orders(tmp_path, dtype, descending):
    freq_mhz = FREQS if descending else FREQS[::-1]
    data = numbers(dtype)
    read = transients.open(write_fil(tmp_path / "a.fil", data, freq_mhz, 1e-3, nsamples=70))
    assert read.data.dtype == (np.uint8 if dtype == "u1" else np.float32)
    np.testing.assert_array_equal(read.data, data[::-1] if descending else data)
    np.testing.assert_array_equal(read.freq_mhz, FREQS[::-1])
    assert (read.dt_s, read.start_mjd, read.source, read.notes) == (1e-3, 58000.0, "test", ())


def test_signed_bytes(tmp_path):
    data = numbers("f4").astype(np.int8) - 60
    path = write_fil(tmp_path / "a.fil", data.view(np.uint8), FREQS, 1e-3, signed=b"\1")
    np.testing.assert_array_equal(transients.open(path).data, data[::-1])


def test_two_ifs_are_summed_of_four_the_first_is_taken(tmp_path):
    data = numbers("u1")
    both = np.concatenate([data, data // 2])
    path = write_fil(tmp_path / "a.fil", both, FREQS, 1e-3, nchans=16, nifs=2)
    np.testing.assert_array_equal(transients.open(path).data, (data.astype("f4") + data // 2)[::-1])
    path = write_fil(tmp_path / "b.fil", np.concatenate([both, both]), FREQS, 1e-3, nchans=16, nifs=4)
    np.testing.assert_array_equal(transients.open(path).data, data[::-1])


def test_table_of_frequencies(tmp_path):
    uneven = sorted((1400 + np.arange(16) ** 1.5).tolist(), reverse=True)
    path = write_fil(tmp_path / "a.fil", numbers("u1"), FREQS, 1e-3, table=uneven)
    np.testing.assert_array_equal(transients.open(path).freq_mhz, uneven[::-1])


def test_what_was_left_out_is_noted(tmp_path):
    data = numbers("u1")
    path = write_fil(tmp_path / "a.fil", data, FREQS, 1e-3)
    path.write_bytes(path.read_bytes()[:-3])
    read = transients.open(path)
    assert read.n_times == 69
    assert "13 of 16 bytes" in read.notes[0]


BAD = {
    "nchans": {"nchans": 0},
    "nchans = 536870912": {"nchans": 1 << 29},
    "nbits": {"nbits": 7},
    "nifs": {"nifs": -1},
    "tsamp": {"tsamp": -1.0},
    "tsamp = nan": {"tsamp": float("nan")},
    "positive frequencies": {"foff": 0.0},
    "fch1": {"fch1": 3.0},
    "table of 2": {"table": [1400.0, 1300.0]},
    "whole number of bytes": {"nbits": 1, "nchans": 15},
}


@pytest.mark.parametrize("message", BAD)
def test_bad_headers(tmp_path, message):
    path = write_fil(tmp_path / "a.fil", numbers("u1"), FREQS, 1e-3, **BAD[message])
    with pytest.raises(FormatError, match=message) as error:
        transients.open(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("missing", ["nchans", "nbits", "tsamp", "fch1", "foff"])
def test_missing_keywords(tmp_path, missing):
    keys = {"nchans": 4, "nbits": 8, "tsamp": 1e-3, "fch1": 1400.0, "foff": -1.0}
    del keys[missing]
    (tmp_path / "a.fil").write_bytes(header(**keys) + bytes(400))
    with pytest.raises(FormatError, match=f"no {missing}"):
        transients.open(tmp_path / "a.fil")


def test_not_a_filterbank(tmp_path):
    path = tmp_path / "a.fil"
    with pytest.raises(InputError, match="no such file"):
        transients.open(path)
    for content, message in [(b"", "an empty file"), (b"\x93NUMPY and more to read", "NUMPY")]:
        path.write_bytes(content)
        with pytest.raises(FormatError, match=message):
            transients.open(path)
    path.write_bytes(header(nchans=4, nbits=8, tsamp=1e-3, fch1=1400.0, foff=-1.0))
    with pytest.raises(FormatError, match="no spectrum"):
        transients.open(path)


GOOD = header(nchans=4, nbits=8, nifs=1, tsamp=1e-3, fch1=1400.0, foff=-1.0, source_name="x") + bytes(40)


@given(cut=st.integers(0, len(GOOD)), at=st.integers(0, len(GOOD) - 1), value=st.integers(0, 255))
def test_damaged_headers_raise_our_errors(tmp_path_factory, cut, at, value):
    path = tmp_path_factory.getbasetemp() / "damaged.fil"
    damaged = bytearray(GOOD)
    damaged[at] = value
    path.write_bytes(bytes(damaged[:cut]))
    try:
        read = transients.open(path)
    except Error:
        return
    assert read.n_times >= 1


def test_series(tmp_path):
    values = np.arange(50, dtype="f4")
    path = tmp_path / "a.tim"
    path.write_bytes(header(data_type=2, nbits=32, tsamp=1e-3, refdm=12.5) + values.tobytes())
    head, read = read_series(path)
    np.testing.assert_array_equal(read, values)
    assert head.values["refdm"] == 12.5


def test_parkes_bits_agree(filterbanks):
    """The same noise at 1, 2, 4 and 8 bits: coarser numbers follow from finer ones."""
    fil = filterbanks / "fil"
    one, two, four, eight = (
        transients.open(fil / name).data
        for name in ("parkes_1bit.fil", "parkes_2bit.fil", "parkes_4bit.fil", "parkes_8bit_1.fil")
    )
    assert one.shape == two.shape == four.shape == eight.shape == (832, 4096)
    for coarse, fine in ((one, two), (two, four), (four, eight)):
        assert (coarse.min(), coarse.max() + 1) in ((0, 2), (0, 4), (0, 16))
        assert np.corrcoef(coarse[::50].ravel(), fine[::50].ravel())[0, 1] > 0.75


def test_psrfits_is_the_filterbank(filterbanks):
    fil = transients.open(filterbanks / "frb" / "frb_dm475_28.fil")
    sf = transients.open(filterbanks / "fil" / "28.fits")
    np.testing.assert_array_equal(sf.data[:, : fil.n_times], fil.data)
    np.testing.assert_array_equal(sf.freq_mhz, fil.freq_mhz)
    assert (sf.dt_s, sf.source) == (fil.dt_s, fil.source)
    assert sf.start_mjd == pytest.approx(fil.start_mjd, abs=1e-9)


def test_psrfits_of_four_bits(filterbanks):
    path = filterbanks / "fil" / "parkes_4bit.sf"
    read = transients.open(path)
    with fits.open(path) as hdus:
        row = hdus["SUBINT"].data[1]
        nibbles = np.asarray(row["DATA"]).view(np.uint8).reshape(2048, 4, 208)
        values = np.stack([nibbles >> 4, nibbles & 15], axis=-1).reshape(2048, 4, 416).astype(float) - 7.5
        scaled = values * row["DAT_SCL"].reshape(4, 416) + row["DAT_OFFS"].reshape(4, 416)
    np.testing.assert_allclose(read.data[::-1, 2048:].T, scaled[:, 0] + scaled[:, 1], rtol=1e-5)


def test_psrfits_of_four_polarisations(filterbanks):
    path = filterbanks / "fil" / "test_4pol.fits"
    with fits.open(path) as hdus:
        stokes = hdus["SUBINT"].data["DATA"][0][:, 0]
    np.testing.assert_array_equal(transients.open(path).data, stokes[:, ::-1].T)


def test_fits_that_is_not_search_mode(tmp_path):
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(np.zeros(3)).writeto(path)
    with pytest.raises(FormatError, match="SUBINT"):
        transients.open(path)


def write_psrfits(path, offs_sub, weight=1.0, **keys):
    columns = [
        fits.Column("OFFS_SUB", "1D", array=offs_sub),
        fits.Column("DAT_FREQ", "4D", array=np.tile(1400.0 - np.arange(4), (2, 1))),
        fits.Column("DAT_WTS", "4E", array=np.tile([1, weight, 1, 1], (2, 1))),
        fits.Column("DATA", "40B", array=np.arange(80, dtype=np.uint8).reshape(2, 40)),
    ]
    table = fits.BinTableHDU.from_columns(columns, name="SUBINT")
    table.header.update({"NCHAN": 4, "NPOL": 1, "NBITS": 8, "NSBLK": 10, "TBIN": 0.5} | keys)
    primary = fits.PrimaryHDU()
    primary.header["OBS_MODE"] = "SEARCH"
    fits.HDUList([primary, table]).writeto(path)
    return path


def test_psrfits_gaps_and_weights(tmp_path):
    read = transients.open(write_psrfits(tmp_path / "a.sf", [2.5, 12.5], weight=0.0))
    assert read.data.shape == (4, 30)
    want = np.zeros((4, 30))
    want[:, :10] = want[:, 20:] = 1
    want[2] = 0  # second channel of the file
    np.testing.assert_array_equal(read.weights, want)
    np.testing.assert_array_equal(read.data[3, 20:], np.arange(40, 80, 4))
    assert "10 samples are missing" in read.notes[0]


@pytest.mark.parametrize(
    ("keys", "message"), [({"NSBLK": 11}, "a row of DATA"), ({"NBITS": 5}, "NBITS"), ({"NCHAN": 0}, "NCHAN")]
)
def test_bad_psrfits(tmp_path, keys, message):
    with pytest.raises(FormatError, match=message):
        transients.open(write_psrfits(tmp_path / "a.sf", [2.5, 7.5], **keys))


def test_header_of_a_real_file(filterbanks):
    head = read_header(filterbanks / "frb" / "frb_dm475_28.fil")
    assert (head.nchans, head.nbits, head.values["fch1"], head.values["foff"]) == (336, 8, 1465.0, -1.0)
