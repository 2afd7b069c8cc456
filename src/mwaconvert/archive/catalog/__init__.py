"""The catalogue: member sets, deliveries, runs, decisions and ingests in one database."""

from mwaconvert.archive.catalog.catalog import Catalog
from mwaconvert.archive.catalog.rows import Look
from mwaconvert.archive.catalog.runs import Run, RunState
from mwaconvert.archive.catalog.trail import Action, AuditEntry

__all__ = ["Action", "AuditEntry", "Catalog", "Look", "Run", "RunState"]
