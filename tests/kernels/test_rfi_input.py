"""What the RFI detection looks at, read from legacy files, against its definition: equal to the last bit."""

import numpy as np
import pytest
from cases import Shape, legacy_case
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import FLAGGED, GOOD, MISSING

from mwaconvert import _core
from mwaconvert.errors import FormatError, InputError


def arguments(case, rows=slice(None), planes=4, **changes):
    """The images are full of rubbish."""
    n_rows = len(case.antenna1[rows])
    n_time, n_coarse = case.raw.chunks.shape
    return {
        "chunks": case.raw.chunks,
        "n_fine": case.n_fine,
        "antenna1": case.antenna1[rows],
        "antenna2": case.antenna2[rows],
        "factors": None if case.factors is None else np.ascontiguousarray(case.factors.transpose(0, 2, 1)),
        "n_slot": case.tables["n_slot"],
        "product": case.tables["product"][rows],
        "conjugated": case.tables["conjugated"][rows],
        "van_vleck_samples": 0.0,
        "out": np.full((n_rows, planes, n_time, n_coarse * case.n_fine), np.nan, np.float32),
    } | changes


def read(case, rows=slice(None), threads=1, **changes):
    given = arguments(case, rows, **changes)
    _core.rfi_read_legacy(**given, threads=threads)
    return given["out"]


def size(v):
    """|v| of complex64 in single precision."""
    return np.sqrt(v.real * v.real + v.imag * v.imag)


def twin(case):
    """Amplitudes of the raw values, times the sizes of the factors; 0 where there is nothing."""
    values = case.cells.astype(np.complex64)  # (n_time, n_coarse, n_row, n_fine, 4)
    values[case.raw.chunks["state"] == MISSING] = 0
    n_time, n_coarse = case.raw.chunks.shape
    out = size(values).transpose(2, 4, 0, 1, 3).reshape(-1, 4, n_time, n_coarse * case.n_fine)
    if case.factors is not None:
        factor = size(case.factors).transpose(0, 2, 1)
        first, second = factor[case.antenna1], factor[case.antenna2]
        out = out * (first[:, [0, 0, 1, 1]] * second[:, [0, 1, 0, 1]])[:, :, None]
    return out


@settings(max_examples=80, deadline=None)
@given(
    n_fine=st.sampled_from([1, 7, 32, 63, 64, 65, 130]),
    n_slot=st.sampled_from([2, 8, 64]),
    storage=st.sampled_from([("float32",), ("int32",), ("rice",), ("float32", "int32", "rice")]),
    bscale=st.sampled_from([1.0, 0.25, 0.3]),
    states=st.sampled_from([(GOOD,), (GOOD, FLAGGED, MISSING)]),
    factors=st.booleans(),
    threads=st.sampled_from([1, 3]),
    seed=st.integers(0, 1000),
)
def test_amplitudes(n_fine, n_slot, storage, bscale, states, factors, threads, seed):
    shape = Shape(
        n_time=2, n_coarse=2, n_fine=n_fine, storage=storage, bscale=bscale, states=states, factors=factors
    )
    case = legacy_case(shape, seed=seed, n_slot=n_slot)
    found = read(case, threads=threads)
    np.testing.assert_array_equal(found.view(np.uint32), twin(case).view(np.uint32))


@pytest.mark.parametrize("storage", ["float32", "rice"])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_blocks_of_rows(n, storage):
    """Of which each needs other stretches of a channel."""
    case = legacy_case(Shape(n_time=2, n_coarse=3, n_fine=40, storage=(storage,)), seed=4, n_slot=256)
    whole = read(case)
    for k in range(0, len(whole), n):
        np.testing.assert_array_equal(read(case, slice(k, k + n)), whole[k : k + n])


def test_amplitudes_are_those_of_the_parts():
    case = legacy_case(Shape(n_time=2, n_fine=40, factors=True, storage=("rice",)), seed=3, n_slot=8)
    parts = read(case, planes=8)
    np.testing.assert_allclose(read(case), np.hypot(parts[:, ::2], parts[:, 1::2]), rtol=1e-6)


def test_van_vleck():
    case = legacy_case(Shape(n_time=2, n_fine=40), seed=3, n_slot=8)
    given = {"van_vleck_samples": 1e3}
    parts = read(case, planes=8, **given)
    np.testing.assert_allclose(read(case, **given), np.hypot(parts[:, ::2], parts[:, 1::2]), rtol=1e-6)


def test_refusals():
    case = legacy_case(Shape(n_fine=40), seed=4)
    product = case.tables["product"].copy()
    product[0, 0] = 24
    with pytest.raises(InputError, match="product index 24 is outside the 24 products of the file"):
        read(case, product=product)
    with pytest.raises(InputError, match="n_slot must be even"):
        read(case, n_slot=3)
    case.raw.chunks["data_offset"] += 1 << 30
    with pytest.raises(FormatError, match="the file ends"):
        read(case)
