"""Centre frequencies of fine channels."""

from __future__ import annotations

import numpy as np

from mwaconvert.arrays import FloatArray
from mwaconvert.observation.model import Metadata

#: width of the channels that the legacy correlator's polyphase filter bank makes before it averages them
LEGACY_NATIVE_WIDTH_HZ = 10_000.0


def fine_channel_frequencies_hz(metadata: Metadata, coarse_index: int) -> FloatArray:
    """Centre frequencies of the fine channels of one coarse channel.

    Channels are counted from the lower edge of the coarse channel.

    - MWAX, even number of channels: channel n/2 is centred on the coarse channel; channel 0 is centred on
      its lower edge and wraps around to the upper one.
    - MWAX, odd number: channel (n-1)/2 is centred on the coarse channel.
    - Legacy: the correlator makes 10 kHz channels centred at multiples of 10 kHz from the lower edge and
      averages neighbours, so a channel of width w has the mean of their centres, w/2 - 5 kHz above the first:
      0, 5 and 15 kHz for the 10, 20 and 40 kHz that it was ever run with. (mwalib adds nothing at any other
      width, which occur in made-up data only.)

    Parameters
    ----------
    metadata : observation
    coarse_index : index into `metadata.coarse_channels`

    Returns
    -------
    (n_fine,) Hz, ascending
    """
    coarse = metadata.coarse_channels[coarse_index]
    n, width = metadata.n_fine, metadata.fine_width_hz
    if metadata.correlator == "legacy":
        offset = max(0.0, (width - LEGACY_NATIVE_WIDTH_HZ) / 2)
    else:
        offset = width / 2 if n % 2 else 0.0
    start = coarse.centre_hz - coarse.width_hz / 2
    freqs: FloatArray = start + offset + np.arange(n, dtype=np.float64) * width
    return freqs
