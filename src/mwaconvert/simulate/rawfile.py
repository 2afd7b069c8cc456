"""Raw FITS bytes: headers, padding, times. Shared by the legacy and the MWAX writer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

BLOCK = 2880
#: a comment in every file, by which it is known as none of a telescope (`staging.Kind.SIMULATED`)
MARK = "simulated by mwaconvert"

Card = tuple[str, bool | int | float | str, str]


def header_bytes(cards: Sequence[Card]) -> bytes:
    """A FITS header unit of (key, value, comment) cards, padded to blocks of 2880 bytes."""
    lines = [_card(*card) for card in cards] + ["END"]
    text = "".join(f"{line[:80]:<80}" for line in lines)
    return text.encode("ascii") + b" " * padding(len(text))


def _card(key: str, value: bool | int | float | str, comment: str) -> str:
    if key == "COMMENT":
        return f"COMMENT {comment}"
    if isinstance(value, bool):
        text = f"{'T' if value else 'F':>20}"
    elif isinstance(value, str):
        text = f"'{value:<8}'"
    else:
        text = f"{value!r:>20}"
    return f"{key:<8}= {text} / {comment}"


def padding(n_bytes: int) -> int:
    """Bytes that fill the last block."""
    return -n_bytes % BLOCK


def time_cards(unix_s: float, marker: int) -> list[Card]:
    """Start of an integration, as each HDU carries it."""
    seconds, milliseconds = divmod(round(unix_s * 1000), 1000)
    return [
        ("TIME", seconds, "Unix time (seconds)"),
        ("MILLITIM", milliseconds, "Milliseconds since TIME"),
        ("MARKER", marker, "Data offset marker (all channels should match)"),
    ]


def name_time(unix_s: float) -> str:
    """The time in a file name."""
    return datetime.fromtimestamp(int(unix_s), UTC).strftime("%Y%m%d%H%M%S")


def image_cards(bitpix: int, naxis1: int, naxis2: int) -> list[Card]:
    """Head of an IMAGE extension of two dimensions."""
    return [
        ("XTENSION", "IMAGE", "IMAGE extension"),
        ("BITPIX", bitpix, "number of bits per data pixel"),
        ("NAXIS", 2, "number of data axes"),
        ("NAXIS1", naxis1, "length of data axis 1"),
        ("NAXIS2", naxis2, "length of data axis 2"),
        ("PCOUNT", 0, "required keyword; must = 0"),
        ("GCOUNT", 1, "required keyword; must = 1"),
    ]
