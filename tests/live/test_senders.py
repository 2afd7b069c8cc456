"""Senders by themselves: what is in their journal decides; full disks, wrong clocks, crashes in the middle."""

import asyncio
import time
from dataclasses import replace

import pytest
from live_node import run_async

from mwaconvert.errors import ResourceError
from mwaconvert.live.settings import settings_of
from mwaconvert.live.triggers import Trigger
from mwaconvert.services.live.node import Site
from mwaconvert.services.live.processes.events import VOEventSender
from mwaconvert.services.live.processes.senders import DadaSender, FinalError, LofarSender
from mwaconvert.services.live.wire.messages import Message, Send, Switch


def trigger(**more):
    facts = {
        "id": "1-00-1",
        "task_id": "1",
        "beam": 0,
        "synthesised_beam": 35,
        "name": "",
        "time_s": time.time() - 1,
        "offset_s": 10.0,
        "top_mhz": 1519.5,
        "centre_mhz": 1369.7,
        "dm": 500.0,
        "dm_err": 0.2,
        "snr": 50.0,
        "width": 31,
        "width_s": 2.5e-3,
        "flux_jy": 0.5,
        "radec_deg": (83.6, 22.0),
        "galactic_dm": 100.0,
    }
    return Trigger(**{**facts, **more})


@pytest.fixture
def site(tmp_path):
    fast = {"interval": 0.01}
    return Site(
        settings_of(
            {
                "network": {"state_dir": str(tmp_path), "node": "n"},
                "lofar_trigger": {**fast, "send_events": True, "per_hour": 3},
                "voevent_generator": {**fast, "send_events": True, "voevent_dir": str(tmp_path / "xml")},
            }
        )
    )


class Wire:
    """Replaces what transmits, and what is posted back."""

    def __init__(self, sender, answers=()):
        self.sent, self.done, self.answers = [], [], list(answers)
        sender.transmit = self.transmit
        sender.post = lambda to, body, **more: self.done.append((more["id"], body.outcome)) or True

    def transmit(self, data):
        self.sent.append(data)
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
        return "ack"


async def give(sender, *triggers, ids=None):
    for k, t in enumerate(triggers):
        send = Send(way="lofar", triggers=(t,), start_s=0.0, made_s=time.time())
        id = ids[k] if ids else f"{t.id}-lofar"
        await sender.on_send(
            Message(sender="w/amber_clustering", to="n/x", body=send, id=id, task_id="1"), send
        )
    while sender._tasks:
        await asyncio.sleep(0.005)


def test_once_also_after_a_restart(site):
    async def job():
        sender = LofarSender(site)
        wire = Wire(sender)
        t = trigger()
        await give(sender, t, t)
        await give(sender, t)
        again = LofarSender(site)
        other = Wire(again)
        await give(again, t)
        await give(again, replace(t, id="1-03-1", beam=3, time_s=t.time_s + 0.1))  # the pulse in another beam
        return wire, other

    wire, other = run_async(job())
    assert len(wire.sent) == 1
    assert other.sent == []
    assert [outcome for _, outcome in wire.done] == ["sent, as a test: ack"] * 2
    assert [outcome[:22] for _, outcome in other.done] == ["sent, as a test: ack", "not sent: this pulse w"]


def test_a_crash_in_the_middle(site):
    """A packet to LOFAR is not sent again; a VOEvent is, under the same name."""

    async def job():
        found = {}
        for kind in (LofarSender, VOEventSender):
            sender = kind(site)
            wire = Wire(sender)
            t = trigger()
            sender.begin(
                f"{t.id}-lofar",
                "x",
                sent={
                    "id": t.id,
                    "name": "",
                    "time_s": t.time_s,
                    "dm": t.dm,
                    "snr": t.snr,
                    "sent_s": 0.0,
                    "is_test": True,
                },
            )
            again = kind(site)
            wire = Wire(again)
            await give(again, t)
            found[kind] = wire
        return found

    found = run_async(job())
    assert found[LofarSender].sent == []
    assert found[LofarSender].done[0][1].startswith("unknown: it may have been sent")
    assert len(found[VOEventSender].sent) == 1
    assert found[VOEventSender].done[0][1] == "sent, as a test: ack"


