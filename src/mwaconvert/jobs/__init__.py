"""Jobs: what somebody asked for and what became of it."""
