"""Restores and science-ready products as jobs: stores of archives, sites, steps, mail."""
