"""Measure the ratios that the project promises: against plain copies of the same bytes, and against peers.

Two commands run in turn, in alternating order, on files that are in the page cache; what counts is the median
of the ratios of the rounds, shown with the band that holds the middle half of them. Conversions are timed as
whole commands, start-up included; of peers that are libraries only their own work is timed, without imports.

    python benchmarks/ratios.py                full size: 22 GB of simulated data, made once and kept
    python benchmarks/ratios.py --scale small  a check in a few minutes, in which start-up weighs heavily

Outputs go to memory (/dev/shm) where there is room, so that ratios tell about programs and not about disks: a
conversion ends by syncing its output, which `cp` and the peers do not.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import struct
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from datasets import N_BASELINES, Dataset, dataset
from measure import PeerMissingError, Ratio, Run, converter, interleave, remove, run, run_peer, warm_memory
from promises import GROUPS, SOLUTIONS, Row, promises

#: free space that a folder of outputs needs
SPACE = {"full": 10e9, "small": 5e9}
#: of our own buffers and an averaged output
OURS_BYTES = 1e9


class Bench:
    """What `promises.Row.measure` names."""

    def __init__(self, root: Path, output: Path, scale: str, rounds: int) -> None:
        self._root, self._output, self._scale, self._rounds = root, output, scale, rounds
        self._slow_rounds = max(1, rounds // 2)  # where the other takes a minute
        self._mwaconvert = converter()

    def measure(self, row: Row) -> Ratio:
        """The ratio of one row."""
        data = dataset(row.data, self._root, self._scale)
        method: Callable[[Row, Dataset], Ratio] = getattr(self, f"_{row.group}")
        return method(row, data)

    def _convert(
        self, row: Row, data: Dataset, *more: str, cpus: int | None = None, keep: bool = False
    ) -> Run:
        output = self._output / f"ours{row.suffix}"
        files = [] if row.channels is None else ["--provided-chan-ranges", *self._files(row, data)]
        rfi = [] if row.rfi else ["--no-rfi"]
        words = [
            *self._mwaconvert,
            "-q",
            "-m",
            data.metafits,
            "-o",
            output,
            *row.options,
            *rfi,
            *more,
            *files,
        ]
        result = run(words, cpus)
        if not keep:
            remove(output)
        return result

    def _peer(self, script: str, row: Row, data: Dataset, *more: str) -> Run:
        output = self._output / f"theirs{row.suffix}"
        result = run_peer(script, data.metafits, output, *self._files(row, data), *more)
        remove(output)
        return result

    def _files(self, row: Row, data: Dataset) -> tuple[Path, ...]:
        return data.files[: row.channels]

    def _visibility_bytes(self, row: Row, data: Dataset) -> float:
        return data.n_times * data.integration_bytes * len(self._files(row, data)) / data.n_coarse

    def _compare(
        self,
        row: Row,
        data: Dataset,
        ours: Callable[[], Run],
        other: Callable[[], Run],
        memory_bytes: float,
        rounds: int,
    ) -> Ratio:
        """`memory_bytes`: what the hungrier of the two needs, with its output."""

        def warm() -> None:
            warm_memory(self._output, int(memory_bytes))
            run_peer("run_copy.py", "cat", *self._files(row, data))  # into the page cache

        return interleave(ours, other, rounds, warm)

    def _cat(self, row: Row, data: Dataset) -> Ratio:
        cat = partial(run_peer, "run_copy.py", "cat", *data.files)
        return self._compare(row, data, partial(self._convert, row, data), cat, OURS_BYTES, self._rounds)

    def _cp(self, row: Row, data: Dataset) -> Ratio:
        original, copy = self._output / f"original{row.suffix}", self._output / f"copy{row.suffix}"
        self._convert(row, data, keep=True)
        (self._output / f"ours{row.suffix}").rename(original)

        def cp() -> Run:
            result = run_peer("run_copy.py", "cp", original, copy)
            remove(copy)
            return result

        try:
            memory_bytes = OURS_BYTES + size_bytes(original)
            return self._compare(row, data, partial(self._convert, row, data), cp, memory_bytes, self._rounds)
        finally:
            remove(original)

    def _mwalib(self, row: Row, data: Dataset) -> Ratio:
        read = partial(run_peer, "run_mwalib.py", data.metafits, *data.files)
        return self._compare(row, data, partial(self._convert, row, data), read, OURS_BYTES, self._rounds)

    def _birli(self, row: Row, data: Dataset) -> Ratio:
        birli = partial(self._peer, "run_birli.py", row, data, "--", *row.options, "--provided-chan-ranges")
        ours = partial(self._convert, row, data, "--like", "birli")
        # it holds the whole observation
        share = 1.3 if row.options else 2.8
        return self._compare(
            row, data, ours, birli, share * self._visibility_bytes(row, data), self._slow_rounds
        )

    def _pyuvdata(self, row: Row, data: Dataset) -> Ratio:
        peer = partial(self._peer, "run_pyuvdata.py", row, data)
        ours = partial(self._convert, row, data, "--pointing-centre")
        return self._compare(row, data, ours, peer, 4 * self._visibility_bytes(row, data), self._slow_rounds)

    def _threads(self, row: Row, data: Dataset) -> Ratio:
        one, two = (partial(self._convert, row, data, cpus=n) for n in (1, 2))
        return self._compare(row, data, one, two, OURS_BYTES, self._rounds)

    def _with(self, row: Row, data: Dataset) -> Ratio:
        solutions = self._output / "solutions.bin"
        write_solutions(solutions, data.n_coarse)
        extra = [str(solutions) if word == SOLUTIONS else word for word in row.extra]
        ours = partial(self._convert, row, data, *extra)
        plain = partial(self._convert, replace(row, rfi=False), data)
        visibility_bytes = self._visibility_bytes(row, data)
        amplitude_bytes = visibility_bytes / 2 if row.rfi and row.data == "legacy" else 0
        memory_bytes = OURS_BYTES + amplitude_bytes + (0 if row.options else 1.5 * visibility_bytes)
        return self._compare(row, data, ours, plain, memory_bytes, self._rounds)

    def _interference(self, row: Row, data: Dataset) -> Ratio:
        clean = dataset(*row.extra, self._root, self._scale)

        def ours(some: Dataset) -> Run:
            run_peer("run_copy.py", "cat", *some.files)  # into the page cache
            return self._convert(row, some)

        with_any, with_none = partial(ours, data), partial(ours, clean)
        return self._compare(row, data, with_any, with_none, OURS_BYTES, self._rounds)

    def _rfi(self, row: Row, data: Dataset) -> Ratio:  # noqa: ARG002
        ours, theirs = (
            partial(run_peer, "run_rfi.py", name, "224", "768", *row.extra)
            for name in ("mwaconvert", "aoflagger")
        )
        return interleave(ours, theirs, self._rounds, lambda: None)

    def _birli_rfi(self, row: Row, data: Dataset) -> Ratio:
        """Birli may be built without AOFlagger; where it has it, all cores share the baselines."""
        n_channels = (
            data.integration_bytes // (32 * N_BASELINES) * len(self._files(row, data)) // data.n_coarse
        )
        options = (*row.options, "--provided-chan-ranges")

        def birli() -> Run:
            result = self._peer("run_birli.py", row, data, "--", *options)
            one = run_peer("run_rfi.py", "aoflagger", str(data.n_times), str(n_channels), "quiet")
            cores = len(os.sched_getaffinity(0))
            return replace(result, seconds=result.seconds + one.seconds * N_BASELINES / cores)

        memory_bytes = 1.3 * self._visibility_bytes(row, data)
        ours = partial(self._convert, row, data, "--like", "birli")
        return self._compare(row, data, ours, birli, memory_bytes, self._slow_rounds)

    def _memory(self, row: Row, data: Dataset) -> Ratio:
        """Peak megabytes in relation to those of 4 integrations + 300."""
        allowed_mb = 4 * data.integration_bytes / 1e6 + 300
        some = ("--sel-time", "0", str(int(data.n_times * row.share) - 1))
        peaks = [self._convert(row, data, *some).peak_mb for _ in range(3)]
        low, median, high = statistics.quantiles(peaks, n=4, method="inclusive")
        return Ratio(median / allowed_mb, low / allowed_mb, high / allowed_mb, median, allowed_mb)


def write_solutions(path: Path, n_coarse: int) -> None:
    """AOCal solutions of 128 tiles, 32 in each coarse channel, all elements different from 0 and 1."""
    matrix = struct.pack("<8d", 0.9, 0.1, 0.05, -0.02, -0.03, 0.04, 1.1, -0.2)
    header = struct.pack("<8s6I2d", b"MWAOCAL\0", 0, 0, 1, 128, 32 * n_coarse, 4, 0.0, 0.0)
    path.write_bytes(header + matrix * (128 * 32 * n_coarse))


def size_bytes(path: Path) -> int:
    """Of a file, or of all files in a folder."""
    return sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file())


def output_folder(given: Path | None, root: Path, scale: str) -> Path:
    """Where outputs go: /dev/shm if it has room."""
    if given is not None:
        return given
    memory = Path("/dev/shm")
    if memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > SPACE[scale]:
        return memory
    return root


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = Path(tempfile.gettempdir()) / "mwaconvert-bench"
    parser.add_argument(
        "--data", type=Path, default=default, help="folder of the simulated data [%(default)s]"
    )
    parser.add_argument("--output", type=Path, help="folder of outputs [/dev/shm, else that of the data]")
    parser.add_argument("--scale", choices=("full", "small"), default="full")
    parser.add_argument("--rounds", type=int, default=6, help="rounds of each row [%(default)s]")
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=GROUPS, help="rows to measure")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that outputs are removed then, too
    arguments.data.mkdir(parents=True, exist_ok=True)
    folder = output_folder(arguments.output, arguments.data, arguments.scale)
    with tempfile.TemporaryDirectory(prefix="mwaconvert-bench-", dir=folder) as output:
        bench = Bench(arguments.data, Path(output), arguments.scale, arguments.rounds)
        failed = print_table(bench, arguments.scale, set(arguments.only))
    print(f"\noutputs in {folder}, data in {arguments.data}, {os.cpu_count()} cores")
    for name in sorted({row.data for row in promises(arguments.scale)}):
        print(f"{name}: {dataset(name, arguments.data, arguments.scale)}")
    sys.exit(failed)


def print_table(bench: Bench, scale: str, groups: set[str]) -> bool:
    """Measure and print row by row; whether any conversion failed."""
    print("| measure | ratio | middle half | bar | aim | | ours, other |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    failed = False
    missing: set[str] = set()
    for row in promises(scale):
        if row.group not in groups or row.group in missing:
            continue
        try:
            print(row.line(bench.measure(row)), flush=True)
        except PeerMissingError as error:
            missing.add(row.group)
            print(f"| {row.group}: skipped, not installed | | | | | | {error} |", flush=True)
        except RuntimeError as error:
            failed = True
            print(f"| {row.text} | | | | | FAILED | |", flush=True)
            print(error, file=sys.stderr, flush=True)
    return failed


if __name__ == "__main__":
    main()
