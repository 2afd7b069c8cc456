"""The faces of the MWA ASVO: what its released clients speak (v1), and its JSON of today (v2)."""
