"""Mail of a service, each letter once: what waits, what is going out and what became of it are in a journal.

A letter that was certainly not taken is tried again. One that broke off in the middle, or whose service died, may be
out: it is not sent again, and the service says so.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mwaconvert.jobs.control.outbox import RefusedError
from mwaconvert.jobs.control.work import Json
from mwaconvert.jobs.delivery.mail import MailServer, Security, mail, send_mail
from mwaconvert.live.settings import Mail, expanded
from mwaconvert.services.live.processes.journal import Journal
from mwaconvert.services.live.processes.service import Service

_log = logging.getLogger(__name__)
#: after a refusal, s: doubled with each, up to the longest, until the letter is so old
_AGAIN_S, _LONGEST_S, _OLDEST_S = 30.0, 1800.0, 86400.0


@dataclass
class Letter:
    """What waits. `due_s`: not before, on the monotonic clock."""

    payload: Json
    put_s: float
    due_s: float = 0.0
    refused: int = 0


class PostBox:
    """Of one service, whose `trouble` says what mail does not go out."""

    def __init__(self, service: Service) -> None:
        self._service, self.trouble = service, service.trouble
        self.journal = Journal(service.site.folder("mail") / f"{service.name.value}.jsonl")
        self._lock = threading.Lock()  # letters come while others are being sent
        self.known: set[str] = set()
        self.waiting: dict[str, Letter] = {}
        self._task: asyncio.Task[None] | None = None
        begun: set[str] = set()
        for entry in self.journal.entries():
            id = entry["id"]
            self.known.add(id)
            if "mail" in entry:
                self.waiting[id] = Letter(entry["mail"], entry["at_s"])
            elif "sending" in entry:
                begun.add(id)
            else:
                begun.discard(id)
                if "outcome" in entry:
                    self.waiting.pop(id, None)
        for id in begun:
            self._settle(id, "unknown: it may have been sent when the service ended; not sent again")

    @property
    def settings(self) -> Mail:
        return self._service.site.settings.mail

    def _note(self, id: str, **facts: Any) -> None:
        with self._lock:
            self.journal.append({"id": id, "at_s": time.time(), **facts})

    def put(self, key: str, subject: str, text: str, html: str = "", files: Sequence[Path] = ()) -> None:
        """A letter for each address, once a key. `files`: PDFs that go along."""
        if not self.settings.host:
            return
        for address in self.settings.to:
            id = f"{key}/{address}"
            if id not in self.known:
                payload = {**mail(address, subject, text), **({"html": html} if html else {})}
                if files:
                    payload["files"] = [str(path) for path in files]
                self.known.add(id)
                self.waiting[id] = Letter(payload, time.time())
                try:
                    self._note(id, mail=payload)
                except OSError as error:  # then it waits in memory alone
                    self.trouble["mail"] = f"{self.journal.path}: {error.strerror}"

    def send_in_background(self) -> None:
        """Send what is due, beside all else."""
        if self.settings.host and (self._task is None or self._task.done()):
            now = time.monotonic()
            due = [id for id, letter in self.waiting.items() if letter.due_s <= now]
            if due:
                self._task = asyncio.create_task(asyncio.to_thread(self.send, due))

    def send(self, ids: list[str]) -> None:
        """Send these, one after the other; errors are in the journal and in `trouble`."""
        server = mail_server(self.settings)
        try:
            for id in ids:
                self._send(server, id, self.waiting[id])
        except OSError as error:  # nothing goes out that is not noted
            self.trouble["mail"] = f"{self.journal.path}: {error.strerror}"

    def _send(self, server: MailServer, id: str, letter: Letter) -> None:
        self._note(id, sending=server.host)
        try:
            outcome = f"sent: {send_mail(server, id, letter.payload)}"
        except RefusedError as error:
            self._put_off(id, letter, str(error))
        except Exception as error:  # it broke off somewhere
            _log.exception("mail %s", id)
            self._settle(id, f"unknown: {type(error).__name__}: {error}")
        else:
            self._settle(id, outcome)
            self.trouble.pop("mail", None)

    def _put_off(self, id: str, letter: Letter, why: str) -> None:
        self.trouble["mail"] = why
        if time.time() - letter.put_s > _OLDEST_S:
            self._settle(id, f"failed: {why}")
            return
        self._note(id, refused=why)
        letter.due_s = time.monotonic() + min(_LONGEST_S, _AGAIN_S * 2**letter.refused)
        letter.refused += 1

    def _settle(self, id: str, outcome: str) -> None:
        self._note(id, outcome=outcome)
        self.waiting.pop(id, None)
        if not outcome.startswith("sent"):
            self.trouble["mail"] = f"{id}: {outcome}"


def mail_server(settings: Mail) -> MailServer:
    """Of the settings."""
    security = Security(settings.security)
    return MailServer(
        host=settings.host,
        port=settings.port or security.port,
        security=security,
        sender=settings.sender,
        ca=Path(expanded(settings.ca)) if settings.ca else None,
        user=settings.user or None,
        password_file=Path(expanded(settings.password_file)) if settings.password_file else None,
    )
