"""The catalogue of CHIME/FRB: events and what was measured of them, sources, candidates, what people call them."""
