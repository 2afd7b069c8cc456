"""The outbox, and the switches that it obeys."""

from __future__ import annotations

import sqlalchemy as sa

from mwaconvert.errors import InputError
from mwaconvert.jobs.control.schema import outbox, switches
from mwaconvert.jobs.control.states import Happening, Sending, Switch
from mwaconvert.jobs.control.store.journal import Journal, job_row_or_none
from mwaconvert.jobs.control.store.rows import all_rows, first_row, message_of, one_row
from mwaconvert.jobs.control.work import Json, Message, UnknownError


class Messages(Journal):
    """Messages that leave the house."""

    def enqueue_message(self, key: str, kind: str, payload: Json, job_id: int | None = None) -> bool:
        """Put a message into the outbox; False if one of that key is there."""
        return self._write(lambda c: self._enqueue(c, key, kind, payload, job_id))

    def message(self, key: str) -> Message:
        """One message."""
        query = sa.select(outbox).where(outbox.c.key == key)
        row = self._read(lambda c: first_row(c, query))
        if row is None:
            raise UnknownError(f"no message {key!r} in the outbox")
        return message_of(row)

    def messages(self, state: Sending | None = None, limit: int = 100) -> list[Message]:
        """Messages, oldest first."""
        query = sa.select(outbox).order_by(outbox.c.created, outbox.c.key).limit(limit)
        if state is not None:
            query = query.where(outbox.c.state == state.value)
        return [message_of(row) for row in self._read(lambda c: all_rows(c, query))]

    def claim_message(
        self, key: str, sender: str, most: int | None = None, period_s: float = 0.0
    ) -> Message | None:
        """Take a pending message for sending; None if another has it, or the rate has no room.

        Parameters
        ----------
        most, period_s
            At most so many messages of this kind in so many seconds; those that may be out count.
        """

        def work(c: sa.Connection) -> Message | None:
            self._alone(c)
            found = first_row(c, sa.select(outbox).where(outbox.c.key == key))
            if found is None or found["state"] != Sending.PENDING.value:
                return None
            recent = sa.or_(outbox.c.sent >= self.now() - period_s, outbox.c.state == Sending.SENDING.value)
            count = sa.select(sa.func.count()).where(outbox.c.kind == found["kind"], recent)
            if most is not None and (c.execute(count).scalar() or 0) >= most:
                return None
            values = {"state": Sending.SENDING.value, "sender": sender, "tries": found["tries"] + 1}
            c.execute(outbox.update().where(outbox.c.key == key).values(values))
            return message_of({**found, **values})

        return self._write(work)

    def settle_message(self, key: str, state: Sending, answer: str) -> None:
        """What became of a message that was taken for sending."""

        def work(c: sa.Connection) -> None:
            taken = sa.and_(outbox.c.key == key, outbox.c.state == Sending.SENDING.value)
            sent = self.now() if state in (Sending.SENT, Sending.UNKNOWN) else None
            values = {"state": state.value, "answer": answer, "sent": sent}
            if c.execute(outbox.update().where(taken).values(values)).rowcount:
                found = one_row(c, sa.select(outbox).where(outbox.c.key == key))
                job = job_row_or_none(c, found["job_id"])
                self._event(
                    c, Happening.SENT, job, key=key, kind=found["kind"], state=state.value, answer=answer
                )

        self._write(work)

    def abandon_messages(self, sender: str) -> int:
        """Messages that a dead sender was sending: nobody knows whether they went out, so a person must look."""
        theirs = sa.and_(outbox.c.state == Sending.SENDING.value, outbox.c.sender == sender)
        lost = outbox.update().where(theirs).values(state=Sending.UNKNOWN.value, answer=Sending.UNKNOWN.words)
        return self._write(lambda c: c.execute(lost).rowcount)

    def resend(self, key: str, by: str) -> None:
        """A person lets a message that was not sent be tried again."""

        def work(c: sa.Connection) -> None:
            states = [state.value for state in (Sending.FAILED, Sending.UNKNOWN, Sending.TESTED)]
            stuck = sa.and_(outbox.c.key == key, outbox.c.state.in_(states))
            if c.execute(outbox.update().where(stuck).values(state=Sending.PENDING.value)).rowcount == 0:
                raise InputError(f"message {key!r} is not there, or waits or was sent already")
            self._event(c, Happening.SENT, None, key=key, state=Sending.PENDING.value, by=by)

        self._write(work)

    def switch(self, name: str = "outbox") -> Switch:
        """Where a switch stands: TEST unless somebody has set it LIVE, and its time is not over."""
        query = sa.select(switches).where(switches.c.name == name)
        row = self._read(lambda c: first_row(c, query))
        if row is None or (row["until"] is not None and self.now() > row["until"]):
            return Switch.TEST
        return Switch(row["value"])

    def set_switch(
        self, value: Switch, by: str, why: str, *, until: float | None = None, name: str = "outbox"
    ) -> None:
        """Set a switch, for good or until a time; the event keeps who and why."""

        def work(c: sa.Connection) -> None:
            self._alone(c)
            c.execute(switches.delete().where(switches.c.name == name))
            c.execute(switches.insert().values(name=name, value=value.value, until=until))
            self._event(
                c, Happening.SWITCHED, None, switch=name, value=value.value, by=by, why=why, until=until
            )

        self._write(work)
