"""Convert raw Murchison Widefield Array data to uvfits and CASA measurement sets."""

__version__ = "0.1.0"
