"""Parts of a report."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mwaconvert.staging import Kind


@dataclass(frozen=True)
class FlagCount:
    """How much of the input one rule flags, whatever the other rules do: the rules overlap."""

    name: str
    cells: int


@dataclass(frozen=True)
class OutputFile:
    """A file or directory that was written."""

    path: Path
    kind: Kind
    kind_name: str
    bytes: int
    times: int
    baselines: int
    channels: int

    def facts(self) -> dict[str, Any]:
        """As reports give it (layout: docs/report.md)."""
        found = asdict(self)
        return found | {"kind": found.pop("kind_name")}


@dataclass(frozen=True)
class Performance:
    """Time and memory.

    Attributes
    ----------
    wall_s : from start to end
    bytes_read, bytes_written : of raw files and outputs
    peak_memory_bytes : largest resident size of the process
    threads : used by the kernels
    """

    wall_s: float
    bytes_read: int
    bytes_written: int
    peak_memory_bytes: int
    threads: int
