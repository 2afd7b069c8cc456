"""Speed of packaging against `tar | sha256sum`: the same folder, warm cache, best of several runs.

    python benchmarks/packages.py [--gib 1] [--runs 3] [--folder DIR]

`tar | sha256sum` computes one checksum and writes nothing; the package has SHA-1 and SHA-256 of the archive,
SHA-256 of each file, and is written and synced.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from mwaconvert.jobs.delivery.package import check_package, write_package


def make_folder(folder: Path, n_bytes: int) -> None:
    """A measurement set's shape: few large files and many small ones."""
    ms = folder / "1110103576.ms"
    ms.mkdir()
    (folder / "1110103576.metafits").write_bytes(os.urandom(300_000))
    for k in range(100):
        (ms / f"small{k}").write_bytes(os.urandom(20_000))
    block = os.urandom(64 << 20)
    for k in range(4):
        with (ms / f"table.f{k}").open("wb") as file:
            for _ in range(max(1, n_bytes // 4 // len(block))):
                file.write(block)


def best_of(runs: int, action: Callable[[], object]) -> float:
    """Shortest time in seconds."""
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return min(times)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gib", type=float, default=1.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to write; default: the temporary folder")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        source = Path(name) / "source"
        source.mkdir()
        make_folder(source, int(args.gib * 2**30))
        contents = {path.name: path for path in source.iterdir()}
        target = Path(name) / "a.tar"

        def pipe() -> None:
            subprocess.run(f"tar c -C {source} . | sha256sum > /dev/null", shell=True, check=True)

        def write_then_sum() -> None:
            subprocess.run(
                f"tar c -C {source} . | tee {target} | sha256sum > /dev/null; sync {target}",
                shell=True,
                check=True,
            )

        times = {
            "tar | sha256sum": best_of(args.runs, pipe),
            "tar | tee FILE | sha256sum": best_of(args.runs, write_then_sum),
            "write_package": best_of(args.runs, lambda: write_package(target, contents, {})),
            "check_package": best_of(args.runs, lambda: check_package(target)),
        }
        mib = target.stat().st_size / 2**20
        for what, seconds in times.items():
            print(f"{what:28} {seconds:6.2f} s {mib / seconds:7.0f} MiB/s")


if __name__ == "__main__":
    main()
