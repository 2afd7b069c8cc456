"""Times of archive documents: always UTC, never naive."""

from __future__ import annotations

from datetime import UTC, datetime

from mwaconvert.errors import InputError


def parse_utc(text: str) -> datetime:
    """Read an ISO time; without a zone it is UTC, as archive documents mean it.

    Raises
    ------
    InputError
        Text that is no ISO date or time.

    Examples
    --------
    >>> parse_utc("2018-06-01T00:00:00+02:00").isoformat()
    '2018-05-31T22:00:00+00:00'
    """
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InputError(f"'{text}' is not a time; expected ISO form, as in 2018-06-01T12:00:00") from None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def read_utc(text: str | None) -> datetime | None:
    """The time in a field that people and programs fill freely, or None for anything that is not a time.

    The end of a session is an English sentence until the session is closed, and stays one after a crash.
    """
    try:
        return None if text is None else parse_utc(text)
    except InputError:
        return None


def utc(time: datetime) -> datetime:
    """`time` in UTC; `InputError` for a naive time, whose zone nobody knows."""
    if time.tzinfo is None:
        raise InputError(f"{time.isoformat()} has no time zone; give it one, UTC is meant in archives")
    return time if time.tzinfo is UTC else time.astimezone(UTC)
