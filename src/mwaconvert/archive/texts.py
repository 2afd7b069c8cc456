"""Small text files that people and programs write."""

from __future__ import annotations

from pathlib import Path

from mwaconvert.errors import FormatError

_LARGEST = 64 << 20  # bytes


def read_text(path: Path) -> str:
    """The text of a file in UTF-8; `FormatError` for a file that is not text, or is over 64 MiB."""
    size = path.stat().st_size
    if size > _LARGEST:
        raise FormatError(f"{path}: {size} bytes are too many for a text file of this kind")
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(
            f"{path}: is not text in UTF-8: byte {error.start} is {error.object[error.start]:#04x}"
        ) from None
