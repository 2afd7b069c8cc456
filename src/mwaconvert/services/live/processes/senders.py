"""Senders: what leaves the house, each trigger once, within its limits, and with what became of it in a journal.

`sending` is in the journal before the first byte goes out. After a crash in between, what may be said twice is said
again (the ring buffers join windows, brokers know events by their names); a packet to LOFAR is not.
"""

from __future__ import annotations

import asyncio
import logging
import time
from abc import abstractmethod
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

from mwaconvert.errors import Error, FormatError, InputError, ResourceError
from mwaconvert.live.files import read_facts, write_facts
from mwaconvert.live.gate import Admission, Arming, Gate, Sent, State
from mwaconvert.live.triggers import (
    Trigger,
    dada_event,
    lofar_packet_of,
    polcal_events,
    select,
    send_tcp,
    send_udp,
)
from mwaconvert.services.live.node import Name, Site
from mwaconvert.services.live.processes.journal import Journal
from mwaconvert.services.live.processes.mails import PostBox
from mwaconvert.services.live.processes.service import Service
from mwaconvert.services.live.wire.messages import Done, Message, Reply, Send, StartObservation, Switch
from mwaconvert.text import utc_text

_log = logging.getLogger(__name__)
_CLOCK_S = 1.0
#: after a failure, s: doubled with each, up to the longest, as long as it is of use
_TRY_AGAIN_S, _LONGEST_S = 0.5, 10.0
_DAY_S = 86400.0
#: of triggers that arrived so near to each other one goes out; others had to wait for a sender, s
_TOGETHER_S = 2.0
#: a full disk is said for so long, unless something was written; what had no room is given again each second
_FULL_S = 5.0


class FinalError(ResourceError):
    """It was refused, or may have been taken: it is not tried again."""


class Sender(Service):
    """One way out: `dispatch` decides and sends; here it is made sure that it does so once."""

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.journal = Journal(site.folder(self.name.value) / "journal.jsonl")
        self.known: dict[str, str] = {}  # what became of each trigger
        self.begun: dict[str, dict[str, Any]] = {}
        self.flying: set[str] = set()
        self.unwritten: list[dict[str, Any]] = []  # ends for which the journal had no room
        self._full_s = float("-inf")  # when it had none, on the monotonic clock
        self._tasks: set[asyncio.Task[None]] = set()
        for entry in self.journal.entries():
            if "outcome" in entry:
                self.known[entry["id"]] = entry["outcome"]
                self.begun.pop(entry["id"], None)
            elif "sending" in entry:
                self.begun[entry["id"]] = entry
        self.numbers = {"sent": 0, "not_sent": 0, "failed": 0}

    @abstractmethod
    async def dispatch(self, id: str, send: Send) -> str:
        """Send, or say why not: what became of it."""

    async def on_send(self, message: Message, send: Send) -> None:
        if message.id in self.known:
            self._confirm(message, self.known[message.id])
        elif message.id not in self.flying:
            self.flying.add(message.id)
            task = asyncio.create_task(self._handle(message, send))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _handle(self, message: Message, send: Send) -> None:
        try:
            outcome = await self.dispatch(message.id, send)
        except OSError as error:  # no room for the journal: not sent, and asked again later
            self._say_full(error)
        else:
            self.settle(message.id, outcome, send)
            self._confirm(message, outcome)
        finally:
            self.flying.discard(message.id)

    def begin(self, id: str, sending: str, **facts: Any) -> None:
        """What is about to go out. Raises OSError: then nothing goes out."""
        self.journal.append({"id": id, "at_s": time.time(), "sending": sending, **facts})

    async def work(self) -> None:
        while not self.stopping.is_set():
            self.write_ends()
            self.look()
            try:
                async with asyncio.timeout(1.0):
                    await self.stopping.wait()
            except TimeoutError:
                pass

    def look(self) -> None:
        """Once a second."""

    def end(self, id: str, outcome: str) -> None:
        """What became of it; known from now on, and on disk as soon as there is room."""
        self.known[id] = outcome
        self.unwritten.append({"id": id, "at_s": time.time(), "outcome": outcome})
        self.write_ends()

    def write_ends(self) -> None:
        is_written = bool(self.unwritten)
        try:
            while self.unwritten:
                self.journal.append(self.unwritten[0])
                del self.unwritten[0]
        except OSError as error:
            self._say_full(error)
        else:
            if is_written or time.monotonic() - self._full_s > _FULL_S:
                self.trouble.pop("journal", None)

    def _say_full(self, error: OSError) -> None:
        self._full_s = time.monotonic()
        self.trouble["journal"] = f"{self.journal.path}: {error.strerror}"

    def settle(self, id: str, outcome: str, send: Send) -> None:
        now_s = time.time()
        self.end(id, outcome)
        kind = (
            "sent" if outcome.startswith("sent") else "failed" if outcome.startswith("failed") else "not_sent"
        )
        self.numbers[kind] = int(self.numbers[kind]) + 1
        self.numbers["last_made_to_sent_s"] = round(now_s - send.made_s, 4)
        self.recent.append({"id": id, "at_s": now_s, "outcome": outcome})

    def _confirm(self, message: Message, outcome: str) -> None:
        self.post(message.sender, Done(outcome=outcome[:500]), task_id=message.task_id, id=message.id)


