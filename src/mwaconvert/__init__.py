"""Convert raw Murchison Widefield Array data to uvfits and CASA measurement sets."""

from typing import TYPE_CHECKING, Any

from mwaconvert.errors import Error, FormatError, InputError, MetadataError, ResourceError

if TYPE_CHECKING:
    from mwaconvert.api import convert, open
    from mwaconvert.conversion.options import Options
    from mwaconvert.conversion.plan import Plan
    from mwaconvert.conversion.report.report import Report
    from mwaconvert.observation.observation import Observation

__version__ = "0.1.0"

__all__ = [
    "Error",
    "FormatError",
    "InputError",
    "MetadataError",
    "Observation",
    "Options",
    "Plan",
    "Report",
    "ResourceError",
    "convert",
    "open",
]

# Loaded at first use: `mwaconvert --help` must not wait for numpy and astropy.
_LAZY = {
    "convert": "mwaconvert.api",
    "open": "mwaconvert.api",
    "Options": "mwaconvert.conversion.options",
    "Plan": "mwaconvert.conversion.plan",
    "Report": "mwaconvert.conversion.report.report",
    "Observation": "mwaconvert.observation.observation",
}


if not TYPE_CHECKING:  # a type checker would take it for the type of every submodule

    def __getattr__(name: str) -> Any:
        if name not in _LAZY:
            raise AttributeError(f"module 'mwaconvert' has no attribute {name!r}")
        import importlib

        return getattr(importlib.import_module(_LAZY[name]), name)
