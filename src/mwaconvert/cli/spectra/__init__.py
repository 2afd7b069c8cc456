"""Verbs on spectra."""
