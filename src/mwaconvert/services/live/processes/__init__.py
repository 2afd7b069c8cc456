"""The services themselves, each a process of a node."""
