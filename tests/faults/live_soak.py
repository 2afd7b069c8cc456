"""The live services for hours: observations one after the other, pulses, and processes killed at random.

    python tests/faults/live_soak.py --seconds 28800 [--calm 0.75] [--seed 1] [--kill-s 8]
    python tests/faults/live_soak.py --compress 480     a day of 24 observations in 180 s, and what it takes to settle

Nobody is killed in the calm part of the time, the first: it shows whether memory, open files, threads, queues or
latencies grow. A day is its observations without the time in which nothing happens: what is of pulses and rings keeps
its seconds. In it each process is killed and hung, and the clock of the services steps forward and back, at least once.

At the end, or on Ctrl-C, the account: each line was read once, each trigger has an end that is in a journal, no packet
and no VOEvent went out twice, and none that nobody asked for; nothing grew. Exit code 1 if not. All is on loopback and
in a temporary folder.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

import numpy as np
from growth import Growth
from live_node import Node, Receiver, Sky, wait_for

from mwaconvert.services.live.operator import ask
from mwaconvert.services.live.wire.messages import Switch

SERVICES = ("amber_clustering", "dada_trigger", "lofar_trigger", "voevent_generator", "processor")
#: of an observation, s
_LONG_S = 40.0
#: of a day
_N_OBSERVATIONS = 24
#: a service hangs, or the clock is wrong, for so long, s; and so far it steps
_WRONG_S, _STEP_S = 6.0, 20.0
#: the clock of the node, which a file sets wrong; of a module that Python loads at its start
_CLOCK = """
import os, time
real, path = time.time, os.environ["SOAK_CLOCK"]
def stepped():
    with open(path) as file:
        return real() + float(file.read())
