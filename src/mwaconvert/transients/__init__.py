"""Dispersed pulses in filterbanks: dedisperse, search, average."""

from mwaconvert.transients.reader import open, open_stream
from mwaconvert.transients.spectra import Spectra
from mwaconvert.transients.stream import Stream

__all__ = ["Spectra", "Stream", "open", "open_stream"]
