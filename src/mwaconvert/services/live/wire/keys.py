"""Who may speak: a key and a role for each peer."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mwaconvert.errors import FormatError
from mwaconvert.live.files import refuse_shared
from mwaconvert.live.settings import read_yaml
from mwaconvert.services.live.wire.messages import Role

_BYTES = 32


@dataclass(frozen=True)
class Peer:
    """A peer that is known by its key."""

    name: str
    key: bytes = field(repr=False)
    role: Role


def new_key() -> bytes:
    return secrets.token_bytes(_BYTES)


def read_peers(path: Path) -> dict[str, Peer]:
    """A file of keys (YAML): `name: {key: 64 hexadecimal digits, role: view | operate | arm | node}`.

    Raises
    ------
    InputError
        Others than its owner may read the file.
    FormatError
    """
    refuse_shared(path)
    found = read_yaml(path)
    if not isinstance(found, Mapping):
        raise FormatError(f"{path}: expected names with key and role", path=path)
    peers = {}
    for name, facts in found.items():
        try:
            key = bytes.fromhex(facts["key"])
            if len(key) < _BYTES or set(facts) != {"key", "role"}:
                raise ValueError
            peers[str(name)] = Peer(str(name), key, Role(facts["role"]))
        except (TypeError, KeyError, ValueError):
            roles = ", ".join(Role)
            raise FormatError(
                f"{path}: {name}: expected a key of {2 * _BYTES} hexadecimal digits and a role of {roles}",
                path=path,
            ) from None
    return peers


def proof(key: bytes, *parts: str) -> str:
    """That whoever sends it knows the key, for these parts alone."""
    return hmac.new(key, "\0".join(parts).encode(), hashlib.sha256).hexdigest()
