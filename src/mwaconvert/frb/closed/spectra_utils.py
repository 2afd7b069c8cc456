"""iautils.spectra_utils: what is done to a waterfall before it is dedispersed."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt


class Scale(StrEnum):
    """How a channel is brought to a common scale."""

    MEAN_STD = "meanstd"  #: (I - mean) / standard deviation
    MEDIAN_MAD = "medianmad"  #: (I - median) / (1.4826 median of absolute deviations)
    FRACTIONAL = "fractional"  #: I / mean - 1
    PRESTO = "presto"  #: (I - median) / standard deviation of all channels


def scale_chime_data(intensity: npt.ArrayLike, method: str = Scale.MEAN_STD) -> npt.NDArray[Any]:
    """Bring each channel to a common scale, by its values that are finite.

    The original is not public: this is what public programs of the same group do. A channel without variation, or with
    fewer than two values, is NaN: masked.

    Parameters
    ----------
    intensity : (channels, samples), NaN where masked
    method : meanstd, medianmad, fractional or presto

    Examples
    --------
    >>> scale_chime_data(np.array([[1.0, 3.0], [5.0, 5.0]]))
    array([[-1.,  1.],
           [nan, nan]])
    """
    how = Scale(method)
    values = np.asarray(intensity)
    values = values if values.dtype.kind == "f" else values.astype(np.float64)
    scaled = np.full_like(values, np.nan)
    for k, row in enumerate(values):  # a row at a time: waterfalls are large
        seen = row[np.isfinite(row)].astype(np.float64)
        if seen.size < 2 or seen.std() == 0:
            continue
        level, width = _level_and_width(seen, how)
        if width != 0:
            scaled[k] = (row - level) / width
    if how is Scale.PRESTO:
        scaled /= np.nanstd(scaled)
    return scaled


def _level_and_width(seen: npt.NDArray[np.float64], how: Scale) -> tuple[float, float]:
    if how is Scale.MEAN_STD:
        return float(seen.mean()), float(seen.std())
    if how is Scale.FRACTIONAL:
        return float(seen.mean()), float(seen.mean())
    median = float(np.median(seen))
    return median, 1.0 if how is Scale.PRESTO else 1.4826 * float(np.median(np.abs(seen - median)))
