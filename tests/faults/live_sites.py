"""A worker and a master node, all that can go wrong with them, and how it is done.

Each link is a proxy that can be cut; each node has a small disk of its own, where the machine lets us have one, and a
limit on the size of files elsewhere; a module that Python loads at its start sets the clock of all processes wrong.
"""

from __future__ import annotations

import os
import random
import resource
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from disks import occupy, small_disk
from growth import processes
from link_proxy import Proxy
from live_node import Node, Receiver, wait_for

from mwaconvert.services.live.operator import ask
from mwaconvert.services.live.wire.keys import new_key
from mwaconvert.services.live.wire.messages import Switch

#: where the services run that are killed and hung
HOMES = {
    "amber_clustering": "worker",
    "dada_trigger": "worker",
    "processor": "worker",
    "lofar_trigger": "master",
    "voevent_generator": "master",
}
#: what goes wrong lasts so long, s; a clock steps so far; a link that is torn carries so much more
WRONG_S, _STEP_S, _TORN = 6.0, 20.0, 3000
_DISK = 32 << 20
_AGAIN_S = 120.0
FAULTS = (
    *(f"kill {name}" for name in (*HOMES, "worker", "master")),
    *(f"hang {name}" for name in HOMES),
    *(f"{how} {link}" for how in ("cut", "tear") for link in ("uplink", "broker", "dada")),
    *(f"cut services-of-{node}" for node in ("worker", "master")),
    "leave lofar",
    *(f"{how} {node}" for how in ("fill", "fill-and-kill") for node in ("worker", "master")),
    "clock forward",
    "clock back",
)
#: the clock of the nodes, and the port at which services call their master
_SHIM = """
import os, time
real, path = time.time, os.environ["SOAK_CLOCK"]
def stepped():
    with open(path) as file:
        return real() + float(file.read())
time.time = stepped
ports = dict(pair.split("=") for pair in os.environ["SOAK_PORTS"].split(","))
own = os.environ.get("MWACONVERT_LIVE_PORT")
if own is not None:
    os.environ["MWACONVERT_LIVE_PORT"] = ports[own]
"""


