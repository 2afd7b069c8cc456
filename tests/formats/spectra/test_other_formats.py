"""HDF5, msgpack and voltages: files written to their descriptions, and damaged ones."""

import sys
from itertools import pairwise
from pathlib import Path

import bitshuffle
import h5py
import msgpack
import numpy as np
import pytest

from mwaconvert.errors import Error, FormatError, InputError, MetadataError
from mwaconvert.formats.spectra.hdf5 import Fbh5Writer
from mwaconvert.transients import open, open_stream

RNG = np.random.default_rng(5)
EDGE = 400.1953125


def in_pieces(stream, *cuts):
    """The same from pieces."""
    whole = stream.spectra()
    edges = [0, *cuts, stream.n_times]
    for low, high in pairwise(edges):
        part = stream.spectra(low, high - low)
        np.testing.assert_array_equal(part.data, whole.data[:, low:high])
        if whole.weights is not None and whole.weights.ndim == 2 and part.weights is not None:
            np.testing.assert_array_equal(part.weights, whole.weights[:, low:high])
    return whole


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_fbh5(tmp_path, dtype):
    data = RNG.integers(0, 256, (16, 2500)).astype(dtype)
    path = tmp_path / "a.h5"
    head = {"tstart": 58000.25, "source_name": "x", "telescope_id": 6}
    with Fbh5Writer(path, 1400 + np.arange(16.0), 1e-3, dtype, header=head) as writer:
        writer.write(data[:, :1000])
        writer.write(data[:, 1000:])
    with h5py.File(path) as file:
        assert (file.attrs["CLASS"], file["data"].shape) == ("FILTERBANK", (2500, 1, 16))
        assert file["data"].attrs["foff"] == -1.0
        assert [d.label for d in file["data"].dims] == ["time", "feed_id", "frequency"]
        np.testing.assert_array_equal(file["data"][:, 0, 0], data[-1])
    stream = open_stream(path)
    read = in_pieces(stream, 7, 1024)
    np.testing.assert_array_equal(read.data, data)
    assert (read.data.dtype, read.start_mjd, read.source) == (np.dtype(dtype), 58000.25, "x")
    assert stream.fields["telescope_id"] == 6
    stream.close()


def chime_h5(path, *, freq, weight="f4", times=None, n=40):
    intensity = RNG.normal(5, 1, (64, 2, n)).astype("f4")
    weights = RNG.integers(0, 2, (64, 2, n)).astype(weight)
    times = 1.6e9 + 0.00098304 * np.arange(n) if times is None else times
    with h5py.File(path, "w") as file:
        file["intensity"], file["weight"] = intensity, weights
        index = file.create_group("index_map")
        index["freq"], index["pol"], index["time"] = freq, [b"XX", b"YY"], times
    return intensity, weights


@pytest.mark.parametrize(("weight", "shift"), [("f4", 0.0), ("u1", 0.5)])
@pytest.mark.parametrize("descending", [False, True])
def test_chime_intensity(tmp_path, weight, shift, descending):
    """Edges and centres of channels, either order, weights of either type."""
    step = 400 / 64
    freq = EDGE + step * (np.arange(64) + shift)
    if descending:
        freq = EDGE + 400 - step * (np.arange(64) + shift)
    intensity, weights = chime_h5(tmp_path / "a.h5", freq=freq * 1e6, weight=weight)
    read = in_pieces(open_stream(tmp_path / "a.h5"), 13)
    np.testing.assert_allclose(read.freq_mhz, EDGE + step * (np.arange(64) + 0.5))
    want = (intensity * weights).sum(1) / np.maximum(weights.sum(1), 1)
    order = slice(None, None, -1 if descending else 1)
    np.testing.assert_allclose(read.data, want[order], rtol=1e-6)
    np.testing.assert_allclose(read.weights, weights.mean(1)[order])
    assert read.dt_s == pytest.approx(0.00098304, rel=1e-6)
    assert read.start_mjd == pytest.approx(40587 + 1.6e9 / 86400)


def test_chime_intensity_with_gaps(tmp_path):
    times = 0.00098304 * np.r_[0:10, 15:45]
    chime_h5(tmp_path / "a.h5", freq=(EDGE + 6.25 * np.arange(64)) * 1e6, times=times)
    read = in_pieces(open_stream(tmp_path / "a.h5"), 12, 14, 30)
    assert read.n_times == 45
    assert read.weights[:, 10:15].max() == 0
    assert "5 samples are missing" in " ".join(read.notes)
    chime_h5(tmp_path / "b.h5", freq=(EDGE + 6.25 * np.arange(64)) * 1e6, times=times[::-1])
    with pytest.raises(FormatError, match="do not ascend"):
        open(tmp_path / "b.h5")


