"""A campaign against the safety of files: kills, signals, full disks and pairs of runs, on small simulated data.

    python tests/faults/attack.py [--kills 200] [--terms 100] [--full 50] [--pairs 20] [--seconds 1800] [--seed 1]

As root it runs in a mount and a process namespace of its own, so that its small disks and its children go with it.
Exit code 1 if anything was lost, half-written or said badly; stop it by Ctrl-C at any time.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mwaconvert.staging import sweep

MAIN = "from mwaconvert.cli.main import main; main()"
#: flags and amplitudes go to files in TMPDIR, as those of large observations do
SPILLING = """
import mwaconvert.conversion.rfi.mask as mask
mask.mask_in_file = lambda plan: True
import mwaconvert.conversion.rfi.detection as detection
import dataclasses
plan_detection = detection.plan_detection
detection.plan_detection = lambda *a, **k: (
    None if (d := plan_detection(*a, **k)) is None else dataclasses.replace(d, spill_in_file=True)
)
from mwaconvert.cli.main import main; main()
"""
SPOILT = ("Traceback", "unexpected", "terminate called", "Fatal", "core dumped")


@dataclass(frozen=True)
class Case:
    """A command line in a folder of its own, and the outputs that it writes there."""

    name: str
    words: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass
class Tally:
    """What became of the attacks of one kind."""

    ends: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def make_cases(inputs: Path) -> list[Case]:
    """Every verb that writes."""
    obs, legacy = inputs / "mwax" / "1412607288.metafits", next((inputs / "legacy").glob("*.metafits"))
    fil, ms = inputs / "a.fil", inputs / "a.ms"
    return [
        Case("uvfits", (str(obs), "-o", "a.uvfits", "--report", "r.json"), ("a.uvfits", "r.json")),
        Case("ms", (str(obs), "-o", "a.ms", "--qa", "a.png"), ("a.ms", "a.png")),
        Case("mwaf", (str(legacy), "-o", "a_%%.mwaf"), ("a_01.mwaf",)),
        Case("qa", ("qa", str(ms), "-o", "a.html"), ("a.html",)),
        Case("dedisperse", ("dedisperse", str(fil), "--dm", "50", "-o", "a.dat"), ("a.dat", "a.inf")),
        Case("waterfall", ("waterfall", str(fil), "--dm", "50", "-o", "a.pdf"), ("a.pdf",)),
        Case(
            "search",
            ("search", str(fil), "--dm-range", "0", "60", "-o", "a.csv"),
            ("a.csv",),
        ),
        Case(
            "simulate",
            (
                "simulate",
                "--tiles",
                "4",
                "--coarse-channels",
                "1",
                "--duration",
                "4",
                "--seed",
                "3",
                "-o",
                ".",
            ),
            ("1412607288.metafits", "1412607288_20241010145430_ch131_000.fits"),
        ),
    ]


def make_inputs(folder: Path) -> None:
    import numpy as np

    from mwaconvert.formats.spectra.sigproc_writer import FilterbankWriter
    from mwaconvert.simulate import simulate

    sim = simulate(folder / "mwax", "mwax-128", n_tiles=6, duration_s=16, coarse_channels=2, noise_jy=3)
    simulate(folder / "legacy", "legacy-128", duration_s=4, fine_khz=40.0, coarse_channels=1, noise_jy=3)
    run(MAIN, [str(sim.metafits), "-o", "a.ms", "-q"], folder)
    values = np.random.default_rng(1).normal(100, 10, (64, 8192)).astype(np.float32)
    with FilterbankWriter(folder / "a.fil", np.linspace(1200.0, 1500.0, 64), 1e-3, 32) as writer:
        writer.write(values)


def start(code: str, words: list[str] | tuple[str, ...], folder: Path, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *words],
        cwd=folder,
        env=os.environ | env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )


def run(code: str, words: list[str] | tuple[str, ...], folder: Path, **env: str) -> tuple[int, str]:
    process = start(code, words, folder, **env)
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors


def digest(path: Path) -> str:
    """Of the bytes of a file, or of all files of a directory but its HISTORY; 'none' where nothing is."""
    if not os.path.lexists(path):
        return "none"
    total = hashlib.sha256()
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    for file in files:
        if file.is_file() and file.parent.name != "HISTORY":
            total.update(str(file.relative_to(path)).encode() + file.read_bytes())
    return total.hexdigest()


def left_behind(folder: Path, known: tuple[str, ...]) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.name not in (*known, "other"))


class Campaign:
    """Runs the attacks and keeps the score."""

    def __init__(self, work: Path, seed: int, seconds: float) -> None:
        self.work, self.random = work, random.Random(seed)
        self.end = time.monotonic() + seconds
        self.inputs = work / "in"
        self.inputs.mkdir()
        make_inputs(self.inputs)
        self.cases = make_cases(self.inputs)
        self.input_digest = digest(self.inputs)
        self.tallies: dict[str, Tally] = {}
        self.wholes: dict[str, list[set[str]]] = {}
        self.takes: dict[str, float] = {}
        self.older: dict[str, Path] = {}
        for case in self.cases:
            folder = self.older[case.name] = self.fresh()
            self.wholes[case.name] = [set() for _ in case.outputs]
            for more in ([], ["--overwrite"]):  # the command line is in the history of some outputs
                begin = time.monotonic()
                code, errors = run(MAIN, (*case.words, "-q", *more), folder)
                if code:
                    raise SystemExit(f"{case.name}: {errors}")
                self.takes[case.name] = time.monotonic() - begin
                for whole, name in zip(self.wholes[case.name], case.outputs, strict=True):
                    whole.add(digest(folder / name))

    def fresh(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.work, prefix="run-"))

    def attack(self, kind: str, count: int, one: Callable[[Case, Tally], None]) -> None:
        tally = self.tallies.setdefault(kind, Tally())
        for k in range(count):
            if time.monotonic() > self.end:
                tally.ends["not run, out of time"] += count - k
                return
            one(self.cases[k % len(self.cases)], tally)

    def prepare(self, case: Case) -> tuple[Path, list[str], list[str]]:
        """A folder, the words of the command, and what is there before: half of the time an older output."""
        folder = self.fresh()
        if self.random.random() < 0.5:
            shutil.copytree(self.older[case.name], folder, dirs_exist_ok=True)
        before = [digest(folder / name) for name in case.outputs]
        return folder, [*case.words, "-q", "--overwrite"], before

    def judge(
        self, case: Case, tally: Tally, folder: Path, before: list[str], errors: str, *, swept: bool
    ) -> None:
        """Each output is what was there, or whole; nothing else is left; the inputs are what they were."""

        def blame(what: str) -> None:
            tally.faults.append(f"{case.name}: {what}: {errors[-300:]!r}")

        for name, old, whole in zip(case.outputs, before, self.wholes[case.name], strict=True):
            now = digest(folder / name)
            if now != old and now not in whole and not name.endswith((".json", ".html", ".png")):
                blame(f"{name} is neither the old one nor whole")
            if old != "none" and now == "none":
                blame(f"{name} was lost")
        if swept:
            sweep(folder)
        if left := left_behind(folder, case.outputs):
            blame(f"left behind {left}")
        if any(word in errors for word in SPOILT):
            blame("said badly")
        if digest(self.inputs) != self.input_digest:
            raise SystemExit(f"{case.name}: an input has changed")
        if not os.path.ismount(folder):
            shutil.rmtree(folder)

    def kill(self, case: Case, tally: Tally) -> None:
        folder, words, before = self.prepare(case)
        process = start(MAIN, words, folder)
        time.sleep(self.random.uniform(0.2, 1.1) * self.takes[case.name])
        process.kill()
        _, errors = process.communicate(timeout=60)
        tally.ends["killed" if process.returncode == -signal.SIGKILL else f"exit {process.returncode}"] += 1
        self.judge(case, tally, folder, before, errors, swept=True)

    def terminate(self, case: Case, tally: Tally) -> None:
        folder, words, before = self.prepare(case)
        stop = self.random.choice([signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
        process = start(MAIN, words, folder)
        time.sleep(self.random.uniform(0.2, 1.1) * self.takes[case.name])
        process.send_signal(stop)
        _, errors = process.communicate(timeout=60)
        code = process.returncode
        tally.ends[f"exit {code}" if code >= 0 else f"{signal.Signals(-code).name} before it began"] += 1
        if code < 0 or (code == 1 and "Traceback" in errors and stop == signal.SIGINT):
            errors = ""  # the interpreter was still starting
        elif code not in (0, 128 + stop):
            tally.faults.append(f"{case.name}: {stop.name} ended in {code}: {errors[-300:]!r}")
        self.judge(case, tally, folder, before, errors, swept=code < 0)

    def fill(self, case: Case, tally: Tally) -> None:
        """A disk that is too small: from the beginning, or because another program fills it under way."""
        folder = self.fresh()
        older = sum(p.stat().st_size for p in self.older[case.name].rglob("*") if p.is_file())
        with small_disk(folder, (16 << 20) + 3 * older):  # room for both, and what is held back meanwhile
            shutil.copytree(self.older[case.name], folder, dirs_exist_ok=True)
            before = [digest(folder / name) for name in case.outputs]
            free = shutil.disk_usage(folder).free
            leave = int(free * self.random.random() ** 3)
            late = self.random.random() < 0.5
            if not late:
                occupy(folder, free - leave)
            process = start(MAIN, [*case.words, "-q", "--overwrite"], folder)
            if late:
                time.sleep(self.random.uniform(0.2, 1.0) * self.takes[case.name])
                occupy(folder, free)
            _, errors = process.communicate(timeout=120)
            code = process.returncode
            tally.ends[f"exit {code}"] += 1
            if code not in (0, 2) or (code == 2 and len(errors.splitlines()) != 1):
                tally.faults.append(f"{case.name}: a full disk ended in {code}: {errors[-600:]!r}")
            self.judge(case, tally, folder, before, errors, swept=False)
        folder.rmdir()

    def spill(self, case: Case, tally: Tally) -> None:
        """A small TMPDIR for what does not fit into memory."""
        folder, tmp = self.fresh(), self.fresh()
        before = ["none"] * len(case.outputs)
        with small_disk(tmp, self.random.choice([1 << 12, 1 << 16, 1 << 18, 1 << 20, 1 << 22, 64 << 20])):
            code, errors = run(SPILLING, (*case.words, "-q"), folder, TMPDIR=str(tmp))
            tally.ends[f"exit {code}"] += 1
            if code not in (0, 2) or (code == 2 and len(errors.splitlines()) != 1):
                tally.faults.append(f"{case.name}: a small TMPDIR ended in {code}: {errors[-600:]!r}")
            if left := list(tmp.iterdir()):
                tally.faults.append(f"{case.name}: left behind in TMPDIR: {left}")
        tmp.rmdir()
        self.judge(case, tally, folder, before, errors, swept=False)

    def pair(self, case: Case, tally: Tally) -> None:
        """Two runs to one output at once."""
        folder, overwrite = self.fresh(), self.random.random() < 0.5
        words = [*case.words, "-q", *(["--overwrite"] if overwrite else [])]
        both = [start(MAIN, words, folder)]
        time.sleep(self.random.choice([0.0, 0.1, 0.3]) * self.takes[case.name])
        both.append(start(MAIN, words, folder))
        errors = "".join(process.communicate(timeout=120)[1] for process in both)
        codes = sorted(process.returncode for process in both)
        tally.ends[f"exits {codes[0]} and {codes[1]}" + (", --overwrite" if overwrite else "")] += 1
        # with several outputs each run may win one of them
        fine = (
            codes == [0, 0] if overwrite else codes == [0, 2] or (codes == [2, 2] and len(case.outputs) > 1)
        )
        if not fine:
            tally.faults.append(f"{case.name}: two runs ended in {codes}: {errors[-600:]!r}")
        self.judge(case, tally, folder, ["none"] * len(case.outputs), errors, swept=False)


@contextmanager
def small_disk(folder: Path, n_bytes: int) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={n_bytes}", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def occupy(folder: Path, n_bytes: int) -> None:
    """Fill a disk up to the last byte, or by this much."""
    with (folder / "other").open("ab", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while file.tell() + size <= n_bytes:
                    file.write(bytes(size))
            except OSError:
                pass


def may_mount() -> bool:
    return os.geteuid() == 0 and subprocess.run(["unshare", "-m", "true"], check=False).returncode == 0


def enter_namespaces() -> None:
    """Start again in namespaces of its own, whose disks and processes end with it."""
    if may_mount() and "MWACONVERT_ATTACK" not in os.environ:
        os.environ["MWACONVERT_ATTACK"] = "inside"
        words = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        os.execvp(words[0], [*words, sys.executable, *sys.argv])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, count in {"kills": 200, "terms": 100, "full": 50, "spills": 24, "pairs": 20, "seed": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=count)
    parser.add_argument("--seconds", type=float, default=1800)
    options = parser.parse_args()
    enter_namespaces()
    with tempfile.TemporaryDirectory(prefix="mwaconvert-attack-") as work:
        campaign = Campaign(Path(work), options.seed, options.seconds)
        try:
            campaign.attack("two runs to one output", options.pairs, campaign.pair)
            if may_mount():
                campaign.attack("full disk", options.full, campaign.fill)
                campaign.attack("small TMPDIR", options.spills, campaign.spill)
            campaign.attack("SIGTERM, SIGHUP, SIGINT", options.terms, campaign.terminate)
            campaign.attack("SIGKILL", options.kills, campaign.kill)
        except KeyboardInterrupt:
            print("stopped")
    print("| attack | ends | faults |\n|---|---|---|")
    for kind, tally in campaign.tallies.items():
        ends = ", ".join(f"{n} {what}" for what, n in sorted(tally.ends.items()))
        print(f"| {kind} | {ends} | {len(tally.faults)} |")
    faults = [fault for tally in campaign.tallies.values() for fault in tally.faults]
    print("\n".join(faults))
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
