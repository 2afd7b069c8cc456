"""Verbs of jobs, and of the service that carries them out."""