def _age_words(trigger: Trigger, latest_s: float, now_s: float) -> str:
    """Why its time is over or has not come; empty if it is now."""
    if now_s < trigger.time_s - _CLOCK_S:
        return "not sent: the pulse lies in the future: a clock is wrong"
    return "not sent: too late" if now_s > latest_s else ""


class DadaSender(Sender):
    """Dumps of the IQUV ring buffer, also those of polarisation calibrators, by the clock."""

    name: ClassVar[Name] = Name.DADA

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._polcal: dict[str, asyncio.Task[None]] = {}

    async def dispatch(self, id: str, send: Send) -> str:
        settings = self.site.settings.dada_trigger
        now_s = time.time()
        late = {_age_words(t, t.time_s + settings.history, now_s) for t in send.triggers}
        if "" not in late:
            return late.pop()
        text = dada_event(send.triggers, send.start_s, settings)
        return await self._give(id, text, min(t.time_s for t in send.triggers) + settings.history)

    async def _give(self, id: str, text: str, until_s: float) -> str:
        settings = self.site.settings.dada_trigger
        self.begin(id, text)
        wait_s = _TRY_AGAIN_S
        while True:
            try:
                await asyncio.to_thread(send_tcp, "localhost", settings.port_iquv, text.encode())
            except ResourceError as error:
                self.trouble["dada"] = str(error)
                if time.time() + wait_s > until_s:
                    return f"failed: {error}"
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, settings.history / 5)
            else:
                self.trouble.pop("dada", None)
                return "sent"

    async def on_start(self, start: StartObservation) -> None:
        seen = start.observation
        if seen.is_polcal and seen.task_id not in self._polcal:
            self._polcal[seen.task_id] = asyncio.create_task(self._dump_by_clock(start))

    async def on_stop(self, task_id: str, *, abort: bool) -> None:
        del abort  # dumps of a calibrator that are to come are of no use after either
        task = self._polcal.pop(task_id, None)
        if task is not None:
            task.cancel()

    async def _dump_by_clock(self, start: StartObservation) -> None:
        seen, settings = start.observation, self.site.settings.dada_trigger
        for k, (due_s, text) in enumerate(polcal_events(seen.duration_s, seen.start_s, settings)):
            id = f"{seen.task_id}-polcal-{k}"
            at_s = seen.start_s + due_s
            await asyncio.sleep(max(0.0, at_s - time.time()))
            if id in self.known or time.time() > at_s + settings.history:
                continue
            self.end(id, await self._give(id, text, at_s + settings.history))


