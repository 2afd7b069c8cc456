# cython: language_level=3
"""Numpy ufuncs that broadcast over whole columns."""
cimport cython


@cython.ufunc
cdef long long baseline_number(long long ant1, long long ant2, long long encoding) noexcept nogil:
    """BASELINE parameter of uvfits for antennas counted from 1.

    ``encoding`` is 256 (AIPS: 256*ant1 + ant2, up to 255 antennas) or 2048 (2048*ant1 + ant2 + 65536).
    """
    return encoding * ant1 + ant2 + (65536 if encoding == 2048 else 0)


@cython.ufunc
cdef double unix_to_mjd(double unix_s) noexcept nogil:
    """UTC as a Modified Julian Date (days) of a Unix time (seconds)."""
    return unix_s / 86400.0 + 40587.0
