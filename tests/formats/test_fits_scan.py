"""The header walk over raw files, against astropy and on damaged files."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mwaconvert import _core
from mwaconvert.errors import Error, FormatError, ResourceError

FLOAT, INT, RICE, OTHER, TRUNCATED = range(5)


def image_hdu(data, time_ms=1_000_500, **keys):
    hdu = fits.ImageHDU(data)
    hdu.header["TIME"], hdu.header["MILLITIM"] = divmod(time_ms, 1000)
    hdu.header.update(keys)
    return hdu


def write(path, *hdus, **primary):
    head = fits.PrimaryHDU()
    head.header.update(primary)
    fits.HDUList([head, *hdus]).writeto(path, output_verify="exception")
    return path


def compressed(path, data, *, quantise=False, tile=None, **keys):
    """Write a compressed image with the keywords on it."""
    kwargs = {} if quantise else {"quantize_level": 0}
    hdu = fits.CompImageHDU(data, compression_type=keys.pop("codec", "RICE_1"), tile_shape=tile, **kwargs)
    hdu.header["TIME"], hdu.header["MILLITIM"] = 1_000, 500
    hdu.header.update(keys)
    return write(path, hdu)


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(3).normal(0, 1000, (6, 72)).astype(np.int32)


def test_images(tmp_path, noise):
    path = write(
        tmp_path / "a.fits",
        image_hdu(noise.astype(np.float32), 1_512_140_080_500),
        image_hdu(noise, BSCALE=0.25),
        image_hdu(noise.astype(np.float64)),
        OBSID="1196175296",
        PROJID="it's",
        FINECHAN=10.0,
        NINPUTS=256,
        LONGEXP="",
    )
    keys, hdus = _core.scan_fits(str(path))
    assert keys["OBSID"] == "1196175296"
    assert keys["PROJID"] == "it's"
    assert keys["FINECHAN"] == 10.0
    assert keys["NINPUTS"] == 256
    assert keys["EXTEND"] is True
    assert hdus.dtype.names == (
        "hdu", "kind", "unix_ms", "marker", "naxis1", "naxis2", "bscale", "bzero", "data_offset",
        "row_bytes", "desc_offset", "desc_64", "rice_block", "heap_offset", "data_bytes",
    )  # fmt: skip
    assert hdus["hdu"].tolist() == [1, 2, 3]
    assert hdus["kind"].tolist() == [FLOAT, INT, OTHER]
    assert hdus["unix_ms"].tolist() == [1_512_140_080_500, 1_000_500, 1_000_500]
    assert hdus["bscale"].tolist() == [1, 0.25, 1]
    with fits.open(path) as reference:
        assert hdus["data_offset"].tolist() == [reference.fileinfo(k)["datLoc"] for k in (1, 2, 3)]
    assert hdus["data_bytes"].tolist() == [noise.size * 4, noise.size * 4, noise.size * 8]
    raw = np.fromfile(path, ">i4", noise.size, offset=hdus["data_offset"][1])
    np.testing.assert_array_equal(raw.reshape(noise.shape), noise)


def rice_rows(path, record):
    """Decode as the pipeline will: descriptors, then each row."""
    raw = path.read_bytes()
    kind = ">i8" if record["desc_64"] else ">i4"
    rows = []
    for k in range(record["naxis2"]):
        at = record["data_offset"] + k * record["row_bytes"] + record["desc_offset"]
        length, offset = np.frombuffer(raw, kind, 2, at)
        tile = np.frombuffer(raw, np.uint8, length, record["heap_offset"] + offset)
        rows.append(tile)
    return _core.rice_decode(rows, record["naxis1"], record["rice_block"])


def test_rice(tmp_path, noise):
    # enough keywords for a header of three blocks
    extra = {f"KEY{k}": k for k in range(70)}
    path = compressed(tmp_path / "a.fits", noise, tile=(1, 72), BSCALE=0.5, **extra)
    (record,) = _core.scan_fits(str(path))[1]
    assert record["kind"] == RICE
    assert (record["naxis1"], record["naxis2"], record["unix_ms"]) == (72, 6, 1_000_500)
    assert record["bscale"] == 0.5
    assert record["rice_block"] == 32
    np.testing.assert_array_equal(rice_rows(path, record), noise)


@pytest.mark.parametrize(
    "how",
    [
        {"codec": "GZIP_1"},
        {"tile": (2, 72)},
        {"tile": (1, 36)},
        {"dtype": np.int16},
        {"dtype": np.float32, "quantise": True},
    ],
)
def test_images_for_the_general_reader(tmp_path, noise, how):
    how = dict(how)
    data = noise.astype(how.pop("dtype", np.int32))
    path = compressed(tmp_path / "a.fits", data, tile=how.pop("tile", (1, 72)), **how)
    (record,) = _core.scan_fits(str(path))[1]
    assert record["kind"] == OTHER
    assert (record["naxis1"], record["naxis2"]) == (72, 6)


def test_tiles_in_the_gzip_column(mwa_data):
    for path in (mwa_data / "1196175296_legacy_synthetic").glob("*gpubox*.fits"):
        hdus = _core.scan_fits(str(path))[1]
        assert hdus["kind"].tolist() == [OTHER, OTHER]
        assert hdus["naxis1"].tolist() == [66048, 66048]


def test_zero_length_descriptor(tmp_path, noise):
    path = compressed(tmp_path / "a.fits", noise, tile=(1, 72))
    (record,) = _core.scan_fits(str(path))[1]
    raw = bytearray(path.read_bytes())
    at = record["data_offset"] + 2 * record["row_bytes"] + record["desc_offset"]
    raw[at : at + 4] = bytes(4)
    path.write_bytes(raw)
    assert _core.scan_fits(str(path))[1]["kind"].tolist() == [OTHER]
    raw[at : at + 4] = (10**6).to_bytes(4, "big")
    path.write_bytes(raw)
    with pytest.raises(FormatError, match="HDU 1: row 2 points outside the compressed data"):
        _core.scan_fits(str(path))


def test_cut_files(tmp_path, noise):
    whole = write(tmp_path / "a.fits", image_hdu(noise), image_hdu(noise, 2_000_000)).read_bytes()
    hdus = _core.scan_fits(str(tmp_path / "a.fits"))[1]
    path = tmp_path / "cut.fits"
    second = hdus["data_offset"][1]
    for size, kinds in [
        (second + noise.nbytes, [INT, INT]),  # only the padding is missing
        (second + noise.nbytes - 1, [INT, TRUNCATED]),
        (second, [INT, TRUNCATED]),
        (second - 2000, [INT, TRUNCATED]),
        (second - 2880, [INT]),
        (hdus["data_offset"][0], [TRUNCATED]),
    ]:
        path.write_bytes(whole[:size])
        assert _core.scan_fits(str(path))[1]["kind"].tolist() == kinds
    path.write_bytes(whole[: second - 2880] + bytes(5760))
    assert _core.scan_fits(str(path))[1]["kind"].tolist() == [INT, TRUNCATED]


@pytest.mark.parametrize("content", [b"", b"SIMPLE", b"\x89PNG" * 1000, b"a text file\n"])
def test_not_fits(tmp_path, content):
    path = tmp_path / "a.fits"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=r"a\.fits: not a FITS file$"):
        _core.scan_fits(str(path))


def edited(path, old, new):
    raw = path.read_bytes()
    assert raw.count(old) == 1
    path.write_bytes(raw.replace(old, new.ljust(len(old))))
    return str(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"XTENSION= 'IMAGE   '", b"XTENSION= 'TABLE   '", "HDU 1: expected an image, found TABLE"),
        (b"XTENSION= 'IMAGE   '", b"YTENSION= 'IMAGE   '", "HDU 1: expected an extension header"),
        (
            b"NAXIS1  =                   72",
            b"NAXIS1  =                  -72",
            "expected NAXIS1 between 0 and",
        ),
        (
            b"NAXIS1  =                   72",
            b"NAXIS1  = 9999999999999999999",
            "expected NAXIS1 between 0 and",
        ),
        (b"NAXIS1  =                   72", b"NAXIS1  = 'x'", "expected a number for NAXIS1"),
    ],
)
def test_malformed(tmp_path, noise, old, new, message):
    path = write(tmp_path / "a.fits", image_hdu(noise))
    with pytest.raises(FormatError, match=message):
        _core.scan_fits(edited(path, old, new))


@pytest.mark.parametrize(
    "card", [b"THYME   =                   12", b"TIME    = 'soon'", b"TIME    =                   -7"]
)
def test_an_hdu_without_a_time(tmp_path, noise, card):
    path = write(tmp_path / "a.fits", image_hdu(noise))
    whole = path.read_bytes()
    at = whole.index(b"TIME    = ")
    path.write_bytes(whole[:at] + card.ljust(30) + whole[at + 30 :])
    assert _core.scan_fits(str(path))[1]["unix_ms"].tolist() == [0]


def test_unreadable(tmp_path):
    with pytest.raises(ResourceError, match="cannot be opened: No such file"):
        _core.scan_fits(str(tmp_path / "none.fits"))
    with pytest.raises(ResourceError, match="not a regular file"):
        _core.scan_fits(str(tmp_path))


@pytest.fixture(scope="module")
def samples(tmp_path_factory, noise):
    folder = tmp_path_factory.mktemp("samples")
    return [
        write(folder / "plain.fits", image_hdu(noise), image_hdu(noise.astype(np.float32))),
        compressed(folder / "rice.fits", noise, tile=(1, 72)),
    ]


@settings(max_examples=400, deadline=None)
@example(which=1, bytes_=[(320, 0), (22080, 128)], digits=[], cut=5200)  # bytes that are not text
@given(
    which=st.integers(0, 1),
    bytes_=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=8),
    digits=st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from(b"09-.E")), max_size=3),
    cut=st.integers(0, 10**6),
)
def test_mutated_files_give_a_record_or_an_error(samples, which, bytes_, digits, cut):
    raw = bytearray(samples[which].read_bytes())
    places = [k for k in range(min(len(raw), 11520)) if 48 <= raw[k] <= 57]
    for at, value in bytes_:
        raw[at % len(raw)] = value
    for at, value in digits:  # digits of header values do the most harm
        raw[places[at % len(places)]] = value
    with tempfile.NamedTemporaryFile(suffix=".fits") as file:
        file.write(raw[:cut])
        file.flush()
        try:
            hdus = _core.scan_fits(file.name)[1]
        except Error:
            return
        size = Path(file.name).stat().st_size
        for record in hdus:
            if record["kind"] in (FLOAT, INT):
                assert record["data_offset"] + 4 * record["naxis1"] * record["naxis2"] <= size