def test_a_full_disk_sends_nothing(site, monkeypatch):
    """What cannot be noted does not go out; it does when there is room again."""

    async def job():
        sender = LofarSender(site)
        wire = Wire(sender)
        full = OSError(28, "No space left on device")

        def no_room(*_, **__):
            raise full

        monkeypatch.setattr(sender.journal, "append", no_room)
        await give(sender, trigger())
        before = (list(wire.sent), list(wire.done), dict(sender.trouble))
        monkeypatch.undo()
        await give(sender, trigger(id="1-00-2", time_s=time.time() - 0.2, dm=900.0))
        return before, wire, sender.trouble

    (sent, done, trouble), wire, after = run_async(job())
    assert (sent, done) == ([], [])
    assert "No space" in trouble["journal"]
    assert len(wire.sent) == 1
    assert "journal" not in after


def test_wrong_clocks_and_late_triggers(site):
    async def job():
        sender = LofarSender(site)
        wire = Wire(sender)
        now_s = time.time()
        await give(sender, trigger(time_s=now_s + 30), ids=["a"])
        await give(sender, trigger(time_s=now_s - 500), ids=["b"])
        return wire

    wire = run_async(job())
    assert wire.sent == []
    assert [outcome for _, outcome in wire.done] == [
        "not sent: the pulse lies in the future: a clock is wrong",
        "not sent: too late",
    ]


def test_rates(site):
    async def job():
        sender = LofarSender(site)
        wire = Wire(sender)
        for k in range(5):
            await give(sender, trigger(id=str(k), name=f"R{k}", time_s=time.time() - k, dm=500 + 100 * k))
        return wire

    wire = run_async(job())
    assert len(wire.sent) == 3
    assert wire.done[-1][1].startswith("not sent: too many in the last hour")


def test_many_beams_at_once_are_interference(site):
    async def job():
        sender = LofarSender(site)
        wire = Wire(sender)
        t = trigger()
        await give(sender, *(replace(t, id=f"1-{k:02d}-1", beam=k) for k in range(9)))
        return wire

    wire = run_async(job())
    assert wire.sent == []
    assert sum("9 compound beams: interference" in outcome for _, outcome in wire.done) == 1


def test_the_brightest_of_several_beams_goes_out(site):
    async def job():
        sender = LofarSender(site)
        wire = Wire(sender)
        t = trigger()
        await give(sender, *(replace(t, id=f"1-{k:02d}-1", beam=k, snr=20.0 + k) for k in range(3)))
        return wire

    wire = run_async(job())
    assert len(wire.sent) == 1
    assert [outcome for _, outcome in sorted(wire.done)][:2] == ["not sent: brighter triggers went first"] * 2


def test_pulses_that_had_to_wait_all_go_out(site):
    """They come at once after the sender was away, and are not of one moment."""

    async def job():
        sender = LofarSender(site)
        wire = Wire(sender)
        now_s = time.time()
        await give(sender, *(trigger(id=str(k), time_s=now_s - 3 * k, dm=900.0) for k in range(3)))
        return wire

    wire = run_async(job())
    assert len(wire.sent) == 3


def test_a_broker_that_refuses_is_said(site):
    async def job():
        sender = VOEventSender(site)
        wire = Wire(sender, [FinalError("refused")])
        await give(sender, trigger())
        return wire, dict(sender.trouble)

    wire, trouble = run_async(job())
    assert wire.done[0][1] == "failed: refused"
    assert trouble["way"] == "refused"


