"""Events that went out are updated and taken back: once, with citations, by who may."""

import pytest
from live_node import run_async
from lxml import etree
from test_senders import Wire, give, site, trigger  # noqa: F401

from mwaconvert.errors import InputError, ResourceError
from mwaconvert.services.live.commands import Commands
from mwaconvert.services.live.node import Name
from mwaconvert.services.live.processes.events import VOEventSender
from mwaconvert.services.live.wire.messages import Changes, Correct, Message, Reply, Role


def retract(event, reason="interference in all beams"):
    return Correct(what="retract", event=event, who="jansen", reason=reason)


def update(event, **changes):
    return Correct(what="update", event=event, who="jansen", changes=Changes(**changes))


def cited(event):
    return [(e.get("cite"), e.text) for e in etree.fromstring(event.xml).iter("EventIVORN")]


def params(event):
    return {e.get("name"): e.get("value") for e in etree.fromstring(event.xml).iter("Param")}


def test_an_update_and_a_retraction(site, darc, tmp_path):  # noqa: F811
    """They cite what went before, keep the role of the event, and are known after a restart."""

    async def job():
        sender = VOEventSender(site)
        wire = Wire(sender)
        await give(sender, trigger())
        await sender.correct(update("1-00-1", dm=510.5, dm_err=0.1, radec_deg=(83.7, 22.1)), "a")
        again = VOEventSender(site)
        other = Wire(again)
        await again.correct(update(wire.sent[0].ivorn, snr=61.0), "b")
        answer = await again.correct(retract("1-00-1"), "c")
        for late in (retract("1-00-1"), update("1-00-1", dm=1.0)):
            with pytest.raises(InputError, match="was retracted before"):
                await VOEventSender(site).correct(late, "d")
        return [*wire.sent, *other.sent], answer

    (first, better, best, back), answer = run_async(job())
    assert cited(first) == []
    assert cited(better) == [("supersedes", first.ivorn)]
    assert cited(best) == [("supersedes", better.ivorn)]
    assert cited(back) == [("retraction", e.ivorn) for e in (first, better, best)]
    assert params(better)["dm"] == params(best)["dm"] == "510.5"
    assert (params(better)["snr"], params(best)["snr"]) == ("50", "61")
    assert answer == f"{back.ivorn}: sent, as a test: ack"
    schema = etree.XMLSchema(etree.parse(darc / "schema/VOEvent-v2.0.xsd"))
    for event in (better, best, back):
        top = etree.fromstring(event.xml)
        schema.assertValid(top)
        assert top.get("role") == "test"
    assert (tmp_path / "xml" / "1-00-1-retraction.xml").read_bytes() == back.xml


def test_a_retraction_that_failed_goes_out_again_by_its_name(site):  # noqa: F811
    async def job():
        sender = VOEventSender(site)
        wire = Wire(sender, ["ack", ResourceError("no broker")])
        await give(sender, trigger())
        with pytest.raises(ResourceError, match="no broker"):
            await sender.correct(retract("1-00-1"), "a")
        again = VOEventSender(site)
        other = Wire(again)
        await again.correct(retract("1-00-1", "said otherwise"), "b")
        return wire.sent[1], other.sent[0]

    failed, sent = run_async(job())
    assert sent == failed


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (retract("1-00-9"), "no such event went out; the latest: 1-00-1"),
        (retract("1-00-1", " "), "expected --reason"),
        (retract("1-00-1", "\x00"), "cannot stand in an XML document"),
        (update("1-00-1"), "expected what is better known"),
    ],
)
def test_what_cannot_be_said(site, wrong, words):  # noqa: F811
    async def job():
        sender = VOEventSender(site)
        wire = Wire(sender)
        await give(sender, trigger())
        with pytest.raises(InputError, match=words):
            await sender.correct(wrong, "a")
        return wire

    assert len(run_async(job()).sent) == 1


def test_a_full_disk_corrects_nothing(site, monkeypatch):  # noqa: F811
    """Nothing goes out that is not noted, and who asked is told."""

    async def job():
        sender = VOEventSender(site)
        wire = Wire(sender)
        await give(sender, trigger())
        replies = []
        sender.post = lambda to, body, **_: replies.append(body) or True

        def no_room(*_, **__):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(sender.journal, "append", no_room)
        correct = retract("1-00-1")
        await sender.on_correct(Message(sender="o", to="n/x", body=correct, id="1"), correct)
        await next(iter(sender._tasks))
        return wire, replies

    wire, (reply,) = run_async(job())
    assert len(wire.sent) == 1
    assert reply.status == "Error"
    assert "No space left on device; nothing was sent" in reply.message


@pytest.mark.parametrize(("role", "may"), [(r, r in (Role.ARM, Role.NODE)) for r in Role])
def test_only_who_may_arm_corrects(role, may):
    class Hub:
        services = (Name.VOEVENT,)
        asked = 0

        async def ask(self, *_):
            self.asked += 1
            return Reply(status="Success", message="done")

    hub = Hub()
    for correct in (retract("1"), update("1", dm=5.0)):
        reply = run_async(Commands(hub, None).correct(correct, role))
        assert (reply.status == "Success") == may
        assert may or "needs the role arm" in str(reply.message)
    assert hub.asked == 2 * may
