"""Mail: over TLS to a real SMTP server in this process, once for each event and recipient."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import replace
from email import message_from_bytes, policy
from pathlib import Path

import pytest

pytest.importorskip("aiosmtpd")
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope

from mwaconvert.jobs.control.outbox import send_pending
from mwaconvert.jobs.control.states import Sending, Switch
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.workflows.archives.mail import KIND, MailServer, Security, mail, mail_sender


class Box:
    """Keeps what comes; `refuse` answers instead of taking it."""

    def __init__(self) -> None:
        self.letters: list[tuple[list[str], str, str]] = []
        self.refuse = ""

    async def handle_DATA(self, _server: object, _session: object, envelope: Envelope) -> str:
        if self.refuse:
            return self.refuse
        assert isinstance(envelope.content, bytes)
        letter = message_from_bytes(envelope.content, policy=policy.default)
        self.letters.append((list(envelope.rcpt_tos), letter["Subject"], letter.get_content()))
        return "250 taken"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "jobs.db")
    opened.set_switch(Switch.LIVE, "ann", "tests")
    yield opened
    opened.close()


@pytest.fixture
def box() -> Box:
    return Box()


Serve = Callable[..., MailServer]


def knock(port: int, ca: Path) -> None:
    trusting = ssl.create_default_context(cafile=str(ca))
    with (
        socket.create_connection(("127.0.0.1", port), 30) as raw,
        trusting.wrap_socket(raw, server_hostname="127.0.0.1") as connection,
    ):
        connection.recv(1)


@pytest.fixture
def serve(box: Box, tmp_path: Path) -> Iterator[Serve]:
    """Start a mail server: after STARTTLS it wants a password, else it is TLS from the first byte, or plain."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    (tmp_path / "password").write_text("secret\n")
    running = []

    def check(
        _server: object, _session: object, _envelope: object, _mechanism: object, data: object
    ) -> AuthResult:
        return AuthResult(success=data.password == b"secret", handled=False)

    def start(security: Security) -> MailServer:
        more = {
            Security.STARTTLS: {
                "tls_context": context,
                "require_starttls": True,
                "auth_required": True,
                "authenticator": check,
            },
            Security.TLS: {"ssl_context": context},
            Security.NONE: {},
        }[security]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = Controller(box, "127.0.0.1", port, **more)
        if security is Security.TLS:  # its own trial of the port does not know the authority
            server._trigger_server = lambda: knock(port, tmp_path / "ca.pem")
        server.start()
        running.append(server)
        server_of = MailServer("127.0.0.1", port, security, "srdp@example.org", tmp_path / "ca.pem")
        if security is Security.STARTTLS:
            return replace(server_of, user="srdp", password_file=tmp_path / "password")
        return server_of

    yield start
    for server in running:
        server.stop()


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
