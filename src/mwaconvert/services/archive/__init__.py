"""The archive's face: unit sets, runs and quality assurance, as pages and as JSON."""

from mwaconvert.services.archive.routes import router

__all__ = ["router"]
