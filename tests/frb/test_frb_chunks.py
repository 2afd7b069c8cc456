"""Intensity of an event: chunks joined in time, their waterfall in one pass, and files that are refused."""

import bitshuffle
import msgpack
import numpy as np
import pytest
from chime_files import DT_S, FREQ_MHZ, chunk_items, noisy_event, write_chunk, write_event

from mwaconvert import _core
from mwaconvert.errors import Error, FormatError, InputError, ResourceError
from mwaconvert.formats.spectra.chime_msgpack import ChunkStream, chunk_files
from mwaconvert.transients import open_stream

RNG = np.random.default_rng(3)
FRAMES = 384 * 64


def small(fpga0, *, seed=0, nt=64, lowest=0, **more):
    data = np.random.default_rng(seed).integers(lowest, 256, (16384, nt), dtype=np.uint8)
    return data, chunk_items(data, fpga0, **more)


def tables(seed, nt_coarse=4):
    rng = np.random.default_rng(seed)
    return {"scales": rng.uniform(0.5, 2, (1024, nt_coarse)), "offsets": rng.normal(0, 3, (1024, nt_coarse))}


def slow_waterfall(stream, dm, n_sub, scaled):
    spectra = stream.spectra()
    return (spectra.scale() if scaled else spectra).dedisperse(dm).subband(n_sub)


@pytest.mark.parametrize("version", [1, 2])
def test_gaps_mixed_binning_and_masks(tmp_path, version):
    mask = RNG.integers(0, 256, (1024, 8), dtype=np.uint8) if version == 2 else None
    one, first = small(384 * 640, seed=1, version=version, mask=mask, **tables(1))
    two, later = small(384 * 640 + 2 * FRAMES, seed=2, version=version, binning=2, **tables(2))
    for items in (later, first):
        write_chunk(tmp_path, items)
    stream = open_stream(tmp_path)
    assert (stream.n_times, stream.dt_s) == (256, pytest.approx(DT_S))
    assert stream.notes == (
        "64 samples are missing and have weight 0",
        "some chunks have samples that are 2 times as long: each fills as many",
    )
    read = stream.spectra()
    good = ((one > 0) & (one < 255)).astype("f4")
    if mask is not None:
        good *= np.repeat(np.unpackbits(mask, axis=1, bitorder="little"), 16, axis=0)
    np.testing.assert_array_equal(read.weights[:, :64], good[::-1])
    assert read.weights[:, 64:128].max() == 0
    long = ((two > 0) & (two < 255)).astype("f4")
    np.testing.assert_array_equal(read.weights[:, 128:], np.repeat(long, 2, axis=1)[::-1])
    np.testing.assert_array_equal(read.data[:, 128::2], read.data[:, 129::2])
    piece = stream.spectra(33, 120)
    np.testing.assert_array_equal(piece.data, read.data[:, 33:153])
    np.testing.assert_array_equal(piece.weights, read.weights[:, 33:153])


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize(("dm", "n_sub"), [(0.0, 128), (5.0, 128), (-2.0, 16), (3.0, 16384), (400.0, 64)])
def test_waterfall_in_one_pass(tmp_path, dm, n_sub, scaled):
    """The kernel makes what the slow way makes, whatever the chunks are like."""
    mask = RNG.integers(0, 256, (1024, 8), dtype=np.uint8)
    data, _ = small(0, seed=4)
    data[5] = 130  # a channel without variation, if it were not for its scales
    data[900] = 0
    data[901, 1:] = 255  # one sample
    flat = {"scales": np.ones((1024, 4)), "offsets": np.zeros((1024, 4))}
    write_chunk(tmp_path, chunk_items(data, 0, mask=mask, **flat))
    write_chunk(tmp_path, chunk_items(np.where(data == 130, 130, data[::-1]), 2 * FRAMES, binning=2, **flat))
    with_rest = RNG.integers(0, 256, (16384, 80), dtype=np.uint8)  # blocks that end within channels
    with_rest[[5, 900]] = 0
    with_rest[901] = 255
    write_chunk(tmp_path, chunk_items(with_rest, 4 * FRAMES, compression=0, **tables(6, 5)))
    stream = ChunkStream(chunk_files(tmp_path))
    want = slow_waterfall(stream, dm, n_sub, scaled)
    for threads in (1, 3):
        found = stream.waterfall(dm, n_sub, scaled=scaled, threads=threads)
        there = np.where(want.weights > 0, want.data, 0)  # 0 where nothing is, as sub-bands have it
        np.testing.assert_allclose(found.data, there, atol=2e-5 * abs(there).max())
        np.testing.assert_allclose(found.weights, want.weights, atol=1e-6)
        assert (found.dm, found.n_chan, found.start_mjd) == (dm, n_sub, want.start_mjd)
        np.testing.assert_allclose(found.freq_mhz, want.freq_mhz)
    np.testing.assert_array_equal(stream.waterfall(dm, n_sub, scaled=scaled).data, found.data)


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("binning", [1, 2])
def test_scales_of_any_length_of_samples(tmp_path, scaled, binning):
    """Scales of 12 samples do not fill registers; of 24, where samples are twice as long, they do not either."""
    for k, b in enumerate((1, binning)):
        data = RNG.integers(0, 256, (16384, 60), dtype=np.uint8)
        data[7] = 77
        items = chunk_items(data, 120 * k * 384, binning=b, **tables(20 + k, 5))
        items[6], items[8], items[9] = 12, 5, 1024 * 5
        write_chunk(tmp_path, items)
    stream = ChunkStream(chunk_files(tmp_path))
    for dm, n_sub in ((0.0, 128), (3.0, 1024), (-1.0, 16384)):
        want = slow_waterfall(stream, dm, n_sub, scaled)
        found = stream.waterfall(dm, n_sub, scaled=scaled)
        there = np.where(want.weights > 0, want.data, 0)
        np.testing.assert_allclose(found.data, there, atol=2e-5 * abs(there).max())
        np.testing.assert_allclose(found.weights, want.weights, atol=1e-6)


