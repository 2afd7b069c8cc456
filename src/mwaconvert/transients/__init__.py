"""Dispersed pulses in filterbanks: dedisperse, search, average."""

from mwaconvert.formats.spectra.reader import open, open_stream
from mwaconvert.spectra.spectra import Spectra
from mwaconvert.spectra.stream import Stream

__all__ = ["Spectra", "Stream", "open", "open_stream"]
