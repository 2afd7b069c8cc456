"""Senders of VOEvents, and what is said of them afterwards: better numbers, or that they were wrong."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from pydantic import TypeAdapter

from mwaconvert.errors import Error, InputError, ResourceError
from mwaconvert.live.files import write_whole
from mwaconvert.live.gate import State
from mwaconvert.live.kafka import open_producer, send_kafka
from mwaconvert.live.settings import expanded
from mwaconvert.live.triggers import Trigger
from mwaconvert.live.voevent import Cite, VOEvent, burst_event, retraction, send_voevent
from mwaconvert.services.live.node import Name, Site
from mwaconvert.services.live.processes.journal import file_name
from mwaconvert.services.live.processes.senders import External, FinalError
from mwaconvert.services.live.wire.messages import Correct, Message, Reply, Send

#: events that are named where one is not found
_NAMED = 5
#: until Kafka has taken an event, s
_KAFKA_S = 20.0


@dataclass
class Told:
    """An event that went out, or may have.

    Attributes
    ----------
    trigger : as it was said last
    ivorns : of the event and its updates, the latest last
    retraction : the event that takes it back, once it was begun; `is_retracted`: and taken by the broker
    """

    trigger: Trigger
    is_test: bool
    ivorns: list[str] = field(default_factory=list)
    retraction: VOEvent | None = None
    is_retracted: bool = False


class EventSender(External):
    """VOEvents, kept as files, too; how they are carried is a matter of subclasses."""

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._one_at_a_time = asyncio.Lock()

    def latest_s(self, trigger: Trigger) -> float:
        return trigger.time_s + float(self._settings().age_max)

    def written(self, trigger: Trigger, *, test: bool) -> tuple[str, Any]:
        event = burst_event(trigger, test=test, now_s=time.time())
        self._keep(f"{trigger.id}{'-test' if test else ''}", event)
        return event.ivorn, event

    @property
    def folder(self) -> Path:
        return Path(expanded(self.site.settings.voevent_generator.voevent_dir))

    def _keep(self, name: str, event: VOEvent) -> None:
        write_whole(self.folder / f"{file_name(name)}.xml", event.xml.decode())

    # -- what is said afterwards

    async def on_correct(self, message: Message, correct: Correct) -> None:
        """Beside all else, as a broker may be slow."""
        task = asyncio.create_task(self._correct(message, correct))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _correct(self, message: Message, correct: Correct) -> None:
        async with self._one_at_a_time:
            try:
                reply = Reply(status="Success", message=await self.correct(correct, message.id))
            except Error as error:
                reply = Reply(status="Error", message=str(error))
            except OSError as error:
                reply = Reply(
                    status="Error", message=f"{self.journal.path}: {error.strerror}; nothing was sent"
                )
        self.post(message.sender, reply, id=message.id)

    async def correct(self, correct: Correct, number: str) -> str:
        """Send a retraction or an update; what became of it.

        A retraction goes out whether the way is armed or not, and is a test if its event was one. One that failed is
        sent again under the same name.

        Raises
        ------
        Error
            No such event, or one that was taken back; the broker does not take it.
        OSError
            The journal has no room: nothing was sent.
        """
        told = self._told(correct.event)
        if told.is_retracted:
            raise InputError(f"{correct.event}: was retracted before")
        facts = {"of": told.trigger.id, **correct.model_dump(include={"what", "who", "reason"})}
        if correct.what == "retract":
            id = f"{told.trigger.id}-retraction"
            event = told.retraction or retraction(
                tuple(told.ivorns), _reason(correct), test=told.is_test, now_s=time.time()
            )
        else:
            id = f"{told.trigger.id}-update-{number}"
            changes = {name: value for name, value in correct.changes if value is not None}
            if not changes:
                raise InputError("expected what is better known now, as --dm")
            better = replace(told.trigger, **changes)
            cites = (Cite.UPDATE, told.ivorns[-1])
            event = burst_event(better, test=told.is_test, now_s=time.time(), cites=cites)
            facts["trigger"] = asdict(better)
        self._keep(id, event)
        self.begin(id, event.ivorn, correction=facts, xml=event.xml.decode())
        return await self._correction_sent(id, event, test=told.is_test)

    async def _correction_sent(self, id: str, event: VOEvent, *, test: bool) -> str:
        outcome = await self._outcome(event, State.TEST if test else State.OBSERVE, until_s=0.0)
        now_s = time.time()
        self.end(id, outcome)
        self.recent.append({"id": id, "at_s": now_s, "outcome": outcome})
        if not outcome.startswith("sent"):
            raise ResourceError(f"{event.ivorn}: {outcome}")
        return f"{event.ivorn}: {outcome}"

    def _told(self, event: str) -> Told:
        found = self._all_told()
        for id, told in found.items():
            if event == id or event in told.ivorns:
                return told
        latest = ", ".join(list(found)[-_NAMED:]) or "none"
        raise InputError(f"{event}: no such event went out; the latest: {latest}")

    def _all_told(self) -> dict[str, Told]:
        """By the id of the trigger, the oldest first."""
        found: dict[str, Told] = {}
        retractions: dict[str, Told] = {}
        for entry in self.journal.entries():
            if "correction" in entry:
                facts = entry["correction"]
                told = found[facts["of"]]
                if facts["what"] == "retract":
                    told.retraction = VOEvent(ivorn=entry["sending"], xml=entry["xml"].encode())
                    retractions[entry["id"]] = told
                else:
                    told.ivorns.append(entry["sending"])
                    told.trigger = _trigger(facts["trigger"])
            elif "trigger" in entry:
                trigger = _trigger(entry["trigger"])
                found[trigger.id] = Told(trigger, bool(entry["sent"]["is_test"]), [entry["sending"]])
            elif entry.get("outcome", "").startswith("sent") and entry["id"] in retractions:
                retractions[entry["id"]].is_retracted = True
        return found


class VOEventSender(EventSender):
    """To a broker, by VTP."""

    name: ClassVar[Name] = Name.VOEVENT

    def transmit(self, data: Any) -> str:
        settings = self.site.settings.voevent_generator
        answer = send_voevent(settings.broker_host, settings.broker_port, data)
        if not answer.accepted:
            raise FinalError(f"the broker refused {data.ivorn}: {answer.text or 'no reason given'}")
        return "ack"

    async def _left_over(self, id: str, send: Send) -> str | None:
        """The same event again, by its name: a broker takes it once."""
        was_test = bool(self.begun[id]["sent"]["is_test"])
        now_s = time.time()
        state = self.arming.state(now_s)
        if now_s > self.latest_s(send.triggers[0]) or (not was_test and state is not State.OBSERVE):
            return "unknown: it may have been sent when the service ended; not sent again"
        _, event = self.written(send.triggers[0], test=was_test)
        until_s = self.latest_s(send.triggers[0])
        return await self._outcome(event, State.TEST if was_test else State.OBSERVE, until_s)


class KafkaSender(EventSender):
    """To a topic of Kafka. It knows no names, so what may have been sent is not sent again."""

    name: ClassVar[Name] = Name.KAFKA

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._producer: Any = None
        self._opened_for: Site | None = None  # a site that is read anew is another one
        self._lock = threading.Lock()

    @property
    def folder(self) -> Path:
        return super().folder / "kafka"

    def transmit(self, data: Any) -> str:
        site = self.site
        settings = site.settings.kafka_sender
        options = Path(expanded(settings.options)) if settings.options else None
        with self._lock:
            try:
                if self._opened_for is not site:
                    self._producer = open_producer(settings.servers, options, timeout_s=_KAFKA_S)
                    self._opened_for = site
                return send_kafka(self._producer, settings.topic, data, timeout_s=_KAFKA_S)
            except ResourceError as error:
                raise FinalError(str(error)) from None


def _reason(correct: Correct) -> str:
    if not correct.reason.strip():
        raise InputError("expected --reason: those who received the event want to know why")
    return correct.reason


def _trigger(facts: Any) -> Trigger:
    return TypeAdapter(Trigger).validate_python(facts)
