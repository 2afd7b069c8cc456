"""Feed damaged files to every reader: python tests/fuzz/fuzz_readers.py --seconds 60

A reader may read a file, or refuse it with one of our errors. Anything else is a finding: another exception, a crash,
a gigabyte of memory, or more than ten seconds for a file of a few kilobytes. Each reader gets the same share of
--seconds, which are those of processors, its children included. The changes are random, from a seed that is printed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[1] / "support")]

import sound_others  # noqa: E402
import sound_spectra  # noqa: E402
from sound import Sound  # noqa: E402

from mwaconvert import machine  # noqa: E402
from mwaconvert.errors import Error  # noqa: E402
from mwaconvert.vocabulary.job_file import JobFileError  # noqa: E402

MEMORY_BYTES = 6 << 30  # of address space
PEAK_BYTES = 1 << 30  # more than before
SECONDS_EACH = 10
HANGING_S = 300  # of the clock, where no signal gets through
ROUND_S = 120  # of processors, between two looks at the score
INTERESTING = [
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    1 << 63,
    (1 << 64) - 1,
]


def seeds() -> dict[str, Sound]:
    """A small sound file of each format."""
    return sound_spectra.seeds() | sound_others.seeds()


def change(raw: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """A few random changes of a file."""
    out = bytearray(raw)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        # headers matter more than values
        at = rng.randrange(min(len(out), rng.choice((64, 512, 1 << 30)))) if out else 0
        match rng.randrange(8):
            case 0:
                out[at : at + 1] = bytes([rng.randrange(256)])
            case 1 if out:
                out[at] ^= 1 << rng.randrange(8)
            case 2:
                width = rng.choice((1, 2, 4, 8))
                value = (rng.choice(INTERESTING) + rng.choice((0, 0, 1, -1))) % (1 << (8 * width))
                out[at : at + width] = value.to_bytes(width, rng.choice(("little", "big")))
            case 3:
                del out[at:]
            case 4:
                del out[at : at + rng.randrange(1, 40)]
            case 5:
                out[at:at] = out[at : at + rng.randrange(1, 200)]
            case 6:
                other = rng.choice(others)
                start = rng.randrange(len(other))
                out[at : at + 64] = other[start : start + 64]
            case _:
                out[at : at + 8] = np.float64(
                    rng.choice((0.0, -1.0, np.nan, np.inf, 1e300, 1e-300))
                ).tobytes()
    return bytes(out)


def one(folder: Path, sound: Sound, raw: bytes) -> str:
    """Read a file; how it went: read or refused. Anything else is raised."""
    path = sound.write(folder, raw)
    try:
        sound.read(path)
    except Error as error:
        # only the problems of a job file are told one a line
        if len(str(error).splitlines()) != 1 and not isinstance(error, JobFileError):
            raise AssertionError(f"more than one line: {error}") from error
        return "refused"
    return "read"


def used_s() -> float:
    """Seconds of processors so far, of this process and of its children that have ended."""
    who = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, who))


class Score:
    """What was done: for each reader, how often which end, and seconds of processors.

    Parameters
    ----------
    keep : folder for files that are findings
    """

    def __init__(self, keep: Path) -> None:
        self.keep = keep
        self.counts: Counter[str] = Counter()
        self.used_s: Counter[str] = Counter()
        self.findings: list[str] = []

    def find(self, name: str, file: Path, what: str, why: str) -> None:
        """Keep a file, once for each kind of finding."""
        key = f"{name}: {what}"
        if key in self.findings:
            return
        self.findings.append(key)
        self.keep.mkdir(exist_ok=True)
        kept = self.keep / f"{len(self.findings)}.{name.replace(' ', '-')}"
        shutil.copyfile(file, kept)
        print(f"FINDING {kept}: {key}\n{why}", flush=True)

    def save(self, path: Path) -> None:
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps([self.counts, self.used_s, self.findings]))
        fresh.replace(path)

    def load(self, path: Path) -> None:
        counts, used, self.findings = json.loads(path.read_text())
        self.counts, self.used_s = Counter(counts), Counter(used)

    def table(self) -> str:
        """Markdown."""
        lines = ["| reader | files | read | refused | processor s |", "|---|---|---|---|---|"]
        for name in sorted(self.used_s):
            read, refused = (self.counts[f"{name}/{end}"] for end in ("read", "refused"))
            lines.append(f"| {name} | {self.counts[name]} | {read} | {refused} | {self.used_s[name]:.0f} |")
        return "\n".join(lines)


def main() -> int:
    """Run for a time; 1 if there was a finding, which is kept as a file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60, help="of processors, for all readers together")
    parser.add_argument("--seed", type=int, default=time.time_ns() % (1 << 32))
    parser.add_argument("--only", help="readers whose names hold this")
    parser.add_argument(
        "--keep", type=Path, default=Path("fuzz-findings"), help="folder for files that are findings"
    )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    score, number = Score(options.keep), 0
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        home = Path(folder)
        try:
            while (left := options.seconds - sum(score.used_s.values())) > 0:
                number += 1
                _round(home, options.only or "", score, f"{options.seed} {number}", min(left, ROUND_S))
        except KeyboardInterrupt:
            print("stopped")
    print(score.table())
    total = sum(score.counts[name] for name in score.used_s)
    print(
        f"seed {options.seed}: {total} files, {sum(score.used_s.values()):.0f} s of processors, "
        f"{len(score.findings)} findings"
    )
    return 1 if score.findings else 0


