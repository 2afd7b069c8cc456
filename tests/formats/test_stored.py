"""Arrays that stay in their file, against all of it in memory."""

import numpy as np
import pytest

from mwaconvert.errors import FormatError
from mwaconvert.formats.stored import StoredArray


@pytest.mark.parametrize("n_values", [10, 5000], ids=["short rows", "long rows"])
def test_beginnings_and_rows(tmp_path, n_values):
    whole = np.random.default_rng(1).normal(size=(700, n_values)).astype(">f4")
    path = tmp_path / "a"
    path.write_bytes(b"head" + whole.tobytes())
    stored = StoredArray(path, whole.dtype, 4, whole.shape)
    np.testing.assert_array_equal(stored.beginnings(3), whole[:, :3])
    np.testing.assert_array_equal(stored[5:9], whole[5:9])
    np.testing.assert_array_equal(stored[699], whole[699])
    with path.open("r+b") as file:
        file.truncate(4 + whole.nbytes // 2)
    with pytest.raises(FormatError, match="became shorter"):
        stored.beginnings(3)


@pytest.mark.parametrize("n_data", [16, 9000], ids=["short rows", "long rows"])
def test_columns(tmp_path, n_data):
    kind = np.dtype([("time", ">f8"), ("freq", ">f4", (3,)), ("data", "u1", (n_data,)), ("flag", "u1")])
    whole = np.random.default_rng(2).integers(0, 256, 300 * kind.itemsize, np.uint8).view(kind)
    path = tmp_path / "a"
    path.write_bytes(whole.tobytes())
    stored = StoredArray(path, kind, 0, whole.shape)
    for name in kind.names:
        np.testing.assert_array_equal(stored.column(name).view(np.uint8), whole[name].copy().view(np.uint8))
