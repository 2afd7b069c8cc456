"""Kernels that the conversion is made of, one by one; see bench_convert.Blocks for those that read files."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable

import numpy as np

from mwaconvert import _core

N_ANTENNA, N_FINE, N_ROWS = 128, 128, 2048


def megabytes_per_second(work: Callable[[], object], n_bytes: int) -> float:
    """Best of five."""
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return n_bytes / 1e6 / min(seconds)


class Threads:
    """Kernels that share out their work."""

    params = ([1, 2],)
    param_names = ("threads",)


class Phasors(Threads):
    """Phase factors of 16 integrations and 4 coarse channels; megabytes of output."""

    def setup(self, threads: int) -> None:
        self.w_m = np.random.default_rng(0).normal(0, 1000, (16, N_ANTENNA))
        self.start_hz = 160e6 + 1.28e6 * np.arange(4)
        self.out = np.empty((16, 4, N_ANTENNA, N_FINE), np.complex64)

    def time_antenna_phasors(self, threads: int) -> None:
        _core.antenna_phasors(self.w_m, self.start_hz, 10e3, False, self.out, threads)

    def track_antenna_phasors(self, threads: int) -> float:
        return megabytes_per_second(lambda: self.time_antenna_phasors(threads), self.out.nbytes)

    track_antenna_phasors.unit = "MB/s"  # type: ignore[attr-defined]


class Rice:
    """Two tiles of 1 MB; megabytes of decoded data."""

    params = ([16.0, 5000.0],)
    param_names = ("noise",)

    def setup(self, noise: float) -> None:
        self.pixels = np.random.default_rng(0).normal(0, noise, 1 << 18).astype(np.int32)
        self.bytes = _core.rice_encode(self.pixels, 32)

    def time_rice_decode(self, noise: float) -> None:
        _core.rice_decode([self.bytes] * 2, self.pixels.size, 32)

    def time_rice_encode(self, noise: float) -> None:
        _core.rice_encode(self.pixels, 32)

    def track_rice_decode(self, noise: float) -> float:
        return megabytes_per_second(lambda: self.time_rice_decode(noise), 2 * self.pixels.nbytes)

    track_rice_decode.unit = "MB/s"  # type: ignore[attr-defined]


class Columns(Threads):
    """What writers make of a block; megabytes of visibilities and weights."""

    def setup(self, threads: int) -> None:
        rng = np.random.default_rng(0)
        self.vis = rng.normal(size=(N_ROWS, N_FINE, 8)).astype(np.float32).view(np.complex64)
        self.weight = rng.choice(np.array([1, -1], np.float32), (N_ROWS, N_FINE, 4))
        self.parameters = np.zeros((N_ROWS, 7), np.float32)
        self.file = tempfile.TemporaryFile()  # noqa: SIM115
        self.spectrum = np.empty_like(self.weight)
        self.flag = np.empty(self.weight.shape, bool)
        self.sum = np.empty((N_ROWS, 4), np.float32)
        self.flag_row = np.empty(N_ROWS, bool)
        self.by_row = np.zeros(N_ROWS, np.int64)
        self.by_channel = np.zeros(N_FINE, np.int64)
        self.time_write_groups(threads)  # the file has its size

    def teardown(self, threads: int) -> None:
        self.file.close()

    def time_write_groups(self, threads: int) -> None:
        _core.write_groups(
            fd=self.file.fileno(),
            offset=0,
            parameters=self.parameters,
            vis=self.vis,
            weight=self.weight,
            channel_begin=0,
            channel_end=N_FINE,
            threads=threads,
        )

    def time_ms_columns(self, threads: int) -> None:
        _core.ms_columns(
            weight=self.weight,
            first_chan=0,
            weight_spectrum=self.spectrum,
            flag=self.flag,
            weight_sum=self.sum,
            flag_row=self.flag_row,
            threads=threads,
        )

    def time_count_flags(self, threads: int) -> None:
        _core.count_flags(self.weight, self.by_row, self.by_channel, threads)

    def track_write_groups(self, threads: int) -> float:
        n_bytes = self.vis.nbytes + self.weight.nbytes
        return megabytes_per_second(lambda: self.time_write_groups(threads), n_bytes)

    def track_ms_columns(self, threads: int) -> float:
        return megabytes_per_second(lambda: self.time_ms_columns(threads), self.weight.nbytes)

    track_write_groups.unit = "MB/s"  # type: ignore[attr-defined]
    track_ms_columns.unit = "MB/s"  # type: ignore[attr-defined]