@pytest.mark.parametrize("kind", [LofarSender, VOEventSender])
def test_a_link_that_is_down_is_tried_again(site, monkeypatch, kind):
    """As long as the trigger is of use, and the way is armed as it was; the trouble is said until then."""
    monkeypatch.setattr("mwaconvert.services.live.processes.senders._TRY_AGAIN_S", 0.01)

    async def job():
        sender = kind(site)
        wire = Wire(sender, [ResourceError("no route")] * 4)
        await give(sender, trigger())
        down = Wire(sender, [ResourceError("no route")] * 1000)
        late = trigger(id="1-00-2", dm=900.0, time_s=time.time() - 30)
        until_s = time.time() + 0.1
        sender.latest_s = lambda t: until_s
        await give(sender, late)
        return wire, down, dict(sender.trouble)

    wire, down, trouble = run_async(job())
    assert len(wire.sent) == 5
    assert len(set(map(id, wire.sent))) == 1
    assert [outcome for _, outcome in wire.done] == ["sent, as a test: ack"]
    assert [outcome for _, outcome in down.done] == ["failed: no route"]
    assert trouble["way"] == "no route"


@pytest.mark.parametrize("kind", [LofarSender, VOEventSender])
def test_a_way_that_is_switched_off_meanwhile(site, monkeypatch, kind):
    monkeypatch.setattr("mwaconvert.services.live.processes.senders._TRY_AGAIN_S", 0.01)

    async def job():
        sender = kind(site)
        wire = Wire(sender, [ResourceError("no route")] * 1000)
        giving = asyncio.create_task(give(sender, trigger()))
        while len(wire.sent) < 2:
            await asyncio.sleep(0.005)
        await sender.on_switch(Switch(way="lofar", wanted="off", who="jansen"))
        await giving
        return wire

    assert [outcome for _, outcome in run_async(job()).done] == ["failed: no route"]


@pytest.mark.parametrize("kind", [LofarSender, VOEventSender])
@pytest.mark.parametrize("full_after", [0, 1])
def test_a_disk_that_is_full(site, monkeypatch, kind, full_after):
    """Before a trigger goes out: it waits. After: its end is known, and written when there is room."""

    async def job():
        sender = kind(site)
        wire = Wire(sender)
        left = full_after
        append = sender.journal.append

        def full(entry, **more):
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError(28, "No space left on device")
            return append(entry, **more)

        sender.journal.append = full
        t = trigger()
        await give(sender, t)
        sender.write_ends()  # as every second
        assert sender.trouble["journal"].endswith("No space left on device")
        assert len(wire.sent) == len(wire.done) == full_after
        sender.journal.append = append
        sender.write_ends()
        await give(sender, t)  # the chain asks again
        again = kind(site)
        other = Wire(again)
        await give(again, t)
        return wire, other, sender

    wire, other, sender = run_async(job())
    assert len(wire.sent) == 1
    assert other.sent == []
    assert {outcome for _, outcome in wire.done + other.done} == {"sent, as a test: ack"}
    assert "journal" not in sender.trouble


def test_a_damaged_state_of_the_switch_is_off(site, tmp_path):
    sender = LofarSender(site)
    (tmp_path / "n" / "lofar_trigger" / "arming.json").write_text("{")
    assert LofarSender(site).arming.wanted.name == "OFF"
    reply = run_async(
        sender.on_switch(Switch(way="lofar", wanted="observe", who=" ", until_s=time.time() + 9))
    )
    assert (reply.status, reply.message) == ("Error", "`who`: expected a name of who arms triggers")


def test_a_dump_is_tried_again(site, monkeypatch):
    tries = []

    def send_tcp(*words):
        tries.append(words)
        if len(tries) < 3:
            raise ResourceError("refused")
        return b""

    monkeypatch.setattr("mwaconvert.services.live.processes.senders.send_tcp", send_tcp)
    monkeypatch.setattr("mwaconvert.services.live.processes.senders._TRY_AGAIN_S", 0.01)

    async def job():
        sender = DadaSender(site)
        wire = Wire(sender)
        await give(sender, trigger())
        return wire, dict(sender.trouble)

    wire, trouble = run_async(job())
    assert [outcome for _, outcome in wire.done] == ["sent"]
    assert trouble == {}
