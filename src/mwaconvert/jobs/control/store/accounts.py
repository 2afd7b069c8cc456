"""Users and their keys."""

from __future__ import annotations

import hashlib
import hmac
import secrets

import sqlalchemy as sa

from mwaconvert.jobs.control.schema import users
from mwaconvert.jobs.control.states import Happening, Role
from mwaconvert.jobs.control.store.journal import Journal
from mwaconvert.jobs.control.store.rows import all_rows, first_row, user_of
from mwaconvert.jobs.control.work import NO_QUOTAS, Json, Quotas, UnknownError, User


class Accounts(Journal):
    """Users of the faces."""

    def add_user(
        self,
        name: str,
        role: Role,
        quotas: Quotas = NO_QUOTAS,
        details: Json | None = None,
        secret: str | None = None,
    ) -> str:
        """Add a user, or give one a new key; returns the key, which is stored nowhere.

        Parameters
        ----------
        secret
            A password chosen by somebody, checked together with the name; by default a key is made that
            needs no name.
        """
        key_id = secrets.token_hex(6)
        key = secret if secret is not None else f"{key_id}.{secrets.token_urlsafe(24)}"
        salt = secrets.token_hex(16)
        row = {
            "name": name,
            "key_id": key_id,
            "salt": salt,
            "hash": _hash(key, salt),
            "role": role.value,
            "quota_running": quotas.running,
            "quota_queued": quotas.queued,
            "quota_disk": quotas.disk,
            "created": self.now(),
            "details": dict(details or {}),
        }

        def work(c: sa.Connection) -> str:
            self._alone(c)
            c.execute(users.delete().where(users.c.name == name))
            c.execute(users.insert().values(row))
            self._event(c, Happening.USER_CHANGED, None, user=name, role=role.value)
            return key

        return self._write(work)

    def revoke_user(self, name: str) -> None:
        """The key of a user opens nothing any more."""

        def work(c: sa.Connection) -> None:
            mine = sa.and_(users.c.name == name, users.c.revoked.is_(None))
            if c.execute(users.update().where(mine).values(revoked=self.now())).rowcount == 0:
                raise UnknownError(f"no user {name!r} with a key that is valid")
            self._event(c, Happening.USER_CHANGED, None, user=name, revoked=True)

        self._write(work)

    def users(self) -> list[User]:
        """All users, also those whose key is revoked."""
        query = sa.select(users).order_by(users.c.name)
        return [user_of(row) for row in self._read(lambda c: all_rows(c, query))]

    def user(self, name: str) -> User | None:
        """The user of a name whose key is valid, None if there is none."""
        query = sa.select(users).where(users.c.name == name, users.c.revoked.is_(None))
        row = self._read(lambda c: first_row(c, query))
        return None if row is None else user_of(row)

    def authenticate(self, key: str, name: str | None = None) -> User | None:
        """The user of a key (or of a name and its password); None if the key is wrong or revoked."""
        known = users.c.key_id == key.partition(".")[0] if name is None else users.c.name == name
        row = self._read(lambda c: first_row(c, sa.select(users).where(known)))
        # an unknown name takes as long as a wrong key
        found = _hash(key, row["salt"] if row is not None else "00")
        if row is None or not hmac.compare_digest(found, row["hash"]) or row["revoked"] is not None:
            return None
        return user_of(row)


def _hash(key: str, salt: str) -> str:
    return hashlib.scrypt(key.encode(), salt=bytes.fromhex(salt), n=2**14, r=8, p=1).hex()