class External(Sender):
    """A way out of the house: one of those that come within the interval, if it is armed and within rates."""

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.arming = self._kept_arming()
        self.gate = self._gate()
        self.post_box = PostBox(self)
        self._gathered: list[tuple[Trigger, asyncio.Future[tuple[Trigger, int]]]] = []
        self._show_state()

    def _settings(self) -> Any:
        return getattr(self.site.settings, self.name.value)

    def _gate(self) -> Gate:
        now_s = time.time()
        sent = [Sent(**e["sent"]) for e in self.journal.entries() if "sent" in e and "sending" in e]
        settings = self._settings()
        return Gate(
            settings.per_hour,
            settings.per_source_per_day,
            tuple(s for s in sent if now_s - s.sent_s < _DAY_S),
        )

    # -- the switch

    @property
    def _arming_path(self) -> Path:
        return self.site.folder(self.name.value) / "arming.json"

    def _kept_arming(self) -> Arming:
        try:
            facts = read_facts(self._arming_path)
            if facts is not None:
                return Arming.of(facts)
        except FormatError as error:
            _log.error("%s", error)
            return Arming()  # off: nobody knows what was meant
        return Arming(wanted=State.TEST if self._settings().send_events else State.OFF)

    async def on_switch(self, switch: Switch) -> Reply:
        now_s, wanted = time.time(), State[switch.wanted.upper()]
        try:
            if wanted is State.OBSERVE:
                arming = self.arming.armed(switch.who, now_s=now_s, until_s=switch.until_s)
            else:
                arming = self.arming.set(wanted, switch.who, now_s=now_s)
            write_facts(self._arming_path, arming.facts())
        except (Error, OSError) as error:
            return Reply(status="Error", message=str(error))
        self.arming = arming
        self.journal.append({"at_s": now_s, "switch": arming.facts()})
        _log.warning("%s: %s by %s", self.name.value, wanted.name.lower(), switch.who)
        self._show_state()
        return Reply(status="Success", message=f"{self.name.value}: {self.arming.state(now_s).value}")

    def _show_state(self) -> None:
        self.numbers["state"] = self.arming.state(time.time()).name.lower()
        self.numbers["armed_by"] = self.arming.who
        self.numbers["armed_until_s"] = self.arming.until_s

    async def on_reload(self) -> None:
        self.gate = self._gate()

    def look(self) -> None:
        self._show_state()
        self.post_box.send_in_background()

    # -- sending

    async def dispatch(self, id: str, send: Send) -> str:
        if id in self.begun:
            left = await self._left_over(id, send)
            if left is not None:
                return left
        best, n_beams = await self._gather(send.triggers[0])
        if best.id != send.triggers[0].id:
            return "not sent: brighter triggers went first"
        if n_beams > self.site.settings.amber_clustering.most_beams:
            return f"not sent: seen in {n_beams} compound beams: interference"
        now_s = time.time()
        late = _age_words(best, self.latest_s(best), now_s)
        if late:
            return late
        state = self.arming.state(now_s)
        if state is State.OFF:
            return Admission.OFF.value
        try:
            sending, data = self.written(best, test=state is State.TEST)
        except InputError as error:
            return f"{Admission.CANNOT.value}: {error}"
        admission = self.gate.admit(best, state, now_s)
        if admission is not Admission.SEND:
            return str(admission.value)
        try:
            self.begin(id, sending, sent=asdict(self.gate.sent[-1]), trigger=asdict(best))
        except OSError:  # it is asked again when there is room
            self.gate.withdraw(best.id)
            raise
        self._show_state()
        outcome = await self._outcome(data, state, self.latest_s(best))
        self.mail_of(best, outcome, test=state is State.TEST)
        return outcome

    def mail_of(self, trigger: Trigger, outcome: str, *, test: bool) -> None:
        """Mail of what went out, if any is wanted."""

    async def _outcome(self, data: Any, state: State, until_s: float) -> str:
        """Send it, and again while it is of use and the way is armed as it was."""
        wait_s = _TRY_AGAIN_S
        while True:
            try:
                answer = await asyncio.to_thread(self.transmit, data)
            except Error as error:
                self.trouble["way"] = str(error)
                may_pass = isinstance(error, ResourceError) and not isinstance(error, FinalError)
                over = time.time() + wait_s > until_s
                if over or not may_pass or self.arming.state(time.time()) is not state:
                    return f"failed: {error}"
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, _LONGEST_S)
            else:
                self.trouble.pop("way", None)
                test = ", as a test" if state is State.TEST else ""
                return f"sent{test}{': ' + answer if answer else ''}"

    async def _gather(self, trigger: Trigger) -> tuple[Trigger, int]:
        """The best of all that come within the interval after the first, and how many beams they are of."""
        future: asyncio.Future[tuple[Trigger, int]] = asyncio.get_running_loop().create_future()
        self._gathered.append((trigger, future))
        if len(self._gathered) == 1:
            await asyncio.sleep(self._settings().interval)
            gathered, self._gathered = self._gathered, []
            while gathered:
                best, _ = select([t for t, _ in gathered])
                together = [g for g in gathered if abs(g[0].time_s - best.time_s) <= _TOGETHER_S]
                n_beams = len({t.beam for t, _ in together})
                for _, other in together:
                    if not other.done():
                        other.set_result((best, n_beams))
                gathered = [g for g in gathered if abs(g[0].time_s - best.time_s) > _TOGETHER_S]
        return await future

    async def _left_over(self, id: str, send: Send) -> str | None:
        """What becomes of a trigger that was being sent when the process died; None: it is sent again."""
        del id, send
        return "unknown: it may have been sent when the service ended; not sent again"

    @abstractmethod
    def latest_s(self, trigger: Trigger) -> float:
        """Until when it is of use, seconds since 1970."""

    @abstractmethod
    def written(self, trigger: Trigger, *, test: bool) -> tuple[str, Any]:
        """What the journal says of it, and what is transmitted. Raises InputError."""

    @abstractmethod
    def transmit(self, data: Any) -> str:
        """The answer. Raises ResourceError: it was not taken; FinalError: it is not to be tried again."""


