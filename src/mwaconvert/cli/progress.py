"""How far a run is: a bar on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from mwaconvert.progress import Stage
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
    """

    def __init__(self, *, enabled: bool = True, terminal: bool | None = None) -> None:
        self._enabled = enabled
        self._terminal = sys.stderr.isatty() if terminal is None else terminal
        self._stage: Stage | None = None
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._start = self._last_s = self._last_fraction = 0.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_stage()

    def __call__(self, stage: Stage, done: int, total: int) -> None:
        """Show that `done` of `total` have been worked off."""
        if not self._enabled:
            return
        if stage is not self._stage:
            self._end_stage()
            self._begin_stage(stage, done, total)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=total or None)
        elif total > 0:
            self._line(stage, done, total)

    def _begin_stage(self, stage: Stage, done: int, total: int) -> None:
        self._stage = stage
        self._start = self._last_s = time.monotonic()
        self._last_fraction = 0.0
        if self._terminal:
            self._bar = _bar(stage, counted=total > 0)
            self._task = self._bar.add_task(stage, total=total or None, completed=done)
            self._bar.start()

    def _end_stage(self) -> None:
        if self._bar is not None:
            self._bar.stop()
        self._bar = self._task = None

    def _line(self, stage: Stage, done: int, total: int) -> None:
        fraction = done / total
        now = time.monotonic()
        if now - self._last_s < LINE_SECONDS or fraction - self._last_fraction < LINE_FRACTION:
            return
        self._last_s, self._last_fraction = now, fraction
        left_s = (now - self._start) * (1 - fraction) / fraction
        whole = size_text(total) if stage.unit == "bytes" else f"{total} {stage.unit}"
        print(
            f"mwaconvert: {stage}, {100 * fraction:.0f} % of {whole} done, about {left_s:.0f} s left",
            file=sys.stderr,
            flush=True,
        )


def _bar(stage: Stage, *, counted: bool) -> Bar:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        TaskProgressColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.progress import Progress as Bar

    amounts = [DownloadColumn(), TransferSpeedColumn()] if stage.unit == "bytes" else [MofNCompleteColumn()]
    numbers = [TaskProgressColumn(), *amounts, TimeRemainingColumn()] if counted else [TimeElapsedColumn()]
    return Bar(
        "{task.description}",
        BarColumn(None),
        *numbers,
        console=Console(stderr=True, force_terminal=True),
        transient=True,
    )
