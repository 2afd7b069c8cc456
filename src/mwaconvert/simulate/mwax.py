"""MWAX raw files: pairs of float32 HDUs, visibilities and weights."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from mwaconvert.simulate.metafits import Instrument
from mwaconvert.simulate.products import Block, MwaxProducts
from mwaconvert.simulate.rawfile import MARK, Card, header_bytes, image_cards, name_time, padding, time_cards


class MwaxWriter:
    """Lays out the files of an MWAX observation."""

    def __init__(self, instrument: Instrument, weights: npt.NDArray[np.float32]) -> None:
        """`weights` : (n_baselines, 4), written with every integration"""
        self._instrument = instrument
        self._weights = weights.astype(">f4").tobytes()
        self.products = MwaxProducts(instrument.n_antennas, instrument.n_fine)

    def file_name(self, start_unix_s: float, coarse: int, batch: int) -> str:
        """Name of the file of a coarse channel and batch."""
        channel = self._instrument.channels[coarse]
        return f"{self._instrument.obsid}_{name_time(start_unix_s)}_ch{channel:03d}_{batch:03d}.fits"

    def hdu_bytes(self) -> int:
        """Size of one integration in a file."""
        n_bytes = int(np.prod(self.products.shape)) * 8
        return n_bytes + padding(n_bytes) + len(self._weights) + padding(len(self._weights)) + 2 * 2880

    def write_primary(self, out: BinaryIO, start_unix_s: float, coarse: int, marker: int) -> None:
        """Write the primary HDU."""
        inst = self._instrument
        cards: list[Card] = [
            ("SIMPLE", True, "conforms to FITS standard"),
            ("BITPIX", 8, "array data type"),
            ("NAXIS", 0, "number of array dimensions"),
            ("EXTEND", True, ""),
            ("CORR_VER", 2, "MWA Correlator Version"),
            ("COMMENT", "", "Visibilities: 1 integration per HDU: [baseline][finechan][pol][r,i]"),
            ("COMMENT", "", "Weights: 1 integration per HDU: [baseline][pol][weight]"),
            *time_cards(start_unix_s, marker),
            ("PROJID", inst.project, "MWA Project Id"),
            ("OBSID", inst.obsid, "MWA Observation Id"),
            ("FINECHAN", inst.fine_width_hz / 1e3, "[kHz] Fine channel width"),
            ("NFINECHS", inst.n_fine, "Number of fine channels in this coarse channel"),
            ("INTTIME", inst.int_time_s, "Integration time (s)"),
            ("NINPUTS", 2 * inst.n_antennas, "Number of rf inputs"),
            ("CORRHOST", "simulated", "Correlator host"),
            ("CORRCHAN", coarse, "Correlator coarse channel"),
            ("U2S_VER", "simulated", "Version of the UDP to sub-file software"),
            ("CBF_VER", "simulated", "Version of the correlator software"),
            ("DB2F_VER", "simulated", "Version of the FITS writer"),
            ("COMMENT", "", MARK),
        ]
        out.write(header_bytes(cards))

    def write_integration(self, out: BinaryIO, block: Block, start_unix_s: float, marker: int) -> None:
        """Write the HDUs of one integration; the block's bytes are swapped in place."""
        n_baselines, n_fine, n_pol = self.products.shape
        times = time_cards(start_unix_s, marker)
        out.write(header_bytes([*image_cards(-32, n_fine * n_pol * 2, n_baselines), *times]))
        floats = block.view(np.float32)
        floats.byteswap(inplace=True)
        out.write(floats.data)
        out.write(b"\0" * padding(floats.nbytes))
        out.write(header_bytes([*image_cards(-32, n_pol, n_baselines), *times]))
        out.write(self._weights)
        out.write(b"\0" * padding(len(self._weights)))
