"""A campaign against the safety of files: kills, signals, full disks and pairs of runs, on small simulated data.

    python tests/faults/attack.py [--kills 200] [--terms 100] [--full 50] [--spills 24] [--pairs 20]
                                  [--only VERB] [--seconds 1800] [--seed 1] [--results attack.json]

Where the machine allows it runs in a mount and a process namespace of its own, so that its small disks and its
children go with it; elsewhere limits of file sizes stand for full disks. Ctrl-C or SIGTERM stops it at any time. With
--results, what was done is kept after each attack, and the same command goes on where it was. Exit code 1 if anything
was lost, half-written, left behind, left running or said badly.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import disks
import targets
from targets import MAIN, PRODUCTS, SPILLING, Case, digest, start

from mwaconvert.staging import sweep

SPOILT = ("Traceback", "unexpected", "terminate called", "Fatal", "core dumped")
#: what may differ between two runs: times are in them, and Dysco throws dice when it rounds
UNLIKE = (".json", ".html", ".png", ".tar", "d.ms")
LIMITED = """
import os, resource
resource.setrlimit(resource.RLIMIT_FSIZE, (int(os.environ["MWACONVERT_LARGEST"]),) * 2)
"""
PATIENCE_S = 600


class Campaign:
    """Runs attacks one at a time; each finds the case, and all that is random in it, from its number.

    Parameters
    ----------
    work : an empty folder
    only : the one case that is attacked; None: all
    namespaces : whether disks can be mounted, and processes counted
    """

    def __init__(self, work: Path, seed: int, only: str | None, *, namespaces: bool) -> None:
        self.work, self.seed, self.namespaces = work, seed, namespaces
        self.random = random.Random(seed)
        self.inputs = work / "in"
        self.inputs.mkdir()
        targets.make_inputs(self.inputs)
        self.cases = [case for case in targets.make_cases(self.inputs) if only in (None, case.name)]
        self.input_digest = digest(self.inputs)
        self.faults: list[str] = []
        self.end = ""
        self.wholes: dict[str, list[set[str]]] = {}
        self.takes: dict[str, float] = {}
        self.older: dict[str, Path] = {}
        for case in self.cases:
            self._learn(case)

    def _learn(self, case: Case) -> None:
        """What the outputs are when nothing goes wrong, and how long that takes."""
        folder = self.older[case.name] = self._prepared(case)
        wholes = self.wholes[case.name] = [set[str]() for _ in case.outputs]
        for words in (self._words(case, overwrite=False), self._words(case)):  # some outputs keep the words
            begin = time.monotonic()
            code, errors = targets.run(MAIN, words, folder)
            if code:
                raise SystemExit(f"{case.name}: {errors}")
            self.takes.setdefault(case.name, time.monotonic() - begin)
            for whole, name in zip(wholes, case.outputs, strict=True):
                whole.add(digest(folder / name))

    def _words(self, case: Case, *, overwrite: bool = True) -> list[str]:
        return [*case.words, "-q", *(["--overwrite"] if overwrite and not case.goes_on else [])]

    def _fresh(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.work, prefix="run-"))

    def _prepared(self, case: Case) -> Path:
        folder = self._fresh()
        self._lay_out(case, folder, older=False)
        return folder

    def attacked(self, attack: Callable[[Campaign, Case], None]) -> list[Case]:
        return [case for case in self.cases if case.spills or attack is not Campaign.spill]

    def one(self, attack: Callable[[Campaign, Case], None], number: int) -> str:
        """Carry out one attack; the name of its case. How it ended is in `end`, what went wrong in `faults`."""
        cases = self.attacked(attack)
        case = cases[number % len(cases)]
        self.random = random.Random(f"{self.seed} {attack.__name__} {number}")
        self.faults, self.end = [], ""
        attack(self, case)
        return case.name

    # attacks

    def kill(self, case: Case) -> None:
        """SIGKILL at a random moment."""
        folder, before = self._prepare(case)
        process = start(MAIN, self._words(case), folder)
        time.sleep(self.random.uniform(0.05, 1.1) * self.takes[case.name])
        process.kill()
        process.wait(PATIENCE_S)
        if process.returncode == -signal.SIGKILL:
            wrote = any(folder.glob(".mwaconvert-*.part")) or any(
                folder.glob(f"{PRODUCTS}/.mwaconvert-jobs/*")
            )
            self.end = "killed while it wrote" if wrote else "killed before or after"
        else:
            self.end = f"exit {process.returncode}"
        self._judge(case, folder, before, swept=True)

    def terminate(self, case: Case) -> None:
        """A signal that asks for the end."""
        folder, before = self._prepare(case)
        stop = self.random.choice([signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
        process = start(MAIN, self._words(case), folder)
        time.sleep(self.random.uniform(0.05, 1.1) * self.takes[case.name])
        process.send_signal(stop)
        code = process.wait(PATIENCE_S)
        self.end = f"exit {code}" if code >= 0 else f"{signal.Signals(-code).name} before it began"
        starting = code < 0 or (code == 1 and stop == signal.SIGINT)  # of the interpreter itself
        if not starting and code not in (0, 128 + stop):
            self._blame(case, f"{stop.name} ended in {code}", folder)
        self._judge(case, folder, before, swept=starting, heard=not starting)

    def fill(self, case: Case) -> None:
        """A disk that is too small: from the beginning, or because another program fills it under way."""
        if not self.namespaces:
            self._limit(case)
            return
        folder = self._fresh()
        older = sum(p.stat().st_size for p in self.older[case.name].rglob("*") if p.is_file())
        with disks.small_disk(
            folder, (16 << 20) + 3 * older
        ):  # room for both, and what is held back meanwhile
            self._lay_out(case, folder, older=True)
            before = [digest(folder / name) for name in case.outputs]
            free = shutil.disk_usage(folder).free
            late = self.random.random() < 0.5
            if not late:
                disks.occupy(folder, free - int(free * self.random.random() ** 3))
            process = start(MAIN, self._words(case), folder)
            if late:
                time.sleep(self.random.uniform(0.1, 1.0) * self.takes[case.name])
                disks.occupy(folder, free)
            self._heard(case, "a full disk", process.wait(PATIENCE_S), folder)
            (folder / "other").unlink(missing_ok=True)
            self._judge(case, folder, before)
        folder.rmdir()

    def _limit(self, case: Case) -> None:
        """No file may grow beyond a size: what a machine without namespaces has for a full disk."""
        folder, before = self._prepare(case)
        largest = max(p.stat().st_size for p in self.older[case.name].rglob("*") if p.is_file())
        limit = str(int(1.2 * largest * self.random.random() ** 2))
        process = start(LIMITED + MAIN, self._words(case), folder, MWACONVERT_LARGEST=limit)
        self._heard(case, f"a limit of {limit} bytes", process.wait(PATIENCE_S), folder)
        self._judge(case, folder, before)

    def spill(self, case: Case) -> None:
        """A small TMPDIR, or one that fills up, for what does not fit into memory."""
        folder, tmp, mark = self._prepared(case), self._fresh(), self.work / "spilled"
        mark.unlink(missing_ok=True)
        size = self.random.choice([1 << 12, 1 << 16, 1 << 18, 1 << 20, 1 << 22, 64 << 20, 64 << 20])
        code, more = SPILLING, {"TMPDIR": str(tmp), "MWACONVERT_SPILLED": str(mark)}
        if not self.namespaces:
            code, more["MWACONVERT_LARGEST"] = LIMITED + SPILLING, str(size)
        with disks.small_disk(tmp, size) if self.namespaces else contextlib.nullcontext():
            process = start(code, self._words(case), folder, **more)
            if self.namespaces and size == 64 << 20 and self.random.random() < 0.5:
                time.sleep(self.random.uniform(0.3, 1.0) * self.takes[case.name])
                disks.occupy(tmp, size)
            self._heard(case, f"a TMPDIR of {size} bytes", process.wait(PATIENCE_S), folder)
            (tmp / "other").unlink(missing_ok=True)
            if left := list(tmp.iterdir()):
                self._blame(case, f"left behind in TMPDIR: {left}", folder)
        tmp.rmdir()
        self.end += f", {mark.read_text() if mark.exists() else 'unknown'} spill files"
        self._judge(case, folder, ["none"] * len(case.outputs))

    def pair(self, case: Case) -> None:
        """Two runs to one output at once."""
        folder = self._prepared(case)
        overwrite = self.random.random() < 0.5 and not case.goes_on
        words = self._words(case, overwrite=overwrite)
        both = [start(MAIN, words, folder)]
        time.sleep(self.random.choice([0.0, 0.1, 0.3, 0.6]) * self.takes[case.name])
        both.append(start(MAIN, words, folder))
        codes = sorted(process.wait(PATIENCE_S) for process in both)
        self.end = f"exits {codes[0]} and {codes[1]}" + (", --overwrite" if overwrite else "")
        allowed = [[0, 0]] if overwrite else [[0, 2]]
        if case.goes_on:
            allowed = [[0, 0], [0, 2]]
        elif len(case.outputs) > 1 and not overwrite:
            allowed.append([2, 2])  # each run may win one of them
        if codes not in allowed:
            self._blame(case, f"two runs ended in {codes}", folder)
        self._judge(case, folder, ["none"] * len(case.outputs))

    # before and after

    def _lay_out(self, case: Case, folder: Path, *, older: bool) -> None:
        if case.goes_on:
            (folder / PRODUCTS).mkdir()
        elif older:
            shutil.copytree(self.older[case.name], folder, dirs_exist_ok=True)

    def _prepare(self, case: Case) -> tuple[Path, list[str]]:
        """A folder, and what is there before: half of the time an older output."""
        folder = self._fresh()
        self._lay_out(case, folder, older=self.random.random() < 0.5)
        return folder, [digest(folder / name) for name in case.outputs]

    def _blame(self, case: Case, what: str, folder: Path) -> None:
        errors = folder.with_suffix(".errors")
        text = errors.read_text(errors="replace")[-600:] if errors.exists() else ""
        self.faults.append(f"{case.name}: {what}: {text!r}")

    def _heard(self, case: Case, what: str, code: int, folder: Path) -> None:
        """Where room was missing: it worked, or one sentence and exit code 2 (4: a job failed)."""
        self.end = f"exit {code}"
        lines = folder.with_suffix(".errors").read_text(errors="replace").splitlines()
        told = len(lines) == 1 or case.goes_on  # a worker warns before
        if code not in ((0, 2, 4) if case.goes_on else (0, 2)) or (code == 2 and not told):
            self._blame(case, f"{what} ended in {code}", folder)

    def _judge(
        self, case: Case, folder: Path, before: list[str], *, swept: bool = False, heard: bool = True
    ) -> None:
        """Each output is what was there, or whole; nothing else is left; the inputs are what they were."""
        if self.namespaces and (running := disks.left_running()):
            self._blame(case, f"left running {running}", folder)
        errors = folder.with_suffix(".errors").read_text(errors="replace")
        if heard and any(word in errors for word in SPOILT):
            self._blame(case, "said badly", folder)
        if case.goes_on:
            code, _ = targets.run(MAIN, self._words(case), folder)
            if code or digest(folder / PRODUCTS) not in self.wholes[case.name][0]:
                self._blame(case, f"the same command did not go on: exit {code}: {errors}", folder)
        else:
            self._judge_files(case, folder, before)
        if swept:
            sweep(folder)
        if left := sorted(p.name for p in folder.iterdir() if p.name not in case.outputs):
            self._blame(case, f"left behind {left}", folder)
        if digest(self.inputs) != self.input_digest:
            raise SystemExit(f"{case.name}: an input has changed; what was said: {errors}")
        folder.with_suffix(".errors").unlink(missing_ok=True)
        if not folder.is_mount():
            shutil.rmtree(folder)

    def _judge_files(self, case: Case, folder: Path, before: list[str]) -> None:
        for name, old, whole in zip(case.outputs, before, self.wholes[case.name], strict=True):
            now = digest(folder / name)
            if now != old and now not in whole and not name.endswith(UNLIKE):
                self._blame(case, f"{name} is neither the old one nor whole", folder)
            if old != "none" and now == "none":
                self._blame(case, f"{name} was lost", folder)


#: word on the command line, how many by default, what it is called, the attack
ATTACKS: dict[str, tuple[int, str, Callable[[Campaign, Case], None]]] = {
    "pairs": (20, "two runs to one output", Campaign.pair),
    "full": (50, "full disk", Campaign.fill),
    "spills": (24, "spill files and a small TMPDIR", Campaign.spill),
    "terms": (100, "SIGTERM, SIGHUP, SIGINT", Campaign.terminate),
    "kills": (200, "SIGKILL", Campaign.kill),
}


class Results:
    """What was done, kept in a file after each attack.

    Parameters
    ----------
    path : None: not kept
    """

    def __init__(self, path: Path | None, seed: int, only: str | None) -> None:
        self.path = path
        self.facts = {"seed": seed, "only": only, "wall_s": 0.0, "cpu_s": 0.0}
        self.runs: list[dict[str, object]] = []
        if path is not None and path.exists():
            kept = json.loads(path.read_text())
            if (kept["seed"], kept["only"]) != (seed, only):
                raise SystemExit(f"{path}: of another --seed or --only; choose another name")
            self.runs = kept.pop("runs")
            self.facts = kept
        self._begin, self._before = time.monotonic(), dict(self.facts)

    def done(self, kind: str) -> int:
        return sum(run["attack"] == kind for run in self.runs)

    def add(self, kind: str, case: str, end: str, faults: list[str]) -> None:
        self.runs.append({"attack": kind, "case": case, "end": end, "faults": faults})
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.facts["wall_s"] = round(float(self._before["wall_s"]) + time.monotonic() - self._begin, 1)
        self.facts["cpu_s"] = round(float(self._before["cpu_s"]) + used.ru_utime + used.ru_stime, 1)
        if self.path is not None:
            fresh = self.path.with_suffix(".new")
            fresh.write_text(json.dumps(self.facts | {"runs": self.runs}, indent=1) + "\n")
            fresh.replace(self.path)

    def faults(self) -> list[str]:
        return [f"{run['attack']}: {fault}" for run in self.runs for fault in run["faults"]]  # type: ignore[attr-defined]

    def table(self) -> str:
        """Markdown: attacks, and below them the cases."""
        lines = ["| attack | runs | ends | faults |", "|---|---|---|---|"]
        for kind, (_, name, _attack) in ATTACKS.items():
            runs = [run for run in self.runs if run["attack"] == kind]
            ends = ", ".join(
                f"{n} {what}" for what, n in Counter(str(run["end"]) for run in runs).most_common()
            )
            lines.append(f"| {name} | {len(runs)} | {ends} | {sum(bool(run['faults']) for run in runs)} |")
        lines += ["", f"| verb | {' | '.join(ATTACKS)} |", "|---" * (len(ATTACKS) + 1) + "|"]
        count = Counter((run["case"], run["attack"]) for run in self.runs)
        for case in dict.fromkeys(run["case"] for run in self.runs):
            lines.append(f"| {case} | {' | '.join(str(count[case, kind]) for kind in ATTACKS)} |")
        return "\n".join(
            [*lines, "", f"{self.facts['wall_s']:.0f} s, {self.facts['cpu_s']:.0f} s of processors"]
        )


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for kind, (count, name, _) in ATTACKS.items():
        parser.add_argument(f"--{kind}", type=int, default=count, help=f"{name}; {count}")
    parser.add_argument("--only", help="one of the cases: uvfits, ms, mwaf, search, jobs ...")
    parser.add_argument("--seconds", type=float, default=1800, help="at most; 1800")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--results", type=Path, help="JSON file of what was done, which is gone on with")
    options = parser.parse_args()
    namespaces = disks.enter_namespaces()
    signal.signal(signal.SIGTERM, _stop)
    results = Results(options.results, options.seed, options.only)
    end = time.monotonic() + options.seconds
    try:
        with tempfile.TemporaryDirectory(prefix="mwaconvert-attack-", ignore_cleanup_errors=True) as work:
            campaign = Campaign(Path(work), options.seed, options.only, namespaces=namespaces)
            for kind, (_, _name, attack) in ATTACKS.items():
                count = getattr(options, kind) if campaign.attacked(attack) else 0
                for number in range(results.done(kind), count):
                    if time.monotonic() > end:
                        break
                    case = campaign.one(attack, number)
                    results.add(kind, case, campaign.end, campaign.faults)
                    print(
                        f"{kind} {number}: {case}: {campaign.end}",
                        *campaign.faults,
                        file=sys.stderr,
                        flush=True,
                    )
    except (KeyboardInterrupt, subprocess.TimeoutExpired) as stopped:
        print(f"stopped: {stopped!r}")
    print(results.table())
    faults = results.faults()
    print("\n".join(faults))
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
