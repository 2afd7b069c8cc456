"""Whole conversions in one process."""

from __future__ import annotations

import time
from pathlib import Path

import mwaconvert

from .observations import MEGABYTES, make_observations

AVERAGED = {"time_res_s": 8.0, "freq_res_khz": 160.0}


class Convert:
    """Raw files to an output file."""

    params = (["mwax", "legacy", "rice"], ["uvfits", "ms"], ["averaged", "not averaged"])
    param_names = ("raw", "output", "averaging")
    timeout = 120

    def setup_cache(self) -> dict[str, str]:
        return make_observations()

    def _convert(self, metafits: str, output: str, averaging: str) -> None:
        options = AVERAGED if averaging == "averaged" else {}
        mwaconvert.convert(metafits, Path(f"out.{output}"), rfi="none", overwrite=True, **options)

    def time_convert(self, cache: dict[str, str], raw: str, output: str, averaging: str) -> None:
        self._convert(cache[raw], output, averaging)

    def peakmem_convert(self, cache: dict[str, str], raw: str, output: str, averaging: str) -> None:
        self._convert(cache[raw], output, averaging)


class Blocks:
    """Raw files to calibrated blocks in memory: the kernels, and nothing is written."""

    params = (["mwax", "legacy", "rice"], ["averaged", "not averaged"], [1, 2])
    param_names = ("raw", "averaging", "threads")

    def setup_cache(self) -> dict[str, str]:
        return make_observations()

    def setup(self, cache: dict[str, str], raw: str, averaging: str, threads: int) -> None:
        options = AVERAGED if averaging == "averaged" else {}
        self.plan = mwaconvert.open(cache[raw]).plan(threads=threads, rfi="none", **options)

    def time_blocks(self, cache: dict[str, str], raw: str, averaging: str, threads: int) -> None:
        for _ in self.plan.blocks():
            pass

    def track_speed(self, cache: dict[str, str], raw: str, averaging: str, threads: int) -> float:
        """Megabytes of raw data, as complex64, a second: best of five."""
        seconds = []
        for _ in range(5):
            started = time.perf_counter()
            self.time_blocks(cache, raw, averaging, threads)
            seconds.append(time.perf_counter() - started)
        return MEGABYTES / min(seconds)

    track_speed.unit = "MB/s"  # type: ignore[attr-defined]


class Open:
    """Metadata and the map of raw files; the plan."""

    params = (["mwax", "legacy", "rice"],)
    param_names = ("raw",)

    def setup_cache(self) -> dict[str, str]:
        return make_observations()

    def time_open(self, cache: dict[str, str], raw: str) -> None:
        mwaconvert.open(cache[raw])

    def time_plan(self, cache: dict[str, str], raw: str) -> None:
        mwaconvert.open(cache[raw]).plan()
