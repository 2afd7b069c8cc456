"""Damaged headers of FITS files, found before astropy reads them: with a negative or a huge count it would make room
for all of it, or find the same header again for ever.

Raw files have a scan of their own, by the kernels. Source: FITS standard 4.0, sections 3.3, 4.4.1 and 6.1.
"""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import BinaryIO

from mwaconvert.constants import FITS_BLOCK, FITS_CARD
from mwaconvert.errors import FormatError

_MOST_COUNTED = 999  # axes, and columns of a table
_MOST_BYTES = 1 << 62
_MOST_HEADER = 16 << 20
_BITS = (8, 16, 32, 64, -32, -64)
_END = re.compile(rb"END {77}")


def check_heads(path: Path) -> None:
    """Refuse a FITS file whose headers count what cannot be.

    Parameters
    ----------
    path : of a FITS file

    Raises
    ------
    FormatError : it is no FITS file, or a header is damaged
    OSError : it cannot be read
    """
    with path.open("rb") as file:
        check_open_heads(file, str(path))


def check_open_heads(file: BinaryIO, name: str) -> None:
    """As `check_heads`, of what is open; data and headers after its end are not looked for.

    Parameters
    ----------
    file : at its beginning
    name : of the file, for the message
    """
    size = file.seek(0, os.SEEK_END)
    number, begin = 0, 0
    while begin < size or number == 0:
        file.seek(begin)
        header = _header(file, f"{name}: HDU {number}")
        if not header.startswith(b"XTENSION" if number else b"SIMPLE  ="):
            if number == 0:
                raise FormatError(
                    f"{name}: expected a FITS file, which begins with 'SIMPLE  =', found {header[:9]!r}"
                )
            return  # the end, or what is no part of FITS
        begin += len(header) + _data_bytes(header, f"{name}: HDU {number}")
        number += 1


def _header(file: BinaryIO, name: str) -> bytes:
    """Whole blocks, up to the one that has END."""
    blocks: list[bytes] = []
    while block := file.read(FITS_BLOCK):
        blocks.append(block)
        if any(_END.match(block, at) for at in range(0, len(block), FITS_CARD)):
            break
        if len(blocks) == 1 and not block.startswith((b"XTENSION", b"SIMPLE")):
            break
        if len(blocks) * FITS_BLOCK > _MOST_HEADER:
            raise FormatError(f"{name}: its header is damaged: it has no END")
    return b"".join(blocks)


def _data_bytes(header: bytes, name: str) -> int:
    """Of the data of an HDU, in whole blocks."""
    cards = _cards(header)

    def count(key: str, most: int, default: int = 0) -> int:
        value = whole(key, default)
        if not 0 <= value <= most:
            raise FormatError(f"{name}: its header is damaged: {key} = {value}, expected 0 to {most}")
        return value

    def whole(key: str, default: int) -> int:
        text = cards.get(key, str(default))
        if not re.fullmatch(r"[+-]?\d{1,40}", text, re.ASCII):
            raise FormatError(f"{name}: its header is damaged: {key} = {text}, expected a whole number")
        return int(text)

    n_axis = count("NAXIS", _MOST_COUNTED)
    count("TFIELDS", _MOST_COUNTED)
    bits = whole("BITPIX", 8)
    if bits not in _BITS:
        raise FormatError(f"{name}: its header is damaged: BITPIX = {bits}, expected one of {_BITS}")
    axes = [count(f"NAXIS{k + 1}", _MOST_BYTES) for k in range(n_axis)]
    if axes and axes[0] == 0 and cards.get("GROUPS") == "T":
        axes = axes[1:]
    values = count("PCOUNT", _MOST_BYTES) + (math.prod(axes) if axes else 0)
    n_bytes = abs(bits) // 8 * count("GCOUNT", _MOST_BYTES, 1) * values
    if n_bytes > _MOST_BYTES:
        raise FormatError(f"{name}: its header is damaged: it counts {n_bytes} bytes of data")
    return -(-n_bytes // FITS_BLOCK) * FITS_BLOCK


def _cards(header: bytes) -> dict[str, str]:
    """Values by keyword, without their comments; of the first card with the keyword."""
    cards: dict[str, str] = {}
    for at in range(0, len(header), FITS_CARD):
        keyword, mark, text = header[at : at + FITS_CARD].partition(b"=")
        if mark and len(keyword) == 8:
            cards.setdefault(
                keyword.rstrip().decode("latin-1"), text.partition(b"/")[0].strip().decode("latin-1")
            )
    return cards
