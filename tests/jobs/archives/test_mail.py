"""Mail: over TLS to a real SMTP server in this process, once for each event and recipient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("aiosmtpd")
import trustme
from mail_box import Box, Serve, mail_servers

from mwaconvert.jobs.control.outbox import send_pending
from mwaconvert.jobs.control.states import Sending, Switch
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.delivery.mail import KIND, Security, mail, mail_sender


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "jobs.db")
    opened.set_switch(Switch.LIVE, "ann", "tests")
    yield opened
    opened.close()


@pytest.fixture
def box() -> Box:
    return Box()


@pytest.fixture
def serve(box: Box, tmp_path: Path) -> Iterator[Serve]:
    with mail_servers(box, tmp_path) as start:
        yield start


@pytest.mark.parametrize("security", list(Security), ids=lambda security: security.value)
def test_a_mail_goes_out_once(store: Store, serve: Serve, box: Box, security: Security) -> None:
    senders = {KIND: mail_sender(serve(security))}
    store.enqueue_message(
        "1/mail/began", KIND, mail("da@example.org", "run 1\nbegan: é", "first line\nsecond")
    )
    for _ in range(2):
        send_pending(store, senders, "w1", kinds=[KIND])
    assert [(to, subject, text.splitlines()) for to, subject, text in box.letters] == [
        (["da@example.org"], "run 1 began: é", ["first line", "second"])
    ]
    assert store.message("1/mail/began").state is Sending.SENT


def test_a_server_with_another_certificate_gets_nothing(
    store: Store, serve: Serve, box: Box, tmp_path: Path
) -> None:
    server = serve(Security.STARTTLS)
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    store.enqueue_message("1", KIND, mail("da@example.org", "x", "y"))
    send_pending(store, {KIND: mail_sender(server)}, "w1")
    message = store.message("1")
    assert message.state is Sending.FAILED
    assert "CERTIFICATE_VERIFY_FAILED" in (message.answer or "")
    assert box.letters == []


def test_refusals_are_told_and_may_be_sent_again(
    store: Store, serve: Serve, box: Box, tmp_path: Path
) -> None:
    server = serve(Security.STARTTLS)
    store.enqueue_message("1", KIND, mail("da@example.org", "x", "y"))
    box.refuse = "554 no room"
    send_pending(store, {KIND: mail_sender(server)}, "w1")
    assert "no room" in (store.message("1").answer or "")
    box.refuse = ""
    (tmp_path / "password").write_text("wrong")
    store.resend("1", "ann")
    send_pending(store, {KIND: mail_sender(server)}, "w1")
    message = store.message("1")
    assert message.state is Sending.FAILED
    assert "535" in (message.answer or "")
    assert "wrong" not in (message.answer or "")
    store.resend("1", "ann")
    send_pending(store, {KIND: mail_sender(replace(server, port=1))}, "w1")
    assert store.message("1").state is Sending.FAILED
    (tmp_path / "password").write_text("secret")
    store.resend("1", "ann")
    send_pending(store, {KIND: mail_sender(server)}, "w1")
    assert store.message("1").state is Sending.SENT
    assert len(box.letters) == 1


def test_messages_of_other_kinds_are_left(store: Store, serve: Serve) -> None:
    store.enqueue_message("alert", "voevent", {})
    assert send_pending(store, {KIND: mail_sender(serve(Security.NONE))}, "w1", kinds=[KIND]) == []
    assert store.message("alert").state is Sending.PENDING
