"""The database of the catalogue, and the few statements that all of it is made of.

Writers take the lock before they read: the control plane may keep its jobs in the same file, and SQLite refuses
a transaction that read before another wrote.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

from mwaconvert.archive.catalog.schema import metadata
from mwaconvert.errors import InputError
from mwaconvert.extras import need

_BUSY_S = 30


class Database:
    """A database with the tables of the catalogue, made if they are not there.

    Parameters
    ----------
    url : of SQLAlchemy, as ``sqlite:///archive.db``; it may hold a password and is never shown
    """

    def __init__(self, url: str) -> None:
        self._sql: Any = need("sqlalchemy", "archive", "the catalogue")
        from mwaconvert.databases import control_transactions

        self._t: Mapping[str, Any] = metadata().tables
        sqlite = url.startswith("sqlite")
        more = {"connect_args": {"timeout": _BUSY_S}} if sqlite else {}
        try:
            self._engine = self._sql.create_engine(url, **more)
            control_transactions(self._engine)
            if sqlite:
                self._sql.event.listen(self._engine, "connect", _keep_foreign_keys)
            self._is_sqlite = sqlite
            with self._writing() as connection:
                metadata().create_all(connection)
        except self._sql.exc.SQLAlchemyError as error:
            raise InputError(f"the catalogue cannot be opened: {type(error).__name__}") from None

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _writing(self) -> Iterator[Any]:
        with self._engine.connect().execution_options(write=True) as connection, connection.begin():
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[Any]:
        with self._engine.connect() as connection:
            yield connection

    def _rows(self, connection: Any, table: str, order: str = "", **equal: str) -> list[Any]:
        source = self._t[table]
        query = self._sql.select(source).where(*(source.c[name] == value for name, value in equal.items()))
        if order:  # unknown values last, on both engines
            keys = [source.c[order].is_(None), source.c[order], *source.primary_key.columns]
            query = query.order_by(*keys)
        return list(connection.execute(query).mappings())

    def _delete(self, connection: Any, table: str, **equal: str) -> None:
        source = self._t[table]
        connection.execute(source.delete().where(*(source.c[name] == value for name, value in equal.items())))

    def _insert(self, connection: Any, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert many rows, each with the same columns: by the driver, as SQLAlchemy takes longer than the database."""
        if not rows:
            return
        source = self._t[table]
        names = list(rows[0])
        columns = ", ".join(names)
        values = [tuple(row[name] for name in names) for row in rows]
        for n in (n for n, name in enumerate(names) if isinstance(source.c[name].type, self._sql.JSON)):
            values = [(*row[:n], json.dumps(row[n]), *row[n + 1 :]) for row in values]
        if self._is_sqlite:
            marks = ", ".join("?" * len(names))
            connection.exec_driver_sql(f"INSERT INTO {table} ({columns}) VALUES ({marks})", values)
            return
        with (
            connection.connection.cursor() as cursor,
            cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy,
        ):
            for row in values:
                copy.write_row(row)

    @property
    def _clashes(self) -> tuple[type[Exception], ...]:
        """What is raised for rows that the tables do not allow, by way of SQLAlchemy or from the driver."""
        return self._sql.exc.IntegrityError, self._engine.dialect.dbapi.IntegrityError

    def _put(self, connection: Any, table: str, row: dict[str, Any]) -> None:
        """Insert a row, or change the one of its key."""
        source = self._t[table]
        keys = [column.name for column in source.primary_key.columns]
        same = [source.c[key] == row[key] for key in keys]
        others = {name: value for name, value in row.items() if name not in keys}
        done = connection.execute(source.update().where(*same).values(others)) if others else None
        if done is None or done.rowcount == 0:
            connection.execute(source.insert(), row)


def _keep_foreign_keys(connection: Any, _record: object) -> None:
    """SQLite keeps none unless told, for each connection."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()
