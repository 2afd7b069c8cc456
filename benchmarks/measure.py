"""Runs programs, measures wall time and peak memory, and compares two of them.

Standard library only: the kernel counts the memory of a parent at the time of fork as that of its child, so
the measuring process must stay small.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

PEERS = Path(__file__).parent / "peers"
#: exit code of a peer script whose program is not installed
NOT_INSTALLED = 3


class PeerMissingError(Exception):
    """A program to compare with is not installed; the text says how to install it."""


@dataclass(frozen=True)
class Run:
    """Wall time, and the largest resident set of the process or any of its children."""

    seconds: float
    peak_mb: float


def run(command: Sequence[str | Path], cpus: int | None = None) -> Run:
    """Run a program to its end, start-up included.

    Parameters
    ----------
    command : program and arguments
    cpus : restrict it to this many processors; None: no restriction

    Raises
    ------
    RuntimeError : it failed; the text has the end of its output
    """
    allowed = os.sched_getaffinity(0) if cpus is not None else set()
    with tempfile.TemporaryFile("w+") as log:
        try:
            if cpus is not None:
                os.sched_setaffinity(0, sorted(allowed)[:cpus])
            started = time.perf_counter()
            process = subprocess.Popen([str(word) for word in command], stdout=log, stderr=subprocess.STDOUT)
        finally:
            if cpus is not None:
                os.sched_setaffinity(0, allowed)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            tail = "".join(log.readlines()[-20:])
            raise RuntimeError(f"{shlex.join(map(str, command))} failed ({process.returncode}):\n{tail}")
    return Run(seconds, usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3))


def run_peer(script: str, *arguments: str | Path) -> Run:
    """Run one of `peers/`, which prints what it measured.

    Raises
    ------
    PeerMissingError : its program is not installed
    """
    command = [sys.executable, str(PEERS / script), *map(str, arguments)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode == NOT_INSTALLED:
        raise PeerMissingError(process.stderr.strip())
    if process.returncode:
        raise RuntimeError(f"{shlex.join(command)} failed:\n{process.stderr[-2000:]}")
    return Run(**json.loads(process.stdout.splitlines()[-1]))


def report(result: Run) -> None:
    """Print what `run_peer` reads; for the scripts in `peers/`."""
    print(json.dumps(asdict(result)))


def not_installed(how: str) -> None:
    """End a script of `peers/` with the line that says how to install its program."""
    print(how, file=sys.stderr)
    sys.exit(NOT_INSTALLED)


def converter() -> list[str]:
    """The command `mwaconvert`: $MWACONVERT, else the one beside this Python, else the one on the path."""
    if "MWACONVERT" in os.environ:
        return shlex.split(os.environ["MWACONVERT"])
    beside = Path(sys.executable).with_name("mwaconvert")
    found = str(beside) if beside.exists() else shutil.which("mwaconvert")
    if found is None:
        sys.exit("mwaconvert is not installed: pip install '.[bench]', or set MWACONVERT to the command")
    return [found]


@dataclass(frozen=True)
class Ratio:
    """Of two programs run in turn.

    Attributes
    ----------
    median, low, high : of the ratios of the rounds: median, 25 % and 75 % quantile
    first, second : medians of the two (seconds)
    """

    median: float
    low: float
    high: float
    first: float
    second: float


def interleave(
    first: Callable[[], Run], second: Callable[[], Run], rounds: int, prepare: Callable[[], None]
) -> Ratio:
    """Time two programs in alternating order (A B, B A, A B, ...) after one round that is not counted.

    `prepare` is called before each run.
    """

    def seconds(program: Callable[[], Run]) -> float:
        prepare()
        return program().seconds

    seconds(first), seconds(second)
    pairs = []
    for number in range(rounds):
        if number % 2:
            b, a = seconds(second), seconds(first)
        else:
            a, b = seconds(first), seconds(second)
        pairs.append((a, b))
    ratios = [a / b for a, b in pairs]
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive") if rounds > 1 else 3 * ratios
    return Ratio(
        median, low, high, statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)
    )


def warm_memory(folder: Path, n_bytes: int) -> None:
    """Fill this much memory, in a file on a memory-backed file system or in the page cache, and free it again.

    Virtual machines give memory that is free for seconds back to their host, and get it back eight times more
    slowly than programs otherwise write: without this, the program that runs first pays.
    """
    path = folder / "ballast"
    zeros = bytes(1 << 20)
    with path.open("wb") as out:
        for _ in range(n_bytes >> 20):
            out.write(zeros)
    path.unlink()


def remove(path: Path) -> None:
    """Remove a file or directory, if there, and wait until nothing is left to be written to disk."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    os.sync()
