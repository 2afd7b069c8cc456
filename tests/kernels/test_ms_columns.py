"""The kernel that makes columns of a measurement set from signed weights, against its slow twin."""

from __future__ import annotations

from contextlib import ExitStack
from tempfile import TemporaryFile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import measurement_set_row

from mwaconvert import _core
from mwaconvert.errors import InputError


def columns(weight: np.ndarray, first: int, n_chan: int, threads: int) -> tuple[np.ndarray, ...]:
    n = len(weight)
    out = {
        "weight_spectrum": np.full((n, n_chan, 4), np.nan, np.float32),
        "flag": np.zeros((n, n_chan, 4), np.bool_),
        "weight_sum": np.full((n, 4), np.nan, np.float32),
        "flag_row": np.zeros(n, np.bool_),
    }
    _core.ms_columns(weight=weight, first_chan=first, **out, threads=threads)
    return tuple(out.values())


def make_weight(rng: np.random.Generator, n_rows: int, n_chan: int, flagged: float) -> np.ndarray:
    weight = rng.uniform(0, 100, (n_rows, n_chan, 4)).astype(np.float32)
    weight[rng.random(weight.shape) < 0.1] = 0.0
    weight[rng.random(weight.shape) < flagged] *= -1  # makes -0.0 as well
    return weight


@settings(max_examples=60, deadline=None)
@given(
    n_rows=st.integers(0, 70),
    n_chan=st.integers(1, 11),
    before=st.integers(0, 3),
    after=st.integers(0, 3),
    flagged=st.sampled_from([0.0, 0.5, 1.0]),
    seed=st.integers(0, 1000),
)
def test_twin(n_rows: int, n_chan: int, before: int, after: int, flagged: float, seed: int) -> None:
    weight = make_weight(np.random.default_rng(seed), n_rows, before + n_chan + after, flagged)
    one = columns(weight, before, n_chan, 1)
    for row in range(n_rows):
        twin = measurement_set_row(weight[row, before : before + n_chan].tolist())
        np.testing.assert_array_equal(one[0][row], twin[0])
        assert not np.signbit(one[0][row]).any()
        np.testing.assert_array_equal(one[1][row], twin[1])
        np.testing.assert_allclose(one[2][row], twin[2], rtol=1e-7)
        assert one[3][row] == twin[3]
    for a, b in zip(one, columns(weight, before, n_chan, 3), strict=True):
        assert a.tobytes() == b.tobytes()


@settings(max_examples=40, deadline=None)
@given(
    n_rows=st.integers(0, 40),
    n_chan=st.integers(1, 11),
    before=st.integers(0, 2),
    after=st.integers(0, 2),
    first_row=st.integers(0, 3),
    threads=st.integers(1, 3),
)
def test_files(n_rows: int, n_chan: int, before: int, after: int, first_row: int, threads: int) -> None:
    rng = np.random.default_rng(n_rows)
    weight = make_weight(rng, n_rows, before + n_chan + after, 0.4)
    vis = rng.normal(size=(*weight.shape, 2)).astype(np.float32).view(np.complex64)[..., 0]
    spectrum, flag, total, row = columns(weight, before, n_chan, 1)
    got_total, got_row = np.zeros_like(total), np.zeros_like(row)
    with ExitStack() as stack:
        files = [stack.enter_context(TemporaryFile(buffering=0)) for _ in range(3)]
        numbers = tuple(file.fileno() for file in files)
        _core.write_ms_cells(
            files=numbers,
            first_row=first_row,
            vis=vis,
            weight=weight,
            first_chan=before,
            n_chan=n_chan,
            weight_sum=got_total,
            flag_row=got_row,
            threads=threads,
        )
        contents = []
        for file in files:
            file.seek(0)
            contents.append(file.read())
    bits = np.packbits(flag.reshape(n_rows, 4 * n_chan), axis=1, bitorder="little")
    assert bits.shape == (n_rows, _core.flag_bytes(n_chan))
    cut = vis[:, before : before + n_chan]
    for content, expected in zip(contents, (cut, spectrum, bits), strict=True):
        skipped = first_row * (expected.nbytes // n_rows) if n_rows else 0
        assert content == bytes(skipped) + expected.tobytes()
    np.testing.assert_array_equal(got_total, total)
    np.testing.assert_array_equal(got_row, row)


def test_rows_do_not_depend_on_the_block() -> None:
    weight = make_weight(np.random.default_rng(3), 100, 9, 0.3)
    whole = columns(weight, 0, 9, 2)
    for first in range(0, 100, 7):
        part = columns(weight[first : first + 7], 0, 9, 1)
        for a, b in zip(whole, part, strict=True):
            assert a[first : first + 7].tobytes() == b.tobytes()


@pytest.mark.parametrize(("first", "n_chan"), [(-1, 3), (3, 3), (0, 6), (0, 0)])
def test_channels_out_of_range(first: int, n_chan: int) -> None:
    with pytest.raises(InputError, match="are not among the 5 of the block"):
        columns(np.ones((2, 5, 4), np.float32), first, n_chan, 1)


def test_wrong_shapes() -> None:
    with pytest.raises(InputError, match="array 'weight': expected shape"):
        columns(np.ones((2, 5, 3), np.float32), 0, 5, 1)
    weight = np.ones((2, 5, 4), np.float32)
    spectrum, flag, total, row = columns(weight, 0, 5, 1)
    with pytest.raises(InputError, match="array 'flag': expected shape"):
        _core.ms_columns(
            weight=weight,
            first_chan=0,
            weight_spectrum=spectrum,
            flag=flag[:, :4].copy(),
            weight_sum=total,
            flag_row=row,
        )
    with pytest.raises(TypeError):
        _core.ms_columns(
            weight=weight.astype(np.float64),
            first_chan=0,
            weight_spectrum=spectrum,
            flag=flag,
            weight_sum=total,
            flag_row=row,
        )
