"""Mail over SMTP with TLS: how the outbox sends it, and others that keep an account of their own."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from enum import Enum
from pathlib import Path

from mwaconvert.jobs.control.outbox import RefusedError, Sender
from mwaconvert.jobs.control.work import Context, Json

#: the kind of these messages in the outbox
KIND = "mail"
_TIMEOUT_S = 60.0
_MOST, _PERIOD_S = 200, 3600.0


class Security(Enum):
    """How a connection to a mail server is kept from others."""

    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"

    @property
    def port(self) -> int:
        """The usual port."""
        return {Security.STARTTLS: 587, Security.TLS: 465, Security.NONE: 25}[self]


@dataclass(frozen=True)
class MailServer:
    """A server that takes mail.

    Attributes
    ----------
    sender : address that mail is from
    ca : certificates that its own must come from; the system's by default
    password_file : holds the password of `user` and nothing else
    """

    host: str
    port: int
    security: Security
    sender: str
    ca: Path | None = None
    user: str | None = None
    password_file: Path | None = None


def mail_sender(server: MailServer) -> Sender:
    """How the outbox sends mail over a server.

    Only an answer that the server has refused, or a connection that never came about, is a refusal: after any other
    error the mail may be out, and a person looks.
    """
    return Sender(lambda message: send_mail(server, message.key, message.payload), _MOST, _PERIOD_S)


def tell(context: Context, to: Sequence[str], subject: str, text: str, key: str) -> None:
    """Put a mail into the outbox with the end of a step: one for each job, key and recipient."""
    for address in to:
        context.send(KIND, mail(address, subject, text), f"{key}/{address}")


def mail(to: str, subject: str, text: str) -> Json:
    """What the outbox keeps of a mail; a subject is one line."""
    return {"to": to, "subject": " ".join(subject.split()), "text": text}


def send_mail(server: MailServer, key: str, payload: Mapping[str, object]) -> str:
    """Send one mail, and give the answer of the server.

    Parameters
    ----------
    key : the same for each try of the same mail
    payload : of `mail`; with `html`, the same in that form goes along

    Raises
    ------
    RefusedError
        The mail certainly did not go out; after any other error it may have.
    """
    letter = _letter(server, key, payload)
    try:
        connection = _connect(server)
    except (OSError, smtplib.SMTPException) as error:
        raise RefusedError(f"{server.host}:{server.port}: {_words(error)}") from error
    with connection:
        try:
            refused = connection.send_message(letter)
        except (smtplib.SMTPRecipientsRefused, smtplib.SMTPSenderRefused) as error:
            raise RefusedError(f"{server.host}: {_words(error)}") from error
        except smtplib.SMTPDataError as error:
            raise RefusedError(f"{server.host}: {_words(error)}") from error
    return f"taken by {server.host}" if not refused else f"refused for {', '.join(refused)}"


def _connect(server: MailServer) -> smtplib.SMTP:
    context = ssl.create_default_context(cafile=None if server.ca is None else str(server.ca))
    connection: smtplib.SMTP
    if server.security is Security.TLS:
        connection = smtplib.SMTP_SSL(server.host, server.port, timeout=_TIMEOUT_S, context=context)
    else:
        connection = smtplib.SMTP(server.host, server.port, timeout=_TIMEOUT_S)
    try:
        if server.security is Security.STARTTLS:
            connection.starttls(context=context)
        if server.user is not None and server.password_file is not None:
            connection.login(server.user, server.password_file.read_text().strip())
    except BaseException:
        connection.close()
        raise
    return connection


def _letter(server: MailServer, key: str, payload: Mapping[str, object]) -> EmailMessage:
    letter = EmailMessage()
    letter["From"] = server.sender
    letter["To"] = str(payload["to"])
    letter["Subject"] = str(payload["subject"])
    # the same for each try, so that readers drop one that a person let go out again
    name = "".join(c if c.isalnum() else "." for c in key)
    letter["Message-ID"] = f"<{name}@{server.sender.rpartition('@')[2] or 'mwaconvert'}>"
    letter.set_content(str(payload["text"]))
    if "html" in payload:
        letter.add_alternative(str(payload["html"]), subtype="html")
    return letter


def _words(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
