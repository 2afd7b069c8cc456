"""The account of a soak: what was written, decided, said to be sent, and received, must agree."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from live_node import Node, Receiver

_DM = re.compile(rb'name="dm" value="([0-9.]+)"')
_NAME = re.compile(rb'ivorn="([^"]+)"')
#: ends of triggers that did not go out, beside which none may be
_STATED = (
    "not sent: brighter triggers went first",
    "not sent: too late",
    "not sent: the pulse lies in the future: a clock is wrong",
    "not sent: this pulse went out before",
    "given up: too late",
    "unknown: it may have been sent when the service ended; not sent again",
)


def entries(node: Node, service: str) -> list[dict[str, Any]]:
    """Of all journals of a service."""
    found = []
    for path in (node.site.state / service).glob("*.jsonl"):
        lines = path.read_bytes().split(b"\n")[:-1]
        found += [json.loads(line) for line in lines]
    return found


def n_read(worker: Node, task_id: str) -> int:
    """Candidates of an observation that are in the journal."""
    path = worker.site.state / "chain" / f"{task_id}-CB00.jsonl"
    if not path.is_file():
        return 0
    return sum(json.loads(line).get("candidates", 0) for line in path.read_bytes().split(b"\n")[:-1])


def open_ends(worker: Node) -> set[str]:
    """Triggers that were decided on, of whose end nothing is known."""
    found = entries(worker, "chain")
    return {id for e in found for id in e.get("sends", {})} - {e["done"] for e in found if "done" in e}


class Account:
    """Of two nodes, when all has settled.

    Parameters
    ----------
    written : DMs of the pulses of each observation
    future : pulses that the nodes must take for ones of a wrong clock
    """

    def __init__(
        self,
        worker: Node,
        master: Node,
        receiver: Receiver,
        written: dict[str, list[float]],
        future: list[tuple[str, float]],
    ) -> None:
        self.receiver, self.written, self.future = receiver, written, future
        self.chain = entries(worker, "chain")
        self.n_read = {task_id: n_read(worker, task_id) for task_id in written}
        self.left = open_ends(worker)
        self.journals = {
            "dada_trigger": entries(worker, "dada_trigger"),
            "lofar_trigger": entries(master, "lofar_trigger"),
            "voevent_generator": entries(master, "voevent_generator"),
        }

    def wrong(self) -> list[str]:
        return [
            *self._lines(),
            *self._future(),
            *self._packets(),
            *self._events(),
            *self._ends(),
            *self._received(),
        ]

    def _lines(self) -> Iterator[str]:
        for task_id, written in self.written.items():
            if (n := self.n_read[task_id]) != len(written):
                yield f"{task_id}: {n} lines were read of {len(written)}"
        if self.left:
            yield f"{len(self.left)} triggers without an end, as {sorted(self.left)[0]}"

    def _future(self) -> Iterator[str]:
        decisions = [(d["task_id"], d) for e in self.chain for d in e.get("decisions", [])]
        for task_id, dm in self.future:
            mine = [d for id, d in decisions if id == task_id and abs(d["cluster"]["dm"] - dm) < 0.05]
            if not mine or any(v["reason"] == "trigger" for d in mine for v in d["verdicts"].values()):
                yield f"{task_id}: a pulse of the future, DM {dm}, triggered or was not seen"

    def _packets(self) -> Iterator[str]:
        asked = Counter(round(10 * dm) for dms in self.written.values() for dm in dms)
        sent = Counter(int.from_bytes(packet[8:10], "big") for packet in self.receiver.packets)
        yield from (
            f"{n} packets of DM {dm / 10}, of {asked[dm]} pulses" for dm, n in sent.items() if n > asked[dm]
        )
        if any(not packet.endswith(b"T") for packet in self.receiver.packets):
            yield "a packet that is not a test"

    def _events(self) -> Iterator[str]:
        """A broker may hear an event twice, by the same name; never of one pulse by two."""
        asked = Counter(round(dm, 1) for dms in self.written.values() for dm in dms)
        names: dict[float, set[bytes]] = {}
        for xml in self.receiver.xml:
            dm, name = _DM.search(xml), _NAME.search(xml)
            if dm is None or name is None or b'role="test"' not in xml:
                yield f"a VOEvent that is not a test: {xml[:300].decode()}"
            else:
                names.setdefault(round(float(dm[1]), 1), set()).add(name[1])
        yield from (
            f"{len(found)} VOEvents of DM {dm}, of {asked[dm]} pulses"
            for dm, found in names.items()
            if len(found) > asked[dm]
        )

    def _ends(self) -> Iterator[str]:
        for outcome, n in self.outcomes().items():
            if not outcome.startswith("sent") and outcome not in _STATED:
                yield f"{n} times: {outcome}"

    def outcomes(self) -> Counter[str]:
        found = [e["outcome"] for entries in self.journals.values() for e in entries if "outcome" in e]
        found += [e["outcome"] for e in self.chain if e.get("outcome", "").startswith("given up")]
        return Counter("sent" if o.startswith("sent") else o for o in found)

    def _received(self) -> Iterator[str]:
        """What is said to be sent was received."""
        names = {found[1].decode() for xml in self.receiver.xml if (found := _NAME.search(xml))}
        heard = {
            "dada_trigger": set(self.receiver.events),
            "lofar_trigger": {packet.hex() for packet in self.receiver.packets},
            "voevent_generator": names,
        }
        for service, journal in self.journals.items():
            begun = {e["id"]: e["sending"] for e in journal if "sending" in e}
            sent = [e["id"] for e in journal if e.get("outcome", "").startswith("sent")]
            if missing := [id for id in sent if begun.get(id) not in heard[service]]:
                yield f"{service}: {len(missing)} are said to be sent and were not received, as {missing[0]}"
            if twice := len(sent) - len(set(sent)):
                yield f"{service}: {twice} have two ends"
            if unknown := heard[service] - set(begun.values()):
                yield f"{service}: {len(unknown)} were received that are in no journal, as {sorted(unknown)[0]}"

    def summary(self) -> list[str]:
        repeated = len(self.receiver.xml) - len({_NAME.search(xml)[1] for xml in self.receiver.xml})  # type: ignore[index]
        return [
            f"{len(self.receiver.events)} events, {len(self.receiver.packets)} packets, "
            f"{len(self.receiver.xml)} VOEvents, of which {repeated} again by their names; "
            f"{self.receiver.n_torn} broke off",
            *(f"{count:>8}  {outcome}" for outcome, count in self.outcomes().most_common()),
        ]
