"""Whether candidates are pulses: how they look, doubts, a score, cut-outs, and models of others."""
