"""Quality assurance: notes and decisions, ingest and its proof, retention."""
