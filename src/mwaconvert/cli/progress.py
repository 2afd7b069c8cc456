"""How far a run is: a bar on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from mwaconvert.text import size_text

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

#: without a terminal a line is printed when both have passed since the last
LINE_SECONDS = 10.0
LINE_FRACTION = 0.1


class Progress:
    """A callable (stage, done, total), see `mwaconvert.progress`; a context manager.

    Parameters
    ----------
    enabled : False prints nothing
    terminal : whether to draw a bar; default: whether stderr is a terminal
    unit : what is counted; bytes are shown as sizes
    """

    def __init__(
        self,
        *,
        enabled: bool = True,
        terminal: bool | None = None,
        unit: str = "bytes",
    ) -> None:
        self._unit = unit
        self._enabled = enabled
        self._terminal = sys.stderr.isatty() if terminal is None else terminal
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._start = self._last_s = time.monotonic()
        self._last_fraction = 0.0

    def __enter__(self) -> Progress:
        self._start = self._last_s = time.monotonic()
        if self._enabled and self._terminal:
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                DownloadColumn,
                MofNCompleteColumn,
                TaskProgressColumn,
                TimeRemainingColumn,
                TransferSpeedColumn,
            )
            from rich.progress import Progress as Bar

            amounts = (
                [DownloadColumn(), TransferSpeedColumn()] if self._unit == "bytes" else [MofNCompleteColumn()]
            )
            self._bar = Bar(
                "{task.description}",
                BarColumn(None),
                TaskProgressColumn(),
                *amounts,
                TimeRemainingColumn(),
                console=Console(stderr=True, force_terminal=True),
                transient=True,
            )
            self._task = self._bar.add_task("", total=None)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show that `done` of `total` have been worked off."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=stage, completed=done, total=total)
        elif self._enabled and not self._terminal and total > 0:
            self._line(stage, done, total)

    def _line(self, stage: str, done: int, total: int) -> None:
        fraction = done / total
        now = time.monotonic()
        if now - self._last_s < LINE_SECONDS or fraction - self._last_fraction < LINE_FRACTION:
            return
        self._last_s, self._last_fraction = now, fraction
        left_s = (now - self._start) * (1 - fraction) / fraction
        whole = size_text(total) if self._unit == "bytes" else f"{total} {self._unit}"
        print(
            f"mwaconvert: {stage}, {100 * fraction:.0f} % of {whole} done, about {left_s:.0f} s left",
            file=sys.stderr,
            flush=True,
        )
