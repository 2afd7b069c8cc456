"""Cleaning of spectra before they are searched."""
