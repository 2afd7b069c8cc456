"""Dispersed pulses in filterbanks: dedisperse, search, average."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mwaconvert.formats.spectra.reader import open, open_stream
    from mwaconvert.spectra.candidate import Candidate
    from mwaconvert.spectra.spectra import Spectra
    from mwaconvert.spectra.stream import Stream

__all__ = ["Candidate", "Spectra", "Stream", "open", "open_stream"]

_FROM = {
    "Candidate": "mwaconvert.spectra.candidate",
    "Spectra": "mwaconvert.spectra.spectra",
    "Stream": "mwaconvert.spectra.stream",
    "open": "mwaconvert.formats.spectra.reader",
    "open_stream": "mwaconvert.formats.spectra.reader",
}


def __getattr__(name: str) -> Any:
    """Public names are loaded when they are used: a request is made without numpy."""
    if name not in _FROM:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from importlib import import_module

    return getattr(import_module(_FROM[name]), name)


def __dir__() -> list[str]:
    return __all__
