"""Databases of what a service keeps: SQLite or PostgreSQL, by way of SQLAlchemy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from mwaconvert.errors import FormatError


def control_transactions(engine: sa.Engine) -> None:
    """Let us begin transactions on SQLite, not its driver: a writer must lock before it reads.

    Writers are connections with the execution option `write`. On other databases nothing changes.
    """
    if engine.dialect.name != "sqlite":
        return

    @sa.event.listens_for(engine, "connect")
    def no_implicit_begin(connection: Any, _record: Any) -> None:
        connection.isolation_level = None

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        is_write = connection.get_execution_options().get("write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")


def migrate(engine: sa.Engine, folder: Path, lock: int, what: str) -> None:
    """Bring a database to the newest schema, or make it. Several processes may call it at once.

    Parameters
    ----------
    folder : Alembic's migrations
    lock : a number of our own among PostgreSQL's advisory locks
    what : is kept there, for messages

    Raises
    ------
    FormatError : it is newer than this program
    """
    import alembic.command
    import alembic.util
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(folder))
    with engine.connect().execution_options(write=True) as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(lock)))
        config.attributes["connection"] = connection
        try:
            alembic.command.upgrade(config, "head")
        except alembic.util.CommandError as error:
            raise FormatError(
                f"{engine.url}: {what} was written by a newer version of this program ({error}); update it"
            ) from error