time.time = stepped
"""


class Soak:
    """What runs, and what was done to it."""

    def __init__(self, folder: Path, seed: int, kill_s: float) -> None:
        self.chance = random.Random(seed)
        self.folder, self.kill_s = folder, kill_s
        self.receiver = Receiver()
        rates = {"per_hour": 10**6, "per_source_per_day": 10**6}
        self.node = Node(folder, self.receiver, lofar_trigger=rates, voevent_generator=rates)
        self.written: dict[str, list[float]] = {}
        self.pulses: list[tuple[float, float]] = []  # when, and of which DM
        self.calm_until = 0.0
        self.faults: Counter[str] = Counter()
        self.deck: list[str] = []
        self.future: list[tuple[str, float]] = []  # pulses that the node must take for ones of a wrong clock
        self.next_fault = time.monotonic() + self.chance.expovariate(1 / kill_s)
        self.stopping = False

    def run(self, seconds: float, calm: float) -> None:
        end = time.monotonic() + seconds
        self.next_fault += seconds * calm
        self.calm_until = time.time() + seconds * calm
        self.growth = Growth([str(self.node.config)], self.numbers, min(30.0, seconds / 200))
        with self.node:
            self.begin()
            self.growth.start()
            number = 0
            while time.monotonic() < end and not self.stopping:
                number += 1
                if time.time() > self.calm_until:
                    self.growth.end()
                self.observe(number, min(end, time.monotonic() + _LONG_S))
            self.growth.end()
            wait_for(self.settled, timeout_s=120)

    def run_day(self, compress: float) -> None:
        """Observations by the clock; each fault of the deck at least once."""
        slot_s = 86400 / compress / _N_OBSERVATIONS
        whole = [*(f"kill {name}" for name in (*SERVICES, "master")), *(f"hang {name}" for name in SERVICES)]
        self.deck = [*whole, "clock forward", "clock back"]
        self.chance.shuffle(self.deck)
        wait_s = slot_s * (_N_OBSERVATIONS - 2) / len(self.deck)
        self.set_clock(0.0)
        with self.node:
            self.begin()
            began = time.monotonic()
            for number in range(1, _N_OBSERVATIONS + 1):
                if not self.stopping:
                    self.observe(number, began + number * slot_s, wait_s)
            wait_for(self.settled, timeout_s=120)

    def numbers(self) -> dict[str, float]:
        """What may pile up."""
        facts = self.node.status() or {"services": {}}
        services = facts["services"].values()
        disk = sum(path.stat().st_size for path in self.node.site.state.rglob("*") if path.is_file())
        return {
            "waiting": sum(s["numbers"].get("unsent", 0) for s in services),
            "to be cut out": sum(s["numbers"].get("queue", 0) for s in services),
            "dropped, unrouted": facts.get("dropped", 0) + facts.get("unrouted", 0),
            "observations held": len(facts.get("observations", ())),
            "MB of state": round(disk / 1e6, 2),
        }

    def begin(self) -> None:
        for way in ("lofar", "voevent"):
            ask(self.node.site, Switch(way=way, wanted="test", who="soak"))

    def observe(self, number: int, end: float, wait_s: float | None = None) -> None:
        """Pulses and faults, until the end, but one pulse at least. `wait_s`: between faults of the deck."""
        sky = Sky(self.folder / f"obs{number}", task_id=f"{number:06d}", duration_s=_LONG_S + 60)
        written = self.written.setdefault(sky.task_id, [])
        wait_for(lambda: self.node.status() is not None, timeout_s=120)
        self.node.ask("start_observation", payload=sky.path)
        while not written or (time.monotonic() < end and not self.stopping):
            self.pulse(sky)
            if self.chance.random() < 0.2:
                self.rotate(sky)
            time.sleep(self.chance.uniform(0.6, 1.6))
            if wait_s is not None and self.deck and time.monotonic() > self.next_fault:
                self.do(self.deck.pop(), sky)
                self.next_fault += wait_s
            elif wait_s is None and time.monotonic() > self.next_fault:
                self.do(f"kill {self.chance.choice([*SERVICES, 'master'])}", sky)
                self.next_fault = time.monotonic() + self.chance.expovariate(1 / self.kill_s)
        self.wait_read(sky)
        self.node.ask("stop_observation", payload=sky.path)

    def wait_read(self, sky: Sky) -> None:
        wait_for(lambda: self.read(sky.task_id) >= len(self.written[sky.task_id]), timeout_s=120)

    def rotate(self, sky: Sky) -> None:
        """Another file takes the name, once all of it was read."""
        self.wait_read(sky)
        sky.file.rename(sky.file.with_name(f"{sky.file.name}.{int(time.time() * 1e3)}"))
        self.faults["rotated"] += 1

    def pulse(self, sky: Sky) -> float:
        """Its DM, by which it is known."""
        written = self.written[sky.task_id]
        dm = round(200 + len(written) % 300 * 7.3, 1)
        sky.pulse(dm=dm, width=50, age_s=0.2)
        self.pulses.append((time.time(), dm))
        written.append(dm)
        return dm

    def do(self, fault: str, sky: Sky) -> None:
        self.faults[fault] += 1
        what, _, name = fault.partition(" ")
        if what == "clock":
            self.wait_read(sky)
            self.set_clock(_STEP_S if name == "forward" else -_STEP_S)
            dm = self.pulse(sky)
            if name == "back":
                self.future.append((sky.task_id, dm))
            time.sleep(_WRONG_S)
            self.wait_read(sky)
            self.set_clock(0.0)
        elif name == "master":
            self.node.stop(signal.SIGKILL)
            self.node.start()
            wait_for(lambda: self.node.status() is not None, timeout_s=120)
        elif (pid := self.node.pid(name)) is not None:
            os.kill(pid, signal.SIGKILL if what == "kill" else signal.SIGSTOP)
            if what == "hang":
                time.sleep(_WRONG_S)
                os.kill(pid, signal.SIGCONT)

    def set_clock(self, step_s: float) -> None:
        """All processes of the node are wrong by so much from now on."""
        folder = self.folder / "clock"
        folder.mkdir(exist_ok=True)
        (folder / "sitecustomize.py").write_text(_CLOCK)
        beside = folder / "new"
        beside.write_text(f"{step_s}")
        beside.replace(folder / "step")
        os.environ["SOAK_CLOCK"] = str(folder / "step")
        paths = [str(folder), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(p for p in paths if p))

    # -- the account

    def entries(self, service: str) -> list[dict[str, Any]]:
        found = []
        for path in (self.node.site.state / service).glob("*.jsonl"):
            lines = path.read_bytes().split(b"\n")[:-1]
            found += [{"file": path.name, **json.loads(line)} for line in lines]
        return found

    def read(self, task_id: str) -> int:
        path = self.node.site.state / "chain" / f"{task_id}-CB00.jsonl"
        if not path.is_file():
            return 0
        lines = path.read_bytes().split(b"\n")[:-1]
        return sum(json.loads(line).get("candidates", 0) for line in lines)

    def settled(self) -> bool:
        return not self.open_ends()

    def open_ends(self) -> set[str]:
        entries = self.entries("chain")
        sends = {id for e in entries for id in e.get("sends", {})}
        return sends - {e["done"] for e in entries if "done" in e}

    def account(self) -> list[str]:
        """What is wrong."""
        wrong = []
        for task_id, written in self.written.items():
            if (n := self.read(task_id)) != len(written):
                wrong.append(f"{task_id}: {n} lines were read of {len(written)}")
        if left := self.open_ends():
            wrong.append(f"{len(left)} triggers without an end, as {sorted(left)[0]}")
        decisions = [(d["task_id"], d) for e in self.entries("chain") for d in e.get("decisions", [])]
        for task_id, dm in self.future:
            mine = [d for id, d in decisions if id == task_id and abs(d["cluster"]["dm"] - dm) < 0.05]
            if not mine or any(v["reason"] == "trigger" for d in mine for v in d["verdicts"].values()):
                wrong.append(f"{task_id}: a pulse of the future, DM {dm}, triggered or was not seen")
        asked = Counter(round(10 * dm) for dms in self.written.values() for dm in dms)
        sent = Counter(int.from_bytes(packet[8:10], "big") for packet in self.receiver.packets)
        for dm, n in sent.items():
            if n > asked[dm]:
                wrong.append(f"{n} packets of DM {dm / 10}, of {asked[dm]} pulses")
        if any(not packet.endswith(b"T") for packet in self.receiver.packets):
            wrong.append("a packet that is not a test")
        if self.deck and not self.stopping:
            wrong.append(f"the day was too short for {', '.join(self.deck)}")
        noted = sum("sending" in e for e in self.entries("lofar_trigger"))
        if len(self.receiver.packets) > noted:
            wrong.append(f"{len(self.receiver.packets)} packets, {noted} in the journal")
        return wrong

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

    def summary(self) -> str:
        outcomes = Counter(
            e["outcome"].partition(":")[0] if e["outcome"].startswith(("sent", "failed")) else e["outcome"]
            for service in ("dada_trigger", "lofar_trigger", "voevent_generator")
            for e in self.entries(service)
            if "outcome" in e
        )
        n = sum(len(dms) for dms in self.written.values())
        lines = [
            f"{len(self.written)} observations, {n} pulses; faults {dict(self.faults)}",
            f"{len(self.receiver.events)} events, {len(self.receiver.packets)} packets, "
            f"{len(self.receiver.xml)} VOEvents",
            *(f"{count:>8}  {outcome}" for outcome, count in outcomes.most_common()),
        ]
        return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=28800)
    parser.add_argument("--calm", type=float, default=0.75, help="part of the time in which nobody is killed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--compress", type=float, help="a day, so many times as fast, instead")
    parser.add_argument("--kill-s", type=float, default=8.0, help="between two kills, on average")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        soak = Soak(Path(name), given.seed, given.kill_s)

        def stop(*_: object) -> None:
            soak.stopping = True

        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGTERM, stop)
        if given.compress:
            soak.run_day(given.compress)
        else:
            soak.run(given.seconds, given.calm)
        wrong = soak.account()
        print(soak.summary())
        if not given.compress:
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
