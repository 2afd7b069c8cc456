"""A sound file that is damaged, and who reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sound:
    """What `make fuzz` damages.

    Attributes
    ----------
    file : the name under which it is written, in a folder of its own
    raw : its bytes
    read : reads it, or raises one of our errors
    beside : other files in its folder, which stay sound
    """

    file: str
    raw: bytes
    read: Callable[[Path], object]
    beside: tuple[tuple[str, bytes], ...] = ()

    def write(self, folder: Path, raw: bytes) -> Path:
        """Into a folder, with what has to be beside it."""
        for name, held in self.beside:
            if not (folder / name).exists():
                (folder / name).write_bytes(held)
        path = folder / self.file
        path.write_bytes(raw)
        return path
