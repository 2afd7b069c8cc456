"""The live services for hours: observations one after the other, pulses, and whatever can go wrong, at random.

    python tests/faults/live_soak.py --seconds 28800 [--calm 0.75] [--seed 1] [--wait-s 12]
    python tests/faults/live_soak.py --compress 240     a day of 24 observations in six minutes

A worker and a master node. Nothing goes wrong in the calm part of the time, the first: it shows whether memory, open
files, threads, queues or latencies grow. Then processes are killed or hang, links are cut, also within a message, disks
are full, LOFAR does not listen, and clocks step. A day is its observations without the time in which nothing happens:
what is of pulses and rings keeps its seconds. In it each of these things happens at least once.

At the end, or on Ctrl-C, the account: each line was read once, each trigger has an end that is in a journal, what is
said to be sent was received, no packet and no VOEvent went out twice, and none that nobody asked for; nothing grew.
Exit code 1 if not. All is on loopback and in a temporary folder.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

import numpy as np
from disks import enter_namespaces
from growth import Growth
from live_account import Account, n_read, open_ends
from live_node import Receiver, Sky, wait_for
from live_sites import FAULTS, WRONG_S, Sites

#: of an observation, s
_LONG_S = 40.0
#: of a day
_N_OBSERVATIONS = 24
_PATIENCE_S = 180.0


class Soak:
    """What runs, and what was done to it."""

    def __init__(self, folder: Path, seed: int, wait_s: float, *, mounts: bool) -> None:
        self.chance = random.Random(seed)
        self.folder, self.wait_s = folder, wait_s
        self.receiver = Receiver()
        self.sites = Sites(folder, self.receiver, self.chance, mounts=mounts)
        self.written: dict[str, list[float]] = {}
        self.pulses: list[tuple[float, float]] = []  # when, and of which DM
        self.future: list[tuple[str, float]] = []
        self.calm_until = 0.0
        self.growth: Growth | None = None
        self.faults: Counter[str] = Counter()
        self.deck: list[str] = []
        self.next_fault = 0.0
        self.stopping = False

    def run(self, seconds: float, calm: float) -> Account:
        with self.sites.running() as sites:
            end = time.monotonic() + seconds
            self.next_fault = time.monotonic() + seconds * calm
            self.calm_until = time.time() + seconds * calm
            words = [str(node.config) for node in sites.nodes.values()]
            self.growth = Growth(words, sites.numbers, min(30.0, seconds / 200))
            self.growth.start()
            number = 0
            while time.monotonic() < end and not self.stopping:
                number += 1
                if time.monotonic() > self.next_fault:
                    self.growth.end()
                self.observe(number, min(end, time.monotonic() + _LONG_S))
            self.growth.end()
            return self.account()

    def run_day(self, compress: float, faults: tuple[str, ...]) -> Account:
        """Observations by the clock; each fault at least once."""
        slot_s = 86400 / compress / _N_OBSERVATIONS
        self.deck = list(faults)
        self.chance.shuffle(self.deck)
        self.wait_s = slot_s * (_N_OBSERVATIONS - 2) / len(self.deck)
        with self.sites.running():
            began = self.next_fault = time.monotonic()
            number = 0
            while (number < _N_OBSERVATIONS or self.deck) and not self.stopping:
                number += 1
                self.observe(number, began + number * slot_s)
            return self.account()

    def observe(self, number: int, end: float) -> None:
        """Pulses and faults, until the end, but one pulse at least."""
        sky = Sky(self.folder / f"obs{number}", task_id=f"{number:06d}", duration_s=_LONG_S + 60)
        written = self.written.setdefault(sky.task_id, [])
        self.sites.ask("start_observation", sky.path)
        while not written or (time.monotonic() < end and not self.stopping):
            self.pulse(sky)
            if self.chance.random() < 0.2:
                self.rotate(sky)
            time.sleep(self.chance.uniform(0.6, 1.6))
            if time.monotonic() > self.next_fault:
                if self.growth is None and self.deck:
                    self.go_wrong(self.deck.pop(), sky)
                elif self.growth is not None:
                    self.go_wrong(self.chance.choice(FAULTS), sky)
                self.next_fault = max(self.next_fault + self.wait_s, time.monotonic())
        self.wait_read(sky)
        self.sites.ask("stop_observation", sky.path)

    def wait_read(self, sky: Sky) -> None:
        """Until all that was written is in the journal."""
        n = len(self.written[sky.task_id])
        wait_for(lambda: n_read(self.sites.nodes["worker"], sky.task_id) >= n, timeout_s=_PATIENCE_S)

    def rotate(self, sky: Sky) -> None:
        """Another file takes the name, once all of it was read."""
        self.wait_read(sky)
        sky.file.rename(sky.file.with_name(f"{sky.file.name}.{int(time.time() * 1e3)}"))
        self.faults["rotate"] += 1

    def pulse(self, sky: Sky) -> float:
        """Its DM, by which it is known."""
        written = self.written[sky.task_id]
        dm = round(200 + len(self.pulses) % 300 * 7.3, 1)
        sky.pulse(dm=dm, width=50, age_s=0.2)
        written.append(dm)
        self.pulses.append((time.time(), dm))
        return dm

    def go_wrong(self, fault: str, sky: Sky) -> None:
        """Pulses come meanwhile; while the clock is wrong one alone, of which it is known what must become of it."""
        self.faults[fault] += 1
        is_clock = fault.startswith("clock")
        if is_clock:
            self.wait_read(sky)
        with self.sites.wrong(fault):
            dm = self.pulse(sky)
            if fault == "clock back":
                self.future.append((sky.task_id, dm))
            end = time.monotonic() + WRONG_S
            while time.monotonic() < end:
                time.sleep(WRONG_S / 4)
                if not is_clock:
                    self.pulse(sky)
            if is_clock:
                self.wait_read(sky)
        time.sleep(WRONG_S / 4)

    # -- the end

    def account(self) -> Account:
        worker, master = self.sites.nodes["worker"], self.sites.nodes["master"]
        with suppress(AssertionError):  # the account says it
            wait_for(lambda: not open_ends(worker), timeout_s=_PATIENCE_S, every_s=0.5)
        return Account(worker, master, self.receiver, self.written, self.future)

    def summary(self) -> str:
        n = sum(len(dms) for dms in self.written.values())
        faults = ", ".join(f"{fault} {n}" for fault, n in sorted(self.faults.items()))
        return f"{len(self.written)} observations, {n} pulses; {faults}"

    def latencies(self) -> list[str]:
        """From a line to its event, in the first and in the last quarter of the calm."""
        found = []
        for text, at_s in zip(self.receiver.events, self.receiver.at_s, strict=True):
            dm = float(text.splitlines()[2].split()[4])
            written = max((s for s, its in self.pulses if its == dm and s <= at_s), default=None)
            if written is not None and at_s < self.calm_until:
                found.append(at_s - written)
        if len(found) < 8:
            return []
        quarter = len(found) // 4
        lines = []
        for name, part in (("first", found[:quarter]), ("last", found[-quarter:])):
            median, late = np.quantile(part, [0.5, 0.99])
            lines.append(
                f"{name} quarter: line to event, median {median:.3f} s, 99 % {late:.3f} s, n {len(part)}"
            )
        return lines


def main() -> int:
    mounts = enter_namespaces()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=28800)
    parser.add_argument(
        "--calm", type=float, default=0.75, help="part of the time in which nothing goes wrong"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--compress", type=float, help="a day, so many times as fast, instead")
    parser.add_argument("--only", help="faults of the day that contain this")
    parser.add_argument("--wait-s", type=float, default=12.0, help="between two faults")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        soak = Soak(Path(name), given.seed, given.wait_s, mounts=mounts)

        def stop(*_: object) -> None:
            soak.stopping = True

        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGTERM, stop)
        if given.compress:
            faults = tuple(fault for fault in FAULTS if given.only is None or given.only in fault)
            account = soak.run_day(given.compress, faults)
        else:
            account = soak.run(given.seconds, given.calm)
        wrong = account.wrong()
        print("\n".join([soak.summary(), *account.summary()]))
        if soak.growth is not None:
            table, grown = soak.growth.table()
            print("\n".join(["in the calm part:", *table, *soak.latencies()]))
            wrong += grown
        print(
            "\n".join(wrong) if wrong else "nothing lost, nothing sent twice, nothing that nobody asked for"
        )
        soak.receiver.close()
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
