"""Stores of older versions become new ones."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from mwaconvert.errors import FormatError
from mwaconvert.jobs.control import migrations

_MIGRATION_LOCK = 0x6D7762


def migrate(engine: sa.Engine) -> None:
    """Bring a store to the newest schema, or make it. Several processes may call it at once."""
    import alembic.command
    import alembic.util
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    with engine.connect().execution_options(write=True) as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
        config.attributes["connection"] = connection
        try:
            alembic.command.upgrade(config, "head")
        except alembic.util.CommandError as error:
            raise FormatError(
                f"{engine.url}: the store of jobs was written by a newer version of this program ({error}); update it"
            ) from error
