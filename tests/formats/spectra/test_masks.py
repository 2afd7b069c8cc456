"""Masks of rfifind and lists of channels: read, written, applied."""

import struct

import numpy as np
import pytest

from mwaconvert.errors import FormatError, InputError
from mwaconvert.formats.spectra.masks import read_mask, write_mask
from mwaconvert.spectra.mask import TimeMask
from mwaconvert.spectra.stream import ArrayStream
from mwaconvert.transients import Spectra

FREQS = 1300 + np.arange(16.0)


@pytest.fixture
def stream():
    return ArrayStream(
        Spectra(np.zeros((16, 1000), np.uint8), FREQS, 1e-3, start_mjd=59000.5), "a.fil", "test"
    )


def rfifind(channels, intervals, by_interval):
    """A mask by the layout of PRESTO's mask.c: 100 samples of 1 ms in an interval."""
    out = struct.pack("<6d", 10.0, 4.0, 59000.5, 0.1, 1300.0, 1.0) + struct.pack(
        "<3i", 16, len(by_interval), 100
    )
    for numbers in (channels, intervals, [len(x) for x in by_interval]):
        if (numbers is not by_interval and len(numbers) != len(by_interval)) or numbers in (
            channels,
            intervals,
        ):
            out += struct.pack("<i", len(numbers))
        out += struct.pack(f"<{len(numbers)}i", *numbers)
    for x in by_interval:
        if 0 < len(x) < 16:
            out += struct.pack(f"<{len(x)}i", *x)
    return out


def test_rfifind_is_read(tmp_path, stream):
    path = tmp_path / "a_rfifind.mask"
    path.write_bytes(rfifind([3], [1], [[3, 7], list(range(16)), [3], [3, 15]]))
    mask = read_mask(path, stream)
    want = np.zeros((16, 4), bool)
    want[3] = want[:, 1] = want[7, 0] = want[15, 3] = True
    np.testing.assert_array_equal(mask.bad, want)
    assert mask.block == 100


def test_what_is_written_is_read(tmp_path, stream):
    bad = np.random.default_rng(0).random((16, 10)) < 0.3
    bad[5] = bad[:, 7] = True
    write_mask(tmp_path / "a.mask", TimeMask(bad, 100), stream)
    mask = read_mask(tmp_path / "a.mask", stream)
    np.testing.assert_array_equal(mask.bad, bad)
    assert mask.block == 100
    with pytest.raises(InputError, match="exists"):
        write_mask(tmp_path / "a.mask", TimeMask(bad, 100), stream)
    write_mask(tmp_path / "a.mask", TimeMask(~bad, 100), stream, overwrite=True)


def test_lists_of_channels(tmp_path, stream):
    path = tmp_path / "bad.txt"
    path.write_text("# comment\n0-2, 5\n9:10  # more\n")
    mask = read_mask(path, stream)
    assert np.flatnonzero(mask.bad.all(1)).tolist() == [0, 1, 2, 5, 9, 10]
    for text, message in (
        ("1-x", "line 1: expected"),
        ("16", "channels 0 to 15"),
        ("5-3", "channels 0 to 15"),
    ):
        path.write_text(text)
        with pytest.raises((FormatError, InputError), match=message):
            read_mask(path, stream)


def test_damaged_masks(tmp_path, stream):
    path = tmp_path / "a.mask"
    whole = rfifind([3], [1], [[3, 7], list(range(16)), [3], [3, 15]])
    endless = whole[:24] + struct.pack("<d", np.inf) + whole[32:]  # seconds of an interval
    for held in (b"", whole[:40], whole[:-3], whole[:56] + b"\xff" * 8, endless):
        path.write_bytes(held)
        with pytest.raises(FormatError):
            read_mask(path, stream)
    path.write_bytes(whole)
    other = ArrayStream(Spectra(np.zeros((8, 10), np.uint8), FREQS[:8], 1e-3), "b.fil", "test")
    with pytest.raises(InputError, match="16 channels"):
        read_mask(path, other)
    with pytest.raises(InputError, match="ends in"):
        read_mask(tmp_path / "a.zap", stream)


@pytest.mark.parametrize("interval_s", [1e-2, 1e4, 1e300, 1.7e308])
def test_an_interval_may_be_longer_than_the_file(tmp_path, stream, interval_s):
    """1.7e308 s are more samples than a number holds."""
    whole = rfifind([3], [], [[3]])
    path = tmp_path / "a.mask"
    path.write_bytes(whole[:24] + struct.pack("<d", interval_s) + whole[32:])
    mask = read_mask(path, stream)
    assert mask.block == round(min(interval_s / 1e-3, 1000))
    assert np.flatnonzero(mask.bad).tolist() == [3]


@pytest.mark.parametrize("first", [0, 150, 390, 700])
def test_masks_are_applied(first):
    bad = np.zeros((16, 4), bool)
    bad[2, 1] = bad[9] = True
    spectra = Spectra(np.ones((16, 120), np.uint8), FREQS, 1e-3)
    masked = TimeMask(bad, 100).applied(spectra, first)
    weights = np.ones((16, 120)) if masked.weights is None else masked.weights
    whole = weights if weights.ndim == 2 else np.repeat(weights[:, None], 120, 1)
    for c in range(16):
        for k in range(120):
            block = (first + k) // 100
            assert whole[c, k] == (0 if block < 4 and bad[c, block] else 1)
