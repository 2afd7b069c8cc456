"""A mail server in this process, with TLS and a password as wanted, that keeps what comes."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from email import message_from_bytes, policy
from pathlib import Path

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope

from mwaconvert.jobs.delivery.mail import MailServer, Security


class Box:
    """Keeps what comes; `refuse` answers instead of taking it."""

    def __init__(self) -> None:
        self.letters: list[tuple[list[str], str, str]] = []
        self.files: list[list[str]] = []  # of each letter, by name
        self.refuse = ""
        self.largest = 0  # bytes; 0: any

    async def handle_DATA(self, _server: object, _session: object, envelope: Envelope) -> str:
        if self.refuse:
            return self.refuse
        assert isinstance(envelope.content, bytes)
        if self.largest and len(envelope.content) > self.largest:
            return "552 too large"
        letter = message_from_bytes(envelope.content, policy=policy.default)
        self.letters.append(
            (list(envelope.rcpt_tos), letter["Subject"], letter.get_body(("plain",)).get_content())
        )
        self.files.append([str(part.get_filename()) for part in letter.iter_attachments()])
        return "250 taken"


Serve = Callable[..., MailServer]


def knock(port: int, ca: Path) -> None:
    trusting = ssl.create_default_context(cafile=str(ca))
    with (
        socket.create_connection(("127.0.0.1", port), 30) as raw,
        trusting.wrap_socket(raw, server_hostname="127.0.0.1") as connection,
    ):
        connection.recv(1)


@contextmanager
def mail_servers(box: Box, tmp_path: Path) -> Iterator[Serve]:
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

    try:
        yield start
    finally:
        for server in running:
            server.stop()
