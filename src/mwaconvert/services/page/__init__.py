"""The web page: jobs as people see them, rendered here, usable without scripts."""

from mwaconvert.services.page.routes import router

__all__ = ["router"]
