"""The catalogue: member sets, deliveries, runs, decisions and ingests in one database."""

from mwaconvert.archive.catalog.catalog import Catalog, Run, RunState
from mwaconvert.archive.catalog.rows import Look

__all__ = ["Catalog", "Look", "Run", "RunState"]
