"""What the RFI detection looks at, read from legacy files: two kernels against each other and their definition."""

import numpy as np
import pytest
from cases import MISSING, Shape, legacy_case
from hypothesis import given, settings
from hypothesis import strategies as st

from mwaconvert import _core
from mwaconvert.errors import FormatError, InputError


def arguments(case, rows=slice(None), **changes):
    """Of both kernels; the images are full of rubbish."""
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
        "out": np.full((n_rows, 4, n_time, n_coarse * case.n_fine), np.nan, np.float32),
    } | changes


def read_in_parts(case, rows=slice(None), threads=1):
    given = arguments(case, rows)
    _core.rfi_read_products(**given, nthreads=threads)
    return given["out"]


def read_whole(case, threads=1):
    given = arguments(case)
    conjugated = case.tables["conjugated"]
    _core.rfi_read_legacy(**given, conjugated=conjugated, van_vleck_samples=0.0, nthreads=threads)
    return given["out"]


def twin(case):
    """Amplitudes of the raw values, times the sizes of the factors; 0 where there is nothing."""
    amplitude = np.abs(case.cells)  # (n_time, n_coarse, n_row, n_fine, 4)
    amplitude[case.raw.chunks["state"] == MISSING] = 0
    out = amplitude.transpose(2, 4, 0, 1, 3).reshape(*arguments(case)["out"].shape)
    if case.factors is not None:
        size = np.abs(case.factors.astype(np.complex128)).transpose(0, 2, 1)
        first, second = size[case.antenna1], size[case.antenna2]
        out = out * (first[:, [0, 0, 1, 1]] * second[:, [0, 1, 0, 1]])[:, :, None]
    return out


@settings(max_examples=60, deadline=None)
@given(
    n_fine=st.sampled_from([1, 7, 16, 31, 32, 33, 70]),
    n_slot=st.sampled_from([2, 8, 64]),
    storage=st.sampled_from(["float32", "int32"]),
    bscale=st.sampled_from([1.0, 0.25, 0.3]),
    missing=st.booleans(),
    threads=st.sampled_from([1, 3]),
    seed=st.integers(0, 1000),
)
def test_parts_of_channels_hold_what_whole_ones_do(n_fine, n_slot, storage, bscale, missing, threads, seed):
    states = (0, 1, MISSING) if missing else (0,)
    shape = Shape(
        n_time=2,
        n_coarse=2,
        n_fine=n_fine,
        storage=(storage,),
        bscale=bscale,
        states=states,
        factors=seed % 2 == 0,
    )
    case = legacy_case(shape, seed=seed, n_slot=n_slot)
    found = read_in_parts(case, threads=threads)
    np.testing.assert_array_equal(found.view(np.uint32), read_whole(case).view(np.uint32))
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(found, twin(case), rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_blocks_of_rows(n):
    case = legacy_case(Shape(n_time=2, n_coarse=3, n_fine=40), seed=4, n_slot=256)
    whole = read_in_parts(case)
    for k in range(0, len(whole), n):
        np.testing.assert_array_equal(read_in_parts(case, slice(k, k + n)), whole[k : k + n])


def test_refusals():
    case = legacy_case(Shape(n_fine=40), seed=4)
    product = case.tables["product"].copy()
    product[0, 0] = 24
    with pytest.raises(InputError, match="product index 24 is outside the 24 products of the file"):
        _core.rfi_read_products(**arguments(case, product=product))
    with pytest.raises(InputError, match="n_slot must be even"):
        _core.rfi_read_products(**arguments(case, n_slot=3))
    parts = np.zeros((len(case.antenna1), 8, 1, 40), np.float32)
    with pytest.raises(InputError, match="must hold 4 planes"):
        _core.rfi_read_products(**arguments(case, out=parts))
    case.raw.chunks["data_offset"] += 1 << 30
    with pytest.raises(FormatError, match="the file ends"):
        _core.rfi_read_products(**arguments(case))
    compressed = legacy_case(Shape(n_fine=40, storage=("rice",)), seed=4)
    with pytest.raises(InputError, match="compressed chunks cannot be read in part"):
        _core.rfi_read_products(**arguments(compressed))
