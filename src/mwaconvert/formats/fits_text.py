"""FITS headers and small tables as bytes.

astropy would do the same, but its FITS package takes a third of a second to import: as long as this program
needs to convert a gigabyte. Source: FITS standard 4.0, sections 3.3, 4.2 and 7.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from mwaconvert.constants import FITS_BLOCK, FITS_CARD

LONGEST_STRING = 68

Value = bool | int | float | str
#: keyword and value, or HISTORY/COMMENT and a text of any length up to 72 characters
Card = tuple[str, Value]

TABLE_FORMATS = {"S": "A", "f8": "D", "f4": "E", "i4": "J", "i8": "K"}


class LongString(str):
    """A string value that may go on in CONTINUE cards, for readers that are known to follow them."""


def header_bytes(cards: Iterable[Card]) -> bytes:
    """A header with END, padded to whole blocks."""
    text = "".join(_card(keyword, value) for keyword, value in cards) + "END".ljust(FITS_CARD)
    return text.ljust(-(-len(text) // FITS_BLOCK) * FITS_BLOCK).encode("ascii")


def table_bytes(
    name: str, columns: Sequence[tuple[str, npt.NDArray[np.generic], str | None]], cards: Iterable[Card]
) -> bytes:
    """A binary table extension.

    Parameters
    ----------
    name : EXTNAME
    columns : name, (n_rows, ...) array of bytes, float64, float32, int32 or int64, unit; a second axis makes a vector
    cards : further keywords
    """
    fields = [(key, array.dtype.newbyteorder(">"), array.shape[1:]) for key, array, _ in columns]
    rows = np.zeros(len(columns[0][1]), np.dtype(fields))
    head: list[Card] = [
        ("XTENSION", "BINTABLE"),
        ("BITPIX", 8),
        ("NAXIS", 2),
        ("NAXIS1", rows.itemsize),
        ("NAXIS2", len(rows)),
        ("PCOUNT", 0),
        ("GCOUNT", 1),
        ("TFIELDS", len(columns)),
        ("EXTNAME", name),
    ]
    for k, (key, array, unit) in enumerate(columns, 1):
        rows[key] = array
        kind = array.dtype.str[1:]
        is_text = kind.startswith("S")
        count = array.dtype.itemsize if is_text else int(np.prod(array.shape[1:]))
        head += [(f"TTYPE{k}", key), (f"TFORM{k}", f"{count}{TABLE_FORMATS['S' if is_text else kind]}")]
        if unit is not None:
            head.append((f"TUNIT{k}", unit))
    data = rows.tobytes()
    return header_bytes([*head, *cards]) + data.ljust(-(-len(data) // FITS_BLOCK) * FITS_BLOCK, b"\0")


def _card(keyword: str, value: Value) -> str:
    if isinstance(value, LongString):
        return _continued(keyword, _ascii(value).replace("'", "''"))
    if keyword in ("HISTORY", "COMMENT"):
        return f"{keyword:8}{_ascii(str(value))}".ljust(FITS_CARD)[:FITS_CARD]
    if isinstance(value, bool):
        text = f"{'T' if value else 'F':>20}"
    elif isinstance(value, str):
        quoted = _ascii(value).replace("'", "''")
        if len(quoted) > LONGEST_STRING:
            quoted = _ascii(value).replace("'", "")[:LONGEST_STRING]
        text = f"'{quoted:8}'"
    elif isinstance(value, int | np.integer):
        text = f"{int(value):>20}"
    else:
        number = repr(float(value)).upper()
        text = f"{number:>20}"
    return f"{keyword:8}= {text}".ljust(FITS_CARD)


def _ascii(text: str) -> str:
    return "".join(c if " " <= c <= "~" else "?" for c in text)


def _continued(keyword: str, quoted: str) -> str:
    """A string over as many cards as it needs (FITS standard 4.0, section 4.2.1.2)."""
    cards, start = [], f"{keyword:8}= "
    while len(quoted) > LONGEST_STRING:
        end = LONGEST_STRING - 1
        if quoted[:end].count("'") % 2:  # a doubled quote stays in one card
            end -= 1
        cards.append(f"{start}'{quoted[:end]}&'".ljust(FITS_CARD))
        quoted, start = quoted[end:], "CONTINUE  "
    return "".join([*cards, f"{start}'{quoted:8}'".ljust(FITS_CARD)])
