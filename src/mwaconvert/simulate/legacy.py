"""Raw files of the legacy correlator: one image HDU for each integration."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from mwaconvert.errors import InputError
from mwaconvert.simulate.metafits import Instrument
from mwaconvert.simulate.products import Block, LegacyProducts
from mwaconvert.simulate.rawfile import Card, header_bytes, image_cards, name_time, padding, time_cards

RICE_BLOCK = 32


class LegacyWriter:
    """Lays out the files of a legacy observation."""

    def __init__(self, instrument: Instrument, bscale: float | None, compress: bool) -> None:
        """
        Parameters
        ----------
        bscale : None: float32; otherwise int32 steps of this many Jansky
        compress : Rice tiles, one for each fine channel (int32 only)
        """
        self._instrument = instrument
        self._bscale = bscale
        self._compress = compress
        self.products = LegacyProducts(instrument.inputs, instrument.n_fine)

    def file_name(self, start_unix_s: float, coarse: int, batch: int) -> str:
        """Name of the file of a coarse channel and batch."""
        box = self._instrument.gpubox[coarse]
        return f"{self._instrument.obsid}_{name_time(start_unix_s)}_gpubox{box:02d}_{batch:02d}.fits"

    def hdu_bytes(self) -> int:
        """Size of one integration in a file, about."""
        n_bytes = int(np.prod(self.products.shape)) * 8
        return n_bytes + padding(n_bytes) + 2880

    def write_primary(self, out: BinaryIO, start_unix_s: float, coarse: int, marker: int) -> None:  # noqa: ARG002
        """Write the primary HDU."""
        inst = self._instrument
        cards: list[Card] = [
            ("SIMPLE", True, "conforms to FITS standard"),
            ("BITPIX", 8, "array data type"),
            ("NAXIS", 0, "number of array dimensions"),
            ("EXTEND", True, ""),
            *time_cards(start_unix_s, marker),
            ("INTTIME", inst.int_time_s, "Integration time (s)"),
            ("PROJID", inst.project, "MWA Project Id"),
            ("OBSID", inst.obsid, "MWA Observation Id"),
            ("NFINECHS", inst.n_fine, "Number of fine channels"),
            ("FINECHAN", inst.fine_width_hz / 1e3, "[kHz] Fine channel width"),
            ("NINPUTS", 2 * inst.n_antennas, "Number of rf inputs"),
        ]
        out.write(header_bytes(cards))

    def write_integration(self, out: BinaryIO, block: Block, start_unix_s: float, marker: int) -> None:
        """Write the HDU of one integration; the block is overwritten."""
        cards = time_cards(start_unix_s, marker)
        floats = block.view(np.float32)
        n_fine, n_floats = floats.shape
        if self._bscale is None:
            out.write(header_bytes([*image_cards(-32, n_floats, n_fine), *cards]))
            floats.byteswap(inplace=True)
            out.write(floats.data)
            out.write(b"\0" * padding(floats.nbytes))
            return
        cards.append(("BSCALE", self._bscale, "Incorporates channel and time averaging"))
        integers = self._quantise(floats)
        if self._compress:
            out.write(_rice_hdu(integers, cards))
            return
        out.write(header_bytes([*image_cards(32, n_floats, n_fine), *cards]))
        integers.byteswap(inplace=True)
        out.write(integers.data)
        out.write(b"\0" * padding(integers.nbytes))

    def _quantise(self, floats: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
        assert self._bscale is not None
        floats /= np.float32(self._bscale)
        np.rint(floats, out=floats)
        if max(-floats.min(), floats.max()) >= 2**31:
            raise InputError(
                f"bscale {self._bscale}: the visibilities exceed 32-bit integers; choose a larger one"
            )
        return floats.astype(np.int32)


def _rice_hdu(integers: npt.NDArray[np.int32], cards: list[Card]) -> bytes:
    """A tile-compressed image HDU of (n_fine, n) integers, one tile for each row."""
    import io

    from astropy.io import fits

    hdu = fits.CompImageHDU(
        integers, compression_type="RICE_1", tile_shape=(1, integers.shape[1]), name="COMPRESSED_IMAGE"
    )
    for key, value, comment in cards:
        hdu.header[key] = (value, comment)
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(buffer)
    return buffer.getvalue()[2880:]
