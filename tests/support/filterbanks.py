"""Filterbanks with a known pulse, and SIGPROC files of them."""

import struct
from pathlib import Path
from typing import Any

import numpy as np

K_DM = 1 / 2.41e-4


def pulse(
    freq_mhz: np.ndarray,
    n_times: int,
    dt_s: float,
    dm: float,
    t0: float,
    fwhm: float,
    snr: float,
    seed: int = 1,
) -> np.ndarray:
    """uint8 noise about 100 with a Gaussian pulse; t0 (s) is its middle at the highest frequency.

    snr is that of the matched filter over the whole band. Each sample integrates the pulse.
    """
    sigma = 12.0
    rng = np.random.default_rng(seed)
    s = fwhm / 2.354820045 / dt_s
    edges = np.arange(n_times + 1)
    delays = K_DM * dm * (freq_mhz**-2 - freq_mhz.max() ** -2) / dt_s + t0 / dt_s
    grid = np.linspace(-6, 6, 241)
    cdf = np.concatenate([[0], np.cumsum(np.exp(-((grid[:-1] + grid[1:]) ** 2) / 8))])
    cdf /= cdf[-1]
    middle = np.interp((np.arange(81) - 40) / s, grid, cdf)
    energy = np.sqrt((np.diff(middle) ** 2).sum())
    area = snr * sigma / np.sqrt(freq_mhz.size) / energy
    data = rng.normal(100, sigma, (freq_mhz.size, n_times))
    for channel, delay in enumerate(delays):
        data[channel] += area * np.diff(np.interp((edges - delay) / s, grid, cdf, left=0, right=1))
    return np.clip(np.rint(data), 0, 255).astype(np.uint8)


def header(**values: Any) -> bytes:
    """A SIGPROC header; an int, float, str, bytes (one character) or list (of frequencies) each as its type."""

    def word(text: str) -> bytes:
        return struct.pack("<i", len(text)) + text.encode()

    out = word("HEADER_START")
    for key, value in values.items():
        if isinstance(value, list):
            out += word("FREQUENCY_START") + b"".join(word("fchannel") + struct.pack("<d", f) for f in value)
            out += word("FREQUENCY_END")
        elif isinstance(value, str):
            out += word(key) + word(value)
        elif isinstance(value, bytes):
            out += word(key) + value
        else:
            out += word(key) + struct.pack("<d" if isinstance(value, float) else "<i", value)
    return out + word("HEADER_END")


def write_fil(path: Path, data: np.ndarray, freq_mhz: np.ndarray, dt_s: float, **values: Any) -> Path:
    """data (n_chan, n_times), of a type whose size is nbits."""
    keys = {
        "source_name": "test",
        "data_type": 1,
        "nchans": data.shape[0],
        "nbits": data.dtype.itemsize * 8,
        "nifs": 1,
        "tstart": 58000.0,
        "tsamp": dt_s,
        "fch1": float(freq_mhz[0]),
        "foff": float(freq_mhz[1] - freq_mhz[0]),
    }
    path.write_bytes(header(**(keys | values)) + np.ascontiguousarray(data.T).tobytes())
    return path


def channel_shapes(middles: np.ndarray, width: float, n_times: int) -> np.ndarray:
    """(n_chan, n_times) float32: Gaussians of unit area and full width at half maximum `width`, summed over samples.

    middles : (n_chan) samples
    """
    x = (np.arange(n_times + 1)[None, :] - middles[:, None]) / (width / 2.354820045)
    # the normal distribution's integral, to 1e-7 (Abramowitz & Stegun 26.2.17)
    t = 1 / (1 + 0.2316419 * np.abs(x))
    tail = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    tail *= t * (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))))
    return np.diff(np.where(x > 0, 1 - tail, tail), axis=1).astype(np.float32)


def mean_best_snr(series: list[np.ndarray]) -> float:
    """Mean over noise-free series of the best boxcar's sum over the root of its length."""
    widths = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
    best = []
    for x in series:
        total = np.concatenate([[0.0], np.cumsum(x)])
        best.append(max((total[w:] - total[:-w]).max() / np.sqrt(w) for w in widths if w < total.size))
    return float(np.mean(best))
