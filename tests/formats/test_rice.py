"""RICE_1 decoder and encoder against astropy's."""

from contextlib import suppress

import numpy as np
import pytest
from astropy.io.fits.hdu.compressed._codecs import Rice1
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mwaconvert import _core
from mwaconvert.errors import FormatError, InputError

INT32 = np.iinfo(np.int32)


def tiles() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    outlier = np.zeros(64, np.int32)
    outlier[40] = INT32.max
    return {
        "equal": np.full(100, -5, np.int32),
        "one": np.array([INT32.min], np.int32),
        "extremes": np.resize(np.array([INT32.min, INT32.max, 0, -1], np.int32), 77),
        "narrow noise": rng.normal(0, 3, 1001).astype(np.int32),
        "noise": rng.normal(0, 400, 4096).astype(np.int32),
        "wide noise": rng.integers(INT32.min, INT32.max, 333, dtype=np.int32),
        "mixed": (rng.normal(0, 1, 4000) * np.logspace(0, 8, 4000)).astype(np.int32),
        "outlier": outlier,
    }


@pytest.mark.parametrize("block", [16, 32])
@pytest.mark.parametrize("name", tiles())
def test_astropy_both_ways(name, block):
    tile = tiles()[name]
    astropy = Rice1(blocksize=block, bytepix=4, tilesize=tile.size)
    theirs = np.frombuffer(astropy.encode(tile), np.uint8)
    np.testing.assert_array_equal(_core.rice_decode([theirs], tile.size, block), [tile])
    ours = _core.rice_encode(tile, block)
    np.testing.assert_array_equal(np.asarray(astropy.decode(ours)), tile)
    assert ours.size <= 1.05 * theirs.size + 8


def test_several_tiles():
    """Tiles that are decoded side by side, of all combinations of kinds."""
    long = [tile for tile in tiles().values() if tile.size > 1]
    n = min(tile.size for tile in long)
    every = [tile[start : start + n] for tile in long for start in {0, tile.size - n}]
    pairs = [tile for first in every for second in every for tile in (first, second)]
    for these in (pairs, pairs[:-1]):
        encoded = [_core.rice_encode(np.ascontiguousarray(tile), 32) for tile in these]
        np.testing.assert_array_equal(_core.rice_decode(encoded, n, 32), these)


def long_tile(rng: np.random.Generator, n: int) -> np.ndarray:
    """Stretches of noise of all widths, of equal pixels, and pixels far off."""
    widths = np.repeat(2.0 ** rng.integers(-3, 31, -(-n // 100)), 100)[:n]
    tile = rng.normal(0, 1, n) * widths * (widths > 0.2)
    tile[rng.random(n) < 0.001] = INT32.min
    return np.clip(tile, INT32.min, INT32.max).astype(np.int32)


@pytest.mark.parametrize("block", [32, 16, 20, 7])
@pytest.mark.parametrize("n", [4000, 3999, 640])
def test_many_long_tiles(n, block):
    """Where registers are wide enough, eight tiles at once."""
    rng = np.random.default_rng(n + block)
    narrow = [rng.normal(0, 2.0**k, n).astype(np.int32) for k in range(8)]
    medium = [rng.normal(0, 2.0 ** (11 + 0.1 * k), n).astype(np.int32) for k in range(8)]
    these = [*narrow, *medium, *(long_tile(rng, n) for _ in range(13))]
    encoded = [_core.rice_encode(tile, block) for tile in these]
    np.testing.assert_array_equal(_core.rice_decode(encoded, n, block), these)


@pytest.mark.parametrize("damage", ["cut", "zeros", "ones", "noise"])
@pytest.mark.parametrize("which", [0, 5, 8])
def test_one_bad_tile_among_many(damage, which):
    rng = np.random.default_rng(which)
    n = 3000
    encoded = [_core.rice_encode(long_tile(rng, n), 32) for _ in range(9)]
    half = encoded[which].size // 2
    if damage == "cut":
        encoded[which] = encoded[which][:half].copy()
    else:
        encoded[which][half:] = {
            "zeros": 0,
            "ones": 255,
            "noise": rng.integers(0, 256, encoded[which].size - half),
        }[damage]
    try:
        (alone,) = _core.rice_decode([encoded[which]], n, 32)
    except FormatError as error:
        with pytest.raises(FormatError, match=str(error)):
            _core.rice_decode(encoded, n, 32)
    else:  # what was put there may look like pixels
        assert damage != "cut"
        np.testing.assert_array_equal(_core.rice_decode(encoded, n, 32)[which], alone)


arrays = hnp.arrays(
    np.int32,
    st.integers(0, 200),
    elements=st.one_of(st.integers(-4, 4), st.integers(-70000, 70000), st.integers(INT32.min, INT32.max)),
)


@given(pixels=arrays, block=st.integers(1, 70))
def test_round_trip(pixels, block):
    encoded = _core.rice_encode(pixels, block)
    np.testing.assert_array_equal(_core.rice_decode([encoded], pixels.size, block), [pixels])


@given(pixels=arrays, keep=st.floats(0, 1, exclude_max=True))
def test_cut_stream_is_an_error(pixels, keep):
    encoded = _core.rice_encode(pixels, 32)
    cut = encoded[: int(keep * encoded.size)].copy()
    if pixels.size:
        with pytest.raises(FormatError, match="corrupt Rice"):
            _core.rice_decode([cut], pixels.size, 32)


@settings(max_examples=300)
@given(data=st.binary(max_size=4000), n=st.integers(0, 500), block=st.integers(1, 40))
def test_garbage_never_crashes(data, n, block):
    with suppress(FormatError):
        assert _core.rice_decode([np.frombuffer(data, np.uint8)] * 11, n, block).shape == (11, n)


def test_long_runs_of_zeros():
    # first pixel 0; split code 1 (no low bits): a code of 200 is 200 zeros and a one
    bits = f"{0:032b}" + f"{1:05b}" + "0" * 200 + "1" + "0" * 7 + "1"
    bits += "0" * (-len(bits) % 8)
    stream = np.array([int(bits[k : k + 8], 2) for k in range(0, len(bits), 8)], np.uint8)
    np.testing.assert_array_equal(_core.rice_decode([stream], 2, 32), [[100, 96]])


def test_bad_arguments():
    with pytest.raises(InputError, match="block size: expected at least 1, found 0"):
        _core.rice_decode([np.zeros(8, np.uint8)], 1, 0)
    with pytest.raises(InputError, match="pixels: expected at least 0, found -1"):
        _core.rice_decode([np.zeros(8, np.uint8)], -1, 32)
    with pytest.raises(FormatError, match="shorter than one pixel"):
        _core.rice_decode([np.zeros(3, np.uint8)], 1, 32)
