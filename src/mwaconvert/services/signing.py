"""Secrets of a service, and links that end: whoever has one may fetch one file until its time is over."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path

from mwaconvert.errors import InputError

_BYTES = 32


def service_secret(path: Path) -> bytes:
    """The secret of a service, made at its first start; only its user can read it.

    Raises
    ------
    InputError : others can read it, or it was cut
    """
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        return _read_secret(path)
    with os.fdopen(fd, "wb") as file:
        secret = secrets.token_bytes(_BYTES)
        file.write(secret)
        file.flush()
        os.fsync(fd)
    return secret


def _read_secret(path: Path) -> bytes:
    # another service may be writing it just now
    for _ in range(50):
        if path.stat().st_size == _BYTES:
            break
        time.sleep(0.1)
    secret = path.read_bytes()
    if path.stat().st_mode & 0o077:
        raise InputError(f"{path}: other users can read the secret of the service; chmod 600, or remove it")
    if len(secret) != _BYTES:
        raise InputError(
            f"{path}: {len(secret)} bytes where {_BYTES} are expected; remove it, and all log in anew"
        )
    return secret


def key_for(secret: bytes, purpose: str) -> bytes:
    """A key of its own for each purpose, so that what is signed for one is worth nothing for another."""
    return hmac.digest(secret, purpose.encode(), "sha256")


class Verdict(Enum):
    """What a signature is worth."""

    GOOD = "good"
    WRONG = "wrong"
    OVER = "over"


class Links:
    """Signs and checks links.

    Examples
    --------
    >>> links = Links(b"secret", now=lambda: 1000.0)
    >>> link = links.query(7, "1110103576_77_ms.tar", 2000)
    >>> links.check(7, "1110103576_77_ms.tar", **link)
    <Verdict.GOOD: 'good'>
    >>> links.check(8, "1110103576_77_ms.tar", **link)
    <Verdict.WRONG: 'wrong'>
    """

    def __init__(self, secret: bytes, now: Callable[[], float] = time.time) -> None:
        self._key = key_for(secret, "links")
        self._now = now

    def query(self, product_id: int, name: str, expires: int) -> dict[str, str]:
        """What a link says behind its question mark."""
        return {"expires": str(expires), "signature": self._sign(product_id, name, str(expires))}

    def check(self, product_id: int, name: str, expires: str, signature: str) -> Verdict:
        """Whether a link was signed here, and its time is not over."""
        expected = self._sign(product_id, name, expires)
        if not hmac.compare_digest(expected.encode(), signature.encode()):
            return Verdict.WRONG
        return Verdict.GOOD if self._now() < int(expires) else Verdict.OVER

    def _sign(self, product_id: int, name: str, expires: str) -> str:
        # lengths are part of what is signed: no two triples give one text
        text = f"{product_id}\n{len(name)}\n{name}\n{expires}".encode("utf-8", "surrogatepass")
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()
