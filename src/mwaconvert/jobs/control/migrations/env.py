"""Alembic's entry: takes the connection that `databases.migrate` hands over."""

from alembic import context

from mwaconvert.jobs.control import schema

context.configure(
    connection=context.config.attributes["connection"], target_metadata=schema.metadata, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()
