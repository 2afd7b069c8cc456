"""Alembic's entry: takes the connection that `databases.migrate` hands over."""

from alembic import context

from mwaconvert.frb.catalogue import tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables.metadata,
    version_table=tables.VERSION_TABLE,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