def test_pulse_of_an_event(tmp_path):
    data = noisy_event(3, 5.0, nt=256, t0_s=0.5)
    folder = write_event(tmp_path, data, nt=256)
    found = ChunkStream(chunk_files(folder)).waterfall(5.0, 128)
    profile = found.data.sum(0)
    assert profile.argmax() == round(0.5 / DT_S)
    # 128 sub-bands of 128 channels: the mean of 128 values of unit noise, but for what the pulse adds
    assert found.data[:, :400].std() == pytest.approx(128**-0.5, rel=0.02)
    assert profile.max() > 40 * profile[:400].std()


@pytest.mark.parametrize("size", [0, 8, 8191, 8192, 8200, 40003])
@pytest.mark.parametrize("kind", ["noise", "runs", "zeros"])
def test_bitshuffle(size, kind):
    """What the package bitshuffle packs."""
    data = RNG.integers(0, 256, size, dtype=np.uint8)
    if kind == "runs":
        data = np.repeat(data[: size // 37 + 1], 37)[:size]
    elif kind == "zeros":
        data[:] = 0
    packed = bitshuffle.compress_lz4(data)
    out = np.empty(size, np.uint8)
    _core.unpack_bitshuffle(packed, out)
    np.testing.assert_array_equal(out, data)


def test_damaged_bitshuffle():
    """Whatever is changed, it is refused or makes other bytes: nothing beyond is read or written."""
    data = np.repeat(RNG.integers(0, 256, 600, dtype=np.uint8), 37)[:20000]
    packed = np.asarray(bitshuffle.compress_lz4(data))
    refused = 0
    for _ in range(2000):
        bad = packed.copy()
        bad[RNG.integers(0, bad.size, 3)] = RNG.integers(0, 256, 3)
        try:
            _core.unpack_bitshuffle(bad[: RNG.integers(1, bad.size + 1)], np.empty(20000, np.uint8))
        except FormatError:
            refused += 1
    assert refused > 1900
    out = np.empty(20000, np.uint8)
    with pytest.raises(FormatError, match="damaged"):
        _core.unpack_bitshuffle(packed[:-1], out)


def hostile(change):
    _, items = small(0)
    change(items)
    return items


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xdd\x7f\xff\xff\xff", "expected an array of 17 or 21 items"),  # two milliards of items
        (
            b"\xdc\x00\x15" + b"\xc6\x7f\xff\xff\xff",
            "not a sound msgpack",
        ),  # two gigabytes that are not there
        (b"\xdc\x00\x15" + b"\xdc\xff\xff" * 100, "not a sound msgpack"),  # nested arrays
        (b"\xdc\x00\x15" + b"\xdf\xff\xff\xff\xff", "not a sound msgpack"),
        (b"\xdc\x00\x15" + b"\x01" * 21, "its values are not bytes"),
        (b"\xdc\x00\x15" + b"\x01" * 16 + b"\xc6\x7f\xff\xff\xff", "it is cut"),
        (b"\xdc\x00\x15" + b"\x01" * 5, "not a sound msgpack"),
    ],
)
def test_bombs(tmp_path, content, message):
    path = tmp_path / "a.msgpack"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=message):
        ChunkStream([path])