def _round(home: Path, only: str, score: Score, seed: str, seconds: float) -> None:
    """Some files in a process of its own: a crash ends that one only, and is a finding."""
    # nothing is read or made before the fork: libraries that have started threads may hang after it
    for old in home.iterdir():
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    begin = used_s()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        code = 1
        try:
            _inside(home, only, score, random.Random(seed), seconds)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    try:
        why = _wait(child, home / "last")
    except KeyboardInterrupt:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    if (home / "score").exists():
        score.load(home / "score")
    if why:
        if not (home / "name").exists():
            raise SystemExit(f"the fuzzing itself {why}")
        name = (home / "name").read_text()
        score.find(name, home / "last", why, "")
        score.used_s[name] += used_s() - begin


def _wait(child: int, last: Path) -> str:
    """How a child ended; empty if well."""
    since = time.time()
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return "" if code == 0 else f"ended with exit code {code}" if code > 0 else f"signal {-code}"
        if last.exists():
            since = max(since, last.stat().st_mtime)
        if time.time() - since > HANGING_S:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return f"did not end in {HANGING_S} s"
        time.sleep(0.02)


def _inside(home: Path, only: str, score: Score, rng: random.Random, seconds: float) -> None:
    sound = {name: made for name, made in seeds().items() if only in name}
    warnings.simplefilter("ignore")
    logging.getLogger("mwaconvert").addHandler(logging.NullHandler())
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGPROF, _too_long)
    raws = [made.raw for made in sound.values()]
    begin = used_s()
    while used_s() - begin < seconds:
        name = min(sound, key=lambda name: (score.used_s[name], name))
        folder = home / "files" / name.replace(" ", "-")
        is_first = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        raw = sound[name].raw if is_first else change(sound[name].raw, raws, rng)
        (home / "name").write_text(name)
        (home / "last").write_bytes(raw)
        before = used_s()
        end = _watched(score, name, sound[name], folder, home / "last")
        if is_first and end != "read":
            raise AssertionError(f"the sound file of {name} is not read")
        score.used_s[name] += used_s() - before
        score.counts[name] += 1
        score.counts[f"{name}/{end}"] += 1
        if score.counts[name] % 16 == 0:
            score.save(home / "score")
    score.save(home / "score")


def _watched(score: Score, name: str, sound: Sound, folder: Path, last: Path) -> str:
    """How it went; what is neither read nor refused becomes a finding."""
    _forget_peak()
    before = machine.own_memory_bytes()
    signal.setitimer(signal.ITIMER_PROF, SECONDS_EACH)
    end = "finding"
    try:
        end = one(folder, sound, last.read_bytes())
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(frame.filename).name}:{frame.lineno}"
        what = f"{type(error).__name__} in {where}"
        score.find(name, last, what, "".join(traceback.format_exception(error, limit=-4)))
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    if (took := machine.peak_memory_bytes() - before) > PEAK_BYTES:
        score.find(name, last, "memory", f"{took >> 20} MiB")
    return end


def _forget_peak() -> None:
    with contextlib.suppress(OSError):  # of another system: the limit of address space is left
        Path("/proc/self/clear_refs").write_text("5")


def _too_long(*_: object) -> None:
    raise TimeoutError(f"more than {SECONDS_EACH} s of processor time")


if __name__ == "__main__":
    sys.exit(main())
