"""Dispersed pulses in filterbanks: dedisperse, search, average."""

from mwaconvert.transients.reader import open
from mwaconvert.transients.spectra import Spectra

__all__ = ["Spectra", "open"]