@pytest.mark.parametrize(
    ("item", "value", "message"),
    [
        (5, 1 << 40, "do not make"),
        (6, 0, "do not make"),
        (8, 1 << 20, "do not make"),
        (10, 1 << 40, "do not make"),
        (13, 0, "do not make"),
        (7, 2.5, "do not take"),
        (14, [1.0], "damaged chunk"),
        (14, b"\0" * 12, "3 scales"),
        (15, b"\0" * 13, "damaged chunk"),
        (16, [1, 2], "its values are not bytes"),
        (16, b"\0\0\0\1\0" * 3, "they end too early"),
        (2, 7, "compression 7"),
        (3, None, None),
        (4, {}, "damaged chunk"),
        (11, -1, "do not make"),
    ],
)
def test_wrong_items(tmp_path, item, value, message):
    _, items = small(0)
    items[item] = value
    path = tmp_path / "a.msgpack"
    path.write_bytes(msgpack.packb(items))
    if message is None:  # the length of the packed values is not believed, and not needed
        ChunkStream([path])
        return
    with pytest.raises(FormatError, match=message) as caught:
        ChunkStream([path])
    assert str(path) in str(caught.value)


def test_values_that_unpack_wrongly(tmp_path):
    data = RNG.integers(0, 256, (16384, 64), dtype=np.uint8)
    items = chunk_items(data, 0)
    packed = bytearray(items[16])
    packed[4] = 0x1F  # a block of fewer literals
    items[16] = bytes(packed)
    stream = ChunkStream([write_chunk(tmp_path, items)])
    with pytest.raises(FormatError, match=r"msgpack: the compressed values are damaged"):
        stream.waterfall(1.0, 128)
    with pytest.raises(FormatError, match=r"msgpack: the compressed values are damaged"):
        stream.spectra()


def test_chunks_that_do_not_belong_together(tmp_path):
    write_chunk(tmp_path, small(0)[1])
    other = write_chunk(tmp_path, small(3 * FRAMES, binning=3)[1])
    with pytest.raises(FormatError, match="are between those of 768"):
        ChunkStream([write_chunk(tmp_path, small(12 * FRAMES, binning=2)[1]), other])
    other = write_chunk(tmp_path / "far", small(384 << 30)[1])
    with pytest.raises(FormatError, match="another event"):
        ChunkStream([*chunk_files(tmp_path)[:1], other])


def test_memory_is_not_taken_that_is_not_there(tmp_path, monkeypatch):
    """A gap of a hundred chunks is not made before it is known to fit."""
    paths = [write_chunk(tmp_path, small(k * FRAMES)[1]) for k in (0, 150)]
    stream = ChunkStream(paths)
    monkeypatch.setattr("mwaconvert.formats.spectra.chime_msgpack.free_bytes", lambda: 1 << 20)
    for work in (stream.spectra, lambda: stream.waterfall(1.0, 128)):
        with pytest.raises(ResourceError, match="of memory, this machine has"):
            work()


def test_numbers_that_make_no_sense(tmp_path):
    stream = ChunkStream([write_chunk(tmp_path, small(0)[1])])
    with pytest.raises(InputError, match="100 sub-bands do not divide"):
        stream.waterfall(1.0, 100)
    with pytest.raises(InputError, match="finite"):
        stream.waterfall(np.nan, 128)
    with pytest.raises(Error):
        stream.waterfall(1e12, 128)
    assert stream.freq_mhz[-1] == FREQ_MHZ[0]
