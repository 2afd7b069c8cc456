"""Radio frequency interference: random bursts, alike on all baselines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mwaconvert.arrays import FloatArray


@dataclass(frozen=True)
class Rfi:
    """Interference of one transmitter on the horizon.

    Attributes
    ----------
    amplitude_jy : (n_times, n_coarse, n_fine) what each polarisation product of it is worth; 0 = none
    enu : (3,) unit vector to the transmitter
    """

    amplitude_jy: npt.NDArray[np.float32]
    enu: FloatArray

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        """(n_times, n_coarse, n_fine) True where there is interference."""
        return self.amplitude_jy > 0


def make_rfi(
    shape: tuple[int, int, int], fraction: float, typical_jy: float, rng: np.random.Generator
) -> Rfi:
    """Fill a fraction of the cells with events.

    Three in four are narrow (1 to 3 fine channels, lasting up to the whole observation), the others are
    bursts of one integration over one or several coarse channels. Each event has one strength, 10 to 300
    times the typical amplitude.

    Parameters
    ----------
    shape : n_times, n_coarse, n_fine
    fraction : of the cells, 0 to 1; met to the cell
    typical_jy : noise of a visibility, or flux density of the sky
    """
    n_times, n_coarse, n_fine = shape
    amplitude = np.zeros((n_times, n_coarse * n_fine), dtype=np.float32)
    wanted = round(fraction * amplitude.size)
    while (missing := wanted - np.count_nonzero(amplitude)) > 0:
        event = np.zeros(amplitude.shape, dtype=np.bool_)
        if rng.random() < 0.75:
            first = rng.integers(amplitude.shape[1])
            start = rng.integers(n_times)
            event[start : start + rng.integers(1, n_times + 1), first : first + rng.integers(1, 4)] = True
        else:
            first = rng.integers(n_coarse)
            last = rng.integers(first, n_coarse) + 1
            event[rng.integers(n_times), first * n_fine : last * n_fine] = True
        new = np.flatnonzero(event & (amplitude == 0))[:missing]
        amplitude.reshape(-1)[new] = typical_jy * 10 ** rng.uniform(1, 2.5)
    azimuth = rng.uniform(0, 2 * np.pi)
    return Rfi(amplitude.reshape(shape), np.array([np.sin(azimuth), np.cos(azimuth), 0.0]))
