"""Where the legacy correlator ("gpubox" files) puts each product of each baseline.

The correlator saw 256 inputs in the order that the polyphase filter bank boards sent them, and stored the
lower triangle of their products. The rule is checked bit for bit against mwalib.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mwaconvert.errors import MetadataError
from mwaconvert.observation.model import Metadata

N_ANTENNAS = 128
N_INPUTS = 256
#: complex numbers of one fine channel
N_PRODUCTS = 2 * N_ANTENNAS * (N_ANTENNAS + 1)


def _slots(metadata: Metadata) -> npt.NDArray[np.int32]:
    """(128, 2) correlator slot of each antenna and polarisation."""
    n = np.array([antenna.input for antenna in metadata.antennas], dtype=np.int32)
    if sorted(n.ravel().tolist()) != list(range(N_INPUTS)):
        raise MetadataError(
            f"{metadata.path}: expected each input 0..{N_INPUTS - 1} of the legacy correlator once, "
            f"found {n.size} inputs from {n.min()} to {n.max()}"
        )
    # each board transposed its 64 inputs as a 4 x 16 matrix
    return (n & 0xC0) | ((n & 0x0F) << 2) | ((n & 0x30) >> 4)


def slot_inputs(metadata: Metadata) -> npt.NDArray[np.int32]:
    """What each correlator slot carries.

    Returns
    -------
    (256, 2) antenna index and polarisation (0 X, 1 Y) of slot 0..255

    Raises
    ------
    MetadataError : the metafits does not list the 256 inputs of this correlator
    """
    carried = np.empty((N_INPUTS, 2), dtype=np.int32)
    carried[_slots(metadata)] = np.indices((N_ANTENNAS, 2)).transpose(1, 2, 0)
    return carried


def product_table(metadata: Metadata) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
    """Position of each visibility among the complex numbers of one fine channel.

    Returns
    -------
    index : (8256, 4) position, for baselines (0,0), (0,1) .. (127,127) and polarisations XX, XY, YX, YY
    conj : (8256, 4) True where the number there is the complex conjugate of the visibility <e_i e_j^*>

    Raises
    ------
    MetadataError : the metafits does not list the 256 inputs of this correlator
    """
    slots = _slots(metadata)
    i, j = np.triu_indices(N_ANTENNAS)
    first = slots[i][:, [0, 0, 1, 1]]
    second = slots[j][:, [0, 1, 0, 1]]
    # the triangle holds row > column; of XX and YY autos (row = column) mwalib takes the conjugate
    conj = first <= second
    row, column = np.maximum(first, second), np.minimum(first, second)
    block_row, block_column = row // 2, column // 2
    index = 2 * block_row * (block_row + 1) + 4 * block_column + 2 * (row % 2) + column % 2
    return index.astype(np.int32), conj
