"""How long a job takes, about: by what it reads and writes. On the safe side; machines differ by a factor of a few.

The numbers are of `README.md` (one core of a machine of 2023) and of an ordinary disk.
"""

from __future__ import annotations

#: the program, the picture of the quality and the package, however small
_START_S = 5.0
_DISK_BYTES_S = 300e6
#: raw visibilities are complex numbers of two floats
_AMPLITUDE_BYTES = 8
_CONVERTING_S, _DETECTING_S = 2e-9, 6e-9
#: an output is written, opened and put into a package
_PASSES_OF_OUTPUT = 3


def conversion_s(raw_bytes: int, output_bytes: int, *, detects_rfi: bool, threads: int) -> float:
    """Seconds of a conversion, from its staged raw data to its package.

    Parameters
    ----------
    detects_rfi
        The detection reads the raw data once more.
    threads
        Cores that it has.
    """
    amplitudes = raw_bytes / _AMPLITUDE_BYTES
    computing_s = amplitudes * (_CONVERTING_S + detects_rfi * _DETECTING_S) / max(1, threads)
    moved_bytes = (1 + detects_rfi) * raw_bytes + _PASSES_OF_OUTPUT * output_bytes
    return _START_S + computing_s + copy_s(moved_bytes)


def copy_s(n_bytes: float) -> float:
    """Seconds to read or write something."""
    return n_bytes / _DISK_BYTES_S