class LofarSender(External):
    """Packets that freeze LOFAR's buffers."""

    name: ClassVar[Name] = Name.LOFAR

    def latest_s(self, trigger: Trigger) -> float:
        from mwaconvert.live.observation import delay_s

        settings = self.site.settings.lofar_trigger
        delay = delay_s(trigger.dm, settings.lofar_freq, trigger.centre_mhz)
        return trigger.centre_time_s + delay + settings.lofar_tbb_buffer_size / 2

    def written(self, trigger: Trigger, *, test: bool) -> tuple[str, bytes]:
        settings = self.site.settings.lofar_trigger
        packet = lofar_packet_of(
            trigger, test=test, lofar_mhz=settings.lofar_freq, buffer_s=settings.lofar_tbb_buffer_size
        )
        return packet.hex(), packet

    def transmit(self, data: Any) -> str:
        settings = self.site.settings.lofar_trigger
        return send_udp(settings.lofar_host, settings.lofar_port, data, timeout_s=0.2).hex()

    def mail_of(self, trigger: Trigger, outcome: str, *, test: bool) -> None:
        """Who watches LOFAR is told of each freeze, and of each that failed."""
        place = "not known" if trigger.radec_deg is None else "{:.5f} {:.5f} deg".format(*trigger.radec_deg)
        facts = {
            "Observation": trigger.task_id,
            "Source": trigger.name or "new",
            "DM": f"{trigger.dm:.2f} pc/cm^3",
            "S/N": f"{trigger.snr:.1f}",
            "Arrival (UTC)": utc_text(trigger.time_s),
            "Width": f"{trigger.width_s * 1e3:.2f} ms",
            "Flux": f"{trigger.flux_jy:.2f} Jy",
            "Compound beam": f"{trigger.beam:02d}, synthesised beam {trigger.synthesised_beam}",
            "Its coordinates": place,
            "What became of it": outcome,
        }
        self.post_box.put(
            trigger.id + ("-test" if test else ""),
            f"ARTS LOFAR Trigger Alert{' (test)' if test else ''}",
            "".join(f"{name:<19}{value}\n" for name, value in facts.items()),
        )
