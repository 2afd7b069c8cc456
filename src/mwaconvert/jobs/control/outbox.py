"""What leaves the house: mail, alerts, packets. Once each, with a switch, limits, and closed when in doubt.

A message whose sender died while sending is not sent again by itself, as nobody knows whether it went out: it
waits for a person. Nothing goes out unless the switch stands on LIVE, the kind has a sender, and its rate
has room.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from mwaconvert.errors import Error
from mwaconvert.jobs.control.states import Sending, Switch
from mwaconvert.jobs.control.store import Store
from mwaconvert.jobs.control.work import Message

_log = logging.getLogger(__name__)


class RefusedError(Error):
    """The other side has refused a message, or was never reached: it certainly did not go out."""


@dataclass(frozen=True)
class Sender:
    """How one kind of message goes out.

    Attributes
    ----------
    send
        Sends a message and returns the answer of the other side. It raises RefusedError if the message
        certainly did not go out; after any other error it may have.
    most, period_s
        At most so many messages in so many seconds.
    oldest_s
        A message older than this is refused: an alert that is late is worse than none. None: never late.
    """

    send: Callable[[Message], str]
    most: int
    period_s: float
    oldest_s: float | None = None


def send_pending(
    store: Store,
    senders: Mapping[str, Sender],
    sender_id: str,
    kinds: Collection[str] | None = None,
) -> list[Message]:
    """Send what waits in the outbox, as far as the switch and the rates allow.

    Parameters
    ----------
    sender_id
        The id of the worker; what it was sending when it died becomes `unknown` when the worker is replaced.
    kinds
        Only messages of these kinds; others wait for whoever sends them. By default all.

    Returns
    -------
    list of Message
        The messages that were taken up, as they are now. Those above a rate stay pending.
    """
    return [
        store.message(message.key)
        for message in store.messages(Sending.PENDING, limit=1000)
        if (kinds is None or message.kind in kinds) and _take_up(store, senders, message, sender_id)
    ]


def _take_up(store: Store, senders: Mapping[str, Sender], message: Message, sender_id: str) -> bool:
    sender = senders.get(message.kind)
    is_live = store.switch() is Switch.LIVE
    if sender is None or not is_live:
        taken = store.claim_message(message.key, sender_id)
    else:
        taken = store.claim_message(message.key, sender_id, sender.most, sender.period_s)
    if taken is None:
        return False
    age_s = store.now() - message.created
    if sender is None:
        store.settle_message(
            message.key, Sending.FAILED, f"nobody here sends messages of kind {message.kind!r}"
        )
    elif not is_live:
        store.settle_message(message.key, Sending.TESTED, Sending.TESTED.words)
    elif sender.oldest_s is not None and age_s > sender.oldest_s:
        late = f"{age_s:.0f} s old, more than {sender.oldest_s:g} s"
        store.settle_message(message.key, Sending.FAILED, late)
    else:
        store.settle_message(message.key, *_send(sender, taken))
    return True


def _send(sender: Sender, message: Message) -> tuple[Sending, str]:
    try:
        return Sending.SENT, sender.send(message)
    except RefusedError as error:
        return Sending.FAILED, str(error)
    except Exception as error:
        # it broke off somewhere: the message may be out
        _log.exception("message %s", message.key)
        return Sending.UNKNOWN, f"{type(error).__name__}: {error}"
