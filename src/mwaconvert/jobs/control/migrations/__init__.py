"""Alembic migrations of the store; `upkeep.migrate` runs them."""
