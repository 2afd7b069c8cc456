"""An event of CHIME/FRB to its waterfall, beside what it takes to read its bytes, as ratios within one run.

    python benchmarks/chime_data.py [--chunks N] [--rounds N] [--threads N]

Four chunks of 16384 channels x 1024 samples, of noise, packed as the correlator packs them, to 128 sub-bands in an
.npz. Files lie in the page cache. Rounds take turns; the best and the median of each are compared, and the least
processor time that it took, which other work on the machine disturbs less.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from chime_files import noisy_event, write_event

from mwaconvert.formats.spectra.chime_msgpack import ChunkStream, chunk_files
from mwaconvert.formats.spectra.wfall import write_wfall
from mwaconvert.spectra.spectra import Spectra

DM, N_SUB = 87.76, 128
_BUFFER = 1 << 20


def read_twice(files: list[Path]) -> None:
    """All bytes into memory, twice, as a program reads a file."""
    for _ in range(2):
        for path in files:
            path.read_bytes()


def pass_twice(files: list[Path]) -> None:
    """All bytes through a buffer that stays in the cache, twice: what the system can do at most."""
    buffer = bytearray(_BUFFER)
    for _ in range(2):
        for path in files:
            with path.open("rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass


def to_waterfall(files: list[Path], threads: int) -> Spectra:
    """The kernel: one pass over the packed bytes."""
    return ChunkStream(files).waterfall(DM, N_SUB, threads=threads)


def to_npz(files: list[Path], output: Path, threads: int) -> None:
    """All that `mwaconvert frb wfall` does, but for the start of Python."""
    write_wfall(output, to_waterfall(files, threads), overwrite=True)


def slowly(files: list[Path]) -> Spectra:
    """The same, an operation at a time, with all channels in memory."""
    return ChunkStream(files).spectra().scale().dedisperse(DM).subband(N_SUB)


@dataclass(frozen=True)
class Taken:
    """Best and median wall time of some rounds, and the least processor time of all threads (s)."""

    best_s: float
    median_s: float
    cpu_s: float


def compare(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, Taken]:
    """Times of works that take turns."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    found = {}
    for name, taken in times.items():
        walls, cpus = zip(*taken, strict=True)
        found[name] = Taken(min(walls), median(walls), min(cpus))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--chunks", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = chunk_files(write_event(Path(folder), noisy_event(given.chunks, DM, t0_s=1.0)))
        output = Path(folder) / "event.npz"
        found, slow = to_waterfall(files, given.threads), slowly(files)
        if not np.allclose(found.data, slow.data, atol=1e-5):
            sys.exit("the two ways differ")
        taken = compare(
            {
                "bytes into memory, twice": lambda: read_twice(files),
                "bytes through a buffer, twice": lambda: pass_twice(files),
                "waterfall": lambda: to_waterfall(files, given.threads),
                "waterfall, one thread": lambda: to_waterfall(files, 1),
                "event to .npz": lambda: to_npz(files, output, given.threads),
            },
            given.rounds,
        )
        taken |= compare({"waterfall, step by step": lambda: slowly(files)}, 1)
        held = sum(path.stat().st_size for path in files)
    print(f"{given.chunks} chunks, {held / 1e6:.1f} MB")
    reference = taken["bytes into memory, twice"]
    print(f"{'':<32}{'best':>10}{'median':>10}{'processor':>13}   of reading into memory twice")
    for name, one in taken.items():
        ms = f"{1e3 * one.best_s:>7.1f} ms{1e3 * one.median_s:>7.1f} ms{1e3 * one.cpu_s:>10.1f} ms"
        ratios = (
            one.best_s / reference.best_s,
            one.median_s / reference.median_s,
            one.cpu_s / reference.cpu_s,
        )
        print(f"{name:<32}{ms}{''.join(f'{ratio:>8.2f}' for ratio in ratios)}")


if __name__ == "__main__":
    main()
