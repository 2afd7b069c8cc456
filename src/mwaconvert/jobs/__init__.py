"""Durable work: a job is what somebody asked for and what became of it."""
