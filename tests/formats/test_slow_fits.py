"""Any codec and number type, against the numbers that went in."""

import numpy as np
import pytest
from astropy.io import fits

from mwaconvert.errors import FormatError
from mwaconvert.formats.slow_fits import decode_hdu

DATA = np.random.default_rng(5).integers(-1000, 1000, (4, 24))


@pytest.mark.parametrize("codec", ["RICE_1", "GZIP_1", "GZIP_2", "HCOMPRESS_1"])
def test_codecs(codec, tmp_path):
    path = tmp_path / "a.fits"
    hdu = fits.CompImageHDU(DATA.astype(np.int32), compression_type=codec, tile_shape=(4, 24))
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    found = decode_hdu(path, 1)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, DATA)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.int64, np.float32, np.float64])
def test_number_types_and_scale(dtype, tmp_path):
    path = tmp_path / "a.fits"
    data = np.abs(DATA % 100).astype(dtype)
    hdu = fits.ImageHDU(data)
    hdu.header["BSCALE"] = 0.25
    hdu.header["BZERO"] = 3.0
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    np.testing.assert_array_equal(decode_hdu(path, 1), data * 0.25 + 3)


def test_errors(tmp_path):
    path = tmp_path / "a.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros(4))]).writeto(path)
    with pytest.raises(FormatError, match=r"a\.fits: HDU 1: expected an image of 2 axes"):
        decode_hdu(path, 1)
    with pytest.raises(FormatError, match=r"a\.fits: HDU 7: cannot be decoded: "):
        decode_hdu(path, 7)
    hdu = fits.CompImageHDU(DATA.astype(np.int32), compression_type="GZIP_1", tile_shape=(4, 24))
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, overwrite=True)
    raw = bytearray(path.read_bytes())
    at = raw.index(b"\x1f\x8b")
    raw[at : at + 40] = bytes(40)
    path.write_bytes(raw)
    with pytest.raises(FormatError, match=r"a\.fits: HDU 1: cannot be decoded: "):
        decode_hdu(path, 1)
