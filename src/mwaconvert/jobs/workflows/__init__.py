"""Kinds of jobs: each a tuple of steps."""
