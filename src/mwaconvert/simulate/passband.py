"""Power response of the receivers' filter inside a coarse channel, averaged to fine channels."""

from __future__ import annotations

import math

import numpy as np

from mwaconvert.arrays import FloatArray
from mwaconvert.observation.model import Correlator

#: amplitudes of cos(2 pi k x), x from -1/2 to 1/2 over the coarse channel. Legacy data: the
#: table of 2014, 128 values 10 kHz apart. MWAX: computed from the filter's taps, 6400 values 200 Hz apart.
LEGACY: tuple[float, ...] = (
    0.905352542, 0.173639079, -0.125913845, 0.070685007,
    -0.028352686, 0.005469531, -0.000981995, 0.000101626,
)  # fmt: skip
MWAX: tuple[float, ...] = (
    0.905356359, 0.173655825, -0.125959730, 0.070742338,
    -0.028393823, 0.005482033, -0.000985021, 0.000102035,
)  # fmt: skip
#: oversampling receivers: amplitudes of cos(2 pi 0.7 k x)
OVERSAMPLED: tuple[float, ...] = (
    0.772948188, 0.409153492, -0.306907153, 0.174292901,
    -0.051913469, -0.030040908, 0.059831541, -0.038855907,
    -0.013377616, 0.008580954, -0.005045254, 0.001778041,
    -0.000005299, -0.000379983, 0.000132192, 0.000054347,
)  # fmt: skip


def passband(correlator: Correlator, oversampled: bool, n_fine: int) -> FloatArray:
    """Mean power response of each fine channel, 1 near the centre.

    The legacy correlator sums neighbouring 10 kHz channels; MWAX sums 200 Hz channels around the centre of
    each fine channel, the two at its edges with half weight, wrapping at the ends of the coarse channel.

    Returns
    -------
    (n_fine,)
    """
    if correlator == "legacy":
        amplitudes, n_table, stretch = LEGACY, max(128, n_fine), 1.0
    else:
        n_table = math.lcm(6400, n_fine)
        amplitudes, stretch = (OVERSAMPLED, 0.7) if oversampled else (MWAX, 1.0)
    x = np.arange(n_table) / n_table - 0.5
    table = np.zeros(n_table)
    for k, amplitude in enumerate(amplitudes):
        table += amplitude * np.cos(2 * np.pi * stretch * k * x)

    factor = n_table // n_fine
    response = np.zeros(n_fine)
    for channel in range(n_fine):
        first = channel * factor
        if correlator == "legacy":
            response[channel] = table[first : first + factor].mean()
        elif factor % 2 and n_fine % 2 == 0:
            window = np.arange(first - factor // 2, first + factor // 2 + 1)
            response[channel] = table[window % n_table].mean()
        else:
            if n_fine % 2 == 0:
                first -= factor // 2
            window = np.arange(first, first + factor + 1)
            weight = np.ones(factor + 1)
            weight[0] = weight[-1] = 0.5
            response[channel] = np.sum(table[window % n_table] * weight) / factor
    return response
