"""Where each correlation product stands in a raw HDU."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from mwaconvert.arrays import FloatArray, IntArray

Block = npt.NDArray[np.complex64]


class Products(Protocol):
    """Order of the data of one integration and coarse channel."""

    #: of the complex64 block that holds them
    shape: tuple[int, ...]

    def add(self, block: Block, channels: slice, p: int, q: int, matrix: Block) -> None:
        """Add <e_ip e_jq*> to the products of polarisations p, q.

        Parameters
        ----------
        block : of `shape`
        channels : fine channels of `matrix`
        matrix : (n_channels, n_ant, n_ant), element [c, i, j]
        """

    def scale(self, block: Block, gains: FloatArray, passband: FloatArray) -> None:
        """Multiply each product by the gains (n_ant, 2 pol) of its inputs and by passband (n_fine,)."""

    def scale_autos(self, block: Block, factor: float, offset: float) -> None:
        """Multiply the autocorrelations XX and YY by a factor, then add an offset."""

    def make_hermitian(self, block: Block) -> None:
        """Make autocorrelations real, and redundant products the conjugate of their twins."""


class MwaxProducts:
    """[baseline][fine channel][XX, XY, YX, YY], baselines 0-0, 0-1, ... in the order of antennas."""

    def __init__(self, n_antennas: int, n_fine: int) -> None:
        self.ant1, self.ant2 = (a.astype(np.int64) for a in np.triu_indices(n_antennas))
        self.shape: tuple[int, ...] = (len(self.ant1), n_fine, 4)
        self._flat = self.ant1 * n_antennas + self.ant2
        self._autos = np.flatnonzero(self.ant1 == self.ant2)

    def add(self, block: Block, channels: slice, p: int, q: int, matrix: Block) -> None:
        values = np.take(matrix.reshape(len(matrix), -1), self._flat, axis=1)
        block[:, channels, 2 * p + q] += values.T

    def scale(self, block: Block, gains: FloatArray, passband: FloatArray) -> None:
        pairs = gains[self.ant1][:, :, None] * gains[self.ant2][:, None, :]
        amplitude = pairs.reshape(-1, 1, 4).astype(np.float32)
        block *= amplitude
        block *= passband.astype(np.float32)[None, :, None]

    def scale_autos(self, block: Block, factor: float, offset: float) -> None:
        for pol in (0, 3):
            block[self._autos, :, pol] = block[self._autos, :, pol] * np.float32(factor) + np.float32(offset)

    def make_hermitian(self, block: Block) -> None:
        autos = block[self._autos]
        autos.imag[:, :, [0, 3]] = 0
        autos[:, :, 2] = autos[:, :, 1].conj()
        block[self._autos] = autos


class LegacyProducts:
    """[fine channel][product] of the legacy correlator.

    Its slots are the inputs in another order. Slots are taken two by two; the product of pairs A >= B with
    members P, Q is number 2 A (A + 1) + 4 B + 2 P + Q and holds <slot(2A+P) slot(2B+Q)*>.
    """

    def __init__(self, inputs: IntArray, n_fine: int) -> None:
        """`inputs` : (n_ant, 2 pol) input numbers"""
        n_inputs = inputs.size
        self._n_antennas = len(inputs)
        # the filter bank boards number their 64 inputs as 4 x 16, the correlator as 16 x 4
        slot = np.empty(n_inputs, dtype=np.int64)
        for number in range(n_inputs):
            slot[number] = 64 * (number // 64) + 4 * (number % 16) + (number % 64) // 16
        antenna_of_slot = np.empty(n_inputs, dtype=np.int64)
        pol_of_slot = np.empty(n_inputs, dtype=np.int64)
        for antenna in range(self._n_antennas):
            for pol in range(2):
                antenna_of_slot[slot[inputs[antenna, pol]]] = antenna
                pol_of_slot[slot[inputs[antenna, pol]]] = pol

        pair_a, pair_b = np.tril_indices(n_inputs // 2)
        member_p, member_q = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
        row = (2 * pair_a[:, None] + member_p).reshape(-1)
        column = (2 * pair_b[:, None] + member_q).reshape(-1)
        self.shape: tuple[int, ...] = (n_fine, len(row))
        self._antennas = antenna_of_slot[row], antenna_of_slot[column]
        self._pols = pol_of_slot[row], pol_of_slot[column]
        self._autos = np.flatnonzero(row == column)
        self._above = np.flatnonzero(row < column)  # product (P, Q) = (0, 1) of a pair with itself
        self._below = self._above + 1

    def add(self, block: Block, channels: slice, p: int, q: int, matrix: Block) -> None:
        mine = np.flatnonzero((self._pols[0] == p) & (self._pols[1] == q))
        flat = self._antennas[0][mine] * self._n_antennas + self._antennas[1][mine]
        block[channels, mine] += np.take(matrix.reshape(len(matrix), -1), flat, axis=1)

    def scale(self, block: Block, gains: FloatArray, passband: FloatArray) -> None:
        row, column = (gains[a, p] for a, p in zip(self._antennas, self._pols, strict=True))
        block *= (row * column).astype(np.float32)
        block *= passband.astype(np.float32)[:, None]

    def scale_autos(self, block: Block, factor: float, offset: float) -> None:
        block[:, self._autos] = block[:, self._autos] * np.float32(factor) + np.float32(offset)

    def make_hermitian(self, block: Block) -> None:
        block[:, self._autos] = block[:, self._autos].real
        block[:, self._above] = block[:, self._below].conj()
