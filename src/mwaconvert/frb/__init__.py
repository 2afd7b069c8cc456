"""CHIME/FRB: the archive of its events, their intensities and voltages, waterfalls and figures."""
