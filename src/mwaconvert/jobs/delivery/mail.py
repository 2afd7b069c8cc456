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
#: files of a mail, all together; servers take 10 to 35 MB, and base64 makes four bytes of three
_MOST_BYTES = 7_000_000
_TOO_LARGE = 552


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
    payload : of `mail`; with `html`, the same in that form goes along; with `files`, PDFs of these paths, as far as
        they can be read and are not too large: the mail names what is not with it

    Raises
    ------
    RefusedError
        The mail certainly did not go out; after any other error it may have.
    """
    files, without = _attached(payload)
    letter = _letter(server, key, payload, files, without)
    try:
        connection = _connect(server)
    except (OSError, smtplib.SMTPException) as error:
        raise RefusedError(f"{server.host}:{server.port}: {_words(error)}") from error
    with connection:
        try:
            try:
                refused = connection.send_message(letter)
            except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
                if error.smtp_code != _TOO_LARGE or not files:
                    raise
                names = [*without, *(f"{name}: too large for {server.host}" for name in files)]
                refused = connection.send_message(_letter(server, key, payload, {}, names))
        except (smtplib.SMTPRecipientsRefused, smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
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


def _attached(payload: Mapping[str, object]) -> tuple[dict[str, bytes], list[str]]:
    """Files by name, and which are left out, and why."""
    files: dict[str, bytes] = {}
    without = []
    paths = payload.get("files", ())
    assert isinstance(paths, Sequence)
    for path in map(Path, paths):
        try:
            room = _MOST_BYTES - sum(map(len, files.values()))
            if path.stat().st_size > room:
                without.append(f"{path}: too large for a mail")
            else:
                files[path.name] = path.read_bytes()
        except OSError as error:
            without.append(f"{path}: {error.strerror}")
    return files, without


def _letter(
    server: MailServer,
    key: str,
    payload: Mapping[str, object],
    files: Mapping[str, bytes],
    without: Sequence[str],
) -> EmailMessage:
    letter = EmailMessage()
    letter["From"] = server.sender
    letter["To"] = str(payload["to"])
    letter["Subject"] = str(payload["subject"])
    # the same for each try, so that readers drop one that a person let go out again
    name = "".join(c if c.isalnum() else "." for c in key)
    letter["Message-ID"] = f"<{name}@{server.sender.rpartition('@')[2] or 'mwaconvert'}>"
    text = str(payload["text"])
    if without:
        text += "\nNot with this mail:\n" + "\n".join(without) + "\n"
    letter.set_content(text)
    if "html" in payload:
        letter.add_alternative(str(payload["html"]), subtype="html")
    for name, data in files.items():
        letter.add_attachment(data, maintype="application", subtype="pdf", filename=name)
    return letter


def _words(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
