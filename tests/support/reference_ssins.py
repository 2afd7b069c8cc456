"""SSINS as Wilensky et al. 2019 (PASP 131, 114507) describe it, one event at a time: the slow twin of --rfi-array.

Sky-subtracted amplitudes are averaged over baselines; each frequency and polarisation is centred and scaled by its
mean over time and the known ratio of variance to squared mean of a Rayleigh distribution; in each iteration the most
significant of all shapes, times and polarisations is masked, and the means are made anew.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
#: (time, name, channels)
Found = tuple[int, str, tuple[int, ...]]


def incoherent_noise_spectrum(vis: npt.NDArray[np.complex64]) -> FloatArray:
    """(n_times - 1, n_channels, n_pols) of visibilities (n_baselines, n_times, n_channels, n_pols)."""
    total = np.zeros((vis.shape[1] - 1, *vis.shape[2:]))
    for baseline in vis:
        total += np.abs(baseline[1:] - baseline[:-1])
    return total / len(vis)


def z_scores(spectrum: FloatArray, n_baselines: int, masked: BoolArray) -> FloatArray:
    """Mean-subtracted and normalised; masked (n_times, n_channels) samples do not enter the mean and are NaN."""
    free = np.where(masked[..., None], np.nan, spectrum)
    with np.errstate(invalid="ignore"):
        mean = np.nansum(free, axis=0) / np.sum(~masked, axis=0)[:, None]
        return (free / mean - 1) * np.sqrt(n_baselines / (4 / np.pi - 1))


def find_events(
    spectrum: FloatArray,
    n_baselines: int,
    flagged: BoolArray,
    shapes: Mapping[str, BoolArray],
    threshold: float = 5.0,
) -> tuple[BoolArray, list[Found]]:
    """Masked differences (n_times, n_channels), without the channels that are `flagged`, and the events.

    Single channels are shapes too. Only excesses count.
    """
    masked = np.broadcast_to(flagged, spectrum.shape[:2]).copy()
    events: list[Found] = []
    while True:
        z = z_scores(spectrum, n_baselines, masked)
        best: tuple[float, int, str, Sequence[int]] = (threshold, -1, "", ())
        for name, channels in shapes.items():
            inside = np.flatnonzero(channels)
            n = np.sum(~masked[:, inside], axis=1)
            with np.errstate(invalid="ignore"):
                score = np.nansum(z[:, inside], axis=1) / np.sqrt(n)[:, None]
            score = np.where(n[:, None] > 3, score, -np.inf)
            time, _ = np.unravel_index(np.argmax(score), score.shape)
            if score.max() > best[0]:
                best = float(score.max()), int(time), name, inside.tolist()
        narrow = np.nan_to_num(z, nan=-np.inf)
        time, channel, _ = np.unravel_index(np.argmax(narrow), narrow.shape)
        if narrow.max() > best[0]:
            best = float(narrow.max()), int(time), "narrowband", [int(channel)]
        if best[1] < 0:
            return masked & ~flagged, events
        masked[best[1], list(best[3])] = True
        events.append((best[1], best[2], tuple(best[3])))
