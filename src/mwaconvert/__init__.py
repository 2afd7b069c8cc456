"""Raw data of the Murchison Widefield Array to uvfits and CASA measurement sets, and spectra to bursts.

`open` and `convert` are where to start; `mwaconvert.transients` is for spectra, `mwaconvert.asvo` talks to a service
that speaks the protocol of the MWA ASVO.
"""

from typing import TYPE_CHECKING, Any

from mwaconvert.errors import Error, FormatError, InputError, MetadataError, ResourceError

if TYPE_CHECKING:
    from mwaconvert.api import convert, open
    from mwaconvert.conversion.options import Options
    from mwaconvert.conversion.plan import Plan
    from mwaconvert.conversion.report.report import Report
    from mwaconvert.observation.observation import Observation

try:
    from mwaconvert._version import __version__ as __version__  # the build writes it: tag and commit
except ModuleNotFoundError:  # a checkout that was not installed
    __version__ = "0+checkout"

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
_MODULES = {"asvo": "mwaconvert.clients.asvo", "transients": "mwaconvert.transients"}
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
        import importlib

        if name in _MODULES:
            return importlib.import_module(_MODULES[name])
        if name not in _LAZY:
            raise AttributeError(f"module 'mwaconvert' has no attribute {name!r}")
        return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES, "__version__"])
