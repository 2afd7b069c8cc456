"""The database of a store: SQLite (WAL) in a file by default, PostgreSQL by URL, and its transactions.

Each write is repeatable: it names the state that it starts from, so a transaction whose answer was lost may be run
again. SQLite has one writer at a time (BEGIN IMMEDIATE). On PostgreSQL, a transaction locks the rows of the jobs
that it changes when it reads them, and takes the lock of all writers, an advisory one, at its end, when it writes
its events: so the order of events is that of commits, and a follower misses none. Where more than rows must stay as
they were read (duplicates, quotas), it takes that lock earlier (`_alone`); rows are locked before it, never after it.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from mwaconvert.databases import control_transactions, migrate
from mwaconvert.errors import InputError, ResourceError
from mwaconvert.jobs.control import migrations, schema

T = TypeVar("T")
_MIGRATIONS = Path(migrations.__file__).parent
_WRITER_LOCK, _MIGRATION_LOCK = 0x6D7761, 0x6D7762  # numbers of our own among PostgreSQL's advisory locks
_BUSY_S = 10
_LOCK = sa.select(sa.func.pg_advisory_xact_lock(_WRITER_LOCK))
_NEW_EVENTS = schema.events.insert()
# the lock is taken before the events get their numbers
_IN_TURN = (
    "WITH turn AS MATERIALIZED (SELECT {turn})"
    " INSERT INTO events (at, happening, job_id, owner, state, step, data)"
    " SELECT told.* FROM turn, json_to_recordset(:rows) AS told(at double precision, happening text,"
    " job_id integer, owner text, state text, step text, data json)"
)
_TURN = f"pg_advisory_xact_lock({_WRITER_LOCK})"
_EVENTS_IN_TURN = sa.text(_IN_TURN.format(turn=_TURN))
_EVENTS_LAZILY = sa.text(_IN_TURN.format(turn=f"{_TURN}, set_config('synchronous_commit', 'off', true)"))


def engine_of(url: str) -> sa.Engine:
    """An engine with the settings that jobs need: WAL, synchronous=normal and a busy timeout on SQLite."""
    if not url.startswith("sqlite"):
        return sa.create_engine(url, pool_size=10, max_overflow=20)
    engine = sa.create_engine(url, connect_args={"timeout": _BUSY_S}, pool_size=10, max_overflow=20)

    @sa.event.listens_for(engine, "connect")
    def settings(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine


def url_of(database: str | Path) -> str:
    """The URL of a store given as a path or as a URL already."""
    text = str(database)
    if "://" not in text:
        return f"sqlite:///{Path(text).resolve()}"
    if text.startswith(("postgresql://", "postgres://")):
        return "postgresql+psycopg://" + text.split("://", 1)[1]
    return text


class Database:
    """Transactions of a store; parameters as of `Store`."""

    def __init__(
        self, database: str | Path, *, now: Callable[[], float] = time.time, patience_s: float = 60.0
    ) -> None:
        self.url = url_of(database)
        self.now = now
        self.patience_s = patience_s
        if self.url.startswith("sqlite"):
            path = Path(sa.make_url(self.url).database or "")
            if not path.parent.is_dir():
                raise InputError(f"{path}: the folder of the store of jobs does not exist; make it first")
        self.engine = engine_of(self.url)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        control_transactions(self.engine)
        self._writer = threading.Lock()
        self._changed = threading.Condition()
        self._writes = 0
        self._bring_up_to_date()

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def _bring_up_to_date(self) -> None:
        if self._read(_version_of) != schema.VERSION:
            try:
                migrate(self.engine, _MIGRATIONS, _MIGRATION_LOCK, "the store of jobs")
            except sa.exc.OperationalError as error:
                raise ResourceError(
                    f"{self.engine.url}: the store of jobs cannot be made or brought up to date ({error.orig}); see "
                    "whether its disk is full, and whether you may write there"
                ) from error

    @contextmanager
    def _patient(self) -> Iterator[Callable[[sa.exc.DBAPIError], None]]:
        deadline = time.monotonic() + self.patience_s
        wait_s = 0.05

        def again_or_raise(error: sa.exc.DBAPIError) -> None:
            nonlocal wait_s
            if time.monotonic() > deadline:
                raise ResourceError(
                    f"the database of jobs did not answer for {self.patience_s:.0f} s ({error.orig}); "
                    "see whether it runs, its disk is full or another program holds it"
                ) from error
            time.sleep(wait_s)
            wait_s = min(1.0, wait_s * 2)

        yield again_or_raise

    def _transaction(self, work: Callable[[sa.Connection], T], write: bool, is_lazy: bool = False) -> T:
        with self._patient() as again_or_raise:
            while True:
                try:
                    # SQLite lets those who wait for its lock sleep for up to 0.1 s: our own threads queue here
                    with self._writer if write and self.is_sqlite else nullcontext():
                        result = self._try(work, write, is_lazy)
                    break
                except sa.exc.OperationalError as error:
                    again_or_raise(error)
        if write:
            with self._changed:
                self._writes += 1
                self._changed.notify_all()
        return result

    def _try(self, work: Callable[[sa.Connection], T], write: bool, is_lazy: bool) -> T:
        with self.engine.connect().execution_options(write=write) as connection, connection.begin():
            connection.info["events"] = []
            result = work(connection)
            if write:
                self._write_events(connection, connection.info["events"], is_lazy)
            return result

    def _write_events(self, c: sa.Connection, rows: list[dict[str, Any]], is_lazy: bool) -> None:
        """Write what a transaction tells, at its end: on PostgreSQL one statement that waits for its turn as well."""
        if rows and self.is_sqlite:
            c.execute(_NEW_EVENTS, rows)
        elif rows:
            c.execute(_EVENTS_LAZILY if is_lazy else _EVENTS_IN_TURN, {"rows": json.dumps(rows)})

    def _alone(self, c: sa.Connection) -> None:
        """From here to the end of a transaction no other one that calls this writes."""
        if not self.is_sqlite:
            c.execute(_LOCK)

    def _read(self, work: Callable[[sa.Connection], T]) -> T:
        return self._transaction(work, write=False)

    def _write(self, work: Callable[[sa.Connection], T]) -> T:
        return self._transaction(work, write=True)

    def _write_lazily(self, work: Callable[[sa.Connection], T]) -> T:
        """Write what may be lost if PostgreSQL loses its power at once: beginnings, not ends.

        The worker that lives on is refused when it writes the end, and gives the job back. What SQLite may
        lose with the power of the machine is the same, and there no worker lives on.
        """
        return self._transaction(work, write=True, is_lazy=True)

    def wait_for_change(self, timeout_s: float) -> None:
        """Return when this process wrote something, or after `timeout_s`: other processes must be polled."""
        with self._changed:
            before = self._writes
            self._changed.wait_for(lambda: self._writes != before, timeout_s)


def _version_of(c: sa.Connection) -> str | None:
    if not sa.inspect(c).has_table("alembic_version"):
        return None
    return c.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
