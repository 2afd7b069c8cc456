"""Slow twins of the RFI kernels: each reads like the equation in docs/rfi.md that it stands for."""

import math

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


def noise_mode(values: Image) -> float:
    """Mode of the Rayleigh distribution of these samples, the highest tenth being drawn in."""
    if values.size == 0:
        return math.inf  # nothing exceeds it
    ascending = np.sort(values.astype(np.float64))
    clipped = np.minimum(ascending, ascending[int(0.9 * values.size)])
    return 1.0541 * math.sqrt(np.mean(clipped**2) / 2)


def window_level(first: float, ratio: float, length: int) -> float:
    """chi_M: what the mean of a window of M samples may be."""
    return float(first * ratio ** math.log2(length) / length)


def sum_threshold(
    x: Image, missing: Mask, ignored: Mask, time_threshold: float, freq_threshold: float, longest: int = 256
) -> Mask:
    """SumThreshold of rows (frequency) and columns (time), with windows that close over missing cells."""
    mode = noise_mode(x[~(missing | ignored)])
    flags = np.zeros_like(missing)
    length = 1
    while length <= longest:
        level = window_level(6 * time_threshold * mode, 1.5, length)
        before = flags.copy()
        for c in range(x.shape[1]):
            for window, between in time_windows(missing[:, c], length):
                if _exceeds(x[window, c], before[window, c], level):
                    flags[between, c] = True
        level = window_level(6 * freq_threshold * mode, 1.5, length)
        before = flags.copy()
        for t in range(x.shape[0]):
            good = np.flatnonzero(~missing[t])
            for first in range(good.size - length + 1):
                window = good[first : first + length]
                if _exceeds(x[t, window], before[t, window], level):
                    flags[t, window] = True
        length *= 2
    return flags


def time_windows(missing: Mask, length: int) -> list[tuple[npt.NDArray[np.intp], slice]]:
    """Windows along time: the cells that are summed, and the stretch that is flagged.

    If the cell after the first M - 1 that are not missing is missing, it is taken into every window instead of
    one sample, as AOFlagger does.
    """
    good = np.flatnonzero(~missing)
    if good.size < length - 1 or good.size == 0:
        return []
    after = good[length - 2] + 1 if length > 1 else missing.size
    if after < missing.size and missing[after]:
        windows = []
        for first in range(good.size - length + 2):
            samples = good[first : first + length - 1]
            end = after if first == 0 else samples[-1]
            windows.append((np.append(samples, after), slice(samples[0], end + 1)))
        return windows
    samples = [good[first : first + length] for first in range(good.size - length + 1)]
    return [(window, slice(window[0], window[-1] + 1)) for window in samples]


def _exceeds(values: Image, flagged: Mask, level: float) -> bool:
    rest = values[~flagged].astype(np.float64)
    return rest.size > 0 and abs(rest.mean()) > level


def rms_outliers(x: Image, flags: Mask, along_time: bool, threshold: float) -> list[int]:
    """Timesteps (else channels) whose rms is far from the median of all, again and again without them.

    The median of timesteps is taken once, that of channels each time.
    """
    axis = 1 if along_time else 0
    count = (~flags).sum(axis=axis)
    power = np.where(flags, 0, x.astype(np.float64) ** 2).sum(axis=axis)
    rms = {int(k): math.sqrt(power[k] / count[k]) for k in np.flatnonzero(count)}
    found: list[int] = []
    median = float(np.median(list(rms.values()))) if rms else 0.0
    while rms:
        if not along_time:
            median = float(np.median(list(rms.values())))
        sigma = math.sqrt(np.mean([(v - median) ** 2 for v in rms.values()]))
        far = [k for k, v in rms.items() if abs(v - median) > threshold * sigma]
        if not far:
            break
        found += far
        for k in far:
            del rms[k]
    return found


