"""Pickles that are read without being run, and files that promise too much."""

import contextlib
import io
import pickle
import zipfile

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from mwaconvert.errors import FormatError
from mwaconvert.formats.spectra.plain_pickle import NotPlainError, read_plain
from mwaconvert.formats.spectra.reader import open, open_stream

PLAIN = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(allow_nan=False),
        st.text(),
        st.binary(),
    ),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner), st.tuples(inner, inner)),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(value=PLAIN, protocol=st.integers(0, 5))
def test_plain_values_come_back(value, protocol):
    assert read_plain(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "value",
    [
        np.float64(0.25), np.int32(-7), np.bool_(True), np.arange(6, dtype=">f4").reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.array([], np.int64), np.array(["a", "bc"]),
        {"bad_chans": np.array([3, 5]), "res_time": np.float32(1e-3), "list": [np.float64(1), [2, {"a": (1, 2, 3, 4)}]]},
    ],
)  # fmt: skip
def test_numbers_of_numpy_come_back(value, protocol):
    np.testing.assert_equal(read_plain(pickle.dumps(value, protocol)), value)


class Evil:
    def __reduce__(self):
        return exec, ("raise SystemExit('run')",)


@pytest.mark.parametrize(
    "raw",
    [
        pickle.dumps(Evil()),
        pickle.dumps(print),
        pickle.dumps({"a": [Evil()]}, 0),
        pickle.dumps(np.array([Evil(), None], object)),
        pickle.dumps(np.zeros(3, "M8[s]")),
        pickle.dumps({"a"}),
        b"cos\nsystem\n(S'true'\ntR.",
        b"(cnumpy._core.multiarray\n_reconstruct\n(I1\ntR.",
        # an array that states 2^40 bytes, and has one
        b"cnumpy._core.multiarray\n_reconstruct\n(I0\ntR(I1\n(I1099511627776\n"
        b"tcnumpy\ndtype\n(S'u1'\nI0\nI1\ntRI00\nC\x01atb.",
        b"cnumpy._core.numeric\n_frombuffer\n(C\x01acnumpy\ndtype\n(S'V1000000000'\ntR(I1\ntS'C'\ntR.",
        b"\x80\x04N", b"", b"garbage", b"\x80\x04e.", b"]N\x86R.", b"a.",
    ],
)  # fmt: skip
def test_nothing_is_run(raw):
    with pytest.raises(NotPlainError):
        read_plain(raw)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damage_ends_in_a_sentence(data):
    raw = bytearray(
        pickle.dumps(
            {"a": np.arange(4), "b": [1, 2.5, "text"], "c": np.float64(2)}, data.draw(st.integers(0, 5))
        )
    )
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(NotPlainError):
        read_plain(bytes(raw))


def fitburst(path, metadata: bytes):
    """A file of fitburst whose metadata are these bytes after the header of an array of one object."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|O", "fortran_order": False, "shape": ()})
    data = io.BytesIO()
    np.save(data, np.ones((4, 8), np.float32))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data_full.npy", data.getvalue())
        archive.writestr("metadata.npy", head.getvalue() + metadata)
        archive.writestr("burst_parameters.npy", head.getvalue() + pickle.dumps({"dm": [5.0]}))
    return path


def test_files_of_fitburst_are_not_unpickled(tmp_path):
    facts = {"freqs_bin0": 400.0, "res_freq": np.float64(1.0), "res_time": 1e-3, "bad_chans": np.array([2])}
    read = open(fitburst(tmp_path / "a.npz", pickle.dumps(np.array(facts, object))))
    assert read.freq_mhz.tolist() == [400.5, 401.5, 402.5, 403.5]
    assert read.weights.tolist() == [1, 1, 0, 1]
    with pytest.raises(FormatError, match=r"'metadata' cannot be read: builtins\.exec is not data"):
        open(fitburst(tmp_path / "b.npz", pickle.dumps(Evil())))
    with pytest.raises(FormatError, match="takes more than 1 MiB"):
        open(fitburst(tmp_path / "c.npz", bytes(1 << 24)))


# -- headers that promise too much


def psrfits(path, **cards):
    columns = [
        fits.Column("DATA", "64B", dim="(8,1,8)", array=np.zeros((2, 8, 1, 8), np.uint8)),
        fits.Column("DAT_FREQ", "8D", array=np.tile(1400.0 + np.arange(8), (2, 1))),
    ]
    table = fits.BinTableHDU.from_columns(columns, name="SUBINT")
    table.header.update(NCHAN=8, NPOL=1, NBITS=8, NSBLK=8, TBIN=1e-3)
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path)
    raw = path.read_bytes()
    for key, value in cards.items():
        at = raw.index(f"{key:<8}= ".encode(), 2880)
        raw = raw[:at] + f"{key:<8}= {value:>20}".encode().ljust(80) + raw[at + 80 :]
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize(
    ("cards", "sentence"),
    [
        ({"TFIELDS": 10**9}, "TFIELDS = 1000000000, expected 0 to 999"),
        ({"TFIELDS": -1}, "TFIELDS = -1"),
        ({"NAXIS": 10**9}, "NAXIS = 1000000000, expected 0 to 999"),
        ({"NAXIS2": 10**15}, "SUBINT"),
        ({"NAXIS2": 10**6}, "it is cut"),
        ({"NAXIS1": 10**15}, "SUBINT"),
        ({"NCHAN": 10**12}, "SUBINT"),
        ({"NSBLK": 10**15}, "SUBINT"),
        ({"TFORM1": "'99999999999B'"}, "SUBINT"),
    ],
)
def test_tables_that_promise_too_much(tmp_path, cards, sentence):
    assert open_stream(psrfits(tmp_path / "a.sf")).n_times == 16
    with pytest.raises(FormatError, match=sentence):
        open_stream(psrfits(tmp_path / "b.sf", **cards))


@pytest.mark.parametrize("words", [{2: 30 << 24 | 5}, {2: 0xFFFFFF}, {3: 1 << 31 | 31 << 26, 2: 7 << 24 | 5}])
def test_frames_of_vdif_that_promise_too_much(tmp_path, words):
    """Channels that a frame cannot hold, or a frame that the file does not hold."""
    pytest.importorskip("baseband")
    header = np.zeros(8, "<u4")
    for word, value in words.items():
        header[word] = value
    path = tmp_path / "a.vdif"
    length = int(header[2] & 0xFFFFFF) * 8
    path.write_bytes(header.tobytes() + bytes(min(length, 40) - 32) + header.tobytes() + bytes(8))
    with pytest.raises(FormatError, match="a\\.vdif"):
        open_stream(path, band_mhz=(100.0, 200.0))