def test_catalogue(tmp_path):
    wfall = RNG.normal(0, 1, (128, 30))
    wfall[3] = np.nan
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("frb")
        group["wfall"], group["plot_freq"] = wfall, EDGE + 3.125 * (np.arange(128) + 0.5)
        group["plot_time"] = 0.98304 * np.arange(30)
        group.attrs["dm"], group.attrs["tns_name"] = 348.8, np.bytes_("FRB1")
    read = open(tmp_path / "a.h5")
    np.testing.assert_array_equal(read.data[0], wfall[-1].astype("f4"))
    assert (read.dm, read.source, read.weights[124].max()) == (348.8, "FRB1", 0)
    assert read.dt_s == pytest.approx(0.98304e-3)


def test_damaged_hdf5(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["colours"] = [1]
    with pytest.raises(FormatError, match="found colours"):
        open(path)
    chime_h5(path, freq=np.arange(1, 10) * 1e8)
    with pytest.raises(FormatError, match="9 frequencies and 40 times"):
        open(path)
    with h5py.File(path, "w") as file:
        file.attrs["CLASS"] = "FILTERBANK"
        file["data"] = np.zeros((4, 1, 8), "f4")
    with pytest.raises(FormatError, match="attribute fch1"):
        open(path)
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(FormatError, match="not a sound HDF5 file"):
        open(path)


def chunk(fpga0: int, *, compression: int = 1, version: int = 2, beam: int = 7) -> list:
    """Items of a chunk of 16 x 1024 channels, 4 blocks of 16 samples."""
    data = np.random.default_rng(fpga0).integers(0, 256, (16384, 64), dtype=np.uint8)
    scales, offsets = (np.linspace(a, b, 4096, dtype="<f4") for a, b in ((0.5, 2), (-3, 3)))
    packed = bitshuffle.compress_lz4(data.ravel()).tobytes() if compression else data.tobytes()
    items = [b"assembled_chunk in msgpack format", version, compression, len(packed), beam, 16, 16, 384, 4]
    items += [4096, data.size, fpga0, 64 * 384, 1, scales.tobytes(), offsets.tobytes(), packed]
    if version == 2:
        mask = np.full((1024, 8), 255, np.uint8)
        mask[0, 0] = 0b11111101  # the second sample of the highest 16 channels
        items += [1_600_000_000_000_000_000, 1024, True, mask.tobytes()]
    return items


def write_chunk(path: Path, items: list) -> Path:
    path.write_bytes(msgpack.packb(items))
    return path


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("compression", [0, 1])
def test_msgpack(tmp_path, version, compression):
    path = write_chunk(tmp_path / "a.msgpack", chunk(384 * 640, version=version, compression=compression))
    read = in_pieces(open_stream(path), 5, 33)
    raw = np.random.default_rng(384 * 640).integers(0, 256, (16384, 64), dtype=np.uint8)
    scales, offsets = (np.linspace(a, b, 4096, dtype="f4").reshape(1024, 4) for a, b in ((0.5, 2), (-3, 3)))
    c, t = 100, 20  # of the file: from the highest channel
    want = raw[c, t] * scales[c // 16, t // 16] + offsets[c // 16, t // 16]
    assert read.data[16383 - c, t] == pytest.approx(want, rel=1e-6)
    weights = ((raw > 0) & (raw < 255)).astype("f4")
    if version == 2:
        weights[:16, 1] = 0
        assert read.start_mjd == pytest.approx(40587 + (1.6e9 + 384 * 640 * 2.56e-6) / 86400, abs=1e-9)
    np.testing.assert_array_equal(read.weights, weights[::-1])
    assert (read.freq_mhz[0], read.dt_s) == pytest.approx((400.20751953125, 0.00098304))


def test_chunks_of_an_event(tmp_path):
    for k in (10, 9, 12):
        write_chunk(tmp_path / f"beam_{k}.msgpack", chunk(384 * 64 * k))
    stream = open_stream(tmp_path)
    assert (stream.n_times, stream.fields["files"]) == (256, 3)
    read = stream.spectra()
    np.testing.assert_array_equal(read.data[:, 64:128], open(tmp_path / "beam_10.msgpack").data)
    assert read.weights[:, 128:192].max() == 0
    assert "64 samples are missing" in read.notes[0]
    write_chunk(tmp_path / "other.msgpack", chunk(0, beam=8))
    with pytest.raises(FormatError, match="beam"):
        open(tmp_path)
    write_chunk(tmp_path / "other.msgpack", chunk(384 * 64 * 9))
    with pytest.raises(FormatError, match="the same samples twice"):
        open(tmp_path)


@pytest.mark.parametrize(
    ("item", "value", "message"),
    [
        (1, 3, "version 3"),
        (5, 0, "do not make"),
        (10, 1 << 40, "do not make"),
        (11, 5, "from 5 on"),
        (14, b"", "0 scales, expected 4096"),
        (16, b"\xff" * 9, "end too early"),
        (18, 7, "a mask of 7 channels"),
        (4, "beam", "damaged chunk"),
    ],
)
def test_damaged_chunks(tmp_path, item, value, message):
    items = chunk(0)
    items[item] = value
    with pytest.raises(FormatError, match=message):
        open(write_chunk(tmp_path / "a.msgpack", items))


def test_cut_chunk(tmp_path):
    path = write_chunk(tmp_path / "a.msgpack", chunk(0))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FormatError, match="not a sound msgpack"):
        open(path)


BAND = (800.1953125, 400.1953125)


def vdif_sample(name: str) -> Path:
    import baseband.data

    return Path(baseband.data.__path__[0]) / name


def test_vdif(tmp_path):
    from baseband import vdif

    path = vdif_sample("sample_arochime.vdif")
    with pytest.raises(InputError, match="edges of the band, see `band_mhz`"):
        open(path)
    stream = open_stream(path, band_mhz=BAND)
    read = in_pieces(stream, 2)
    stream.close()
    with vdif.open(str(path), "rb") as file:
        frames = [file.read_frame() for _ in range(2)]
    first = sum(np.abs(frame.data[0]) ** 2 for frame in frames)
    np.testing.assert_allclose(read.data[::-1, 0], first, rtol=1e-5)
    assert (read.n_chan, read.n_times, read.dt_s) == (1024, 5, pytest.approx(2.56e-6))
    assert read.freq_mhz[-1] == 800.0
    assert read.start_mjd == pytest.approx(57500.36495125879)
    assert open(path, band_mhz=BAND, average=2).n_times == 2


@pytest.mark.parametrize(
    ("name", "rate_mhz", "n_chan", "bits", "complex_data"),
    [
        ("SAMPLE_VLBI_VDIF", 32, 1, 2, False),  # eight threads of a VLBA station
        ("SAMPLE_MWA_VDIF", 1.28, 2, 8, True),  # two polarisations of a coarse channel of the MWA
        ("SAMPLE_BPS1_VDIF", 2, 16, 1, False),
    ],
)
def test_vdif_of_observatories(name, rate_mhz, n_chan, bits, complex_data):
    """Files that radio telescopes have written, as the package baseband brings them."""
    import astropy.units as u
    import baseband.data
    from baseband import vdif

    path = Path(getattr(baseband.data, name, ""))
    if not path.is_file():
        pytest.skip(f"this version of baseband has no {name}")
    width = rate_mhz * n_chan / (1 if complex_data else 2)
    stream = open_stream(path, band_mhz=(150.0, 150.0 + width))
    assert (stream.n_chan, stream.fields["bits"], stream.fields["complex"]) == (n_chan, bits, complex_data)
    read = in_pieces(stream, 777)
    start = stream.start_mjd
    stream.close()
    with vdif.open(str(path), "rs", sample_rate=rate_mhz * u.MHz, squeeze=False) as file:
        volts = file.read()  # (time, thread, channel)
        assert start == pytest.approx(file.start_time.mjd, abs=1e-9)
    want = (np.abs(volts.astype(np.complex128)) ** 2).sum(1)
    if not complex_data:
        want = want[: len(want) // 2 * 2].reshape(-1, 2, n_chan).mean(1) * 2
    np.testing.assert_allclose(read.data, want.T, rtol=1e-5)
    assert read.dt_s == pytest.approx((1 if complex_data else 2) / (rate_mhz * 1e6))


def test_vdif_tone(tmp_path):
    """A tone ends up in the channel of its frequency; real voltages of one channel, split into 16."""
    import astropy.units as u
    from astropy.time import Time
    from baseband import vdif

    rate, tone = 32e6, 1300 + 5.0
    volts = np.cos(2 * np.pi * (tone - 1300) * 1e6 * np.arange(64000) / rate).astype("f4") * 3
    path = tmp_path / "tone.bin"
    with vdif.open(
        str(path),
        "ws",
        sample_rate=rate * u.Hz,
        samples_per_frame=8000,
        nthread=1,
        nchan=1,
        bps=8,
        complex_data=False,
        edv=0,
        station=1,
        time=Time(58000.0, format="mjd"),
    ) as file:
        file.write(volts)
    read = open(path, band_mhz=(1300, 1316), channels=16, average=10)
    assert read.n_times == 64000 // 320
    assert read.freq_mhz[read.data.mean(1).argmax()] == 1305.0
    assert read.dt_s == pytest.approx(1e-5)


def test_damaged_vdif():
    path = vdif_sample("sample_drao_corrupted.vdif")
    with pytest.raises(FormatError):
        open(path, band_mhz=BAND)


def test_options_of_voltages_are_refused_elsewhere(tmp_path):
    path = write_chunk(tmp_path / "a.msgpack", chunk(0))
    with pytest.raises(InputError, match="for voltages only"):
        open(path, channels=4)
    with pytest.raises(InputError, match="one file of VDIF at a time"):
        open([vdif_sample("sample_arochime.vdif")] * 2)


@pytest.fixture(scope="module")
def array(tmp_path_factory):
    """Metafits of an MWAX observation of 8 tiles, of which tile 5 is flagged."""
    from mwaconvert.simulate import simulate

    folder = tmp_path_factory.mktemp("array")
    return simulate(
        folder,
        "mwax-128",
        n_tiles=8,
        duration_s=2,
        coarse_channels=(120, 121),
        flagged_tiles=[5],
        fine_khz=640,
    ).metafits


HEAD = "HDR_SIZE 4096\nNTIMESAMPLES {samples}\nNINPUTS {inputs}\nSECS_PER_SUBOBS 8\nSAMPLE_RATE {rate}\n"


def write_sub(metafits: Path, second: int, channel: int, volts: np.ndarray) -> Path:
    """volts (block, input, sample) complex; the first block on disk holds delays."""
    blocks, inputs, samples = volts.shape
    head = HEAD.format(samples=samples, inputs=inputs, rate=blocks * samples // 8)
    obsid = metafits.name[:10]
    path = metafits.with_name(f"{obsid}_{int(obsid) + second}_{channel}.sub")
    numbers = np.rint(np.stack([volts.real, volts.imag], -1)).astype(np.int8)
    path.write_bytes(head.encode().ljust(4096, b"\0") + bytes(inputs * samples * 2) + numbers.tobytes())
    return path


def test_mwax_voltages(array, tmp_path):
    metafits = tmp_path / array.name
    metafits.write_bytes(array.read_bytes())
    with pytest.raises(InputError, match="no voltages of"):
        open(metafits)
    # a tone in bin 40 of 64 on all inputs; input 11 (of the flagged tile) is wild
    samples = np.arange(640)
    tone = 20 * np.exp(2j * np.pi * (40 - 32) / 64 * samples)
    volts = np.broadcast_to(tone, (16, 16, 640)) + RNG.normal(0, 2, (16, 16, 640))
    volts[:, 10:12] = 100
    write_sub(metafits, 0, 120, volts)
    write_sub(metafits, 8, 120, volts)
    write_sub(metafits, 8, 121, volts)
    stream = open_stream(metafits, channels=64, average=5)
    assert (stream.n_chan, stream.n_times, stream.dt_s) == (128, 2 * 16 * 2, pytest.approx(8 / 32))
    assert "14 of 16" in stream.fields["inputs"]
    read = in_pieces(stream, 3, 33)
    assert read.data[:64, 0].argmax() == 40
    assert read.freq_mhz[40] == pytest.approx(120 * 1.28 + 8 * 1.28 / 64)
    assert read.data[40, 0] == pytest.approx(14 * 20**2 * 64, rel=0.02)
    assert (read.weights[64:, :32].max(), read.weights[64:, 32:].min()) == (0, 1)
    assert "1 missing file" in read.notes[0]
    for options, message in [
        ({"channels": 7}, "7 fine channels"),
        ({"average": 3, "channels": 64}, "averages of 3"),
    ]:
        with pytest.raises(InputError, match=message):
            open(metafits, **options)
    path = write_sub(metafits, 16, 120, volts)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FormatError, match="it is cut"):
        open(metafits)
    path.write_bytes(b"no header")
    with pytest.raises(FormatError, match="expected a header"):
        open(metafits)


def test_legacy_voltages(tmp_path):
    """A second of 128 tiles, of which the first tenth is there and the rest a hole in the file."""
    from mwaconvert.simulate import simulate

    metafits = simulate(
        tmp_path,
        "legacy-128",
        duration_s=1,
        int_time_s=1,
        coarse_channels=(131,),
        fine_khz=640,
        flagged_tiles=[3],
    ).metafits
    obsid = metafits.name[:10]
    path = tmp_path / f"{obsid}_{obsid}_ch131.dat"
    block = np.zeros((1000, 128, 256), np.uint8)
    block[:, 5] = 0x31  # 3 and 1: power 10
    block[:, 9] = 0x8F  # -8 and -1: power 65
    with path.open("wb") as file:
        file.write(block.tobytes())
        file.truncate(10000 * 128 * 256)
    stream = open_stream(metafits, average=100)
    assert (stream.n_chan, stream.n_times, stream.dt_s) == (128, 100, pytest.approx(0.01))
    read = stream.spectra(0, 12)
    np.testing.assert_array_equal(read.data[5], [2540.0] * 10 + [0, 0])
    np.testing.assert_array_equal(read.data[9, :10], 254 * 65.0)
    assert read.freq_mhz[5] == pytest.approx(131 * 1.28 - 0.64 + 0.05)
    with path.open("ab") as file:
        file.write(b"x")
    with pytest.raises(FormatError, match="not combined"):
        open(metafits)


def test_all_inputs_flagged(array, tmp_path):
    from astropy.io import fits

    metafits = tmp_path / array.name
    with fits.open(array) as hdus:
        hdus["TILEDATA"].data["Flag"] = 1
        hdus.writeto(metafits)
    write_sub(metafits, 0, 120, np.ones((16, 16, 640)))
    with pytest.raises(MetadataError, match="all inputs are flagged"):
        open(metafits)


@pytest.mark.parametrize(
    ("package", "extra"),
    [
        ("h5py", "hdf5"),
        ("hdf5plugin", "hdf5"),
        ("msgpack", "chime"),
        ("baseband.vdif", "vdif"),
    ],
)
def test_a_missing_package_is_named(tmp_path, monkeypatch, package, extra):
    path = vdif_sample("sample_arochime.vdif")
    if extra == "hdf5":
        chime_h5(tmp_path / "a.h5", freq=np.arange(1, 65) * 1e7)
        path = tmp_path / "a.h5"
    elif extra == "chime":
        path = write_chunk(tmp_path / "a.msgpack", chunk(0))
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf"pip install 'mwaconvert\[{extra}\]'") as error:
        open(path, band_mhz=BAND if extra == "vdif" else None)
    assert package.partition(".")[0] in str(error.value)


def test_every_kind_of_rubbish(tmp_path):
    path = tmp_path / "a"
    for magic in (
        b"",
        b"SIMPLE  =",
        b"\x89HDF\r\n\x1a\n",
        b"PK\x03\x04",
        b"\xdc\x00\x11",
        b"HDR_SIZE 4096",
        b"abc",
        bytes(500),
    ):
        path.write_bytes(magic + b"rubbish" * 30 * bool(magic))
        with pytest.raises(Error):
            open(path)


def test_attributes_of_hdf5_that_are_no_text(tmp_path):
    """In a damaged file sequences of any length led the HDF5 library out of its memory: they are not looked at."""
    import h5py

    odd = np.empty(1, object)
    odd[0] = np.array([1, 2], np.uint8)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.attrs.create("CLASS", odd, dtype=h5py.vlen_dtype(np.uint8))
        file["data"] = np.zeros((20, 1, 8), np.uint8)
    with pytest.raises(FormatError, match="expected a filterbank"):
        open(path)
    with h5py.File(path, "a") as file:
        file.attrs["CLASS"] = "FILTERBANK"
        file["data"].attrs.update({"fch1": 1400.0, "foff": -1.0, "tsamp": 1e-3})
        file["data"].attrs.create("odd", odd, dtype=h5py.vlen_dtype(np.uint8))
    assert open(path).n_times == 20
    assert "odd" not in open_stream(path).fields