def residual(x: Image, ignored: Mask) -> npt.NDArray[np.float64]:
    """Amplitudes minus the Gaussian-weighted mean of the 3 x 3 block means around that have no flag."""
    n_time, n_chan = x.shape
    blocks = {}
    for i in range(0, n_time, 3):
        for j in range(0, n_chan, 3):
            there = np.s_[i : i + 3, j : j + 3]
            if not ignored[there].any():
                blocks[i // 3, j // 3] = x[there].mean(dtype=np.float64)
    out = np.empty(x.shape)
    for t in range(n_time):
        for c in range(n_chan):
            total = weight = 0.0
            for (i, j), value in blocks.items():
                u, v = i - t // 3, j - c // 3
                if abs(u) <= 10 and abs(v) <= 15:
                    w = math.exp(-(u**2) / (2 * 2.5)) * math.exp(-(v**2) / (2 * 5.0))
                    total += w * value
                    weight += w
            out[t, c] = x[t, c] - (total / weight if weight > 0 else 0)
    return out


def normalized(x: Image, ignored: Mask, n_bands: int) -> npt.NDArray[np.float64]:
    """Each group of channels over its winsorised standard deviation."""
    n_chan = x.shape[1]
    out = np.zeros(x.shape)
    for band in range(n_bands):
        there = np.s_[:, band * n_chan // n_bands : (band + 1) * n_chan // n_bands]
        values = np.sort(x[there][~ignored[there]].astype(np.float64))
        if values.size:
            tail = int(0.1 * values.size)
            sigma = math.sqrt(1.54 * np.clip(values, values[tail], values[values.size - 1 - tail]).var())
            if sigma > 0:
                out[there] = x[there] / sigma
    return out


def rank_operator(
    flags: Mask, missing: Mask, eta_time: float, eta_freq: float, missing_weight: float
) -> Mask:
    """Scale-invariant rank operator along time, then along frequency; missing cells keep their flags."""
    flags = flags.copy()
    for c in range(flags.shape[1]):
        flags[:, c] |= ~missing[:, c] & _ranked(flags[:, c], missing[:, c], eta_time, missing_weight)
    for t in range(flags.shape[0]):
        flags[t] |= ~missing[t] & _ranked(flags[t], missing[t], eta_freq, missing_weight)
    return flags


def _ranked(flags: Mask, missing: Mask, eta: float, missing_weight: float) -> Mask:
    """Cells of a stretch with sum(omega) >= 0; sums in single precision, which decides ties."""
    sums = [np.float32(0)]
    for flagged, gone in zip(flags, missing, strict=True):
        omega = missing_weight * (eta - 1) if gone else eta if flagged else np.float32(eta) - np.float32(1)
        sums.append(sums[-1] + np.float32(omega))
    cells = range(flags.size)
    return np.array([max(sums[k + 1 :]) >= min(sums[: k + 1]) for k in cells], dtype=np.bool_)


def detect(vis: npt.NDArray[np.complex64], missing: Mask) -> Mask:
    """All steps on one baseline, vis (n_time, n_chan, 4)."""
    flags = missing.copy()
    residuals = []
    for product in range(4):
        amplitude = np.abs(vis[..., product])
        x, ignored = amplitude, missing
        for threshold in (4.0, 2.0):
            found = sum_threshold(x, missing, ignored, threshold, threshold)
            ignored = found | missing
            ignored[rms_outliers(x, found, True, 3.5)] = True
            ignored[:, rms_outliers(x, found, False, 3 * threshold)] = True
            x = residual(amplitude, ignored).astype(np.float32)
        x = normalized(x, ignored, 48).astype(np.float32)
        flags |= sum_threshold(x, missing, ignored, 1.0, 1.0)
        residuals.append(x)
    flags = rank_operator(flags, missing, 0.2, 0.2, 0.1)
    flags[rms_outliers(residuals[0] + residuals[3], flags, True, 4.0)] = True
    return flags