class Sites:
    """Two nodes that run in folders below `folder`."""

    def __init__(self, folder: Path, receiver: Receiver, chance: random.Random, *, mounts: bool) -> None:
        self.folder, self.receiver, self.chance, self.mounts = folder, receiver, chance, mounts
        self.nodes: dict[str, Node] = {}
        self.proxies: dict[str, Proxy] = {}

    @contextmanager
    def running(self) -> Iterator[Sites]:
        with ExitStack() as stack:
            for name in ("worker", "master"):
                (self.folder / name).mkdir()
                if self.mounts:
                    stack.enter_context(small_disk(self.folder / name, _DISK))
            self._make()
            for proxy in self.proxies.values():
                stack.callback(proxy.close)
            for name in ("master", "worker"):
                stack.enter_context(self.nodes[name])
            for way in ("lofar", "voevent"):
                ask(self.nodes["master"].site, Switch(way=way, wanted="test", who="soak"))
            yield self

    def _make(self) -> None:
        keys = self.folder / "keys.yaml"
        keys.write_text(
            "\n".join(f"{name}: {{key: {new_key().hex()}, role: node}}" for name in ("arts001", "arts041"))
        )
        keys.chmod(0o600)
        dada, _, broker = self.receiver.ports
        self.proxies = {"dada": Proxy(dada), "broker": Proxy(broker)}
        rates = {"per_hour": 10**6, "per_source_per_day": 10**6}
        shared = {"result_dir": str(self.folder / "results")}
        master = self.nodes["master"] = Node(
            self.folder / "master",
            self.receiver,
            network={"node": "arts041", "role": "master", "keys": str(keys)},
            lofar_trigger=rates,
            voevent_generator={**rates, "broker_port": self.proxies["broker"].port},
            processor=shared,
        )
        self.proxies["uplink"] = Proxy(master.port)
        uplink = f"127.0.0.1:{self.proxies['uplink'].port}"
        self.nodes["worker"] = Node(
            self.folder / "worker",
            self.receiver,
            network={"node": "arts001", "role": "worker", "master": uplink, "keys": str(keys)},
            dada_trigger={"port_iquv": self.proxies["dada"].port},
            processor=shared,
        )
        pairs = []
        for name, node in self.nodes.items():
            proxy = self.proxies[f"services-of-{name}"] = Proxy(node.port)
            pairs.append(f"{node.port}={proxy.port}")
        self._load_shim(",".join(pairs))

    def _load_shim(self, ports: str) -> None:
        folder = self.folder / "shim"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(_SHIM)
        paths = [str(folder), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        os.environ |= {
            "SOAK_CLOCK": str(folder / "step"),
            "SOAK_PORTS": ports,
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        }
        self.set_clock(0.0)

    def set_clock(self, step_s: float) -> None:
        """All processes of the nodes are wrong by so much from now on."""
        step = self.folder / "shim" / "step"
        beside = step.with_name("new")
        beside.write_text(f"{step_s}")
        beside.replace(step)

    def ask(self, verb: str, payload: Path) -> None:
        for node in self.nodes.values():
            wait_for(lambda node=node: node.status() is not None, timeout_s=_AGAIN_S)
            node.ask(verb, payload=payload)

    # -- what goes wrong; clocks are a matter of who writes pulses

    @contextmanager
    def wrong(self, fault: str) -> Iterator[None]:
        """While something is wrong that does not end by itself."""
        what, _, where = fault.partition(" ")
        match what:
            case "kill":
                self._kill(where)
                yield
            case "hang":
                pid = self._pid(where)
                os.kill(pid, signal.SIGSTOP)
                yield
                os.kill(pid, signal.SIGCONT)
            case "cut" | "tear":
                self.proxies[where].cut(0 if what == "cut" else self.chance.randrange(1, _TORN))
                yield
                self.proxies[where].mend()
            case "leave":
                self.receiver.leave_lofar()
                yield
                self.receiver.come_back()
            case "fill" | "fill-and-kill":
                with self._full(where):
                    if what == "fill-and-kill":
                        self._kill(
                            self.chance.choice([name for name, home in HOMES.items() if home == where])
                        )
                    yield
            case "clock":
                self.set_clock(_STEP_S if where == "forward" else -_STEP_S)
                yield
                self.set_clock(0.0)
            case _:
                raise AssertionError(fault)

    def _pid(self, service: str) -> int:
        return wait_for(lambda: self.nodes[HOMES[service]].pid(service), timeout_s=_AGAIN_S)

    def _kill(self, where: str) -> None:
        if where in self.nodes:
            self.nodes[where].stop(signal.SIGKILL)
            self.nodes[where].start()
        else:
            os.kill(self._pid(where), signal.SIGKILL)

    @contextmanager
    def _full(self, where: str) -> Iterator[None]:
        node = self.nodes[where]
        if self.mounts:
            occupy(node.folder, _DISK)
            yield
            (node.folder / "other").unlink()
            return
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        for limits in ((0, resource.RLIM_INFINITY), unlimited):
            for _, pid in processes(str(node.config)):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
            if limits != unlimited:
                yield

    def numbers(self) -> dict[str, float]:
        """What may pile up."""
        found: dict[str, float] = {}
        for name, node in self.nodes.items():
            facts: dict[str, Any] = node.status() or {"services": {}}
            services = facts["services"].values()
            disk = sum(path.stat().st_size for path in node.site.state.rglob("*") if path.is_file())
            found |= {
                f"{name}: waiting": sum(s["numbers"].get("unsent", 0) for s in services),
                f"{name}: to be cut out": sum(s["numbers"].get("queue", 0) for s in services),
                f"{name}: dropped": facts.get("dropped", 0) + facts.get("unrouted", 0),
                f"{name}: observations": len(facts.get("observations", ())),
                f"{name}: MB of state": round(disk / 1e6, 2),
            }
        return found
