"""What a file may promise: sizes are checked against it before memory is taken for them."""

from __future__ import annotations

from pathlib import Path

from mwaconvert import machine
from mwaconvert.errors import FormatError, ResourceError
from mwaconvert.text import size_text

#: data with noise in them pack less tightly than that; zeros do not
TIGHTEST = 200
#: what deflate reaches with zeros, which the flags of good data are
TIGHTEST_FLAGS = 1100
#: small things may be anything
_SMALL_BYTES = 64 << 20


def check_promise(
    path: Path,
    what: str,
    n_bytes: int,
    held_bytes: int,
    *,
    at_once: bool = True,
    tightest: int = TIGHTEST,
) -> None:
    """Refuse what would unpack to more than a file can hold, or than the memory of this machine.

    Parameters
    ----------
    what : is unpacked
    n_bytes : it promises to take
    held_bytes : it takes in the file
    at_once : whether it is read as a whole
    tightest : unpacked over packed bytes

    Raises
    ------
    FormatError : it promises more than it can hold
    ResourceError : there is no memory for it
    """
    if n_bytes > _SMALL_BYTES + tightest * held_bytes:
        raise FormatError(
            f"{path}: {what} promises {size_text(n_bytes)}, but takes {size_text(held_bytes)} in the file: damaged"
        )
    free = machine.free_bytes()
    if at_once and n_bytes > free:
        raise ResourceError(
            f"{path}: {what} takes {size_text(n_bytes)} of memory, this machine has {size_text(free)} free"
        )
