"""Rounding noise: what is left of a sum over the channels where these cancel, as zero-DM makes them at DM 0.

In units of itself it has excesses and periods, of steps of baselines that were rounded.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mwaconvert import _core
from mwaconvert.spectra.stream import Data

ROUNDED = 0.1  #: of the noise of independent channels: a series with less is rounding noise
_PAIRS = 1024  # of samples, by which the noise of channels is known


def independent_noise(data: Data, norm: npt.NDArray[np.float32] | None = None) -> float:
    """Standard deviation of sums over channels, if these are independent; too small where samples are masked.

    By differences of neighbouring samples, which slow changes do not move.

    Parameters
    ----------
    data : (n_chan, n_times)
    norm : (n_chan, n_times) of whose sums those of the data are divided by the roots

    Examples
    --------
    >>> noise = np.random.default_rng(1).normal(0, 2, (16, 4096)).astype(np.float32)
    >>> round(independent_noise(noise))
    8
    """
    step = max(2, data.shape[1] // _PAIRS)
    n = data.shape[1] // step * step
    if n == 0:
        return 0.0
    one, following = data[:, :n:step], data[:, 1:n:step]
    mean, sigma = np.empty((2, len(data)), np.float32)
    _core.noise(one.astype(np.float32) - following, mean, sigma, 0)
    variance = float(np.square(sigma, dtype=np.float64).sum()) / 2
    weight = 1.0 if norm is None else float(norm[:, :n:step].mean(1, dtype=np.float64).sum())
    return float(np.sqrt(variance / weight))
