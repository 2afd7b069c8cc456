"""Raw data with a known sky, noise, interference and gaps, through a model independent of the converter."""

from mwaconvert.simulate.missing import Present, parse_missing
from mwaconvert.simulate.prepare import BUILT_IN
from mwaconvert.simulate.run import Simulation, simulate
from mwaconvert.simulate.sky import Source, read_sky

__all__ = ["BUILT_IN", "Present", "Simulation", "Source", "parse_missing", "read_sky", "simulate"]
