"""Candidates without AMBER: filterbank data searched while they come."""
