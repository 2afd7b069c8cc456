"""Where an archive's tables are read from: metadata databases, TAP tables in files; what changed between two looks."""
