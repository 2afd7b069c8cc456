"""Flags of single input cells: where they are kept."""

import numpy as np
import pytest

from mwaconvert.conversion.rfi.mask import FlagMask
from mwaconvert.errors import ResourceError


@pytest.mark.parametrize("in_file", [False, True])
@pytest.mark.parametrize("n_fine", [1, 8, 13])
def test_flags_are_added_up(n_fine, in_file):
    rng = np.random.default_rng(0)
    expected = rng.random((5, 6, 3, n_fine)) < 0.2  # time, row, coarse, fine
    with FlagMask(5, 3, 6, n_fine, in_file=in_file) as mask:
        for coarse in range(3):
            mask.add_coarse(coarse, expected[:, :, coarse])
        more = rng.random((2, 6, n_fine)) < 0.2
        mask.add_coarse(1, more, slice(3, 5))
        expected[3:5, :, 1] |= more
        mask.add_coarse(2, np.arange(n_fine) == 0)
        expected[:, :, 2, 0] = True
        for coarse in range(3):
            np.testing.assert_array_equal(mask.unpacked(slice(1, 4), coarse), expected[1:4, :, coarse])


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("n_rows", [1, 16, 37])
@pytest.mark.parametrize("n_fine", [1, 8, 13, 64, 100, 136])
def test_flags_are_counted(n_fine, n_rows, threads):
    rng = np.random.default_rng(1)
    flags = rng.random((7, 3, n_rows, n_fine)) < 0.4
    mask = FlagMask(7, 3, n_rows, n_fine)
    for coarse in range(3):
        mask.add_coarse(coarse, flags[:, coarse])
    rows, channels = rng.random(n_rows) < 0.7, rng.random(3 * n_fine) < 0.7
    chunks = rng.random((7, 3)) < 0.7
    counted = flags & rows[:, None] & channels.reshape(3, 1, n_fine) & chunks[..., None, None]
    for factor in (1, 3):
        by_row, by_channel = mask.count(rows, channels, chunks, factor, threads)
        np.testing.assert_array_equal(by_row, counted.sum(axis=(0, 1, 3)))
        expected = np.add.reduceat(counted.sum(axis=2).reshape(7, -1), np.arange(0, 7, factor))
        np.testing.assert_array_equal(by_channel, expected)


def test_no_room_for_a_file(monkeypatch):
    with pytest.raises(ResourceError, match=r"GiB are needed for a temporary file of flags, .* set TMPDIR"):
        FlagMask(1 << 20, 24, 8256, 128, in_file=True)
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/proc")
    with pytest.raises(ResourceError, match="/proc: "):
        FlagMask(1, 1, 1, 8, in_file=True)
