"""Alembic migrations of the store; `databases.migrate` runs them."""
