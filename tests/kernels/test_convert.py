"""What the converting kernels of both correlators have to do, against the slow twin."""

import os
import re
from dataclasses import replace

import numpy as np
import pytest
from cases import (
    FLAGGED,
    GOOD,
    MISSING,
    NOWHERE,
    Shape,
    check_against_twin,
    check_bit_equal,
    legacy_case,
    mwax_case,
    shapes,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from mwaconvert import _core
from mwaconvert.errors import FormatError, InputError, ResourceError

both = pytest.mark.parametrize("make", [mwax_case, legacy_case])
seeds = st.integers(0, 2**32 - 1)


@both
@settings(deadline=None, max_examples=200)
@given(shape=shapes(), seed=seeds)
def test_twin(make, shape, seed):
    check_against_twin(make(shape, seed))


@both
@settings(deadline=None, max_examples=150)
@given(
    shape=shapes(),
    jones=st.sampled_from(["input", "output"]),
    diagonal=st.booleans(),
    seed=seeds,
)
def test_matrices(make, shape, jones, diagonal, seed):
    """Jones matrices that mix the products give all of them the least weight of the four."""
    check_against_twin(make(replace(shape, jones=jones, diagonal=diagonal), seed))


@both
@settings(deadline=None, max_examples=50)
@given(shape=shapes(), seed=seeds)
def test_threads_and_row_blocks_change_no_bit(make, shape, seed):
    check_bit_equal(make(shape, seed))


@both
@pytest.mark.parametrize("state", [GOOD, FLAGGED])
@pytest.mark.parametrize(
    ("storage", "bscale", "bzero"),
    [("float32", 1.0, 0.0)]
    + [(s, *scale) for s in ("int32", "rice") for scale in ((1, 0), (0.125, 0), (0.3, 0), (2, 7.3))],
)
def test_values_that_nothing_multiplies_stay_exact(make, storage, bscale, bzero, state):
    shape = Shape(
        n_coarse=2, n_fine=19, storage=(storage,), bscale=bscale, bzero=bzero, states=(state,),
        channel_weights=True, flagged_share=0.3, bad_share=0.01,
    )  # fmt: skip
    case = make(shape)
    vis, weight, _ = case.run()
    twin = case.twin()
    np.testing.assert_array_equal(vis, twin.vis.astype(np.complex64))
    np.testing.assert_array_equal(weight, twin.weight.astype(np.float32))
    assert (weight < 0).any()


@both
@pytest.mark.parametrize(("freq_factor", "n_time"), [(1, 1), (4, 1), (1, 3), (5, 2)])
def test_missing_data_are_zero_and_flagged(make, freq_factor, n_time):
    case = make(
        Shape(n_time=n_time, n_fine=8, freq_factor=freq_factor, states=(MISSING,), channel_weights=True)
    )
    vis, weight, bad_cells = case.run()
    assert not vis.any()
    assert not bad_cells.any()
    assert np.signbit(weight).all()
    sizes = np.repeat(case.channel_weight[:, None], 4, axis=1) if not case.averaged else 0
    np.testing.assert_array_equal(np.abs(weight), np.broadcast_to(sizes, weight.shape))


@both
def test_one_timestep_of_an_averaged_output_is_still_averaged(make):
    case = make(Shape(n_fine=5, averaged=True, flagged_share=0.4), seed=3)
    check_against_twin(case)
    _, weight, _ = case.run()
    assert (np.signbit(weight) & (weight == 0)).any()
    assert not (weight < 0).any()


@both
def test_sums_may_exceed_float32_where_their_mean_does_not(make):
    case = make(Shape(n_time=2, n_fine=3, storage=("int32",), bscale=1.0))
    case.raw.chunks["bscale"] = 2e38 / np.abs(case.cells.view(float)).max()
    case.cells = (case.cells * case.raw.chunks["bscale"][0, 0]).astype(np.complex64).astype(np.complex128)
    check_against_twin(case)


@both
def test_results_that_are_not_finite_are_flagged(make):
    case = make(Shape(n_fine=6, n_antenna=2, factors=True, storage=("int32",)))
    case.factors[1, 2] = np.nan
    case.factors[1, 4] = np.inf
    vis, weight, bad_cells = case.run()
    spoiled = np.zeros(vis.shape, bool)
    spoiled[:, [2, 4]] = ((case.antenna1 == 1) | (case.antenna2 == 1))[:, None, None]
    assert spoiled.any()
    np.testing.assert_array_equal(vis == 0, spoiled)
    np.testing.assert_array_equal(weight, np.where(spoiled, -1, 1))
    assert not bad_cells.any()  # the data were fine


@both
def test_no_rows(make):
    case = make(Shape(n_fine=3, rotate=True, factors=True))
    vis, weight, bad_cells = case.run(rows=slice(0, 0))
    assert vis.shape == weight.shape == (0, 3, 4)
    assert bad_cells.shape == (0,)


@both
def test_bad_cells_are_added_up(make):
    case = make(Shape(n_fine=20, bad_share=0.1))
    counts = case.run()[2]
    assert counts.any()
    arguments = case.arguments(bad_cells=np.full(len(counts), 100))
    case.call(**arguments)
    np.testing.assert_array_equal(arguments["bad_cells"], counts + 100)


FULL = Shape(n_time=2, n_coarse=2, n_fine=6, n_antenna=3, rotate=True, factors=True)

ARRAYS = (
    "chunks", "antenna1", "antenna2", "row_flagged", "factors", "channel_weight", "channel_flagged",
    "phasors", "vis", "weight", "bad_cells",
)  # fmt: skip


def arrays_of(make):
    return (*ARRAYS, "file_row") if make is mwax_case else (*ARRAYS, "product", "conjugated")


@both
def test_arrays_of_the_wrong_shape(make):
    case = make(FULL)
    for name in arrays_of(make):
        good = case.arguments()[name]
        for bad in (good[..., None].copy(), good[..., :-1].copy(), good.reshape(-1)[:0].copy()):
            if name == "antenna1" and bad.ndim == 1:
                expected = "array 'antenna2'"  # the first array gives the number of rows
            elif name == "chunks" and bad.ndim == 2:
                expected = "array 'factors'"  # the first array gives the number of coarse channels
            else:
                expected = f"array '{name}': expected shape"
            with pytest.raises(InputError, match=re.escape(expected)):
                case.call(**case.arguments(**{name: bad}))


@both
def test_arrays_of_the_wrong_type_or_layout(make):
    case = make(FULL)
    for name in arrays_of(make):
        good = case.arguments()[name]
        wrong_type = np.zeros(good.shape, np.int16)
        transposed = np.asfortranarray(good) if good.ndim > 1 else np.repeat(good, 2)[::2]
        for bad in (wrong_type, transposed, good.tolist()):
            with pytest.raises(TypeError, match="incompatible function arguments"):
                case.call(**case.arguments(**{name: bad}))


@both
@pytest.mark.parametrize("name", ["vis", "weight", "bad_cells"])
def test_outputs_must_be_writeable(make, name):
    arguments = make(FULL).arguments()
    arguments[name].flags.writeable = False
    with pytest.raises(InputError, match=f"'{name}' is read-only"):
        make(FULL).call(**arguments)


@both
@pytest.mark.parametrize("name", ["antenna1", "antenna2"])
@pytest.mark.parametrize("value", [-1, 3])
@pytest.mark.parametrize("without", ["factors", "phasors"])
def test_antennas_that_do_not_exist(make, name, value, without):
    case = make(FULL)
    if make is legacy_case and without == "factors":
        return  # its phasors belong to slots
    antennas = getattr(case, name).copy()
    antennas[0] = value
    with pytest.raises(InputError, match=r"row 0 names an antenna that array '\w+' does not hold"):
        case.call(**case.arguments(**{name: antennas, without: None}))


@both
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_fine": 0}, "at least 1"),
        ({"freq_factor": 0}, "at least 1"),
        ({"averaged": False}, "'averaged' is off"),
        (
            {"channel_weight": np.full(12, np.nan, np.float32)},
            "channel_weight must be finite",
        ),
        ({"channel_weight": np.full(12, -1, np.float32)}, "channel_weight must be finite"),
    ],
)
def test_values_that_cannot_be(make, change, message):
    case = make(FULL)
    with pytest.raises(InputError, match=message):
        case.call(**case.arguments(**change))


