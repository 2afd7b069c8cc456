"""What leaves the house leaves once, on purpose, and not too often."""

import pytest

from mwaconvert.jobs.control.outbox import RefusedError, Sender, send_pending
from mwaconvert.jobs.control.states import Sending, Switch
from mwaconvert.jobs.control.store import Store


@pytest.fixture
def clock():
    return [1000.0]


@pytest.fixture
def store(tmp_path, clock):
    store = Store(tmp_path / "jobs.db", now=lambda: clock[0])
    store.set_switch(Switch.LIVE, "ann", "test of the outbox")
    yield store
    store.close()


def mail(out: list, **options) -> dict[str, Sender]:
    def send(message):
        out.append(message.key)
        return "250 ok"

    return {"mail": Sender(send, **{"most": 100, "period_s": 60.0, **options})}


def states(store) -> dict[str, Sending]:
    return {message.key: message.state for message in store.messages()}


def test_a_message_goes_out_once_and_keeps_its_answer(store):
    out = []
    store.enqueue_message("a", "mail", {"to": "ann"})
    for _ in range(3):
        send_pending(store, mail(out), "w1")
    assert out == ["a"]
    assert (store.message("a").state, store.message("a").answer) == (Sending.SENT, "250 ok")


def test_nothing_goes_out_unless_the_switch_is_live_and_the_kind_is_known(store):
    out = []
    store.enqueue_message("unknown", "pigeon", {})
    send_pending(store, mail(out), "w1")
    store.set_switch(Switch.TEST, "ann", "maintenance")
    store.enqueue_message("tested", "mail", {})
    send_pending(store, mail(out), "w1")
    assert out == []
    assert states(store) == {"unknown": Sending.FAILED, "tested": Sending.TESTED}
    assert "nobody here sends messages of kind 'pigeon'" in store.message("unknown").answer


def test_the_rate_holds_and_what_is_above_waits(store, clock):
    out = []
    for number in range(5):
        store.enqueue_message(f"m{number}", "mail", {})
    send_pending(store, mail(out, most=2), "w1")
    send_pending(store, mail(out, most=2), "w2")
    assert out == ["m0", "m1"]
    clock[0] += 61
    send_pending(store, mail(out, most=2), "w1")
    assert out == ["m0", "m1", "m2", "m3"]
    assert states(store)["m4"] is Sending.PENDING


def test_a_message_that_is_too_old_is_refused(store, clock):
    out = []
    store.enqueue_message("a", "mail", {})
    clock[0] += 11
    send_pending(store, mail(out, oldest_s=10), "w1")
    assert out == []
    assert store.message("a").answer == "11 s old, more than 10 s"


@pytest.mark.parametrize(
    ("error", "state"),
    [(RefusedError("no such list"), Sending.FAILED), (TimeoutError("late"), Sending.UNKNOWN)],
)
def test_a_refusal_is_known_and_anything_else_may_have_gone_out(store, error, state):
    def send(message):
        raise error

    store.enqueue_message("a", "mail", {})
    for _ in range(2):
        send_pending(store, {"mail": Sender(send, 10, 60)}, "w1")
    assert store.message("a").state is state
    assert str(error) in store.message("a").answer
    assert store.message("a").tries == 1


def test_a_sender_that_died_while_sending_leaves_the_message_to_a_person(store):
    out = []
    store.enqueue_message("a", "mail", {})

    def die(message):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        send_pending(store, {"mail": Sender(die, 10, 60)}, "w1")
    store.abandon_messages("w1")
    send_pending(store, mail(out), "w1")
    assert (out, store.message("a").state) == ([], Sending.UNKNOWN)
    store.resend("a", "ann")
    send_pending(store, mail(out), "w1")
    assert out == ["a"]
