"""Raw files of the legacy correlator: one image HDU for each integration."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.errors import InputError
from mwaconvert.simulate.metafits import Instrument
from mwaconvert.simulate.products import Block, LegacyProducts
from mwaconvert.simulate.rawfile import MARK, Card, header_bytes, image_cards, name_time, padding, time_cards

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
        """Size of one integration in a file; at least, if compressed."""
        n_bytes = int(np.prod(self.products.shape)) * (1 if self._compress else 8)
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
            ("COMMENT", "", MARK),
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
    rows, columns = integers.shape
    tiles = [_core.rice_encode(row, RICE_BLOCK) for row in integers]
    sizes = np.array([len(tile) for tile in tiles])
    descriptors = np.stack([sizes, np.cumsum(sizes) - sizes], axis=1).astype(">i4")
    table: list[Card] = [
        ("XTENSION", "BINTABLE", "binary table extension"),
        ("BITPIX", 8, "array data type"),
        ("NAXIS", 2, "number of array dimensions"),
        ("NAXIS1", 8, "width of table in bytes"),
        ("NAXIS2", rows, "number of rows in table"),
        ("PCOUNT", int(sizes.sum()), "number of group parameters"),
        ("GCOUNT", 1, "number of groups"),
        ("TFIELDS", 1, "number of fields in each row"),
        ("TTYPE1", "COMPRESSED_DATA", "label for field 1"),
        ("TFORM1", f"1PB({sizes.max()})", "data format of field: variable length array"),
        ("ZIMAGE", True, "extension contains compressed image"),
        ("ZTENSION", "IMAGE", "IMAGE extension"),
        ("ZBITPIX", 32, "number of bits per data pixel"),
        ("ZNAXIS", 2, "number of data axes"),
        ("ZNAXIS1", columns, "length of data axis 1"),
        ("ZNAXIS2", rows, "length of data axis 2"),
        ("ZPCOUNT", 0, "required keyword; must = 0"),
        ("ZGCOUNT", 1, "required keyword; must = 1"),
        ("ZTILE1", columns, "size of tiles to be compressed"),
        ("ZTILE2", 1, "size of tiles to be compressed"),
        ("ZCMPTYPE", "RICE_1", "compression algorithm"),
        ("ZNAME1", "BLOCKSIZE", "compression block size"),
        ("ZVAL1", RICE_BLOCK, "pixels per block"),
        ("ZNAME2", "BYTEPIX", "bytes per pixel (1, 2, 4, or 8)"),
        ("ZVAL2", 4, "bytes per pixel (1, 2, 4, or 8)"),
        ("EXTNAME", "COMPRESSED_IMAGE", "name of this binary table extension"),
        *cards,
    ]
    data = descriptors.tobytes() + b"".join(tile.tobytes() for tile in tiles)
    return header_bytes(table) + data + b"\0" * padding(len(data))