@both
@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("state", 3, "chunk state 3 is unknown"),
        ("state", -1, "chunk state -1 is unknown"),
        ("kind", 3, "chunk kind 3 is unknown"),
        ("rice_block", 0, "its table cannot be"),
        ("desc_offset", -1, "its table cannot be"),
        ("row_bytes", 7, "its table cannot be"),
    ],
)
def test_chunks_that_cannot_be(make, field, value, message):
    case = make(Shape(n_coarse=2, storage=("rice",)))
    case.raw.chunks[field][0, 1] = value
    with pytest.raises(InputError, match=message):
        case.run()


@both
@pytest.mark.parametrize("storage", ["float32", "int32", "rice"])
def test_truncated_files(make, storage):
    case = make(Shape(n_fine=9, storage=(storage,)))
    case.raw.handle.truncate(case.raw.handle.seek(0, 2) - 1)
    for threads in (1, 3):
        with pytest.raises(FormatError, match="the file ends at byte"):
            case.run(threads)


@both
@pytest.mark.parametrize(("length", "offset"), [(0, 0), (-1, 0), (1 << 40, 0), (10, -1), (10, 2**63 - 1)])
def test_rice_descriptors_that_cannot_be(make, length, offset):
    cases = (make(Shape(n_fine=9, storage=("rice",)), seed) for seed in range(50))
    case = next(case for case in cases if case.raw.chunks["desc_64"])
    chunk = case.raw.chunks[0, 0]
    descriptor = np.array([length, offset], ">i8").tobytes()
    os.pwrite(chunk["fd"], descriptor, chunk["data_offset"] + chunk["desc_offset"])
    with pytest.raises(FormatError, match=f"row 0: compressed length {length} at byte {offset} of the heap"):
        case.run()


@both
@pytest.mark.parametrize("storage", ["float32", "int32", "rice"])
@pytest.mark.parametrize("fd", [-1, 12345])
def test_descriptors_that_are_not_open(make, storage, fd):
    case = make(Shape(storage=(storage,)))
    case.raw.chunks["fd"] = fd
    with pytest.raises(ResourceError, match="reading failed: Bad file descriptor"):
        case.run()


@both
def test_data_outside_the_file(make):
    case = make(Shape())
    case.raw.chunks["data_offset"] = NOWHERE
    with pytest.raises(FormatError, match="the file ends at byte"):
        case.run()


def test_chunk_table_is_what_the_scanner_finds():
    """The pipeline copies fields by name."""
    names = _core.chunk_dtype.names
    assert {"fd", "kind", "state", "file", "data_offset", "weight_offset", "bscale", "bzero"} <= set(names)
    assert (_core.CHUNK_GOOD, _core.CHUNK_FLAGGED, _core.CHUNK_MISSING) == (GOOD, FLAGGED, MISSING)
