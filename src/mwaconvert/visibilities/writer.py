"""Who takes blocks of visibilities: writers of files, and observers that look at them as they pass."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from mwaconvert.visibilities.model import Block
from mwaconvert.visibilities.statistics import DataFlags, QualityStatistics


class Observer(Protocol):
    """Makes a file of its own out of the blocks of a conversion, and is told what the data made flagged."""

    path: Path
    data_flags: DataFlags | None

    def add(self, block: Block) -> None:
        """Look at a block. Blocks come in row order; what must stay is copied."""


class Writer(Protocol):
    """A file being written under a temporary name."""

    path: Path

    def write(self, block: Block) -> None:
        """Append a block. Blocks come in row order."""

    def put_statistics(self, statistics: QualityStatistics) -> None:
        """Take the statistics of the run, after the last block; formats without a place for them do not."""

    def close(self) -> None:
        """Finish the file, sync it and give it its final name."""

    def abort(self) -> None:
        """Remove what was written; nothing stays under either name."""
