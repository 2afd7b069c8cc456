"""Files of CHIME/FRB events, written to the description of their formats by other libraries than ours."""

from __future__ import annotations

from pathlib import Path

import bitshuffle
import msgpack
import numpy as np

K_DM = 1 / 2.41e-4
DT_S = 384 * 2.56e-6
N_FREQ = 16384
FRAME0_NS = 1_532_541_583_000_000_000
FREQ_MHZ = 800.1953125 - 400 / N_FREQ * (np.arange(N_FREQ) + 0.5)


def chunk_items(
    data: np.ndarray,
    fpga0: int,
    *,
    beam: int = 123,
    binning: int = 1,
    version: int = 2,
    compression: int = 1,
    scales: np.ndarray | None = None,
    offsets: np.ndarray | None = None,
    mask: np.ndarray | None = None,
) -> list:
    """Items of a chunk. data (16384, nt) uint8 from the highest channel; scales, offsets (1024, nt / 16)."""
    nt_coarse = data.shape[1] // 16
    scales = np.full((1024, nt_coarse), 0.5, "<f4") if scales is None else scales
    offsets = np.full((1024, nt_coarse), -3, "<f4") if offsets is None else offsets
    packed = (
        bitshuffle.compress_lz4(np.ascontiguousarray(data).ravel()).tobytes()
        if compression
        else data.tobytes()
    )
    items = [
        b"assembled_chunk in msgpack format",
        version,
        compression,
        len(packed),
        beam,
        16,
        16,
        384,
        nt_coarse,
    ]
    items += [1024 * nt_coarse, data.size, fpga0, data.shape[1] * 384 * binning, binning]
    items += [scales.astype("<f4").tobytes(), offsets.astype("<f4").tobytes(), packed]
    if version == 2:
        has_mask = mask is not None
        items += [
            FRAME0_NS,
            0 if mask is None else len(mask),
            has_mask,
            b"" if mask is None else mask.tobytes(),
        ]
    return items


def write_chunk(folder: Path, items: list, event: int = 9386707) -> Path:
    """A chunk under the name that the archive gives it."""
    folder.mkdir(parents=True, exist_ok=True)
    beam, binning = items[4], items[13]
    number = items[11] // items[12]
    name = f"astro_{event}_20180725175943000000_beam{beam:04d}_{number:08d}_{binning:02d}.msgpack"
    path = folder / name
    path.write_bytes(msgpack.packb(items))
    return path


def noisy_event(
    n_chunks: int,
    dm: float,
    *,
    nt: int = 1024,
    t0_s: float | None = None,
    snr: float = 3.0,
    width: int = 2,
    seed: int = 1,
) -> np.ndarray:
    """(16384, n_chunks * nt) uint8: noise, and a pulse of that DM, as bright in each channel, `width` samples wide.

    t0_s : at the highest channel; default the middle of the last chunk but one.
    """
    rng = np.random.default_rng(seed)
    n = n_chunks * nt
    data = rng.standard_normal((N_FREQ, n), np.float32)
    t0_s = (n - 1.5 * nt) * DT_S if t0_s is None else t0_s
    delay = K_DM * dm * (FREQ_MHZ**-2 - FREQ_MHZ[0] ** -2)
    first = np.rint((t0_s + delay) / DT_S).astype(int)
    for k in range(width):
        at = first + k
        inside = (at >= 0) & (at < n)
        data[np.flatnonzero(inside), at[inside]] += snr
    return np.clip(np.rint(128 + 20 * data), 1, 254).astype(np.uint8)


def write_event(
    root: Path,
    data: np.ndarray,
    *,
    event: int = 9386707,
    beam: int = 123,
    first: int = 700,
    skip: tuple[int, ...] = (),
    nt: int = 1024,
) -> Path:
    """An event in an archive: its chunks of nt samples; the folder of the beam."""
    folder = root / f"data/chime/intensity/raw/2018/07/25/astro_{event}/{beam:04d}"
    for k in range(data.shape[1] // nt):
        if k not in skip:
            part = data[:, k * nt : (k + 1) * nt]
            write_chunk(folder, chunk_items(part, (first + k) * nt * 384, beam=beam), event)
    return folder
