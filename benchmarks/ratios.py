"""Measure the ratios that the project promises: against plain copies of the same bytes, and against peers.

Two commands run in turn, in alternating order, on files that are in the page cache; what counts is the median
of the ratios of the rounds, shown with the band that holds the middle half of them. Conversions are timed as
whole commands, start-up included; of peers that are libraries only their own work is timed, without imports.

    python benchmarks/ratios.py                full size: 16 GB of simulated data, made once and kept
    python benchmarks/ratios.py --scale small  a check in a few minutes, in which start-up weighs heavily

Outputs go to memory (/dev/shm) where there is room, so that ratios tell about programs and not about disks: a
conversion ends by syncing its output, which `cp` and the peers do not.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from datasets import Dataset, dataset
from measure import PeerMissingError, Ratio, Run, converter, interleave, remove, run, run_peer
from promises import GROUPS, Row, promises

#: free space that a folder of outputs needs
SPACE = {"full": 8e9, "small": 4e9}


class Bench:
    """What `promises.Row.measure` names."""

    def __init__(self, root: Path, output: Path, scale: str, rounds: int) -> None:
        self._root, self._output, self._scale, self._rounds = root, output, scale, rounds
        self._mwaconvert = converter()

    def measure(self, row: Row) -> Ratio:
        """The ratio of one row."""
        data = dataset(row.data, self._root, self._scale)
        run_peer("run_copy.py", "cat", *data.files)  # into the page cache
        method: Callable[[Row, Dataset], Ratio] = getattr(self, f"_{row.group}")
        return method(row, data)

    def _convert(
        self, row: Row, data: Dataset, *more: str, cpus: int | None = None, keep: bool = False
    ) -> Run:
        output = self._output / f"ours{row.suffix}"
        files = [] if row.channels is None else ["--provided-chan-ranges", *self._files(row, data)]
        words = [*self._mwaconvert, "-q", "-m", data.metafits, "-o", output, *row.options, *more, *files]
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

    def _cat(self, row: Row, data: Dataset) -> Ratio:
        cat = partial(run_peer, "run_copy.py", "cat", *data.files)
        return interleave(partial(self._convert, row, data), cat, self._rounds)

    def _cp(self, row: Row, data: Dataset) -> Ratio:
        original, copy = self._output / f"original{row.suffix}", self._output / f"copy{row.suffix}"
        self._convert(row, data, keep=True)
        (self._output / f"ours{row.suffix}").rename(original)

        def cp() -> Run:
            result = run_peer("run_copy.py", "cp", original, copy)
            remove(copy)
            return result

        try:
            return interleave(partial(self._convert, row, data), cp, self._rounds)
        finally:
            remove(original)

    def _mwalib(self, row: Row, data: Dataset) -> Ratio:
        read = partial(run_peer, "run_mwalib.py", data.metafits, *data.files)
        return interleave(partial(self._convert, row, data), read, self._rounds)

    def _birli(self, row: Row, data: Dataset) -> Ratio:
        birli = partial(self._peer, "run_birli.py", row, data, "--", *row.options, "--provided-chan-ranges")
        return interleave(partial(self._convert, row, data, "--like", "birli"), birli, self._rounds)

    def _pyuvdata(self, row: Row, data: Dataset) -> Ratio:
        peer = partial(self._peer, "run_pyuvdata.py", row, data)
        rounds = max(1, self._rounds // 2)
        return interleave(partial(self._convert, row, data, "--pointing-centre"), peer, rounds)

    def _threads(self, row: Row, data: Dataset) -> Ratio:
        one, two = (partial(self._convert, row, data, cpus=n) for n in (1, 2))
        return interleave(one, two, self._rounds)

    def _memory(self, row: Row, data: Dataset) -> Ratio:
        """Peak megabytes in relation to those of 4 integrations + 300."""
        allowed_mb = 4 * data.integration_bytes / 1e6 + 300
        some = ("--sel-time", "0", str(int(data.n_times * row.share) - 1))
        peaks = [self._convert(row, data, *some).peak_mb for _ in range(3)]
        low, median, high = statistics.quantiles(peaks, n=4, method="inclusive")
        return Ratio(median / allowed_mb, low / allowed_mb, high / allowed_mb, median, allowed_mb)


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
