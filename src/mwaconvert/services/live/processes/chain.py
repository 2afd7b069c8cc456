"""From lines to decisions: follows the files of a beam, clusters, decides, and hands triggers to the senders.

What was read and what was decided of it are one entry of a journal. After a crash the service goes on behind the last
entry: no line is lost or decided twice. A trigger is handed over until its sender says that it has it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mwaconvert.errors import Error
from mwaconvert.live.amber import Batch, Position
from mwaconvert.live.clusters import Links, StreamClusters
from mwaconvert.live.criteria import Coincidence, Decision, Judge, Judgement, Way, freeze_delay_s
from mwaconvert.live.observation import Observation, delay_s, n_amber
from mwaconvert.live.settings import Settings, expanded
from mwaconvert.live.sources import Sources, read_sources
from mwaconvert.live.triggers import trigger_of
from mwaconvert.services.live.node import Name, Site
from mwaconvert.services.live.processes.journal import Journal, file_name
from mwaconvert.services.live.processes.service import Service
from mwaconvert.services.live.wire.messages import MASTER, Done, Message, Send, StartObservation

_log = logging.getLogger(__name__)
_AGAIN_S = 1.0
#: files are read so long beyond the end: AMBER reports its widest sweep late
_AFTER_S = 30.0
#: records of one batch that are kept, and cut out of the data: the brightest; of a storm the rest is counted
_RECORDS = 500
#: a storm is said for so long after its last batch, s
_STORM_S = 10.0
_SENDERS = {"iquv": Name.DADA, "lofar": Name.LOFAR, "voevent": Name.VOEVENT, "kafka": Name.KAFKA}


@dataclass
class Unsent:
    """A trigger that no sender has confirmed. `tried_s`: on the monotonic clock; `may_go`: it is on disk."""

    send: Send
    until_s: float
    tried_s: float = -1e9
    may_go: bool = True


@dataclass
class Watch:
    """One observation."""

    observation: Observation
    judge: Judge
    clusters: StreamClusters
    journal: Journal
    reader: Any
    unsent: dict[str, Unsent] = field(default_factory=dict)
    waiting: list[dict[str, Any]] = field(default_factory=list)
    stopped_s: float | None = None
    n_rows: int = 0
    n_bad: int = 0


class Chain(Service):
    """Of one node."""

    name = Name.CLUSTERING

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.watches: dict[str, Watch] = {}
        self._together = Coincidence()
        self._latency_s: list[float] = []
        self._storm_s = float("-inf")  # the last one, on the monotonic clock
        self.numbers = {
            "candidates": 0,
            "bad_lines": 0,
            "clusters": 0,
            "triggers": 0,
            "storms": 0,
            "left_out": 0,
            "not_recorded": 0,
        }
        self.numbers["given_up"] = 0

    async def on_start(self, start: StartObservation) -> None:
        task_id = start.observation.task_id
        if task_id in self.watches or start.observation.beam is None:
            return
        self.watches[task_id] = await asyncio.to_thread(self._open, start)
        _log.info("%s: follows %s", task_id, start.observation.amber_dir)

    async def on_stop(self, task_id: str, *, abort: bool) -> None:
        watch = self.watches.get(task_id)
        if watch is not None:
            if not abort:
                self._look(watch, at_end=True)
            watch.stopped_s = time.monotonic()
            if abort:
                watch.unsent.clear()

    async def on_done(self, message: Message, done: Done) -> None:
        for watch in self.watches.values():
            if watch.unsent.pop(message.id, None) is not None:
                self._note(watch, {"done": message.id, "outcome": done.outcome}, sync=False)

    def _open(self, start: StartObservation) -> Watch:
        """Read what belongs to it, and take up what was left by an earlier process."""
        observation, settings = start.observation, self.site.settings
        name = f"{file_name(observation.task_id)}-CB{observation.beam:02d}.jsonl"
        journal = Journal(self.site.folder("chain") / name)
        left = _Left.of(journal)
        receiver = observation.receiver
        links = Links(dt_s=receiver.dt_s, delay_s_per_dm=delay_s(1.0, receiver.centre_mhz, receiver.top_mhz))
        observation.pointing_deg(observation.beam or 0)  # loads what it needs before there is haste
        sources = _sources(settings)
        watch = Watch(
            observation,
            Judge(observation, settings, sources, start.galactic_dm, self._together, last_iquv_s=left.iquv_s),
            StreamClusters(links),
            journal,
            observation.files(_instances(start.config), left.positions),
        )
        for id, facts in left.sends.items():
            send = Send.model_validate(facts)
            watch.unsent[id] = Unsent(send, self._until_s(send, observation))
        return watch

    async def work(self) -> None:
        while not self.stopping.is_set():
            if time.monotonic() - self._storm_s > _STORM_S:
                self.trouble.pop("storm", None)
            for watch in list(self.watches.values()):
                try:
                    more = self._look(watch)
                    while more and not self.stopping.is_set():
                        await asyncio.sleep(0)
                        more = self._look(watch)
                except (Error, OSError) as error:
                    self.trouble[watch.observation.task_id] = str(error)
                self._send_unsent(watch)
                self._end(watch)
            try:
                async with asyncio.timeout(self.site.settings.amber_listener.interval):
                    await self.stopping.wait()
            except TimeoutError:
                pass
        for watch in self.watches.values():
            watch.reader.close()
            watch.journal.close()

    # -- one look at the files

    def _look(self, watch: Watch, *, at_end: bool = False) -> bool:
        """Take what came since; whether there may be more."""
        batch: Batch = watch.reader.read(at_end=at_end)
        self._write_waiting(watch)
        if not batch.rows.size and not batch.bad.count:
            return False
        now_s = time.time()
        judgement = watch.judge.judge(watch.clusters.add(batch.rows), now_s)
        self.numbers["storms"] = int(self.numbers["storms"]) + judgement.storm
        self._count(candidates=batch.rows.size, bad_lines=batch.bad.count, clusters=len(judgement.decisions))
        self._count(left_out=judgement.left_out)
        sends = self._sends(watch, judgement.decisions, now_s)
        kept = sorted(judgement.decisions, key=lambda d: (not d.triggers, -d.cluster.snr))[:_RECORDS]
        self._count(not_recorded=len(judgement.decisions) - len(kept))
        self._say_storm(judgement)
        entry = {
            "at_s": now_s,
            "positions": {name: p.facts() for name, p in watch.reader.positions().items()},
            "candidates": int(batch.rows.size),
            "bad_lines": batch.bad.count,
            "examples": list(batch.bad.examples),
            "storm": judgement.storm,
            "left_out": judgement.left_out,
            "not_recorded": len(judgement.decisions) - len(kept),
            "decisions": [d.facts() for d in kept],
            "sends": {id: send.model_dump(mode="json") for id, send in sends.items()},
            "iquv_s": watch.judge.last_iquv_s,
        }
        is_kept = self._note(watch, entry, sync=bool(sends))
        for id, send in sends.items():
            # what is not on disk cannot be told apart after a crash: the ring buffers may hear twice, others not
            until_s, may_go = self._until_s(send, watch.observation), is_kept or send.way == "iquv"
            watch.unsent[id] = Unsent(send, until_s, may_go=may_go)
        self._send_unsent(watch)
        self._show(judgement.decisions)
        return batch.rows.size > 100_000

    def _say_storm(self, judgement: Judgement) -> None:
        if judgement.storm:
            self._storm_s = time.monotonic()
            n = len(judgement.decisions)
            self.trouble["storm"] = (
                f"a storm of interference, {n} clusters at once: no new source triggers outside"
            )

    def _sends(self, watch: Watch, decisions: tuple[Decision, ...], now_s: float) -> dict[str, Send]:
        found: dict[str, Send] = {}
        seen, dm = watch.observation, watch.judge.galactic_dm
        dumps = tuple(trigger_of(d, seen, dm) for d in decisions if Way.IQUV in d.triggers)
        if dumps:
            send = Send(way="iquv", triggers=dumps, start_s=seen.start_s, made_s=now_s)
            found[f"{seen.task_id}-{seen.beam:02d}-iquv-{watch.journal.n + 1}"] = send
        for decision in decisions:
            names = [way.name.lower() for way in decision.triggers if way is not Way.IQUV]
            if "voevent" in names and self.site.settings.kafka_sender.servers:
                names.append("kafka")
            if names:
                trigger = trigger_of(decision, seen, dm)
                for name in names:
                    found[f"{trigger.id}-{name}"] = Send(
                        way=name,  # type: ignore[arg-type]
                        triggers=(trigger,),
                        start_s=seen.start_s,
                        made_s=now_s,
                    )
        self._count(triggers=len(found))
        return found

    def _until_s(self, send: Send, seen: Observation) -> float:
        """When nobody wants it any more, seconds since 1970."""
        first = min(send.triggers, key=lambda t: t.time_s)
        if send.way == "iquv":
            return first.time_s + seen.history_s
        if send.way == "lofar":
            return first.time_s + freeze_delay_s(first.dm, seen, self.site.settings.lofar_trigger)
        return first.time_s + self.site.settings.voevent_generator.age_max

    def _send_unsent(self, watch: Watch) -> None:
        now_s = time.monotonic()
        for id, unsent in list(watch.unsent.items()):
            if time.time() > unsent.until_s:
                del watch.unsent[id]
                self._count(given_up=1)
                self._note(watch, {"done": id, "outcome": "given up: too late"}, sync=False)
            elif unsent.may_go and now_s - unsent.tried_s >= _AGAIN_S:
                name = _SENDERS[unsent.send.way].value
                node = self.site.node if unsent.send.way == "iquv" else MASTER
                if self.post(f"{node}/{name}", unsent.send, task_id=watch.observation.task_id, id=id):
                    unsent.tried_s = now_s
        self.numbers["unsent"] = sum(len(w.unsent) for w in self.watches.values())

    # -- the journal

    def _note(self, watch: Watch, entry: Mapping[str, Any], *, sync: bool) -> bool:
        """Whether it is on disk; else it waits for room, and the service is degraded."""
        if not watch.waiting:
            try:
                watch.journal.append(entry, sync=sync)
            except OSError as error:
                self.trouble["journal"] = f"{watch.journal.path}: {error.strerror}"
            else:
                return True
        watch.waiting.append(dict(entry))
        return False

    def _write_waiting(self, watch: Watch) -> None:
        while watch.waiting:
            try:
                watch.journal.append(watch.waiting[0])
            except OSError:
                return
            watch.waiting.pop(0)
        for unsent in watch.unsent.values():
            unsent.may_go = True
        self.trouble.pop("journal", None)

    def _end(self, watch: Watch) -> None:
        """Let go of an observation that is over."""
        task_id = watch.observation.task_id
        late = time.time() > watch.observation.end_s + _AFTER_S
        stopped = watch.stopped_s is not None and not watch.unsent
        if (stopped or late) and not watch.waiting:
            if watch.stopped_s is None:
                self._look(watch, at_end=True)
            watch.reader.close()
            watch.journal.close()
            del self.watches[task_id]
            _log.info("%s: over", task_id)

    # -- what is shown

    def _count(self, **more: int) -> None:
        for name, n in more.items():
            self.numbers[name] = int(self.numbers[name]) + n

    def _show(self, decisions: tuple[Decision, ...]) -> None:
        for d in sorted(decisions, key=lambda d: -d.cluster.snr)[:5]:
            self._latency_s.append(d.decided_s - d.arrival_s)
            self.recent.append(
                {
                    "task_id": d.task_id,
                    "beam": d.beam,
                    "arrival_s": d.arrival_s,
                    "dm": d.cluster.dm,
                    "snr": d.cluster.snr,
                    "width": d.cluster.width,
                    "triggers": [way.name.lower() for way in d.triggers],
                    "why_not": {w.name.lower(): v.reason.name.lower() for w, v in d.verdicts.items()},
                }
            )
        del self._latency_s[:-200]
        if self._latency_s:
            self.numbers["sky_to_decision_s"] = round(sorted(self._latency_s)[len(self._latency_s) // 2], 3)


@dataclass
class _Left:
    """What an earlier process left in a journal."""

    positions: dict[str, Position] = field(default_factory=dict)
    sends: dict[str, Any] = field(default_factory=dict)
    iquv_s: float = float("-inf")

    @classmethod
    def of(cls, journal: Journal) -> _Left:
        left = cls()
        for entry in journal.entries():
            if "positions" in entry:
                left.positions = {name: Position.of(p) for name, p in entry["positions"].items()}
                left.sends.update(entry["sends"])
                if entry.get("iquv_s") is not None:
                    left.iquv_s = float(entry["iquv_s"])
            left.sends.pop(entry.get("done", ""), None)
        return left


def _instances(config: Mapping[str, Any]) -> int:
    """AMBER processes of a node; three unless its configuration of AMBER says otherwise."""
    path = Path(str(config.get("amber_config", "")))
    return n_amber(path.read_text(), str(path)) if path.is_file() else 3


def _sources(settings: Settings) -> Sources:
    path = Path(expanded(settings.amber_clustering.source_file))
    return read_sources(path) if path.is_file() else Sources()
